import math

import numpy as np
import pytest

from hf_rnn_multilabel.evaluation import calibrate, calibration, expected_calibration_error
from hf_rnn_multilabel.evaluation.calibration import log_odds, reliability_bins, wilson_interval
from hf_rnn_multilabel.evaluation.checks import IGNORED


SCORES = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.5, 0.1], [0.4, 0.3]])


def test_calibration_learns_the_slope_and_the_bias_of_the_log_odds():
    generator = np.random.default_rng(0)
    logits = generator.normal(-1, 2, (20_000, 2))
    true_probabilities = 1 / (1 + np.exp(-(0.5 * logits - 1)))
    labels = (generator.random(logits.shape) < true_probabilities).astype(int)
    labels[:5_000, 1] = IGNORED
    probabilities = calibrate(1 / (1 + np.exp(-logits)), labels)
    assert (probabilities[:5_000, 1] == IGNORED).all()
    assert np.abs(probabilities - true_probabilities)[labels != IGNORED].max() < 0.02


@pytest.mark.parametrize("label", [0, 1])
def test_scores_stay_as_they_are_where_all_labels_are_equal(label):
    assert calibrate(SCORES, np.full(SCORES.shape, label)).tolist() == SCORES.tolist()


def test_log_odds_of_certain_scores_are_finite():
    assert log_odds(np.array([0, 0.5, 1])) == pytest.approx([-13.8155, 0, 13.8155], abs=1e-3)


def test_the_calibration_error_matches_the_value_computed_by_hand():
    scores = np.array([[0.1, 0.3], [0.35, 0.9], [0.95, 0.2]])
    labels = np.array([[0, 1], [0, 1], [1, IGNORED]])
    # Bins (0, .25], (.25, .5], (.75, 1]: |.1 - 0|, |.65 - 1| and |1.85 - 2|, over the five observed entries.
    assert expected_calibration_error(scores, labels, num_bins=4) == pytest.approx((0.1 + 0.35 + 0.15) / 5)
    assert expected_calibration_error(scores, labels, num_bins=1) == pytest.approx(abs(2.6 - 3) / 5)


def test_a_score_on_an_edge_belongs_to_the_bin_below_and_zero_to_the_lowest():
    ones = np.ones((1, 4), bool)
    counts, score_sums, positives = reliability_bins(np.array([[0.0, 0.25, 0.5, 1.0]]), ones, ones, 4)
    assert counts.tolist() == positives.tolist() == [2, 1, 0, 1]
    assert score_sums.tolist() == [0.25, 0.5, 0, 1]


def test_scores_that_equal_the_fraction_of_positives_have_no_calibration_error():
    labels = np.repeat(np.eye(4)[:1], 3, axis=0).T  # (rows, labels), one positive in four
    assert expected_calibration_error(np.full((4, 3), 0.25), labels) == 0
    assert expected_calibration_error(np.full((4, 3), 0.75), labels) == 0.5


def test_an_ignored_entry_does_not_change_the_calibration_error():
    labels = np.array([[0, 1], [IGNORED, 1]])
    errors = [expected_calibration_error(np.array([[0.2, 0.7], [score, 0.9]]), labels) for score in (0, 0.4, 1)]
    assert errors[0] == errors[1] == errors[2]


def test_the_calibration_error_of_no_observed_entry_is_nan():
    assert math.isnan(expected_calibration_error(np.full((2, 2), 0.5), np.full((2, 2), IGNORED)))


def test_blocks_of_rows_give_the_same_bins(monkeypatch):
    generator = np.random.default_rng(0)
    scores, observed = generator.random((60, 5)), generator.random((60, 5)) < 0.9
    present = observed & (generator.random((60, 5)) < 0.3)
    whole = reliability_bins(scores, present, observed)
    monkeypatch.setattr(calibration, "MAX_BLOCK_ENTRIES", 12)
    np.testing.assert_allclose(reliability_bins(scores, present, observed), whole)


def test_the_interval_of_a_fraction_is_wilsons():
    low, high = wilson_interval(np.array([0.0, 5.0, 10.0]), np.array([10.0, 10.0, 10.0]))
    assert low == pytest.approx([0, 0.2366, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.7634, 1], abs=1e-4)
