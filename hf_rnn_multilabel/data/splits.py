"""Splits of rows: what a caller gives, one part to two similar ones, and how often each label is in each."""

import math
from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, List
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

from ..model.losses import IGNORED
from .columns import group_rows, kind, require_columns, splits_of


def stratified_split(
    dataset: Dataset, test_size: float | int, *, seed: int = 0, group_column: str | None = None
) -> DatasetDict:
    """Splits encoded rows in two parts with similar label frequencies, each in the order of `dataset`.

    A label too rare for even one of its rows to be due to the smaller part is left to chance: no split can share it
    in proportion, and thousands of such labels would pull all their rows into the larger part.

    Args:
        dataset: Rows with the column "labels" of `encode_labels`; an ignored label counts as absent.
        test_size: Fraction of the rows (float between 0 and 1) or their number (int) in "test"; the part comes out up
            to a few percent larger or smaller, since the label frequencies go first.
        seed: Breaks the ties.
        group_column: Rows with the same value of this column, for example the text, go into the same part.

    Returns:
        "train" and "test", disjoint and complete; `label_frequencies` reports how similar they are.

    Raises:
        ValueError: Either part would be empty, or the labels are not encoded.

    Source:
        Sechidis, Tsoumakas, Vlahavas (2011), On the Stratification of Multi-Label Data.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(f'`dataset` is a {type(dataset).__name__}; pass one split, such as `dataset["train"]`.')
    total = len(dataset)
    test_rows = test_size if isinstance(test_size, int | np.integer) else math.ceil(test_size * total)
    if not 0 < test_rows < total:
        raise ValueError(
            f"`test_size` {test_size} leaves {test_rows} of {total} rows for test and {total - test_rows} for train; "
            "each part needs at least one."
        )
    positives = np.concatenate([batch == 1 for batch in _label_batches(dataset)])  # (rows, labels)
    groups = np.arange(total)
    if group_column is not None:
        require_columns({"train": dataset}, [group_column])
        groups, first = group_rows(dataset, group_column)
        if len(first) < total:
            order = np.argsort(groups, kind="stable")
            starts = np.searchsorted(groups[order], np.arange(len(first)))
            positives = np.logical_or.reduceat(positives[order], starts)  # (groups, labels)
            test_rows = min(max(1, round(test_rows * len(first) / total)), len(first) - 1)
    in_test = _stratify(positives, test_rows, seed)[groups]  # (rows,)
    if not in_test.any() or in_test.all():
        raise ValueError(
            f"{total} rows ({len(positives)} different) are too few to stratify with `test_size` {test_size}; pass "
            "more rows."
        )
    return DatasetDict(
        {"train": dataset.select(np.flatnonzero(~in_test)), "test": dataset.select(np.flatnonzero(in_test))}
    )


def label_frequencies(dataset: Dataset | DatasetDict) -> dict[str, list[float]]:
    """Reports the fraction of rows that carry each label, among the rows where it is observed.

    Args:
        dataset: Rows or splits with the column "labels" of `encode_labels`; a single `Dataset` counts as "train".

    Returns:
        By split, the fractions in the order of the label indices; 0 where a label is observed nowhere.

    Raises:
        ValueError: The labels are not encoded, or a split has no rows.
    """
    tallies = {split: label_tally(rows) for split, rows in splits_of(dataset, train=False).items()}
    return {split: (positives / np.maximum(observed, 1)).tolist() for split, (positives, observed) in tallies.items()}


def label_tally(rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The rows that carry each label, and those where it is observed: (labels,) each."""
    tallies = [((batch == 1).sum(axis=0), (batch != IGNORED).sum(axis=0)) for batch in _label_batches(rows)]
    return sum(positives for positives, _ in tallies), sum(observed for _, observed in tallies)


def _stratify(positives: np.ndarray, test_rows: int, seed: int) -> np.ndarray:
    """Whether each row is in the test part, (rows,)."""
    total = len(positives)
    in_test = np.zeros(total, bool)
    if total < 2:
        return in_test
    smaller_fraction = min(test_rows, total - test_rows) / total
    splittable = positives[:, positives.sum(axis=0) * smaller_fraction >= 1]
    # The stratifier refuses fewer than two labels; two that no row carries change nothing.
    targets = np.pad(splittable, ((0, 0), (0, 2)))
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=test_rows, random_state=seed)
    _, test = next(splitter.split(targets, targets))
    in_test[test] = True
    return in_test


def _label_batches(rows: Dataset) -> Iterator[np.ndarray]:
    """Yields the encoded labels of 1,000 rows at a time, (rows, labels)."""
    feature = rows.features.get("labels")
    if not isinstance(feature, List) or feature.length < 1 or kind(feature.feature) != "float":
        raise ValueError(f'Column "labels" is {feature}, not a float multi-hot; call `encode_labels` first.')
    for table in rows.select_columns(["labels"]).with_format("arrow").iter(1000):
        yield pc.list_flatten(table["labels"]).to_numpy().reshape(-1, feature.length)
