"""From rows to a trained folder."""

import json
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
from helpers import LABELS, SHORT, SMALL, are_equal, make_rows, rows_of, run, run_train, weights_of
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertModel,
    pipeline,
)

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification, RnnMultilabelModel, train_tagger
from hf_rnn_multilabel.data.raw_rows import DEMO
from hf_rnn_multilabel.evaluation import decision_metrics, linear_scores, per_label_metrics
from hf_rnn_multilabel.hub.model_card import build_card
from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.hub.run_info import RunInfo


COMMAND = [sys.executable, "-m", "hf_rnn_multilabel.cli.main"]
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
    info = RunInfo.load(trained)
    rows = {thresholds: row for (name, thresholds), row in rows_of(info, "test").items() if name == "this model"}
    for kind, thresholds in {"0.5": 0.5, "per-label thresholds": model.config.label_thresholds}.items():
        for key, value in decision_metrics(scores >= np.float32(thresholds), truth).items():
            assert rows[kind][key] == pytest.approx(value, abs=1e-9), (kind, key)
    tags = scores >= np.float32(model.config.label_thresholds)
    for row, expected in zip(info.labels, per_label_metrics(tags, truth, LABELS), strict=True):
        assert expected == {key: getattr(row, key) for key in expected}
        assert row.threshold == model.config.thresholds[row.label]
    # Neither of a constant model nor of a perfect one would a wrong order of the rows be seen.
    assert rows["per-label thresholds"]["f1_micro"] > 0.3
    assert decision_metrics(scores >= 0.5, truth[::-1])["f1_micro"] < rows["0.5"]["f1_micro"]


def test_the_linear_model_stands_beside_with_its_own_figures(trained):
    rows, test_rows, validation = make_rows(128), make_rows(40, seed=2), make_rows(48, seed=1)
    info = RunInfo.load(trained)
    for split, num_rows in {"validation": 48, "test": 40}.items():
        assert [row.model for row in info.results[split]] == ["this model"] * 3 + ["TF-IDF + LR"] * 3
        assert info.splits[split].rows == num_rows
    truth = [np.array([[label in row["labels"] for label in LABELS] for row in part]) for part in (rows, test_rows)]
    texts = [[row["text"] for row in part] for part in (rows, validation, test_rows)]
    scores = linear_scores(texts[0], truth[0], *texts[1:])[1]
    expected = decision_metrics(scores >= 0.5, truth[1])["f1_micro"]
    assert rows_of(info, "test")["TF-IDF + LR", "0.5"]["f1_micro"] == pytest.approx(expected)


def test_the_card_is_that_of_the_run_information_and_its_plots_lie_beside_it(trained):
    info = RunInfo.load(trained)
    card = (trained / "README.md").read_text()
    assert card == str(build_card(AutoConfig.from_pretrained(trained), info))
    assert info.plots
    for path in info.plots:
        assert (trained / path).read_bytes().startswith(b"\x89PNG")
        assert f"]({path})" in card


def test_the_run_information_says_where_the_model_came_from(trained, files):
    info = RunInfo.load(trained)
    assert (info.dataset.name, info.dataset.id) == ("train.jsonl.gz", None)
    assert len(set(info.dataset.revisions.values())) == 3
    text = (trained / "metrics.json").read_text(encoding="utf-8")
    assert str(trained.parent) not in text and str(Path(files["train"]).parent) not in text
    assert (info.training.batch_size, info.training.learning_rate) == (16, 0.03)
    assert 1 <= info.training.best_epoch <= info.training.epochs == 12
    assert "trained on the training texts" in info.training.tokenizer
    assert 1 <= info.training.label_name_queries <= len(LABELS)
    assert info.weight_bytes == (trained / "model.safetensors").stat().st_size
    assert info.speed.texts_per_second > 0
    assert set(info.fingerprint) >= {"texts", "labels", "label_names", "settings", "versions"}


def test_a_card_of_the_authors_words_has_them(tmp_path, train_and_validation):
    told = ["--license", "mit", "--language", "en", "de", "--dataset_title", "Lamps", "--dataset_license", "cc0-1.0"]
    run_train(tmp_path / "model", *train_and_validation, *told)
    data = ModelCard.load(tmp_path / "model" / "README.md").data
    assert (data.license, data.language) == ("mit", ["en", "de"])
    assert {result.dataset_name for result in data.eval_results} == {"Lamps"}
    assert RunInfo.load(tmp_path / "model").dataset.license == "cc0-1.0"


