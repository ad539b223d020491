"""A larger model as the teacher of a run."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from helpers import (
    LABELS,
    SMALL,
    WIDE,
    logits_by_hand,
    make_bert,
    make_rows,
    make_teacher,
    rows_of,
    run,
    weights_of,
    write_csv,
    write_jsonl,
)
from safetensors import safe_open
from scipy.special import expit
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig, XLMRobertaConfig

from hf_rnn_multilabel.data import DataArguments, load_data
from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.training import steps
from hf_rnn_multilabel.training import teacher as module
from hf_rnn_multilabel.training.distillation import label_order
from hf_rnn_multilabel.training.recipe import Recipe
from hf_rnn_multilabel.training.teacher import LOGITS, DistillationArguments, fine_tune, start_from_frequencies


PREPARE = "hf_rnn_multilabel.training.tagger.steps.prepare"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("models") / "wise")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return make_bert(tmp_path_factory.mktemp("models") / "encoder", **WIDE)


@pytest.fixture(scope="module")
def splits(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    parts = {"train": make_rows(64), "validation": make_rows(32, seed=1), "test": make_rows(24, seed=2)}
    parts["unlabelled"] = [{"text": row["text"], "labels": "not read"} for row in make_rows(16, seed=3)]
    return {split: write_jsonl(folder / f"{split}.jsonl", rows) for split, rows in parts.items()}


@pytest.fixture
def run_distill(splits):
    """Run the command; returns what metrics.json holds."""

    def run_with_files(output_dir: Path, *arguments) -> RunInfo:
        given = [part for split in ("train", "validation", "test") for part in (f"--{split}_file", splits[split])]
        run("distill", "--output_dir", output_dir, *given, *SMALL, "--teacher_epochs", 1, *arguments)
        return RunInfo.load(output_dir)

    return run_with_files


@pytest.fixture
def prepared():
    """The data that the student's training starts from, after its teacher was asked."""
    data = []
    prepare = steps.prepare

    def remember(recipe, given, *args):
        data.append(given)
        return prepare(recipe, given, *args)

    with mock.patch(PREPARE, remember):
        yield data


def truth_of(rows: list[dict]) -> np.ndarray:
    return np.array([[label in row["labels"] for label in LABELS] for row in rows])


def test_a_text_classifier_teaches_on_labelled_and_unlabelled_texts(tmp_path, run_distill, prepared, teacher, splits):
    more = ["--unlabelled_file", splits["unlabelled"], "--distillation_weight", 0.25, "--linear_baseline"]
    info = run_distill(tmp_path / "student", "--teacher", teacher, "--distillation_temperature", 2, *more)
    (data,) = prepared
    rows = make_rows(64) + make_rows(16, seed=3)
    train = data.dataset["train"]
    assert train["text"][:] == [row["text"] for row in rows] == data.texts["train"]
    logits = logits_by_hand(teacher, data.texts["train"])
    np.testing.assert_allclose(train["teacher_logits"][:], logits, atol=1e-5)
    truth = truth_of(rows[:64])
    np.testing.assert_allclose(train["labels"][:], [*truth, *expit(logits[64:])], atol=1e-5)
    assert all("teacher_logits" not in data.dataset[split].column_names for split in ("validation", "test"))

    assert {split: size.rows for split, size in info.splits.items()} == {"train": 80, "validation": 32, "test": 24}
    found = info.distillation
    assert (found.teachers, found.fine_tuned, found.unlabelled_rows) == (["wise"], False, 16)
    assert (found.weight, found.temperature) == (0.25, 2.0)
    # The wide head is fitted to the labels alone, not to the teacher's.
    expected = info.training.mixing_weight * truth.sum(0) / (truth.sum(0) + 30)
    np.testing.assert_allclose(weights_of(tmp_path / "student")["wide.mixing_weights"], expected, atol=1e-6)
    for split, number in {"validation": 32, "test": 24}.items():
        models = [row.model for row in info.results[split]]
        assert models == ["this model"] * 3 + ["TF-IDF + LR"] * 3 + ["teacher"] * 3
        part = make_rows(number, seed=1 if split == "validation" else 2)
        scores = expit(logits_by_hand(teacher, [row["text"] for row in part]))
        wrong = ((scores >= 0.5) != truth_of(part)).mean()
        assert rows_of(info, split)["teacher", "0.5"]["hamming_loss"] == pytest.approx(wrong, abs=1e-6)


