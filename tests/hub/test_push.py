"""The Hub, there and back: the real clients, in processes of their own, before a local server."""

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast


ROOT = Path(__file__).parents[2]
CODE = {
    "configuration_rnn_multilabel.py",
    "losses.py",
    "modeling_rnn_multilabel.py",
    "pipeline_rnn_multilabel.py",
    "pooling.py",
    "recurrence.py",
    "stepwise.py",
}
MODEL = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
WORDS = {"lamp": "lighting", "desk": "office", "oak": "wood"}
TEXTS = ["a lamp of oak", "one more desk", ""]
ROWS = [
    {"text": f"{first} and {second}", "labels": sorted({WORDS[word] for word in (first, second) if word in WORDS})}
    for first, second in itertools.product([*WORDS, "pen"], [*WORDS, "tree", "door"])
] * 3
SMALL = "--hidden_size 8 --embedding_size 8 --num_train_epochs 3 --learning_rate 0.05 --use_cpu --disable_tqdm true"
LONGEST = 300  # seconds of a call
NEW = itertools.count(1)


class RemoteError(Exception):
    """What the other process raised: its class, a colon and its message."""


class Client:
    """Another process: `client("push", folder=..., repo_id=...)` calls the function of hub_client.py."""

    def __init__(self, hub: HubServer, home: Path, environment: dict[str, str | None], *options: str):
        self.hub, self.home, self.waits = hub, home, []
        self.log_path = home.with_suffix(".log")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "tests" / "support" / "hub_client.py", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment_of(hub, home) | environment,
                cwd=home.parent,
                text=True,
            )

    def __call__(self, function: str, environment: dict[str, str | None] | None = None, /, **arguments: Any) -> Any:
        already = len(self.printed())
        call = {"name": function, "arguments": arguments, "environment": environment or {}}
        self.process.stdin.write(json.dumps(call, default=str) + "\n")
        self.process.stdin.flush()
        timer = threading.Timer(LONGEST, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line, self.printed()[-5000:]
        assert_no_token(self.hub, line + self.printed()[already:])
        answer = json.loads(line)
        self.waits = answer["waits"]
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["result"]

    def printed(self) -> str:
        return self.log_path.read_text(errors="replace")


def environment_of(hub: HubServer, home: Path) -> dict[str, str]:
    """That of a user who is logged in as "someone" and has a cache in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": next(token for token, user in hub.users.items() if user == ("someone", "write")),
        "HF_HUB_DISABLE_XET": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def assert_no_token(hub: HubServer, printed: str) -> None:
    """Neither in what was printed nor in any file that the Hub has."""
    pushed = [
        blob.data for repo in hub.repos.values() for commit in repo.commits.values() for blob in commit.files.values()
    ]
    for token in hub.users:
        assert token not in printed
        assert not any(token.encode() in data for data in pushed)


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        server.add_token("someone")
        yield server


@pytest.fixture(autouse=True)
def without_faults(hub):
    hub.faults.clear()


@pytest.fixture(scope="module")
def start(hub, tmp_path_factory):
    """Start a client with a clean cache, or with that of another."""
    clients = []

    def start(*options: str, home: Path | None = None, **environment: str) -> Client:
        clients.append(Client(hub, home or tmp_path_factory.mktemp("home") / "home", environment, *options))
        return clients[-1]

    yield start
    for client in clients:
        client.process.kill()
        client.process.communicate()


@pytest.fixture(scope="module")
def author(start) -> Client:
    """Has the package."""
    return start()


@pytest.fixture(scope="module")
def reader(start) -> Client:
    """Cannot import the package."""
    return start("--without_the_package")


@pytest.fixture(scope="module")
def unreachable(start):
    """Clients before a closed port and in offline mode."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    return {"no network": start(HF_ENDPOINT=f"http://127.0.0.1:{port}"), "offline": start(HF_HUB_OFFLINE="1")}


@pytest.fixture(scope="module", autouse=True)
def processes(author, reader, unreachable):
    """Started first and together: they import while others work."""


@pytest.fixture(scope="module")
def dataset(hub, reader) -> str:
    reader("push_dataset", rows={"train": ROWS, "validation": ROWS[:20], "test": ROWS[10:30]}, repo_id="someone/set")
    return "someone/set"


@pytest.fixture(scope="module")
def folder(hub, dataset, tmp_path_factory) -> Path:
    """What train.py saves, and beside it what the Trainer may leave there."""
    root = tmp_path_factory.mktemp("trained")
    target = ["--output_dir", str(root / "tagger"), "--push_to_hub", "true", "--hub_private_repo", "true"]
    source = ["--dataset_name", dataset, "--hub_model_id", "someone/trained"]
    printed = run_script(hub, root / "home", "train", *target, *source, *SMALL.split())
    (root / "printed.txt").write_text(printed)
    torch.save({}, root / "tagger" / "training_args.bin")
    assert list((root / "tagger").glob("checkpoint-*/*.pt"))
    return root / "tagger"


def run_script(hub: HubServer, home: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{name}.py", *arguments],
        env=environment_of(hub, home),
        capture_output=True,
        text=True,
        timeout=LONGEST,
    )
    assert_no_token(hub, done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


@pytest.fixture
def retrained(folder, tmp_path) -> Path:
    """The folder with weights that no Hub has seen."""
    return with_new_weights(folder, tmp_path / "retrained")


def with_new_weights(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    weights = load_file(target / "model.safetensors")
    weights["classifier.bias"] += 0.01 * next(NEW)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def logits_of(folder: Path) -> list[list[float]]:
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()(**inputs).logits.tolist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def first(hub, author, folder) -> str:
    """The revision of the first push."""
    revision = author("push", folder=folder, repo_id="someone/tagger", private=True)["oid"]
    assert hub.repos["model", "someone/tagger"].refs == {"main": revision}
    return revision


@pytest.fixture(scope="module")
def pulled(reader, first) -> dict:
    already = len(reader.printed())
    found = reader("pull", name="someone/tagger", texts=TEXTS)
    return found | {"printed": reader.printed()[already:]}


@pytest.fixture(scope="module")
def second(author, folder, pulled, tmp_path_factory) -> tuple[Path, str]:
    """A folder with other weights, and the revision of its push to the same repository."""
    changed = with_new_weights(folder, tmp_path_factory.mktemp("second") / "tagger")
    return changed, author("push", folder=changed, repo_id="someone/tagger")["oid"]


def test_a_push_is_one_commit_with_exactly_the_files_of_a_tagger(hub, folder, first):
    repo = hub.repos["model", "someone/tagger"]
    commits = [commit.oid for commit in repo.history(first)]
    assert (commits[0], len(commits)) == (first, 2)  # the Hub's own first commit beside it
    plots = {name for name in files_of(folder) if name.startswith("plots/")}
    assert repo.files(first).keys() == MODEL | CODE | plots | {"README.md", "metrics.json", ".gitattributes"}
    local = files_of(folder)
    assert {name for name, data in repo.files(first).items() if local.get(name) != data} == {
        "README.md",
        ".gitattributes",
    }


def test_a_push_holds_no_pickle(hub, folder, first):
    assert {".bin", ".pt"} <= {Path(name).suffix for name in files_of(folder)}
    suffixes = {Path(name).suffix for name in hub.repos["model", "someone/tagger"].files(first)}
    assert not suffixes & {".bin", ".pt", ".pth", ".pkl", ".ckpt"}


def test_the_card_names_the_repository_and_its_code_runs_as_it_stands(hub, reader, first):
    assert 'model="someone/tagger"' in hub.repos["model", "someone/tagger"].files(first)["README.md"].decode()
    reader("run_code_of_card", repo_id="someone/tagger")


def test_a_private_repository_is_there_for_its_owner_alone(hub, reader, first):
    for token in (None, hub.add_token("somebody_else")):
        with pytest.raises(RemoteError, match=r"^RepositoryNotFoundError: "):
            reader("list_files", {"HF_TOKEN": token}, repo_id="someone/tagger")
    read_only = hub.add_token("someone", "read")
    assert "config.json" in reader("list_files", {"HF_TOKEN": read_only}, repo_id="someone/tagger")


def test_pain_01_pulled_logits_are_bit_equal_without_the_package(pulled, folder):
    assert pulled["package_is_absent"]
    assert pulled["module"].startswith("transformers_modules.someone.tagger")
    assert pulled["logits"] == logits_of(folder)


def test_pain_04_the_repository_opens_with_every_auto_class(pulled):
    names = ["RnnMultilabelConfig", "RnnMultilabelModel", "RnnMultilabelForSequenceClassification"]
    assert pulled["classes"] == [*names, PreTrainedTokenizerFast.__name__]


def test_pain_05_the_stock_pipeline_takes_the_repository_without_an_error_line(pulled):
    assert [len(scores) for scores in pulled["stock_scores"]] == [3, 3, 3]
    assert "not supported" not in pulled["printed"]


def test_pain_12_the_stock_scores_are_the_sigmoid_of_the_logits(pulled):
    for scores, expected in zip(pulled["stock_scores"], pulled["scores"], strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert [by_name[name] for name in sorted(WORDS.values())] == pytest.approx(expected, abs=1e-6)


def test_the_task_is_inferred_and_the_thresholds_travel(pulled, folder):
    thresholds = json.loads((folder / "config.json").read_text())["thresholds"]
    expected = [
        {name for name, score in zip(sorted(WORDS.values()), scores, strict=True) if score >= thresholds[name]}
        for scores in pulled["scores"]
    ]
    assert pulled["inferred_task"] == "multi-label-tagging"
    assert [{tag["label"] for tag in tags} for tags in pulled["tags"]] == expected
    assert any(expected)
    assert pulled["inferred_tags"] == pulled["tags"]


def test_a_snapshot_holds_every_file_of_the_revision(hub, reader, first):
    files = reader("snapshot", repo_id="someone/tagger", revision=first)
    assert files == sorted(hub.repos["model", "someone/tagger"].files(first))


def test_a_second_push_is_what_a_load_then_gives_and_a_pinned_revision_stays(reader, first, second, folder):
    changed, revision = second
    assert revision != first
    assert reader("pull", name="someone/tagger", texts=TEXTS)["logits"] == logits_of(changed)
    assert reader("pull", name="someone/tagger", texts=TEXTS, revision=first)["logits"] == logits_of(folder)
    assert logits_of(folder) != logits_of(changed)


def test_without_the_hub_a_load_comes_from_the_cache(start, hub, reader, first, second):
    expected = {
        revision: reader("pull", name="someone/tagger", texts=TEXTS, revision=revision) for revision in (None, first)
    }
    already = len(hub.log)
    offline = start("--without_the_package", home=reader.home, HF_HUB_OFFLINE="1")
    for revision, found in expected.items():
        assert offline("pull", name="someone/tagger", texts=TEXTS, revision=revision) == found
    assert hub.log[already:] == []


def test_pain_03_a_model_fine_tuned_without_the_package_and_pushed_keeps_its_code(start, hub, reader, first, tmp_path):
    tuned = reader("fine_tune", name="someone/tagger", texts=TEXTS, output=tmp_path / "tuned", push_to="someone/tuned")
    assert hub.repos["model", "someone/tuned"].files(tuned).keys() >= CODE | MODEL
    third = start("--without_the_package")("pull", name="someone/tuned", texts=TEXTS)
    assert third["module"].startswith("transformers_modules.someone.tuned")
    assert third["logits"] == logits_of(tmp_path / "tuned")
    assert third["inferred_tags"] == third["tags"]
    assert any(third["tags"])


def test_a_branch_is_made_and_main_stays(hub, author, retrained, second):
    repo = hub.repos["model", "someone/tagger"]
    main = repo.refs["main"]
    revision = author("push", folder=retrained, repo_id="someone/tagger", revision="dev")["oid"]
    assert (repo.refs["dev"], repo.refs["main"]) == (revision, main)
    assert repo.files("dev")["model.safetensors"] == (retrained / "model.safetensors").read_bytes()
    again = author("push", folder=retrained, repo_id="someone/tagger", revision="dev")["oid"]
    assert again == revision  # nothing new


def test_a_pull_request_leaves_main_and_tells_where_it_is(hub, author, retrained, second):
    repo = hub.repos["model", "someone/tagger"]
    main = repo.refs["main"]
    commit = author("push", folder=retrained, repo_id="someone/tagger", create_pr=True)
    assert repo.refs["main"] == main
    assert repo.refs["refs/pr/1"] == commit["oid"]
    assert commit["pr_url"] == f"{hub.url}/someone/tagger/discussions/1"
    assert repo.files("refs/pr/1")["model.safetensors"] == (retrained / "model.safetensors").read_bytes()
    (retrained / "README.md").write_text("---\ntags: [hf_rnn_multilabel]\n---\nAn edited card.\n")
    more = author("push", folder=retrained, repo_id="someone/tagger", revision="refs/pr/1")
    assert (repo.refs["refs/pr/1"], repo.refs["main"]) == (more["oid"], main)
    assert "An edited card." in repo.files("refs/pr/1")["README.md"].decode()


def test_a_push_takes_away_what_an_earlier_one_left_and_no_other_file(hub, author, reader, retrained, tmp_path):
    (retrained / "model.onnx").write_bytes(b"a graph")
    author("push", folder=retrained, repo_id="someone/exported")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.md").write_text("Do not touch.")
    reader("upload_folder", folder=tmp_path / "mine", repo_id="someone/exported", repo_type="model")
    repo = hub.repos["model", "someone/exported"]
    assert repo.files().keys() >= {"model.onnx", "notes.md"}
    (retrained / "model.onnx").unlink()
    author("push", folder=retrained, repo_id="someone/exported")
    assert "model.onnx" not in repo.files()
    assert "notes.md" in repo.files()


def test_a_repository_is_public_or_private_as_asked_and_a_bare_name_is_ones_own(hub, author, folder):
    author("push", folder=folder, repo_id="mine", commit_message="The tagger of the lamps")
    assert not hub.repos["model", "someone/mine"].private
    assert hub.repos["model", "someone/tagger"].private
    assert hub.repos["model", "someone/mine"].history()[0].title == "The tagger of the lamps"
    assert 'model="someone/mine"' in hub.repos["model", "someone/mine"].files()["README.md"].decode()


def test_somebody_else_may_open_a_pull_request_on_a_public_repository(hub, author, retrained, folder):
    author("push", folder=folder, repo_id="someone/open")
    token = hub.add_token("somebody_else")
    commit = author("push", {"HF_TOKEN": token}, folder=retrained, repo_id="someone/open", create_pr=True)
    assert hub.repos["model", "someone/open"].refs["refs/pr/1"] == commit["oid"]


def test_the_stock_push_of_model_and_tokenizer_is_enough_to_tag(hub, author, reader, folder):
    author("push_model_and_tokenizer", folder=folder, repo_id="someone/stock")
    assert hub.repos["model", "someone/stock"].files().keys() >= CODE | MODEL
    assert reader("pull", name="someone/stock", texts=TEXTS)["logits"] == logits_of(folder)


def test_the_stock_push_of_a_model_keeps_the_card(hub, author, folder):
    author("push", folder=folder, repo_id="someone/carded")
    card = hub.repos["model", "someone/carded"].files()["README.md"].decode()
    author("push_model_and_tokenizer", folder=folder, repo_id="someone/carded")
    assert hub.repos["model", "someone/carded"].files()["README.md"].decode() == card


def test_the_trainer_keeps_the_card_where_it_is_told_to(hub, author, folder, tmp_path):
    card = (folder / "README.md").read_bytes()
    (tmp_path / "README.md").write_bytes(card)
    author("fine_tune", name=folder, texts=TEXTS, output=tmp_path, push_to="someone/kept", keep_card=True)
    assert hub.repos["model", "someone/kept"].files()["README.md"] == card


def test_the_trainer_writes_its_own_card_where_there_is_none_of_ours(hub, author, folder, tmp_path):
    (tmp_path / "README.md").write_text("---\ntags: [mine]\n---\nMy own.\n")
    author("fine_tune", name=folder, texts=TEXTS, output=tmp_path, push_to="someone/drafted", keep_card=True)
    assert "generated_from_trainer" in hub.repos["model", "someone/drafted"].files()["README.md"].decode()


def test_pain_13_the_metric_loads_from_a_space(reader):
    metric = ROOT / "hf_rnn_multilabel" / "metrics" / "multilabel"
    reader("upload_folder", folder=metric, repo_id="someone/multilabel", repo_type="space")
    rows = {"predictions": [[1, 0], [0, 1]], "references": [[1, 0], [1, 1]]}
    assert reader("compute_metric", name="someone/multilabel", **rows)["f1_micro"] == pytest.approx(0.8)


def test_train_reads_a_private_data_set_and_pushes_what_it_has_saved(hub, dataset, folder):
    assert hub.repos["dataset", dataset].private
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    assert rows == {"train": len(ROWS), "validation": 20, "test": 20}
    repo = hub.repos["model", "someone/trained"]
    assert repo.private
    assert repo.files()["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert f"Pushed as revision {repo.refs['main']}" in (folder.parent / "printed.txt").read_text()


def test_the_script_shows_the_card_and_the_files_and_pushes(hub, folder, tmp_path):
    arguments = ["--folder", str(folder), "--repo_id", "someone/scripted", "--private", "true"]
    printed = run_script(hub, tmp_path / "home", "push_to_hub", *arguments)
    repo = hub.repos["model", "someone/scripted"]
    assert repo.private
    assert repo.files()["README.md"].decode() in printed
    assert all(re.search(rf"\d  {re.escape(name)}$", printed, re.MULTILINE) for name in MODEL | CODE)
    assert f"Pushed as revision {repo.refs['main']}" in printed


@pytest.fixture(scope="module")
def standing(hub, author, folder):
    """A repository with one push, and what stands in it."""
    author("push", folder=folder, repo_id="someone/standing")
    return hub.repos["model", "someone/standing"]


def refs_of(hub: HubServer) -> dict:
    return {name: dict(repo.refs) for name, repo in hub.repos.items()}


def assert_refused(hub: HubServer, words: str, client: Client, *arguments: Any, **more: Any) -> str:
    """The call fails in these words, and no repository has changed."""
    before = refs_of(hub)
    with pytest.raises(RemoteError, match=words) as caught:
        client("push", *arguments, **more)
    assert refs_of(hub) == before
    return str(caught.value)


WEIGHTS, COMMIT = "PUT /storage/", "POST /api/models/someone/standing/commit/"
BREAKS = {
    "500 on the weights": (WEIGHTS, {"status": 500}),
    "503 on the weights": (WEIGHTS, {"status": 503}),
    "dropped weights": (WEIGHTS, {"drop": True}),
    "401 on the weights": (WEIGHTS, {"status": 401}),
    "429 on the weights": (WEIGHTS, {"status": 429}),
    "503 on the card": ("POST /api/validate-yaml", {"status": 503}),
    "500 on the list of weights": ("POST /someone/standing.git/info/lfs/objects/batch", {"status": 500}),
    "500 on the commit": (COMMIT, {"status": 500}),
    "503 on the commit": (COMMIT, {"status": 503}),
    "dropped commit": (COMMIT, {"drop": True}),
    "401 on the commit": (COMMIT, {"status": 401}),
    "403 on the commit": (COMMIT, {"status": 403}),
    "429 on the commit": (COMMIT, {"status": 429, "headers": {"Retry-After": "60"}}),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_push_that_breaks_off_shows_nothing_and_succeeds_when_repeated(hub, author, standing, retrained, fault):
    pattern, behaviour = BREAKS[fault]
    hub.fail(pattern, **behaviour)
    words = r"(?s)^RuntimeError: The push to 'someone/standing' was broken off.*last commit.*repeat the same call"
    if fault.startswith("403"):
        words = r"(?s)^PermissionError: The token may not write to 'someone/standing'"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/standing")
    hub.faults.clear()
    commits = len(standing.history())
    revision = author("push", folder=retrained, repo_id="someone/standing")["oid"]
    assert (standing.refs["main"], len(standing.history())) == (revision, commits + 1)
    assert standing.files()["model.safetensors"] == (retrained / "model.safetensors").read_bytes()


def test_a_repeated_push_does_not_send_again_what_has_arrived(hub, author, standing, retrained):
    hub.fail(COMMIT, status=500)
    assert_refused(hub, "broken off", author, folder=retrained, repo_id="someone/standing")
    hub.faults.clear()
    already = len(hub.log)
    author("push", folder=retrained, repo_id="someone/standing")
    assert [line for line in hub.log[already:] if line.method == "PUT"] == []


def test_a_broken_push_to_a_new_repository_shows_no_file(hub, author, retrained):
    hub.fail(WEIGHTS, status=503)
    with pytest.raises(RemoteError, match="broken off"):
        author("push", folder=retrained, repo_id="someone/new")
    assert hub.repos["model", "someone/new"].files().keys() == {".gitattributes"}
    hub.faults.clear()
    author("push", folder=retrained, repo_id="someone/new")
    assert hub.repos["model", "someone/new"].files().keys() >= MODEL | CODE


@pytest.mark.parametrize("behaviour", [{"status": 500}, {"status": 503}, {"drop": True}], ids=str)
def test_a_fault_that_passes_is_waited_out(hub, author, standing, retrained, behaviour):
    hub.fail(WEIGHTS, times=2, **behaviour)
    revision = author("push", folder=retrained, repo_id="someone/standing")["oid"]
    assert standing.refs["main"] == revision
    assert author.waits == [1, 2]


def test_a_hub_that_asks_for_a_pause_gets_it(hub, author, standing, retrained):
    hub.fail(WEIGHTS, status=429, times=1, headers={"Retry-After": "7"})
    revision = author("push", folder=retrained, repo_id="someone/standing")["oid"]
    assert standing.refs["main"] == revision
    assert author.waits == [8]


def test_a_slow_hub_is_waited_for(hub, author, standing, retrained):
    hub.fail(f"{WEIGHTS}|{COMMIT}", delay=0.5)
    started = time.perf_counter()
    revision = author("push", folder=retrained, repo_id="someone/standing")["oid"]
    assert standing.refs["main"] == revision
    assert time.perf_counter() - started > 1


BEFORE = {
    "401 on who one is": ("whoami", {"status": 401}, "PermissionError: .*token.*hf auth login"),
    "429 on who one is": (
        "whoami",
        {"status": 429, "headers": {"Retry-After": "60"}},
        "ConnectionError: .*nothing was sent",
    ),
    "503 on who one is": ("whoami", {"status": 503}, "ConnectionError: .*nothing was sent"),
    "dropped at once": ("whoami", {"drop": True}, "ConnectionError: .*nothing was sent"),
    "500 on the repository": (
        "GET /api/models/someone/standing",
        {"status": 500},
        "ConnectionError: .*nothing was sent",
    ),
    "500 on its model": ("/resolve/.*/config.json", {"status": 500}, "ConnectionError: .*nothing was sent"),
    "dropped on its model": ("/resolve/.*/config.json", {"drop": True}, "ConnectionError: .*nothing was sent"),
    "500 on the making": ("POST /api/repos/create", {"status": 500}, "ConnectionError: .*nothing was sent"),
}


@pytest.mark.parametrize("fault", BEFORE)
def test_a_push_that_cannot_begin_sends_nothing_and_says_why(hub, author, standing, retrained, fault):
    pattern, behaviour, words = BEFORE[fault]
    objects = set(hub.objects)
    hub.fail(pattern, **behaviour)
    assert_refused(hub, f"(?s)^{words}", author, folder=retrained, repo_id="someone/standing")
    assert hub.objects.keys() == objects
    hub.faults.clear()
    author("push", folder=retrained, repo_id="someone/standing")
    assert standing.files()["model.safetensors"] == (retrained / "model.safetensors").read_bytes()


def test_without_a_token_nothing_is_sent_and_the_remedy_is_named(hub, author, folder):
    already = len(hub.log)
    words = r"^PermissionError: .*hf auth login.*HF_TOKEN"
    assert_refused(hub, words, author, {"HF_TOKEN": None}, folder=folder, repo_id="someone/untold")
    assert hub.log[already:] == []


def test_an_unknown_token_is_refused_and_not_repeated(hub, author, folder):
    error = assert_refused(
        hub, r"^PermissionError: .*hf auth login", author, folder=folder, repo_id="someone/untold", token="hf_gone"
    )
    assert "hf_gone" not in error


@pytest.mark.parametrize(
    ("name", "role", "repo_id"),
    [
        ("someone", "read", "someone/untold"),
        ("someone", "read", "someone/standing"),
        ("someone", "fineGrained", "someone/untold"),
        ("somebody_else", "write", "someone/untold"),
        ("somebody_else", "write", "someone/standing"),
        ("somebody_else", "write", "someone/tagger"),
    ],
)
def test_a_token_without_the_right_to_write_there_is_refused(
    hub, author, standing, retrained, first, name, role, repo_id
):
    objects = set(hub.objects)
    token = hub.add_token(name, role)
    words = r"(?s)^PermissionError: .*may (only read|not write)"
    assert_refused(hub, words, author, {"HF_TOKEN": token}, folder=retrained, repo_id=repo_id)
    assert hub.objects.keys() == objects


@pytest.mark.parametrize(
    ("case", "words"),
    [("no network", "Cannot reach the Hub.*nothing was sent"), ("offline", "Offline mode is on.*HF_HUB_OFFLINE")],
)
def test_a_hub_that_cannot_be_reached_is_said_in_words(hub, unreachable, folder, case, words):
    assert_refused(hub, f"(?s)^ConnectionError: {words}", unreachable[case], folder=folder, repo_id="someone/untold")


def test_a_repository_of_another_model_type_is_left_alone(hub, author, reader, folder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    reader("upload_folder", folder=tmp_path, repo_id="someone/bert", repo_type="model")
    assert_refused(hub, r"^ValueError: .*'someone/bert'.*'bert'", author, folder=folder, repo_id="someone/bert")


def test_a_private_push_never_goes_to_a_public_repository(hub, author, standing, retrained):
    words = r"^ValueError: .*'someone/standing' is public"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/standing", private=True)


def test_a_card_that_the_hub_does_not_take_is_said_in_words(hub, author, standing, retrained):
    (retrained / "README.md").write_text("---\ntags: [one, two\n---\nA card.\n")
    words = r"(?s)^ValueError: .*metadata in README.md"
    assert_refused(hub, words, author, folder=retrained, repo_id="someone/standing")


def without(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def written(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text)


def sparse(name: str, size: int) -> Callable[[Path], Any]:
    def make(folder: Path) -> None:
        with open(folder / name, "wb") as file:
            file.truncate(size)

    return make


FOLDERS = {
    "a file over the limit": (
        sparse("model.onnx", 50 * 10**9 + 1),
        "ValueError: .*'model.onnx' has 50,000,000,001 bytes",
    ),
    "broken facts": (written("metrics.json", "{"), "ValueError: .*metrics.json.*no JSON"),
    "no configuration": (without("config.json"), "FileNotFoundError: .*config.json"),
    "another type": (written("config.json", '{"model_type": "bert"}'), "ValueError: .*'bert'"),
    "no weights": (without("model.safetensors"), "FileNotFoundError: .*model.safetensors"),
    "broken weights": (written("model.safetensors", "no weights"), "ValueError: .*broken"),
    "no code": (without("losses.py"), "FileNotFoundError: .*code"),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
        "FileNotFoundError: .*tokenizer",
    ),
}


@pytest.mark.parametrize("damage", FOLDERS)
def test_a_folder_that_is_no_trained_tagger_is_refused_before_the_hub_is_asked(hub, author, retrained, damage):
    change, words = FOLDERS[damage]
    change(retrained)
    already = len(hub.log)
    assert_refused(hub, f"(?s)^{words}", author, folder=retrained, repo_id="someone/untold")
    assert hub.log[already:] == []


@pytest.mark.parametrize("name", ["README.md", "config.json", "modeling_rnn_multilabel.py"])
def test_a_file_that_holds_the_token_is_refused_and_the_token_not_repeated(hub, author, retrained, name):
    token = next(iter(hub.users))
    path = retrained / name
    text = path.read_text()
    path.write_text(
        text.replace('"thresholds"', f'"note": "{token}", "thresholds"')
        if name.endswith("json")
        else f"{text}\n# {token}\n"
    )
    assert_refused(
        hub, rf"^ValueError: .*{re.escape(name)}.*token", author, folder=retrained, repo_id="someone/untold"
    )
