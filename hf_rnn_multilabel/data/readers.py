"""One reader of files for every command: rows one at a time, in flat memory, as many as the file holds."""

import csv
import io
import json
import os
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

from .files import (
    DAMAGED,
    FORMATS,
    STANDARD_STREAM,
    PathLike,
    check_input,
    open_bytes,
    open_text,
    read_lines,
    resolve_format,
    undecodable,
)


if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMATS", "read_parquet", "read_rows", "read_texts"]

Row: TypeAlias = dict[str, Any]

DELIMITERS = {"csv": ",", "tsv": "\t"}
# Names of the column with the texts, the likeliest first.
TEXT_COLUMNS = ("text", "sentence", "content", "description", "abstract", "body")
MAX_FIELD = 2**26  # characters of a csv field; more are a quotation mark that nobody closed
PARQUET_ROWS = 1024  # in memory at once
JSON_CHUNK = 2**18  # characters that are read at once
# An error this near to the end of what was read may only mean that the rest is still to come.
JSON_MARGIN = 32
NO_SPACE = re.compile(r"[^ \t\r\n]")
SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
SURROGATE = re.compile("[\ud800-\udfff]")


def read_rows(
    path: PathLike,
    *,
    file_format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text_column: str | None = "text",
) -> Iterator[Row]:
    r"""Reads the rows of a file or of stdin, one at a time and as many as there are.

    - txt: each line is a row, an empty one too.
    - jsonl: each line that is not blank is an object. json: a list of objects, or objects one after the other.
    - csv and tsv: the first line names the columns, and every value is a string, whatever it looks like. An empty
      field is None, except that of a text, which is "". In csv, quotation marks enclose fields that may span lines,
      and one that is not closed is an error. In tsv, a quotation mark is text.
    - parquet: the values of its columns.

    Halves of surrogate pairs, which no file can hold, become U+FFFD.

    Args:
        path: The file, plain or compressed (.gz, .bz2, .xz, .zst), or "-" for stdin.
        file_format: One of `FORMATS`. By default as the name says; txt for stdin.
        delimiter: The character between the fields of csv and tsv; by default a comma or a tab.
        encoding: Of a text file. By default UTF-8, or what a byte-order mark says.
        text_column: The column with the texts, which names the lines of txt.

    Returns:
        The rows by column.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or does not have the format or encoding, a header repeats a name, or a row
            has too many or too few fields; with the number of the row, counted from 1, or of the line.
    """
    check_input(path)
    if os.fspath(path) == STANDARD_STREAM and file_format is None:
        file_format = "txt"
    kind, compression = resolve_format(path, file_format)
    delimiter = _check_delimiter(delimiter, kind)
    if kind == "parquet":
        return (row for table in read_parquet(path, compression) for row in table.to_pylist())

    def parse() -> Iterator[Row]:
        with open_text(path, compression, encoding) as file:
            if kind == "json":
                yield from _read_json(file, path)
                return
            lines = read_lines(file, path)
            if kind == "txt":
                yield from _read_txt(lines, text_column or "text")
            elif kind == "jsonl":
                yield from _read_jsonl(lines, path)
            else:
                fields = _split_tsv(lines, delimiter) if kind == "tsv" else _split_csv(lines, delimiter, path)
                yield from _read_fields(fields, path, delimiter, kind, text_column)

    return parse()


