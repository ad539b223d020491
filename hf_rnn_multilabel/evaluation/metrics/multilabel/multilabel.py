"""Every usual multi-label metric in one offline `evaluate` metric, and as plain functions for scripts and the Trainer.

References may be ignored for some labels of a row (-100). An ignored entry counts nowhere: neither as a true nor as a
false positive, and in a ranking it stands below every observed label. Rows without any observed label are left out.

This file is a metric of the `evaluate` library: it stands alone and imports nothing of the package.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    auc,
    average_precision_score,
    jaccard_score,
    label_ranking_average_precision_score,
    ndcg_score,
    precision_recall_fscore_support,
    roc_curve,
)


IGNORED = -100
AVERAGES = ("micro", "macro", "weighted", "samples")
RANKS = (1, 3, 5)
# From this fraction of rows without a predicted label on, an evaluation says little about the model and much about
# the thresholds.
MAX_UNTAGGED_FRACTION = 0.95
FINITE = "finite (a training that diverged needs a lower learning rate or gradient clipping)"

_DESCRIPTION = """
Multi-label classification metrics from 0/1 predictions, and ranking metrics too when scores are given.
Works offline, in one call, for any number of labels.
"""

_INPUTS_DESCRIPTION = """
Args:
    predictions: 0 or 1, shape (rows, labels). Probabilities are refused, never truncated: threshold them first.
    references: 0 or 1, or -100 where ignored, shape (rows, labels).
    scores: probabilities or logits, shape (rows, labels), optional; adds the ranking metrics. An argument of
        `compute`; to collect scores with `add` and `add_batch`, load the metric with `config_name="scores"`.
    average: "micro", "macro", "weighted" or "samples"; repeats this average as "precision", "recall" and "f1".
    per_label: adds "per_label", a list with a dictionary for each label.
    label_names: names for `per_label`, in label order; LABEL_0, LABEL_1, ... by default.

Returns:
    precision, recall, f1: each with the suffixes _micro, _macro, _weighted and _samples. 0 where undefined, so the
        macro average is the mean over all labels, with 0 for a label that has neither prediction nor reference.
    hamming_loss, jaccard_micro, jaccard_macro, jaccard_samples, subset_accuracy
    with scores: lrap (label-ranking average precision; 1 for a row without labels), map_micro, map_macro (average
        precision; macro over the labels that have a positive), roc_auc_micro, roc_auc_macro (macro over the labels
        that have both classes), precision_at_k and ndcg_at_k for k = 1, 3, 5 up to the number of labels (0 for a row
        without labels). NaN where no label qualifies.

Examples:
    >>> metric = evaluate.load("hf_rnn_multilabel/evaluation/metrics/multilabel")
    >>> results = metric.compute(predictions=[[1, 0], [0, 1]], references=[[1, 0], [1, 1]])
    >>> results["f1_micro"], results["subset_accuracy"]
    (0.8, 0.5)
