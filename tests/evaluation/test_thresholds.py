from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logit

from hf_rnn_multilabel import RnnMultilabelConfig
from hf_rnn_multilabel.evaluation import apply_thresholds, calibrate, decision_metrics, tune_thresholds
from hf_rnn_multilabel.evaluation.checks import IGNORED
from hf_rnn_multilabel.evaluation.thresholds import (
    SHRINKAGES,
    expected_thresholds,
    global_macro_threshold,
    global_micro_threshold,
    per_label_thresholds,
)


NAMES = ["calm", "joy"]
SCORES = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.5, 0.1], [0.4, 0.3]])
LABELS = np.array([[1, 0], [1, 0], [1, 0], [0, 0], [0, 1]])
HALFWAY = (1.5 * 0.25) ** 0.5


def expected_odds():
    """Of each label's cut of the largest expected F1, shrunk toward HALFWAY by the expected positives."""
    probabilities = calibrate(SCORES, LABELS)
    odds = []
    for column, support in enumerate(probabilities.sum(0)):
        f1 = {}
        for cut in np.unique(SCORES[:, column]):
            taken = SCORES[:, column] >= cut
            f1[cut] = 2 * probabilities[taken, column].sum() / (taken.sum() + support)
        best = max(f1, key=f1.get)
        cut = (best + max([below for below in f1 if below < best], default=0)) / 2
        weight = support / (support + 0.1)
        odds.append((cut / (1 - cut)) ** weight * HALFWAY ** (1 - weight))
    return odds


EXPECTED = expected_odds()
METHODS = {
    # Down to .7, 3 true positives of 3 predicted and 4 actual, 6/7; down to .3, 8/10.
    "global_micro": [0.6, 0.6],
    # Down to .7, the mean of 1 and 0; down to .3, of 6/8 and 1.
    "global_macro": [0.2, 0.2],
    "per_label": [0.6, 0.2],
    # With a shrinkage of 10, calm's three positives weigh 3/13 and joy's one 1/11, beside what the scores expect.
    "shrinkage": [
        (odds := 1.5 ** (3 / 13) * EXPECTED[0] ** (10 / 13)) / (1 + odds),
        (odds := 0.25 ** (1 / 11) * EXPECTED[1] ** (10 / 11)) / (1 + odds),
    ],
}

few_values = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])
many_values = st.floats(0, 1, width=32)
matrices = st.tuples(st.integers(1, 7), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float32, shape, elements=st.one_of(few_values, many_values)),
        arrays(np.float32, shape, elements=st.sampled_from([0, 1, IGNORED])),
    )
)


def f1_by_label(scores, labels, threshold):
    """F1 of each label from its counts, 0 where a label is neither present nor predicted."""
    predicted, present = (scores >= threshold) & (labels != IGNORED), labels == 1
    return 2 * (predicted & present).sum(0) / np.maximum(predicted.sum(0) + present.sum(0), 1)


def f1_micro(scores, labels, threshold):
    return f1_by_label(scores.reshape(-1, 1), labels.reshape(-1, 1), threshold)[0]


def brute_force(scores, labels, measure):
    """The largest value of the measure over every set of entries that a threshold can choose."""
    return max(measure(scores, labels, threshold) for threshold in [*np.unique(scores[labels != IGNORED]), 2])


@pytest.mark.parametrize("method", METHODS)
def test_each_method_gives_the_thresholds_that_are_computed_by_hand(method):
    result = tune_thresholds(SCORES, LABELS, NAMES, method, shrinkage=10)
    assert result == pytest.approx(dict(zip(NAMES, METHODS[method], strict=True)))


def test_shrinkage_is_the_default():
    assert tune_thresholds(SCORES, LABELS, NAMES) == tune_thresholds(SCORES, LABELS, NAMES, "shrinkage")


def test_shrinkage_goes_from_per_label_to_what_the_scores_expect():
    per_label = tune_thresholds(SCORES, LABELS, NAMES, "per_label")
    assert tune_thresholds(SCORES, LABELS, NAMES, "shrinkage", shrinkage=0) == pytest.approx(per_label)
    expected = {name: odds / (1 + odds) for name, odds in zip(NAMES, EXPECTED, strict=True)}
    assert tune_thresholds(SCORES, LABELS, NAMES, "shrinkage", shrinkage=1e12) == pytest.approx(expected)