def test_a_trained_folder_opens_with_the_pipelines_and_the_auto_classes(trained):
    assert type(AutoModel.from_pretrained(trained)) is RnnMultilabelModel
    assert type(AutoModelForSequenceClassification.from_pretrained(trained)) is RnnMultilabelForSequenceClassification
    found = {tag["label"] for tag in pipeline("multi-label-tagging", model=str(trained))("lamp wood lamp")}
    assert found == {"lighting", "timber"}
    (stock,) = pipeline("text-classification", model=str(trained), top_k=None)(["lamp wood lamp"])
    assert {tag["label"] for tag in stock} == set(LABELS)


def test_the_bundled_data_are_the_default(tmp_path, capsys):
    info = run_train(tmp_path / "demo")
    for split, size in info.splits.items():
        assert size.rows == len((DEMO / f"{split}.jsonl").read_text(encoding="utf-8").splitlines())
    assert capsys.readouterr().out.count("    -> ") == 3


def test_python_trains_as_the_command_does(tmp_path, files, train_and_validation):
    info = run_train(tmp_path / "command", *train_and_validation, "--test_file", files["test"])
    small = {"hidden_size": 8, "embedding_size": 8, "num_train_epochs": 1, "per_device_train_batch_size": 16}
    run_ = train_tagger(files, tmp_path / "python", use_cpu=True, **small)
    assert are_equal(weights_of(tmp_path / "command"), weights_of(run_.folder))
    assert run_.info.results == info.results and run_.folder == tmp_path / "python"
    assert run_.thresholds == AutoConfig.from_pretrained(run_.folder).thresholds == run_.tagger.thresholds
    assert run_.metrics == rows_of(info, "test")["this model", "per-label thresholds"]
    assert run_.recipe.learning_rate == 4e-3 and run_.recipe.pooling == ["attention", "max"]


def test_rows_in_memory_are_trained_on_without_a_file(tmp_path):
    small = {"hidden_size": 8, "embedding_size": 8, "num_train_epochs": 1, "use_cpu": True}
    run_ = train_tagger(make_rows(80), tmp_path / "model", **small)
    assert run_.info.splits["train"].rows + run_.info.splits["validation"].rows == 80
    assert "test" not in run_.info.splits and run_.metrics["f1_micro"] >= 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, train_and_validation):
    infos = [run_train(tmp_path / name, *train_and_validation) for name in ("once", "again")]
    run_train(tmp_path / "other", *train_and_validation, "--seed", 7)
    weights = weights_of(tmp_path / "once")
    assert are_equal(weights, weights_of(tmp_path / "again"))
    assert infos[0].results == infos[1].results
    assert not are_equal(weights, weights_of(tmp_path / "other"))


def test_thresholds_of_another_method_get_figures_of_their_own(tmp_path, train_and_validation):
    info = run_train(tmp_path / "model", *train_and_validation, "--threshold_method", "per_label")
    kinds = [row.thresholds for row in info.results["validation"]]
    assert kinds == ["0.5", "global threshold", "per-label thresholds", "per_label"]
    f1 = np.mean([row.f1 for row in info.labels])
    assert info.results["validation"][3].metrics["f1_macro"] == pytest.approx(f1)


def test_averaged_weights_are_kept_if_asked_for_and_the_card_says_so(tmp_path, train_and_validation, kept_checkpoints):
    arguments = [*train_and_validation, "--wide_head", "false"]
    averaged = run_train(tmp_path / "averaged", *arguments, "--weight_averaging", "0.9")
    plain = run_train(tmp_path / "plain", *arguments)
    assert (averaged.training.weight_averaging, plain.training.weight_averaging) == (0.9, None)
    raw = load_file(tmp_path / f"averaged{PARTIAL}" / "checkpoint-8" / "raw_weights.safetensors")
    assert are_equal(raw, weights_of(tmp_path / "plain")) and not are_equal(raw, weights_of(tmp_path / "averaged"))


# Training again on train and validation


def test_the_retrained_model_is_tested_and_saved_with_the_thresholds_of_the_first(tmp_path, retraining, retrained):
    first = run_train(tmp_path / "first", *retraining, "--retrain_with_validation", "false")
    info = RunInfo.load(retrained)
    assert not are_equal(weights_of(retrained), weights_of(tmp_path / "first"))
    thresholds = [AutoConfig.from_pretrained(folder).thresholds for folder in (retrained, tmp_path / "first")]
    assert thresholds[0] == thresholds[1]
    best = first.training.best_epoch
    assert (info.retraining.rows, info.retraining.epochs, info.retraining.steps) == (176, best, 11 * best)
    assert first.retraining is None

    tagger = pipeline("multi-label-tagging", model=str(retrained))
    rows = make_rows(40, seed=2)
    tags = [[tag["label"] for tag in of_text] for of_text in tagger([row["text"] for row in rows])]
    for row in info.labels:
        assert row.predicted == sum(row.label in of_text for of_text in tags)
        assert row.support == sum(row.label in each["labels"] for each in rows)


