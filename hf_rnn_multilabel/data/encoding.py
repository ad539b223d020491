"""Labels of any shape to a float multi-hot."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, List, Value

from .columns import Origin, group_rows, require_columns, splits_of
from .files import quoted
from .label_columns import BlankLabel, Entries, LabelRequest, ReadLabels, read_labels
from .label_forms import UNDERSTOOD, Form, find_label_column
from .label_names import check_label_names, normalize_label, similar_labels
from .splits import label_tally
from .tables import MAX_MEMORY, temporary_folder


@dataclass(frozen=True)
class LabelEncoding:
    """What `encode_labels` understood; printed, it is a few sentences.

    Attributes:
        label_names: The labels in the order of their indices.
        form: The form in which the labels came.
        counts: Train rows that carry each label.
        frequencies: Fraction of the train rows that carry each label, among the rows where it is observed.
        dropped: By split, the rows that carried each label that was left out.
        merged: Labels that were written in several ways, which look the same, with these.
        grouped: By split, the rows that went into another row with the same text.
        ignored: By split, the zeros and ones that are blank or -100, and not observed.
    """

    label_names: list[str]
    form: Form
    counts: dict[str, int]
    frequencies: dict[str, float]
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    merged: dict[str, list[str]] = field(default_factory=dict)
    grouped: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(self.label_names[:5]) + (", ..." if len(self.label_names) > 5 else "")
        sentences = [
            f"{len(self.label_names):,} labels ({shown}), read from {UNDERSTOOD[self.form]}.",
            f"A train row carries {sum(self.frequencies.values()):.2f} labels on average.",
            *self.remarks(),
        ]
        return " ".join(sentences)

    def remarks(self) -> list[str]:
        """Sentences on labels that were dropped, merged or not observed, and on rows that were merged."""
        sentences = []
        for split, labels in self.dropped.items():
            sentences.append(
                f"{len(labels):,} unknown labels were dropped from {split} ({sum(labels.values()):,} times)."
            )
        for split, rows in self.grouped.items():
            sentences.append(f"{rows:,} rows of {split} were merged into others with the same text.")
        for split, cells in self.ignored.items():
            sentences.append(
                f"{cells:,} zeros and ones of {split} are blank or -100, and count as not observed: if a blank means "
                '0, pass `blank_label="absent"`.'
            )
        if self.merged:
            name, spellings = next(iter(self.merged.items()))
            sentences.append(
                f"{len(self.merged):,} labels are written in several ways that look the same and count as one, for "
                f"example {name!r} as {', '.join(map(ascii, spellings[:3]))}."
            )
        if similar := similar_labels(self.label_names):
            sentences.append(
                f"{len(similar):,} groups of labels are almost written alike, for example "
                f"{', '.join(map(repr, similar[0][:3]))}: they count as different ones."
            )
        return sentences

    def recounted(self, train: Dataset) -> "LabelEncoding":
        """The same labels with the counts and frequencies of other train rows, for example after a split."""
        positives, observed = label_tally(train)
        counts, frequencies = _counts(self.label_names, positives, observed)
        return replace(self, counts=counts, frequencies=frequencies)


@dataclass(frozen=True)
class LabelledRows:
    """Rows whose labels are understood and not yet written as a matrix.

    Attributes:
        splits: The rows by split, grouped where that was asked for.
        columns: The columns with the labels.
        labels: The labels that were read.
        encoding: What was understood of them.
        tallies: By split, the rows that carry each label and those where it is observed, (labels,) each.
        selected: By split, the index of each row in what was given; a split that is not grouped is missing.
    """

    splits: dict[str, Dataset]
    columns: list[str]
    labels: ReadLabels
    encoding: LabelEncoding
    tallies: dict[str, tuple[np.ndarray, np.ndarray]]
    selected: dict[str, np.ndarray] = field(default_factory=dict)

    def encode(self) -> DatasetDict:
        """The rows with the column "labels" in place of the label columns."""
        return DatasetDict(
            {split: _with_labels(rows, split, self.columns, self.labels) for split, rows in self.splits.items()}
        )


def encode_labels(
    dataset: Dataset | DatasetDict,
    label_column: str | list[str] | None = None,
    *,
    label_names: list[str] | None = None,
    separator: str | None = None,
    unknown_labels: Literal["error", "drop"] = "error",
    blank_label: BlankLabel = "ignored",
    group_column: str | None = None,
    files: Mapping[str, str] | None = None,
) -> tuple[Dataset | DatasetDict, LabelEncoding]:
    """Turns labels of any form into the column "labels", a float multi-hot that `Trainer` takes as it is.

    A label column may hold:

    - lists of names;
    - lists of ids. `ClassLabel` gives their names; plain integers index `label_names`, and without them a label is
      named by its id, so that index and id differ where train skips an id. With such names as `label_names`, ids are
      names again, and an error where they could be either;
    - multi-hot lists of booleans, floats or integers, named by `label_names`, else LABEL_0, LABEL_1, ... A None
      or -100 among them is an ignored label. Integers are multi-hot where all lists that are not empty, of all
      splits, have one length above 1 and hold only 0 and 1 (None, -100); they are ids otherwise, as [0] and [1] are;
    - strings that `separator` splits;
    - strings that each write out a list of names, in JSON or in Python;
    - one name, `ClassLabel` or id per row, where each row has one label. Strings that may hold several labels and
      integers that may be one 0/1 label are errors, not guesses.

    A list as `label_column` means one 0/1 column per label, of numbers or of strings that spell them, as yes and no, y
    and n, true and false, t and f, or x do; a string that is blank, NaN, NA or null is a None. With `label_names` too,
    columns that are called as the labels are taken by name, and others in their order. A row of None, an empty list or
    an empty string has no label. Names that look the same, since they differ in white space, in characters without
    width or in the Unicode form, are one label. The label column is removed, all others are kept.

    Args:
        dataset: Rows, or splits of which one is "train"; a single `Dataset` counts as "train".
        label_column: The column; or the columns, one per label; or None for the one of
            `label_forms.LABEL_COLUMNS` that is there.
        label_names: All labels in the order of their indices. Without them, the `ClassLabel`'s names, the columns'
            names, or the sorted labels of the train split.
        separator: What stands between the labels of a string; white space round a label does not count.
        unknown_labels: What to do with a label that is in a row and not in the vocabulary.
        blank_label: What a None among zeros and ones means: "ignored" (not observed, -100) or "absent" (0).
        group_column: Rows with the same value of this column, for example the text, become one row with the labels of
            all and the other columns of the first.
        files: By split, the file that its rows come from, for errors, which then count rows from 1.

    Returns:
        The dataset with "labels", `List(Value("float32"), length=labels)` of 0, 1 and -100 (ignored), and what was
        understood.

    Raises:
        ValueError: A column is missing, ambiguous or of no form above, a value is not a label, a label is unknown or
            nowhere absent, or there is no row or no label. Rows are counted from 0.
    """
    read = understand_labels(
        dataset,
        label_column,
        label_names=label_names,
        separator=separator,
        unknown_labels=unknown_labels,
        blank_label=blank_label,
        group_column=group_column,
        files=files,
    )
    encoded = read.encode()
    return (encoded if isinstance(dataset, DatasetDict) else encoded["train"]), read.encoding


def understand_labels(
    dataset: Dataset | DatasetDict,
    label_column: str | list[str] | None,
    *,
    label_names: list[str] | None,
    separator: str | None,
    unknown_labels: Literal["error", "drop"],
    blank_label: BlankLabel,
    group_column: str | None,
    files: Mapping[str, str] | None,
) -> LabelledRows:
    """Does all of `encode_labels` that may fail; its arguments and errors are the same."""
    splits = splits_of(dataset)
    for name, value, choices in (
        ("unknown_labels", unknown_labels, ("error", "drop")),
        ("blank_label", blank_label, ("ignored", "absent")),
    ):
        if value not in choices:
            raise ValueError(f'`{name}` is {value!r}; it must be "{choices[0]}" or "{choices[1]}".')
    if label_column is None:
        label_column = find_label_column(splits["train"].column_names)
    columns = [label_column] if isinstance(label_column, str) else list(label_column)
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"`label_column` is {label_column}; it must name at least one column, and each once.")
    origin = Origin(files or {})
    require_columns(splits, [*columns, *([] if group_column is None else [group_column])], origin)
    _refuse_other_labels(splits, columns, origin)
    if not isinstance(label_column, str) and label_names is not None:
        label_column = _by_name(columns, check_label_names(label_names))

    labels = read_labels(splits, LabelRequest(label_column, label_names, separator, blank_label, origin))
    if labels.unknown and unknown_labels == "error":
        raise ValueError(_unknown_message(labels.unknown, None if label_names is None else labels.names))
    grouped: dict[str, int] = {}
    selected: dict[str, np.ndarray] = {}
    if group_column is not None:
        sizes = {split: len(rows) for split, rows in splits.items()}
        splits, labels, selected = _group(splits, labels, group_column)
        grouped = {split: size - len(splits[split]) for split, size in sizes.items() if size > len(splits[split])}

    tallies = {split: tally(labels, split, len(rows)) for split, rows in splits.items()}
    if labels.form in ("multi_hot", "columns"):
        _refuse_nowhere_absent(labels, {split: len(rows) for split, rows in splits.items()}, tallies, origin)
    encoding = LabelEncoding(
        labels.names,
        labels.form,
        *_counts(labels.names, *tallies["train"]),
        dropped=labels.unknown,
        merged=labels.merged,
        grouped=grouped,
        ignored={split: count for split, part in labels.entries.items() if (count := int((part[2] < 0).sum()))},
    )
    return LabelledRows(splits, columns, labels, encoding, tallies, selected)


def tally(labels: ReadLabels, split: str, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a split that carry each label, and those where it is observed: (labels,) each."""
    _, label, value = labels.entries[split]
    positives = np.bincount(label[value > 0], minlength=len(labels.names))
    return positives, num_rows - np.bincount(label[value < 0], minlength=len(labels.names))


