"""Rows, labels and splits: what a run trains on, before any token."""

import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from ..hub.provenance import describe_dataset
from ..hub.run_info import DatasetInfo
from .arguments import DataArguments
from .columns import Origin, is_binary, require_columns
from .encoding import LabelEncoding, LabelledRows, understand_labels
from .files import STANDARD_STREAM
from .findings import find_in_labels, find_in_repetitions, find_in_texts
from .inspection import Inspection, SplitInspection, describe_file, find_repetitions, hash_labels
from .label_columns import find_label_column
from .readers import read_texts
from .sources import (
    SPLITS,
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
from .text_facts import TextFacts
from .tokenizing import find_text_column


logger = logging.getLogger(__name__)

DEMO = Path(__file__).parent / "demo"


@dataclass(frozen=True)
class TaggingData:
    """The rows of a run.

    Attributes:
        dataset: By split ("train", "validation" and, if there is one, "test"), rows with a column of texts and the
            encoded "labels".
        text_column: The column with the texts.
        encoding: The labels, and what was understood of them; its counts are those of train after the split.
        source: What the card says of the data: name, id, configuration, licence, citation, revisions.
        inspection: What the rows say; printed, it is a block of lines.
    """

    dataset: DatasetDict
    text_column: str
    encoding: LabelEncoding
    source: DatasetInfo
    inspection: Inspection = field(default_factory=Inspection)

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
    """Splits as they were loaded, their columns, and where they are from."""

    dataset: DatasetDict
    text_column: str
    label_columns: list[str]
    describe: Callable[[], DatasetInfo]
    files: dict[str, str] = field(default_factory=dict)


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
    source, arguments = _arguments(source, arguments, options)
    inspection = Inspection()
    try:
        loaded, read = _read(source, arguments, inspection)
    finally:
        if inspection.splits:
            logger.info(str(inspection))
    for message in inspection.warnings:
        warnings.warn(message, stacklevel=2)
    dataset, encoding = read.encode(), read.encoding
    if "validation" not in dataset:
        parts = stratified_split(
            dataset["train"], arguments.validation_fraction, seed=seed, group_column=loaded.text_column
        )
        dataset["train"], dataset["validation"] = parts["train"], parts["test"]
        encoding = encoding.recounted(dataset["train"])
        note = f"No validation split: {len(parts['test']):,} texts were split off train, stratified by label."
        inspection.notes.append(note)
        logger.info(note)
        if not label_tally(dataset["validation"])[0].any():
            raise _without_labels(
                Origin().split("validation"),
                f"`validation_fraction` {arguments.validation_fraction} of train is too little; raise it, or pass "
                "`validation_file`",
            )
    dataset = DatasetDict({split: dataset[split] for split in SPLITS if split in dataset})
    return TaggingData(dataset, loaded.text_column, encoding, loaded.describe(), inspection)


def inspect_data(
    source: Source | DataArguments | None = None,
    arguments: DataArguments | None = None,
    *,
    into: Inspection | None = None,
    **options: Any,
) -> Inspection:
    """Reads rows as `load_data` does, and keeps only what is to be said of them.

    Of a text in a file it keeps a hash, so that a large file needs little memory.

    Args:
        source: As in `load_data`.
        arguments: As in `load_data`.
        into: What is filled, which holds what is known so far where an error is raised.
        options: As in `load_data`.

    Returns:
        What the rows say.

    Raises:
        FileNotFoundError: As `load_data`.
        ValueError: As `load_data`.
    """
    source, arguments = _arguments(source, arguments, options)
    inspection = Inspection() if into is None else into
    _read(source, arguments, inspection, keep_texts=False)
    return inspection


def _arguments(
    source: Source | DataArguments | None, arguments: DataArguments | None, options: dict[str, Any]
) -> tuple[Source | None, DataArguments]:
    if isinstance(source, DataArguments):
        if arguments is not None:
            raise ValueError("`source` and `arguments` are both `DataArguments`; pass one.")
        source, arguments = None, source
    return source, replace(arguments or DataArguments(), **_check_options(options))


def _read(
    source: Source | None, arguments: DataArguments, inspection: Inspection, keep_texts: bool = True
) -> tuple[_LoadedRows, LabelledRows]:
    """Reads rows and understands their labels; fills what is known of them in the order in which it becomes known."""
    loaded = _load(source, arguments, inspection, keep_texts)
    origin = Origin(loaded.files)
    for split, part in inspection.splits.items():
        part.texts.check(split, origin)
        inspection.warnings += find_in_texts(split, part, origin, arguments.encoding)
    inspection.separator = arguments.label_separator
    read = understand_labels(
        loaded.dataset,
        _label_column(loaded.dataset["train"], loaded.label_columns, arguments),
        label_names=_label_list(arguments.label_list, arguments.encoding),
        separator=arguments.label_separator,
        unknown_labels=arguments.unknown_labels,
        blank_label=arguments.blank_label,
        group_column=loaded.text_column if arguments.group_duplicates else None,
        files=loaded.files,
    )
    _inspect_labels(inspection, read, origin)
    for split, (positives, _) in read.tallies.items():
        if not positives.any():
            raise _without_labels(origin.split(split), "give labelled rows, or leave them out")
    return loaded, read


def _inspect_labels(inspection: Inspection, read: LabelledRows, origin: Origin) -> None:
    inspection.encoding = read.encoding
    in_train = inspection.splits["train"].texts.hashes
    for split, part in inspection.splits.items():
        rows, entries = read.splits[split], read.labels.entries[split]
        selected = read.selected.get(split, np.arange(len(rows)))
        hashes = part.texts.hashes[selected]
        labelled = entries[0][entries[2] > 0]
        part.merged = part.texts.rows - len(rows)
        part.without_labels = len(rows) - int((np.diff(labelled, prepend=-1) > 0).sum())
        part.mean_labels = len(labelled) / len(rows)
        part.repeated, later, earlier = find_repetitions(hashes, hash_labels(entries, len(rows)))
        part.relabelled = len(later)
        part.relabelled_rows = (int(selected[later[0]]), int(selected[earlier[0]])) if len(later) else None
        if split != "train":
            part.in_train = int(np.isin(hashes, in_train).sum())
        inspection.warnings += find_in_repetitions(split, part, len(rows), origin)
    inspection.warnings += find_in_labels(inspection, read, origin)


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - {field.name for field in fields(DataArguments)}
    if unknown:
        raise TypeError(f"load_data() got the arguments {sorted(unknown)}, which are no fields of `DataArguments`.")
    return options


def _load(source: Source | None, arguments: DataArguments, inspection: Inspection, keep_texts: bool) -> _LoadedRows:
    """The raw splits, with what is known of their texts."""
    if source is not None and (arguments.train_file is not None or arguments.dataset_name is not None):
        raise ValueError(
            f"`source` is a {type(source).__name__}, and `train_file` {arguments.train_file!r} or `dataset_name` "
            f"{arguments.dataset_name!r} is given too; pass one of them."
        )
    columns = arguments.label_column
    columns = [columns] if isinstance(columns, str) else columns and list(columns)
    files = _files(source, arguments)
    if files is not None:
        return _load_files(files, columns, arguments, inspection, keep_texts)
    return _load_rows(source, columns, arguments, inspection)


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
    return {split: files[split] for split in SPLITS if split in files}


def _load_files(
    files: dict[str, str],
    label_columns: list[str] | None,
    arguments: DataArguments,
    inspection: Inspection,
    keep_texts: bool,
) -> _LoadedRows:
    options = FileOptions(arguments.file_format, arguments.delimiter, arguments.encoding)
    paths = {split: local_copy(path, options) for split, path in files.items()}
    names = {split: "stdin" if path == STANDARD_STREAM else os.path.basename(path) for split, path in files.items()}
    for split, path in paths.items():
        shown = names[split] if files[split] == STANDARD_STREAM else files[split]
        file = describe_file(path, shown, options.file_format, options.delimiter, options.encoding)
        inspection.splits[split] = SplitInspection(shown, TextFacts("", arguments.max_length), file)
    columns = find_columns(
        paths["train"],
        arguments.text_column,
        label_columns,
        options,
        optional=arguments.blank_label == "absent",
    )
    inspection.choose_columns(
        columns.text, columns.labels, (arguments.text_column is not None, label_columns is not None)
    )
    facts = {split: TextFacts(columns.text, arguments.max_length) for split in paths}
    for split, part in inspection.splits.items():
        part.texts = facts[split]
    dataset = read_dataset(paths, columns, options, None if keep_texts else facts)
    if keep_texts:
        for split, rows in dataset.items():
            _add_texts(facts[split], rows)

    demo = Path(files["train"]).parent == DEMO

    def describe() -> DatasetInfo:
        name = "the bundled product descriptions" if demo else names["train"]
        described = describe_dataset(dataset["train"], name, paths)
        return replace(described, license="cc0-1.0") if demo else described

    return _LoadedRows(dataset, columns.text, columns.labels, describe, names)


def _load_rows(
    source: Source | None, label_columns: list[str] | None, arguments: DataArguments, inspection: Inspection
) -> _LoadedRows:
    """Rows of the Hub, of a folder, or in memory."""
    in_memory = source is not None and not isinstance(source, str | os.PathLike)
    if source is None or isinstance(source, str | os.PathLike):
        name = str(arguments.dataset_name) if source is None else os.fspath(source)
        dataset = load_hub(name, arguments.dataset_config_name, arguments.dataset_revision)
    else:
        name, dataset = "rows in memory", load_rows(source)
    for split in dataset:
        inspection.splits[str(split)] = SplitInspection(name, TextFacts("", arguments.max_length))
    train = dataset["train"]
    columns = label_columns or [find_label_column(train.column_names)]
    text_column = arguments.text_column or find_text_column(train, columns)
    inspection.choose_columns(text_column, columns, (arguments.text_column is not None, label_columns is not None))
    require_columns(dataset, [text_column])
    for split, rows in dataset.items():
        part = inspection.splits[str(split)]
        part.texts = TextFacts(text_column, arguments.max_length)
        _add_texts(part.texts, rows)

    def describe() -> DatasetInfo:
        described = describe_dataset(dataset["train"], name)
        return replace(described, id=None, config=None) if in_memory else described

    return _LoadedRows(dataset, text_column, columns, describe)


def _add_texts(facts: TextFacts, rows: Dataset) -> None:
    facts.feature = rows.features[facts.column]
    for table in rows.select_columns([facts.column]).with_format("arrow").iter(1000):
        facts.add(table[facts.column].to_pylist())


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


def _without_labels(where: str, remedy: str) -> ValueError:
    return ValueError(f"No row of {where} has a label, so that nothing can be measured on it: {remedy}.")
