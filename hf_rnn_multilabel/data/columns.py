"""Splits and columns of data sets: what they are called in errors, what they hold, which values repeat."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, DatasetDict, Value

from .files import quoted


Column: TypeAlias = pa.ChunkedArray


@dataclass(frozen=True)
class Origin:
    """Where the rows of each split are, for errors: rows of a file count from 1, those of a data set from 0.

    Attributes:
        files: By split, the file's name; a split that is not from a file is missing.
    """

    files: Mapping[str, str] = field(default_factory=dict)

    def split(self, split: str) -> str:
        """What to call a split."""
        return repr(self.files[split]) if split in self.files else f"split {split!r}"

    def row(self, split: str, index: int) -> str:
        """What to call a row."""
        return f"Row {self.number(split, index)} of {self.split(split)}"

    def number(self, split: str, index: int) -> int:
        """The number of a row."""
        return index + (split in self.files)


def splits_of(dataset: Dataset | DatasetDict, *, train: bool = True) -> dict[str, Dataset]:
    """The splits by name; a single `Dataset` counts as "train".

    Args:
        dataset: Rows or splits.
        train: Whether one must be "train".

    Raises:
        ValueError: It is neither, a split has no rows, or "train" is missing.
    """
    if not isinstance(dataset, Dataset | DatasetDict):
        raise ValueError(
            f"`dataset` is a {type(dataset).__name__}; pass a `Dataset` or `DatasetDict`, loaded without streaming."
        )
    splits = (
        {"train": dataset} if isinstance(dataset, Dataset) else {str(name): rows for name, rows in dataset.items()}
    )
    if not splits or (train and "train" not in splits):
        raise ValueError(f'The splits are {list(splits)}; call one "train", or pass a single split as a `Dataset`.')
    for split, rows in splits.items():
        if not len(rows):
            raise ValueError(f"Split {split!r} has no rows; fill it or remove it.")
    return splits


def require_columns(splits: dict[str, Dataset], columns: list[str], origin: Origin | None = None) -> None:
    """Raises a ValueError where a split lacks a column."""
    for split, rows in splits.items():
        missing = [column for column in columns if column not in rows.column_names]
        if missing:
            where = (origin or Origin()).split(split)
            raise ValueError(f"Columns {quoted(missing)} are not in {where}, which has {quoted(rows.column_names)}.")


def kind(feature: object) -> str:
    """What a feature of single values holds: "class", "string", "int", "float", "bool" or "null"; "other" if none."""
    if isinstance(feature, ClassLabel):
        return "class"
    dtype = feature.dtype if isinstance(feature, Value) else ""
    return next((held for held in ("string", "int", "float", "bool", "null") if held in dtype), "other")


def arrow_column(rows: Dataset, column: str) -> Column:
    """All values of a column in the order of the rows, (rows,)."""
    return rows.select_columns([column]).with_format("arrow")[:][column]


def group_rows(rows: Dataset, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the different values of a column in the order in which they first occur; see `text_digests`.

    Args:
        rows: The rows.
        column: A column of single values.

    Returns:
        The number of each row's value, (rows,), and the first row of each value, (values,).
    """
    numbers: dict[bytes, int] = {}
    groups = np.empty(len(rows), np.int64)
    first: list[int] = []
    for index, key in enumerate(text_digests(rows, column)):
        groups[index] = numbers.setdefault(key, len(numbers))
        if len(numbers) > len(first):
            first.append(index)
    return groups, np.array(first, np.int64)


def text_digests(rows: Dataset, column: str) -> list[bytes]:
    """A digest of each value of a column, since the texts of a large file do not fit in memory.

    Texts that differ only in their white space have the same.
    """
    return [
        hashlib.blake2b(repr(without_spaces(value)).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for table in rows.select_columns([column]).with_format("arrow").iter(1000)
        for value in table[column].to_pylist()
    ]


def without_spaces(value: object) -> object:
    """A text by which copies are told: with single spaces for all white space."""
    return " ".join(value.split()) if isinstance(value, str) else value


def is_binary(rows: Dataset, column: str) -> bool:
    """Whether a column of single values holds only 0 and 1, as numbers or as strings, and perhaps blanks."""
    feature = rows.features[column]
    if kind(feature) not in ("string", "int", "float", "bool"):
        return False
    values = {value for value in pc.unique(arrow_column(rows, column)).to_pylist() if value is not None}
    words = {str(value).strip().lower() for value in values} - {""}
    return bool(words) and words <= {"0", "1", "0.0", "1.0", "true", "false", "-100"}
