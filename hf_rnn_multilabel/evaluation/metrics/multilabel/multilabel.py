"""Every usual multi-label metric in one offline `evaluate` metric, and as plain functions for scripts and the Trainer.

Truth may be unknown for some labels of a row (-100). An unknown entry counts nowhere: neither as a tag nor as a
mistake, and in a ranking it stands below every known label. Rows without any known label are left out.
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


UNKNOWN = -100
AVERAGES = ("micro", "macro", "weighted", "samples")
RANKS = (1, 3, 5)
# Above this share of rows without a tag, an evaluation says little of the model and much of the thresholds.
SILENT_SHARE = 0.95

_DESCRIPTION = """
Multi-label classification metrics from 0/1 predictions, and ranking metrics too when scores are given.
Works offline, in one call, for any number of labels.
"""

_INPUTS_DESCRIPTION = """
Args:
    predictions: 0 or 1, shape (rows, labels). Probabilities are refused, never truncated: threshold them first.
    references: 0 or 1, or -100 where unknown, shape (rows, labels).
    scores: probabilities or logits, shape (rows, labels), optional; adds the ranking metrics. An argument of
        `compute`; to collect scores with `add` and `add_batch`, load the metric with `config_name="scores"`.
    average: "micro", "macro", "weighted" or "samples"; repeats this average as "precision", "recall" and "f1".
    per_label: adds "per_label", a list with a dictionary for each label.
    label_names: names for `per_label`, in label order; LABEL_0, LABEL_1, ... by default.

Returns:
    precision, recall, f1: each with the suffixes _micro, _macro, _weighted and _samples. 0 where undefined, so the
        macro average is the mean over all labels, with 0 for a label that has neither prediction nor truth.
    hamming_loss, jaccard_micro, jaccard_macro, jaccard_samples, subset_accuracy
    with scores: lrap (label-ranking average precision; 1 for a row without truth), map_micro, map_macro (average
        precision; macro over the labels that have a positive), roc_auc_micro, roc_auc_macro (macro over the labels
        that have both classes), precision_at_k and ndcg_at_k for k = 1, 3, 5 up to the number of labels (0 for a row
        without truth). NaN where no label qualifies.

Examples:
    >>> metric = evaluate.load("hf_rnn_multilabel/metrics/multilabel")
    >>> results = metric.compute(predictions=[[1, 0], [0, 1]], references=[[1, 0], [1, 1]])
    >>> results["f1_micro"], results["subset_accuracy"]
    (0.8, 0.5)
"""

_CITATION = "Pedregosa et al. Scikit-learn: Machine Learning in Python. JMLR 12, 2011."


def decision_metrics(predictions: ArrayLike, references: ArrayLike) -> dict[str, float]:
    """Compare predicted tags with the truth.

    Args:
        predictions: 0 or 1, shape (rows, labels).
        references: 0, 1 or -100 (unknown), shape (rows, labels).

    Returns:
        precision, recall and f1, each _micro, _macro, _weighted and _samples, hamming_loss, jaccard_micro, _macro and
        _samples, subset_accuracy. What is undefined counts as 0.

    Raises:
        ValueError: for other values, for different or empty shapes, or if no reference is known.
    """
    tags, truth, known = _aligned(_predictions(predictions), references)
    tags = (tags == 1) & known
    return {
        **_averaged(tags, truth, AVERAGES),
        **{
            f"jaccard_{average}": float(jaccard_score(average=average, **_sklearn_inputs(tags, truth)))
            for average in ("micro", "macro", "samples")
        },
        **_exactness(tags, truth, known),
    }


def ranking_metrics(scores: ArrayLike, references: ArrayLike) -> dict[str, float]:
    """Judge how scores rank the labels of a row, and the rows of a label, without any threshold.

    Args:
        scores: probabilities, logits or any other finite scores, shape (rows, labels).
        references: 0, 1 or -100 (unknown), shape (rows, labels).

    Returns:
        lrap, map_micro, map_macro (over the labels that have a positive), roc_auc_micro, roc_auc_macro (over the
        labels that have both classes), precision_at_k and ndcg_at_k for k = 1, 3, 5 up to the number of labels.
        NaN where no label qualifies. At k, labels with equal scores share the places that they tie for.

    Raises:
        ValueError: for other values, for different or empty shapes, or if no reference is known.
    """
    scores, truth, known = _aligned(_scores(scores), references)
    lowest = scores.min() - 1
    scores = np.where(known, scores, lowest)  # (rows, labels)
    # One more label, always last and never true, changes no ranking and lets scikit-learn take a single label.
    wide_truth, wide_scores = _widened(truth), _widened(scores, lowest)  # (rows, labels + 1)
    ranks = [k for k in RANKS if k <= truth.shape[1]]
    with_positives = np.flatnonzero(truth.any(axis=0))
    with_both = np.flatnonzero(truth.any(axis=0) & (known & ~truth).any(axis=0))
    return {
        "lrap": float(label_ranking_average_precision_score(wide_truth, wide_scores)),
        "map_micro": _average_precision(scores, truth),
        "map_macro": _mean([_average_precision(scores[:, i], truth[:, i]) for i in with_positives]),
        "roc_auc_micro": _roc_auc(scores[known], truth[known]),
        "roc_auc_macro": _mean([_roc_auc(scores[known[:, i], i], truth[known[:, i], i]) for i in with_both]),
        **{f"precision_at_{k}": _precision_at(k, scores, truth) for k in ranks},
        **{f"ndcg_at_{k}": float(ndcg_score(wide_truth, wide_scores, k=k)) for k in ranks},
    }


def per_label_metrics(
    predictions: ArrayLike, references: ArrayLike, label_names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Tabulate precision, recall and F1 label by label.

    Args:
        predictions: 0 or 1, shape (rows, labels).
        references: 0, 1 or -100 (unknown), shape (rows, labels).
        label_names: in label order; LABEL_0, LABEL_1, ... by default.

    Returns:
        One dictionary a label: label, support (rows that carry it), predicted (rows given it), precision, recall, f1.

    Raises:
        ValueError: as `decision_metrics`, or if there is not one name for each label.
    """
    tags, truth, known = _aligned(_predictions(predictions), references)
    tags = (tags == 1) & known
    n_labels = truth.shape[1]
    names = [f"LABEL_{i}" for i in range(n_labels)] if label_names is None else list(label_names)
    if len(names) != n_labels:
        raise ValueError(f"`label_names` has {len(names)} names for {n_labels} labels; pass one for each, in order.")
    precision, recall, f1, support = precision_recall_fscore_support(average=None, **_sklearn_inputs(tags, truth))
    keys = ("label", "support", "predicted", "precision", "recall", "f1")
    columns = (array.tolist() for array in (support, tags.sum(axis=0), precision, recall, f1))
    return [dict(zip(keys, row, strict=True)) for row in zip(names, *columns, strict=True)]


