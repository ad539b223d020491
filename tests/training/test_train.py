"""From files to a trained folder."""

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import train
import train_data
import train_output
from helpers import LABELS, SCRIPTS, SHORT, SMALL, are_equal, make_rows, metrics_of, run, run_train, weights_of
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    EvalPrediction,
    pipeline,
)

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification, RnnMultilabelModel
from hf_rnn_multilabel.evaluation.baseline import linear_scores
from hf_rnn_multilabel.evaluation.metrics.multilabel.multilabel import compute_scores, per_label_metrics
from hf_rnn_multilabel.hub.model_card import build_card
from hf_rnn_multilabel.hub.run_info import RunInfo


NO_DROPOUT = ["--embedding_dropout", "0", "--hidden_dropout", "0", "--classifier_dropout", "0", "--word_dropout", "0"]
CODE = {"configuration_rnn_multilabel.py", "modeling_rnn_multilabel.py", "pipeline_rnn_multilabel.py"}


# A trained folder


def test_a_trained_folder_holds_all_that_a_tagger_needs_and_no_pickle(trained):
    files = {path.name for path in trained.iterdir() if path.is_file()}
    assert files >= CODE | {"model.safetensors", "config.json", "tokenizer.json", "metrics.json", "README.md"}
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    config = json.loads((trained / "config.json").read_text())
    assert list(config["thresholds"]) == LABELS == list(config["id2label"].values())
    assert all(0 < threshold < 1 for threshold in config["thresholds"].values())
    assert all(label in (trained / "README.md").read_text() for label in LABELS)


def test_the_figures_are_those_of_the_reloaded_model(trained, files):
    rows = make_rows(40, seed=2)
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = AutoModelForSequenceClassification.from_pretrained(trained).eval()
    with torch.no_grad():
        logits = [model(**tokenizer(row["text"], return_tensors="pt")).logits[0] for row in rows]
    scores = torch.stack(logits).sigmoid().numpy()
    truth = np.array([[label in row["labels"] for label in LABELS] for row in rows], float)
    facts = metrics_of(trained)
    found = {row["thresholds"]: row for row in facts["test"] if row["model"] == "this model"}
    for kind, thresholds in {"0.5": 0.5, "per-label thresholds": model.config.label_thresholds}.items():
        for key, value in compute_scores(scores, truth, thresholds).items():
            assert found[kind][key] == pytest.approx(value, abs=1e-9), (kind, key)
    tags = scores >= np.float32(model.config.label_thresholds)
    for row, expected in zip(facts["labels"], per_label_metrics(tags, truth, LABELS), strict=True):
        assert expected == {key: row[key] for key in expected}
        assert row["threshold"] == model.config.thresholds[row["label"]]
    # Neither of a constant net nor of a perfect one would a wrong order of the rows be seen.
    assert found["per-label thresholds"]["f1_micro"] > 0.3
    assert compute_scores(scores, truth[::-1], 0.5)["f1_micro"] < found["0.5"]["f1_micro"]


def test_the_linear_model_stands_beside_with_its_own_figures(trained):
    rows, test_rows, validation = make_rows(128), make_rows(40, seed=2), make_rows(48, seed=1)
    facts = metrics_of(trained)
    for split, count_of_rows in {"validation": 48, "test": 40}.items():
        assert [row["model"] for row in facts[split]] == ["this model"] * 3 + ["TF-IDF + LR"] * 3
        assert facts["rows"][split] == count_of_rows
    truth = [np.array([[label in row["labels"] for label in LABELS] for row in part]) for part in (rows, test_rows)]
    texts = [[row["text"] for row in part] for part in (rows, validation, test_rows)]
    scores = linear_scores(texts[0], truth[0], *texts[1:])[1]
    assert facts["test"][3]["f1_micro"] == pytest.approx(compute_scores(scores, truth[1])["f1_micro"])


def test_the_card_is_that_of_the_facts_and_its_plots_lie_beside_it(trained):
    facts = metrics_of(trained)
    card = (trained / "README.md").read_text()
    assert card == str(build_card(AutoConfig.from_pretrained(trained), RunInfo.load(trained)))
    assert facts["plots"]
    for path in facts["plots"]:
        assert (trained / path).read_bytes().startswith(b"\x89PNG")
        assert f"]({path})" in card


