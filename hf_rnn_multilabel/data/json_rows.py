"""Rows of JSON: an object per line, or a list of objects of which one at a time is in memory."""

import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeAlias

from .files import CONTROLS, DAMAGED, PathLike, quoted, undecodable, warn_of_controls


Row: TypeAlias = dict[str, Any]

CHUNK = 2**18  # characters that are read at once
# An error this near to the end of what was read may only mean that the rest is still to come.
MARGIN = 32
NO_SPACE = re.compile(r"[^ \t\r\n]")
SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
SURROGATE = re.compile("[\ud800-\udfff]")


def read_jsonl(lines: Iterator[str], path: PathLike, text_column: str = "text") -> Iterator[Row]:
    """Yields the objects of lines, of which some may be blank."""
    yield from _refuse_table(_read_lines(lines, path), path, text_column)


def _read_lines(lines: Iterator[str], path: PathLike) -> Iterator[Row]:
    row = 0
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        row += 1
        try:
            value = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            is_list = " If the file is one list of objects, its format is json." if line.lstrip()[:1] == "[" else ""
            where = f"Row {row} (line {number}) of {os.fspath(path)!r}"
            raise ValueError(f"{where} is no JSON: {error}.{is_list}") from error
        yield _checked(value, line, path, row, number)


def read_json(file: io.TextIOWrapper, path: PathLike, text_column: str = "text") -> Iterator[Row]:
    """Yields the objects of a list, or those that stand one after the other."""
    stream = _JsonStream(file, path)
    if stream.peek() == "[":
        yield from _read_list(stream)
        return
    yield from _refuse_table(_read_objects(stream), path, text_column)


def _read_objects(stream: "_JsonStream") -> Iterator[Row]:
    while stream.peek():
        value, text = stream.read_value()
        yield _checked(value, text, stream.path, stream.rows)


def _refuse_table(rows: Iterator[Row], path: PathLike, text_column: str) -> Iterator[Row]:
    """The same rows, if they are more than one object that holds all rows.

    Raises:
        ValueError: They are one object, with the rows under a key or by columns.
    """
    for first in rows:
        # An object with a text is a row, whatever else it holds.
        problem = "" if isinstance(first.get(text_column), str) else _table_in(first)
        second = next(rows, None) if problem else None
        if problem and second is None:
            raise ValueError(f"{os.fspath(path)!r} holds one object, {problem}")
        yield first
        if second is not None:
            yield second
        break
    yield from rows


def _table_in(row: Row) -> str:
    """What to say of an object that holds the rows of a whole table; "" if it is a row."""
    nested = [name for name, value in row.items() if _is_list_of(value, dict)]
    if len(nested) == 1:
        return f"with the rows under {nested[0]!r:.80}: write that list alone as json, or its objects as jsonl."
    values = list(row.values())
    lengths = {len(value) for value in values if isinstance(value, list)}
    by_columns = _is_list_of(values, dict) or (_is_list_of(values, list) and len(lengths) == 1)
    if by_columns or row.keys() == {"columns", "index", "data"}:
        return (
            f"with the table under {quoted(row)}, not a row per object: write it with one object per row. In pandas, "
            'this is `to_json(..., orient="records", lines=True)`, in a file that ends in .jsonl.'
        )
    return ""


def _is_list_of(values: Any, kind: type) -> bool:
    """Whether values are a list that is not empty, and all in it are of a type."""
    return isinstance(values, list) and bool(values) and all(isinstance(value, kind) for value in values)


def _read_list(stream: "_JsonStream") -> Iterator[Row]:
    stream.skip()
    following = "," if stream.peek() != "]" else "]"
    if following == "]":
        stream.skip()
    while following == ",":
        value, text = stream.read_value()
        yield _checked(value, text, stream.path, stream.rows)
        following = stream.peek()
        stream.skip()
    if following != "]":
        raise ValueError(
            f"Row {stream.rows} of {os.fspath(stream.path)!r} is followed by {following or 'the end'!r}; the rows of "
            "a list are separated by commas, and ] ends it. Is the file whole?"
        )
    if rest := stream.peek():
        raise ValueError(
            f"After the list of {stream.rows:,} rows, {os.fspath(stream.path)!r} has {rest!r}; write all rows as one "
            "list, or as jsonl."
        )


class _JsonStream:
    """JSON values one after the other, of which only one is in memory."""

    def __init__(self, file: io.TextIOWrapper, path: PathLike):
        self.file, self.path = file, path
        self.buffer, self.position, self.rows, self.warned = "", 0, 0, False

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            match = NO_SPACE.search(self.buffer, self.position)
            if match:
                self.position = match.start()
                return match.group()
            if not self.extend(keep=False):
                return ""

    def skip(self) -> None:
        self.position += 1

    def read_value(self) -> tuple[Any, str]:
        """The next value and its text."""
        self.rows += 1
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.buffer, self.position)
            except (ValueError, RecursionError) as error:
                at = getattr(error, "pos", 0)
                unfinished = "Unterminated string" in str(error) or len(self.buffer) - at < MARGIN
                if unfinished and self.extend(keep=True):
                    continue
                raise ValueError(f"Row {self.rows} of {os.fspath(self.path)!r} is no JSON: {error}.") from error
            text, self.position = self.buffer[self.position : end], end
            return value, text

    def extend(self, keep: bool) -> bool:
        """Reads on, as much again as is rest, so that long values take linear time."""
        rest = self.buffer[self.position :] if keep else ""
        try:
            more = self.file.read(max(CHUNK, len(rest)))
        except UnicodeDecodeError as error:
            raise undecodable(error, self.path, "The rows after row", self.rows) from error
        except DAMAGED as error:
            raise ValueError(
                f"Cannot read {os.fspath(self.path)!r} after row {self.rows}: {error}; is it whole?"
            ) from error
        if not self.warned and not more.isascii() and (found := CONTROLS.search(more)):
            self.warned = True
            where = f"A row after row {max(self.rows - 1, 0)}"
            warn_of_controls(more, found.start(), self.path, where, self.file.encoding)
        self.buffer, self.position = rest + more, 0
        return bool(more)


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        raise ValueError(f"{quoted(repeated)} more than once in one object")
    return row


def _checked(value: Any, text: str, path: PathLike, row: int, line: int | None = None) -> Row:
    if not isinstance(value, dict):
        at = f" (line {line})" if line is not None else ""
        raise ValueError(
            f"Row {row}{at} of {os.fspath(path)!r} is {value!r:.80}; a row must be a JSON object. If the file is one "
            "list of objects, its format is json, not jsonl."
        )
    try:
        return replace_surrogates(value) if SURROGATE_ESCAPE.search(text) else value
    except ValueError as error:
        raise ValueError(f"Row {row} of {os.fspath(path)!r} has {error}.") from error


def replace_surrogates(value: Any) -> Any:
    """The value with U+FFFD for each half of a surrogate pair in its strings."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return _unique([(replace_surrogates(name), replace_surrogates(item)) for name, item in value.items()])
    if isinstance(value, list | tuple):
        return [replace_surrogates(item) for item in value]
    return value


DECODER = json.JSONDecoder(object_pairs_hook=_unique)