"""

_CITATION = "Pedregosa et al. Scikit-learn: Machine Learning in Python. JMLR 12, 2011."


def decision_metrics(predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
    """Compare predicted labels with the references.

    Args:
        predictions: 0 or 1, shape (rows, labels).
        references: 0, 1 or -100 (ignored), shape (rows, labels).

    Returns:
        precision, recall and f1, each _micro, _macro, _weighted and _samples, hamming_loss, jaccard_micro, _macro and
        _samples, subset_accuracy. What is undefined counts as 0.

    Raises:
        ValueError: for other values, for different or empty shapes, or if no reference is observed.
    """
    values, present, observed = _aligned(_predictions(predictions), references)
    predicted = (values == 1) & observed
    return {
        **_averaged(predicted, present, AVERAGES),
        **{
            f"jaccard_{average}": float(jaccard_score(average=average, **_sklearn_inputs(predicted, present)))
            for average in ("micro", "macro", "samples")
        },
        **_exactness(predicted, present, observed),
    }


def ranking_metrics(scores: ArrayLike, references: ArrayLike) -> dict[str, float]:
    """Measure how scores rank the labels of a row, and the rows of a label, without any threshold.

    Args:
        scores: probabilities, logits or any other finite scores, shape (rows, labels).
        references: 0, 1 or -100 (ignored), shape (rows, labels).

    Returns:
        lrap, map_micro, map_macro (over the labels that have a positive), roc_auc_micro, roc_auc_macro (over the
        labels that have both classes), precision_at_k and ndcg_at_k for k = 1, 3, 5 up to the number of labels.
        NaN where no label qualifies. At k, labels with equal scores share the ranks that they tie for.

    Raises:
        ValueError: for other values, for different or empty shapes, or if no reference is observed.
    """
    scores, present, observed = _aligned(_scores(scores), references)
    absent, lowest = observed & ~present, scores.min() - 1
    scores = np.where(observed, scores, lowest)  # (rows, labels)
    # One more label, always last and never present, changes no ranking and lets scikit-learn take a single label.
    wide_present, wide_scores = _widened(present), _widened(scores, lowest)  # (rows, labels + 1)
    ranks = [k for k in RANKS if k <= present.shape[1]]
    with_positives = np.flatnonzero(present.any(axis=0))
    with_both = np.flatnonzero(present.any(axis=0) & absent.any(axis=0))
    aucs = [_roc_auc(scores[observed[:, label], label], present[observed[:, label], label]) for label in with_both]
    return {
        "lrap": float(label_ranking_average_precision_score(wide_present, wide_scores)),
        "map_micro": _average_precision(scores, present),
        "map_macro": _mean([_average_precision(scores[:, label], present[:, label]) for label in with_positives]),
        "roc_auc_micro": _roc_auc(scores[observed], present[observed]),
        "roc_auc_macro": _mean(aucs),
        **{f"precision_at_{k}": _precision_at(k, scores, present) for k in ranks},
        **{f"ndcg_at_{k}": float(ndcg_score(wide_present, wide_scores, k=k)) for k in ranks},
    }


def per_label_metrics(
    predictions: ArrayLike, references: ArrayLike, label_names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Tabulate precision, recall and F1 label by label.

    Args:
        predictions: 0 or 1, shape (rows, labels).
        references: 0, 1 or -100 (ignored), shape (rows, labels).
        label_names: in label order; LABEL_0, LABEL_1, ... by default.

    Returns:
        One dictionary per label: label, support (rows that carry it), predicted (rows for which it is predicted),
        precision, recall, f1.

    Raises:
        ValueError: as `decision_metrics`, or if there is not one name per label.
    """
    values, present, observed = _aligned(_predictions(predictions), references)
    predicted = (values == 1) & observed
    num_labels = present.shape[1]
    if label_names is not None and (isinstance(label_names, str) or not hasattr(label_names, "__len__")):
        raise ValueError(
            f"`label_names` is {label_names!r:.200}; it must be a list of names, one per label, in order."
        )
    names = [f"LABEL_{label}" for label in range(num_labels)] if label_names is None else list(label_names)
    if len(names) != num_labels:
        raise ValueError(
            f"`label_names` has {len(names)} names for {num_labels} labels; give one per label, in order."
        )
    inputs = _sklearn_inputs(predicted, present)
    precision, recall, f1, support = precision_recall_fscore_support(average=None, **inputs)
    keys = ("label", "support", "predicted", "precision", "recall", "f1")
    columns = (array.tolist() for array in (support, predicted.sum(axis=0), precision, recall, f1))
    return [dict(zip(keys, row, strict=True)) for row in zip(names, *columns, strict=True)]


def apply_thresholds(scores: ArrayLike, thresholds: float | ArrayLike = 0.5) -> NDArray[np.bool_]:
    """Turn scores into predicted labels; a score equal to its threshold is a tag.

    Args:
        scores: finite, shape (rows, labels).
        thresholds: on the scale of the scores, one for all labels or shape (labels,).

    Returns:
        Which labels are predicted for each row, bool, shape (rows, labels).

    Raises:
        ValueError: if a score is not finite, or the thresholds are neither one number nor one per label.
    """
    scores = _scores(scores)
    try:
        limits = np.asarray(thresholds)
    except ValueError:  # rows of different lengths
        limits = np.asarray(None)
    if limits.dtype.kind not in "fiu" or limits.shape not in ((), scores.shape[1:]) or np.isnan(limits).any():
        raise ValueError(
            f"`thresholds` must be one number or one for each of the {scores.shape[1]} labels, not "
            f"{thresholds!r:.200}; if they are by name, give `[thresholds[name] for name in label_names]`."
        )
    # In the precision of the scores: .7 in float32 is below .7 in float64.
    return scores >= limits.astype(scores.dtype)


def warn_if_untagged(predicted: NDArray[np.bool_], present: NDArray[np.bool_]) -> None:
    """Warn if hardly any row has a predicted label although most rows carry one.

    Args:
        predicted: which labels are predicted, bool, shape (rows, labels); False where ignored.
        present: which labels the rows carry, bool, shape (rows, labels).
    """
    untagged, labelled = 1 - predicted.any(axis=1).mean(), present.any(axis=1).mean()
    if untagged >= MAX_UNTAGGED_FRACTION and labelled > 0.5:
        warnings.warn(
            f"{untagged:.1%} of the rows have no predicted label, while {labelled:.1%} carry one: the `thresholds` "
            "are too high for this model. Tune them on validation rows with "
            "`hf_rnn_multilabel.evaluation.tune_thresholds`.",
            stacklevel=3,
        )