def test_the_card_names_the_teacher_and_no_private_path(tmp_path, run_distill, teacher):
    run_distill(tmp_path / "student", "--teacher", teacher)
    card = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert "| teacher | wise |" in card and "| distillation | weight 0.5, temperature 1.0 |" in card
    assert str(teacher.parent) not in card + (tmp_path / "student" / "metrics.json").read_text(encoding="utf-8")


def test_several_teachers_teach_by_the_mean_of_their_logits(tmp_path, run_distill, prepared, teacher):
    other = make_teacher(tmp_path / "other", seed=3)
    arguments = [tmp_path / "student", "--teacher", teacher, other]
    with mock.patch(PREPARE, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run_distill(*arguments)
    own = tmp_path / f"student{PARTIAL}" / "teacher"
    assert {path.name for path in own.iterdir()} == {LOGITS.format(0), LOGITS.format(1)}
    with mock.patch.object(module, "compute_logits", side_effect=AssertionError):
        info = run_distill(*arguments)
    assert not own.exists()
    train = prepared[0].dataset["train"]
    both = [logits_by_hand(each, train["text"][:]) for each in (teacher, other)]
    assert np.abs(both[0] - both[1]).max() > 0.1
    np.testing.assert_allclose(train["teacher_logits"][:], (both[0] + both[1]) / 2, atol=1e-5)
    assert info.distillation.teachers == ["wise", "other"]
    rows = make_rows(24, seed=2)
    scores = [logits_by_hand(each, [row["text"] for row in rows]) for each in (teacher, other)]
    wrong = [((logits >= 0) != truth_of(rows)).mean() for logits in (sum(scores) / 2, *scores)]
    assert wrong[0] not in wrong[1:]
    assert rows_of(info, "test")["teacher", "0.5"]["hamming_loss"] == pytest.approx(wrong[0], abs=1e-6)
    card = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert "| teacher | wise, other, the mean of their logits |" in card


def test_an_encoder_is_made_the_teacher_first_and_a_killed_run_computes_nothing_twice(
    tmp_path, run_distill, prepared, encoder, caplog
):
    arguments = [tmp_path / "student", "--teacher_from", encoder, "--teacher_learning_rate", 1e-3]
    with mock.patch(PREPARE, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run_distill(*arguments)
    folder = tmp_path / f"student{PARTIAL}" / "teacher"
    assert label_order(AutoConfig.from_pretrained(folder), LABELS) == [0, 1, 2]
    with safe_open(folder / "scores.safetensors", "numpy") as file:
        scores, truth = file.get_tensor("scores.test"), file.get_tensor("truth.test")
    expected = logits_by_hand(folder, [text["text"] for text in make_rows(64)])

    caplog.set_level("INFO", "hf_rnn_multilabel")
    with (
        mock.patch.object(module, "Trainer", side_effect=AssertionError),
        mock.patch.object(module, "compute_logits", side_effect=AssertionError),
    ):
        info = run_distill(*arguments)
    assert "logits-0.safetensors" in caplog.text
    np.testing.assert_allclose(prepared[0].dataset["train"]["teacher_logits"][:], expected, atol=1e-5)
    assert info.distillation.teachers == ["encoder"] and info.distillation.fine_tuned
    wrong = ((scores >= 0.5) != truth).mean()
    assert rows_of(info, "test")["teacher", "0.5"]["hamming_loss"] == pytest.approx(wrong, abs=1e-6)


def test_a_run_that_is_stopped_after_its_teacher_ends_at_the_weights_of_one_that_was_not(
    tmp_path, run_distill, encoder
):
    for name in ("whole", "stopped"):
        arguments = [tmp_path / name, "--teacher_from", encoder, "--teacher_learning_rate", 1e-3]
        if name == "stopped":
            with mock.patch(PREPARE, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
                run_distill(*arguments)
        run_distill(*arguments)
    whole, stopped = weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped")
    assert whole.keys() == stopped.keys() and all(torch.equal(whole[name], stopped[name]) for name in whole)


def test_fault_14_a_stopped_run_does_not_resume_with_another_teacher(tmp_path, run_distill, encoder):
    with mock.patch(PREPARE, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run_distill(tmp_path / "student", "--teacher_from", encoder)
    with pytest.raises(ValueError, match=r"distillation\.teacher_from was .*encoder., is .*wise"):
        run_distill(tmp_path / "student", "--teacher_from", tmp_path / "wise")
    with pytest.raises(ValueError, match=r"distillation\.teacher_epochs was 1\.0, is 2\.0"):
        run_distill(tmp_path / "student", "--teacher_from", encoder, "--teacher_epochs", 2)


def fine_tuned(data, encoder, folder: Path, epochs: int, rate: float, batch_size: int = 16):
    folder.mkdir(exist_ok=True)
    args = DistillationArguments(
        teacher_from=str(encoder), teacher_epochs=epochs, teacher_learning_rate=rate, teacher_batch_size=batch_size
    )
    recipe = Recipe(training_arguments={"use_cpu": True, "disable_tqdm": True, "report_to": "none"})
    return fine_tune(data, str(encoder), folder, args, recipe, 256)


def test_a_fine_tuned_encoder_is_better_than_chance_and_knows_no_ignored_label(tmp_path, encoder, splits):
    many = write_jsonl(tmp_path / "train.jsonl", make_rows(240))
    data = load_data(None, DataArguments(train_file=many, validation_file=splits["validation"]), seed=0)
    labels = data.labels["train"].copy()
    labels[::4] = -100
    train = data.dataset["train"].remove_columns("labels").add_column("labels", labels.tolist())
    data.dataset["train"] = train.cast_column("labels", data.dataset["validation"].features["labels"])
    found = fine_tuned(data, encoder, tmp_path / "made", 8, 0.005)
    with mock.patch.object(module, "Trainer", side_effect=AssertionError):
        assert fine_tuned(data, encoder, tmp_path / "made", 8, 0.005) == found
    assert list(found) == ["validation"] and {row.model for row in found["validation"]} == {"teacher"}
    assert max(row.metrics["f1_micro"] for row in found["validation"]) > 0.9


def test_a_fine_tuned_encoder_starts_at_the_frequencies_of_the_labels(tmp_path, encoder, splits):
    data = load_data(None, DataArguments(train_file=splits["train"], validation_file=splits["validation"]), seed=0)
    fine_tuned(data, encoder, tmp_path / "made", 1, 1e-9, batch_size=32)
    made = AutoModelForSequenceClassification.from_pretrained(tmp_path / "made")
    frequencies = data.labels["train"].mean(0)
    np.testing.assert_allclose(made.classifier.bias.detach(), np.log(frequencies / (1 - frequencies)), rtol=1e-4)


def test_a_teacher_is_fine_tuned_in_half_precision_on_a_processor(tmp_path, run_distill, encoder):
    info = run_distill(tmp_path / "student", "--teacher_from", encoder, "--bf16")
    assert info.training.precision == "bfloat16" and info.distillation.fine_tuned


@pytest.mark.parametrize("kind", [BertConfig, XLMRobertaConfig])
def test_only_a_new_head_starts_at_the_frequencies_of_the_labels(kind):
    # The layers within are as wide as the head; XLM-RoBERTa's head comes before its encoder.
    sizes = {"hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = AutoModelForSequenceClassification.from_config(kind(vocab_size=9, num_labels=4, **sizes))
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    start_from_frequencies(model, [0.0, 0.5, 0.2, 1.0], new=[])
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())

    start_from_frequencies(model, [0.0, 0.5, 0.2, 1.0], new=[name for name in before if "classifier" in name])
    changed = {name for name, weights in model.state_dict().items() if not torch.equal(weights, before[name])}
    (head,) = changed
    assert head in ("classifier.bias", "classifier.out_proj.bias")
    expected = np.log([1e-4 / 0.9999, 1, 0.2 / 0.8, 0.9999 / 1e-4])
    np.testing.assert_allclose(model.state_dict()[head], expected, rtol=1e-3)


def test_other_texts_are_not_taken_from_the_cache(tmp_path, teacher):
    def logits(*texts, names=LABELS):
        return module.teacher_logits(
            str(teacher),
            {"train": list(texts)},
            names,
            tmp_path / "logits.safetensors",
            max_length=9,
            batch_size=2,
            device=torch.device("cpu"),
        )["train"]

    first = logits("lamp", "oak")
    with mock.patch.object(module, "compute_logits", side_effect=AssertionError):
        np.testing.assert_array_equal(logits("lamp", "oak"), first)
    np.testing.assert_allclose(logits("oak", "lamp"), first[::-1], atol=1e-6)
    np.testing.assert_allclose(logits("oak", "lamp", names=LABELS[::-1]), first[::-1, ::-1], atol=1e-6)


def test_logits_of_an_earlier_model_of_the_folder_are_not_taken_from_the_cache(tmp_path):
    folder, cache = make_teacher(tmp_path / "wise"), tmp_path / "logits.safetensors"
    given = {"max_length": 9, "batch_size": 2, "device": torch.device("cpu")}
    module.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)
    make_teacher(folder, seed=1)
    logits = module.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)["train"]
    np.testing.assert_allclose(logits, logits_by_hand(folder, ["lamp"]), atol=1e-6)
    config = AutoConfig.from_pretrained(folder)
    config.id2label = dict(enumerate(LABELS))
    config.save_pretrained(folder)
    renamed = module.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)["train"]
    np.testing.assert_allclose(renamed, logits[:, ::-1], atol=1e-6)
    (folder / LOGITS.format(1)).write_bytes(b"of another teacher")
    with mock.patch.object(module, "compute_logits", side_effect=AssertionError):
        module.teacher_logits(str(folder), {"train": ["lamp"]}, LABELS, cache, **given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either `teacher`, .* or `teacher_from`"),
        (["--teacher", "a", "--teacher_from", "b"], "Give either `teacher`"),
        (["--teacher", "a", "--distillation_weight", "2"], "`distillation_weight` is 2.0"),
        (["--teacher", "a", "--distillation_temperature", "0"], "`distillation_temperature` is 0.0"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(tmp_path, run_distill, arguments, message):
    with (
        mock.patch("hf_rnn_multilabel.training.tagger.load_data") as load_data,
        pytest.raises(ValueError, match=message),
    ):
        run_distill(tmp_path / "student", *arguments)
    assert not load_data.called and not list(tmp_path.iterdir())


def test_a_teacher_and_a_retraining_exclude_each_other(tmp_path, run_distill, teacher):
    with pytest.raises(ValueError, match="`retrain_with_validation` is given"):
        run_distill(tmp_path / "student", "--teacher", teacher, "--retrain_with_validation")


def test_a_teacher_of_other_labels_is_told(tmp_path, run_distill):
    other = make_teacher(tmp_path / "other")
    config = AutoConfig.from_pretrained(other)
    config.id2label = {0: "lighting", 1: "garden", 2: "timber"}
    config.save_pretrained(other)
    with pytest.raises(ValueError, match="garden"):
        run_distill(tmp_path / "student", "--teacher", other)


def test_unlabelled_rows_are_read_as_the_labelled_ones_are(tmp_path, splits):
    options = DataArguments(train_file=splits["train"], validation_file=splits["validation"], delimiter=";")
    data = load_data(None, DataArguments(train_file=splits["train"], validation_file=splits["validation"]), seed=0)
    read = module._read_unlabelled
    assert read(splits["unlabelled"], data, options) == [row["text"] for row in make_rows(16, seed=3)]
    rows = [{"text": "lamp, oak", "labels": "not read"}]
    assert read(write_csv(tmp_path / "more.csv", rows, ";"), data, options) == ["lamp, oak"]
    path = write_jsonl(tmp_path / "more.jsonl", [{"body": "lamp"}])
    with pytest.raises(ValueError, match=r"Row 1 of .*more.jsonl' has None as `text`.*\['body'\]"):
        read(path, data, options)
