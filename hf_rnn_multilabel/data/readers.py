"""One reader of files for every command."""

from collections.abc import Iterator
from os import PathLike
from typing import Any


FORMATS = ("txt", "jsonl", "json", "csv", "tsv", "parquet")


def read_rows(
    path: str | PathLike,
    *,
    file_format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text_column: str = "text",
) -> Iterator[dict[str, Any]]:
    """Yields the rows of a file, or of stdin ("-"), one at a time, in flat memory."""
    raise NotImplementedError


def read_texts(
    paths: str | PathLike | list[str],
    text_column: str | None = None,
    *,
    file_format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Iterator[str]:
    """Yields the texts of one or several files; a row without a text is an error with its number."""
    raise NotImplementedError
