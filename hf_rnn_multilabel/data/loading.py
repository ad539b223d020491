"""Rows, labels and splits: what a run trains on, before any token."""

import hashlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from ..hub.provenance import describe_dataset
from ..hub.run_info import DatasetInfo
from .arguments import DataArguments
from .columns import Origin, is_binary, require_columns, text_digests
from .encoding import LabelEncoding, encode_labels
from .files import STANDARD_STREAM
from .label_columns import find_label_column
from .readers import read_texts
from .sources import (
    SPLITS,
    Columns,
    FileOptions,
    Source,
    find_columns,
    folder_files,
    load_hub,
    load_rows,
    local_copy,
    read_dataset,
)
from .splits import label_tally, stratified_split
from .tokenizing import check_texts, find_text_column


DEMO = Path(__file__).parent / "demo"
MAX_SEEN = 0.05  # fraction of the texts of a split that may stand in train without a warning


@dataclass(frozen=True)
class TaggingData:
    """The rows of a run.

    Attributes:
        dataset: By split ("train", "validation" and, if there is one, "test"), rows with a column of texts and the
            encoded "labels".
        text_column: The column with the texts.
        encoding: The labels, and what was understood of them; its counts are those of train after the split.
        source: What the card says of the data: name, id, configuration, licence, citation, revisions.
        messages: What a user should know of how the rows were read and split.
    """

    dataset: DatasetDict
    text_column: str
    encoding: LabelEncoding
    source: DatasetInfo
    messages: tuple[str, ...] = ()

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """By split, the texts."""
        return {split: list(rows[self.text_column]) for split, rows in self.dataset.items()}

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """By split, the labels of 0, 1 and -100 (ignored), (rows, labels), float32."""
        return {split: np.asarray(rows.with_format("numpy")["labels"][:]) for split, rows in self.dataset.items()}

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the texts, the labels and their names in all splits: it changes with any of them."""
        digest = hashlib.blake2b(digest_size=16)
        for part in [*self.encoding.label_names, *self.dataset]:
            digest.update(repr(part).encode())
        for rows in self.dataset.values():
            for table in rows.select_columns([self.text_column, "labels"]).with_format("arrow").iter(1000):
                digest.update(repr(table[self.text_column].to_pylist()).encode())
                digest.update(table["labels"].combine_chunks().flatten().to_numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _LoadedRows:
    """Splits as they were loaded, and where they are from."""

    dataset: DatasetDict
    source: DatasetInfo
    files: dict[str, str] | None = None


def load_data(
    source: Source | DataArguments | None = None,
    arguments: DataArguments | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> TaggingData:
    """Loads rows, encodes their labels, and splits validation off train where there is none.

    Args:
        source: What to read: a file's path, a folder, a `Dataset`, a `DatasetDict`, a DataFrame, a list of dicts, a
            mapping from split to one of these, or `DataArguments`. None: what `arguments` name, else the bundled
            demo.
        arguments: How to read it.
        seed: Of the split.
        options: Fields of `DataArguments`, in place of those of `arguments`; `label_column` may also be a string.

    Returns:
        The rows with their labels, "validation" among the splits.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file or a column cannot be read, a text is missing, a split has no label, or the source is given
            twice.
    """
    if isinstance(source, DataArguments):
        if arguments is not None:
            raise ValueError("`source` and `arguments` are both `DataArguments`; pass one.")
        source, arguments = None, source
    arguments = replace(arguments or DataArguments(), **_check_options(options))
    loaded, text_column, label_column = _load(source, arguments)
    origin = Origin(loaded.files or {})
    for split, rows in loaded.dataset.items():
        check_texts(rows, split, text_column, origin)
    dataset, encoding = encode_labels(
        loaded.dataset,
        label_column,
        label_names=_label_list(arguments.label_list, arguments.encoding),
        separator=arguments.label_separator,
        unknown_labels=arguments.unknown_labels,
        blank_label=arguments.blank_label,
        group_column=text_column if arguments.group_duplicates else None,
        files=loaded.files,
    )
    _refuse_without_labels(dataset, origin)
    messages = [str(encoding), *_report_duplicates(dataset, text_column), _report_texts(dataset, text_column)]
    if "validation" not in dataset:
        parts = stratified_split(dataset["train"], arguments.validation_fraction, seed=seed, group_column=text_column)
        dataset["train"], dataset["validation"] = parts["train"], parts["test"]
        encoding = encoding.recounted(dataset["train"])
        messages.append(
            f"No validation split: {len(dataset['validation']):,} texts were split off train, stratified by label."
        )
        _refuse_without_labels(
            DatasetDict(validation=dataset["validation"]),
            origin,
            f"`validation_fraction` {arguments.validation_fraction} of train is too little; raise it, or pass "
            "`validation_file`",
        )
    dataset = DatasetDict({split: dataset[split] for split in SPLITS if split in dataset})
    return TaggingData(dataset, text_column, encoding, loaded.source, tuple(messages))


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - {field.name for field in fields(DataArguments)}
    if unknown:
        raise TypeError(f"load_data() got the arguments {sorted(unknown)}, which are no fields of `DataArguments`.")
    return options


def _load(source: Source | None, arguments: DataArguments) -> tuple[_LoadedRows, str, str | list[str]]:
    """The raw splits, the column with the texts, and that or those with the labels."""
    if source is not None and (arguments.train_file is not None or arguments.dataset_name is not None):
        raise ValueError(
            f"`source` is a {type(source).__name__}, and `train_file` {arguments.train_file!r} or `dataset_name` "
            f"{arguments.dataset_name!r} is given too; pass one of them."
        )
    columns = arguments.label_column
    columns = [columns] if isinstance(columns, str) else columns and list(columns)
    files = _files(source, arguments)
    if files is not None:
        loaded, resolved = _load_files(files, columns, arguments)
        text_column, columns = resolved.text, resolved.labels
    else:
        loaded = _load_rows(source, arguments)
        train = loaded.dataset["train"]
        columns = columns or [find_label_column(train.column_names)]
        text_column = arguments.text_column or find_text_column(train, columns)
        require_columns(loaded.dataset, [text_column])
    if text_column in columns:
        raise ValueError(f"`text_column` and `label_column` are both {text_column!r}; name two columns.")
    return loaded, text_column, _label_column(loaded.dataset["train"], columns, arguments)


def _files(source: Source | None, arguments: DataArguments) -> dict[str, str] | None:
    """By split, the files to read; None where the rows are elsewhere."""
    more = {"train": arguments.train_file, "validation": arguments.validation_file, "test": arguments.test_file}
    named = {split: path for split, path in more.items() if path is not None}
    if isinstance(source, Mapping) and source and all(isinstance(path, str | os.PathLike) for path in source.values()):
        files = {str(split): os.fspath(path) for split, path in source.items()} | named
    elif isinstance(source, str | os.PathLike) and not os.path.isdir(source):
        files = {"train": os.fspath(source)} | named
    elif isinstance(source, str | os.PathLike) and (inside := folder_files(source)):
        files = inside | named
    elif source is not None or arguments.dataset_name is not None:
        if named:
            raise ValueError(f"Files are given, {named}, beside other rows; pass all rows in one way.")
        return None
    else:
        files = named or {split: str(DEMO / f"{split}.jsonl") for split in SPLITS}
    if unknown := [split for split in files if split not in SPLITS]:
        raise ValueError(f"The splits are {list(files)}, {unknown} among them; call them {', '.join(SPLITS)}.")
    if "train" not in files:
        raise ValueError(f"The files are {files}, with none to train on; pass `train_file`.")
    return files


def _load_files(
    files: dict[str, str], label_columns: list[str] | None, arguments: DataArguments
) -> tuple[_LoadedRows, Columns]:
    options = FileOptions(arguments.file_format, arguments.delimiter, arguments.encoding)
    paths = {split: local_copy(path, options) for split, path in files.items()}
    columns = find_columns(
        paths["train"],
        arguments.text_column,
        label_columns,
        options,
        optional=arguments.blank_label == "absent",
    )
    demo = Path(files["train"]).parent == DEMO
    names = {split: "stdin" if path == STANDARD_STREAM else os.path.basename(path) for split, path in files.items()}
    name = "the bundled product descriptions" if demo else names["train"]
    dataset = read_dataset(paths, columns, options)
    described = describe_dataset(dataset["train"], name, paths)
    if demo:
        described = replace(described, license="cc0-1.0")
    return _LoadedRows(dataset, described, names), columns


def _load_rows(source: Source | None, arguments: DataArguments) -> _LoadedRows:
    """Rows of the Hub, of a folder, or in memory."""
    if source is None or isinstance(source, str | os.PathLike):
        name = str(arguments.dataset_name) if source is None else os.fspath(source)
        dataset = load_hub(name, arguments.dataset_config_name, arguments.dataset_revision)
        return _LoadedRows(dataset, describe_dataset(dataset["train"], name))
    dataset = load_rows(source)
    described = replace(describe_dataset(dataset["train"], "rows in memory"), id=None, config=None)
    return _LoadedRows(dataset, described)


def _label_column(train: Dataset, columns: list[str], arguments: DataArguments) -> str | list[str]:
    """The one column with the labels; in a list, if it is a 0/1 column or one of several."""
    require_columns({"train": train}, columns)
    if len(columns) > 1 or arguments.label_separator is not None or arguments.label_list is not None:
        return columns if len(columns) > 1 else columns[0]
    return columns if is_binary(train, columns[0]) else columns[0]


def _label_list(names: list[str] | None, encoding: str | None) -> list[str] | None:
    """The labels as they are given, or the lines of the one file that is."""
    names = [names] if isinstance(names, str | os.PathLike) else names
    if names is None or len(names) != 1 or not (os.path.isfile(names[0]) or str(names[0]).endswith(".txt")):
        return names
    try:
        lines = list(read_texts(names[0], file_format="txt"))
    except ValueError:
        if encoding is None:
            raise
        lines = list(read_texts(names[0], file_format="txt", encoding=encoding))
    return [line for line in lines if line.strip()]


def _refuse_without_labels(
    dataset: DatasetDict, origin: Origin, remedy: str = "give labelled rows, or leave them out"
) -> None:
    for split, rows in dataset.items():
        if not label_tally(rows)[0].any():
            raise ValueError(
                f"No row of {origin.split(split)} has a label, so that nothing can be measured on it: {remedy}."
            )


def _report_texts(dataset: DatasetDict, column: str) -> str:
    """How many rows there are, where their texts are, and how many have no label."""
    sizes = ", ".join(f"{split} {len(rows):,}" for split, rows in dataset.items())
    labels = np.asarray(dataset["train"].with_format("numpy")["labels"][:])
    num_empty = int((~(labels == 1).any(1)).sum())
    rest = f"; {num_empty:,} rows of train have no label." if num_empty else "."
    return f"Rows: {sizes}, with the texts in the column {column!r}{rest}"


def _report_duplicates(dataset: DatasetDict, column: str) -> list[str]:
    """Warns where texts are repeated with other labels, or many stand in train too; returns what is less."""
    messages = []
    digests = {split: text_digests(rows, column) for split, rows in dataset.items()}
    for split, rows in dataset.items():
        repeated, different = _repetitions(rows, digests[split])
        if different:
            warnings.warn(
                f"{repeated:,} of {len(rows):,} rows of {split} repeat the text of another row, {different:,} of them "
                "with other labels, as where a file has one row per text and label. Pass `group_duplicates=True` to "
                "make one row of them, with the labels of all.",
                stacklevel=3,
            )
        elif repeated:
            messages.append(f"{repeated:,} of {len(rows):,} rows of {split} repeat the text and labels of another.")
        if split != "train" and (seen := sum(map(set(digests["train"]).__contains__, digests[split]))):
            message = f"{seen:,} of {len(rows):,} texts of {split} stand in train too, so that metrics are too good."
            if seen > MAX_SEEN * len(rows):
                warnings.warn(message, stacklevel=3)
            else:
                messages.append(message)
    return messages


def _repetitions(rows: Dataset, digests: list[bytes]) -> tuple[int, int]:
    """The rows whose text an earlier row has, and those of them with other labels than that."""
    first: dict[bytes, int] = {}
    pairs = [(index, first[key]) for index, key in enumerate(digests) if first.setdefault(key, index) != index]
    different = 0
    for start in range(0, len(pairs), 1000):
        part = pairs[start : start + 1000]
        later, earlier = (
            np.asarray(rows.select(indices).with_format("numpy")["labels"][:]) for indices in zip(*part, strict=True)
        )
        different += int((later != earlier).any(axis=1).sum())
    return len(pairs), different