def random_rows():
    """Miscalibrated scores of four labels with 49, 43, 18 and 21 positives, a tenth of the entries ignored."""
    generator = np.random.default_rng(7)
    logits = 6 * generator.random((120, 4)) - np.array([3.5, 4, 5, 5.8])
    labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    labels[generator.random(logits.shape) < 0.1] = IGNORED
    return 1 / (1 + np.exp(-0.7 * logits - np.array([0.5, -0.5, 1, 0]))), labels


@pytest.mark.parametrize(
    ("method", "shrinkage", "expected"),
    [
        ("global_micro", None, [0.506216530276854] * 4),
        ("global_macro", None, [0.36959889850290933] * 4),
        ("per_label", None, [0.6077890191313201, 0.46684832352333083, 0.6284361556822269, 0.36798354298452157]),
        ("shrinkage", 10, [0.5868880436331002, 0.44997446725367474, 0.5543551642314739, 0.3452995214797126]),
        ("shrinkage", None, [0.5902537694233385, 0.4529074537292686, 0.5732060912127612, 0.3506790148525141]),
    ],
)
def test_thresholds_of_random_rows_stay_what_they_were(method, shrinkage, expected):
    thresholds = tune_thresholds(*random_rows(), list("abcd"), method, shrinkage=shrinkage)
    assert list(thresholds.values()) == pytest.approx(expected, rel=1e-6)


# What is cross-fitted, as arguments.
CANDIDATES = [*({"shrinkage": shrinkage} for shrinkage in SHRINKAGES), {"method": "global_micro"}]


def rows_of_four_labels(bias):
    """Scores that are calibrated but for the bias of each label, in log-odds, of some ten positives per label."""
    generator = np.random.default_rng(0)
    logits = generator.normal(-4, 1.5, (400, 4))
    labels = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
    return 1 / (1 + np.exp(-logits - bias)), labels


@pytest.mark.parametrize(("bias", "weak_is_nearer"), [([0, 0, 0, 0], False), ([-4, -1, 1, 4], True)])
def test_the_rows_decide_how_far_a_label_is_shrunk(bias, weak_is_nearer):
    scores, labels = rows_of_four_labels(np.array(bias))
    result, weak, strong = (
        logit(list(tune_thresholds(scores, labels, list("abcd"), shrinkage=shrinkage).values()))
        for shrinkage in (None, 3, 1000)
    )
    assert ((result - weak) * (result - strong) <= 0).all()
    assert ((np.abs(result - weak) < np.abs(result - strong)) == weak_is_nearer).all()


def test_where_most_labels_lack_a_positive_the_global_threshold_is_chosen():
    generator = np.random.default_rng(0)
    logits = generator.normal(-8, 2, (400, 1000))
    scores = 1 / (1 + np.exp(-logits))
    labels = (generator.random(scores.shape) < 1 / (1 + np.exp(-1.5 * logits))).astype(int)
    assert (labels[:200] == 1).any(0).mean() < 0.2
    names = [str(number) for number in range(1000)]
    tuned, global_micro, *strengths = (
        list(tune_thresholds(scores[:200], labels[:200], names, **arguments).values())
        for arguments in ({}, {"method": "global_micro"}, *({"shrinkage": shrinkage} for shrinkage in SHRINKAGES))
    )
    assert logit(tuned) == pytest.approx(logit(global_micro), abs=0.05)
    f1 = [decision_metrics(apply_thresholds(scores[200:], each), labels[200:])["f1_micro"] for each in strengths]
    assert decision_metrics(apply_thresholds(scores[200:], tuned), labels[200:])["f1_micro"] > max(f1) + 0.05


def test_the_candidates_weigh_by_micro_and_macro_f1_on_the_rows_that_were_left_out(monkeypatch):
    # Else each fold would here be calibrated on its own rows.
    monkeypatch.setattr(
        "hf_rnn_multilabel.evaluation.thresholds.calibrate",
        lambda scores, labels: np.where(labels == IGNORED, IGNORED, scores),
    )
    scores, labels = rows_of_four_labels(np.array([-0.3, 0, 0, 0.3]))
    labels[::7, 0] = IGNORED
    folds = np.random.default_rng(0).permutation(len(scores)) % 5
    gains, log_odds = [], []
    for candidate in CANDIDATES:
        tags = np.zeros(scores.shape, bool)
        for fold in range(5):
            kept = folds != fold
            limits = list(tune_thresholds(scores[kept], labels[kept], list("abcd"), **candidate).values())
            tags[~kept] = apply_thresholds(scores[~kept], limits)
        result = decision_metrics(tags, labels)
        gains.append(result["f1_micro"] + result["f1_macro"])
        log_odds.append(logit(list(tune_thresholds(scores, labels, list("abcd"), **candidate).values())))
    weights = np.exp(100 * np.array(gains))
    expected = weights / weights.sum() @ np.array(log_odds)
    assert (weights > 0.01 * weights.sum()).all()
    assert logit(list(tune_thresholds(scores, labels, list("abcd")).values())) == pytest.approx(expected)