def _counts(names: list[str], positives: np.ndarray, observed: np.ndarray) -> tuple[dict[str, int], dict[str, float]]:
    frequencies = (positives / np.maximum(observed, 1)).tolist()
    return dict(zip(names, positives.tolist(), strict=True)), dict(zip(names, frequencies, strict=True))


def _refuse_other_labels(splits: dict[str, Dataset], columns: list[str], origin: Origin) -> None:
    for split, rows in splits.items():
        others = {"labels", "label", "label_ids"}.intersection(rows.column_names).difference(columns)
        if others:
            raise ValueError(
                f"Columns {quoted(sorted(others))} stand beside {quoted(columns)} in {origin.split(split)}, and would "
                "overwrite the encoded labels in training; rename or remove them, or pass one as `label_column`."
            )


def _by_name(columns: list[str], names: list[str]) -> list[str]:
    """The columns in the order of the labels that they are called as; as they are where no one is called as a label.

    Raises:
        ValueError: Some are and others are not, or a label has no column.
    """
    called = {normalize_label(column): column for column in columns}
    keys = [normalize_label(name) for name in names]
    if not called.keys() & set(keys):
        return columns
    missing = [name for name, key in zip(names, keys, strict=True) if key not in called]
    others = [column for key, column in called.items() if key not in set(keys)]
    if missing or others:
        raise ValueError(
            f"`label_column` has {quoted(columns)} for the labels {quoted(names)}: no column for {quoted(missing)}, "
            f"and no label for {quoted(others)}. Name one column per label, each with the label's name."
        )
    return [called[key] for key in keys]


