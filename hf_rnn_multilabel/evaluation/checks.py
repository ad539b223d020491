"""What every function of this room asks of scores and labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.losses import IGNORED


def check_entries(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    """Check that scores are probabilities and labels are 0, 1 or ignored.

    Args:
        scores: (rows, labels) probabilities.
        labels: (rows, labels) 0 or 1, -100 where ignored.

    Returns:
        The scores in their own precision and the labels, both (rows, labels). Scores of integers are float64.

    Raises:
        ValueError: for shapes that differ, scores outside [0, 1], or other labels.
    """
    scores, labels = _as_array("scores", scores), _as_array("labels", labels)
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(
            f"`scores` has the shape {scores.shape}, `labels` {labels.shape}; both must be (rows, labels)."
        )
    if scores.dtype.kind not in "biuf" or labels.dtype.kind not in "biuf":
        raise ValueError(f"`scores` ({scores.dtype}) and `labels` ({labels.dtype}) must be numbers.")
    scores = scores if scores.dtype.kind == "f" else scores.astype(float)
    wrong = np.argwhere(~((scores >= 0) & (scores <= 1)))  # NaN compares as false
    if len(wrong):
        row, label = wrong[0].tolist()
        raise ValueError(
            f"`scores` must be probabilities in [0, 1]; row {row}, label {label} is {scores[row, label]}. "
            "Give sigmoid(logits)."
        )
    wrong = np.argwhere((labels != 0) & (labels != 1) & (labels != IGNORED))
    if len(wrong):
        row, label = wrong[0].tolist()
        raise ValueError(
            f"`labels` must be 0 or 1, or {IGNORED} where ignored; row {row}, label {label} is {labels[row, label]}."
        )
    return scores, labels


def check_named_entries(scores: ArrayLike, labels: ArrayLike, label_names: Sequence[str]) -> tuple[NDArray, NDArray]:
    """Check scores and labels as `check_entries`, and that there is one name per label, in order.

    Raises:
        ValueError: as `check_entries`, or for names that are not one per label.
    """
    scores, labels = check_entries(scores, labels)
    _check_names(label_names, scores.shape[1])
    return scores, labels


def _as_array(name: str, values: ArrayLike) -> NDArray:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"`{name}` must be numbers of shape (rows, labels), each row of one length: {error}"
        ) from error


def check_positives(labels: NDArray, remedy: str, where: str = "`labels`") -> None:
    """Refuse rows of which none carries a label: no threshold and no F1 means anything there.

    Args:
        labels: (rows, labels) 0 or 1, -100 where ignored.
        remedy: what to do, a sentence.
        where: what the labels are of, as the error names it.

    Raises:
        ValueError: if no label is 1.
    """
    if not (labels == 1).any():
        raise ValueError(f"None of the {len(labels):,} rows of {where} carries a label. {remedy}")


def _check_names(label_names: Sequence[str], num_labels: int) -> None:
    if isinstance(label_names, str) or not isinstance(label_names, Sequence | np.ndarray):
        raise ValueError(f"`label_names` is {label_names!r:.200}; it must be a list of names, one per label.")
    if wrong := [name for name in label_names if not isinstance(name, str)]:
        raise ValueError(f"`label_names` has {wrong[0]!r:.80}, which is no string; give the names of the labels.")
    if len(label_names) != num_labels:
        raise ValueError(
            f"`label_names` has {len(label_names)} names for {num_labels} labels; give one per label, in order."
        )
    if len(set(label_names)) < num_labels:
        repeated = next(name for index, name in enumerate(label_names) if name in label_names[:index])
        raise ValueError(f"`label_names` has {repeated!r} twice; each name must be of one label.")
