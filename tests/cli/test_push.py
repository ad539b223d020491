"""A trained folder to the Hub, by the command."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import SMALL, run
from hub_folder import CODE, MODEL, make_folder
from hub_process import assert_no_token, environment_of
from hub_server import HubServer

from hf_rnn_multilabel.hub.folder import files_to_push


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        server.add_token("someone")
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("trained") / "tagger")


@pytest.fixture
def command(hub, tmp_path):
    """Run a command as a user of the local Hub; what it prints never holds the token."""

    def run_command(*arguments, **environment: str) -> subprocess.CompletedProcess:
        argv = [sys.executable, "-m", "hf_rnn_multilabel.cli.main", *map(str, arguments)]
        env = environment_of(hub, tmp_path / "home") | environment
        done = subprocess.run(argv, capture_output=True, text=True, encoding="utf-8", env=env, cwd=tmp_path)
        assert_no_token(hub, done.stdout + done.stderr)
        return done

    return run_command


def test_a_dry_run_shows_the_card_and_the_files_and_sends_nothing(folder, capsys):
    run("push", "--folder", folder, "--repo_id", "someone/tagger", "--dry_run")
    out = capsys.readouterr().out
    assert 'model="someone/tagger"' in out and "nothing was sent" in out
    assert all(f"\n{name}\n" in out for name in files_to_push(folder))


def test_a_dry_run_as_json_holds_the_files(folder, capsys):
    run("push", "--folder", folder, "--repo_id", "someone/tagger", "--dry_run", "--json")
    files = set(json.loads(capsys.readouterr().out)["files"])
    assert files == MODEL | CODE | {"plots/one.png", "metrics.json"}


def test_a_push_is_one_commit_and_json_holds_its_revision(hub, command, folder):
    options = ["--private", "--commit_message", "A first one", "--json"]
    done = command("push", "--folder", folder, "--repo_id", "someone/tagger", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    repo = hub.repos["model", "someone/tagger"]
    assert repo.refs == {"main": found["revision"]} and found["revision"] in found["url"]
    assert repo.files(found["revision"]).keys() >= MODEL | CODE
    assert b'model="someone/tagger"' in repo.files(found["revision"])["README.md"]
    # No bar, and no line of a library.
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("environment", "words"),
    [({"HF_TOKEN": "hf_" + "0" * 34}, "hf auth login"), ({"HF_ENDPOINT": "closed"}, "Nothing was sent")],
    ids=["wrong_token", "no_network"],
)
def test_a_push_that_is_refused_is_one_line_with_the_remedy(command, folder, environment, words):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        if "HF_ENDPOINT" in environment:
            environment = {"HF_ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}"}
        done = command("push", "--folder", folder, "--repo_id", "someone/refused", **environment)
    assert (done.returncode, done.stdout) == (1, "") and words in done.stderr
    assert done.stderr.startswith("hf-rnn-multilabel push: ") and done.stderr.count("\n") == 1


def test_a_folder_that_is_not_whole_is_told_before_anything_is_sent(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "half")
    (tmp_path / "half" / "tokenizer.json").unlink()
    (tmp_path / "half" / "tokenizer_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        run("push", "--folder", tmp_path / "half", "--repo_id", "someone/half", "--dry_run")


def test_a_training_is_pushed_when_it_is_finished(hub, command, tmp_path, train_and_validation):
    options = ["--output_dir", "mine", "--push_to_hub", "--hub_model_id", "someone/mine", "--hub_private_repo", "true"]
    done = command("train", *SMALL, *train_and_validation, *options, "--json")
    assert done.returncode == 0, done.stderr
    repo = hub.repos["model", "someone/mine"]
    (revision,) = repo.refs.values()
    for name in ("model.safetensors", "config.json", "metrics.json"):
        assert repo.files(revision)[name] == (tmp_path / "mine" / name).read_bytes()
    # The stdout is the run information alone, and a log file gets no progress bar.
    info = json.loads(done.stdout)
    assert info.pop("folder") == str(tmp_path / "mine")
    assert info == json.loads((tmp_path / "mine" / "metrics.json").read_text(encoding="utf-8"))
    assert not re.search(r"\r|it/s|%\|", done.stderr) and len(done.stderr.splitlines()) < 25, done.stderr
    assert "on validation." in done.stderr