def _refuse_nowhere_absent(
    labels: ReadLabels, sizes: dict[str, int], tallies: dict[str, tuple[np.ndarray, np.ndarray]], origin: Origin
) -> None:
    """Raises where a label of train, or every label of another split, is ignored wherever it is not 1."""
    for split, (positives, observed) in tallies.items():
        never = (positives == observed) & (positives > 0) & (observed < sizes[split])
        if never.any() and (split == "train" or (positives == observed).all()):
            names = [labels.names[index] for index in np.flatnonzero(never)]
            raise ValueError(
                f"Labels {quoted(names)} ({len(names)} of {len(labels.names)}) are nowhere 0 in "
                f"{origin.split(split)}: where they are not 1, they are blank or -100, which means not observed, so "
                "that a model which gives them to every text makes no error. If a blank means 0, pass "
                '`blank_label="absent"`.'
            )


def _group(
    splits: dict[str, Dataset], labels: ReadLabels, column: str
) -> tuple[dict[str, Dataset], ReadLabels, dict[str, np.ndarray]]:
    """The first row of each value of a column, with the labels of all its rows."""
    selected, entries = {}, {}
    for split, rows in splits.items():
        groups, first = group_rows(rows, column)
        number, label, value = labels.entries[split]
        keys = groups[number].astype(np.int64) * len(labels.names) + label
        unique, where = np.unique(keys, return_inverse=True)
        positive = np.bincount(where, value > 0, len(unique)) > 0
        # A label that is 0 in one row of a group has no entry there, and is ignored only where all rows ignore it.
        ignored = np.bincount(where, value < 0, len(unique)) == np.bincount(groups)[unique // len(labels.names)]
        entered = positive | ignored
        values = np.where(positive, 1, -100).astype(np.float32)
        entries[split] = (
            (unique // len(labels.names))[entered],
            (unique % len(labels.names))[entered],
            values[entered],
        )
        selected[split] = first
    rows_of_groups = {split: rows.select(selected[split]) for split, rows in splits.items()}
    return rows_of_groups, replace(labels, entries=entries), selected


def _unknown_message(unknown: dict[str, dict[str, int]], names: list[str] | None) -> str:
    counts = "; ".join(f"{len(labels)} in {split!r}: {quoted(labels)}" for split, labels in unknown.items())
    where = "the train split" if names is None else f"`label_names`, {quoted(names)}"
    return (
        f"Labels are not in {where}: {counts}. Pass all labels as `label_names`, or leave these out with "
        '`unknown_labels="drop"`.'
    )


def _with_labels(rows: Dataset, split: str, columns: list[str], labels: ReadLabels) -> Dataset:
    """The rows with the column "labels" in place of the label columns."""
    others = {name: feature for name, feature in rows.features.items() if name not in columns}
    num_labels = len(labels.names)
    # Of rows in memory, a large matrix goes to a file too.
    large = not rows.cache_files and 4 * len(rows) * num_labels > MAX_MEMORY
    mapped = rows.with_format("arrow").map(
        partial(_replace_columns, columns=columns, entries=labels.entries[split], num_labels=num_labels),
        batched=True,
        with_indices=True,
        features=Features({**others, "labels": List(Value("float32"), length=num_labels)}),
        cache_file_name=os.path.join(temporary_folder(), "labels.arrow") if large else None,
        desc=f"Encoding the labels of {split}",
    )
    return mapped.with_format(None)


def _replace_columns(
    table: pa.Table, indices: list[int], columns: list[str], entries: Entries, num_labels: int
) -> pa.Table:
    rows, labels, values = entries
    here = slice(*np.searchsorted(rows, [indices[0], indices[-1] + 1]))
    matrix = np.zeros((len(indices), num_labels), np.float32)  # (rows, labels)
    matrix[rows[here] - indices[0], labels[here]] = values[here]
    encoded = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), num_labels)
    return table.drop_columns(columns).append_column("labels", encoded)
