"""From validation scores and truth to decision thresholds. Never from test rows: a figure so reached is void.

A label with three positives has no threshold of its own worth having: the one that fits them best predicts hundreds
of others, and wrecks micro-F1. So a label's threshold is drawn, the more the fewer positives it has, toward the one at
which its scores themselves expect the largest F1, once they are calibrated (the plug-in rule of Dembczynski et al.
2013 and Lipton et al. 2014): that one needs no positive, only scores. A label of which the scores expect next to
nothing is drawn on toward the one that is common to all, or every label of thousands would be given to its best text.
Which common one is a bargain: that of the best macro-F1 tags rare labels often and costs micro-F1 where labels are
many, that of the best micro-F1 hardly ever; it is half-way between them in log-odds.

How far a label's own threshold is to be trusted differs: a net's scores are nearly calibrated, and the expected one is
often better up to hundreds of positives; a linear model's are not. And where most of thousands of labels have no
positive among the rows, the one threshold of the best micro-F1 may be the better bargain for all. So the rows say it:
several strengths and that one are cross-fitted, and averaged by exponential weights (after Dalalyan & Tsybakov 2008).
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from scipy.special import expit, logit, softmax
from sklearn.linear_model import LogisticRegression


ThresholdMethod = Literal["one_micro", "one_macro", "per_label", "shrunk"]
UNKNOWN = -100
# Positives at which a label's own threshold and the expected one count the same: what is tried beside "one_micro", in
# how many folds, and the weight's exponent for a sum of micro- and macro-F1 of 1.
SHRINKAGES = np.array([3, 10, 30, 100, 300, 1000])
FOLDS = 5
SHARPNESS = 100.0
# Expected positives at which the expected threshold and the common one count the same.
EXPECTED_SHRINKAGE = 0.1


def tune(
    scores: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    method: ThresholdMethod = "shrunk",
    *,
    shrinkage: float | None = None,
) -> dict[str, float]:
    """Thresholds by label name, ready for `config.thresholds`.

    Args:
        scores: (rows, labels) probabilities of the validation texts.
        labels: (rows, labels) truth, 0 or 1, -100 where unknown.
        label_names: the labels in the order of the columns.
        method: "one_micro" and "one_macro": the one threshold of the best micro- or macro-F1; "per_label": each
            label's own best F1, and "one_macro" for a label without a positive; "shrunk": the same, drawn, the fewer
            positives the label has, toward the best F1 that its calibrated scores expect, and, the fewer positives
            they expect, on toward the point half-way between "one_micro" and "one_macro"; or toward "one_micro", if
            that is better on rows left out; all in log-odds.
        shrinkage: of "shrunk", the number of positives at which a label's own threshold weighs half. None: the mean
            over several and "one_micro", weighted by the micro- and macro-F1 that they have when the rows are
            cross-fitted.

    Returns:
        a threshold for each label; a score equal to it is a tag.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, labels of other values, an unknown
            method, a negative `shrinkage`, or no positive label.
    """
    scores, labels = _checked(scores, labels, label_names)
    if method not in get_args(ThresholdMethod):
        raise ValueError(f"`method` is {method!r}; it must be one of {list(get_args(ThresholdMethod))}.")
    if shrinkage is not None and not shrinkage >= 0:
        raise ValueError(f"`shrinkage` is {shrinkage}; it must be a number of positives, 0 or more.")
    if method == "shrunk":
        probabilities = calibrated(scores, labels)
        if shrinkage is None:
            weights = _fitted_weights(scores, labels, probabilities)
            thresholds = expit(weights @ _candidates(scores, labels, probabilities, SHRINKAGES))
        else:
            thresholds = expit(_candidates(scores, labels, probabilities, np.array([shrinkage]))[0])
    elif method == "per_label":
        thresholds = best_threshold_per_label(scores, labels, where_absent=best_threshold_macro(scores, labels))
    else:
        best = best_threshold if method == "one_micro" else best_threshold_macro
        thresholds = np.full(len(label_names), best(scores, labels))
    return dict(zip(label_names, thresholds.tolist(), strict=True))


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The one threshold of the largest micro-F1 over (rows, labels); exact, every cut between two scores is tried."""
    return float(_best_cuts(*_f1_curves(scores.reshape(-1, 1), labels.reshape(-1, 1)))[0])


def best_threshold_macro(scores: np.ndarray, labels: np.ndarray) -> float:
    """The one threshold of the largest mean F1 over the labels of (rows, labels), as exact."""
    scores, f1 = _f1_curves(scores, labels)
    gains = np.diff(f1, axis=0, prepend=0)  # (rows, labels), of one more row to its label's F1
    order = np.argsort(-scores, axis=None)
    return float(_best_cuts(scores.reshape(-1, 1)[order], gains.reshape(-1, 1)[order].cumsum(0))[0])


def best_threshold_per_label(scores: np.ndarray, labels: np.ndarray, where_absent: float) -> np.ndarray:
    """Each label's threshold of the largest F1, (labels,); `where_absent` for a label without a positive."""
    return np.where((labels == 1).any(0), _best_cuts(*_f1_curves(scores, labels)), where_absent)


