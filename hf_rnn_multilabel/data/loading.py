"""Rows, labels and splits: what a run trains on, before any token."""

import hashlib
import logging
import os
import warnings
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from datasets import DatasetDict
from transformers import PreTrainedTokenizerBase

from ..hub.run_info import DatasetInfo
from .arguments import DataArguments
from .columns import Origin
from .encoding import LabelEncoding, LabelledRows, understand_labels
from .files import quoted
from .findings import find_in_labels, find_in_measured, find_in_repetitions, find_in_texts
from .inspection import Inspection, find_repetitions, hash_labels
from .raw_rows import RawRows, choose_label_column, load_raw_rows
from .readers import read_texts
from .sources import SPLITS, Source
from .splits import label_tally, stratified_split
from .tokenizing import make_encoder


logger = logging.getLogger(__name__)


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
        loaded = load_raw_rows(source, arguments, inspection)
        read = _understand(loaded, arguments, inspection)
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
    tokenizer: PreTrainedTokenizerBase | None = None,
    into: Inspection | None = None,
    **options: Any,
) -> Inspection:
    """Reads rows as `load_data` does, and keeps only what is to be said of them.

    Of a text in a file it keeps a hash, so that a large file needs little memory.

    Args:
        source: As in `load_data`.
        arguments: As in `load_data`.
        tokenizer: A fast tokenizer, by which the texts are counted that `max_length` truncates. Without it, those with
            more words are.
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
    encoder = None if tokenizer is None else make_encoder(tokenizer, arguments.max_length)
    _understand(load_raw_rows(source, arguments, inspection, encoder=encoder, keep_texts=False), arguments, inspection)
    return inspection


def load_labelled(
    source: Source | DataArguments,
    label_names: list[str],
    arguments: DataArguments | None = None,
    **options: Any,
) -> TaggingData:
    """Loads rows to measure a tagger on: one split, with the labels of the tagger in their order.

    Args:
        source: As in `load_data`; "train" is its only split.
        label_names: The tagger's labels.
        arguments: As in `load_data`; its `label_list` does not count.
        options: As in `load_data`.

    Returns:
        The rows with their labels, all in "train".

    Raises:
        FileNotFoundError: As `load_data`.
        ValueError: As `load_data`, a label is none of the tagger's, or there are several splits.
    """
    source, arguments = _arguments(source, arguments, options)
    inspection = Inspection()
    try:
        loaded = load_raw_rows(source, arguments, inspection)
        if len(loaded.dataset) > 1:
            raise ValueError(f"The rows have the splits {list(loaded.dataset)}; give the rows of one.")
        read = _understand(loaded, arguments, inspection, label_names)
    finally:
        for message in inspection.warnings:
            warnings.warn(message, stacklevel=2)
    return TaggingData(read.encode(), loaded.text_column, read.encoding, loaded.describe(), inspection)


def _arguments(
    source: Source | DataArguments | None, arguments: DataArguments | None, options: dict[str, Any]
) -> tuple[Source | None, DataArguments]:
    if isinstance(source, DataArguments):
        if arguments is not None:
            raise ValueError("`source` and `arguments` are both `DataArguments`; pass one.")
        source, arguments = None, source
    return source, replace(arguments or DataArguments(), **_check_options(options))


def _understand(
    loaded: RawRows, arguments: DataArguments, inspection: Inspection, of_tagger: list[str] | None = None
) -> LabelledRows:
    """Understands the labels of rows; enters what is found in the order in which it becomes known.

    Args:
        loaded: The rows.
        arguments: How to read them.
        inspection: What is filled.
        of_tagger: The labels of the tagger that is measured on the rows; None: they are learned from.
    """
    origin = Origin(loaded.files)
    for split, part in inspection.splits.items():
        part.texts.check(split, origin)
        inspection.warnings += find_in_texts(split, part, origin, arguments.encoding)
    inspection.separator = arguments.label_separator
    label_list = _label_list(arguments.label_list, arguments.encoding) if of_tagger is None else of_tagger
    # One 0/1 column is that of a tagger's only label; for another tagger it holds ids.
    arguments = replace(arguments, label_list=None if of_tagger and len(of_tagger) == 1 else label_list)
    read = understand_labels(
        loaded.dataset,
        choose_label_column(loaded.dataset["train"], loaded.label_columns, arguments),
        label_names=label_list,
        separator=arguments.label_separator,
        unknown_labels=arguments.unknown_labels if of_tagger is None else "drop",
        blank_label=arguments.blank_label,
        group_column=loaded.text_column if arguments.group_duplicates else None,
        files=loaded.files,
    )
    if of_tagger is not None and arguments.unknown_labels != "drop":
        _refuse_other_labels(read, of_tagger, origin)
    _inspect_labels(inspection, read, origin)
    if of_tagger is None:
        inspection.warnings += find_in_labels(inspection, read, origin)
    else:
        inspection.warnings += find_in_measured(inspection, read, origin)
    for split, (positives, _) in read.tallies.items():
        if not positives.any():
            raise _without_labels(origin.split(split), "give labelled rows, or leave them out")
    return read


def _refuse_other_labels(read: LabelledRows, label_names: list[str], origin: Origin) -> None:
    for split, unknown in read.labels.unknown.items():
        raise ValueError(
            f"{len(unknown):,} labels of {origin.split(split)} are not among the {len(label_names):,} of the tagger: "
            f"{quoted(unknown)} are not in {quoted(label_names)}. Correct them, or leave them out with "
            '`unknown_labels="drop"`.'
        )


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


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - {field.name for field in fields(DataArguments)}
    if unknown:
        raise TypeError(f"load_data() got the arguments {sorted(unknown)}, which are no fields of `DataArguments`.")
    return options


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
