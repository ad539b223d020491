import ast
import math
import shutil
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import EvalPrediction

import hf_rnn_multilabel
from hf_rnn_multilabel.evaluation.metrics import (
    Multilabel,
    apply_thresholds,
    decision_metrics,
    make_compute_metrics,
    per_label_metrics,
    ranking_metrics,
)
from hf_rnn_multilabel.evaluation.metrics.multilabel import multilabel


PATH = Path(multilabel.__file__)

# Label by label: 3 true positives; 1 and 1 false negative; 1 false positive and 1 false negative. The fourth row is
# empty on both sides.
REFERENCES = [[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]]
PREDICTIONS = [[1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 0, 0]]
DECISIONS = {
    "precision_micro": 4 / 5,
    "recall_micro": 4 / 6,
    "f1_micro": 8 / 11,
    "precision_macro": (1 + 1 + 0) / 3,
    "recall_macro": (1 + 1 / 2 + 0) / 3,
    "f1_macro": (1 + 2 / 3 + 0) / 3,
    "precision_weighted": (3 * 1 + 2 * 1 + 1 * 0) / 6,
    "recall_weighted": (3 * 1 + 2 * 1 / 2 + 1 * 0) / 6,
    "f1_weighted": (3 * 1 + 2 * 2 / 3 + 1 * 0) / 6,
    "precision_samples": (1 + 1 / 2 + 1 + 0 + 1) / 5,
    "recall_samples": (1 / 2 + 1 + 1 / 2 + 0 + 1) / 5,
    "f1_samples": (2 / 3 + 2 / 3 + 2 / 3 + 0 + 1) / 5,
    "jaccard_micro": 4 / 7,
    "jaccard_macro": (1 + 1 / 2 + 0) / 3,
    "jaccard_samples": (1 / 2 + 1 / 2 + 1 / 2 + 0 + 1) / 5,
    "hamming_loss": 3 / 15,
    "subset_accuracy": 2 / 5,
}

RANKED_REFERENCES = [[1, 0, 1], [0, 1, 0]]
SCORES = [[0.9, 0.8, 0.1], [0.85, 0.6, 0.05]]
RANKINGS = {
    "lrap": ((1 / 1 + 2 / 3) / 2 + 1 / 2) / 2,
    "map_micro": (1 / 1 + 2 / 4 + 3 / 5) / 3,
    "map_macro": (1 + 1 / 2 + 1) / 3,
    "roc_auc_micro": (3 + 1 + 1) / 9,
    "roc_auc_macro": (1 + 0 + 1) / 3,
    "precision_at_1": (1 + 0) / 2,
    "precision_at_3": (2 / 3 + 1 / 3) / 2,
    "ndcg_at_1": (1 + 0) / 2,
    "ndcg_at_3": ((1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3)) + 1 / math.log2(3)) / 2,
}


class RowCount(evaluate.Metric):
    """A second metric for `combine`, which knows nothing of scores."""

    def _info(self):
        row = datasets.Sequence(datasets.Value("int32"))
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=datasets.Features(references=row)
        )

    def _compute(self, references):
        return {"rows": len(references)}


@pytest.fixture
def metric(tmp_path):
    return Multilabel(cache_dir=str(tmp_path))


def metrics_at(scores, references, thresholds=0.5):
    return decision_metrics(apply_thresholds(scores, thresholds), references) | ranking_metrics(scores, references)


def logits_of(probabilities):
    return np.log(probabilities) - np.log1p(-np.asarray(probabilities))


# Values computed by hand


def test_decision_metrics_match_the_values_computed_by_hand():
    assert decision_metrics(PREDICTIONS, REFERENCES) == pytest.approx(DECISIONS)


def test_ranking_metrics_match_the_values_computed_by_hand():
    assert ranking_metrics(SCORES, RANKED_REFERENCES) == pytest.approx(RANKINGS)


def test_precision_at_k_counts_the_true_labels_among_the_first_k():
    results = ranking_metrics([[6, 5, 4, 3, 2, 1]], [[1, 0, 0, 1, 1, 0]])
    assert [results[f"precision_at_{k}"] for k in (1, 3, 5)] == pytest.approx([1, 1 / 3, 3 / 5])


@pytest.mark.parametrize("truth", [[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 1, 0]])
def test_equal_scores_share_their_ranks_whatever_the_order_of_the_labels(truth):
    results = ranking_metrics([[0.3] * 4], [truth])
    assert [results[f"precision_at_{k}"] for k in (1, 3)] == pytest.approx([1 / 2, 1 / 2])
    assert results["ndcg_at_1"] == pytest.approx(1 / 2)


