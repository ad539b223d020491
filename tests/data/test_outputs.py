"""An output file is whole or not there, is never an input, and resumes with the bytes of one that was not stopped."""

import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from itertools import islice
from unittest import mock

import pytest

from hf_rnn_multilabel.data import Resumption, open_output, outputs, read_rows


ROWS = [{"text": 'a "b", c\nd', "n": 1, "tags": ["é", "b"]}, {"text": "", "n": -2, "tags": []}]


def write(path, rows=ROWS, **options):
    with open_output(path, **options) as output:
        for row in rows:
            output.write(row)
    return output.rows


def test_fault_31_an_input_is_refused_by_whatever_name(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n')
    os.link(path, tmp_path / "hard.jsonl")
    os.symlink(path, tmp_path / "soft.jsonl")
    for name in ("in.jsonl", "hard.jsonl", "soft.jsonl", "../" + tmp_path.name + "/in.jsonl"):
        with pytest.raises(ValueError, match=r"is the input '.*in\.jsonl'"):
            write(tmp_path / name, inputs=["nowhere.jsonl", path])
        with open(path) as stdin, mock.patch.object(sys, "stdin", stdin), pytest.raises(ValueError, match="input '-'"):
            write(tmp_path / name, inputs=["-"])
    assert path.read_text() == '{"text": "a"}\n'
    with mock.patch.object(sys, "stdin", io.StringIO()):
        assert write(tmp_path / "other.jsonl", inputs=["-", path]) == 2


@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "a.csv", "a.parquet"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_fault_31_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, name, error):
    (tmp_path / name).write_text("yesterday")
    with pytest.raises(error), open_output(tmp_path / name) as output:
        for _ in range(5000):
            output.write(ROWS[0])
        assert (tmp_path / name).read_text() == "yesterday"
        raise error
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "yesterday"