def sigmoid(logits: ArrayLike) -> NDArray[Any]:
    """Turn logits into probabilities of the same precision, without overflow."""
    logits = np.asarray(logits)
    decay = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, decay) / (1 + decay)


def epoch_metrics(scores: ArrayLike, references: ArrayLike, thresholds: float | ArrayLike = 0.5) -> dict[str, float]:
    """Compute the few metrics that every evaluation during a training needs.

    Args:
        scores: probabilities, shape (rows, labels).
        references: 0, 1 or -100 (ignored), shape (rows, labels).
        thresholds: probabilities, one for all labels or shape (labels,); a score equal to its threshold is a tag.

    Returns:
        precision, recall and f1, each _micro and _macro, hamming_loss, subset_accuracy and map_micro. Warns if hardly
        any row has a predicted label.

    Raises:
        ValueError: as `apply_thresholds` and `decision_metrics`.
    """
    scores, present, observed = _aligned(_scores(scores), references)
    predicted = apply_thresholds(scores, thresholds) & observed
    warn_if_untagged(predicted, present)
    return {
        **_averaged(predicted, present, ("micro", "macro")),
        **_exactness(predicted, present, observed),
        "map_micro": _average_precision(np.where(observed, scores, -1.0), present),
    }


def scores_of_prediction(prediction: Any, are_logits: bool = False) -> NDArray[Any]:
    """Read the logits of the Trainer's `EvalPrediction` and apply the sigmoid.

    Args:
        prediction: its `predictions` are logits of shape (rows, labels), or a tuple that starts with them.
        are_logits: whether it is certain that they are logits, and not probabilities.

    Returns:
        Probabilities, shape (rows, labels). Warns if no logit is negative, as no probability is.

    Raises:
        ValueError: if a logit is not finite, or if the predictions are the numbers 0 and 1.
    """
    outputs = prediction.predictions
    logits = _matrix("predictions", outputs[0] if isinstance(outputs, tuple | list) else outputs)
    _reject("predictions", logits, ~np.isfinite(logits), FINITE)
    if not are_logits and (logits >= 0).all():
        remedy = "leave out `preprocess_logits_for_metrics`, the sigmoid is applied here"
        if logits.any() and np.isin(logits, (0, 1)).all():
            raise ValueError(f"`predictions` must be logits, but all {logits.size:,} are 0 or 1; {remedy}.")
        warnings.warn(
            f"All {logits.size:,} `predictions` are at least 0, as probabilities are, but logits are expected. If "
            f"they are probabilities, all metrics are wrong: {remedy}.",
            stacklevel=3,
        )
    return sigmoid(logits)


def make_compute_metrics(thresholds: float | ArrayLike = 0.5) -> Callable[[Any], dict[str, float]]:
    """Make the function that `Trainer(compute_metrics=...)` takes.

    Args:
        thresholds: probabilities, one for all labels or shape (labels,); a score equal to its threshold is a tag.

    Returns:
        A function from an `EvalPrediction` to `epoch_metrics`. It takes logits of shape (rows, labels), or a tuple
        that starts with them, and labels that are 0, 1 or -100.
    """

    def compute_metrics(prediction: Any) -> dict[str, float]:
        return epoch_metrics(scores_of_prediction(prediction), prediction.label_ids, thresholds)

    return compute_metrics


class Multilabel(evaluate.Metric):
    """The metrics of this module as one `evaluate` metric; `compute` documents its arguments and keys."""

    def _info(self) -> evaluate.MetricInfo:
        columns = ["predictions", "references"] + ["scores"] * (self.config_name == "scores")
        # Floats, because an integer column would silently truncate a probability to 0.
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS_DESCRIPTION,
            features=datasets.Features(dict.fromkeys(columns, row)),
            reference_urls=["https://scikit-learn.org/stable/modules/model_evaluation.html"],
        )

    def _compute(
        self,
        predictions: ArrayLike,
        references: ArrayLike,
        scores: ArrayLike | None = None,
        average: str | None = None,
        per_label: bool = False,
        label_names: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        if average is not None and average not in AVERAGES:
            raise ValueError(f"`average` must be one of {AVERAGES} or None, not {average!r}.")
        results: dict[str, Any] = dict(decision_metrics(predictions, references))
        if average is not None:
            results |= {name: results[f"{name}_{average}"] for name in ("precision", "recall", "f1")}
        if scores is not None:
            results |= ranking_metrics(scores, references)
        if per_label:
            results["per_label"] = per_label_metrics(predictions, references, label_names)
        return results


def _matrix(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        matrix = np.asarray(values)
        matrix = matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be numbers of shape (rows, labels), each row of one length: {error}"
        ) from error
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(
            f"`{name}` must have the shape (rows, labels) with at least one row and one label, not {matrix.shape}."
        )
    return matrix


def _reject(name: str, matrix: NDArray[Any], wrong: NDArray[np.bool_], expected: str) -> NDArray[Any]:
    if wrong.any():
        row, label = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"`{name}` must be {expected}; row {row}, label {label} is {matrix[row, label]} "
            f"({wrong.sum()} of {wrong.size} values are wrong)."
        )
    return matrix


