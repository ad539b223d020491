"""The folder that a run fills: whole or not there, one run at a time, and a run that was stopped resumes in it.

A run for `outputs/mine` works in `outputs/mine.partial`, which holds its checkpoints, a lock and what the run is a run
of. The finished model is put together there and moved to `outputs/mine` as one.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from transformers.utils import logging

from ..hub.atomic import write_text
from .averaging import RAW_WEIGHTS


logger = logging.get_logger(__name__)

PARTIAL = ".partial"
LOCK, IDENTITY, FINISHED = "lock", "run.json", "finished"


@dataclass(frozen=True)
class RunFolder:
    """Where a run works, and where its result goes.

    Attributes:
        output: the result, which is not there until it is whole.
        partial: the folder of the run's own files beside it.
    """

    output: Path
    partial: Path

    def identify(self, identity: dict[str, Any]) -> None:
        """Say what the run is a run of; checkpoints of anything else are refused.

        Args:
            identity: by name, what must be the same for a run to resume: JSON values.

        Raises:
            ValueError: if the folder holds another run, with the names that differ.
        """
        path = self.partial / IDENTITY
        identity = json.loads(json.dumps(identity, default=str))
        if path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            differences = _differences(earlier, identity)
            if differences:
                raise ValueError(
                    f"{self.partial} holds a stopped run of something else; what differs: {'; '.join(differences)}. "
                    "Remove that folder to start again, or repeat the command that it is of to resume it."
                )
        write_text(path, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")

    @property
    def result(self) -> Path:
        """A new, empty folder in which the result is put together."""
        folder = self.partial / FINISHED
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def publish(self, result: Path) -> None:
        """Move the finished result to its place, and remove the run's own files."""
        for path in result.rglob("*"):
            if path.is_file():
                # Weights are written for their owner alone, which a shared folder would hide.
                path.chmod(0o666 & ~_umask())
        try:
            if self.output.exists():
                self.output.rmdir()  # empty, as was checked
            os.replace(result, self.output)
        except OSError:
            # A mount point stays where it is: what makes a folder a model comes into it last.
            for path in sorted(result.iterdir(), key=lambda path: path.name == "config.json"):
                shutil.move(path, self.output / path.name)
        shutil.rmtree(self.partial, ignore_errors=True)


@contextmanager
def run_folder(output_dir: str | Path, is_main_process: bool = True) -> Iterator[RunFolder]:
    """Open the folder of a run; an error while nothing is lost yet if it cannot take the result.

    Args:
        output_dir: where the result goes: a folder that does not exist, or an empty one.
        is_main_process: of several processes, the one that locks.

    Raises:
        FileExistsError: if the folder holds anything.
        BlockingIOError: if another run works for the same folder.
        OSError: if it cannot be written to.
    """
    output = Path(output_dir).resolve()
    folder = RunFolder(output, output.with_name(output.name + PARTIAL))
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{str(output)!r} is not empty; give another `output_dir`, or remove it.")
    try:
        folder.partial.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.partial / LOCK)
        if is_main_process:
            lock.acquire(timeout=0)
    except Timeout as error:
        raise BlockingIOError(
            f"Another run is training into {str(output)!r}; wait for it, or give another `output_dir`."
        ) from error
    except OSError as error:
        raise OSError(f"Cannot write to {str(output)!r} ({error.strerror}); give another `output_dir`.") from error
    try:
        yield folder
    finally:
        if is_main_process:
            lock.release()
            _remove_if_empty(folder.partial)


def last_checkpoint(folder: Path, averages_weights: bool = False) -> str | None:
    """The last checkpoint in a folder that was written whole, to resume from."""
    complete = [path for path in folder.glob("checkpoint-*") if is_complete(path, averages_weights)]
    if not complete:
        return None
    last = max(complete, key=lambda path: int(path.name.split("-")[1]))
    logger.info(f"Resuming from {last}.")
    return str(last)


def is_complete(checkpoint: Path, averages_weights: bool = False) -> bool:
    """Whether a checkpoint was written whole: its state comes last, and then the raw weights of an average."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return not averages_weights or (checkpoint / RAW_WEIGHTS).exists()


def _umask() -> int:
    """The permissions that this process does not give to new files; only setting them tells."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _differences(earlier: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two values of JSON, in words."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = sorted(earlier.keys() | now.keys())
        return [
            each for key in keys for each in _differences(earlier.get(key), now.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if earlier == now else [f"{name} was {_short(earlier)}, is {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Paths differ at their ends.
    return text if len(text) <= 60 else f"{text[:20]}...{text[-37:]}"


def _remove_if_empty(folder: Path) -> None:
    """Remove a run's folder in which there is nothing to resume from."""
    if folder.exists() and {path.name for path in folder.iterdir()} <= {LOCK, IDENTITY, FINISHED}:
        shutil.rmtree(folder, ignore_errors=True)