def test_fault_31_a_killed_run_leaves_the_old_file(tmp_path):
    (tmp_path / "a.jsonl").write_text("yesterday")
    code = """
        import sys
        from hf_rnn_multilabel.data import open_output
        with open_output(sys.argv[1]) as output:
            for number in range(10_000):
                output.write({"text": "a" * 100})
            print("now", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "a.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"now\n"
        run.send_signal(signal.SIGKILL)
    assert (tmp_path / "a.jsonl").read_text() == "yesterday"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz"])
def test_fault_36_a_full_disk_leaves_the_old_file(tmp_path, name):
    (tmp_path / name).write_text("yesterday")
    words = r"Could not finish '.*a\..*': full\. Nothing at that place was changed"
    full = mock.patch.object(outputs.os, "fsync", side_effect=OSError(28, "full"))
    with full, pytest.raises(OSError, match=words):
        write(tmp_path / name)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "yesterday"


def test_links_modes_and_the_users_mask_are_kept(tmp_path):
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "real.jsonl").chmod(0o640)
    os.symlink("real.jsonl", tmp_path / "link.jsonl")
    write(tmp_path / "link.jsonl")
    assert os.path.islink(tmp_path / "link.jsonl") and len(list(read_rows(tmp_path / "real.jsonl"))) == 2
    assert stat.S_IMODE((tmp_path / "real.jsonl").stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        write(tmp_path / "new.jsonl")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "new.jsonl").stat().st_mode) == 0o640


def test_places_that_cannot_be_written_are_told_before_a_row_is(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        write(tmp_path / "folder.csv")
    with pytest.raises(FileNotFoundError, match=r"No folder '.*nowhere'"):
        write(tmp_path / "nowhere" / "a.csv")
    assert write("/dev/null", file_format="jsonl") == 2


# Resuming


WINDOW = 10
NAMES = ["a.jsonl", "a.json", "a.csv", "a.tsv"]


def rows_of(count: int, **changes) -> list[dict]:
    return [{"text": f"text {number} ü"} | changes.get(f"row_{number}", {}) for number in range(1, count + 1)]


def copy_in_windows(path, rows, resume=False, stop_after=None, identity=None, window=WINDOW):
    """Writes each row with its length, as a tagger does: all of a window are read, then all are written."""
    done = 0
    with open_output(path, resumption=Resumption(identity or {"model": "1a"}, window, resume)) as output:
        remaining = output.remaining(iter(rows))
        while part := list(islice(remaining, window)):
            for row in part:
                if done == stop_after:
                    raise KeyboardInterrupt
                output.write(row | {"tags": [len(row["text"])]})
                done += 1
    return output


def stopped(path, rows, stop_after, **options):
    with pytest.raises(KeyboardInterrupt):
        copy_in_windows(path, rows, stop_after=stop_after, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop_after", [0, 9, 10, 11, 34])
def test_fault_31_a_stopped_output_resumes_with_the_bytes_of_one_that_was_not(tmp_path, name, stop_after):
    rows = rows_of(35)
    copy_in_windows(tmp_path / f"whole {name}", rows)
    (tmp_path / name).write_text("yesterday")
    stopped(tmp_path / name, rows, stop_after)
    assert (tmp_path / name).read_text() == "yesterday"
    assert (tmp_path / f"{name}.partial").exists() == (stop_after >= WINDOW)
    output = copy_in_windows(tmp_path / name, rows, resume=True)
    assert (output.resumed, output.rows) == (stop_after // WINDOW * WINDOW, 35)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole {name}").read_bytes()
    assert sorted(os.listdir(tmp_path)) == sorted([name, f"whole {name}"])


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_output_may_be_stopped_again_and_later_rows_corrected(tmp_path, name):
    rows = rows_of(35)
    stopped(tmp_path / name, rows, 15)
    stopped(tmp_path / name, rows, 14, resume=True)
    corrected = rows_of(35, row_25={"text": "corrected"})
    assert copy_in_windows(tmp_path / name, corrected, resume=True).resumed == 20
    copy_in_windows(tmp_path / f"whole {name}", corrected)
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole {name}").read_bytes()


def test_an_output_that_was_stopped_starts_again_without_resume_and_says_so(tmp_path, caplog):
    stopped(tmp_path / "a.jsonl", rows_of(35), 20)
    assert "The first 20 rows are done" in caplog.text and "`resume`" in caplog.text
    output = copy_in_windows(tmp_path / "a.jsonl", rows_of(30, row_1={"text": "other"}))
    assert output.resumed == 0 and len(list(read_rows(tmp_path / "a.jsonl"))) == 30
    assert "held 20 rows of a stopped run" in caplog.text
    assert os.listdir(tmp_path) == ["a.jsonl"]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (rows_of(35, row_3={"text": "corrected"}), {}, "The first 20 rows of the input are not those"),
        (rows_of(12), {}, "The input has 12 rows, and the stopped run has read 20"),
        (rows_of(35), {"identity": {"model": "2b"}}, r'model was "1a", is "2b"'),
        (rows_of(35), {"identity": {"model": "1a", "top_k": 3}}, "top_k was null, is 3"),
    ],
    ids=["row", "fewer_rows", "model", "setting"],
)
def test_an_output_of_something_else_does_not_resume_and_what_differs_is_said(tmp_path, rows, options, message):
    (tmp_path / "a.csv").write_text("yesterday")
    stopped(tmp_path / "a.csv", rows_of(35), 20)
    before = {path.name: path.read_bytes() for path in (tmp_path / "a.csv.partial").iterdir()}
    with pytest.raises(ValueError, match=message) as refused:
        copy_in_windows(tmp_path / "a.csv", rows, resume=True, **options)
    assert "eave out `resume` to start again" in str(refused.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a.csv.partial").iterdir()} == before
    assert (tmp_path / "a.csv").read_text() == "yesterday"
    assert copy_in_windows(tmp_path / "a.csv", rows_of(35), resume=True).resumed == 20


def test_rows_that_are_lost_from_the_partial_folder_are_missed(tmp_path, caplog):
    stopped(tmp_path / "a.csv", rows_of(35), 20)
    os.truncate(tmp_path / "a.csv.partial" / "rows", 40)
    assert copy_in_windows(tmp_path / "a.csv", rows_of(35), resume=True).resumed == 0
    assert "files are damaged" in caplog.text


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl.gz", "/dev/null", "-"])
def test_an_output_that_cannot_resume_says_that_it_starts_again(tmp_path, caplog, capsys, name):
    place = name if name[0] in "/-" else tmp_path / name
    format_of = {"file_format": "jsonl"} if name == "/dev/null" else {}
    with open_output(place, resumption=Resumption({}, WINDOW, resume=True), **format_of) as output:
        for row in output.remaining(rows_of(3)):
            output.write(row)
    assert "`resume` starts again" in caplog.text and output.rows == 3


def test_resume_where_nothing_was_stopped_starts(tmp_path, caplog):
    assert copy_in_windows(tmp_path / "a.csv", rows_of(3), resume=True).rows == 3
    assert caplog.text == ""


def test_fault_30_a_second_run_into_the_same_file_is_refused(tmp_path):
    with open_output(tmp_path / "a.csv") as output:
        output.write(ROWS[0])
        with pytest.raises(BlockingIOError, match=r"Another run is writing '.*a.csv'; .*another `output`"):
            write(tmp_path / "a.csv")
    assert len(list(read_rows(tmp_path / "a.csv"))) == 1


def test_fault_31_a_killed_output_resumes_from_its_last_saved_rows(tmp_path, monkeypatch):
    code = """
        import os, signal, sys
        from pathlib import Path
        sys.path[:0] = sys.argv[2:]
        from hf_rnn_multilabel.data import outputs
        from test_outputs import copy_in_windows, rows_of
        outputs.SAVED_ROWS = 20
        def rows():
            for number, row in enumerate(rows_of(100)):
                if number == 75:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield row
        copy_in_windows(Path(sys.argv[1]), rows())
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "a.csv", os.path.dirname(__file__)]
    assert subprocess.run(list(map(str, command))).returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ["a.csv.partial"]
    assert copy_in_windows(tmp_path / "a.csv", rows_of(100), resume=True).resumed == 60
    copy_in_windows(tmp_path / "b.csv", rows_of(100))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_fault_36_a_disk_that_becomes_full_keeps_what_was_saved_and_more_room_resumes(tmp_path):
    """A limit of the process stands for the disk: the machine answers as one that is full."""
    (tmp_path / "a.csv").write_text("yesterday")
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = rows_of(4000)
    with mock.patch.object(outputs, "SAVED_ROWS", 20):
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, earlier[1]))
        try:
            with pytest.raises(OSError, match=r"Could not finish '.*a\.csv': File too large"):
                copy_in_windows(tmp_path / "a.csv", rows)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
    assert (tmp_path / "a.csv").read_text() == "yesterday"
    saved = json.loads((tmp_path / "a.csv.partial" / "state.json").read_text())
    assert copy_in_windows(tmp_path / "a.csv", rows, resume=True).resumed == saved["rows"] > 500
    copy_in_windows(tmp_path / "b.csv", rows)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def stop_after(path, number):
    rows = rows_of(100)
    with mock.patch.object(outputs, "SAVED_ROWS", 20), pytest.raises(KeyboardInterrupt):
        copy_in_windows(path, (row if index < number else stop() for index, row in enumerate(rows)))