def test_the_facts_say_where_the_model_came_from(trained, files):
    facts = metrics_of(trained)
    assert (facts["dataset"]["name"], facts["dataset"]["id"]) == ("train.jsonl.gz", None)
    assert len(set(facts["dataset"]["revisions"].values())) == 3
    assert str(trained.parent) not in json.dumps(facts) and str(Path(files["train"]).parent) not in json.dumps(facts)
    assert facts["training"]["batch_size"] == 16 and facts["training"]["learning_rate"] == 0.03
    assert 1 <= facts["training"]["best_epoch"] <= facts["training"]["epochs"] == 12
    assert "trained on the training texts" in facts["training"]["tokenizer"]
    named = facts["training"]["label_name_queries"]
    assert 1 <= named <= len(LABELS)
    assert f"queries of {named} labels start" in (trained / "README.md").read_text()
    assert facts["bytes"] == (trained / "model.safetensors").stat().st_size
    assert facts["speed"]["texts_per_second"] > 0


def test_a_card_of_the_authors_words_has_them(tmp_path, train_and_validation):
    told = ["--license", "mit", "--language", "en", "de", "--dataset_title", "Lamps", "--dataset_license", "cc0-1.0"]
    run_train(tmp_path / "model", *train_and_validation, *told)
    data = ModelCard.load(tmp_path / "model" / "README.md").data
    assert (data.license, data.language) == ("mit", ["en", "de"])
    assert {result.dataset_name for result in data.eval_results} == {"Lamps"}
    assert metrics_of(tmp_path / "model")["dataset"]["license"] == "cc0-1.0"


def test_a_trained_folder_opens_with_the_pipelines_and_the_auto_classes(trained):
    assert type(AutoModel.from_pretrained(trained)) is RnnMultilabelModel
    assert type(AutoModelForSequenceClassification.from_pretrained(trained)) is RnnMultilabelForSequenceClassification
    found = {tag["label"] for tag in pipeline("multi-label-tagging", model=str(trained))("lamp wood lamp")}
    assert found == {"lighting", "timber"}
    (stock,) = pipeline("text-classification", model=str(trained), top_k=None)(["lamp wood lamp"])
    assert {tag["label"] for tag in stock} == set(LABELS)


def test_the_bundled_data_are_the_default(tmp_path, capsys):
    facts = run_train(tmp_path / "demo")
    assert facts["rows"] == {
        split: len((train_data.DEMO / f"{split}.jsonl").read_text().splitlines()) for split in facts["rows"]
    }
    output = capsys.readouterr().out
    assert f"{len(facts['labels'])} labels" in output and output.count("    -> ") == 3


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, train_and_validation):
    facts = [run_train(tmp_path / name, *train_and_validation) for name in ("once", "again")]
    run_train(tmp_path / "other", *train_and_validation, "--seed", 7)
    weights = weights_of(tmp_path / "once")
    assert are_equal(weights, weights_of(tmp_path / "again"))
    assert facts[0]["validation"] == facts[1]["validation"]
    assert not are_equal(weights, weights_of(tmp_path / "other"))


def test_thresholds_of_another_method_get_figures_of_their_own(tmp_path, train_and_validation):
    facts = run_train(tmp_path / "model", *train_and_validation, "--threshold_method", "per_label")
    assert [row["thresholds"] for row in facts["validation"]] == [
        "0.5",
        "global threshold",
        "per-label thresholds",
        "per_label",
    ]
    f1 = np.mean([row["f1"] for row in facts["labels"]])
    assert facts["validation"][3]["f1_macro"] == pytest.approx(f1)


def test_averaged_weights_are_kept_if_asked_for_and_the_card_says_so(tmp_path, train_and_validation):
    arguments = [*train_and_validation, "--bag_of_tokens", "false"]
    averaged = run_train(tmp_path / "averaged", *arguments, "--weight_averaging", "0.9")
    plain = run_train(tmp_path / "plain", *arguments)
    assert (averaged["training"]["weight_averaging"], plain["training"]["weight_averaging"]) == (0.9, None)
    raw = load_file(tmp_path / "averaged" / "checkpoint-8" / "raw_weights.safetensors")
    assert are_equal(raw, weights_of(tmp_path / "plain")) and not are_equal(raw, weights_of(tmp_path / "averaged"))
    rows = [
        (tmp_path / name / "README.md").read_text().count("moving average, decay 0.9")
        for name in ("averaged", "plain")
    ]
    assert rows == [1, 0]


