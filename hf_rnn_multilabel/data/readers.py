"""One reader of files for every command: rows one at a time, in flat memory, as many as the file holds."""

import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeAlias

from .delimited import DELIMITERS, check_delimiter, check_header, looks_like_data, read_delimited
from .files import (
    DAMAGED,
    FORMATS,
    STANDARD_STREAM,
    PathLike,
    check_input,
    open_bytes,
    open_text,
    quoted,
    read_lines,
    resolve_format,
)
from .json_rows import read_json, read_jsonl


if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMATS", "read_parquet", "read_rows", "read_texts"]

Row: TypeAlias = dict[str, Any]

# Names of the column with the texts, the likeliest first.
TEXT_COLUMNS = ("text", "sentence", "content", "description", "abstract", "body")
PARQUET_ROWS = 1024  # in memory at once
FIRST_LINES = 10  # of txt, by which a table is known
COLUMN_NAME = re.compile(r"[^\W\d][\w .-]{0,30}")


def read_rows(
    path: PathLike,
    *,
    file_format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    text_column: str | None = "text",
) -> Iterator[Row]:
    r"""Reads the rows of a file or of stdin, one at a time and as many as there are.

    - txt: each line is a row, an empty one too. A table whose header names the texts is an error, unless `file_format`
      is given.
    - jsonl: each line that is not blank is an object. json: a list of objects, or objects one after the other.
    - csv and tsv: the first line names the columns, and every value is a string, whatever it looks like. An empty
      field is None, except that of a text, which is "". In csv, quotation marks enclose fields that may span lines,
      and one that is not closed is an error. In tsv, a quotation mark is text.
    - parquet: the values of its columns.

    Halves of surrogate pairs, which no file can hold, become U+FFFD.

    Args:
        path: The file, plain or compressed (.gz, .bz2, .xz, .zst), or "-" for stdin.
        file_format: One of `FORMATS`. By default as the name says; txt for stdin.
        delimiter: The character between the fields of csv and tsv; by default a comma or a tab, or what
            Excel's first line `sep=;` says.
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
    is_named = file_format is not None
    if os.fspath(path) == STANDARD_STREAM and file_format is None:
        file_format = "txt"
    kind, compression = resolve_format(path, file_format)
    check_delimiter(delimiter, kind)
    if kind == "parquet":
        return _read_parquet_rows(path, compression)

    def parse() -> Iterator[Row]:
        with open_text(path, compression, encoding) as file:
            if kind == "json":
                yield from read_json(file, path, text_column or "text")
                return
            lines = read_lines(file, path)
            if kind == "txt":
                yield from _read_txt(lines if is_named else _refuse_table(lines, path), text_column or "text")
            elif kind == "jsonl":
                yield from read_jsonl(lines, path, text_column or "text")
            else:
                yield from read_delimited(lines, path, kind=kind, delimiter=delimiter, text_column=text_column)

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
        f"{where} has {row.get(column)!r:.80} as `{column}`; it must be a string. Its columns are {quoted(row)}; name "
        f"the texts' with `text_column`.{looks_like_data(row)}"
    )


def guess_text_column(rows: list[Row], where: PathLike, others: Iterable[str] = ()) -> str:
    """Finds the column with the texts in some rows.

    Args:
        rows: The first rows of a file.
        where: The file, for the error.
        others: Columns that hold something else.

    Returns:
        The first of `TEXT_COLUMNS`, in capitals or not, that holds strings, else the only column that does, numbers in
        strings aside.

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
        for name, held in values.items()
        if name not in set(others) and all(isinstance(value, str) for value in held)
    ]
    matches = columns_called(strings, TEXT_COLUMNS)
    words = [name for name in strings if not all(_is_number(value) for value in values[name])]
    if is_clear(matches) or (not matches and len(words) == 1):
        return (matches or words)[0]
    called = columns_called([name for name in values if name not in {*others, *strings}], TEXT_COLUMNS)
    problem = f"none is called one of {', '.join(TEXT_COLUMNS)}"
    if matches:
        problem = f"{quoted(matches[:2])} differ in capitals alone"
    elif called:
        wrong = next(value for value in values[called[0]] if not isinstance(value, str))
        problem = f"{called[0]!r} holds {wrong!r:.80}"
    raise ValueError(
        f"Which column of {os.fspath(where)!r} holds the texts? Those with strings are {quoted(words or strings)}, "
        f"and {problem}; pass `text_column`. All columns: {quoted(values)}."
    )


