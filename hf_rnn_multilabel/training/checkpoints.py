"""Checkpoints to resume from: those that are whole, and from which a run ends as one that was not stopped."""

import json
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.utils import logging

from .averaging import RAW_WEIGHTS


logger = logging.get_logger(__name__)

STATE = "trainer_state.json"
WEIGHTS = "*.safetensors"
# What the stock Trainer resumes without, with other weights at the end.
NEEDED = (WEIGHTS, "optimizer*", "scheduler.pt", "rng_state*.pth")


def last_checkpoint(folder: Path, averages_weights: bool = False) -> str | None:
    """Finds the last checkpoint in a folder to resume from; says which later ones are damaged.

    Args:
        folder: Of the checkpoints.
        averages_weights: Whether the raw weights of an average belong to one.
    """
    paths = [path for path in folder.glob("checkpoint-*") if path.name.split("-")[1].isdecimal()]
    for path in sorted(paths, key=lambda path: -int(path.name.split("-")[1])):
        problem = problem_of(path, averages_weights)
        if problem is None:
            logger.info(f"Resuming from {path}.")
            return str(path)
        logger.warning(f"{str(path)!r} is passed over: {problem}.")
    return None


def problem_of(checkpoint: Path, averages_weights: bool = False) -> str | None:
    """Tells why a run does not resume from a checkpoint; None: it does.

    Args:
        checkpoint: Its folder.
        averages_weights: Whether the raw weights of an average belong to it.
    """
    needed = (*NEEDED, RAW_WEIGHTS) if averages_weights else NEEDED
    # The state is written last, and then the raw weights.
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"it was not written whole, {STATE} is missing or cut"
    missing = [pattern for pattern in needed if not list(checkpoint.glob(pattern))]
    if missing:
        return f"it lacks {', '.join(missing)}"
    damaged = [path.name for path in sorted(checkpoint.iterdir()) if not _is_whole(path)]
    if damaged:
        return f"{', '.join(damaged)} cannot be read"
    best = state.get("best_model_checkpoint")
    if best is not None and not any(map(_is_whole, Path(best).glob(WEIGHTS))):
        return f"the best checkpoint before it, {best!r}, is missing or damaged"
    if _waited_long_enough(state):
        # One more epoch might be a better one, which the run that was not stopped has not seen.
        return "the training ended there, and only the best checkpoint is needed"
    return None


def _is_whole(path: Path) -> bool:
    """Whether a file can be read to its end, as far as its format tells."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "numpy"):
                return True
        if path.suffix in (".pt", ".pth"):
            with zipfile.ZipFile(path) as file:
                return file.testzip() is None
    except (OSError, SafetensorError, zipfile.BadZipFile):
        return False
    return True


def _waited_long_enough(state: dict[str, Any]) -> bool:
    """Whether early stopping has ended the training."""
    callback = state.get("stateful_callbacks", {}).get("EarlyStoppingCallback", {})
    counter = callback.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return counter >= callback.get("args", {}).get("early_stopping_patience", counter + 1)
