"""Decision thresholds, tuned on validation rows. Never on test rows, or the metrics on them mean nothing.

A label with three positives cannot support a threshold of its own. The one of its best F1 predicts the label for
hundreds of other texts and costs micro-F1. Shrinkage therefore mixes three thresholds per label, in log-odds:

1. Its own, of its largest F1, with the weight n / (n + shrinkage) for n positives.
2. The expected one, of the largest F1 that its calibrated scores expect (Dembczynski et al. 2013, Lipton et al. 2014).
   It needs scores only, and takes e / (e + 0.1) of the remaining weight for e expected positives.
3. The common one, half-way between the global thresholds of the best micro-F1 and of the best macro-F1.

How far a label's own threshold can be trusted depends on the model and on the data. So six strengths of shrinkage and
the global micro threshold are candidates, and all are cross-fitted on the validation rows. Their log-odds are averaged
with exponential weights (Dalalyan & Tsybakov 2008), by micro-F1 plus macro-F1 on the held-out folds.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from scipy.special import expit, softmax

from ..model.losses import IGNORED
from .calibration import calibrate, log_odds
from .checks import check_named_entries, check_positives


ThresholdMethod = Literal["global_micro", "global_macro", "per_label", "shrinkage"]
# Positives at which a label's own threshold weighs half: the strengths that are candidates.
SHRINKAGES = np.array([3, 10, 30, 100, 300, 1000])
# Expected positives at which the expected threshold weighs half beside the common one.
EXPECTED_SHRINKAGE = 0.1
NUM_FOLDS = 5
# A candidate that is better by 0.01 of micro- plus macro-F1 weighs e times as much.
SHARPNESS = 100.0


def tune_thresholds(
    scores: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    method: ThresholdMethod = "shrinkage",
    *,
    shrinkage: float | None = None,
) -> dict[str, float]:
    """Tune thresholds by label name, ready for `config.thresholds`.

    Args:
        scores: (rows, labels) probabilities of the validation texts.
        labels: (rows, labels) 0 or 1, -100 where ignored.
        label_names: the labels in the order of the columns.
        method: "global_micro" and "global_macro": one threshold for all labels, that of the best micro-F1 or of the
            best macro-F1. "per_label": each label's own best F1, and "global_macro" for a label without a positive.
            "shrinkage": each label's own, shrunk toward the expected and the common threshold where positives are
            few; see the module.
        shrinkage: the positives at which a label's own threshold weighs half, for "shrinkage" alone. By default
            several strengths are cross-fitted and averaged.

    Returns:
        A threshold per label; a score equal to it is a tag.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, other labels, an unknown method, a
            negative `shrinkage`, or rows of which none carries a label.
    """
    scores, labels = check_named_entries(scores, labels, label_names)
    check_positives(labels, "Give labelled validation rows to tune thresholds on.")
    if method not in get_args(ThresholdMethod):
        raise ValueError(f"`method` is {method!r}; it must be one of {list(get_args(ThresholdMethod))}.")
    if shrinkage is not None and not shrinkage >= 0:
        raise ValueError(f"`shrinkage` is {shrinkage}; it must be a number of positives, 0 or more.")
    if method == "shrinkage":
        thresholds = _shrunk_thresholds(scores, labels, shrinkage)
    elif method == "per_label":
        thresholds = per_label_thresholds(scores, labels, fallback=global_macro_threshold(scores, labels))
    else:
        tune_global = global_micro_threshold if method == "global_micro" else global_macro_threshold
        thresholds = np.full(len(label_names), tune_global(scores, labels))
    return dict(zip(label_names, thresholds.tolist(), strict=True))


# The method "shrinkage".


def _shrunk_thresholds(scores: np.ndarray, labels: np.ndarray, shrinkage: float | None) -> np.ndarray:
    """Each label's threshold at one strength of shrinkage, or the weighted mean of all candidates, (labels,)."""
    probabilities = calibrate(scores, labels)
    if shrinkage is not None:
        return expit(_candidates(scores, labels, probabilities, np.array([shrinkage]))[0])
    weights = _cross_fitted_weights(scores, labels, probabilities)
    return expit(weights @ _candidates(scores, labels, probabilities))


def _candidates(
    scores: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, shrinkages: np.ndarray = SHRINKAGES
) -> np.ndarray:
    """Log-odds of each label's threshold per strength, and of the global micro threshold: (strengths + 1, labels)."""
    micro, macro = global_micro_threshold(scores, labels), global_macro_threshold(scores, labels)
    common = (log_odds(micro) + log_odds(macro)) / 2
    expected_positives = np.where(labels == IGNORED, 0, probabilities).sum(0)
    expected = log_odds(expected_thresholds(scores, probabilities))
    expected = _shrink(expected, common, expected_positives, EXPECTED_SHRINKAGE)
    own = log_odds(per_label_thresholds(scores, labels, fallback=macro))
    shrunk = _shrink(own, expected, (labels == 1).sum(0), shrinkages[:, None])
    return np.vstack([shrunk, np.full(len(own), log_odds(micro))])


