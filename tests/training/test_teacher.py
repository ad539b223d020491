"""From a teacher and texts to a folder that is taught."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import distill
import numpy as np
import pytest
import torch
from helpers import (
    LABELS,
    WIDE,
    logits_by_hand,
    make_bert,
    make_rows,
    make_teacher,
    metrics_of,
    run,
    weights_of,
    write_jsonl,
)
from huggingface_hub.errors import StrictDataclassError
from scipy.special import expit
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, XLMRobertaConfig

from hf_rnn_multilabel.training.distillation import label_order


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("models") / "wise")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return make_bert(tmp_path_factory.mktemp("models") / "encoder", **WIDE)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    parts = {"train": make_rows(64), "validation": make_rows(32, seed=1), "test": make_rows(24, seed=2)}
    parts["unlabelled"] = [{"text": row["text"], "labels": "not read"} for row in make_rows(16, seed=3)]
    return {split: write_jsonl(folder / f"{split}.jsonl", rows) for split, rows in parts.items()}


@pytest.fixture
def run_distill(files):
    """Runs the script; returns what metrics.json holds."""

    def run_with_files(output_dir: Path, *arguments) -> dict:
        small = ["--hidden_size", "8", "--embedding_size", "8", "--num_train_epochs", "1", "--teacher_epochs", "1"]
        small += ["--use_cpu", "--disable_tqdm", "true"]
        given = [part for split in ("train", "validation", "test") for part in (f"--{split}_file", files[split])]
        run(distill, "--output_dir", output_dir, *given, *small, *arguments)
        return metrics_of(output_dir)

    return run_with_files


def test_a_text_classifier_teaches_on_labelled_and_unlabelled_texts(tmp_path, run_distill, teacher, files):
    with mock.patch.object(distill, "train_tagger", wraps=distill.train_tagger) as train_tagger:
        more = ["--unlabelled_file", files["unlabelled"], "--distillation_weight", 0.25, "--linear_baseline"]
        facts = run_distill(tmp_path / "student", "--teacher", teacher, "--distillation_temperature", 2, *more)
    data = train_tagger.call_args.args[0]
    rows = make_rows(64) + make_rows(16, seed=3)
    train = data.dataset["train"]
    assert train["text"][:] == [row["text"] for row in rows] == data.texts["train"]
    logits = logits_by_hand(teacher, data.texts["train"])
    np.testing.assert_allclose(train["teacher_logits"][:], logits, atol=1e-5)
    truth = np.array([[label in row["labels"] for label in LABELS] for row in rows[:64]])
    np.testing.assert_allclose(train["labels"][:], [*truth, *expit(logits[64:])], atol=1e-5)
    assert all("teacher_logits" not in data.dataset[split].column_names for split in ("validation", "test"))

    assert facts["rows"] == {"train": 80, "validation": 32, "test": 24}
    assert facts["distillation"] == {
        "teachers": ["wise"],
        "fine_tuned": False,
        "weight": 0.25,
        "temperature": 2.0,
        "unlabelled_rows": 16,
    }
    # The wide head is fitted to the labels alone, not to the teacher's.
    expected = facts["training"]["bag_weight"] * truth.sum(0) / (truth.sum(0) + 30)
    np.testing.assert_allclose(weights_of(tmp_path / "student")["wide.mixing_weights"], expected, atol=1e-6)
    for split, number in {"validation": 32, "test": 24}.items():
        models = [row["model"] for row in facts[split]]
        assert models == ["this model"] * 3 + ["TF-IDF + LR"] * 3 + ["teacher"] * 3
        part = make_rows(number, seed=1 if split == "validation" else 2)
        scores = expit(logits_by_hand(teacher, [row["text"] for row in part]))
        truth = np.array([[label in row["labels"] for label in LABELS] for row in part])
        shares = 1 - ((scores >= 0.5) != truth).mean()
        assert facts[split][6]["hamming_loss"] == pytest.approx(1 - shares, abs=1e-6)


def test_the_card_names_the_teacher_and_no_private_path(tmp_path, run_distill, teacher):
    facts = run_distill(tmp_path / "student", "--teacher", teacher)
    card = (tmp_path / "student" / "README.md").read_text()
    assert "| teacher | wise |" in card and "| distillation | weight 0.5, temperature 1.0 |" in card
    assert "distilled from" in card and "| teacher, 0.5 |" in card
    assert str(teacher.parent) not in card + json.dumps(facts)


def test_several_teachers_teach_by_the_mean_of_their_logits(tmp_path, run_distill, teacher):
    other = make_teacher(tmp_path / "other", seed=3)
    arguments = [tmp_path / "student", "--teacher", teacher, other]
    with mock.patch.object(distill, "train_tagger", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run_distill(*arguments)
    with (
        mock.patch.object(distill, "compute_logits", side_effect=AssertionError),
        mock.patch.object(distill, "train_tagger", wraps=distill.train_tagger) as train_tagger,
    ):
        facts = run_distill(*arguments)
    train = train_tagger.call_args.args[0].dataset["train"]
    both = [logits_by_hand(each, train["text"][:]) for each in (teacher, other)]
    assert np.abs(both[0] - both[1]).max() > 0.1
    np.testing.assert_allclose(train["teacher_logits"][:], (both[0] + both[1]) / 2, atol=1e-5)
    assert facts["distillation"]["teachers"] == ["wise", "other"]
    scores = [logits_by_hand(each, [row["text"] for row in make_rows(24, seed=2)]) for each in (teacher, other)]
    truth = np.array([[label in row["labels"] for label in LABELS] for row in make_rows(24, seed=2)])
    wrong = [((logits >= 0) != truth).mean() for logits in (sum(scores) / 2, *scores)]
    assert wrong[0] not in wrong[1:]
    (row,) = [row for row in facts["test"] if (row["model"], row["thresholds"]) == ("teacher", "0.5")]
    assert row["hamming_loss"] == pytest.approx(wrong[0], abs=1e-6)
    card = (tmp_path / "student" / "README.md").read_text()
    assert "| teacher | wise, other, the mean of their logits |" in card


def test_an_encoder_is_made_the_teacher_first_and_a_killed_run_computes_nothing_twice(
    tmp_path, run_distill, encoder, capsys
):
    arguments = [tmp_path / "student", "--teacher_from", encoder, "--teacher_learning_rate", 1e-3]
    with mock.patch.object(distill, "train_tagger", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run_distill(*arguments)
    folder = tmp_path / "student" / "teacher"
    made = metrics_of(folder)
    assert made["name"] == "encoder" and [row["model"] for row in made["test"]] == ["teacher"] * 3
    config = AutoConfig.from_pretrained(folder)
    assert label_order(config, LABELS) == [0, 1, 2]

    with (
        mock.patch.object(distill, "Trainer", side_effect=AssertionError),
        mock.patch.object(distill, "compute_logits", side_effect=AssertionError),
        mock.patch.object(distill, "train_tagger", wraps=distill.train_tagger) as train_tagger,
    ):
        facts = run_distill(*arguments)
    output = capsys.readouterr().out
    assert "Taking the finished classifier in" in output and "Taking the teacher's logits from" in output
    train = train_tagger.call_args.args[0].dataset["train"]
    np.testing.assert_allclose(train["teacher_logits"][:], logits_by_hand(folder, train["text"][:]), atol=1e-5)
    assert facts["distillation"]["teachers"] == ["encoder"] and facts["distillation"]["fine_tuned"]
    assert [row for row in facts["test"] if row["model"] == "teacher"] == made["test"]

    shutil.copytree(folder, tmp_path / "other" / "teacher")
    (tmp_path / "wise").mkdir()
    with pytest.raises(ValueError, match=r"holds a classifier made from 'encoder', not from 'wise'; remove it"):
        run_distill(tmp_path / "other", "--teacher_from", tmp_path / "wise")


def test_a_fine_tuned_encoder_is_better_than_chance_and_knows_no_unknown_label(tmp_path, encoder, files):
    many = write_jsonl(tmp_path / "train.jsonl", make_rows(240))
    args = distill.DataArguments(train_file=many, validation_file=files["validation"])
    data = distill.read_data(args, distill.CardArguments(), seed=0)
    labels = data.labels["train"].copy()
    labels[::4] = -100
    train = data.dataset["train"].remove_columns("labels").add_column("labels", labels.tolist())
    data.dataset["train"] = train.cast_column("labels", data.dataset["validation"].features["labels"])
    settings = {"num_train_epochs": 8, "learning_rate": 0.005, "per_device_train_batch_size": 16}
    more = {"name": "encoder", "use_cpu": True, "disable_tqdm": True}
    found = distill.fine_tune(data, str(encoder), tmp_path / "made", **more, **settings)
    with mock.patch.object(distill, "Trainer", side_effect=AssertionError):
        assert distill.fine_tune(data, str(encoder), tmp_path / "made", **more, **settings) == found
        for other, changed in ((replace(data, labels={}), {}), (data, {"num_train_epochs": 9})):
            with pytest.raises(ValueError, match="made from other rows or with other arguments"):
                distill.fine_tune(other, str(encoder), tmp_path / "made", **more, **settings | changed)
    assert list(found) == ["validation"] and {row.model for row in found["validation"]} == {"encoder"}
    assert max(row.metrics["f1_micro"] for row in found["validation"]) > 0.9


def test_a_fine_tuned_encoder_starts_at_the_shares_of_the_labels(tmp_path, encoder, files):
    args = distill.DataArguments(train_file=files["train"], validation_file=files["validation"])
    data = distill.read_data(args, distill.CardArguments(), seed=0)
    settings = {"num_train_epochs": 1, "learning_rate": 1e-9, "use_cpu": True, "disable_tqdm": True}
    distill.fine_tune(data, str(encoder), tmp_path / "made", **settings)
    made = AutoModelForSequenceClassification.from_pretrained(tmp_path / "made")
    shares = data.labels["train"].mean(0)
    np.testing.assert_allclose(made.classifier.bias.detach(), np.log(shares / (1 - shares)), rtol=1e-4)


@pytest.mark.parametrize("kind", [BertConfig, XLMRobertaConfig])
def test_only_a_new_head_starts_at_the_shares_of_the_labels(kind):
    # The layers within are as wide as the head; XLM-RoBERTa's head comes before its encoder.
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = AutoModelForSequenceClassification.from_config(kind(vocab_size=9, num_labels=4, **sizes))
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    distill.start_from_shares(model, [0.0, 0.5, 0.2, 1.0], new=[])
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())

    distill.start_from_shares(model, [0.0, 0.5, 0.2, 1.0], new=[name for name in before if "classifier" in name])
    changed = {name for name, weights in model.state_dict().items() if not torch.equal(weights, before[name])}
    (head,) = changed
    assert head in ("classifier.bias", "classifier.out_proj.bias")
    expected = np.log([1e-4 / 0.9999, 1, 0.2 / 0.8, 0.9999 / 1e-4])
    np.testing.assert_allclose(model.state_dict()[head], expected, rtol=1e-3)


def test_other_texts_are_not_taken_from_the_cache(tmp_path, teacher):
    def logits(*texts, names=LABELS):
        return distill.teacher_logits(
            str(teacher),
            {"train": list(texts)},
            names,
            tmp_path / "logits.safetensors",
            max_length=9,
            batch_size=2,
            device=torch.device("cpu"),
        )["train"]

    first = logits("lamp", "oak")
    with mock.patch.object(distill, "compute_logits", side_effect=AssertionError):
        np.testing.assert_array_equal(logits("lamp", "oak"), first)
    np.testing.assert_allclose(logits("oak", "lamp"), first[::-1], atol=1e-6)
    np.testing.assert_allclose(logits("oak", "lamp", names=LABELS[::-1]), first[::-1, ::-1], atol=1e-6)


def test_logits_of_an_earlier_model_of_the_folder_are_not_taken_from_the_cache(tmp_path):
    folder, cache = make_teacher(tmp_path / "wise"), tmp_path / "logits.safetensors"
    given = {"max_length": 9, "batch_size": 2, "device": torch.device("cpu")}
    distill.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)
    make_teacher(folder, seed=1)
    logits = distill.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)["train"]
    np.testing.assert_allclose(logits, logits_by_hand(folder, ["lamp"]), atol=1e-6)
    config = AutoConfig.from_pretrained(folder)
    config.id2label = dict(enumerate(LABELS))
    config.save_pretrained(folder)
    renamed = distill.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)["train"]
    np.testing.assert_allclose(renamed, logits[:, ::-1], atol=1e-6)
    (folder / distill.LOGITS.format(1)).write_bytes(b"of another teacher")
    with mock.patch.object(distill, "compute_logits", side_effect=AssertionError):
        distill.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either `--teacher`, a text classifier, or `--teacher_from`"),
        (["--teacher", "a", "--teacher_from", "b"], "Give either `--teacher`"),
        (["--teacher", "a", "--distillation_weight", "2"], "`distillation_weight` is 2.0"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(tmp_path, run_distill, arguments, message):
    with (
        mock.patch.object(distill, "read_data") as read_data,
        pytest.raises((ValueError, StrictDataclassError), match=message),
    ):
        run_distill(tmp_path / "student", *arguments)
    assert not read_data.called


def test_an_unlabelled_row_without_a_text_is_told(tmp_path):
    path = tmp_path / "more.jsonl"
    path.write_text('{"body": "lamp"}\n{"body": null}\n')
    with pytest.raises(ValueError, match=r"Row 1 of .*more.jsonl has None as its text; remove such rows"):
        distill.read_unlabelled(str(path), None)


def test_labels_that_are_named_in_the_unlabelled_file_are_not_read(files):
    texts = distill.read_unlabelled(files["unlabelled"], "text")
    assert texts == [row["text"] for row in make_rows(16, seed=3)]
    with pytest.raises(ValueError, match="nowhere"):
        distill.read_unlabelled(files["unlabelled"], "nowhere")