def test_rows_without_an_observed_label_leave_the_others_in_their_folds():
    scores, labels = rows_of_four_labels(np.array([-4, -1, 1, 4]))
    more = np.vstack([scores[:3], scores]), np.vstack([np.full((3, 4), IGNORED), labels])
    assert tune_thresholds(*more, list("abcd")) == pytest.approx(tune_thresholds(scores, labels, list("abcd")))


@pytest.mark.parametrize("rows", [1, 2, 4, 7])
def test_few_rows_give_a_mean_of_all_candidates(rows):
    scores, labels = SCORES[:1].repeat(rows, 0), LABELS[:1].repeat(rows, 0)
    of_each = [tune_thresholds(scores, labels, NAMES, **candidate)["calm"] for candidate in CANDIDATES]
    assert logit(tune_thresholds(scores, labels, NAMES)["calm"]) == pytest.approx(np.mean(logit(of_each)))


def test_the_expected_threshold_is_computed_by_hand():
    # Down to .8, 2 * .9 / (1 + 1.5); down to .6, 2 * 1.4 / (2 + 1.5); down to .1, 2 * 1.5 / (3 + 1.5).
    scores, probabilities = np.array([[0.8], [0.6], [0.1]]), np.array([[0.9], [0.5], [0.1]])
    assert expected_thresholds(scores, probabilities) == pytest.approx([0.35])
    assert expected_thresholds(scores, np.array([[0.9], [IGNORED], [0.1]])) == pytest.approx([0.45])


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float16, np.float32])
def test_scores_may_be_of_any_number_type_and_saturated(dtype):
    scores = (SCORES > 0.45).astype(dtype)
    expected = tune_thresholds(scores.astype(float), LABELS, NAMES)
    assert tune_thresholds(scores, LABELS, NAMES) == pytest.approx(expected, rel=2e-3)
    assert np.allclose(calibrate(scores, LABELS), calibrate(scores.astype(float), LABELS))


def test_the_rarer_a_label_is_expected_the_nearer_to_the_common_threshold():
    generator = np.random.default_rng(0)
    labels = np.zeros((400, 2))
    labels[:, 0] = generator.random(400) < 0.3
    scores = np.where(labels == 1, 0.7, 0.3) + generator.uniform(-0.2, 0.2, labels.shape)
    thresholds = []
    for likely in (0.1, 0.01, 0.001):
        scores[:, 1] = 1e-6 * generator.random(400)
        scores[0, 1] = likely
        thresholds.append(tune_thresholds(scores, labels, NAMES)["joy"])
    common = tune_thresholds(scores, labels, NAMES, "global_micro")["joy"]
    assert all(farther < nearer for farther, nearer in pairwise([*thresholds, common]))


def test_the_more_positives_the_nearer_to_the_own_threshold():
    thresholds = []
    for positives in (1, 3, 10, 100):
        # Five labels that part at .6 outvote one that parts at .1.
        scores = np.tile([[0.7] * 5 + [0], [0.5] * 5 + [0]], (100, 1))
        labels = np.tile([[1] * 5 + [0], [0] * 6], (100, 1))
        scores[:positives, 5], labels[:positives, 5] = 0.2, 1
        names = list("abcdef")
        assert tune_thresholds(scores, labels, names, "global_macro")["f"] == pytest.approx(0.6)
        assert tune_thresholds(scores, labels, names, "per_label")["f"] == pytest.approx(0.1)
        thresholds.append(tune_thresholds(scores, labels, names, shrinkage=10)["f"])
    assert all(nearer < farther for farther, nearer in pairwise([0.6, *thresholds, 0.1]))
    assert thresholds[-1] == pytest.approx(0.1, abs=0.01)


@settings(deadline=None, max_examples=300)
@given(matrices)
def test_the_threshold_of_the_best_micro_f1_is_exact(data):
    scores, labels = data
    result = f1_micro(scores, labels, np.float32(global_micro_threshold(scores, labels)))
    assert result == pytest.approx(brute_force(scores, labels, f1_micro))