def test_no_validation_figure_is_said_to_be_of_the_retrained_model(tmp_path, retraining, retrained):
    first = run_train(tmp_path / "first", *retraining, "--retrain_with_validation", "false")
    info = RunInfo.load(retrained)
    earlier = {thresholds: row for (_, thresholds), row in rows_of(first, "validation").items()}
    for (model, thresholds), row in rows_of(info, "validation").items():
        assert model == "TF-IDF + LR" or (model == "before retraining" and row == earlier[thresholds])
    assert [row.model for row in info.results["test"]] == ["this model"] * 3 + ["TF-IDF + LR"] * 3
    assert {result.dataset_split for result in ModelCard.load(retrained / "README.md").data.eval_results} == {"test"}


def test_the_linear_model_beside_a_retrained_one_is_trained_on_the_same_texts(retrained):
    rows = make_rows(128) + make_rows(48, seed=1)
    truth = np.array([[label in row["labels"] for label in LABELS] for row in rows])
    test_rows = make_rows(40, seed=2)
    (scores,) = linear_scores([row["text"] for row in rows], truth, [row["text"] for row in test_rows])
    test_truth = np.array([[label in row["labels"] for label in LABELS] for row in test_rows])
    row = rows_of(RunInfo.load(retrained), "test")["TF-IDF + LR", "0.5"]
    assert row["f1_micro"] == decision_metrics(scores >= 0.5, test_truth)["f1_micro"]


def test_without_a_test_split_a_retrained_model_has_no_figures(tmp_path, train_and_validation):
    info = run_train(tmp_path / "model", *train_and_validation, "--retrain_with_validation")
    assert {row.model for row in info.results["validation"]} == {"before retraining"} and "test" not in info.results
    assert ModelCard.load(tmp_path / "model" / "README.md").data.eval_results is None


def test_a_run_that_is_killed_after_its_retraining_resumes_to_the_same_model(tmp_path, retraining, retrained, caplog):
    stop = mock.patch("hf_rnn_multilabel.training.steps.score_test_split", side_effect=KeyboardInterrupt)
    with stop, pytest.raises(KeyboardInterrupt):
        run_train(tmp_path / "killed", *retraining)
    caplog.set_level("INFO", "hf_rnn_multilabel")
    info, expected = run_train(tmp_path / "killed", *retraining), RunInfo.load(retrained)
    assert f"Resuming from {tmp_path / f'killed{PARTIAL}' / 'retraining' / 'checkpoint-'}" in caplog.text
    assert are_equal(weights_of(tmp_path / "killed"), weights_of(retrained))
    assert info.results["test"] == expected.results["test"][:3]


# Resuming


@pytest.mark.parametrize("more", [[], ["--weight_averaging", "0.9"]], ids=["plain", "averaging"])
def test_a_killed_run_resumes_to_the_weights_of_one_that_was_not(tmp_path, train_and_validation, more, caplog):
    arguments = [*train_and_validation, "--num_train_epochs", "12", "--early_stopping_patience", "99", *more]
    command = [*COMMAND, "train", "--output_dir", tmp_path / "killed", *SMALL, *arguments]
    partial = tmp_path / f"killed{PARTIAL}"
    with open(tmp_path / "log", "w") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        last = "raw_weights.safetensors" if more else "trainer_state.json"
        while child.poll() is None and not list(partial.glob(f"checkpoint-*/{last}")):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert child.returncode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (tmp_path / "killed").exists()

    caplog.set_level("INFO", "hf_rnn_multilabel")
    info = run_train(tmp_path / "killed", *arguments)
    assert "Resuming from" in caplog.text and not partial.exists()
    caplog.clear()
    expected = run_train(tmp_path / "whole", *arguments)
    assert "Resuming from" not in caplog.text
    assert are_equal(weights_of(tmp_path / "killed"), weights_of(tmp_path / "whole"))
    assert (info.training.steps, info.results) == (expected.training.steps, expected.results)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl_c", "sigterm"])
