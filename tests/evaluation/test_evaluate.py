import math
import warnings

import numpy as np
import pytest
from transformers import EvalPrediction

from hf_rnn_multilabel.evaluation import (
    apply_thresholds,
    compute_metrics,
    decision_metrics,
    evaluate_all,
    evaluate_scores,
    make_compute_metrics,
    per_label_metrics,
    ranking_metrics,
    tune_thresholds,
)


NAMES = ["calm", "joy", "fear"]
SCORES = np.array([[0.9, 0.2, 0.1], [0.7, 0.6, 0.2], [0.3, 0.8, 0.1], [0.1, 0.4, 0.6]], np.float32)
LABELS = np.array([[1, 0, 0], [1, 1, -100], [0, 1, 0], [0, 0, 1]])
THRESHOLDS = {"calm": 0.5, "joy": 0.7, "fear": 0.6}


def logits_of(scores):
    return np.log(scores) - np.log1p(-scores)


def random_rows(seed, rows=60):
    generator = np.random.default_rng(seed)
    labels = (generator.random((rows, 3)) < 0.3).astype(float)
    scores = np.clip(0.4 * labels + 0.6 * generator.random(labels.shape), 0, 1)
    labels[generator.random(labels.shape) < 0.1] = -100
    return scores, labels


# A tagger on labelled rows


def test_the_evaluation_joins_decisions_at_the_thresholds_rankings_and_a_row_per_label():
    results = evaluate_scores(SCORES, LABELS, NAMES, THRESHOLDS)
    predicted = apply_thresholds(SCORES, list(THRESHOLDS.values()))
    assert results == {
        "rows": 4,
        **decision_metrics(predicted, LABELS),
        **ranking_metrics(SCORES, LABELS),
        "labels": [
            row | {"threshold": THRESHOLDS[row["label"]]} for row in per_label_metrics(predicted, LABELS, NAMES)
        ],
    }
    assert results["f1_micro"] == pytest.approx(2 * 4 / (4 + 5))
    assert [(row["label"], row["support"], row["predicted"]) for row in results["labels"]] == [
        ("calm", 2, 2),
        ("joy", 2, 1),
        ("fear", 1, 1),
    ]


@pytest.mark.parametrize(
    "thresholds",
    [
        dict(reversed(THRESHOLDS.items())),
        list(THRESHOLDS.values()),
        np.array(list(THRESHOLDS.values())),
        tuple(THRESHOLDS.values()),
    ],
)
def test_thresholds_are_by_name_in_any_order_or_in_the_order_of_the_columns(thresholds):
    assert evaluate_scores(SCORES, LABELS, NAMES, thresholds) == evaluate_scores(SCORES, LABELS, NAMES, THRESHOLDS)


def test_pain_11_each_label_is_evaluated_at_its_own_threshold():
    global_threshold = evaluate_scores(SCORES, LABELS, NAMES, 0.5)
    assert [row["threshold"] for row in global_threshold["labels"]] == [0.5] * 3
    own = evaluate_scores(SCORES, LABELS, NAMES, THRESHOLDS | {"joy": 0.5})
    assert (own["f1_micro"], global_threshold["f1_micro"]) == (1, 1)
    assert evaluate_scores(SCORES, LABELS, NAMES, THRESHOLDS)["f1_micro"] < 1


def test_a_row_without_an_observed_label_is_not_counted():
    scores, labels = np.vstack([SCORES, SCORES[:1]]), np.vstack([LABELS, [[-100] * 3]])
    assert evaluate_scores(scores, labels, NAMES, THRESHOLDS) == evaluate_scores(SCORES, LABELS, NAMES, THRESHOLDS)


def test_pain_10_an_evaluation_that_predicts_hardly_any_label_warns():
    with pytest.warns(UserWarning, match="`thresholds`"):
        results = evaluate_scores(SCORES, LABELS, NAMES, 0.95)
    assert results["f1_micro"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": {"calm": 0.5, "joy": 0.7}}, "`thresholds` lacks 'fear'.* 3 labels"),
        ({"thresholds": THRESHOLDS | {"rage": 0.1}}, "`thresholds` has 'rage', which is no label"),
        ({"thresholds": [0.5, 0.5]}, "`thresholds` must be one number or one for each of the 3 labels"),
        ({"thresholds": None}, "`thresholds`"),
        ({"label_names": NAMES[:2]}, "`label_names` has 2 names for 3 labels"),
        ({"scores": logits_of(SCORES)}, r"`scores` must be probabilities in \[0, 1\]; row 0, label 0"),
        ({"labels": LABELS[:2]}, r"`labels` \(2, 3\)"),
    ],
)
def test_an_argument_that_is_wrong_is_refused_with_the_remedy(changes, message):
    arguments = {"scores": SCORES, "labels": LABELS, "label_names": NAMES, "thresholds": THRESHOLDS}
    with pytest.raises(ValueError, match=message):
        evaluate_scores(**arguments | changes)


@pytest.mark.parametrize("value", [0, -100])
def test_fault_06_rows_without_any_label_are_an_error_and_no_nan(value):
    labels = np.full_like(LABELS, value)
    with pytest.raises(ValueError, match="None of the 4 rows of `labels` carries a label"):
        evaluate_scores(SCORES, labels, NAMES, THRESHOLDS)
    with pytest.raises(ValueError, match="None of the 4 rows of `labels` carries a label"):
        compute_metrics(EvalPrediction(logits_of(SCORES), labels))
    splits = {"validation": SCORES, "test": SCORES}, {"validation": LABELS, "test": labels}
    with pytest.raises(ValueError, match="None of the 4 rows of `test` carries a label"):
        evaluate_all("this model", *splits, NAMES)


