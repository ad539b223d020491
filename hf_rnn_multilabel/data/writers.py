"""Output files of rows: in the format that the name says, written beside their place, moved into it when whole."""

import codecs
import csv
import io
import json
import math
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from .files import STANDARD_STREAM, PathLike, open_compressed, quoted, resolve_format
from .json_rows import SURROGATE


Row: TypeAlias = Mapping[str, Any]
Write: TypeAlias = Callable[[Row], object]

LINE_BREAK = re.compile("[\x85\u2028\u2029]")
PARQUET_ROWS = 1000  # that become a part of a table at once


class RowWriter:
    """What `open_output` gives.

    Attributes:
        rows: How many rows were written.
    """

    def __init__(self, write: Write):
        self.rows = 0
        self._write = write

    def write(self, row: Row) -> None:
        """Writes one row.

        Raises:
            ValueError: It does not fit into the format, with its number, counted from 1.
        """
        self.rows += 1
        try:
            self._write(row)
        except _MisfitError as error:
            raise ValueError(f"Row {self.rows} of the output {error}.") from None


class _MisfitError(Exception):
    """What is wrong with a row."""


@contextmanager
def open_output(
    path: PathLike, *, file_format: str | None = None, inputs: Iterable[PathLike] = ()
) -> Iterator[RowWriter]:
    """Opens a file, or stdout, for rows.

    What is at the path stays until all rows are written; after an error, or a stop, it is there as before. Text is
    UTF-8, a half of a surrogate pair becomes U+FFFD, in JSON a NaN or an infinity becomes null. In csv and tsv the
    first row names the columns, None is an empty field, and a list is JSON.

    Args:
        path: The file, whose name may end in .gz, .bz2, .xz or .zst, or "-" for stdout.
        file_format: jsonl, json, csv, tsv or parquet. By default as the name says; jsonl for stdout.
        inputs: The files that are read meanwhile, "-" for stdin: none may be the output.

    Yields:
        A writer, to whose `write` each row is given.

    Raises:
        ValueError: The output is an input or a folder, or is to have another format, or a row does not fit into it.
        FileNotFoundError: There is no such folder.
    """
    target = os.fspath(path)
    kind, compression = file_format or "jsonl", ""
    if target != STANDARD_STREAM:
        kind, compression = resolve_format(path, file_format)
    if kind not in WRITERS or (kind == "parquet" and compression):
        raise ValueError(
            f"The output {target!r} would be {kind}{compression}; it must be one of {', '.join(WRITERS)}, all but "
            "parquet also compressed. Give it another name, or pass `file_format`."
        )
    _refuse_inputs(target, inputs)
    with ExitStack() as stack:
        file = stack.enter_context(_standard_output() if target == STANDARD_STREAM else _whole_file(target))
        if compression:
            file = stack.enter_context(open_compressed(file, compression, "wb"))
        yield RowWriter(stack.enter_context(WRITERS[kind](file)))


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


def _refuse_inputs(target: str, inputs: Iterable[PathLike]) -> None:
    """Raises where the output is a folder, or one of the inputs by whatever name."""
    if target == STANDARD_STREAM or not os.path.exists(target):
        return
    if os.path.isdir(target):
        raise ValueError(f"The output {target!r} is a folder; give the path of a file.")
    place = os.stat(target)
    if not stat.S_ISREG(place.st_mode):
        return
    for path in [os.fspath(path) for path in inputs]:
        try:
            other = os.fstat(sys.stdin.fileno()) if path == STANDARD_STREAM else os.stat(path)
        except (OSError, ValueError, AttributeError):
            continue  # no such file, or a stdin that is none
        if os.path.samestat(place, other):
            raise ValueError(f"The output {target!r} is the input {path!r}, which would be lost; give another file.")


@contextmanager
def _whole_file(target: str) -> Iterator[Any]:
    """A file that takes its place when it is whole; a device or a pipe is written at once."""
    # A symbolic link stays, and what it points to is replaced.
    place = Path(os.path.realpath(target))
    if place.exists() and not place.is_file():
        with open(place, "wb") as file:
            yield file
        return
    if not place.parent.is_dir():
        raise FileNotFoundError(f"No folder {os.path.dirname(target)!r} for the output {target!r}; make it first.")
    part = place.with_name(f".{place.name[:200]}.{os.getpid()}-{secrets.token_hex(3)}.part")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, part)
        os.replace(part, place)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _standard_output() -> Iterator[Any]:
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
    # On a terminal, each row is seen at once.
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", line_buffering=file.isatty())

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
def _jsonl(file: Any) -> Iterator[Write]:
    with _text(file) as write:
        yield lambda row: write(json_text(row) + "\n")


@contextmanager
def _json(file: Any) -> Iterator[Write]:
    before = "[\n"

    def write_row(row: Row) -> None:
        nonlocal before
        write(before + json_text(row))
        before = ",\n"

    with _text(file) as write:
        yield write_row
        write("[]\n" if before == "[\n" else "\n]\n")


@contextmanager
def _csv(file: Any) -> Iterator[Write]:
    with _text(file) as write:
        # Before Python 3.13, a field is put in quotes for the characters of the line end alone, which are then both.
        sink = _Sink(lambda line: write(line.removesuffix("\r\n") + "\n"))
        yield _fields(csv.writer(sink, lineterminator="\r\n").writerow)


class _Sink:
    """What `csv.writer` writes to."""

    def __init__(self, write: Callable[[str], object]):
        self.write = write


@contextmanager
def _tsv(file: Any) -> Iterator[Write]:
    def write_fields(fields: list[str]) -> None:
        for field in fields:
            if any(character in field for character in "\t\r\n"):
                raise _MisfitError(f"holds {field!r:.80}: a tsv field has no tab or line break; write csv or jsonl")
        write("\t".join(fields) + "\n")

    with _text(file) as write:
        yield _fields(write_fields)


def _fields(write: Callable[[list[str]], object]) -> Write:
    """Writes rows as fields under a header, which the first row gives."""
    header: list[str] = []

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
def _parquet(file: Any) -> Iterator[Write]:
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


WRITERS = {"jsonl": _jsonl, "json": _json, "csv": _csv, "tsv": _tsv, "parquet": _parquet}