def test_a_run_that_is_interrupted_says_how_it_resumes(tmp_path, train_and_validation, number, code):
    arguments = [*train_and_validation, "--num_train_epochs", "500", "--early_stopping_patience", "999"]
    command = [*COMMAND, "train", "--output_dir", tmp_path / "stopped", *SMALL, *arguments]
    child = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
    while child.poll() is None and not list(tmp_path.glob(f"stopped{PARTIAL}/checkpoint-*")):
        time.sleep(0.005)
    child.send_signal(number)
    assert "The same command resumes" in child.communicate()[1]
    assert child.returncode == code and not (tmp_path / "stopped").exists()


def test_a_run_that_resumes_remembers_how_long_it_has_waited_for_a_gain(
    tmp_path, train_and_validation, kept_checkpoints, caplog
):
    # Nothing is learned: the first evaluation stays the best.
    arguments = [*train_and_validation, "--num_train_epochs", "6", "--learning_rate", "1e-30"]
    arguments += ["--early_stopping_patience", "2", "--save_total_limit", "9"]
    whole = run_train(tmp_path / "whole", *arguments)
    assert whole.training.steps == 3 * 8
    # As it was after two epochs.
    later = shutil.ignore_patterns("checkpoint-24")
    shutil.copytree(tmp_path / f"whole{PARTIAL}", tmp_path / f"cut{PARTIAL}", ignore=later)
    caplog.set_level("INFO", "hf_rnn_multilabel")
    assert run_train(tmp_path / "cut", *arguments).training.steps == whole.training.steps
    assert caplog.text.count("on validation.") == 1


def test_fault_14_a_stopped_run_does_not_resume_on_other_rows(tmp_path, train_and_validation, files):
    stop = mock.patch("hf_rnn_multilabel.training.steps.choose_thresholds", side_effect=KeyboardInterrupt)
    with stop, pytest.raises(KeyboardInterrupt):
        run_train(tmp_path / "model", *train_and_validation)
    other = ["--train_file", files["test"], "--validation_file", files["validation"]]
    with pytest.raises(ValueError, match=r"what differs: .*texts\.train was"):
        run_train(tmp_path / "model", *other)
    more = ["--label_list", *LABELS, "garden"]
    with pytest.raises(ValueError, match=r"label_names (was .*|gained 1, )\[.*\"garden\"\]"):
        run_train(tmp_path / "model", *train_and_validation, *more)
    with pytest.raises(ValueError, match=r"what differs: settings\.seed was 42, is 7"):
        run_train(tmp_path / "model", *train_and_validation, "--seed", 7)
    run_train(tmp_path / "model", *train_and_validation)


# While it trains


def test_frozen_embeddings_stay_as_they_start_while_the_rest_is_trained(tmp_path, train_and_validation, bert):
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    arguments = ["--embeddings_from", bert, "--embedding_lr_factor", "0", "--prune_vocabulary", "false"]
    info = run_train(tmp_path / "model", *train_and_validation, *arguments)
    weights = weights_of(tmp_path / "model")
    words = slice(1, None)  # but for the padding
    (name,) = (name for name in weights if name.endswith("embed_tokens.weight"))
    assert torch.equal(weights[name][words], theirs[words])
    assert info.training.embedding_lr_factor == 0
    resumed = ["--model_name_or_path", tmp_path / "model", "--embedding_lr_factor", "0"]
    run("train", "--output_dir", tmp_path / "further", *SHORT, *train_and_validation, *resumed)
    further = weights_of(tmp_path / "further")
    changed = {each for each in weights if not torch.equal(weights[each], further[each])}
    # The wide head is fitted to the same texts.
    assert changed - {"wide.mixing_weights"} == {
        each for each in weights if each != name and not each.startswith("wide.")
    }


def test_pain_20_two_processes_train_as_one_with_the_same_batches(tmp_path, train_and_validation, kept_checkpoints):
    arguments = [*SMALL, *train_and_validation, *NO_DROPOUT, "--num_train_epochs", "2"]
    arguments += ["--logging_steps", "1", "--save_total_limit", "9"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += ["-m", "hf_rnn_multilabel.cli.main"]
    batch = ["--per_device_train_batch_size", "8"]
    two = [*launch, "train", "--output_dir", tmp_path / "two", *arguments, *batch]
    done = subprocess.run([str(part) for part in two], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one = run_train(tmp_path / "one", *arguments, "--train_sampling_strategy", "random")
    info = RunInfo.load(tmp_path / "two")
    weights = [weights_of(tmp_path / name) for name in ("one", "two")]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)
    assert info.splits == one.splits and info.training.steps == one.training.steps == 16
    for row, expected in zip(info.results["validation"], one.results["validation"], strict=True):
        assert row.metrics["lrap"] == pytest.approx(expected.metrics["lrap"], abs=0.02)