# Kinds of thresholds


def test_a_model_has_a_row_at_a_half_at_the_global_threshold_and_at_thresholds_per_label():
    scores, labels = zip(random_rows(0), random_rows(1), strict=True)
    splits = (
        dict(zip(("validation", "test"), scores, strict=True)),
        dict(zip(("validation", "test"), labels, strict=True)),
    )
    results = evaluate_all("this model", *splits, NAMES)
    assert list(results) == ["validation", "test"]
    expected = {
        "0.5": [0.5] * 3,
        "global threshold": list(tune_thresholds(scores[0], labels[0], NAMES, "global_micro").values()),
        "per-label thresholds": list(tune_thresholds(scores[0], labels[0], NAMES).values()),
    }
    for rows, split_scores, split_labels in zip(results.values(), scores, labels, strict=True):
        assert rows == [
            {
                "model": "this model",
                "thresholds": name,
                **decision_metrics(apply_thresholds(split_scores, thresholds), split_labels),
                **ranking_metrics(split_scores, split_labels),
            }
            for name, thresholds in expected.items()
        ]


@pytest.mark.parametrize("method", ["per_label", "global_macro"])
def test_another_method_has_a_row_of_its_own_name(method):
    scores, labels = random_rows(0)
    rows = evaluate_all("this model", {"validation": scores}, {"validation": labels}, NAMES, method)["validation"]
    assert [row["thresholds"] for row in rows] == ["0.5", "global threshold", "per-label thresholds", method]
    own = list(tune_thresholds(scores, labels, NAMES, method).values())
    assert rows[3]["f1_micro"] == decision_metrics(apply_thresholds(scores, own), labels)["f1_micro"]


@pytest.mark.parametrize(("method", "place"), [("global_micro", 1), ("shrinkage", 2), ("per_label", 3)])
def test_thresholds_that_are_tuned_already_are_not_tuned_again(method, place):
    scores, labels = random_rows(0)
    splits = {"validation": scores}, {"validation": labels}
    own = {"calm": 0.2, "joy": 0.3, "fear": 0.4}
    rows = evaluate_all("this model", *splits, NAMES, method, thresholds=own)["validation"]
    expected = evaluate_all("this model", *splits, NAMES, method)["validation"]
    expected[place] |= decision_metrics(apply_thresholds(scores, list(own.values())), labels)
    assert rows == expected


def test_thresholds_need_the_validation_split():
    with pytest.raises(ValueError, match=r"`scores` has the splits \['test'\]; give 'validation'"):
        evaluate_all("this model", {"test": SCORES}, {"test": LABELS}, NAMES)


# Choosing an epoch


def test_an_epoch_is_judged_at_the_best_global_threshold_of_its_own_rows():
    scores, labels = random_rows(0)
    results = compute_metrics(EvalPrediction((logits_of(scores), "hidden states"), labels))
    threshold = results.pop("threshold")
    assert threshold == pytest.approx(tune_thresholds(scores, labels, NAMES, "global_micro")["calm"])
    assert results == make_compute_metrics(threshold)(EvalPrediction(logits_of(scores), labels))
    assert all(type(value) is float and math.isfinite(value) for value in results.values())


def test_fault_21_an_epoch_is_not_judged_by_probabilities_unnoticed():
    with pytest.warns(UserWarning, match="`predictions`"):
        compute_metrics(EvalPrediction(SCORES, LABELS))
    with pytest.raises(ValueError, match="`predictions` must be logits"):
        compute_metrics(EvalPrediction(SCORES > 0.5, LABELS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compute_metrics(EvalPrediction(logits_of(SCORES), LABELS))
        # As a tagger with one label may give them.
        compute_metrics(EvalPrediction(np.array([[0.5], [1.5]]), np.array([[1], [0]])), are_logits=True)


@pytest.mark.parametrize(
    ("name", "scores", "labels"),
    [("labels", [[0.5], [0.5]], [[], [0]]), ("scores", [[0.1, 0.2], [0.3]], [[0, 1], [1, 0]])],
)
def test_rows_of_different_lengths_are_refused_by_name(name, scores, labels):
    with pytest.raises(ValueError, match=f"`{name}` must be numbers of shape"):
        tune_thresholds(scores, labels, ["a"])


@pytest.mark.parametrize("names", [False, None, "ab", 3, {"a", "b"}], ids=lambda names: type(names).__name__)
def test_label_names_that_are_no_list_are_refused(names):
    with pytest.raises(ValueError, match="`label_names` is"):
        evaluate_scores([[0.1, 0.9]], [[0, 1]], names, 0.5)
    with pytest.raises(ValueError, match="`label_names` is"):
        tune_thresholds([[0.1, 0.9]], [[0, 1]], names)


@pytest.mark.parametrize("names", [False, "ab", 3], ids=repr)
def test_label_names_of_a_table_that_are_no_list_are_refused(names):
    with pytest.raises(ValueError, match="`label_names` is"):
        per_label_metrics([[0, 1]], [[0, 1]], names)


@pytest.mark.parametrize("thresholds", [[None, []], [[0.1], [0.2, 0.3]], None, "0.5"], ids=repr)
def test_fault_28_thresholds_that_are_no_numbers_are_refused(thresholds):
    with pytest.raises(ValueError, match="`thresholds` must be one number or one for each"):
        apply_thresholds([[0.1, 0.9]], thresholds)