@settings(deadline=None, max_examples=300)
@given(matrices)
def test_the_threshold_of_the_best_macro_f1_is_exact(data):
    scores, labels = data
    result = f1_by_label(scores, labels, np.float32(global_macro_threshold(scores, labels))).mean()
    assert result == pytest.approx(brute_force(scores, labels, lambda *args: f1_by_label(*args).mean()))


@settings(deadline=None, max_examples=300)
@given(matrices)
def test_the_threshold_of_each_label_is_exact(data):
    scores, labels = data
    result = f1_by_label(scores, labels, per_label_thresholds(scores, labels, 0.5).astype(np.float32))
    for column in np.flatnonzero((labels == 1).any(0)):
        one = scores[:, [column]], labels[:, [column]]
        assert result[column] == pytest.approx(brute_force(*one, f1_micro))


def test_equal_scores_are_chosen_together_or_not_at_all():
    # With one of the two at .6 F1 would be 1; both give 4/5, neither 2/3.
    scores, labels = np.array([[0.9], [0.6], [0.6], [0.2]]), np.array([[1], [1], [0], [0]])
    assert global_micro_threshold(scores, labels) == pytest.approx(0.4)
    # Here both give 2/3, and neither gives 1.
    assert global_micro_threshold(scores, np.array([[1], [0], [0], [0]])) == pytest.approx(0.75)
    assert global_macro_threshold(scores, labels) == pytest.approx(0.4)
    assert per_label_thresholds(scores, labels, 0.5) == pytest.approx([0.4])


def test_neighbours_in_floating_point_are_told_apart():
    below = np.float32(0.7)
    for _ in range(20):
        above = np.nextafter(below, np.float32(1))
        scores, labels = np.array([[above], [below]], np.float32), np.array([[1], [0]])
        assert apply_thresholds(scores, global_micro_threshold(scores, labels)).ravel().tolist() == [True, False]
        below = above


def test_the_scores_of_the_tuning_rows_have_the_best_f1():
    generator = np.random.default_rng(0)
    scores = generator.random((50, 4), np.float32)
    labels = (generator.random((50, 4)) < 0.3).astype(np.float32)
    names = list("abcd")
    thresholds = list(tune_thresholds(scores, labels, names, "per_label").values())
    result = decision_metrics(apply_thresholds(scores, thresholds), labels)["f1_macro"]
    best = [brute_force(scores[:, [i]], labels[:, [i]], f1_micro) for i in range(4)]
    assert result == pytest.approx(np.mean(best))


@pytest.mark.parametrize("method", ["global_macro", "per_label"])
def test_a_label_without_positives_falls_back_to_the_global_threshold(method):
    labels = LABELS.copy()
    labels[:, 1] = 0
    assert tune_thresholds(SCORES, labels, NAMES, method)["joy"] == pytest.approx(0.6)


@pytest.mark.parametrize("method", METHODS)
def test_an_ignored_entry_counts_nowhere(method):
    scores = np.vstack([SCORES, [[0.97, 0.05], [0.55, 0.15], [0, 1]]])
    labels = np.vstack([LABELS, np.full((3, 2), IGNORED)])
    assert tune_thresholds(scores, labels, NAMES, method) == tune_thresholds(SCORES, LABELS, NAMES, method)
    half_observed = np.vstack([SCORES, [[0.97, 0.05]]]), np.vstack([LABELS, [[1, IGNORED]]])
    moved = np.vstack([SCORES, [[0.97, 0.95]]]), half_observed[1]
    assert tune_thresholds(*half_observed, NAMES, method) == tune_thresholds(*moved, NAMES, method)
    as_negatives = np.where(labels == IGNORED, 0, labels)
    assert tune_thresholds(scores, as_negatives, NAMES, method) != tune_thresholds(scores, labels, NAMES, method)


def rows_with_a_rare_label(seed):
    """Two labels that are easy, and one with three positives and uninformative scores."""
    generator = np.random.default_rng(seed)
    labels = np.zeros((600, 3))
    labels[:, :2] = generator.random((600, 2)) < 0.3
    labels[generator.choice(600, 3, replace=False), 2] = 1
    scores = np.where(labels == 1, 0.8, 0.2) + generator.uniform(-0.15, 0.15, labels.shape)
    # The rare label's scores are equal but for the positives, which are lowest: its best F1 predicts every row.
    scores[:, 2] = np.where(labels[:, 2] == 1, 0.02, 0.04)
    return scores, labels


