"""Rows of csv and tsv: as many as there are, every value a string, and what does not fit is an error."""

import csv
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, TypeAlias

from .files import PathLike, quoted


Row: TypeAlias = dict[str, Any]
# The number of the first line of a row, and its fields.
Fields: TypeAlias = tuple[int, list[str]]

DELIMITERS = {"csv": ",", "tsv": "\t"}
SPACED = ' "'
LONG_NAME = 40  # characters of a column's name that may be a text
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?$")
EXCEL_DELIMITER = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)
MAX_VALUES = 10_000  # different fields at one end of the rows, and lines within quotes, that are remembered
MAX_FIELD = 2**26  # characters of a csv field; more are a quotation mark that nobody closed


def read_delimited(
    lines: Iterator[str], path: PathLike, *, kind: str, delimiter: str | None, text_column: str | None
) -> Iterator[Row]:
    """Reads csv or tsv; see `read_rows`.

    Args:
        lines: With their ends.
        path: The file, for errors.
        kind: "csv", in which quotation marks enclose fields, or "tsv", in which they are text.
        delimiter: The character between the fields. By default that of Excel's first line `sep=;`, which is no row,
            or of the format.
        text_column: The column of which an empty field is "" and not None.

    Raises:
        ValueError: As `read_rows`.
    """
    first = next(lines, "")
    written = written_delimiter(first)
    if written is None:
        lines = chain([first] if first else [], lines)
    elif delimiter is not None and check_delimiter(delimiter, kind) != written:
        raise ValueError(
            f"`delimiter` is {delimiter!r}, but the first line of {os.fspath(path)!r} says {first.strip()!r}; leave "
            "it out, or remove that line."
        )
    skipped, delimiter = int(written is not None), written or check_delimiter(delimiter, kind)
    split = _split_tsv if kind == "tsv" else _split_csv
    yield from _read_fields(split(lines, delimiter, path, skipped), path, delimiter, kind, text_column)


def written_delimiter(line: str) -> str | None:
    """The delimiter that a first line says in the way of Excel, `sep=;`; None if it does not."""
    match = EXCEL_DELIMITER.fullmatch(line)
    return match[1] if match else None


def check_delimiter(delimiter: str | None, kind: str) -> str:
    """The character between the fields of a format; a ValueError if there cannot be such a one."""
    if delimiter is None:
        return DELIMITERS.get(kind, "")
    if kind not in DELIMITERS:
        raise ValueError(f"`delimiter` is {delimiter!r}, but {kind} files have none; leave it out.")
    if delimiter == r"\t":
        return "\t"
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"`delimiter` is {delimiter!r}; it must be one character, for example ; or \\t.")
    return delimiter


def check_header(names: list[str], path: PathLike) -> None:
    """Raises a ValueError where two columns have one name or none."""
    unnamed = [number for number, name in enumerate(names, 1) if not name]
    if len(unnamed) > 1:
        raise ValueError(
            f"Columns {quoted(unnamed)} of {os.fspath(path)!r}, counted from 1, have no name in its header; name "
            "them, or remove them and the delimiters at the ends of the lines."
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"The header of {os.fspath(path)!r} has {quoted(repeated)} more than once; rename the columns."
        )


def looks_like_data(names: Iterable[str], rows: Iterable[Row] = ()) -> str:
    """What an error on missing columns adds where the names of the columns look like the values of a row.

    Args:
        names: Of the columns.
        rows: The first rows.

    Returns:
        A sentence that begins with a space, or "".
    """
    names = list(names)
    rows = list(rows)
    repeated = [name for name in names if any(row.get(name) == name for row in rows)]
    data = repeated or [name for name in names if len(name) > LONG_NAME or len(name.split()) > 4 or NUMBER.match(name)]
    if not data:
        return ""
    return f" The first line looks like data, as {data[0]!r:.80}: add a line before it that names the columns."


def _split_tsv(lines: Iterator[str], delimiter: str, path: PathLike, skipped: int) -> Iterator[Fields]:
    warned = False
    for number, line in enumerate(lines, 1 + skipped):
        line = line.rstrip("\r\n")
        fields = line.split(delimiter) if line else []
        if not warned and '"' in line and (found := next(filter(_is_quoted, fields), None)) is not None:
            warned = True
            warnings.warn(
                f"Line {number} of {os.fspath(path)!r} has {found!r:.80} in quotation marks, with those within "
                "doubled, as csv writes them. In tsv, these marks are text. If the file is csv, pass "
                f'`file_format="csv"` and `delimiter={delimiter!r}`.',
                stacklevel=2,
            )
        yield number, fields


def _is_quoted(field: str) -> bool:
    """Whether a field is in quotation marks, and all within it, one at least, are doubled, as csv writes them."""
    if '""' not in field:
        return False
    inner = field.strip()[1:-1]
    return len(inner) > 2 and field.strip() == f'"{inner}"' and '"' not in inner.replace('""', "")


