"""What a user has, to splits of rows: files of any format, a data set on the Hub or in a folder, rows in memory."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pyarrow as pa
from datasets import (
    Dataset,
    DatasetDict,
    DatasetInfo,
    DownloadManager,
    Features,
    concatenate_datasets,
    load_dataset,
    load_dataset_builder,
    load_from_disk,
)
from datasets.exceptions import DatasetGenerationError
from datasets.packaged_modules.csv.csv import Csv, CsvConfig

from .delimited import looks_like_data
from .files import STANDARD_STREAM, PathLike, check_input, open_bytes, quoted, resolve_format
from .label_forms import find_label_column
from .readers import guess_text_column, is_delimited, read_parquet, read_rows
from .tables import TableBuilder, temporary_folder
from .text_facts import TextFacts


# A path, a `Dataset`, a pandas or polars DataFrame, a `pyarrow.Table`, a list of rows.
Rows: TypeAlias = PathLike | Dataset | Sequence[Mapping[str, Any]] | Any
# Those, a `DatasetDict`, or one of them by split.
Source: TypeAlias = Rows | DatasetDict | Mapping[str, Rows]

SPLITS = ("train", "validation", "test")
# What a card may say of csv files, and where they are.
READ_OF_CSV = ("name", "version", "data_dir", "data_files", "description", "sep", "delimiter", "encoding", "features")
CHUNK = 1000  # rows that become a part of a table at once


@dataclass(frozen=True)
class FileOptions:
    """How files are read; see `read_rows`."""

    file_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Columns:
    """The columns that are read of files.

    Attributes:
        text: The one with the texts.
        labels: Those with the labels.
        optional: Whether a file may lack some of several label columns.
    """

    text: str
    labels: list[str] = field(default_factory=list)
    optional: bool = False


def read_dataset(
    files: Mapping[str, PathLike],
    columns: Columns | None = None,
    options: FileOptions | None = None,
    facts: Mapping[str, TextFacts] | None = None,
) -> DatasetDict:
    """Reads files as a data set, through the same reader as all commands.

    Small ones are in memory. Large ones are mapped from a temporary file that lives as long as the process, and so
    does what `Dataset.map` makes of them: nothing of an earlier file at the same path is read.

    Args:
        files: By split, the file.
        columns: Those to read; by default all.
        options: How to read them.
        facts: By split, what takes the texts; the rows then hold the texts' hashes in their place.

    Returns:
        The rows by split.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: As `read_rows`, or a file has no row, lacks a column, or a column has values of two types.
    """
    options, facts = options or FileOptions(), facts or {}
    return DatasetDict({split: _read_file(path, columns, options, facts.get(split)) for split, path in files.items()})


def find_columns(
    path: PathLike, text: str | None, labels: list[str] | None, options: FileOptions, optional: bool = False
) -> Columns:
    """Finds the columns of a file that are not named, in its first rows.

    Raises:
        ValueError: They cannot be told.
    """
    rows = _rows(path, text, options)
    # The first row with all keys names the columns; a row may lack one.
    first = list(islice(rows, CHUNK))
    if not first:
        raise ValueError(f"{os.fspath(path)!r} holds no rows.")
    names = list(dict.fromkeys(chain.from_iterable(first)))
    try:
        labels = [find_label_column(names)] if labels is None else labels
        return Columns(text or guess_text_column(first, path, labels), labels, optional)
    except ValueError as error:
        if is_delimited(path, options.file_format) and (hint := looks_like_data(names, first)):
            raise ValueError(f"{error}{hint}") from error
        raise


def load_hub(name: str, config: str | None = None, revision: str | None = None) -> DatasetDict:
    """Loads a data set of the Hub, or of a folder, which is read again each time.

    Raises:
        ValueError: The files cannot be read, or there is no "train".
    """
    try:
        if os.path.isdir(name):
            saved = any(os.path.exists(os.path.join(name, file)) for file in ("dataset_dict.json", "state.json"))
            dataset = load_from_disk(name) if saved else _load(name, config, cache_dir=temporary_folder())
        else:
            dataset = _load(name, config, revision=revision)
    except DatasetGenerationError as error:
        raise ValueError(
            f"Cannot read the data set {name!r} ({error.__cause__ or error!r:.300}); each of its files must hold "
            "rows, all with the same columns. Files that are named, as `train_file`, are read row by row."
        ) from error
    return _select_splits(DatasetDict({"train": dataset}) if isinstance(dataset, Dataset) else dataset)


def _load(name: str, config: str | None, **options: Any) -> DatasetDict:
    """As `load_dataset`, but csv and tsv are read as everywhere here: codes stay strings, and no row is lost."""
    builder = load_dataset_builder(name, config, **options)
    if not isinstance(builder, Csv):
        return load_dataset(name, config, **options)
    settings, defaults = vars(builder.config), vars(CsvConfig())
    others = [key for key in settings if key not in READ_OF_CSV and settings[key] != defaults[key]]
    if others:
        raise ValueError(
            f"The card of the data set {name!r} has its csv files read with {quoted(others)}; download them, and pass "
            "them as `train_file`."
        )
    delimiter = settings["delimiter"] or settings["sep"]
    delimiter = None if delimiter == defaults["sep"] else delimiter
    splits = {}
    for split, paths in settings["data_files"].items():
        parts = []
        for path in paths:
            kind = "tsv" if ".tsv" in os.path.basename(path).lower() else "csv"
            local = path if os.path.exists(path) else DownloadManager().download_and_extract(path)
            parts.append(_read_file(local, None, FileOptions(kind, delimiter, settings["encoding"])))
        splits[str(split)] = concatenate_datasets(parts)
        if builder.info.features is not None:
            splits[str(split)] = splits[str(split)].cast(builder.info.features)
    return DatasetDict(splits)


def load_rows(source: Source) -> DatasetDict:
    """Makes splits of rows in memory.

    Args:
        source: A `Dataset`, a `DatasetDict`, a pandas or polars DataFrame, a `pyarrow.Table`, a list of rows, or one
            of these by split; without splits it is "train".

    Raises:
        ValueError: It is none of these, or there is no "train".
    """
    if isinstance(source, DatasetDict):
        return _select_splits(source)
    if isinstance(source, Mapping):
        return _select_splits(
            DatasetDict({str(split): _to_dataset(rows, str(split)) for split, rows in source.items()})
        )
    return DatasetDict({"train": _to_dataset(source, "train")})


def local_copy(path: PathLike, options: FileOptions) -> str:
    """The path, or that of a temporary copy of stdin or a pipe, which can be read only once.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Its format is neither given nor said by its name.
    """
    check_input(path)
    if os.path.isfile(path):
        return os.fspath(path)
    if os.fspath(path) == STANDARD_STREAM and options.file_format is None:
        raise ValueError("The rows come from stdin (-), which has no name that says their format; pass `file_format`.")
    number, copy = tempfile.mkstemp("".join((".", *resolve_format(path, options.file_format))), dir=temporary_folder())
    with open_bytes(path) as file, open(number, "wb") as output:
        shutil.copyfileobj(file, output)
    return copy


def folder_files(folder: PathLike) -> dict[str, str]:
    """The files of a folder that are called train, validation and test, by split; none if there is no train."""
    files: dict[str, str] = {}
    for path in sorted(Path(folder).iterdir()):
        split = path.name.split(".")[0]
        if split in SPLITS and path.is_file():
            if split in files:
                raise ValueError(
                    f"{os.fspath(folder)!r} has {files[split]!r} and {path.name!r}; name the files to read."
                )
            files[split] = str(path)
    return files if "train" in files else {}


def _select_splits(dataset: DatasetDict) -> DatasetDict:
    if "train" not in dataset:
        raise ValueError(f"The data set has the splits {list(dataset)}; it must have 'train'.")
    return DatasetDict({split: dataset[split] for split in SPLITS if split in dataset})


def _rows(path: PathLike, text: str | None, options: FileOptions) -> Iterator[dict[str, Any]]:
    return read_rows(
        path,
        file_format=options.file_format,
        delimiter=options.delimiter,
        encoding=options.encoding,
        text_column=text,
    )


def _read_file(
    path: PathLike, columns: Columns | None, options: FileOptions, facts: TextFacts | None = None
) -> Dataset:
    name = os.fspath(path)
    builder = TableBuilder(repr(name), {} if facts is None else {facts.column: facts.add})
    wanted = None if columns is None else [columns.text, *columns.labels]
    seen: dict[str, None] = {}
    first: list[dict[str, Any]] = []
    lacking = _Lacking(columns.labels[0]) if columns is not None and len(columns.labels) == 1 else None
    kind, compression = resolve_format(path, options.file_format)
    if kind == "parquet":
        check_input(path)
        for table in read_parquet(path, compression, wanted):
            seen.update(dict.fromkeys(table.column_names))
            builder.add_table(table)
    else:
        rows = _rows(path, columns.text if columns is not None else None, options)
        while chunk := list(islice(rows, CHUNK)):
            seen.update(dict.fromkeys(chain.from_iterable(chunk)))
            first = first or chunk
            if lacking is not None:
                lacking.add(chunk)
            if wanted is not None:
                chunk = [{column: row.get(column) for column in wanted} for row in chunk]
            builder.add_rows(chunk)
    if not builder.rows:
        raise ValueError(f"{name!r} holds no rows{f', only the columns {quoted(seen)}' if seen else ''}.")
    if columns is not None:
        missing = [column for column in wanted or () if column not in seen]
        optional = columns.optional and not is_delimited(path, options.file_format) and len(columns.labels) > 1
        if missing and not (optional and columns.text in seen and set(missing) < set(columns.labels)):
            hint = looks_like_data(seen, first) if is_delimited(path, options.file_format) else ""
            raise ValueError(f"Columns {quoted(missing)} are not in {name!r}, which has {quoted(seen)}.{hint}")
    if lacking is not None and lacking.rows:
        warnings.warn(lacking.in_words(name, builder.rows), stacklevel=2)
    if facts is not None:
        facts.feature = Features.from_arrow_schema(builder.types)[facts.column]
    return _dataset(builder)


class _Lacking:
    """The rows without the key of the labels, and the keys that only they have, as where the key is misspelled."""

    def __init__(self, column: str):
        self.column, self.total, self.rows, self.first = column, 0, 0, 0
        self.keys: dict[str, None] = {}
        self.others: set[str] = set()  # keys of the rows that have it

    def add(self, rows: list[dict[str, Any]]) -> None:
        for number, row in enumerate(rows, self.total + 1):
            if self.column in row:
                self.others.update(row)
            else:
                self.rows += 1
                self.first = self.first or number
                self.keys.update(dict.fromkeys(row))
        self.total += len(rows)

    def in_words(self, name: str, total: int) -> str:
        instead = [key for key in self.keys if key not in self.others]
        meant = (
            f" These rows alone have {quoted(instead)}; if that is meant, call it {self.column!r}." if instead else ""
        )
        return (
            f"{self.rows:,} of {total:,} rows of {name!r} lack the key {self.column!r} and count as rows without a "
            f"label, row {self.first} first.{meant} A row that has no label should say so, with an empty value."
        )


def _dataset(builder: TableBuilder) -> Dataset:
    table = builder.finish()
    info = DatasetInfo(features=Features.from_arrow_schema(table.schema))
    # By itself the data set would hash a pickle of all its rows.
    return Dataset(table, info=info, fingerprint=uuid4().hex)


def _to_dataset(rows: Any, split: str) -> Dataset:
    if isinstance(rows, Dataset):
        return rows
    builder = TableBuilder(f"split {split!r}")
    if isinstance(rows, pa.Table):
        builder.add_table(rows)
    elif hasattr(rows, "to_arrow"):  # polars
        builder.add_table(rows.to_arrow())
    elif hasattr(rows, "columns") and hasattr(rows, "iloc"):  # pandas
        builder.add_columns({str(name): column for name, column in rows.items()})
    elif isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping) and not hasattr(rows, "n_shards"):
        iterator = iter(rows)
        while chunk := list(islice(iterator, CHUNK)):
            if wrong := [row for row in chunk if not isinstance(row, Mapping)]:
                raise ValueError(f"Split {split!r} holds {wrong[0]!r:.80}; a row must be a dict with text and labels.")
            builder.add_rows(chunk)
    else:
        raise ValueError(
            f"Split {split!r} is a {type(rows).__name__}; pass a file's path, a `Dataset` that is loaded without "
            "streaming, a DataFrame, or a list of dicts."
        )
    if not builder.rows:
        raise ValueError(f"Split {split!r} has no rows; fill it or remove it.")
    return _dataset(builder)
