"""Rows to bytes, in each format that is written."""

import codecs
import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO, TypeAlias

from .files import quoted
from .json_rows import SURROGATE


Row: TypeAlias = Mapping[str, Any]
Write: TypeAlias = Callable[[Row], object]

LINE_BREAK = re.compile("[\x85\u2028\u2029]")
PARQUET_ROWS = 1000  # that become a part of a table at once


class RowWriter:
    """Writes rows to a file, one after the other.

    Args:
        write: Writes one row.
        columns: Those of the first row, if there is one in the file.

    Attributes:
        rows: How many rows were written.
        columns: Those of the first row; None: there is none.
    """

    def __init__(self, write: Write, columns: list[str] | None = None):
        self.rows = 0
        self.columns = columns
        self._write = write

    def write(self, row: Row) -> None:
        """Writes one row.

        Raises:
            ValueError: It does not fit into the format, with its number, counted from 1.
        """
        if self.columns is None:
            self.columns = list(map(str, row))
        self.rows += 1
        try:
            self._write(row)
        except _MisfitError as error:
            raise ValueError(f"Row {self.rows} of the output {error}.") from None


class _MisfitError(Exception):
    """What is wrong with a row."""


def json_text(value: Any) -> str:
    """Strict JSON: null for a NaN or an infinity, and a list, a number or a string for what JSON lacks."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_plain)
    # Some programs end a line at these, as Python's `str.splitlines` does.
    return text if text.isascii() else LINE_BREAK.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value if isinstance(value, str | int | None) else _plain(value)


def _plain(value: Any) -> Any:
    """A list for an array and a number for one of numpy, else the value's text."""
    return _finite(value.tolist()) if hasattr(value, "tolist") else str(value)


@contextmanager
def standard_output() -> Iterator[Any]:
    """Opens stdout for bytes."""
    sys.stdout.flush()
    # A stream that somebody put in the place of stdout may take text alone.
    binary = getattr(sys.stdout, "buffer", None) or _TextSink(sys.stdout)
    yield binary
    binary.flush()


class _TextSink(io.RawIOBase):
    """Takes bytes of UTF-8 for a stream of text."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.stream.write(self.decoder.decode(bytes(data)))
        return len(data)


@contextmanager
def _text(file: Any) -> Iterator[Callable[[str], object]]:
    """Writes text to a file of bytes."""
    # On a terminal, each row is seen at once; the place in a file that buffers by itself is that of the last row.
    options = {"line_buffering": file.isatty(), "write_through": isinstance(file, io.BufferedWriter)}
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", **options)

    def write(string: str) -> None:
        try:
            text.write(string)
        except UnicodeEncodeError:
            text.write(SURROGATE.sub("\ufffd", string))

    try:
        yield write
        text.flush()
    finally:
        text.detach()


@contextmanager
def _jsonl(file: Any, columns: list[str] | None) -> Iterator[Write]:
    with _text(file) as write:
        yield lambda row: write(json_text(row) + "\n")


@contextmanager
def _json(file: Any, columns: list[str] | None) -> Iterator[Write]:
    before = "[\n" if columns is None else ",\n"

    def write_row(row: Row) -> None:
        nonlocal before
        write(before + json_text(row))
        before = ",\n"

    with _text(file) as write:
        yield write_row
        write("[]\n" if before == "[\n" else "\n]\n")


@contextmanager
def _csv(file: Any, columns: list[str] | None) -> Iterator[Write]:
    with _text(file) as write:
        # Before Python 3.13, a field is put in quotes for the characters of the line end alone, which are then both.
        sink = _Sink(lambda line: write(line.removesuffix("\r\n") + "\n"))
        yield _fields(csv.writer(sink, lineterminator="\r\n").writerow, columns)


class _Sink:
    """What `csv.writer` writes to."""

    def __init__(self, write: Callable[[str], object]):
        self.write = write


@contextmanager
def _tsv(file: Any, columns: list[str] | None) -> Iterator[Write]:
    def write_fields(fields: list[str]) -> None:
        for field in fields:
            if any(character in field for character in "\t\r\n"):
                raise _MisfitError(f"holds {field!r:.80}: a tsv field has no tab or line break; write csv or jsonl")
        write("\t".join(fields) + "\n")

    with _text(file) as write:
        yield _fields(write_fields, columns)


def _fields(write: Callable[[list[str]], object], columns: list[str] | None) -> Write:
    """Writes rows as fields under a header, which is there already or the first row gives."""
    header: list[str] = list(columns or [])

    def write_row(row: Row) -> None:
        if not header:
            header.extend(map(str, row))
            write(header)
        others = [name for name in row if name not in header]
        if others:
            raise _MisfitError(
                f"has the columns {quoted(others)} besides those of the first row, {quoted(header)}; write jsonl"
            )
        write([_field(row.get(name)) for name in header])

    return write_row


def _field(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else json_text(value)


@contextmanager
def _parquet(file: Any, columns: list[str] | None) -> Iterator[Write]:
    from pyarrow.parquet import ParquetWriter

    from .tables import TableBuilder

    builder = TableBuilder("the output")
    rows: list[dict[str, Any]] = []

    def write_row(row: Row) -> None:
        rows.append(dict(row))
        if len(rows) == PARQUET_ROWS:
            builder.add_rows(rows)
            rows.clear()

    try:
        yield write_row
        if rows:
            builder.add_rows(rows)
        table = builder.finish().table
        with ParquetWriter(file, table.schema) as writer:
            writer.write_table(table, row_group_size=100_000)
    finally:
        builder.close()


# Of a file of bytes, and the columns of its first row if there are rows in it already.
WRITERS = {"jsonl": _jsonl, "json": _json, "csv": _csv, "tsv": _tsv, "parquet": _parquet}
