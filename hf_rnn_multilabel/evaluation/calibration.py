"""Whether a score of 0.7 means that seven in ten such texts carry the label, and scores that do.

An entry is one label of one text. An ignored one (-100) counts nowhere.
"""

import math

import numpy as np
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from ..model.losses import IGNORED
from .checks import check_entries


NUM_BINS = 15
MAX_BLOCK_ENTRIES = 1 << 22


def calibrate(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Calibrate scores by one slope and one bias in log-odds, shared by all labels.

    Args:
        scores: (rows, labels) probabilities.
        labels: (rows, labels) 0 or 1, -100 where ignored.

    Returns:
        Probabilities, (rows, labels), and -100 where the label is ignored. The scores themselves where the observed
        labels are all present or all absent.

    Source: Platt 1999, Probabilistic outputs for support vector machines.
    """
    observed = labels != IGNORED
    probabilities = np.where(observed, np.asarray(scores, float), IGNORED)
    if (labels == 0).any() and (labels == 1).any():
        features = log_odds(scores[observed])[:, None]  # (entries, 1)
        probabilities[observed] = LogisticRegression().fit(features, labels[observed]).predict_proba(features)[:, 1]
    return probabilities


def log_odds(probabilities: np.ndarray | float) -> np.ndarray:
    """The log-odds of probabilities, finite for 0 and 1: both ends are clipped by 1e-6."""
    return logit(np.clip(np.asarray(probabilities, float), 1e-6, 1 - 1e-6))


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray, num_bins: int = NUM_BINS) -> float:
    """The mean distance between score and fraction of positives, over bins of equal width, weighted by their entries.

    All observed entries of all labels count the same. Where most labels are absent from most texts, the error is
    mainly that of the low scores.

    Args:
        scores: (rows, labels) probabilities.
        labels: (rows, labels) 0 or 1, -100 where ignored.
        num_bins: the number of bins; each takes the scores above its lower edge up to its upper one.

    Returns:
        The error in [0, 1]; NaN if no entry is observed.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, or other values in `labels`.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3, https://arxiv.org/abs/1706.04599.
    """
    scores, labels = check_entries(scores, labels)
    counts, score_sums, positives = reliability_bins(scores, labels == 1, labels != IGNORED, num_bins)
    return float(np.abs(score_sums - positives).sum() / counts.sum()) if counts.any() else math.nan


def reliability_bins(
    scores: np.ndarray, present: np.ndarray, observed: np.ndarray, num_bins: int = NUM_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of entries in each bin of scores, the sum of their scores and the number of positives.

    Args:
        scores: (rows, labels) probabilities.
        present: (rows, labels) bool, whether the text carries the label.
        observed: (rows, labels) bool, whether the entry counts.
        num_bins: the number of bins of equal width.

    Returns:
        Three arrays (num_bins,).
    """
    sums = np.zeros((3, num_bins))
    block_rows = max(MAX_BLOCK_ENTRIES // max(scores.shape[1], 1), 1)
    for start in range(0, len(scores), block_rows):
        block = slice(start, start + block_rows)
        entries = scores[block][observed[block]].astype(float)  # (entries,)
        bins = np.maximum(np.ceil(entries * num_bins).astype(int) - 1, 0)
        for total, weights in zip(sums, (None, entries, present[block][observed[block]]), strict=True):
            total += np.bincount(bins, weights, minlength=num_bins)
    return sums[0], sums[1], sums[2]


def wilson_interval(positives: np.ndarray, counts: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """The confidence interval of a fraction.

    Args:
        positives: (bins,) how many entries are positive.
        counts: (bins,) how many entries there are, at least 1.
        z: the normal quantile; 1.96 for 95 %.

    Returns:
        The lower and the upper end, both (bins,).

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    fraction = positives / counts
    middle = (fraction + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half_width = z * np.sqrt(fraction * (1 - fraction) / counts + z**2 / (4 * counts**2)) / (1 + z**2 / counts)
    return middle - half_width, middle + half_width
