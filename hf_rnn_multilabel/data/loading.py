"""Rows, labels and splits: what a run trains on, before any token. Signatures first; the bodies follow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset, DatasetDict

from .arguments import DataArguments
from .encoding import LabelEncoding


__all__ = ["DataArguments", "TaggingData", "load_data"]

Path: TypeAlias = str | PathLike
# A path, paths by split, a `Dataset`, a `DatasetDict`, a pandas DataFrame, a list of dicts, or those by split.
Source: TypeAlias = Path | Mapping[str, Any] | Sequence[Mapping[str, Any]] | Dataset | DatasetDict | Any


@dataclass(frozen=True)
class TaggingData:
    """The rows of a run.

    Attributes:
        dataset: By split ("train", "validation" and, if there is one, "test"), rows with a column of texts and the
            encoded "labels".
        text_column: The column with the texts.
        encoding: The labels, and what was understood of them; its counts are those of train after the split.
        source: What the card says of the data: name, id, config, license, citation, revisions.
    """

    dataset: DatasetDict
    text_column: str
    encoding: LabelEncoding
    source: dict[str, Any]

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """By split, the texts."""
        raise NotImplementedError

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """By split, the labels of 0, 1 and -100 (ignored), (rows, labels), float32."""
        raise NotImplementedError


def load_data(
    source: Source | DataArguments | None = None,
    arguments: DataArguments | None = None,
    *,
    seed: int = 0,
    **options: Any,
) -> TaggingData:
    """Loads rows, encodes their labels, and splits validation off train where there is none.

    Args:
        source: What to read: a file's path, a folder, a mapping from split to path, a `Dataset`, a `DatasetDict`, a
            DataFrame, a list of dicts, a mapping from split to one of these, or `DataArguments`. None: what
            `arguments` name, else the bundled demo.
        arguments: How to read it.
        seed: Of the split.
        options: Fields of `DataArguments`, in place of those of `arguments`.

    Returns:
        The data.

    Raises:
        ValueError: The rows or labels are not usable.
    """
    raise NotImplementedError
