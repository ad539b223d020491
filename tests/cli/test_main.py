"""The console command: subcommands, exit codes, and errors in one line."""

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from unittest import mock

import pytest
from helpers import ROOT, make_rows, write_csv, write_jsonl
from huggingface_hub.errors import HTTPError

from hf_rnn_multilabel import RnnMultilabelConfig, __version__
from hf_rnn_multilabel.cli.main import COMMANDS, as_options, main


COMMAND = [sys.executable, "-m", "hf_rnn_multilabel.cli.main"]
pytestmark = pytest.mark.usefixtures("loggers")


@pytest.fixture
def push_raises():
    """Let a subcommand raise something."""

    def patched(error):
        return mock.patch("hf_rnn_multilabel.cli.push.main", side_effect=error)

    return patched


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)], ids=str)
def test_the_help_names_every_command(capsys, argv, code):
    assert main(argv) == code
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS) and len(out.splitlines()) < 25


def test_a_command_that_there_is_not_is_told_with_those_that_there_are(capsys):
    assert main(["trian", "--output_dir", "x"]) == 2
    err = capsys.readouterr().err
    assert "'trian'" in err and "train" in err.replace("trian", "") and err.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    file = " [FILE]" if name == "inspect" else ""
    assert out.startswith(f"usage: hf-rnn-multilabel {name}{file} [options]\n")
    assert f"  hf-rnn-multilabel {name} " in out.split("Examples:")[1]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["tag"], ["--model"]),
        (["tag", "--modle", "x"], ["--modle", "model"]),
        (["evaluate", "--model", "x"], ["--model", "--input"]),
        (["thresholds", "--model", "x"], ["--input", "--output_dir"]),
        (["pretrain"], ["--train_file"]),
        (["export"], ["--model"]),
        (["push", "--folder", "x"], ["--repo_id"]),
        (["train", "--seed", "many"], ["--seed", "many"]),
        (["train", "--cell_type", "transformer"], ["--cell_type", "transformer", "lstm"]),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_is_missing(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert all(word in captured.err for word in words) and captured.out == ""
    assert f"hf-rnn-multilabel {argv[0]} --help" in captured.err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("`top_k` is 0;\n  it must be at least 1."), "`top_k` is 0; it must be at least 1."),
        (FileNotFoundError(2, "No such file", "a.csv"), "a.csv"),
        (HTTPError("no network\n\nNothing was sent."), "no network Nothing was sent."),
        (ValueError(), "ValueError"),
    ],
    ids=["value", "file", "hub", "empty"],
)
def test_an_error_is_one_line_without_a_traceback(push_raises, capsys, error, words):
    with push_raises(error):
        assert main(["push"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("hf-rnn-multilabel push: ") and words in captured.err
    assert captured.err.count("\n") == 1 and captured.out == ""


def test_a_setting_is_named_as_the_option_that_it_is(push_raises, capsys):
    with push_raises(ValueError("`repo_id` is 3; pass `token='a b'`, not `top_k`, or `dry_run`.")):
        assert main(["push"]) == 1
    words = "`--repo_id` is 3; pass `--token 'a b'`, not `top_k`, or `--dry_run`."
    assert capsys.readouterr().err == f"hf-rnn-multilabel push: {words}\n"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("`separator=' '`", "`--label_separator ' '`"),
        (
            "`separator=';'` (`--label_separator`), or (`label_names`, `--label_list`)",
            "`--label_separator ';'`, or (`--label_list`)",
        ),
        ("`label_column=['tags']`", "`--label_column tags`"),
        ("""`label_column=['a b', "it's"]`""", """`--label_column 'a b' 'it'"'"'s'`"""),
        (r"`delimiter='\t'`", r"`--delimiter $'\t'`"),
        ('`encoding="cp1252"`', "`--encoding cp1252`"),
        ("`group_duplicates=True`", "`--group_duplicates True`"),
        ("`max_length=a number`", "`--max_length a number`"),
    ],
    ids=["renamed", "both", "list", "quotes", "tab", "string", "flag", "words"],
)
def test_a_setting_of_python_can_be_copied_into_a_shell(message, words):
    assert as_options(message, "inspect") == words
    assert as_options("`label_names`", "push") == "`label_names`"


def test_what_the_configuration_refuses_is_told_without_the_name_of_its_method(push_raises, capsys):
    def refused(argv):
        RnnMultilabelConfig(id2label={0: "a", 1: "b"}, thresholds={"c": 0.5})

    with push_raises(refused):
        assert main(["push"]) == 1
    err = capsys.readouterr().err
    assert "`thresholds`" in err and "validat" not in err and err.count("\n") == 1