@pytest.mark.parametrize(("method", "least", "most"), [("shrinkage", 0.95, 1), ("per_label", 0, 0.6)])
def test_three_positives_wreck_micro_f1_unless_their_threshold_is_shrunk(method, least, most):
    thresholds = tune_thresholds(*rows_with_a_rare_label(0), ["calm", "joy", "rare"], method)
    fresh_scores, fresh_labels = rows_with_a_rare_label(1)
    tags = apply_thresholds(fresh_scores, list(thresholds.values()))
    assert least <= decision_metrics(tags, fresh_labels)["f1_micro"] <= most


@pytest.mark.parametrize("method", METHODS)
def test_pain_10_tuned_thresholds_give_tags_where_a_half_gives_none(method):
    scores = SCORES / 2
    assert not apply_thresholds(scores, 0.5).any()
    tags = apply_thresholds(scores, list(tune_thresholds(scores, LABELS, NAMES, method).values()))
    assert decision_metrics(tags, LABELS)["recall_micro"] >= 3 / 4


@pytest.mark.parametrize("method", METHODS)
def test_pain_11_the_thresholds_go_into_the_configuration_and_come_back_one_per_label(method, tmp_path):
    names = ["joy", "calm", "never"]  # no alphabet in the order of the columns
    scores = np.hstack([SCORES, [[0.5]] * 5])
    labels = np.hstack([LABELS, [[0]] * 5])
    thresholds = tune_thresholds(scores, labels, names, method)
    config = RnnMultilabelConfig(id2label=dict(enumerate(names)), thresholds=thresholds)
    config.save_pretrained(tmp_path)
    loaded = RnnMultilabelConfig.from_pretrained(tmp_path)
    assert list(thresholds) == names
    assert loaded.label_thresholds == config.label_thresholds == list(thresholds.values())
    assert all(type(value) is float and 0 <= value <= 1 for value in thresholds.values())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_saturated_scores_give_thresholds_that_the_configuration_takes(method, extreme):
    scores = np.full(LABELS.shape, extreme, np.float32)
    thresholds = tune_thresholds(scores, LABELS, NAMES, method)
    assert RnnMultilabelConfig(id2label=dict(enumerate(NAMES)), thresholds=thresholds).thresholds == thresholds


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_labels_may_be_of_any_number_type(dtype):
    assert tune_thresholds(SCORES, LABELS.astype(dtype), NAMES) == tune_thresholds(SCORES, LABELS, NAMES)
    assert tune_thresholds(SCORES.tolist(), LABELS.tolist(), NAMES) == tune_thresholds(SCORES, LABELS, NAMES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": SCORES[:3]}, r"`scores` .*\(3, 2\), `labels` \(5, 2\); both must be \(rows, labels\)"),
        ({"label_names": ["calm"]}, "`label_names` has 1 names for 2 labels"),
        ({"label_names": ["calm", "calm"]}, "`label_names` has 'calm' twice"),
        ({"scores": SCORES[0], "labels": LABELS[0]}, r"`scores` .*\(2,\)"),
        ({"scores": SCORES * 10 - 5}, r"`scores` must be probabilities .* row 0, label 0 is 4\.0"),
        ({"scores": np.where(SCORES > 0.8, np.nan, SCORES)}, "`scores` .* row 0, label 0 is nan"),
        ({"scores": SCORES.astype(str)}, r"`scores` \(<U.*must be numbers"),
        ({"labels": LABELS * 2}, "`labels` must be 0 or 1, or -100 where ignored; row 0, label 0 is 2"),
        ({"labels": LABELS * 0.5}, r"`labels` .* is 0\.5"),
        ({"labels": np.zeros_like(LABELS)}, "None of the 5 rows of `labels` carries a label"),
        ({"labels": np.full_like(LABELS, IGNORED)}, "None of the 5 rows of `labels`"),
        ({"method": "best"}, r"`method` is 'best'; it must be one of \['global_micro', .*'shrinkage'\]"),
        ({"shrinkage": -1}, "`shrinkage` is -1; it must be a number of positives, 0 or more"),
        ({"shrinkage": np.nan}, "`shrinkage` is nan"),
    ],
)
def test_an_argument_that_is_wrong_is_refused_with_the_remedy(changes, message):
    with pytest.raises(ValueError, match=message):
        tune_thresholds(**{"scores": SCORES, "labels": LABELS, "label_names": NAMES} | changes)
