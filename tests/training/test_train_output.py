"""The folder that a training fills, and the checkpoint that it goes on from."""

from unittest import mock

import pytest
import train
import train_output
from helpers import are_equal, run_train, weights_of


@pytest.mark.parametrize("state", [None, "", '{"epoch": 2.0, "global'], ids=["none", "empty", "cut"])
def test_a_half_written_checkpoint_is_passed_over(tmp_path, state, capsys):
    for step in (8, 16, 120):
        (tmp_path / f"checkpoint-{step}").mkdir()
    if state is not None:
        (tmp_path / "checkpoint-120" / "trainer_state.json").write_text(state)
    assert train_output.prepare_output(tmp_path) is None
    assert capsys.readouterr().out == ""
    for step in (8, 16):
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert train_output.prepare_output(tmp_path) == str(tmp_path / "checkpoint-16")
    (tmp_path / "checkpoint-8" / "raw_weights.safetensors").touch()
    assert train_output.prepare_output(tmp_path, averages_weights=True) == str(tmp_path / "checkpoint-8")


def test_a_finished_folder_is_never_overwritten(trained):
    before = weights_of(trained)
    with pytest.raises(FileExistsError, match=r"holds a finished model; give another `--output_dir`"):
        run_train(trained)
    assert are_equal(weights_of(trained), before)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    with mock.patch.object(train, "read_data") as read_data:
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OSError, match=r"Cannot write to .*; give another `--output_dir`"):
                run_train(folder)
    assert not read_data.called