def _shrink(own: np.ndarray, target: np.ndarray | float, count: np.ndarray, half: np.ndarray | float) -> np.ndarray:
    """Shrink each label's own log-odds toward the target's: half-way where its count is `half`; (..., labels)."""
    weight = count / np.maximum(count + half, np.finfo(float).tiny)
    return weight * own + (1 - weight) * target


def _cross_fitted_weights(scores: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Weights of the candidates, (strengths + 1,), by micro- plus macro-F1 on held-out folds; they sum to 1.

    The probabilities come from all rows: two calibration parameters for all labels say little about a fold.
    """
    # A row that is ignored as a whole must not move the others to another fold.
    observed = (labels != IGNORED).any(1)
    scores, labels, probabilities = scores[observed], labels[observed], probabilities[observed]
    folds = np.random.default_rng(0).permutation(len(scores)) % NUM_FOLDS
    true_positives, predicted_positives = np.zeros((2, len(SHRINKAGES) + 1, labels.shape[1]))
    for fold in range(NUM_FOLDS):
        held_out, rest = folds == fold, folds != fold
        if not rest.any():  # there is one row
            continue
        thresholds = expit(_candidates(scores[rest], labels[rest], probabilities[rest]))
        for candidate, limits in enumerate(thresholds):
            predicted = (scores[held_out] >= limits) & (labels[held_out] != IGNORED)  # (rows, labels)
            true_positives[candidate] += (predicted & (labels[held_out] == 1)).sum(0)
            predicted_positives[candidate] += predicted.sum(0)
    positives = predicted_positives + (labels == 1).sum(0)  # (candidates, labels), predicted and actual
    f1_micro = 2 * true_positives.sum(1) / positives.sum(1)
    f1_macro = (2 * true_positives / np.maximum(positives, 1)).mean(1)
    return softmax(SHARPNESS * (f1_micro + f1_macro))


# Thresholds of the largest F1. All are exact: every cut between two scores is tried.


def global_micro_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The one threshold of the largest micro-F1 over all entries of (rows, labels)."""
    return float(_best_f1_cuts(scores.reshape(-1, 1), labels.reshape(-1, 1))[0])


def global_macro_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The one threshold of the largest mean over the labels' F1, of (rows, labels)."""
    scores, f1 = _f1_curves(scores, labels)
    gains = np.diff(f1, axis=0, prepend=0)  # (rows, labels), what one more row adds to its label's F1
    order = np.argsort(-scores, axis=None)
    return float(_best_cuts(scores.reshape(-1, 1)[order], gains.reshape(-1, 1)[order].cumsum(0))[0])


def per_label_thresholds(scores: np.ndarray, labels: np.ndarray, fallback: float) -> np.ndarray:
    """Each label's threshold of its largest F1, (labels,); `fallback` for a label without a positive."""
    return np.where((labels == 1).any(0), _best_f1_cuts(scores, labels), fallback)


def expected_thresholds(scores: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Each label's threshold of the largest F1 of expected counts, (labels,).

    Args:
        scores: (rows, labels).
        probabilities: (rows, labels) that the label is present, -100 where the entry is ignored.

    Source: Lipton et al. 2014, with the expectations of numerator and denominator.
    """
    return _best_f1_cuts(scores, probabilities)


def _best_f1_cuts(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return _best_cuts(*_f1_curves(scores, labels))


def _f1_curves(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each label's scores, highest first, and its F1 if it is predicted for the rows up to there; both (rows, labels).

    Labels may be probabilities: then it is the F1 of the expected counts.
    """
    # An ignored entry goes last, where it is neither a true nor a false positive.
    scores = np.where(labels == IGNORED, 0, scores)
    order = np.argsort(-scores, axis=0)
    labels = np.take_along_axis(labels, order, axis=0)
    true_positives = np.where(labels == IGNORED, 0, labels).cumsum(0, dtype=float)
    predicted_positives = (labels != IGNORED).cumsum(0)
    f1 = 2 * true_positives / np.maximum(predicted_positives + true_positives[-1], 1)
    return np.take_along_axis(scores, order, axis=0), f1


def _best_cuts(scores: np.ndarray, f1: np.ndarray) -> np.ndarray:
    """Where each column's F1 is largest: half-way between the lowest score above and the next one; (columns,)."""
    # Equal scores are predicted together or not at all.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    last = f1.argmax(0)[None]
    lowest = np.take_along_axis(scores, last, axis=0)[0]
    following = np.take_along_axis(np.pad(scores, ((0, 1), (0, 0))), last + 1, axis=0)[0]
    halfway = (lowest + following) / 2
    # Between neighbours in floating point, half-way may be the score that is not to be predicted.
    return np.where(halfway > following, halfway, lowest)
