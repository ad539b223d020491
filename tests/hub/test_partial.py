"""What is made beside a place is locked, and what the machine answers is said in words."""

import errno
import os
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
import torch
from filelock import FileLock
from safetensors import SafetensorError

from hf_rnn_multilabel.hub.partial import partial_folder, remove_partial, replace_folder, restore_folder


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
DEVICE = "/dev/full"  # answers each write as a full disk does


def write_text() -> None:
    with open(DEVICE, "w") as file:
        file.write("a")


def write_table() -> None:
    with pa.OSFile(DEVICE, "wb") as file:
        file.write(b"a")


def write_checkpoint() -> None:
    torch.save({"weight": torch.zeros(9)}, DEVICE)


@pytest.mark.parametrize("write", [write_text, write_table, write_checkpoint])
def test_fault_36_a_full_disk_is_said_in_words_whoever_writes(tmp_path, write):
    if not os.path.exists(DEVICE):
        pytest.skip(f"This machine has no {DEVICE}.")
    words = r"Could not finish '.*result': .* Make room there"
    with pytest.raises(OSError, match=words) as full, partial_folder(tmp_path / "result"):
        write()
    assert "Nothing at that place was changed" in str(full.value) and full.value.__cause__ is not None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "Read-only file system"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "quota"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "No space left",
        ),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"), "inline_container"),
    ],
    ids=["read_only", "quota", "safetensors", "torch"],
)
def test_fault_36_what_the_machine_answers_is_in_the_message(tmp_path, error, words):
    with pytest.raises(OSError, match=words) as refused, partial_folder(tmp_path / "result"):
        raise error
    assert "'" + str(tmp_path / "result") in str(refused.value)


def test_other_errors_are_as_they_are(tmp_path):
    for error in (FileNotFoundError(errno.ENOENT, "none", "in.csv"), ValueError("bad rows"), RuntimeError("shapes")):
        with pytest.raises(type(error)) as raised, partial_folder(tmp_path / "result"):
            raise error
        assert raised.value is error


def test_fault_36_a_place_that_cannot_be_written_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "file").touch()
    below = partial_folder(tmp_path / "file" / "below", setting="output")
    with pytest.raises(OSError, match=r"Cannot write to '.*below'.*another `output`"), below:
        raise AssertionError
    read_only = mock.patch.object(Path, "mkdir", side_effect=OSError(errno.EROFS, "Read-only file system"))
    with read_only, pytest.raises(OSError, match=r"Cannot write to .*Read-only"), partial_folder(tmp_path / "a"):
        raise AssertionError


def test_fault_15_a_name_that_is_no_utf_8_is_refused_before_a_training(tmp_path):
    with pytest.raises(ValueError, match="PYTHONUTF8=1"), partial_folder(tmp_path / "caf\udce9"):
        raise AssertionError
    assert os.listdir(tmp_path) == []


def test_fault_30_a_second_run_is_refused_and_a_dead_one_is_not(tmp_path):
    with partial_folder(tmp_path / "a", doing="is tagging into") as folder:
        second = partial_folder(tmp_path / "a", doing="is tagging into")
        with pytest.raises(BlockingIOError, match=r"Another run is tagging into '.*a'"), second:
            raise AssertionError
        with partial_folder(tmp_path / "a", is_locked=False) as same:
            assert same == folder
    # The lock of a process that was killed stays as a file.
    assert (folder / "lock").exists()
    with partial_folder(tmp_path / "a"):
        pass


def test_a_file_system_without_locks_is_written_without_one(tmp_path):
    without = mock.patch.object(FileLock, "acquire", side_effect=NotImplementedError)
    with without, partial_folder(tmp_path / "a") as folder:
        assert folder.is_dir()


def test_a_partial_folder_is_removed_whole(tmp_path):
    with partial_folder(tmp_path / "a") as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "link").symlink_to(tmp_path)
        (folder / "rows").touch()
        remove_partial(folder)
        remove_partial(folder)
    assert os.listdir(tmp_path) == []


def test_fault_41_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    place, new, old = tmp_path / "place", tmp_path / "new", tmp_path / "old"
    for folder, text in ((place, "earlier"), (new, "new")):
        folder.mkdir()
        (folder / "file").write_text(text)
    rename = Path.rename

    def fail_for_new(self, target):
        if self == new:
            raise FULL
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "rename", fail_for_new)
        replace_folder(new, place, old)
    assert (place / "file").read_text() == "earlier" and not old.exists()
    place.rename(old)  # a kill between the moves
    restore_folder(place, old)
    assert (place / "file").read_text() == "earlier"
    replace_folder(new, place, old)
    restore_folder(place, old)
    assert (place / "file").read_text() == "new" and (old / "file").read_text() == "earlier"


def test_the_process_that_locks_takes_the_folder_of_one_that_came_before_it(tmp_path):
    with partial_folder(tmp_path / "result", is_locked=False) as folder:
        (folder / "log").write_text("of the second process")
        with partial_folder(tmp_path / "result"):
            pass