# Training anew on train and validation


def test_the_retrained_net_is_tested_and_saved_with_the_thresholds_of_the_first(tmp_path, retraining, retrained):
    first = run_train(tmp_path / "first", *retraining, "--retrain_with_validation", "false")
    facts = metrics_of(retrained)
    assert not are_equal(weights_of(retrained), weights_of(tmp_path / "first"))
    thresholds = [AutoConfig.from_pretrained(folder).thresholds for folder in (retrained, tmp_path / "first")]
    assert thresholds[0] == thresholds[1]
    best = first["training"]["best_epoch"]
    expected = {"rows": 176, "epochs": best, "steps": 11 * best}
    assert {key: facts["retraining"][key] for key in expected} == expected and "retraining" not in first

    tagger = pipeline("multi-label-tagging", model=str(retrained))
    rows = make_rows(40, seed=2)
    tags = [[tag["label"] for tag in found] for found in tagger([row["text"] for row in rows])]
    for row in facts["labels"]:
        assert row["predicted"] == sum(row["label"] in found for found in tags)
        assert row["support"] == sum(row["label"] in each["labels"] for each in rows)


def test_no_validation_figure_is_said_to_be_of_the_retrained_net(tmp_path, retraining, retrained):
    first = run_train(tmp_path / "first", *retraining, "--retrain_with_validation", "false")
    facts = metrics_of(retrained)
    expected = [row | {"model": "before retraining"} for row in first["validation"]]
    assert facts["validation"][:3] == expected
    assert [row["model"] for row in facts["test"]] == ["this model"] * 3 + ["TF-IDF + LR"] * 3
    assert {result.dataset_split for result in ModelCard.load(retrained / "README.md").data.eval_results} == {"test"}
    assert "of the model before re-training" in (retrained / "README.md").read_text()
    assert "before retraining" not in (tmp_path / "first" / "README.md").read_text()


def test_the_linear_model_beside_a_retrained_net_is_trained_on_the_same_texts(retrained):
    rows = make_rows(128) + make_rows(48, seed=1)
    truth = np.array([[label in row["labels"] for label in LABELS] for row in rows])
    test_rows = make_rows(40, seed=2)
    (scores,) = linear_scores([row["text"] for row in rows], truth, [row["text"] for row in test_rows])
    test_truth = np.array([[label in row["labels"] for label in LABELS] for row in test_rows])
    assert metrics_of(retrained)["test"][3]["f1_micro"] == compute_scores(scores, test_truth)["f1_micro"]


def test_without_a_test_split_a_retrained_net_has_no_figures(tmp_path, train_and_validation):
    facts = run_train(tmp_path / "model", *train_and_validation, "--retrain_with_validation")
    assert {row["model"] for row in facts["validation"]} == {"before retraining"} and "test" not in facts
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.eval_results is None
    assert "no figures of it on the validation split" in card.text
    assert 'the thresholds of "before retraining, per-label thresholds"' in card.text