def _predictions(values: ArrayLike) -> NDArray[Any]:
    matrix = _matrix("predictions", values)
    expected = "0 or 1 (threshold probabilities first, `predictions = scores >= 0.5`, or pass them as `scores`)"
    return _reject("predictions", matrix, (matrix != 0) & (matrix != 1), expected)


def _scores(values: ArrayLike) -> NDArray[Any]:
    matrix = _matrix("scores", values)
    return _reject("scores", matrix, ~np.isfinite(matrix), FINITE)


def _aligned(values: NDArray[Any], references: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the values, which labels are present and which are observed, of the rows with an observed label."""
    matrix = _matrix("references", references)
    if values.shape != matrix.shape:
        raise ValueError(
            f"Predictions or scores of shape {values.shape} do not match `references` of shape {matrix.shape}; "
            "both must be (rows, labels), with the same rows and labels in the same order."
        )
    observed = matrix != IGNORED
    wrong = (matrix != 0) & (matrix != 1) & observed
    _reject("references", matrix, wrong, f"0 or 1, or {IGNORED} where ignored")
    rows = observed.any(axis=1)
    if not rows.any():
        raise ValueError(f"All {observed.size:,} `references` are {IGNORED} (ignored); at least one must be 0 or 1.")
    return values[rows], matrix[rows] == 1, observed[rows]


def _widened(matrix: NDArray[Any], value: float = 0) -> NDArray[Any]:
    return np.pad(matrix, ((0, 0), (0, 1)), constant_values=value)


def _sklearn_inputs(predicted: NDArray[np.bool_], present: NDArray[np.bool_]) -> dict[str, Any]:
    # scikit-learn reads one column as a binary task; `labels` leaves the additional column out again.
    labels = np.arange(present.shape[1])
    return {"y_true": _widened(present), "y_pred": _widened(predicted), "labels": labels, "zero_division": 0}


def _averaged(predicted: NDArray[np.bool_], present: NDArray[np.bool_], averages: Sequence[str]) -> dict[str, float]:
    results: dict[str, float] = {}
    for average in averages:
        values = precision_recall_fscore_support(average=average, **_sklearn_inputs(predicted, present))[:3]
        names = [f"{name}_{average}" for name in ("precision", "recall", "f1")]
        results |= dict(zip(names, map(float, values), strict=True))
    return results


def _exactness(
    predicted: NDArray[np.bool_], present: NDArray[np.bool_], observed: NDArray[np.bool_]
) -> dict[str, float]:
    wrong = predicted != present  # neither holds where ignored
    return {
        "hamming_loss": float(wrong.sum() / observed.sum()),
        "subset_accuracy": float(1 - wrong.any(axis=1).mean()),
    }


def _average_precision(scores: NDArray[Any], present: NDArray[np.bool_]) -> float:
    return float(average_precision_score(present.ravel(), scores.ravel())) if present.any() else float("nan")


def _roc_auc(scores: NDArray[Any], present: NDArray[np.bool_]) -> float:
    # The value of roc_auc_score in a quarter of its time, which counts with thousands of labels.
    return float(auc(*roc_curve(present, scores)[:2])) if 0 < present.sum() < present.size else float("nan")


def _precision_at(k: int, scores: NDArray[Any], present: NDArray[np.bool_]) -> float:
    """Return the mean precision of the k best labels; labels that tie for the last ranks share them."""
    last = np.partition(scores, -k, axis=1)[:, -k, None]  # (rows, 1), the k-th score
    above, tied = scores > last, scores == last  # (rows, labels)
    ranks = k - above.sum(axis=1)  # (rows,)
    true_positives = (present & above).sum(axis=1) + ranks * (present & tied).sum(axis=1) / tied.sum(axis=1)
    return float(true_positives.mean() / k)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
