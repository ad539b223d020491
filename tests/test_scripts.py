"""The scripts: from files to a trained folder, and from texts to tags."""

import csv
import gzip
import importlib
import importlib.util
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from types import ModuleType
from unittest import mock

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    EvalPrediction,
    pipeline,
)

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification, RnnMultilabelModel
from hf_rnn_multilabel.baseline import linear_scores
from hf_rnn_multilabel.data import encode_labels
from hf_rnn_multilabel.metrics.multilabel.multilabel import compute_scores, per_label_metrics
from hf_rnn_multilabel.model_card import build_card
from hf_rnn_multilabel.tokenization import train_tokenizer


SCRIPTS = Path(__file__).parents[1] / "scripts"
WORDS = ["lamp", "desk", "wood", "garden", "chair", "blue", "tree", "light", "pen", "oak"]
LABELS = ["lighting", "office", "timber"]
SHORT = ["--per_device_train_batch_size", "16", "--num_train_epochs", "1", "--use_cpu", "--disable_tqdm", "true"]
SMALL = ["--hidden_size", "8", "--embedding_size", "8", *SHORT]
NO_DROPOUT = ["--embedding_dropout", "0", "--hidden_dropout", "0", "--classifier_dropout", "0", "--word_dropout", "0"]
CODE = {"configuration_rnn_multilabel.py", "modeling_rnn_multilabel.py", "pipeline_rnn_multilabel.py"}


sys.path.append(str(SCRIPTS))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scripts_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


train, tag = script("train"), script("tag")
train_data = importlib.import_module("train_data")
train_settings = importlib.import_module("train_settings")


def make_rows(number: int, labels=LABELS, seed: int = 0) -> list[dict]:
    """Texts of 1 to 12 words; each of the first words stands for a label."""
    draw = random.Random(seed)
    rows = []
    for _ in range(number):
        words = [draw.choice(WORDS) for _ in range(draw.randint(1, 12))]
        rows.append(
            {
                "text": " ".join(words),
                "labels": [name for name, word in zip(labels, WORDS, strict=False) if word in words],
            }
        )
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return str(path)


def write_csv(path: Path, rows: list[dict], delimiter: str = ",") -> str:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(module: ModuleType, *arguments) -> None:
    with mock.patch.object(sys, "argv", [module.__name__, *map(str, arguments)]):
        module.main()


def run_train(output_dir: Path, *arguments) -> dict:
    """What metrics.json holds."""
    run(train, "--output_dir", output_dir, *SMALL, *arguments)
    return metrics_of(output_dir)


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def are_equal(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of data sets for this file alone, for its child processes too."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with (
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", folder),
        mock.patch.dict(os.environ, {"HF_DATASETS_CACHE": folder, "OMP_NUM_THREADS": "1"}),
    ):
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    splits = {"train": make_rows(128), "validation": make_rows(48, seed=1), "test": make_rows(40, seed=2)}
    return {split: write_jsonl(folder / f"{split}.jsonl.gz", rows) for split, rows in splits.items()}


@pytest.fixture(scope="module")
def train_and_validation(files) -> list[str]:
    return ["--train_file", files["train"], "--validation_file", files["validation"]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, files, train_and_validation) -> Path:
    """A folder as the script leaves it, of a net that tells the labels apart."""
    folder = tmp_path_factory.mktemp("models") / "trained"
    more = ["--num_train_epochs", "12", "--learning_rate", "0.03", "--linear_baseline"]
    more += ["--pooling", "attention", "max", "label_attention"]
    run_train(folder, *train_and_validation, "--test_file", files["test"], *more)
    return folder


