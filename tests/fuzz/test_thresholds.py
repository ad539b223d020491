"""Thresholds and metrics of random scores: those of brute force, or an error in words."""

import math
from itertools import pairwise

import numpy as np
import pytest
from fuzzing import Refusal, attempt, fuzz, strings, values
from hypothesis import assume
from hypothesis import strategies as st

from hf_rnn_multilabel.evaluation import evaluate_scores, expected_calibration_error, tune_thresholds
from hf_rnn_multilabel.evaluation.metrics.multilabel.multilabel import (
    apply_thresholds,
    decision_metrics,
    epoch_metrics,
    per_label_metrics,
    ranking_metrics,
)


METHODS = ["global_micro", "global_macro", "per_label", "shrinkage"]
SCORES = st.one_of(
    st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 0.9, 1.0]),
    st.floats(0, 1),
    st.sampled_from([np.nextafter(0.5, 1), np.nextafter(0.5, 0), 5e-324, 1 - 2**-53]),
)


@st.composite
def scored_rows(draw):
    """Scores, labels of 0, 1 and -100, and names."""
    rows, labels = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    precision = draw(st.sampled_from([np.float32, np.float64]))
    truth = st.sampled_from(draw(st.sampled_from([[0, 1], [0, 1, -100], [1], [0, 0, 0, 1, -100]])))
    scores = draw(st.lists(st.lists(SCORES, min_size=labels, max_size=labels), min_size=rows, max_size=rows))
    matrix = draw(st.lists(st.lists(truth, min_size=labels, max_size=labels), min_size=rows, max_size=rows))
    return np.array(scores, precision), np.array(matrix), [f"label {index}" for index in range(labels)]


def counts_of(predicted, labels) -> tuple[int, int, int]:
    pairs = [(bool(p), int(y)) for p, y in zip(np.ravel(predicted), np.ravel(labels), strict=True) if y != -100]
    true_positives = sum(p and y == 1 for p, y in pairs)
    return true_positives, sum(p for p, _ in pairs), sum(y for _, y in pairs)


def f1_of(predicted, labels) -> float:
    true_positives, predicted_positives, positives = counts_of(predicted, labels)
    return 2 * true_positives / max(predicted_positives + positives, 1)


def macro_f1_of(predicted, labels) -> float:
    return sum(f1_of(predicted[:, label], labels[:, label]) for label in range(labels.shape[1])) / labels.shape[1]


def best_over_cuts(scores, value) -> float:
    """The best value over all cuts between two scores, and below and above all."""
    distinct = sorted(set(np.ravel(scores).tolist()))
    cuts = [*distinct, math.inf, *((low + high) / 2 for low, high in pairwise(distinct))]
    return max(value(cut) for cut in cuts)


@fuzz(
    80,
    rows=scored_rows(),
    method=st.sampled_from(METHODS),
    shrinkage=st.sampled_from([None, 0, 3.5, 1e9, math.inf]),
    again=st.sampled_from([False, False, False, True]),
)
def test_tuned_thresholds_are_the_best_of_all_cuts(rows, method, shrinkage, again):
    scores, labels, names = rows
    found = attempt(tune_thresholds, scores, labels, names, method, shrinkage=shrinkage)
    if isinstance(found, Refusal):
        assert not (labels == 1).any() or shrinkage == math.inf, found
        return
    assert list(found) == names
    limits = np.array(list(found.values()))
    assert np.isfinite(limits).all() and (limits >= 0).all() and (limits <= 1).all(), limits
    predicted = apply_thresholds(scores, limits)
    if method == "global_micro":
        assert f1_of(predicted, labels) == pytest.approx(
            best_over_cuts(scores, lambda cut: f1_of(scores >= cut, labels))
        )
    elif method == "global_macro":
        best = best_over_cuts(scores, lambda cut: macro_f1_of(scores >= cut, labels))
        assert macro_f1_of(predicted, labels) == pytest.approx(best)
    elif method == "per_label":
        for label in range(labels.shape[1]):
            column, truth = scores[:, label], labels[:, label]
            best = best_over_cuts(column, lambda cut, column=column, truth=truth: f1_of(column >= cut, truth))
            assert f1_of(predicted[:, label], truth) == pytest.approx(best)
    if not again:
        return
    # A row of which nothing is observed says nothing.
    more = np.vstack([scores, scores[:1]]), np.vstack([labels, np.full_like(labels[:1], -100)])
    others = tune_thresholds(*more, names, method, shrinkage=shrinkage)
    assert list(others.values()) == pytest.approx(list(found.values()), abs=1e-6)


def lrap_of(scores, labels) -> float:
    total, rows = 0.0, 0
    for row, truth in zip(scores, labels, strict=True):
        if not (truth != -100).any():
            continue
        rows += 1
        observed = [(s, y) for s, y in zip(row.tolist(), truth.tolist(), strict=True) if y != -100]
        positives = [s for s, y in observed if y == 1]
        if not positives or len(positives) == len(truth):
            total += 1
            continue
        total += sum(
            sum(p >= s for p in positives) / sum(other >= s for other, _ in observed) for s in positives
        ) / len(positives)
    return total / rows


