"""From scores and labels to metrics: to choose an epoch, to compare thresholds, to evaluate a tagger."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model.losses import IGNORED
from .checks import check_entries, check_named_entries, check_positives
from .metrics.multilabel.multilabel import (
    apply_thresholds,
    decision_metrics,
    epoch_metrics,
    per_label_metrics,
    ranking_metrics,
    scores_of_prediction,
    warn_if_untagged,
)
from .thresholds import ThresholdMethod, global_micro_threshold, tune_thresholds


# How the rows of a comparison name the thresholds of these methods; every other method is its own name there.
THRESHOLD_ROWS = {"global_micro": "global threshold", "shrinkage": "per-label thresholds"}
REMEDY = "Give rows whose labels are filled in, and check the column of the labels."


def compute_metrics(prediction: Any, are_logits: bool = False) -> dict[str, float]:
    """Compute metrics at the best global threshold of these very rows: for choosing an epoch, not for reporting.

    Args:
        prediction: the Trainer's `EvalPrediction` of the validation rows, with logits.
        are_logits: as in `scores_of_prediction`.

    Returns:
        The metrics of `epoch_metrics`, and the threshold.

    Raises:
        ValueError: if the predictions are no logits, or no row carries a label.
    """
    scores, labels = check_entries(scores_of_prediction(prediction, are_logits), prediction.label_ids)
    check_positives(labels, REMEDY)
    threshold = global_micro_threshold(scores, labels)
    return epoch_metrics(scores, labels, threshold) | {"threshold": threshold}


def evaluate_scores(
    scores: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    thresholds: Mapping[str, float] | Sequence[float] | float,
) -> dict[str, Any]:
    """Evaluate a tagger's scores on labelled rows, at its own thresholds.

    Args:
        scores: (rows, labels) probabilities.
        labels: (rows, labels) 0 or 1, -100 where ignored.
        label_names: the labels in the order of the columns.
        thresholds: by label name, in the order of the columns, or one for all; a score equal to its threshold is a
            tag.

    Returns:
        All metrics of `decision_metrics` and `ranking_metrics`, NaN where undefined. "rows": how many rows have an
        observed label. "labels": the rows of `per_label_metrics`, each with its "threshold". Warns if hardly any row
        has a predicted label.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, other labels, thresholds that are not
            one per label, or rows of which none carries a label.
    """
    scores, labels = check_named_entries(scores, labels, label_names)
    check_positives(labels, REMEDY)
    limits = _in_order(thresholds, label_names)
    observed, predicted = labels != IGNORED, apply_thresholds(scores, limits)
    rows = observed.any(1)
    warn_if_untagged((predicted & observed)[rows], labels[rows] == 1)
    return {
        "rows": int(rows.sum()),
        **decision_metrics(predicted, labels),
        **ranking_metrics(scores, labels),
        "labels": [
            row | {"threshold": float(limit)}
            for row, limit in zip(per_label_metrics(predicted, labels, label_names), limits, strict=True)
        ],
    }


def evaluate_all(
    model: str,
    scores: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    label_names: Sequence[str],
    method: ThresholdMethod = "shrinkage",
    *,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Compare a model's thresholds on each split. All but 0.5 are tuned on the validation split.

    Args:
        model: the model's name in the rows.
        scores: (rows, labels) probabilities by split, among them "validation".
        labels: (rows, labels) 0 or 1, -100 where ignored, by split.
        label_names: the labels in the order of the columns.
        method: the method of the model's own thresholds, which get a row of their own.
        thresholds: the model's own thresholds by label name, where they are tuned already.

    Returns:
        By split, a row for 0.5, one for the global threshold, one for the per-label thresholds, and one for another
        `method`. A row holds "model", "thresholds" ("0.5", "global threshold", "per-label thresholds" or the name
        of another method), and the metrics of
        `decision_metrics` and `ranking_metrics`, NaN where undefined.

    Raises:
        ValueError: as `tune_thresholds`, or if no row of a split carries a label.
    """
    if "validation" not in scores:
        raise ValueError(f"`scores` has the splits {list(scores)}; give 'validation', to tune the thresholds on.")
    for split in scores:
        check_named_entries(scores[split], labels[split], label_names)
        check_positives(np.asarray(labels[split]), REMEDY, where=f"`{split}`")
    tuning_rows = scores["validation"], labels["validation"], label_names
    compared: dict[str, Mapping[str, float]] = {"0.5": dict.fromkeys(label_names, 0.5)}
    for each in dict.fromkeys(("global_micro", "shrinkage", method)):
        if thresholds is not None and each == method:
            compared[THRESHOLD_ROWS.get(each, each)] = thresholds
        else:
            compared[THRESHOLD_ROWS.get(each, each)] = tune_thresholds(*tuning_rows, each)
    return {split: _compared_rows(model, scores[split], labels[split], label_names, compared) for split in scores}


def _compared_rows(
    model: str,
    scores: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    compared: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    ranking = ranking_metrics(scores, labels)
    rows = []
    for name, thresholds in compared.items():
        predicted = apply_thresholds(scores, _in_order(thresholds, label_names))
        rows.append({"model": model, "thresholds": name, **decision_metrics(predicted, labels), **ranking})
    return rows


def _in_order(
    thresholds: Mapping[str, float] | Sequence[float] | np.ndarray | float, label_names: Sequence[str]
) -> np.ndarray:
    """Thresholds in the order of the columns, (labels,)."""
    if isinstance(thresholds, Mapping):
        missing = [name for name in label_names if name not in thresholds]
        unknown = set(thresholds).difference(label_names)
        if missing or unknown:
            which = f"lacks {missing[0]!r}" if missing else f"has {min(unknown)!r}, which is no label"
            raise ValueError(f"`thresholds` {which}; it must have one number for each of {len(label_names):,} labels.")
        thresholds = [thresholds[name] for name in label_names]
    values = np.asarray(thresholds)
    return np.full(len(label_names), values) if values.ndim == 0 else values