def apply_thresholds(scores: ArrayLike, thresholds: float | ArrayLike = 0.5) -> NDArray[np.bool_]:
    """Turn scores into tags; a score equal to its threshold is a tag.

    Args:
        scores: finite, shape (rows, labels).
        thresholds: on the scale of the scores, one for all labels or shape (labels,).

    Returns:
        Which labels each row is given, bool, shape (rows, labels).

    Raises:
        ValueError: if a score is not finite, or the thresholds are neither one number nor one a label.
    """
    scores = _scores(scores)
    limits = np.asarray(thresholds)
    if limits.dtype.kind not in "fiu" or limits.shape not in ((), scores.shape[1:]) or np.isnan(limits).any():
        raise ValueError(
            f"`thresholds` must be one number or one for each of the {scores.shape[1]} labels, not "
            f"{thresholds!r:.200}; if they are by name, pass `[thresholds[name] for name in label_names]`."
        )
    # In the precision of the scores: .7 in float32 is below .7 in float64.
    return scores >= limits.astype(scores.dtype)


def compute_scores(scores: ArrayLike, references: ArrayLike, thresholds: float | ArrayLike = 0.5) -> dict[str, float]:
    """Compute all metrics of `decision_metrics` at the thresholds, and of `ranking_metrics`.

    Args:
        scores: finite, shape (rows, labels); probabilities, if the thresholds are.
        references: 0, 1 or -100 (unknown), shape (rows, labels).
        thresholds: one for all labels or shape (labels,); a score equal to its threshold is a tag.

    Returns:
        The metrics by name. Warns if hardly any row gets a tag.

    Raises:
        ValueError: as the three functions that it calls.
    """
    predictions = apply_thresholds(scores, thresholds)
    tags, truth, known = _aligned(predictions, references)
    _warn_if_silent(tags & known, truth)
    return {**decision_metrics(predictions, references), **ranking_metrics(scores, references)}


def make_compute_metrics(thresholds: float | ArrayLike = 0.5) -> Callable[[Any], dict[str, float]]:
    """Make the function that `Trainer(compute_metrics=...)` takes.

    Args:
        thresholds: probabilities, one for all labels or shape (labels,); a score equal to its threshold is a tag.

    Returns:
        A function from an `EvalPrediction` (logits of shape (rows, labels), or a tuple that starts with them, and
        labels that are 0, 1 or -100) to precision, recall and f1, each _micro and _macro, hamming_loss,
        subset_accuracy and map_micro: few enough for every evaluation. It warns if hardly any row gets a tag.
    """

    def compute_metrics(evaluation: Any) -> dict[str, float]:
        outputs = evaluation.predictions
        logits = outputs[0] if isinstance(outputs, tuple | list) else outputs
        scores, truth, known = _aligned(_sigmoid(_scores(logits)), evaluation.label_ids)
        tags = apply_thresholds(scores, thresholds) & known
        _warn_if_silent(tags, truth)
        return {
            **_averaged(tags, truth, ("micro", "macro")),
            **_exactness(tags, truth, known),
            "map_micro": _average_precision(np.where(known, scores, -1.0), truth),
        }

    return compute_metrics