def stop():
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state | {"rows": 0},
        lambda state: state | {"rows": -20},
        lambda state: state | {"rows": state["rows"] + 0.5},
        lambda state: state | {"bytes": 10},
        lambda state: state | {"bytes": -1},
        lambda state: state | {"columns": None},
        lambda state: {},
        lambda state: [],
        lambda state: None,
        lambda state: {"rows": "a", "bytes": "5"},
    ],
)
@pytest.mark.parametrize("resume", [False, True])
def test_fault_31_a_damaged_state_is_said_and_the_output_starts_again(tmp_path, caplog, change, resume):
    stop_after(tmp_path / "a.csv", 75)
    path = tmp_path / "a.csv.partial" / "state.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with caplog.at_level("WARNING"):
        assert copy_in_windows(tmp_path / "a.csv", rows_of(100), resume=resume).resumed == 0
    assert "files are damaged" in caplog.text
    copy_in_windows(tmp_path / "b.csv", rows_of(100))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_fault_31_rows_that_were_changed_since_the_stop_are_not_kept(tmp_path, caplog):
    stop_after(tmp_path / "a.csv", 75)
    path = tmp_path / "a.csv.partial" / "rows"
    data = bytearray(path.read_bytes())
    data[30:34] = b"####"
    path.write_bytes(data)
    with caplog.at_level("WARNING"):
        assert copy_in_windows(tmp_path / "a.csv", rows_of(100), resume=True).resumed == 0
    assert "files are damaged" in caplog.text and "####" not in (tmp_path / "a.csv").read_text()


def test_fault_31_a_folder_of_the_user_beside_the_output_is_left_alone(tmp_path):
    folder = tmp_path / "a.csv.partial"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"a\.csv\.partial.*no run has made it.*`output`"):
        copy_in_windows(tmp_path / "a.csv", rows_of(10))
    assert (folder / "mine" / "notes.txt").read_text() == "precious" and os.listdir(folder) == ["mine"]
    (tmp_path / "b.csv.partial").symlink_to(folder)
    with pytest.raises(FileExistsError, match="no run has made it"):
        copy_in_windows(tmp_path / "b.csv", rows_of(10))
    assert os.listdir(folder) == ["mine"]
