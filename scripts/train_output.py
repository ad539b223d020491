"""The folder that a training fills: whether it can take a model, and the checkpoint to go on from."""

import json
import tempfile
from pathlib import Path

from hf_rnn_multilabel.training.averaging import RAW_WEIGHTS


METRICS = "metrics.json"


def prepare_output(folder: Path, averages_weights: bool = False) -> str | None:
    """The checkpoint to go on from, if any; an error while nothing is lost yet if the folder cannot take the model."""
    if (folder / METRICS).exists():
        raise FileExistsError(f"{folder} holds a finished model; give another `--output_dir`, or remove it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(f"Cannot write to {str(folder)!r} ({error.strerror}); give another `--output_dir`.") from error
    return last_checkpoint(folder, averages_weights)


def last_checkpoint(folder: Path, averages_weights: bool) -> str | None:
    """The last checkpoint in a folder that was not cut short."""
    complete = [path for path in folder.glob("checkpoint-*") if is_complete(path, averages_weights)]
    if not complete:
        return None
    last = max(complete, key=lambda path: int(path.name.split("-")[1]))
    print(f"Going on from {last}.")
    return str(last)


def is_complete(checkpoint: Path, averages_weights: bool = False) -> bool:
    """Whether a checkpoint was not cut short: its state is written last, and then what the averaging goes on from."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return not averages_weights or (checkpoint / RAW_WEIGHTS).exists()