class Multilabel(evaluate.Metric):
    """The metrics of this module as one `evaluate` metric; `compute` documents its arguments and keys."""

    def _info(self) -> evaluate.MetricInfo:
        columns = ["predictions", "references"] + ["scores"] * (self.config_name == "scores")
        # Floats, because an integer column would truncate a probability to 0 without a word.
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
    expected = "finite (a training that diverged needs a lower learning rate or gradient clipping)"
    return _reject("scores", matrix, ~np.isfinite(matrix), expected)


def _aligned(values: NDArray[Any], references: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the values, the truth and what of it is known, each (rows with a known label, labels)."""
    matrix = _matrix("references", references)
    if values.shape != matrix.shape:
        raise ValueError(
            f"Predictions or scores of shape {values.shape} do not match `references` of shape {matrix.shape}; "
            "both must be (rows, labels), with the same rows and labels in the same order."
        )
    known = matrix != UNKNOWN
    wrong = (matrix != 0) & (matrix != 1) & known
    _reject("references", matrix, wrong, f"0 or 1, or {UNKNOWN} where the truth is unknown")
    rows = known.any(axis=1)
    if not rows.any():
        raise ValueError(f"All {known.size} references are {UNKNOWN} (unknown); at least one must be 0 or 1.")
    return values[rows], matrix[rows] == 1, known[rows]


def _widened(matrix: NDArray[Any], value: float = 0) -> NDArray[Any]:
    return np.pad(matrix, ((0, 0), (0, 1)), constant_values=value)


def _sklearn_inputs(tags: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, Any]:
    # scikit-learn takes one column for a binary task; the column more is left out again by `labels`.
    labels = np.arange(truth.shape[1])
    return {"y_true": _widened(truth), "y_pred": _widened(tags), "labels": labels, "zero_division": 0}


def _averaged(tags: NDArray[np.bool_], truth: NDArray[np.bool_], averages: Sequence[str]) -> dict[str, float]:
    results: dict[str, float] = {}
    for average in averages:
        values = precision_recall_fscore_support(average=average, **_sklearn_inputs(tags, truth))[:3]
        names = [f"{name}_{average}" for name in ("precision", "recall", "f1")]
        results |= dict(zip(names, map(float, values), strict=True))
    return results


def _exactness(tags: NDArray[np.bool_], truth: NDArray[np.bool_], known: NDArray[np.bool_]) -> dict[str, float]:
    wrong = tags != truth  # neither holds where unknown
    return {
        "hamming_loss": float(wrong.sum() / known.sum()),
        "subset_accuracy": float(1 - wrong.any(axis=1).mean()),
    }


def _average_precision(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    return float(average_precision_score(truth.ravel(), scores.ravel())) if truth.any() else float("nan")


def _roc_auc(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    # The value of roc_auc_score in a quarter of its time, which counts with thousands of labels.
    return float(auc(*roc_curve(truth, scores)[:2])) if 0 < truth.sum() < truth.size else float("nan")


def _precision_at(k: int, scores: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    """Return the mean share of true labels among the k first; labels that tie for the last places share them."""
    last = np.partition(scores, -k, axis=1)[:, -k, None]  # (rows, 1), the k-th score
    above, tied = scores > last, scores == last  # (rows, labels)
    places = k - above.sum(axis=1)  # (rows,)
    hits = (truth & above).sum(axis=1) + places * (truth & tied).sum(axis=1) / tied.sum(axis=1)
    return float(hits.mean() / k)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    decay = np.exp(-np.abs(logits))  # never overflows
    return np.where(logits >= 0, 1, decay) / (1 + decay)


def _warn_if_silent(tags: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
    silent, tagged_in_truth = 1 - tags.any(axis=1).mean(), truth.any(axis=1).mean()
    if silent >= SILENT_SHARE and tagged_in_truth > 0.5:
        warnings.warn(
            f"{silent:.1%} of the rows get no tag, while {tagged_in_truth:.1%} have one in truth: the thresholds are "
            "too high for this model. Tune them on validation rows with `hf_rnn_multilabel.thresholds.tune`.",
            stacklevel=3,
        )