def test_ranks_beyond_the_number_of_labels_are_left_out():
    ranks = {key for key in ranking_metrics(SCORES, RANKED_REFERENCES) if "_at_" in key}
    assert ranks == {"precision_at_1", "precision_at_3", "ndcg_at_1", "ndcg_at_3"}


def test_per_label_table_matches_the_values_computed_by_hand():
    keys = ("label", "support", "predicted", "precision", "recall", "f1")
    rows = [("joy", 3, 3, 1, 1, 1), ("fear", 2, 1, 1, 1 / 2, 2 / 3), ("rage", 1, 1, 0, 0, 0)]
    table = per_label_metrics(PREDICTIONS, REFERENCES, ["joy", "fear", "rage"])
    for line, row in zip(table, rows, strict=True):
        assert line == pytest.approx(dict(zip(keys, row, strict=True)))


@settings(deadline=None, max_examples=30)
@given(st.data(), st.integers(1, 8), st.integers(1, 6))
def test_macro_f1_is_the_mean_over_all_labels_with_zero_where_nothing_is_predicted_or_present(data, rows, labels):
    predicted, present = (data.draw(arrays(bool, (rows, labels))) for _ in range(2))
    true_positives, positives = (predicted & present).sum(0), predicted.sum(0) + present.sum(0)
    f1 = [2 * true / both if both else 0 for true, both in zip(true_positives, positives, strict=True)]
    assert decision_metrics(predicted, present)["f1_macro"] == pytest.approx(np.mean(f1))


# Edges


def test_one_label_is_enough_for_every_metric():
    results = metrics_at([[0.9], [0.8], [0.7], [0.1]], [[1], [0], [1], [0]])
    assert results["precision_micro"] == results["precision_macro"] == pytest.approx(2 / 3)
    assert results["recall_micro"] == 1
    assert results["f1_samples"] == pytest.approx(2 / 4)
    assert results["subset_accuracy"] == pytest.approx(3 / 4)
    assert results["map_macro"] == results["map_micro"] == pytest.approx((1 + 2 / 3) / 2)
    assert results["roc_auc_macro"] == pytest.approx(3 / 4)
    assert results["lrap"] == 1
    assert results["precision_at_1"] == results["ndcg_at_1"] == pytest.approx(2 / 4)


def test_a_label_without_positives_lowers_macro_f1_but_is_no_part_of_macro_map_and_auc():
    references, predictions, scores = (
        np.pad(m, ((0, 0), (0, 1))) for m in (RANKED_REFERENCES, [[1, 0, 1], [0, 1, 0]], SCORES)
    )
    assert decision_metrics(predictions, references)["f1_macro"] == pytest.approx(3 / 4)
    results = ranking_metrics(scores, references)
    assert results["map_macro"] == pytest.approx(RANKINGS["map_macro"])
    assert results["roc_auc_macro"] == pytest.approx(RANKINGS["roc_auc_macro"])


def test_a_label_of_all_rows_is_no_part_of_macro_auc():
    scores, references = (np.hstack([m, [[x], [y]]]) for m, x, y in ((SCORES, 0.3, 0.4), (RANKED_REFERENCES, 1, 1)))
    assert ranking_metrics(scores, references)["roc_auc_macro"] == pytest.approx(RANKINGS["roc_auc_macro"])


def test_references_without_any_positive_give_nan_where_no_label_qualifies_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = metrics_at(SCORES, np.zeros((2, 3)))
    undefined = {key for key, value in results.items() if math.isnan(value)}
    assert undefined == {"map_micro", "map_macro", "roc_auc_micro", "roc_auc_macro"}
    assert results["f1_macro"] == 0


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_the_value_at_an_ignored_entry_changes_nothing(data):
    shape = (5, 3)
    references = data.draw(arrays(np.int8, shape, elements=st.sampled_from([0, 1, -100])))
    references[0] = [1, 0, -100]
    # Few values, for ties.
    scores = data.draw(arrays(np.float64, shape, elements=st.sampled_from([0.1, 0.2, 0.9])))
    scores[0, 0] = 0.9
    noise = data.draw(arrays(np.float64, shape, elements=st.sampled_from([0.1, 0.4, 0.9])))
    noisy = np.where(references == -100, noise, scores)
    results = [metrics_at(s, references, 0.15) for s in (scores, noisy)]
    assert results[0] == pytest.approx(results[1], nan_ok=True)
    tables = [per_label_metrics(s >= 0.15, references) for s in (scores, noisy)]
    assert tables[0] == tables[1]