def test_a_run_that_is_killed_after_its_retraining_goes_on_to_the_same_net(tmp_path, retraining, retrained, capsys):
    with (
        mock.patch.object(train, "evaluate_all", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        run_train(tmp_path / "killed", *retraining)
    capsys.readouterr()
    facts, expected = run_train(tmp_path / "killed", *retraining), metrics_of(retrained)
    assert f"Going on from {tmp_path / 'killed' / 'retraining' / 'checkpoint-'}" in capsys.readouterr().out
    assert are_equal(weights_of(tmp_path / "killed"), weights_of(retrained))
    assert facts["test"] == expected["test"][:3] and facts["validation"] == expected["validation"][:3]


# Going on


@pytest.mark.parametrize("more", [[], ["--weight_averaging", "0.9"]], ids=["plain", "averaging"])
def test_a_killed_run_goes_on_to_the_weights_of_one_that_was_not(tmp_path, train_and_validation, more, capsys):
    arguments = [*train_and_validation, "--num_train_epochs", "12", "--early_stopping_patience", "99", *more]
    command = [sys.executable, SCRIPTS / "train.py", "--output_dir", tmp_path / "killed", *SMALL, *arguments]
    with open(tmp_path / "log", "w") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        while child.poll() is None and train_output.last_checkpoint(tmp_path / "killed", bool(more)) is None:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    capsys.readouterr()

    facts = run_train(tmp_path / "killed", *arguments)
    output = capsys.readouterr().out
    assert "Going on from" in output and 0 < output.count("eval_loss") < 12
    expected = run_train(tmp_path / "whole", *arguments)
    output = capsys.readouterr().out
    assert "Going on from" not in output and output.count("eval_loss") == 12
    assert are_equal(weights_of(tmp_path / "killed"), weights_of(tmp_path / "whole"))
    assert (facts["steps"], facts["validation"]) == (expected["steps"], expected["validation"])


def test_a_run_that_goes_on_remembers_how_long_it_has_waited_for_a_gain(tmp_path, train_and_validation, capsys):
    # Nothing is learned: the first evaluation stays the best.
    arguments = [*train_and_validation, "--num_train_epochs", "6", "--learning_rate", "1e-30"]
    arguments += ["--early_stopping_patience", "2", "--save_total_limit", "9"]
    whole = run_train(tmp_path / "whole", *arguments)
    assert whole["steps"] == 3 * 8
    for step in (8, 16):
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", tmp_path / "cut" / f"checkpoint-{step}")
    capsys.readouterr()
    assert run_train(tmp_path / "cut", *arguments)["steps"] == whole["steps"]
    assert capsys.readouterr().out.count("eval_loss") == 1


# While it trains


def test_epochs_are_compared_at_their_best_common_threshold():
    logits = np.array([[-3.0, -4.0], [-5.0, -3.5], [-2.0, -6.0]])
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -100.0]])
    for predictions in (logits, (logits, np.zeros(3))):
        found = train.compute_metrics(EvalPrediction(predictions=predictions, label_ids=truth))
        assert found["f1_micro"] == 1
        assert 1 / (1 + math.exp(4)) < found["threshold"] < 1 / (1 + math.exp(3.5))


def test_frozen_embeddings_stay_as_they_start_while_the_rest_is_trained(tmp_path, train_and_validation, bert):
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    arguments = ["--embeddings_from", bert, "--embedding_rate", "0", "--prune_vocabulary", "false"]
    facts = run_train(tmp_path / "model", *train_and_validation, *arguments)
    weights = weights_of(tmp_path / "model")
    words = slice(1, None)  # but for the padding
    assert torch.equal(weights["rnn.embed_tokens.weight"][words], theirs[words])
    assert facts["training"]["embedding_lr_factor"] == 0
    assert "not trained |" in (tmp_path / "model" / "README.md").read_text()
    going_on = ["--model_name_or_path", tmp_path / "model", "--embedding_rate", "0"]
    run(train, "--output_dir", tmp_path / "further", *SHORT, *train_and_validation, *going_on)
    further = weights_of(tmp_path / "further")
    changed = {name for name in weights if not torch.equal(weights[name], further[name])}
    # The bag is fitted to the same texts.
    assert changed == {name for name in weights if name != "rnn.embed_tokens.weight" and not name.startswith("bag.")}


def test_pain_20_two_processes_train_as_one_with_the_same_batches(tmp_path, train_and_validation):
    arguments = [*SMALL, *train_and_validation, *NO_DROPOUT, "--num_train_epochs", "2"]
    arguments += ["--logging_steps", "1", "--save_total_limit", "9"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    two = [SCRIPTS / "train.py", "--output_dir", tmp_path / "two", *arguments, "--per_device_train_batch_size", "8"]
    done = subprocess.run([str(part) for part in launch + two], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one = run_train(tmp_path / "one", *arguments, "--train_sampling_strategy", "random")

    logs = []
    for name in ("one", "two"):
        (state,) = tmp_path.glob(f"{name}/checkpoint-16/trainer_state.json")
        logs.append(
            [(log["loss"], log["grad_norm"]) for log in json.loads(state.read_text())["log_history"] if "loss" in log]
        )
    assert len(logs[0]) == 16
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-4, atol=1e-5)
    weights = [weights_of(tmp_path / name) for name in ("one", "two")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)
    two_facts = metrics_of(tmp_path / "two")
    assert two_facts["rows"] == one["rows"]
    for row, expected in zip(two_facts["validation"], one["validation"], strict=True):
        assert row["lrap"] == pytest.approx(expected["lrap"], abs=0.02)