def best_threshold_expected(scores: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each label's threshold of the largest F1 between expected hits, tags and positives, (labels,).

    Args:
        scores: (rows, labels).
        probabilities: (rows, labels) that the label is present, -100 where a row is not to count.

    Source: Lipton et al. 2014, with the expectations of numerator and denominator.
    """
    return _best_cuts(*_f1_curves(scores, probabilities))


def calibrated(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores to probabilities by one slope and one bias in log-odds for all labels (Platt 1999), both (rows, labels).

    -100 where the label is unknown; the scores as they are where the labels are all present or all absent.
    """
    known = labels != UNKNOWN
    probabilities = np.where(known, np.asarray(scores, float), UNKNOWN)
    if (labels == 0).any() and (labels == 1).any():
        logits = _log_odds(scores[known])[:, None]
        probabilities[known] = LogisticRegression().fit(logits, labels[known]).predict_proba(logits)[:, 1]
    return probabilities


def _candidates(
    scores: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, shrinkages: np.ndarray
) -> np.ndarray:
    """The log-odds of each label's threshold for each shrinkage, and then of "one_micro", (shrinkages + 1, labels)."""
    micro, macro = best_threshold(scores, labels), best_threshold_macro(scores, labels)
    common = (_log_odds(micro) + _log_odds(macro)) / 2
    expected = _log_odds(best_threshold_expected(scores, probabilities))
    expected_support = np.where(labels == UNKNOWN, 0, probabilities).sum(0)
    expected = _drawn(expected, common, expected_support, EXPECTED_SHRINKAGE)
    own = _log_odds(best_threshold_per_label(scores, labels, where_absent=macro))
    shrunk = _drawn(own, expected, (labels == 1).sum(0), shrinkages[:, None])
    return np.vstack([shrunk, np.full(len(own), _log_odds(micro))])


def _fitted_weights(scores: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Of the candidates, by the sum of micro- and macro-F1 on rows that the thresholds were not tuned on; sum to 1.

    The probabilities are of all rows: two numbers for all labels know little of a fold.
    """
    # A row of which nothing is known must not move the others to another fold.
    known = (labels != UNKNOWN).any(1)
    scores, labels, probabilities = scores[known], labels[known], probabilities[known]
    folds = np.random.default_rng(0).permutation(len(scores)) % FOLDS
    hits, given = np.zeros((2, len(SHRINKAGES) + 1, labels.shape[1]))
    for fold in range(FOLDS):
        held_out, kept = folds == fold, folds != fold
        if not kept.any():  # there is one row
            continue
        truth = labels[held_out]
        for index, log_odds in enumerate(_candidates(scores[kept], labels[kept], probabilities[kept], SHRINKAGES)):
            tags = (scores[held_out] >= expit(log_odds)) & (truth != UNKNOWN)
            hits[index] += (tags & (truth == 1)).sum(0)
            given[index] += tags.sum(0)
    counts = given + (labels == 1).sum(0)
    f1_micro, f1_macro = 2 * hits.sum(1) / counts.sum(1), (2 * hits / np.maximum(counts, 1)).mean(1)
    return softmax(SHARPNESS * (f1_micro + f1_macro))


def _drawn(own: np.ndarray, common: np.ndarray | float, count: np.ndarray, half: np.ndarray | float) -> np.ndarray:
    """From its own log-odds toward the common ones: half-way where a label's count is `half`; (..., labels)."""
    share = count / np.maximum(count + half, np.finfo(float).tiny)
    return share * own + (1 - share) * common


def _f1_curves(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each label's scores, highest first, and its F1 if it is given to the rows down to there; both (rows, labels).

    Labels may be probabilities: then it is the F1 of the expected counts.
    """
    # An unknown entry goes last, where it is neither a hit nor a mistake.
    scores = np.where(labels == UNKNOWN, 0, scores)
    order = np.argsort(-scores, axis=0)
    labels = np.take_along_axis(labels, order, axis=0)
    hits = np.where(labels == UNKNOWN, 0, labels).cumsum(0, dtype=float)
    given = (labels != UNKNOWN).cumsum(0)
    return np.take_along_axis(scores, order, axis=0), 2 * hits / np.maximum(given + hits[-1], 1)


def _best_cuts(scores: np.ndarray, f1: np.ndarray) -> np.ndarray:
    """Where each column's F1 is largest, half-way between the lowest score taken and the next; (columns,)."""
    # Equal scores are taken together or not at all.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    last = f1.argmax(0)[None]
    lowest = np.take_along_axis(scores, last, axis=0)[0]
    following = np.take_along_axis(np.pad(scores, ((0, 1), (0, 0))), last + 1, axis=0)[0]
    halfway = (lowest + following) / 2
    # Between neighbours in floating point, half-way may be the score that is not to be taken.
    return np.where(halfway > following, halfway, lowest)


def _log_odds(thresholds: np.ndarray | float) -> np.ndarray:
    return logit(np.clip(np.asarray(thresholds, float), 1e-6, 1 - 1e-6))


def _checked(scores: np.ndarray, labels: np.ndarray, label_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 2 or scores.shape[1] != len(label_names):
        raise ValueError(
            f"`scores` has the shape {scores.shape}, `labels` {labels.shape}, with {len(label_names)} names: "
            "both must be (rows, labels)."
        )
    if not (np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()):
        raise ValueError("`scores` must be probabilities in [0, 1]; give sigmoid(logits).")
    wrong = labels[~np.isin(labels, (0, 1, UNKNOWN))]
    if wrong.size:
        raise ValueError(f"`labels` holds {wrong[0]}; it must be 0 or 1, or {UNKNOWN} where the truth is unknown.")
    if not (labels == 1).any():
        raise ValueError(
            "`labels` has no positive, so no threshold can be tuned on it; give labelled validation texts."
        )
    return scores, labels
