"""A tagger on labelled rows: its metrics there, and thresholds tuned on them."""

import json
import math
import shutil
from unittest import mock

import numpy as np
import pytest
from datasets import Dataset
from helpers import LABELS, are_equal, make_rows, weights_of
from huggingface_hub import ModelCard
from transformers import AutoConfig

from hf_rnn_multilabel.evaluation import tune_thresholds
from hf_rnn_multilabel.hub.folder import files_to_push
from hf_rnn_multilabel.hub.model_card import build_card
from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.inference.evaluation import evaluate_tagger, labelled_texts, tune_tagger
from hf_rnn_multilabel.inference.loading import load_tagger
from hf_rnn_multilabel.inference.logits import sigmoid


@pytest.fixture(scope="module")
def tagger(trained):
    return load_tagger(trained)


def labelled(rows: list[dict], **options):
    return labelled_texts(Dataset.from_list(rows), LABELS, **options)


def scores_of(tagger, rows) -> np.ndarray:
    return sigmoid(np.asarray(tagger.logits(rows.texts)))


# Rows


def test_labels_are_in_the_order_of_the_tagger():
    rows = labelled([{"text": "a", "labels": ["timber"]}, {"text": "b", "labels": ["office", "lighting"]}])
    assert rows.texts == ["a", "b"] and rows.labels.tolist() == [[0, 0, 1], [1, 1, 0]]
    assert "1.50 per text" in rows.description and "train" not in rows.description


def test_labels_that_the_tagger_does_not_have_are_an_error_or_dropped():
    rows = [{"text": "a", "labels": ["timber", "garden"]}, {"text": "b", "labels": ["office"]}]
    with pytest.raises(ValueError, match=r"\['garden'\] are not in \['lighting', .*`unknown_labels=\"drop\"`"):
        labelled(rows)
    with pytest.raises(ValueError, match="garden"):
        labelled([{"text": "a", "labels": ["garden"]}])
    found = labelled(rows, unknown_labels="drop")
    assert found.labels.tolist() == [[0, 0, 1], [0, 1, 0]] and "garden" in found.description


# Metrics


def test_the_metrics_are_those_that_the_training_found_on_the_same_rows(trained, tagger):
    found = evaluate_tagger(tagger, labelled(make_rows(40, seed=2)), batch_size=7)
    info = RunInfo.load(trained)
    expected = info.final_row("test").metrics
    assert found["rows"] == 40 and found["metrics"].keys() == expected.keys()
    for name, value in expected.items():
        assert found["metrics"][name] == pytest.approx(value, abs=1e-6), name
    for row, one in zip(found["labels"], info.labels, strict=True):
        assert row == {name: pytest.approx(getattr(one, name)) if name != "label" else one.label for name in row}


def test_rows_without_an_observed_label_do_not_count(tagger):
    labels = [[1, 0, 0], [0, None, 1], [None, None, None]]
    rows = [{"text": "lamp"} | dict(zip(LABELS, row, strict=True)) for row in labels]
    found = evaluate_tagger(tagger, labelled(rows, label_column=LABELS))
    assert found["rows"] == 2 and [row["support"] for row in found["labels"]] == [1, 0, 1]


def test_fault_06_rows_without_labels_are_an_error(tagger):
    with pytest.raises(ValueError, match="has a label"):
        evaluate_tagger(tagger, labelled([{"text": "lamp", "labels": []}, {"text": "desk", "labels": []}]))


def test_rows_are_of_one_split():
    rows = make_rows(3)
    with pytest.raises(ValueError, match=r"\['train', 'test'\]"):
        labelled_texts({"train": rows, "test": rows}, LABELS)


def test_a_column_of_0_and_1_is_the_only_label_of_a_tagger_and_ids_of_another():
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    assert labelled_texts(rows, ["label"]).labels.tolist() == [[1], [0]]
    assert labelled_texts(rows, ["no", "yes", "maybe"]).labels.tolist() == [[0, 1, 0], [1, 0, 0]]


# Thresholds


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, retrained):
    """A folder tuned on other rows, and these rows."""
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    rows = labelled(make_rows(60, seed=7))
    thresholds = tune_tagger(retrained, rows, folder)
    return folder, rows, thresholds