def _split_csv(lines: Iterator[str], delimiter: str, path: PathLike, skipped: int) -> Iterator[Fields]:
    """Yields the fields of each row, and the number of its first line."""
    record: list[str] = []

    def recorded() -> Iterator[str]:
        for line in lines:
            record.append(line)
            yield line

    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD))
    reader = csv.reader(recorded(), delimiter=delimiter, strict=True)
    start, columns, row, suspicious, spaced = 1 + skipped, 0, 0, False, False
    values = _EndValues(delimiter)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            if not suspicious:
                values.warn(path)
            return
        except csv.Error as error:
            unclosed = "unexpected end" in str(error) or "field larger" in str(error)
            problem = "opens a quotation mark that is never closed" if unclosed else f"is no csv ({error})"
            raise ValueError(
                f"{f'Row {row}' if row else 'The header'} (from line {start} to {reader.line_num + skipped}) of "
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
        if not spaced and any(field.startswith(SPACED) for field in fields):
            spaced = True
            _warn_of_space_before_quote(fields, row, start, path)
        if columns > 1 and fields:
            values.add(fields, record, row, start)
        yield start, fields
        columns = columns or len(fields)
        row += bool(fields) or columns == 1
        start = reader.line_num + skipped + 1
        record.clear()


class _EndValues:
    """Tells rows that a quotation mark swallowed by their ends: a line within a field ends as other rows do.

    Args:
        delimiter: The character between the fields.
    """

    def __init__(self, delimiter: str):
        self.delimiter = delimiter
        # The first and the last field of rows of one line, while they are few enough to be labels.
        self.values: tuple[set[str], set[str]] = (set(), set())
        self.lines: list[tuple[int, int, str, str]] = []

    def add(self, fields: list[str], record: list[str], row: int, start: int) -> None:
        """Adds a row, with the lines that it is written in."""
        if len(record) == 1:
            for values, field in zip(self.values, (fields[0], fields[-1]), strict=True):
                if field and len(values) < MAX_VALUES:
                    values.add(field)
        elif len(self.lines) < MAX_VALUES:
            # The first line may end, and each later one begin or end, as a row does that was swallowed.
            heads = [line.split(self.delimiter, 1)[0] if self.delimiter in line else "" for line in record[1:]]
            tails = [line.rstrip("\r\n").rpartition(self.delimiter) for line in record[:-1]]
            self.lines += [
                (row, start, head, tail if before else "")
                for head, (before, _, tail) in zip(heads, tails, strict=True)
            ]

    def warn(self, path: PathLike) -> None:
        """Warns of the first row with a line that begins or ends as others do."""
        firsts, lasts = (values if len(values) < MAX_VALUES else set() for values in self.values)
        for row, start, head, tail in self.lines:
            if head in firsts or tail in lasts:
                warnings.warn(
                    f"Row {row} (line {start}) of {os.fspath(path)!r} is a field in quotes over several lines, of "
                    f"which one has {(tail if tail in lasts else head)!r:.80} where other rows have it. If rows are "
                    "missing, a quotation mark is not closed.",
                    stacklevel=2,
                )
                return


def _look_like_rows(lines: list[str], delimiter: str, columns: int) -> bool:
    """Whether each line of a row that spans several could be a row by itself, the first and last with a quotation."""
    counts = [line.count(delimiter) - columns + 1 for line in lines]
    inner = counts[1:-1]
    return not any(inner) and min(counts) >= 0 if inner else not any(counts)


def _warn_of_space_before_quote(fields: list[str], row: int, start: int, path: PathLike) -> None:
    warnings.warn(
        f"Row {row} (line {start}) of {os.fspath(path)!r} has a space before a quotation mark, so that the mark is "
        f"text: {next(field for field in fields if field.startswith(SPACED))!r:.80}. Write it right after the "
        "delimiter, if it is to enclose the field.",
        stacklevel=4,
    )


def _read_fields(
    rows: Iterator[Fields], path: PathLike, delimiter: str, kind: str, text_column: str | None
) -> Iterator[Row]:
    header = next((fields for _, fields in rows if fields), [])
    check_header(header, path)
    if len(header) == 1 and (others := [other for other in ",;\t|" if other in header[0]]):
        raise ValueError(
            f"The header of {os.fspath(path)!r} is one field, {header[0]!r:.80}; pass `delimiter={others[0]!r}` if "
            "that is what stands between the fields. One `delimiter` holds for all files, so save files that differ "
            "with the same one."
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
                f"{quoted(header)}; {remedy}, or pass another `delimiter` than {delimiter!r}. The fields: "
                f"{fields!r:.200}."
            )
        row = {name: field or None for name, field in zip(header, fields, strict=True)}
        if text_column in row and row[text_column] is None:
            row[text_column] = ""
        yield row