def test_an_ignored_entry_is_neither_a_true_nor_a_false_positive():
    references = [[1, -100], [0, 1], [1, 0], [-100, -100]]
    scores = [[0.9, 0.8], [0.7, 0.6], [0.3, 0.1], [0.9, 0.9]]
    results = metrics_at(scores, references)
    assert results["precision_micro"] == pytest.approx(2 / 3)
    assert results["recall_micro"] == pytest.approx(2 / 3)
    assert results["hamming_loss"] == pytest.approx(2 / 5)
    assert results["subset_accuracy"] == pytest.approx(1 / 3)
    assert results["map_macro"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    assert results["roc_auc_macro"] == pytest.approx((1 / 2 + 1) / 2)
    assert results["roc_auc_micro"] == pytest.approx((2 + 1 + 1) / 6)
    assert results["lrap"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert per_label_metrics(np.asarray(scores) > 0.5, references)[1]["predicted"] == 1


def test_auc_compares_with_observed_negatives_alone():
    scores = [[0.9, 0.1], [0.5, 0.2], [0.7, 0.3], [0.1, 0.4]]
    references = [[0, 1], [1, -100], [0, 1], [-100, 1]]
    results = ranking_metrics(scores, references)
    assert results["roc_auc_macro"] == 0
    assert results["roc_auc_micro"] == 0


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "at least one row"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "at least one row"),
        ([0, 1], [0, 1], r"shape \(rows, labels\)"),
        ([[0, 1], [1]], [[0, 1], [1, 1]], "each row of one length"),
        ([["joy"]], [[1]], "must be numbers"),
        ([[0, 1]], [[0, 1, 1]], r"\(1, 2\) do not match .*\(1, 3\)"),
        ([[0, 1]], [[0, 1], [1, 1]], r"\(1, 2\) do not match .*\(2, 2\)"),
        ([[0, 1]], [[0, 0.5]], "`references` must be 0 or 1.* row 0, label 1 is 0.5"),
        ([[0, 1]], [[None, 1]], "`references` must be 0 or 1.* is nan"),
        ([[0, 2]], [[0, 1]], "`predictions` must be 0 or 1.* row 0, label 1 is 2"),
        ([[0, 1]], [[-100, -100]], "at least one must be 0 or 1"),
    ],
)
def test_wrong_input_is_refused_in_words(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        decision_metrics(predictions, references)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("function", [ranking_metrics, metrics_at])
def test_a_score_that_is_not_finite_is_refused(function, wrong):
    with pytest.raises(ValueError, match=r"`scores` must be finite.* row 1, label 0"):
        function([[0.1, 0.2], [wrong, 0.4]], [[0, 1], [1, 0]])


def test_nan_logits_are_refused():
    with pytest.raises(ValueError, match="training that diverged"):
        make_compute_metrics()(EvalPrediction(np.array([[np.nan, 1.0]]), np.array([[0, 1]])))


@pytest.mark.parametrize("thresholds", [[0.5], [[0.5, 0.5]], {"joy": 0.5}, None, [0.5, math.nan]])
def test_thresholds_of_another_form_are_refused_with_the_remedy(thresholds):
    with pytest.raises(ValueError, match=r"one number or one for each of the 2 labels.*thresholds\[name\]"):
        apply_thresholds([[0.1, 0.2]], thresholds)


def test_label_names_must_be_one_for_each_label(metric):
    with pytest.raises(ValueError, match="2 names for 3 labels"):
        metric.compute(predictions=PREDICTIONS, references=REFERENCES, per_label=True, label_names=["joy", "fear"])


# Thresholds and the Trainer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [float, np.asarray, lambda threshold: np.full(3, threshold)])
def test_a_score_equal_to_its_threshold_is_a_tag(dtype, form):
    scores = np.array([[0.7, 0.6999, 0.7001]], dtype=dtype)
    assert apply_thresholds(scores, form(0.7)).tolist() == [[True, False, True]]


def test_compute_metrics_of_the_trainer_matches_the_values_computed_by_hand():
    compute_metrics = make_compute_metrics([0.9, 0.7, 0.05])
    results = compute_metrics(EvalPrediction(logits_of(SCORES) + 1e-9, np.array(RANKED_REFERENCES, dtype=np.float32)))
    assert results == pytest.approx(
        {
            "precision_micro": 2 / 4,
            "recall_micro": 2 / 3,
            "f1_micro": 4 / 7,
            "precision_macro": (1 + 0 + 1 / 2) / 3,
            "recall_macro": (1 + 0 + 1) / 3,
            "f1_macro": (1 + 0 + 2 / 3) / 3,
            "hamming_loss": 3 / 6,
            "subset_accuracy": 0,
            "map_micro": RANKINGS["map_micro"],
        }
    )
    assert all(type(value) is float for value in results.values())


def test_a_logit_of_zero_is_a_tag_at_one_half():
    results = make_compute_metrics()(EvalPrediction(np.zeros((2, 2), dtype=np.float32), np.ones((2, 2))))
    assert results["recall_micro"] == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_extreme_logits_neither_overflow_nor_lose_their_order(dtype):
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype=dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = make_compute_metrics()(EvalPrediction(logits, np.eye(2)))
    assert results["f1_micro"] == results["map_micro"] == 1


def test_the_trainer_may_hand_over_ignored_labels():
    logits = np.array([[5.0, 5.0], [5.0, -5.0]])
    results = make_compute_metrics()(EvalPrediction(logits, np.array([[1.0, -100.0], [1.0, 0.0]])))
    assert results["f1_micro"] == results["subset_accuracy"] == results["map_micro"] == 1


def test_pain_15_extra_outputs_beside_the_logits_are_left_aside():
    logits, labels = logits_of(SCORES), np.array(RANKED_REFERENCES)
    outputs: Any = (logits, (np.zeros((2, 7, 4)), np.zeros((2, 7, 4))))  # logits, hidden states of two layers
    compute_metrics = make_compute_metrics()
    alone = compute_metrics(EvalPrediction(logits, labels))
    assert compute_metrics(EvalPrediction(outputs, labels)) == alone


@pytest.mark.parametrize("tagged_rows", [0, 1])
def test_pain_10_an_evaluation_with_hardly_any_tag_warns_and_names_the_remedy(tagged_rows):
    scores = np.full((20, 3), 0.3)
    scores[:tagged_rows] = 0.8
    scores[:, 2] = 0.9  # where the label is ignored
    references = np.tile([1, 0, -100], (20, 1))
    with pytest.warns(UserWarning, match=r"`thresholds`.*`hf_rnn_multilabel\.evaluation\.tune_thresholds`"):
        make_compute_metrics()(EvalPrediction(logits_of(scores), references))
    assert callable(hf_rnn_multilabel.evaluation.tune_thresholds)


@pytest.mark.parametrize(
    ("threshold", "tagged_rows", "true_rows"),
    [(0.5, 2, 20), (0.5, 0, 10), (0.2, 0, 20)],
    ids=["tags", "labels", "tuned"],
)
def test_pain_10_no_warning_with_tags_or_without_labels_or_with_tuned_thresholds(threshold, tagged_rows, true_rows):
    scores, references = np.full((20, 3), 0.3), np.zeros((20, 3))
    scores[:tagged_rows] = 0.8
    references[:true_rows, 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_compute_metrics(threshold)(EvalPrediction(logits_of(scores), references))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fault_21_probabilities_in_place_of_logits_are_warned_about(dtype):
    scores, references = np.array(SCORES, dtype), np.array(RANKED_REFERENCES)
    for predictions in (scores, 100 * scores):
        with pytest.warns(UserWarning, match=r"All 6 `predictions` .*`preprocess_logits_for_metrics`"):
            make_compute_metrics()(EvalPrediction(predictions, references))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_compute_metrics()(EvalPrediction(logits_of(SCORES), references))


@pytest.mark.parametrize("dtype", [bool, np.int64, np.float32])
def test_fault_21_predictions_of_0_and_1_in_place_of_logits_are_refused(dtype):
    predictions = np.array([[1, 0, 1], [0, 1, 0]], dtype)
    with pytest.raises(ValueError, match=r"`predictions` must be logits.* 6 .*`preprocess_logits_for_metrics`"):
        make_compute_metrics()(EvalPrediction(predictions, np.array(RANKED_REFERENCES)))


def test_fault_21_logits_of_a_few_rows_that_happen_to_lie_in_0_to_1_still_count():
    with pytest.warns(UserWarning, match="`predictions`"):
        results = make_compute_metrics()(EvalPrediction(np.array([[0.2, 0.4]]), np.array([[1, 1]])))
    assert results["recall_micro"] == 1


# The `evaluate` metric


def test_the_metric_file_imports_only_what_every_user_of_evaluate_has():
    imported = set()
    for node in ast.walk(ast.parse(PATH.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add("." * node.level + (node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names == {"datasets", "evaluate", "numpy", "sklearn"}


@pytest.fixture
def no_network(monkeypatch):
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("The network is off.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert attempts == []


def test_pain_13_one_metric_loads_by_its_path_without_network(tmp_path, no_network):
    shutil.copytree(PATH.parent, tmp_path / "multilabel", ignore=shutil.ignore_patterns("__pycache__"))
    loaded = evaluate.load(str(tmp_path / "multilabel"), cache_dir=str(tmp_path / "cache"))
    results = loaded.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert results == pytest.approx(DECISIONS)
    assert all(type(value) is float for value in results.values())


@pytest.mark.parametrize("probability", [0.7, 1e-9, 1 - 1e-9])
def test_pain_13_a_probability_where_0_or_1_belongs_is_an_error(metric, probability):
    with pytest.raises(ValueError, match=r"0 or 1 \(threshold probabilities first.*`scores`.* row 1, label 2"):
        metric.compute(predictions=[[0, 1, 0], [0, 0, probability]], references=[[0, 1, 0], [0, 0, 1]])


def test_pain_13_the_metric_works_again_after_an_error(metric):
    with pytest.raises(ValueError, match="must be 0 or 1"):
        metric.compute(predictions=[[0.3]], references=[[1]])
    assert metric.compute(predictions=[[1]], references=[[1]])["f1_micro"] == 1


def test_pain_14_one_call_returns_all_the_keys(metric):
    predictions = [[1, 1, 0], [1, 1, 0]]
    results = metric.compute(predictions=predictions, references=RANKED_REFERENCES, scores=SCORES)
    assert set(results) == set(DECISIONS) | set(RANKINGS)
    assert results == pytest.approx({**decision_metrics(predictions, RANKED_REFERENCES), **RANKINGS})


def test_pain_14_the_metric_works_inside_combine(metric, tmp_path):
    combined = evaluate.combine([metric, RowCount(cache_dir=str(tmp_path))])
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        combined.add_batch(predictions=[prediction], references=[reference])
    assert combined.compute() == pytest.approx({**DECISIONS, "rows": 5})


def test_pain_14_scores_reach_this_metric_alone_inside_combine(tmp_path):
    metric = Multilabel(config_name="scores", cache_dir=str(tmp_path))
    combined = evaluate.combine([metric, RowCount(cache_dir=str(tmp_path))])
    combined.add_batch(predictions=[[1, 1, 0], [1, 1, 0]], references=RANKED_REFERENCES, scores=SCORES)
    results = combined.compute()
    assert {key: results[key] for key in RANKINGS} == pytest.approx(RANKINGS)
    assert results["rows"] == 2


def test_adding_row_by_row_gives_the_same_as_one_call(metric):
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute() == pytest.approx(DECISIONS)


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "samples"])
def test_a_script_that_asks_for_one_average_reads_the_plain_keys(metric, average):
    predictions, references = np.array(PREDICTIONS), np.array(REFERENCES, dtype=np.float32)
    results = metric.compute(predictions=predictions, references=references, average=average)
    for name in ("precision", "recall", "f1"):
        assert results[name] == pytest.approx(DECISIONS[f"{name}_{average}"])
    assert np.isfinite(np.mean(list(results.values())))


def test_an_unknown_average_is_refused(metric):
    with pytest.raises(ValueError, match=r"`average` must be one of .*'binary'"):
        metric.compute(predictions=PREDICTIONS, references=REFERENCES, average="binary")


def test_the_metric_adds_the_per_label_table_on_request(metric):
    table = metric.compute(predictions=PREDICTIONS, references=REFERENCES, per_label=True)["per_label"]
    assert table == per_label_metrics(PREDICTIONS, REFERENCES)
    assert [line["label"] for line in table] == ["LABEL_0", "LABEL_1", "LABEL_2"]


@pytest.mark.parametrize("predictions", [[], [[0, 1], [1]]])
def test_empty_and_ragged_input_to_the_metric_is_refused_in_words(metric, predictions):
    with pytest.raises(ValueError, match=r"`predictions` must (be numbers|have the shape)"):
        metric.compute(predictions=predictions, references=[[0, 1]] * len(predictions))


def test_scores_of_another_shape_are_refused(metric):
    with pytest.raises(ValueError, match=r"\(2, 3\) do not match `references` of shape \(5, 3\)"):
        metric.compute(predictions=PREDICTIONS, references=REFERENCES, scores=SCORES)