def test_a_tuned_tagger_is_a_new_whole_folder_with_the_thresholds_of_its_rows(retrained, tuned):
    folder, rows, thresholds = tuned
    assert thresholds == tune_thresholds(scores_of(load_tagger(retrained), rows), rows.labels, LABELS)
    found = load_tagger(folder)
    assert found.thresholds == pytest.approx(thresholds) != load_tagger(retrained).thresholds
    assert are_equal(weights_of(folder), weights_of(retrained))
    assert set(files_to_push(folder)) >= {"model.safetensors", "config.json", "tokenizer.json", "metrics.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["tuned"]


def test_the_old_folder_stays_as_it_was(tmp_path, trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    tune_tagger(trained, labelled(make_rows(30, seed=8)), tmp_path / "tuned", "global_macro")
    assert {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()} == before


def test_the_run_information_keeps_the_training_and_has_figures_of_the_new_rows_alone(retrained, tuned):
    folder, rows, thresholds = tuned
    info, earlier = RunInfo.load(folder), RunInfo.load(retrained)
    assert (info.name, info.training, info.retraining) == ("tuned", earlier.training, earlier.retraining)
    assert list(info.results) == ["validation"] and info.splits["validation"].rows == 60
    assert info.splits["train"] == earlier.splits["train"] and "test" not in info.splits
    assert [row.threshold for row in info.labels] == pytest.approx(list(thresholds.values()))
    assert [row.train_support for row in info.labels] == [row.train_support for row in earlier.labels]
    found = evaluate_tagger(load_tagger(folder), rows)["metrics"]
    assert info.final_row("validation").metrics["f1_micro"] == pytest.approx(found["f1_micro"])


def test_the_card_says_on_what_the_thresholds_were_tuned_and_that_its_figures_flatter(tuned):
    folder, _, _ = tuned
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == str(build_card(AutoConfig.from_pretrained(folder), RunInfo.load(folder)))
    assert "tuned again after the training" in card and "flatter" in card
    # What is true of the training's own validation split alone.
    assert "There was no test split" not in card and "before re-training" not in card
    assert "train.jsonl.gz" in card
    results = ModelCard.load(folder / "README.md").data.eval_results
    assert {(each.dataset_name, each.dataset_split) for each in results} == {("other texts", "validation")}


def test_a_tagger_without_run_information_is_tuned_and_nothing_is_made_up(tmp_path, trained):
    shutil.copytree(trained, tmp_path / "bare")
    (tmp_path / "bare" / "metrics.json").unlink()
    tune_tagger(tmp_path / "bare", labelled(make_rows(30, seed=8)), tmp_path / "tuned")
    info = RunInfo.load(tmp_path / "tuned")
    assert info.training is None and {row.train_support for row in info.labels} == {None}
    card = (tmp_path / "tuned" / "README.md").read_text(encoding="utf-8")
    assert "| lighting | n/a |" in card and "training texts (" not in card


def test_a_folder_that_is_there_is_never_overwritten_and_a_failure_leaves_nothing(tmp_path, trained):
    rows = labelled(make_rows(30, seed=8))
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there' exists; give another `output_dir`"):
        tune_tagger(trained, rows, tmp_path / "there")
    with pytest.raises(ValueError, match="has a label"):
        tune_tagger(trained, labelled([{"text": "lamp", "labels": []}]), tmp_path / "new")
    with pytest.raises(ValueError, match="method"):
        tune_tagger(trained, rows, tmp_path / "new", "astrology")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_metrics_json_of_a_tuned_tagger_is_strict(tuned):
    def refuse(constant):
        raise AssertionError(constant)

    text = (tuned[0] / "metrics.json").read_text(encoding="utf-8")
    assert math.isfinite(json.loads(text, parse_constant=refuse)["calibration"]["expected_calibration_error"])


def test_fault_30_thresholds_that_another_process_has_saved_meanwhile_are_left_alone(tmp_path, trained):
    def tune(*args):
        (tmp_path / "tuned").mkdir()
        return tune_thresholds(*args)

    with (
        mock.patch("hf_rnn_multilabel.inference.evaluation.tune_thresholds", tune),
        pytest.raises(FileExistsError, match="exists; give another `output_dir`"),
    ):
        tune_tagger(trained, labelled(make_rows(30, seed=8)), tmp_path / "tuned")
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"] and not list((tmp_path / "tuned").iterdir())
