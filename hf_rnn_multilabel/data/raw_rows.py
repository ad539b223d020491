"""The rows of a source as they are, with what is known of their texts, before their labels are understood."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from datasets import Dataset, DatasetDict

from ..hub.provenance import describe_dataset
from ..hub.run_info import DatasetInfo
from ..model.text_encoding import TextEncoder
from .arguments import DataArguments
from .columns import is_binary, require_columns
from .files import STANDARD_STREAM
from .inspection import Inspection, SplitInspection, describe_file
from .label_forms import find_label_column
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
from .text_facts import TextFacts
from .tokenizing import find_text_column


DEMO = Path(__file__).parent / "demo"


@dataclass(frozen=True)
class RawRows:
    """Splits as they were loaded.

    Attributes:
        dataset: The rows by split.
        text_column: The column with the texts.
        label_columns: Those with the labels.
        describe: Gives what the card says of the data.
        files: By split, the file's name; empty where the rows are from no file.
    """

    dataset: DatasetDict
    text_column: str
    label_columns: list[str]
    describe: Callable[[], DatasetInfo]
    files: dict[str, str] = field(default_factory=dict)


def load_raw_rows(
    source: Source | None,
    arguments: DataArguments,
    inspection: Inspection,
    *,
    encoder: TextEncoder | None = None,
    keep_texts: bool = True,
) -> RawRows:
    """Loads what `load_data` is given.

    Args:
        source: As in `load_data`.
        arguments: As in `load_data`.
        inspection: Where splits, columns and texts are entered as soon as they are known.
        encoder: Counts the texts that are truncated.
        keep_texts: Whether the rows of files hold their texts, or hashes in their place.

    Returns:
        The rows.

    Raises:
        FileNotFoundError: As `load_data`.
        ValueError: As `load_data`.
    """
    if source is not None and (arguments.train_file is not None or arguments.dataset_name is not None):
        raise ValueError(
            f"`source` is a {type(source).__name__}, and `train_file` {arguments.train_file!r} or `dataset_name` "
            f"{arguments.dataset_name!r} is given too; pass one of them."
        )
    is_folder = arguments.train_file is not None and os.path.isdir(arguments.train_file)
    if is_folder and source is None and arguments.dataset_name is None:
        source, arguments = arguments.train_file, replace(arguments, train_file=None)
    columns = arguments.label_column
    columns = [columns] if isinstance(columns, str) else columns and list(columns)
    files = _files(source, arguments)
    if files is not None:
        return _load_files(files, columns, arguments, inspection, encoder, keep_texts)
    return _load_rows(source, columns, arguments, inspection, encoder)


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
    encoder: TextEncoder | None,
    keep_texts: bool,
) -> RawRows:
    options = FileOptions(arguments.file_format, arguments.delimiter, arguments.encoding)
    paths = {split: local_copy(path, options) for split, path in files.items()}
    names = {split: "stdin" if path == STANDARD_STREAM else os.path.basename(path) for split, path in files.items()}
    for split, path in paths.items():
        shown = names[split] if files[split] == STANDARD_STREAM else files[split]
        file = describe_file(path, shown, options.file_format, options.delimiter, options.encoding)
        inspection.splits[split] = SplitInspection(shown, TextFacts(arguments.max_length, encoder), file)
    with _entered(inspection):
        columns = find_columns(
            paths["train"],
            arguments.text_column,
            label_columns,
            options,
            optional=arguments.blank_label == "absent",
        )
        inspection.choose_columns(columns.text, columns.labels, arguments.text_column, label_columns)
        _refuse_one_for_both(columns.text, columns.labels)
        facts = {split: part.texts for split, part in inspection.splits.items()}
        dataset = read_dataset(paths, columns, options, None if keep_texts else facts)
    if keep_texts:
        for split, rows in dataset.items():
            facts[str(split)].add_rows(rows)

    def describe() -> DatasetInfo:
        if Path(files["train"]).parent != DEMO:
            return describe_dataset(dataset["train"], names["train"], paths)
        described = describe_dataset(dataset["train"], "the bundled product descriptions", paths)
        return replace(described, license="cc0-1.0")

    return RawRows(dataset, columns.text, columns.labels, describe, names)


def _refuse_one_for_both(text_column: str, label_columns: list[str]) -> None:
    if text_column in label_columns:
        raise ValueError(f"`text_column` and `label_column` are both {text_column!r}; name two columns.")


@contextmanager
def _entered(inspection: Inspection) -> Iterator[None]:
    """Enters what a reader warns of, once each."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        messages = [str(warning.message) for warning in caught if warning.category is UserWarning]
        inspection.warnings += dict.fromkeys(messages)


def _load_rows(
    source: Source | None,
    label_columns: list[str] | None,
    arguments: DataArguments,
    inspection: Inspection,
    encoder: TextEncoder | None,
) -> RawRows:
    """Rows of the Hub, of a folder, or in memory."""
    in_memory = source is not None and not isinstance(source, str | os.PathLike)
    if source is None or isinstance(source, str | os.PathLike):
        name = str(arguments.dataset_name) if source is None else os.fspath(source)
        dataset = load_hub(name, arguments.dataset_config_name, arguments.dataset_revision)
    else:
        name, dataset = "rows in memory", load_rows(source)
    for split in dataset:
        inspection.splits[str(split)] = SplitInspection(name, TextFacts(arguments.max_length, encoder))
    train = dataset["train"]
    columns = label_columns or [find_label_column(train.column_names)]
    text_column = arguments.text_column or find_text_column(train, columns)
    inspection.choose_columns(text_column, columns, arguments.text_column, label_columns)
    _refuse_one_for_both(text_column, columns)
    require_columns(dataset, [text_column])
    for split, rows in dataset.items():
        inspection.splits[str(split)].texts.add_rows(rows)

    def describe() -> DatasetInfo:
        described = describe_dataset(dataset["train"], name)
        return replace(described, id=None, config=None) if in_memory else described

    return RawRows(dataset, text_column, columns, describe)


def choose_label_column(train: Dataset, columns: list[str], arguments: DataArguments) -> str | list[str]:
    """The one column with the labels; in a list, if it is a 0/1 column or one of several."""
    require_columns({"train": train}, columns)
    if len(columns) > 1 or arguments.label_separator is not None or arguments.label_list is not None:
        return columns if len(columns) > 1 else columns[0]
    return columns if is_binary(train, columns[0]) else columns[0]