def test_fault_15_a_name_that_the_locale_cannot_read_is_told_before_anything_is_done(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*COMMAND, "train", "--output_dir", str(tmp_path / "模型")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | plain)
    assert done.returncode == 2 and "set PYTHONUTF8=1" in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_defect_shows_where_it_came_from(push_raises):
    with push_raises(AssertionError("a defect")), pytest.raises(AssertionError, match="a defect"):
        main(["push"])


def test_a_missing_package_of_an_extra_is_told_with_what_installs_it(push_raises, capsys):
    for module, extra in {"datasets": "train", "sklearn.metrics": "train", "onnx": "onnx", "optuna": "search"}.items():
        with push_raises(ModuleNotFoundError(f"No module named {module!r}", name=module)):
            assert main(["push"]) == 1
        err = capsys.readouterr().err
        assert f'`pip install "hf-rnn-multilabel[{extra}]"`' in err and err.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl_c", "sigterm"])
def test_a_command_that_is_stopped_says_so(push_raises, capsys, number, code):
    earlier = signal.getsignal(signal.SIGTERM)
    with push_raises(lambda argv: os.kill(os.getpid(), number)):
        assert main(["push"]) == code
    assert "stopped" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == earlier


def test_what_the_package_reports_and_warns_of_goes_to_the_error_stream(push_raises, capsys):
    def report(argv):
        logging.getLogger("hf_rnn_multilabel.training").info("a report")
        sys.stderr.write(warnings.formatwarning("a warning", UserWarning, "file.py", 1))

    with push_raises(report):
        assert main(["push"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "a report\nWarning: a warning\n" and captured.out == ""


def test_a_reader_who_has_had_enough_ends_the_command_quietly(trained, tmp_path):
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows(20_000))
    command = [*COMMAND, "tag", "--model", trained, "--input", path]
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert json.loads(child.stdout.readline()).keys() == {"text", "labels", "predicted_labels"}
    child.stdout.close()
    assert (child.wait(timeout=300), child.stderr.read()) == (0, b"")


def test_a_base_install_tags_and_says_what_more_training_needs(trained, tmp_path):
    rows = make_rows(30, seed=9)
    files = {"jsonl": write_jsonl(tmp_path / "in.jsonl.gz", rows)}
    files["csv"] = write_csv(tmp_path / "in.csv", [{"text": row["text"]} for row in rows])
    (tmp_path / "in.txt").write_text("".join(row["text"] + "\n" for row in rows))
    files["txt"] = str(tmp_path / "in.txt")
    commands = [["--help"], ["tag", "--help"]]
    tagged = [str(tmp_path / f"tagged.{kind}") for kind in ("jsonl", "csv", "json")]
    for path, output in zip(files.values(), tagged, strict=True):
        commands.append(["tag", "--model", str(trained), "--input", path, "--output", output])
    commands += [["push", "--folder", str(trained), "--repo_id", "me/tagger", "--dry_run"]]
    needs = {"train": "train", "evaluate": "train", "thresholds": "train", "pretrain": "train", "distill": "train"}
    commands += [[name, "--output_dir", str(tmp_path / "x")] for name in needs]
    commands += [["export", "--model", str(trained), "--output_dir", str(tmp_path / "x")]]
    commands += [["tag", "--model", str(trained), "--input", files["csv"], "--output", str(tmp_path / "x.parquet")]]
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "support" / "base_install.py", json.dumps(commands)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for argv, (code, out, err) in zip(commands[:6], found[:6], strict=True):
        assert (code, err.count("Traceback")) == (0, 0), (argv, out, err)
    for argv, (code, out, err) in zip(commands[6:], found[6:], strict=True):
        extra = "onnx" if argv[0] == "export" else "train"
        assert (code, out) == (1, "") and f'`pip install "hf-rnn-multilabel[{extra}]"`' in err, (argv, err)
        assert err.count("\n") == 1
    with_extras = tmp_path / "with_extras.jsonl"
    assert main(["tag", "--model", str(trained), "--input", files["txt"], "--output", str(with_extras)]) == 0
    expected = [json.loads(line) for line in with_extras.read_text().splitlines()]
    assert json.loads((tmp_path / "tagged.json").read_text()) == expected
    assert not (tmp_path / "x").exists() and not (tmp_path / "x.parquet").exists()