@pytest.fixture(scope="module")
def encoding():
    return encode_labels(Dataset.from_list(make_rows(60)))[1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A small model of another kind with its tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = train_tokenizer([" ".join(WORDS)] * 2)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=6, num_hidden_layers=1, num_attention_heads=1, intermediate_size=6
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
    for kind, thresholds in {"0.5": 0.5, "one per label": model.config.label_thresholds}.items():
        for key, value in compute_scores(scores, truth, thresholds).items():
            assert found[kind][key] == pytest.approx(value, abs=1e-9), (kind, key)
    tags = scores >= np.float32(model.config.label_thresholds)
    for row, expected in zip(facts["labels"], per_label_metrics(tags, truth, LABELS), strict=True):
        assert expected == {key: row[key] for key in expected}
        assert row["threshold"] == model.config.thresholds[row["label"]]
    # Neither of a constant net nor of a perfect one would a wrong order of the rows be seen.
    assert found["one per label"]["f1_micro"] > 0.3
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
    assert card == str(build_card(AutoConfig.from_pretrained(trained), facts))
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
    assert [row["thresholds"] for row in facts["validation"]] == ["0.5", "one for all", "one per label", "per_label"]
    f1 = np.mean([row["f1"] for row in facts["labels"]])
    assert facts["validation"][3]["f1_macro"] == pytest.approx(f1)


def test_averaged_weights_are_kept_if_asked_for_and_the_card_says_so(tmp_path, train_and_validation):
    averaged = run_train(tmp_path / "averaged", *train_and_validation, "--weight_averaging", "0.9")
    plain = run_train(tmp_path / "plain", *train_and_validation)
    assert (averaged["training"]["weight_averaging"], plain["training"]["weight_averaging"]) == (0.9, None)
    raw = load_file(tmp_path / "averaged" / "checkpoint-8" / "raw_weights.safetensors")
    assert are_equal(raw, weights_of(tmp_path / "plain")) and not are_equal(raw, weights_of(tmp_path / "averaged"))
    rows = [
        (tmp_path / name / "README.md").read_text().count("moving average, decay 0.9")
        for name in ("averaged", "plain")
    ]
    assert rows == [1, 0]


# A search for settings


def test_the_best_settings_of_a_search_on_validation_are_trained_with(tmp_path, files, train_and_validation, capsys):
    seen = []

    def search_and_see(trainer, *arguments):
        seen.extend([len(trainer.train_dataset), len(trainer.eval_dataset)])
        return train_search(trainer, *arguments)

    train_search = train.search
    arguments = [*train_and_validation, "--test_file", files["test"], "--search_trials", 2]
    with mock.patch.object(train, "search", search_and_see):
        facts = run_train(tmp_path / "model", *arguments)
    assert seen == [128, 48]
    trials = json.loads((tmp_path / "model" / "search.json").read_text())["trials"]
    best = max(trials, key=lambda trial: trial["value"])
    assert facts["search"] == {"settings": best["settings"], "value": best["value"], "metric": "f1_micro", "trials": 2}
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert (config.hidden_size, config.poolings) == (
        best["settings"]["hidden_size"],
        best["settings"]["pooling"].split(),
    )
    assert facts["training"]["learning_rate"] == best["settings"]["learning_rate"]
    assert facts["training"]["batch_size"] == best["settings"]["per_device_train_batch_size"]
    assert (
        "the best of 2 trials, by f1_micro on the validation split" in (tmp_path / "model" / "README.md").read_text()
    )
    assert not list((tmp_path / "model" / "search").rglob("checkpoint-*"))


def test_a_search_tries_nets_with_the_embeddings_that_are_given(tmp_path, train_and_validation, bert):
    given = ["--embeddings_from", bert, "--embedding_rate", 0, "--search_trials", 1]
    facts = run_train(tmp_path / "model", *train_and_validation, *given)
    assert facts["training"]["embedding_rate"] == 0
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    weight = AutoModel.from_pretrained(tmp_path / "model").get_input_embeddings().weight
    assert torch.equal(weight[: len(theirs)], theirs)


def test_the_settings_of_a_checkpoint_are_not_searched(tmp_path, trained, train_and_validation):
    arguments = ["--model_name_or_path", trained, "--search_trials", 1, *SHORT, *train_and_validation]
    with pytest.raises(ValueError, match=r"`--search_trials` is for a new net, but this one is that of '.*trained'"):
        run(train, "--output_dir", tmp_path / "model", *arguments)


# Training anew on train and validation


@pytest.fixture(scope="module")
def retraining(files, train_and_validation) -> list[str]:
    more = ["--num_train_epochs", "4", "--learning_rate", "0.03", "--retrain_with_validation"]
    return [*train_and_validation, "--test_file", files["test"], *more]


@pytest.fixture(scope="module")
def retrained(tmp_path_factory, retraining) -> Path:
    folder = tmp_path_factory.mktemp("models") / "retrained"
    run_train(folder, *retraining, "--linear_baseline")
    return folder


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
    assert "those of the models before retraining" in (retrained / "README.md").read_text()
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
    assert "of it there are no figures on the validation split" in card.text
    assert 'the thresholds of "before retraining, one per label"' in card.text


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
        while child.poll() is None and train.last_checkpoint(tmp_path / "killed", bool(more)) is None:
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


@pytest.mark.parametrize("state", [None, "", '{"epoch": 2.0, "global'], ids=["none", "empty", "cut"])
def test_a_half_written_checkpoint_is_passed_over(tmp_path, state, capsys):
    for step in (8, 16, 120):
        (tmp_path / f"checkpoint-{step}").mkdir()
    if state is not None:
        (tmp_path / "checkpoint-120" / "trainer_state.json").write_text(state)
    assert train.prepare_output(tmp_path) is None
    assert capsys.readouterr().out == ""
    for step in (8, 16):
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert train.prepare_output(tmp_path) == str(tmp_path / "checkpoint-16")
    (tmp_path / "checkpoint-8" / "raw_weights.safetensors").touch()
    assert train.prepare_output(tmp_path, averages_weights=True) == str(tmp_path / "checkpoint-8")


def test_a_finished_folder_is_never_overwritten(trained):
    before = weights_of(trained)
    with pytest.raises(FileExistsError, match=r"holds a finished model; give another `--output_dir`"):
        run_train(trained)
    assert are_equal(weights_of(trained), before)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    with mock.patch.object(train, "read_data") as read_data:
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(OSError, match=r"Cannot write to .*; give another `--output_dir`"):
                run_train(folder)
    assert not read_data.called


# Rows


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.jsonl.gz", "train.parquet", "v1.2.jsonl"])
def test_rows_are_read_from_files_with_lists(tmp_path, name):
    rows = make_rows(5)
    if name.endswith("parquet"):
        Dataset.from_list(rows).to_parquet(tmp_path / name)
    else:
        write_jsonl(tmp_path / name, rows)
    found = train_data.load_rows(train.DataArguments(train_file=str(tmp_path / name)))
    assert {split: part.to_list() for split, part in found.items()} == {"train": rows}


@pytest.mark.parametrize(("name", "delimiter"), [("train.csv", ","), ("train.tsv", "\t")])
def test_words_for_nothing_are_words_and_empty_fields_are_missing(tmp_path, name, delimiter):
    rows = [{"text": text, "labels": label} for text, label in [("NA", "a"), ("null", "None"), ("oak, elm", "")]]
    path = write_csv(tmp_path / name, rows, delimiter)
    found = train_data.load_rows(train.DataArguments(train_file=path, test_file=path))
    assert found["train"].to_list() == [*rows[:2], {"text": "oak, elm", "labels": None}] == found["test"].to_list()


def test_splits_that_have_no_part_in_it_are_left_out(tmp_path):
    for split in ("train", "test", "unsupervised"):
        (tmp_path / split).mkdir()
        write_jsonl(tmp_path / f"{split}.jsonl", make_rows(3))
    files = "".join(f"  - {{split: {split}, path: {split}.jsonl}}\n" for split in ("train", "test", "unsupervised"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    assert list(train_data.load_rows(train.DataArguments(dataset_name=str(tmp_path)))) == ["train", "test"]


def test_rows_that_cannot_be_read_are_told_by_file(tmp_path):
    good = write_jsonl(tmp_path / "good.jsonl", make_rows(3))
    for name, text in {"a.jsonl": "", "b.jsonl": "\n\n", "c.csv": "text,labels\n", "d.jsonl": "no json\n"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=rf"Cannot read .*{name}.* as .*; each file must hold rows"):
            train_data.load_rows(train.DataArguments(train_file=str(tmp_path / name)))
    wrong = {
        r"differ in format: .*; give them all in one": {"train_file": good, "test_file": str(tmp_path / "c.csv")},
        r"No file '.*nowhere.jsonl'; give the path": {"train_file": str(tmp_path / "nowhere.jsonl")},
        r"Cannot tell the format of '.*test_scripts.py'; its name must end in": {"train_file": __file__},
        r"but no `--train_file`": {"test_file": good},
    }
    for message, arguments in wrong.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train_data.load_rows(train.DataArguments(**arguments))


def test_without_validation_a_part_of_train_is_split_off_and_without_test_none_is_reported(tmp_path, capsys):
    rows = [{"body": row["text"], "tags": "; ".join(row["labels"])} for row in make_rows(100)]
    path = write_csv(tmp_path / "rows.csv", rows)
    facts = run_train(tmp_path / "model", "--train_file", path, "--label_separator", ";", "--validation_share", 0.2)
    size = facts["rows"]["validation"]
    assert facts["rows"] == {"train": 100 - size, "validation": size} and 15 <= size <= 25
    assert f"No validation split: {size} texts were split off train" in capsys.readouterr().out
    assert "test" not in facts and "There was no test split" in (tmp_path / "model" / "README.md").read_text()


def test_one_column_a_label_is_taken_by_naming_the_columns(tmp_path):
    rows = [{"text": row["text"]} | {name: int(name in row["labels"]) for name in LABELS} for row in make_rows(60)]
    path = write_csv(tmp_path / "rows.csv", rows)
    facts = run_train(tmp_path / "model", "--train_file", path, "--label_column", *LABELS[1:])
    assert [row["label"] for row in facts["labels"]] == LABELS[1:]


@pytest.mark.parametrize("is_file", [False, True])
def test_labels_may_be_named_one_by_one_or_in_a_file(tmp_path, is_file):
    ids = [row | {"labels": [LABELS.index(name) for name in row["labels"]]} for row in make_rows(80)]
    path = write_jsonl(tmp_path / "rows.jsonl", ids)
    names = ["x", "y z", "w"]
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
    given = [tmp_path / "labels.txt"] if is_file else names
    run_train(tmp_path / "model", "--train_file", path, "--label_list", *given)
    assert AutoConfig.from_pretrained(tmp_path / "model").label_names == names


@pytest.mark.parametrize("always", [True, False], ids=["on_every_text", "on_some"])
def test_a_single_label_is_enough(tmp_path, always):
    rows = [row | {"labels": ["lighting"] * (always or "lamp" in row["text"])} for row in make_rows(60)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    facts = run_train(tmp_path / "model", "--train_file", path, "--linear_baseline")
    assert [row["label"] for row in facts["labels"]] == ["lighting"]


def test_a_label_that_train_lacks_is_an_error_or_dropped(tmp_path, train_and_validation, capsys):
    test_rows = [{"text": "lamp", "labels": ["lighting", "unheard"]}, *make_rows(5)]
    arguments = [*train_and_validation, "--test_file", write_jsonl(tmp_path / "test.jsonl", test_rows)]
    with pytest.raises(ValueError, match=r"not in the train split, 1 in 'test': \['unheard'\]"):
        run_train(tmp_path / "model", *arguments)
    facts = run_train(tmp_path / "model", *arguments, "--unknown_labels", "drop")
    assert [row["label"] for row in facts["labels"]] == LABELS
    assert "1 unknown labels were dropped from test" in capsys.readouterr().out


def test_a_label_without_a_positive_in_validation_has_a_threshold_all_the_same(tmp_path, files):
    rows = [row | {"labels": [name for name in row["labels"] if name != "office"]} for row in make_rows(40)]
    path = write_jsonl(tmp_path / "validation.jsonl", rows)
    facts = run_train(tmp_path / "model", "--train_file", files["train"], "--validation_file", path)
    assert [(row["label"], row["support"]) for row in facts["labels"]][1] == ("office", 0)
    assert all(0 < row["threshold"] < 1 for row in facts["labels"])


NO_LABEL, NO_TEXT = {"text": "lamp", "labels": []}, {"text": None, "labels": ["lighting"]}


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        ("train", [NO_LABEL] * 20, "holds no label at all"),
        ("validation", [NO_LABEL] * 20, "No validation row has a label"),
        ("train", [*make_rows(20), NO_TEXT], "is None"),
        ("test", [*make_rows(20), NO_TEXT], "Row 20 of split 'test' has None as its text"),
        ("train", [{"words": 1, "labels": ["lighting"]}] * 20, "Which column holds the texts"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_told_before_training(tmp_path, files, split, rows, message):
    bad = write_jsonl(tmp_path / "bad.jsonl", rows)
    arguments = ["--train_file", files["train"], f"--{split}_file", bad]
    with mock.patch.object(train, "Trainer") as trainer, pytest.raises((ValueError, TypeError), match=message):
        run_train(tmp_path / "model", *arguments)
    assert not trainer.called


# What training starts from


def start(model_arguments: dict, encoding, max_length: int = 256):
    arguments, texts = train.ModelArguments(**model_arguments), [row["text"] for row in make_rows(60)]
    tokenizer, vectors = train.make_tokenizer(arguments, train.DataArguments(max_length=max_length), texts)
    return tokenizer, train.make_model(arguments, tokenizer, vectors, encoding, texts)


def test_embeddings_start_from_a_file_of_word_vectors(tmp_path, encoding, capsys):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3\ndesk 4 5 6\nunseen 7 8 9\n")
    tokenizer, model = start({"embeddings_from": str(tmp_path / "vectors.txt")}, encoding)
    assert model.config.embedding_size == 3
    ids = tokenizer("lamp desk")["input_ids"]
    assert model.get_input_embeddings().weight[ids].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert f"2 of {len(tokenizer)} embeddings start from" in capsys.readouterr().out


def test_the_label_attention_starts_from_the_names_unless_told_otherwise(trained, encoding, capsys):
    given = {"vocab_size": 60, "pooling": ["label_attention"]}
    tokenizer, model = start(given, encoding)
    said = "of 3 labels starts from their names."
    assert said in capsys.readouterr().out
    known = [name for name in LABELS if tokenizer.unk_token_id not in tokenizer(name)["input_ids"]]
    state = model.eval().rnn(**tokenizer(known[0], return_tensors="pt")).last_hidden_state[0].mean(0)
    query = model.label_attention.query.weight[encoding.label_names.index(known[0])]
    assert (state @ query).item() == pytest.approx(6, rel=1e-4)
    for arguments in (
        given | {"label_name_queries": False},
        given | {"pooling": ["max"]},
        # A head that is kept has learnt more than the names.
        {"model_name_or_path": str(trained)},
    ):
        start(arguments, encoding)
        assert said not in capsys.readouterr().out
    other_labels = encode_labels(Dataset.from_list(make_rows(60, ["lux", *LABELS[1:]])))[1]
    start({"model_name_or_path": str(trained)}, other_labels)
    assert said in capsys.readouterr().out


def test_labels_of_whose_names_nothing_is_known_have_no_attention_unless_it_is_asked_for(encoding, bert, capsys):
    said = "Most labels' names have no word in the training texts"
    known = replace(encoding, label_names=["a_lamp", "lux", "desk"])
    assert start({}, known)[1].config.pooling == ["attention", "max", "label_attention"]
    assert start({"embeddings_from": str(bert)}, encoding)[1].config.pooling == ["attention", "max", "label_attention"]
    assert said not in capsys.readouterr().out
    assert start({}, encoding)[1].config.pooling == ["attention", "max"]
    assert said in capsys.readouterr().out
    assert start({"pooling": ["label_attention"]}, encoding)[1].config.pooling == "label_attention"
    assert said not in capsys.readouterr().out


def test_a_vector_that_is_not_finite_is_an_error(tmp_path, encoding):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3\ndesk 4 nan 6\n")
    with pytest.raises(ValueError, match="line 2, 'desk', holds a value that is not a finite number"):
        start({"embeddings_from": str(tmp_path / "vectors.txt")}, encoding)


def test_embeddings_start_from_another_model(tmp_path, train_and_validation, bert, encoding):
    _, model = start({"embeddings_from": str(bert)}, encoding)
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    words = AutoTokenizer.from_pretrained(bert)("lamp oak")["input_ids"]
    tokenizer, model = start({"embeddings_from": str(bert)}, encoding)
    ours = model.get_input_embeddings().weight[tokenizer("lamp oak")["input_ids"]]
    assert torch.equal(ours, theirs[words])
    facts = run_train(tmp_path / "model", *train_and_validation, "--embeddings_from", bert)
    assert AutoConfig.from_pretrained(tmp_path / "model").embedding_size == 6
    assert facts["training"]["embedding_rate"] == 0.1


def test_a_vocabulary_that_is_not_pruned_reads_words_that_train_lacks(bert, encoding, monkeypatch):
    unseen = AutoTokenizer.from_pretrained(bert)("garden oak", add_special_tokens=False)["input_ids"]
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    arguments = train.ModelArguments(embeddings_from=str(bert))
    tokenizer, vectors = train.make_tokenizer(arguments, train.DataArguments(), ["a lamp"])
    model = train.make_model(arguments, tokenizer, vectors, encoding, ["a lamp"])
    assert tokenizer("garden oak", add_special_tokens=False)["input_ids"] == unseen
    assert torch.equal(model.get_input_embeddings().weight[unseen], theirs[unseen])
    pruned, _ = train.make_tokenizer(replace(arguments, prune_vocabulary=True), train.DataArguments(), ["a lamp"])
    assert len(pruned) < len(tokenizer) == len(theirs)
    monkeypatch.setattr(importlib.import_module("train_model"), "LARGEST_WHOLE_VOCABULARY", len(theirs) - 1)
    large, _ = train.make_tokenizer(arguments, train.DataArguments(), ["a lamp"])
    assert len(large) == len(pruned)


def test_a_vocabulary_with_gaps_is_made_to_count_from_zero(tmp_path, bert, encoding):
    shutil.copytree(bert, tmp_path / "bert")
    path = tmp_path / "bert" / "tokenizer.json"
    state = json.loads(path.read_text())
    vocabulary = state["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    size = len(vocabulary)
    vocabulary[last] += 1
    path.write_text(json.dumps(state))
    bigger = BertModel.from_pretrained(bert)
    bigger.resize_token_embeddings(size + 1)
    bigger.save_pretrained(tmp_path / "bert")
    tokenizer, model = start({"embeddings_from": str(tmp_path / "bert")}, encoding)
    assert max(tokenizer.get_vocab().values()) < len(tokenizer) == model.config.vocab_size


@pytest.mark.parametrize(("max_length", "labels", "most"), [(256, 28, 256), (256, 8_207, 127), (4_096, 80_000, 1)])
def test_an_evaluation_batch_holds_as_many_texts_as_label_attention_has_room_for(max_length, labels, most):
    assert train_settings.evaluation_batch_size(max_length, labels) == most


def test_a_file_of_word_vectors_is_told_from_a_model(tmp_path, bert):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3")
    of_a_file = train.ModelArguments(embeddings_from=str(tmp_path / "vectors.txt"))
    assert not train.takes_embeddings_of_a_model(of_a_file)
    assert train.takes_embeddings_of_a_model(train.ModelArguments(embeddings_from=str(bert)))
    assert not train.takes_embeddings_of_a_model(train.ModelArguments())


def test_frozen_embeddings_stay_as_they_start_while_the_rest_is_trained(tmp_path, train_and_validation, bert):
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    arguments = ["--embeddings_from", bert, "--embedding_rate", "0", "--prune_vocabulary", "false"]
    facts = run_train(tmp_path / "model", *train_and_validation, *arguments)
    weights = weights_of(tmp_path / "model")
    words = slice(1, None)  # but for the padding
    assert torch.equal(weights["rnn.embed_tokens.weight"][words], theirs[words])
    assert facts["training"]["embedding_rate"] == 0
    assert "embeddings | not trained" in (tmp_path / "model" / "README.md").read_text()
    going_on = ["--model_name_or_path", tmp_path / "model", "--embedding_rate", "0"]
    run(train, "--output_dir", tmp_path / "further", *SHORT, *train_and_validation, *going_on)
    further = weights_of(tmp_path / "further")
    changed = {name for name in weights if not torch.equal(weights[name], further[name])}
    assert changed == weights.keys() - {"rnn.embed_tokens.weight"}


@pytest.mark.parametrize("rate", ["0", "0.1"])
def test_new_embeddings_learn_at_the_rate_of_the_rest(tmp_path, train_and_validation, rate):
    with pytest.raises(ValueError, match=r"`--embedding_rate` is .*, but the embeddings are new"):
        run_train(tmp_path / "model", *train_and_validation, "--embedding_rate", rate)


@pytest.mark.parametrize("prune", [False, True])
def test_only_the_vocabulary_of_another_model_is_pruned_or_kept_whole(tmp_path, encoding, prune):
    (tmp_path / "vectors.txt").write_text("lamp 1 2 3")
    for source in (None, str(tmp_path / "vectors.txt")):
        with pytest.raises(ValueError, match=f"`--prune_vocabulary` is {str(prune).lower()}, but only a model"):
            start({"embeddings_from": source, "prune_vocabulary": prune}, encoding)


def test_a_tokenizer_without_a_pad_token_is_told_of(tmp_path, bert, encoding):
    shutil.copytree(bert, tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(bert)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="has no pad token; save it with one"):
        start({"embeddings_from": str(tmp_path / "bert"), "prune_vocabulary": False}, encoding)


def test_a_trained_folder_with_the_same_labels_keeps_its_head(trained, encoding):
    tokenizer, model = start({"model_name_or_path": str(trained)}, encoding, max_length=7)
    assert are_equal(model.state_dict(), weights_of(trained))
    assert model.config.thresholds == AutoConfig.from_pretrained(trained).thresholds
    assert model.config.label_frequencies == encoding.frequencies
    assert tokenizer.model_max_length == 7


@pytest.mark.parametrize("names", [["a", "b", "c"], [*LABELS, "lux"], LABELS[1:], [*LABELS[1:], "lux"]], ids=" ".join)
def test_a_trained_folder_with_other_labels_gets_a_new_head(trained, names):
    encoding = encode_labels(Dataset.from_list(make_rows(60, names)))[1]
    _, model = start({"model_name_or_path": str(trained)}, encoding)
    weights, old = model.state_dict(), weights_of(trained)
    assert [name for name in weights if not torch.equal(weights[name], old[name])] == [
        "label_attention.query.weight",
        "classifier.weight",
        "classifier.bias",
    ]
    assert model.config.label_names == sorted(names) and model.config.thresholds is None
    assert model.classifier.bias.tolist() == pytest.approx(model.config.label_bias)


def test_fine_tuning_on_other_labels_saves_the_new_labels_and_thresholds(tmp_path, trained):
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows(80, ["x", "y", "z"]))
    arguments = ["--train_file", path, "--model_name_or_path", trained, "--balance_positives"]
    run(train, "--output_dir", tmp_path / "model", *SHORT, *arguments)
    assert metrics_of(tmp_path / "model")["training"]["started_from"] == "trained"
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert config.label_names == ["x", "y", "z"] == list(config.thresholds) == list(config.label_frequencies)
    assert config.positive_weights == "balanced"


def test_balanced_positives_weigh_rare_labels_up(encoding):
    _, model = start({"balance_positives": True}, encoding)
    frequencies = [encoding.frequencies[name] for name in encoding.label_names]
    assert model.positive_weights.tolist() == pytest.approx([(1 - share) / share for share in frequencies])
    assert start({}, encoding)[1].positive_weights.tolist() == [1, 1, 1]


def test_the_objective_is_that_of_the_arguments_whatever_the_net_starts_from(trained, encoding):
    given = {"objective": "focal", "objective_parameters": ["gamma=3"], "label_smoothing": 0.1}
    for more in ({}, {"model_name_or_path": str(trained)}):
        config = start(given | more, encoding)[1].config
        assert (config.objective, config.objective_parameters, config.label_smoothing) == ("focal", {"gamma": 3}, 0.1)
        config = start(more, encoding)[1].config
        assert (config.objective, config.objective_parameters, config.label_smoothing) == ("bce", None, 0)
        with pytest.raises(StrictDataclassError, match="holds 'margin'; 'focal' takes"):
            start(given | more | {"objective_parameters": ["margin=3"]}, encoding)


@pytest.mark.parametrize("wrong", ["gamma", "gamma=", "gamma=two", "gamma=true", "gamma=[2]", "gamma 2"])
def test_a_parameter_of_the_objective_that_is_no_number_is_told(wrong):
    with pytest.raises(ValueError, match=re.escape(f"holds {wrong!r}; give each name once, as gamma=2")):
        _ = train.ModelArguments(objective_parameters=["margin=0.1", wrong]).objective_numbers


def test_parameters_of_the_objective_are_whole_numbers_or_fractions_each_given_once():
    numbers = train.ModelArguments(objective_parameters=["samples=8", "cross_entropy=.5", "mu=1e-3"]).objective_numbers
    assert repr(numbers) == "{'samples': 8, 'cross_entropy': 0.5, 'mu': 0.001}"
    with pytest.raises(ValueError, match="holds 'gamma=2'; give each name once"):
        _ = train.ModelArguments(objective_parameters=["gamma=1", "gamma=2"]).objective_numbers


def test_a_trained_net_goes_on_with_its_expected_f1(tmp_path, trained, train_and_validation):
    objective = ["--objective", "expected_f1", "--objective_parameters", "samples=2", "cross_entropy=0.2"]
    arguments = [*train_and_validation, "--model_name_or_path", trained, *objective]
    run(train, "--output_dir", tmp_path / "model", *SHORT, *arguments)
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert (config.objective, config.objective_parameters) == ("expected_f1", {"samples": 2, "cross_entropy": 0.2})
    assert not are_equal(weights_of(tmp_path / "model"), weights_of(trained))
    assert "| loss | expected_f1, samples 2, cross_entropy 0.2 |" in (tmp_path / "model" / "README.md").read_text()


def test_a_checkpoint_that_cannot_be_gone_on_from_is_told(tmp_path, trained, bert, encoding):
    shutil.copytree(trained, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    wrong = {
        r"The weights in '.*cut' are broken .*; fetch or save them again": {
            "model_name_or_path": str(tmp_path / "cut")
        },
        r"is a 'bert' model; give a 'rnn_multilabel' one": {"model_name_or_path": str(bert)},
        r"brings its own tokenizer": {"model_name_or_path": str(trained), "embeddings_from": str(bert)},
        r"\['cell_type', 'pooling'\] are given, but the net is that of": {
            "model_name_or_path": str(trained),
            "cell_type": "rnn",
            "pooling": ["max"],
        },
    }
    for message, arguments in wrong.items():
        with pytest.raises(ValueError, match=message):
            start(arguments, encoding)


# While it trains


def test_epochs_are_compared_at_their_best_common_threshold():
    logits = np.array([[-3.0, -4.0], [-5.0, -3.5], [-2.0, -6.0]])
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -100.0]])
    for predictions in (logits, (logits, np.zeros(3))):
        found = train.compute_metrics(EvalPrediction(predictions=predictions, label_ids=truth))
        assert found["f1_micro"] == 1
        assert 1 / (1 + math.exp(4)) < found["threshold"] < 1 / (1 + math.exp(3.5))


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


# Tagging


TEXTS = ["lamp", "desk chair blue", "", "wood lamp", "pen " * 11, "desk wood desk wood", "garden"]


@pytest.fixture(scope="module")
def tagger(trained):
    return pipeline("multi-label-tagging", model=str(trained))


@pytest.fixture(scope="module")
def tags(tagger) -> list[list[str]]:
    """The labels of TEXTS, each text alone."""
    found = [[tag["label"] for tag in tagger(text)] for text in TEXTS]
    assert len(set(map(tuple, found))) > 2
    return found


def tag_file(trained: Path, path, *arguments) -> list[dict]:
    output = Path(path).parent / "tagged.jsonl"
    run(tag, "--model", trained, "--input", path, "--output", output, *arguments)
    return read_jsonl(output)


def write_rows(path: Path, rows: list[dict]) -> Path:
    """In the format that the name says."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(plain)
    elif plain.suffix == ".jsonl":
        write_jsonl(plain, rows)
    elif plain.suffix == ".txt":
        plain.write_text("".join(row["text"] + "\n" for row in rows))
    else:
        write_csv(plain, rows, "\t" if plain.suffix == ".tsv" else ",")
    if path != plain:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "a.txt", "a.txt.gz", "a.parquet"]
)
def test_rows_of_every_format_keep_their_order_and_their_columns(tmp_path, tagger, tags, name):
    rows = [{"id": str(index), "text": text, "né": "ü, 漢"} for index, text in enumerate(TEXTS)]
    if ".txt" in name:
        rows = [{"text": row["text"]} for row in rows]
    read = tag.read_rows(str(write_rows(tmp_path / name, rows)), "text")
    tagged = tag.tag_rows(tagger, read, tag.Arguments(model=[]))
    assert list(tagged) == [row | {"predicted_labels": found} for row, found in zip(rows, tags, strict=True)]


def test_a_file_is_tagged_into_a_file(tmp_path, trained, tags):
    rows = [{"body": text, "né": "漢", "n": None, "list": [1, 2.5]} for text in TEXTS]
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    tagged = tag_file(trained, path, "--text_column", "body", "--tags_column", "tags", "--batch_size", 3)
    assert tagged == [row | {"tags": found} for row, found in zip(rows, tags, strict=True)]


def test_lines_of_the_standard_input_are_tagged_to_the_standard_output(trained, tags, capsys):
    with mock.patch.object(sys, "stdin", io.StringIO("\n".join(TEXTS))):
        run(tag, "--model", trained)
    output = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert output == [{"text": text, "predicted_labels": found} for text, found in zip(TEXTS, tags, strict=True)]


@pytest.mark.parametrize(
    "options",
    [{"scores": True}, {"threshold": 0.0}, {"threshold": 1.0, "at_least_one": True}, {"threshold": 0.0, "top_k": 2}],
    ids=str,
)
def test_options_reach_the_pipeline(tmp_path, trained, tagger, options):
    path = write_rows(tmp_path / "in.txt", [{"text": text} for text in TEXTS])
    flags = [part for name, value in options.items() for part in [f"--{name}"] + [value] * (value is not True)]
    found = [row["predicted_labels"] for row in tag_file(trained, path, *flags)]
    with_scores = options.pop("scores", False)
    expected = [tagger(text, **options) for text in TEXTS]
    if with_scores:
        assert [[tag["label"] for tag in row] for row in found] == [[tag["label"] for tag in row] for row in expected]
        scores = [[tag["score"] for row in rows for tag in row] for rows in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    else:
        assert found == [[tag["label"] for tag in row] for row in expected]


def test_several_models_tag_as_one(tmp_path, trained, retrained, tags):
    path = write_rows(tmp_path / "in.txt", [{"text": text} for text in TEXTS])
    output = tmp_path / "out.jsonl"
    run(tag, "--model", trained, retrained, "--input", path, "--output", output, "--threshold", 0, "--scores")
    taggers = [pipeline("multi-label-tagging", model=str(folder)) for folder in (trained, retrained)]
    mean = (sum(each.logits(TEXTS) for each in taggers) / 2).sigmoid().tolist()
    for row, scores in zip(read_jsonl(output), mean, strict=True):
        found = {tag["label"]: tag["score"] for tag in row["predicted_labels"]}
        assert found == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-6)
    run(tag, "--model", trained, trained, "--input", path, "--output", output)
    assert [row["predicted_labels"] for row in read_jsonl(output)] == tags


def test_models_with_other_labels_do_not_tag_as_one(tmp_path, trained):
    shutil.copytree(trained, tmp_path / "other")
    config = json.loads((trained / "config.json").read_text())
    names = ["lighting", "garden", "timber"]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    path = write_rows(tmp_path / "in.txt", [{"text": "lamp"}])
    with pytest.raises(
        ValueError, match=r"other' are not those of .*trained': it lacks \['office'\] and adds \['garden'"
    ):
        run(tag, "--model", trained, tmp_path / "other", "--input", path)


def test_the_number_of_threads_can_be_set(tmp_path, trained):
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows(3))
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            run(
                tag,
                "--model",
                trained,
                "--input",
                path,
                "--output",
                tmp_path / f"{threads}.jsonl",
                "--threads",
                threads,
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="`--threads` is 0; it must be at least 1"):
        run(tag, "--model", trained, "--input", path, "--threads", 0)


@pytest.mark.parametrize("window", [1, 2, len(TEXTS)])
def test_windows_change_nothing(tagger, tags, window):
    rows = [{"text": text} for text in TEXTS]
    tagged = tag.tag_rows(tagger, rows, tag.Arguments(model=[], window=window, batch_size=2))
    assert [row["predicted_labels"] for row in tagged] == tags


def test_no_more_rows_are_read_than_a_window_holds(tagger):
    taken = count()
    endless = ({"text": "lamp", "n": next(taken)} for _ in count())
    tagged = tag.tag_rows(tagger, endless, tag.Arguments(model=[], window=4))
    assert [row["n"] for row in islice(tagged, 5)] == [0, 1, 2, 3, 4]
    assert next(taken) == 8


@pytest.mark.parametrize(("name", "bad"), [("a.jsonl", b"{"), ("a.csv", b"x,y,z\n"), ("a.txt", b"\xff\n")])
def test_a_file_is_read_as_it_is_needed(tmp_path, name, bad):
    path = write_rows(tmp_path / name, [{"text": "lamp"}] * 50_000)
    path.write_bytes(path.read_bytes() + bad)
    rows = tag.read_rows(str(path), "text")
    assert list(islice(rows, 40_000)) == [{"text": "lamp"}] * 40_000
    with pytest.raises(ValueError):
        list(rows)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.csv.gz", "a.parquet"])
def test_an_empty_file_gives_an_empty_file(tmp_path, trained, name):
    path = tmp_path / name
    if name == "a.parquet":
        Dataset.from_dict({"text": []}).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(b"text\n") if name.endswith("gz") else b"")
    assert tag_file(trained, path) == []


def test_a_row_without_a_text_is_told_with_its_number(tagger):
    rows = [{"text": "lamp"}] * 5 + [{"body": "desk"}]
    tagged = tag.tag_rows(tagger, rows, tag.Arguments(model=[], window=4))
    assert len(list(islice(tagged, 4))) == 4
    with pytest.raises(ValueError, match=r"Row 6 has None as `text`.*\['body'\].*`--text_column`"):
        next(tagged)
    with pytest.raises(ValueError, match=r"Row 1 has a column 'text' already; give another `--tags_column`"):
        list(tag.tag_rows(tagger, rows, tag.Arguments(model=[], tags_column="text")))


def test_files_of_other_programs_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufefftext,n\r\nlamp,1\r\n".encode())
    assert list(tag.read_rows(str(tmp_path / "a.csv"), "text")) == [{"text": "lamp", "n": "1"}]
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "lamp"}\r\n\r\n{"text": "desk"}\n\n')
    assert list(tag.read_rows(str(tmp_path / "a.jsonl"), "text")) == [{"text": "lamp"}, {"text": "desk"}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"text": "lamp"}\n{"text"\n', "Line 2 of .* is no JSON"),
        ("a.jsonl", '["lamp"]\n', "Line 1 of .* must be a JSON object"),
        ("a.csv", "text,n\nlamp,1\nlamp, oak,2\n", "Row 2 of .* has more fields than the header, .*in quotes"),
        ("a.doc", "lamp", "Cannot tell the format"),
        ("a", "lamp", "Cannot tell the format"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list(tag.read_rows(str(tmp_path / name), "text"))


def test_the_input_is_never_overwritten(tmp_path, trained):
    path = Path(write_jsonl(tmp_path / "tagged.jsonl", [{"text": "lamp"}]))
    with pytest.raises(ValueError, match=r"is the input, .*; give another file"):
        tag_file(trained, path)
    assert read_jsonl(path) == [{"text": "lamp"}]
    with pytest.raises(FileNotFoundError, match=r"No file '.*nowhere.txt' to tag"):
        tag_file(trained, tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="`--window` is 0; it must be at least 1"):
        tag_file(trained, write_rows(tmp_path / "a.txt", [{"text": "lamp"}]), "--window", 0)
