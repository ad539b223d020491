"""The folder that a run fills: whole or not there, and one run at a time."""

import json
import os
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock
from helpers import are_equal, run_train, weights_of

from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.training.folder import run_folder
from hf_rnn_multilabel.training.identity import identity
from hf_rnn_multilabel.training.recipe import Recipe


def test_a_result_is_there_at_once_and_nothing_else_is_left(tmp_path):
    with run_folder(tmp_path / "model") as folder:
        result = folder.result
        (result / "config.json").write_text("{}")
        (folder.partial / "checkpoint-8").mkdir()
        assert not folder.output.exists()
        folder.publish(result)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]


def test_a_run_that_fails_before_its_first_checkpoint_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="bad rows"), run_folder(tmp_path / "model"):
        raise ValueError("bad rows")
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_later_leaves_what_it_resumes_from(tmp_path):
    with pytest.raises(KeyboardInterrupt), run_folder(tmp_path / "model") as folder:
        (folder.partial / "checkpoint-8").mkdir()
        raise KeyboardInterrupt
    assert not (tmp_path / "model").exists() and (tmp_path / f"model{PARTIAL}" / "checkpoint-8").exists()


def test_an_empty_folder_is_filled_and_any_other_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with run_folder(tmp_path / "empty") as folder:
        folder.publish(folder.result)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    for name in ("file", "full"):
        with pytest.raises(FileExistsError, match=f"{name}' is not empty"), run_folder(tmp_path / name):
            pass


def test_fault_30_a_second_run_into_the_same_folder_is_refused(tmp_path):
    with run_folder(tmp_path / "model"):
        with pytest.raises(BlockingIOError, match="Another run is training into"), run_folder(tmp_path / "model"):
            pass
        with run_folder(tmp_path / "other"):
            pass
    with run_folder(tmp_path / "model"):
        pass


def test_fault_14_a_run_of_something_else_does_not_resume_and_what_differs_is_said(tmp_path):
    first = {"texts": {"train": "1a"}, "settings": {"seed": 1, "objective": "bce"}, "versions": {"torch": "2.13.0"}}
    with pytest.raises(KeyboardInterrupt), run_folder(tmp_path / "model") as folder:
        folder.identify(first)
        raise KeyboardInterrupt
    with run_folder(tmp_path / "model") as folder:
        folder.identify(json.loads(json.dumps(first)))
        (folder.partial / "checkpoint-8").mkdir()
    other = {"texts": {"train": "2b"}, "settings": {"seed": 2, "objective": "bce"}, "versions": {"torch": "2.13.0"}}
    with (
        pytest.raises(ValueError, match=r"settings.seed was 1, is 2; texts.train was \"1a\", is \"2b\""),
        run_folder(tmp_path / "model") as folder,
    ):
        folder.identify(other)


def test_a_finished_folder_is_never_overwritten(trained):
    before = weights_of(trained)
    with pytest.raises(FileExistsError, match=r"is not empty; give another `output_dir`"):
        run_train(trained)
    assert are_equal(weights_of(trained), before)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("hf_rnn_multilabel.training.tagger.load_data", None)
    with pytest.raises(OSError, match=r"file'"):
        run_train(tmp_path / "file")
    with pytest.raises(OSError, match=r"Cannot write to .*; give another `output_dir`"):
        run_train(tmp_path / "file" / "below")


def test_a_link_to_an_empty_folder_is_filled_where_it_leads(tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "large")
    with run_folder(tmp_path / "link") as folder:
        result = folder.result
        (result / "config.json").write_text("{}")
        folder.publish(result)
    assert (tmp_path / "large" / "config.json").exists() and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "link"]


def test_a_folder_that_cannot_be_replaced_is_filled(tmp_path, monkeypatch):
    (tmp_path / "mount").mkdir()
    monkeypatch.setattr(Path, "rmdir", lambda self: (_ for _ in ()).throw(OSError("busy")))
    with run_folder(tmp_path / "mount") as folder:
        result = folder.result
        (result / "config.json").write_text("{}")
        (result / "plots").mkdir()
        (result / "plots" / "f1.png").touch()
        folder.publish(result)
    assert {path.name for path in (tmp_path / "mount").iterdir()} == {"config.json", "plots"}


def test_the_weights_of_a_result_are_as_readable_as_its_other_files(tmp_path):
    with run_folder(tmp_path / "model") as folder:
        result = folder.result
        (result / "config.json").write_text("{}")
        (result / "model.safetensors").touch(mode=0o600)
        folder.publish(result)
    modes = {path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert len(modes) == 1


def test_another_file_at_the_same_path_is_another_run(tmp_path):
    def identify(text: str) -> dict:
        (tmp_path / "more.txt").write_text(text)
        (tmp_path / "teacher").mkdir(exist_ok=True)
        (tmp_path / "teacher" / "config.json").write_text("{}")
        args = {"unlabelled_file": str(tmp_path / "more.txt"), "teacher": [str(tmp_path / "teacher")]}
        return identity({"train": ["a"]}, Recipe(), distillation=args)

    assert identify("lamp") == identify("lamp") != identify("desk")
    assert set(identify("lamp")["files"]) == {"distillation.unlabelled_file", "distillation.teacher"}


@pytest.mark.parametrize("text", ["", "[]", "null", "{", None])
def test_fault_37_a_damaged_identity_is_named(tmp_path, text):
    with run_folder(tmp_path / "model") as folder:
        folder.identify({"seed": 1})
        (folder.partial / "checkpoint-1").mkdir()
        if text is None:
            (folder.partial / "run.json").unlink()
        else:
            (folder.partial / "run.json").write_text(text)
    with run_folder(tmp_path / "model") as folder, pytest.raises(ValueError, match=r"run\.json' is damaged"):
        folder.identify({"seed": 1})


def test_fault_31_checkpoints_of_another_program_are_left_alone(tmp_path):
    checkpoint = tmp_path / "model.partial" / "checkpoint-5"
    checkpoint.mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r"model\.partial.*no run has made it"), run_folder(tmp_path / "model"):
        pass
    assert checkpoint.is_dir()


def test_fault_30_a_run_that_waited_while_another_one_finished_is_refused(tmp_path):
    """The other run fills the folder just before this one gets the lock."""
    acquire = FileLock.acquire

    def finish_first(lock, *args, **kwargs):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("of the other run")
        return acquire(lock, *args, **kwargs)

    with (
        mock.patch.object(FileLock, "acquire", finish_first),
        pytest.raises(FileExistsError, match="`output_dir`"),
        run_folder(tmp_path / "model"),
    ):
        pass
    assert sorted(os.listdir(tmp_path)) == ["model"]
    assert (tmp_path / "model" / "config.json").read_text() == "of the other run"