def read_texts(
    paths: PathLike | Iterable[PathLike],
    text_column: str | None = None,
    *,
    file_format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Iterator[str]:
    """Reads the texts of one or several files, one at a time, the empty ones too.

    Args:
        paths: The files, as `read_rows` takes them.
        text_column: The column with the texts. By default found in the first rows of each file.
        file_format: As in `read_rows`.
        delimiter: As in `read_rows`.
        encoding: As in `read_rows`.

    Returns:
        The texts in the order of files and rows.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As in `read_rows`, or a row has no string as its text, with the number of the row.
    """
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        rows = read_rows(
            path, file_format=file_format, delimiter=delimiter, encoding=encoding, text_column=text_column
        )
        column, delimited = text_column, is_delimited(path, file_format)
        if column is None:
            first = list(islice(rows, 100))
            rows = chain(first, rows)
            column = guess_text_column(first, path) if first else "text"
        for number, row in enumerate(rows, 1):
            text = row.get(column)
            if text is None and delimited and column in row:
                text = ""
            if not isinstance(text, str):
                raise missing_text(row, column, f"Row {number} of {os.fspath(path)!r}")
            yield text


def is_delimited(path: PathLike, file_format: str | None = None) -> bool:
    """Whether a file is csv or tsv, where an empty field of texts is an empty text."""
    if os.fspath(path) == STANDARD_STREAM and file_format is None:
        return False
    return resolve_format(path, file_format)[0] in DELIMITERS


def missing_text(row: Row, column: str, where: str) -> ValueError:
    """The error for a row whose text is missing or no string."""
    return ValueError(
        f"{where} has {row.get(column)!r:.80} as `{column}`; it must be a string. Its columns are {list(row)}; name "
        "the texts' with `text_column`."
    )


def guess_text_column(rows: list[Row], where: PathLike, others: Iterable[str] = ()) -> str:
    """Finds the column with the texts in some rows.

    Args:
        rows: The first rows of a file.
        where: The file, for the error.
        others: Columns that hold something else.

    Returns:
        The first of `TEXT_COLUMNS` that holds strings, else the only column that does, numbers in strings aside.

    Raises:
        ValueError: No column or several columns fit.
    """
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    strings = [
        name
        for name, found in values.items()
        if name not in set(others) and all(isinstance(value, str) for value in found)
    ]
    named = [name for name in TEXT_COLUMNS if name in strings]
    words = [name for name in strings if not all(_is_number(value) for value in values[name])]
    if named or len(words) == 1:
        return (named or words)[0]
    raise ValueError(
        f"Which column of {os.fspath(where)!r} holds the texts? Those with strings are {words or strings}, and none "
        f"is called one of {', '.join(TEXT_COLUMNS)}; pass `text_column`. All columns: {list(values)}."
    )


def read_parquet(path: PathLike, compression: str = "", columns: list[str] | None = None) -> "Iterator[pa.Table]":
    """Reads a parquet file as tables of some rows.

    Args:
        path: The file, or "-" for stdin.
        compression: Of the whole file, one of `files.COMPRESSIONS` or "".
        columns: Those to read that are there; by default all.

    Raises:
        ValueError: It is no parquet file, two columns have one name, or pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ValueError("A parquet file needs the package pyarrow: `pip install pyarrow`.") from error
    with open_bytes(path, compression) as file:
        # Parquet is read from its end; a stream has none yet.
        if compression or not file.seekable():
            whole = tempfile.TemporaryFile()  # noqa: SIM115
            shutil.copyfileobj(file, whole)
            file = whole  # type: ignore[assignment]
        try:
            parquet = ParquetFile(file)
            names = parquet.schema_arrow.names
            _check_header(names, path)
            chosen = None if columns is None else [name for name in names if name in columns]
            for batch in parquet.iter_batches(PARQUET_ROWS, columns=chosen):
                yield pa.Table.from_batches([batch])
        except (pa.ArrowException, *DAMAGED) as error:
            raise ValueError(f"Cannot read {os.fspath(path)!r} as parquet: {error}") from error
        finally:
            if file is not None and compression:
                file.close()


def _check_delimiter(delimiter: str | None, kind: str) -> str:
    if delimiter is None:
        return DELIMITERS.get(kind, "")
    if kind not in DELIMITERS:
        raise ValueError(f"`delimiter` is {delimiter!r}, but {kind} files have none; leave it out.")
    if delimiter == r"\t":
        return "\t"
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"`delimiter` is {delimiter!r}; it must be one character, for example ; or \\t.")
    return delimiter


def _read_txt(lines: Iterator[str], text_column: str) -> Iterator[Row]:
    for line in lines:
        yield {text_column: line.rstrip("\r\n")}


def _split_tsv(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        line = line.rstrip("\r\n")
        yield number, line.split(delimiter) if line else []


def _split_csv(lines: Iterator[str], delimiter: str, path: PathLike) -> Iterator[tuple[int, list[str]]]:
    """Yields the fields of each row, and the number of its first line."""
    record: list[str] = []

    def recorded() -> Iterator[str]:
        for line in lines:
            record.append(line)
            yield line

    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(recorded(), delimiter=delimiter, strict=True)
    start, columns, row, suspicious = 1, 0, 0, False
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            unclosed = "unexpected end" in str(error) or "field larger" in str(error)
            problem = "opens a quotation mark that is never closed" if unclosed else f"is no csv ({error})"
            raise ValueError(
                f"{f'Row {row}' if row else 'The header'} (from line {start} to {reader.line_num}) of "
                f"{os.fspath(path)!r} {problem}. Put a field with a quotation mark in quotes and double that mark; "
                'or, if quotation marks are text, pass `file_format="tsv"` and the `delimiter`.'
            ) from error
        if len(record) > 1 and not suspicious and columns > 1 and _look_like_rows(record, delimiter, columns):
            suspicious = True
            warnings.warn(
                f"Row {row} (line {start}) of {os.fspath(path)!r} is one field in quotes over {len(record)} lines, "
                f"each of which has {columns} fields as a row has. If it is not meant so, a quotation mark is not "
                "closed.",
                stacklevel=2,
            )
        yield start, fields
        columns = columns or len(fields)
        row += bool(fields) or columns == 1
        start = reader.line_num + 1
        record.clear()


def _look_like_rows(lines: list[str], delimiter: str, columns: int) -> bool:
    """Whether each line of a row that spans several could be a row by itself."""
    return all(line.count(delimiter) == columns - 1 for line in lines)


def _read_fields(
    rows: Iterator[tuple[int, list[str]]], path: PathLike, delimiter: str, kind: str, text_column: str | None
) -> Iterator[Row]:
    header = next((fields for _, fields in rows if fields), [])
    _check_header(header, path)
    if len(header) == 1 and (others := [other for other in ",;\t|" if other in header[0]]):
        raise ValueError(
            f"The header of {os.fspath(path)!r} is one field, {header[0]!r:.80}; pass `delimiter={others[0]!r}` if "
            "that is what stands between the fields."
        )
    width, number = len(header), 0
    for line, fields in rows:
        if not fields:
            if width > 1:
                continue
            fields = [""]
        number += 1
        if len(fields) != width:
            remedy = (
                "put a field that holds the delimiter in quotes"
                if kind == "csv"
                else "a tsv field cannot hold the delimiter, so write csv or jsonl"
            )
            raise ValueError(
                f"Row {number} (line {line}) of {os.fspath(path)!r} has {len(fields)} fields and the header {width}, "
                f"{header}; {remedy}, or pass another `delimiter` than {delimiter!r}. The fields: {fields!r:.200}."
            )
        row = {name: field or None for name, field in zip(header, fields, strict=True)}
        if text_column in row and row[text_column] is None:
            row[text_column] = ""
        yield row


def _check_header(names: list[str], path: PathLike) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"The header of {os.fspath(path)!r} has {repeated} more than once; rename the columns.")


def _read_jsonl(lines: Iterator[str], path: PathLike) -> Iterator[Row]:
    row = 0
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        row += 1
        try:
            value = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"Row {row} (line {number}) of {os.fspath(path)!r} is no JSON: {error}.") from error
        yield _checked(value, line, path, row, number)


def _read_json(file: io.TextIOWrapper, path: PathLike) -> Iterator[Row]:
    """Yields the objects of a list, or those that stand one after the other."""
    stream = _JsonStream(file, path)
    in_list = stream.peek() == "["
    if in_list:
        stream.skip()
        if stream.peek() == "]":
            return
    while stream.peek():
        value, text = stream.read_value()
        yield _checked(value, text, path, stream.rows)
        if in_list:
            separator = stream.peek()
            if separator == "]":
                break
            if separator != ",":
                raise ValueError(
                    f"Row {stream.rows} of {os.fspath(path)!r} is followed by {separator or 'the end'!r}; the rows of "
                    "a list are separated by commas, and ] ends it."
                )
            stream.skip()


class _JsonStream:
    """JSON values one after the other, of which only one is in memory."""

    def __init__(self, file: io.TextIOWrapper, path: PathLike):
        self.file, self.path = file, path
        self.buffer, self.position, self.rows = "", 0, 0

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
                unfinished = "Unterminated string" in str(error) or len(self.buffer) - at < JSON_MARGIN
                if unfinished and self.extend(keep=True):
                    continue
                raise ValueError(f"Row {self.rows} of {os.fspath(self.path)!r} is no JSON: {error}.") from error
            text, self.position = self.buffer[self.position : end], end
            return value, text

    def extend(self, keep: bool) -> bool:
        """Reads on, as much again as is kept, so that long values take linear time."""
        kept = self.buffer[self.position :] if keep else ""
        try:
            more = self.file.read(max(JSON_CHUNK, len(kept)))
        except UnicodeDecodeError as error:
            raise undecodable(error, self.path, "The rows after row", self.rows) from error
        except DAMAGED as error:
            raise ValueError(
                f"Cannot read {os.fspath(self.path)!r} after row {self.rows}: {error}; is it whole?"
            ) from error
        self.buffer, self.position = kept + more, 0
        return bool(more)


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        raise ValueError(f"{repeated} more than once in one object")
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _checked(value: Any, text: str, path: PathLike, row: int, line: int | None = None) -> Row:
    if not isinstance(value, dict):
        at = f" (line {line})" if line is not None else ""
        raise ValueError(
            f"Row {row}{at} of {os.fspath(path)!r} is {value!r:.80}; a row must be a JSON object. If the file is one list of objects, its format "
            "is json, not jsonl."
        )
    return replace_surrogates(value) if SURROGATE_ESCAPE.search(text) else value


def replace_surrogates(value: Any) -> Any:
    """The value with U+FFFD for each half of a surrogate pair in its strings."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {replace_surrogates(name): replace_surrogates(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_surrogates(item) for item in value]
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
