"""Text files that are whole or not there."""

import os
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file beside its place and move it there when it is whole.

    Args:
        path: The file. What it holds is kept until the new text is on the disk.
        text: Its content. Half a surrogate pair, which UTF-8 does not have, becomes "?".

    Raises:
        OSError: If the folder cannot be written to or the disk is full; nothing is left behind then.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
