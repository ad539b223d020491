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

from ..hub.atomic import write_text
from ..hub.fingerprint import differences
from ..hub.partial import LOCK, PARTIAL, partial_folder, remove_partial


IDENTITY, FINISHED, PUBLISHED = "run.json", "finished", "published"


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
        if path.exists() or any(self.partial.glob("checkpoint-*")):
            try:
                earlier = json.loads(path.read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):
                earlier = None
            if not isinstance(earlier, dict):
                raise ValueError(
                    f"{str(path)!r} is damaged or missing, so it is unknown what the checkpoints beside it are of; "
                    "remove that folder to start again."
                )
            different = differences(earlier, identity)
            if different:
                raise ValueError(
                    f"{self.partial} holds a stopped run of something else; what differs: {'; '.join(different)}. "
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
        # Whoever finds it beside a finished folder knows that this is all that was left to do.
        (self.partial / PUBLISHED).touch()
        try:
            if self.output.exists():
                self.output.rmdir()  # empty, as was checked
            os.replace(result, self.output)
        except OSError:
            # A mount point stays where it is: what makes a folder a model comes into it last.
            for path in sorted(result.iterdir(), key=lambda path: path.name == "config.json"):
                shutil.move(path, self.output / path.name)
        remove_partial(self.partial)


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
    with partial_folder(output, doing="is training into", is_locked=is_main_process):
        try:
            # Nobody else fills it from here on.
            if output.exists() and (not output.is_dir() or any(output.iterdir())):
                if (
                    is_main_process
                    and (folder.partial / PUBLISHED).exists()
                    and not (folder.partial / FINISHED).exists()
                ):
                    remove_partial(folder.partial)  # its run was killed in between
                raise FileExistsError(f"{str(output)!r} is not empty; give another `output_dir`, or remove it.")
            yield folder
        finally:
            if is_main_process:
                _remove_if_empty(folder.partial)


def _umask() -> int:
    """The permissions that this process does not give to new files; only setting them tells."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _remove_if_empty(folder: Path) -> None:
    """Remove a run's folder in which there is nothing to resume from."""
    if folder.exists() and {path.name for path in folder.iterdir()} <= {LOCK, IDENTITY, FINISHED, PUBLISHED}:
        shutil.rmtree(folder, ignore_errors=True)
