"""Output files: in the format that the name says, written beside their place and moved into it when whole."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, Protocol


class RowWriter(Protocol):
    """What `open_output` gives."""

    def write(self, row: dict[str, Any]) -> None:
        """Writes one row."""


def open_output(
    path: str | PathLike, *, file_format: str | None = None, inputs: Iterable[str | PathLike] = ()
) -> AbstractContextManager[RowWriter]:
    """Opens a file for rows, or stdout ("-", jsonl); refuses one that is one of `inputs` ("-" among them is stdin)."""
    raise NotImplementedError


def write_json(path: str | PathLike, value: Any) -> None:
    """Writes one value as strict JSON (NaN becomes null), UTF-8, moved into place when whole."""
    raise NotImplementedError