def columns_called(columns: Iterable[str], names: Iterable[str]) -> list[str]:
    """The columns that have one of some names, in capitals or not, in the order of the names."""
    columns = list(columns)
    return [column for name in names for column in columns if column.casefold() == name]


def is_clear(matches: list[str]) -> bool:
    """Whether there is a first match, and the second is not the same name in other capitals."""
    return bool(matches) and (len(matches) == 1 or matches[0].casefold() != matches[1].casefold())


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
        try:
            # Parquet is read from its end; a stream has none yet.
            if compression or not file.seekable():
                whole = tempfile.TemporaryFile()  # noqa: SIM115
                shutil.copyfileobj(file, whole)
                file = whole  # type: ignore[assignment]
            parquet = ParquetFile(file)
            names = parquet.schema_arrow.names
            check_header(names, path)
            chosen = None if columns is None else [name for name in names if name in columns]
            rows = 0
            for batch in parquet.iter_batches(PARQUET_ROWS, columns=chosen):
                batch.validate(full=True)  # bytes that are no UTF-8 too
                rows += len(batch)
                yield pa.Table.from_batches([batch])
            if rows != parquet.metadata.num_rows and chosen != []:
                raise ValueError(
                    f"{os.fspath(path)!r} holds {rows:,} rows, and {parquet.metadata.num_rows:,} by its own count; "
                    "is it whole?"
                )
        except (pa.ArrowException, UnicodeDecodeError, *DAMAGED) as error:
            raise ValueError(f"Cannot read {os.fspath(path)!r} as parquet: {error}") from error
        finally:
            if file is not None and compression:
                file.close()


def _read_parquet_rows(path: PathLike, compression: str) -> Iterator[Row]:
    number = 0
    for table in read_parquet(path, compression):
        try:
            rows = table.to_pylist()
        except (ValueError, OverflowError) as error:  # a date after the year 9999, for example
            raise ValueError(
                f"Rows {number + 1} to {number + len(table)} of {os.fspath(path)!r} hold a value that Python cannot: "
                f"{error}."
            ) from error
        number += len(rows)
        yield from rows


def _read_txt(lines: Iterator[str], text_column: str) -> Iterator[Row]:
    for line in lines:
        yield {text_column: line.rstrip("\r\n")}


def _refuse_table(lines: Iterator[str], path: PathLike) -> Iterator[str]:
    """The same lines, if the first of them are no table with tabs between its fields, as Excel's "Unicode text" is.

    Raises:
        ValueError: They are, and the first line names columns, one as texts are called.
    """
    first = list(islice(lines, FIRST_LINES))
    tabs = {line.count("\t") for line in first}
    if len(first) > 1 and len(tabs) == 1 and tabs != {0}:
        names = first[0].rstrip("\r\n").split("\t")
        remedy = 'pass `file_format="tsv"`'
        where = "The lines of stdin" if os.fspath(path) == STANDARD_STREAM else f"The lines of {os.fspath(path)!r}"
        table = f"{where} all hold {tabs.pop()} tabs, as those of a table with the header {names[:8]!r:.200}"
        named = all(map(COLUMN_NAME.fullmatch, names)) and not set(map(str.casefold, names)).isdisjoint(TEXT_COLUMNS)
        if named:
            raise ValueError(f'{table}: {remedy}, or `file_format="txt"` if each line is one text.')
        warnings.warn(f"{table}. If it is one, {remedy}; each line is read as one text.", stacklevel=2)
    return chain(first, lines)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