def auc_of(scores, labels) -> float:
    positives, negatives = scores[labels == 1].tolist(), scores[labels == 0].tolist()
    if not positives or not negatives:
        return math.nan
    wins = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    return wins / len(positives) / len(negatives)


def average_precision_of(scores, labels) -> float:
    """The sum over the cuts of precision times the recall that is gained."""
    scores, labels = scores[labels != -100], labels[labels != -100]
    total, earlier, positives = 0.0, 0, (labels == 1).sum()
    for cut in sorted(set(scores.tolist()), reverse=True):
        reached = int((labels[scores >= cut] == 1).sum())
        total += (reached - earlier) / positives * reached / (scores >= cut).sum()
        earlier = reached
    return total if positives else math.nan


@fuzz(80, rows=scored_rows(), limits=st.lists(SCORES, min_size=4, max_size=4))
def test_metrics_are_those_of_brute_force(rows, limits):
    scores, labels, names = rows
    thresholds = dict(zip(names, limits, strict=False))
    found = attempt(evaluate_scores, scores, labels, names, thresholds)
    if isinstance(found, Refusal):
        assert not (labels == 1).any(), found
        return
    limits = np.array(limits[: len(names)], scores.dtype)
    predicted = apply_thresholds(scores, limits)
    assert (predicted == [[s >= t for s, t in zip(row, limits, strict=True)] for row in scores]).all()
    observed = labels != -100
    used = observed.any(1)
    assert found["rows"] == used.sum()
    assert found["f1_micro"] == pytest.approx(f1_of(predicted, labels))
    assert found["f1_macro"] == pytest.approx(macro_f1_of(predicted, labels))
    by_row = [f1_of(p, y) for p, y in zip(predicted[used], labels[used], strict=True)]
    assert found["f1_samples"] == pytest.approx(sum(by_row) / len(by_row))
    wrong = (predicted != (labels == 1)) & observed
    assert found["hamming_loss"] == pytest.approx(wrong.sum() / observed.sum())
    assert found["subset_accuracy"] == pytest.approx(1 - wrong[used].any(1).mean())
    assert found["roc_auc_micro"] == pytest.approx(auc_of(scores, labels), nan_ok=True)
    assert found["map_micro"] == pytest.approx(average_precision_of(scores, labels), nan_ok=True)
    assert found["lrap"] == pytest.approx(lrap_of(scores, labels))
    columns = [average_precision_of(scores[:, label], labels[:, label]) for label in range(len(names))]
    columns = [value for value in columns if not math.isnan(value)]
    assert found["map_macro"] == pytest.approx(sum(columns) / len(columns))
    for label, row in enumerate(found["labels"]):
        true_positives, predicted_positives, support = counts_of(predicted[:, label], labels[:, label])
        assert (row["label"], row["support"], row["predicted"]) == (names[label], support, predicted_positives)
        assert row["precision"] == pytest.approx(true_positives / max(predicted_positives, 1))
    entries = [(float(s), int(y)) for s, y in zip(scores.ravel(), labels.ravel(), strict=True) if y != -100]
    bins = {}
    for score, label in entries:
        bins.setdefault(max(math.ceil(score * 15), 1), []).append((score, label))
    error = sum(abs(sum(s for s, _ in each) - sum(y for _, y in each)) for each in bins.values()) / len(entries)
    assert expected_calibration_error(scores, labels) == pytest.approx(error)


any_matrices = st.one_of(
    values,
    st.lists(st.lists(st.one_of(SCORES, st.floats(), st.integers(-100, 2), st.none()), max_size=3), max_size=3),
    st.lists(
        st.lists(st.sampled_from([0, 1, -100, True, 0.5, math.nan, math.inf, 10**30]), min_size=2, max_size=2),
        min_size=1,
        max_size=3,
    ),
)


@fuzz(
    150,
    scores=any_matrices,
    labels=any_matrices,
    more=st.one_of(values, st.lists(strings, max_size=3)),
    method=st.sampled_from([*METHODS, None, "x"]),
)
def test_any_scores_and_labels_give_numbers_or_an_error(scores, labels, more, method):
    assume(not (isinstance(scores, list) and isinstance(labels, list) and scores == labels == []))
    found = attempt(tune_thresholds, scores, labels, more, method)
    if not isinstance(found, Refusal):
        assert all(0 <= value <= 1 for value in found.values())
    for call in (
        lambda: apply_thresholds(scores, more),
        lambda: decision_metrics(scores, labels),
        lambda: epoch_metrics(scores, labels, more),
        lambda: ranking_metrics(scores, labels),
        lambda: per_label_metrics(scores, labels, more),
        lambda: evaluate_scores(scores, labels, more, 0.5),
        lambda: evaluate_scores(scores, labels, ["a", "b"], more),
        lambda: expected_calibration_error(scores, labels),
    ):
        attempt(call)
