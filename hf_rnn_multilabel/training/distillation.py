"""A larger model as the teacher of a recurrent one: its logits, as a column of the training rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value, concatenate_datasets
from scipy.special import expit

from ..model.losses import IGNORED
from ..model.tagging import shorten
from .objectives import check_distillation


@dataclass(frozen=True)
class Distillation:
    """How much a teacher counts.

    Attributes:
        weight: of the teacher in the loss, from 0 to 1.
        temperature: divisor of the logits of both, see `objectives.distillation`.
    """

    weight: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_distillation(self.weight, self.temperature)


def label_order(config: Any, label_names: list[str]) -> list[int]:
    """Where a teacher's head has each label, matched by name.

    Args:
        config: the teacher's configuration, with one sigmoid per label.
        label_names: the labels in the order of their indices here.

    Returns:
        for each of `label_names` the index of its logit in the teacher.

    Raises:
        ValueError: if the teacher's labels are not the same, or its head has not one sigmoid per label.
    """
    indices = {name: int(index) for index, name in config.id2label.items()}
    missing = [name for name in label_names if name not in indices]
    extra = [name for name in indices if name not in set(label_names)]
    if missing or extra:
        raise ValueError(
            f"The teacher lacks the labels [{shorten(missing)}] and has [{shorten(extra)}] besides; give one with the "
            "same labels, or give them the same names in the `id2label` of its configuration."
        )
    if config.problem_type != "multi_label_classification":
        raise ValueError(
            f"The teacher's `problem_type` is {config.problem_type!r}; give one with one sigmoid per label. If it was "
            'trained as one, say so in its configuration: "multi_label_classification".'
        )
    return [indices[name] for name in label_names]


def add_teacher_logits(rows: Dataset, logits: np.ndarray) -> Dataset:
    """Gives rows the column "teacher_logits", for `TaggerTrainer`, and ignored labels the teacher's score.

    With a score for a label, a text without labels weighs as much in the loss as any other, and `Trainer` counts it.

    Args:
        rows: rows with the column "labels" of `encode_labels`.
        logits: (rows, labels), the teacher's, in the order of the labels.

    Returns:
        the rows; "labels" are 0, 1 or, where they were ignored (-100), between.

    Raises:
        ValueError: if the logits are not of the shape of the labels, or not finite.
    """
    labels = np.asarray(rows.with_format("numpy")["labels"][:])
    if logits.shape != labels.shape:
        raise ValueError(
            f"The teacher's logits have the shape {logits.shape}, the labels {labels.shape}; give one each."
        )
    wrong = np.flatnonzero(~np.isfinite(logits).all(1))
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} rows have a teacher's logit that is not finite, as row {wrong[0]}: {logits[wrong[0]]}; "
            "give a teacher that is whole, in float32."
        )
    columns = {"labels": np.where(labels == IGNORED, expit(logits), labels), "teacher_logits": logits}
    features = Features(dict.fromkeys(columns, List(Value("float32"), length=labels.shape[1])))
    columns_of_teacher = Dataset.from_dict(columns, features=features)
    return concatenate_datasets([rows.remove_columns("labels"), columns_of_teacher], axis=1)
