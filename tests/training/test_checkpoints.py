"""A run resumes from a checkpoint that is whole, to the end of one that was not stopped, or starts again."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import are_equal, run_train, weights_of
from safetensors.torch import save_file

from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.training.checkpoints import last_checkpoint, problem_of


def write_checkpoint(folder: Path, step: int, best: int | None = None, waited: int = 0, patience: int = 3) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    save_file({"weight": torch.zeros(9)}, path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": torch.zeros(9)}, path / name)
    stopping = {
        "args": {"early_stopping_patience": patience},
        "attributes": {"early_stopping_patience_counter": waited},
    }
    state = {
        "best_model_checkpoint": None if best is None else str(folder / f"checkpoint-{best}"),
        "stateful_callbacks": {"EarlyStoppingCallback": stopping},
    }
    (path / "trainer_state.json").write_text(json.dumps(state))
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def test_the_last_checkpoint_is_that_of_the_most_steps(tmp_path):
    assert last_checkpoint(tmp_path) is None
    for step in (8, 120, 16):
        write_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-of-mine").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-120")
    assert last_checkpoint(tmp_path, averages_weights=True) is None
    save_file({"weight": torch.zeros(9)}, tmp_path / "checkpoint-8" / "raw_weights.safetensors")
    assert last_checkpoint(tmp_path, averages_weights=True) == str(tmp_path / "checkpoint-8")


FILES = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [Path.unlink, cut, lambda path: path.write_bytes(b"")], ids=["gone", "cut", "empty"]
)
def test_fault_37_a_damaged_checkpoint_is_passed_over_by_name(tmp_path, caplog, name, damage):
    write_checkpoint(tmp_path, 8)
    damage(write_checkpoint(tmp_path, 16) / name)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert str(tmp_path / "checkpoint-16") in warning and name.replace("model.", "").split(".")[0] in warning


def test_fault_37_a_flipped_bit_of_an_optimizer_is_found(tmp_path):
    path = write_checkpoint(tmp_path, 8) / "optimizer.pt"
    torch.save({"state": torch.full((9,), 7.0)}, path)
    position = path.read_bytes().index(torch.tensor([7.0]).numpy().tobytes())
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert "optimizer.pt cannot be read" in problem_of(path.parent)


def test_fault_37_a_checkpoint_whose_best_one_is_damaged_is_passed_over(tmp_path):
    cut(write_checkpoint(tmp_path, 8) / "model.safetensors")
    last = write_checkpoint(tmp_path, 16, best=8)
    assert "checkpoint-8', is missing or damaged" in problem_of(last)
    shutil.rmtree(tmp_path / "checkpoint-8")
    assert "checkpoint-8', is missing or damaged" in problem_of(last)
    assert last_checkpoint(tmp_path) is None


def test_a_training_that_early_stopping_has_ended_resumes_from_its_best_checkpoint(tmp_path):
    write_checkpoint(tmp_path, 8, best=8)
    write_checkpoint(tmp_path, 16, best=8, waited=1)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-16")
    write_checkpoint(tmp_path, 24, best=8, waited=2, patience=2)
    shutil.rmtree(tmp_path / "checkpoint-16")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-8")


def test_fault_37_a_run_with_a_damaged_last_checkpoint_ends_as_one_that_was_not_stopped(
    tmp_path, train_and_validation, kept_checkpoints, caplog
):
    folder, partial = tmp_path / "model", tmp_path / f"model{PARTIAL}"
    arguments = [*train_and_validation, "--num_train_epochs", "3", "--save_total_limit", "9", "--wide_head", "false"]
    run_train(folder, *arguments)
    # As it was after two epochs; a state names the best checkpoint by its path.
    folder.rename(tmp_path / "whole")
    shutil.rmtree(partial / "checkpoint-24")
    cut(partial / "checkpoint-16" / "optimizer.pt")
    caplog.set_level("INFO", "hf_rnn_multilabel")
    run_train(folder, *arguments)
    assert "checkpoint-16' is passed over" in caplog.text
    assert f"Resuming from {partial / 'checkpoint-8'}" in caplog.text
    assert are_equal(weights_of(folder), weights_of(tmp_path / "whole"))
