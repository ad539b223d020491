"""A larger model as teacher: the loss, the column of its logits, and the script."""

import copy
import importlib
import json
import math
import random
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from scipy.special import expit
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    Trainer,
    TrainingArguments,
)

from hf_rnn_multilabel.distillation import add_teacher, compute_logits, label_order
from hf_rnn_multilabel.model.losses import binary_cross_entropy, distillation, labels_from_teacher
from hf_rnn_multilabel.model_card import build_card
from hf_rnn_multilabel.tokenization import train_tokenizer


SCRIPTS = Path(__file__).parents[1] / "scripts"
sys.path.append(str(SCRIPTS))
distill = importlib.import_module("distill")

LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.4, 0.0, 5.0]])
TEACHER = torch.tensor([[1.5, -0.2, -1.0], [0.0, 3.0, 4.0]])
WORDS = ["lamp", "desk", "wood", "garden", "chair", "blue", "tree", "light", "pen", "oak"]
LABELS = ["lighting", "office", "timber"]


def make_rows(number: int, seed: int = 0) -> list[dict]:
    """Texts of 1 to 12 words; each of the first words stands for a label."""
    draw = random.Random(seed)
    texts = [[draw.choice(WORDS) for _ in range(draw.randint(1, 12))] for _ in range(number)]
    return [
        {
            "text": " ".join(words),
            "labels": [name for name, word in zip(LABELS, WORDS, strict=False) if word in words],
        }
        for words in texts
    ]


# The loss


@pytest.mark.parametrize("temperature", [1, 2.5])
def test_the_loss_is_the_cross_entropy_at_the_temperature_times_its_square(temperature):
    terms = []
    for logit, teacher in zip(LOGITS.flatten().tolist(), TEACHER.flatten().tolist(), strict=True):
        score, truth = (1 / (1 + math.exp(-value / temperature)) for value in (logit, teacher))
        terms.append(truth * math.log(score) + (1 - truth) * math.log(1 - score))
    expected = -(temperature**2) * sum(terms) / 6
    assert distillation(LOGITS, TEACHER, temperature).item() == pytest.approx(expected, rel=1e-6)


def test_a_high_temperature_gives_the_gradient_of_the_squared_difference_of_the_logits():
    logits = LOGITS.clone().requires_grad_()
    distillation(logits, TEACHER, 300.0).backward()
    torch.testing.assert_close(logits.grad, (LOGITS - TEACHER) / 4 / 6, rtol=1e-2, atol=1e-4)


def test_the_loss_of_half_precision_is_a_finite_float32():
    loss = distillation(torch.full((40, 100), 6e4, dtype=torch.float16), torch.zeros(40, 100, dtype=torch.float16), 2)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(6e4, rel=1e-3)  # T^2 * z/T * (1 - 1/2)


def test_the_parts_of_a_batch_sum_to_the_loss_of_the_whole():
    parts = [distillation(LOGITS[row : row + 1], TEACHER[row : row + 1], 2, torch.tensor(6)) for row in range(2)]
    torch.testing.assert_close(sum(parts), distillation(LOGITS, TEACHER, 2))


def test_an_unknown_label_is_the_teachers_score():
    labels = torch.tensor([[1, 0, -100], [-100, -100, -100]])
    scores = TEACHER.sigmoid()
    expected = torch.tensor([[1, 0, scores[0, 2]], scores[1].tolist()])
    torch.testing.assert_close(labels_from_teacher(labels, TEACHER), expected)
    torch.testing.assert_close(labels_from_teacher(None, TEACHER), scores)
    torch.testing.assert_close(labels_from_teacher(labels.clamp(min=0), TEACHER, 6), labels.clamp(min=0).float())


def test_unknown_labels_that_are_not_counted_are_refused_in_words():
    with pytest.raises(
        ValueError, match=r"1 labels with `teacher_logits` are -100, .* give such labels the teacher's"
    ):
        labels_from_teacher(torch.tensor([[1.0, 0, 0], [0, -100, 0]]), TEACHER, 5)


def test_logits_of_another_shape_are_refused_in_words(build_tagger, batch):
    with pytest.raises(ValueError, match=r"`teacher_logits` has the shape \(3, 2\), the logits \(3, 3\)"):
        build_tagger()(**batch, teacher_logits=torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"`labels` has the shape \(3, 1\), `teacher_logits` \(3, 3\)"):
        build_tagger()(**batch | {"labels": torch.zeros(3, 1)}, teacher_logits=torch.zeros(3, 3))


# The loss of the net


@pytest.fixture(scope="module")
def taught(batch):
    """A batch with a teacher; all labels are known."""
    teacher_logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)) * 2
    return batch | {"labels": batch["labels"].clamp(min=0), "teacher_logits": teacher_logits}


def test_without_a_teacher_or_without_its_weight_the_loss_is_the_plain_one_to_the_bit(build_tagger, batch, taught):
    settings = {"positive_weights": 3, "distillation_temperature": 2}
    plain = build_tagger(positive_weights=3)(**batch).loss
    assert torch.equal(build_tagger(**settings, distillation_weight=0.7)(**batch).loss, plain)
    plain = build_tagger(positive_weights=3)(**batch | {"labels": taught["labels"]}).loss
    assert torch.equal(build_tagger(**settings, distillation_weight=0)(**taught).loss, plain)
    assert not torch.equal(build_tagger(**settings, distillation_weight=0.1)(**taught).loss, plain)


def test_with_the_whole_weight_the_labels_do_not_count(build_tagger, taught):
    model = build_tagger(distillation_weight=1, distillation_temperature=2)
    outputs = model(**taught)
    torch.testing.assert_close(outputs.loss, distillation(outputs.logits, taught["teacher_logits"], 2))
    torch.testing.assert_close(model(**taught | {"labels": 1 - taught["labels"]}).loss, outputs.loss)


def test_the_weight_stands_between_the_objective_and_the_teacher(build_tagger, taught):
    model = build_tagger(distillation_weight=0.3, distillation_temperature=2, positive_weights=3)
    outputs = model(**taught)
    objective = binary_cross_entropy(outputs.logits, taught["labels"], torch.tensor(3.0))
    expected = 0.7 * objective + 0.3 * distillation(outputs.logits, taught["teacher_logits"], 2)
    torch.testing.assert_close(outputs.loss, expected)


@pytest.mark.parametrize("weight", [0, 0.3, 1])
def test_a_text_without_labels_weighs_as_much_as_one_with_them(build_tagger, taught, weight):
    model = build_tagger(distillation_weight=weight)
    labels = taught["labels"].clone()
    labels[1] = -100
    outputs = model(**taught | {"labels": labels})
    scores = taught["teacher_logits"].sigmoid()
    targets = (1 - weight) * labels + weight * scores
    targets[1] = scores[1]
    torch.testing.assert_close(outputs.loss, nn.BCEWithLogitsLoss()(outputs.logits, targets))
    alone = model(**{name: value for name, value in taught.items() if name != "labels"})
    torch.testing.assert_close(alone.loss, nn.BCEWithLogitsLoss()(alone.logits, scores))


def test_padding_does_not_change_the_loss_with_a_teacher(build_tagger, taught):
    model = build_tagger()
    padding = torch.zeros(3, 4, dtype=torch.long)
    padded = taught | {name: torch.cat([padding, taught[name]], 1) for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(model(**padded).loss, model(**taught).loss, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"distillation_weight": 1.1}, "`distillation_weight` is 1.1"),
        ({"distillation_weight": -1}, "`distillation_weight` is -1"),
        ({"distillation_weight": math.nan}, "`distillation_weight` is nan"),
        ({"distillation_temperature": 0}, "`distillation_temperature` is 0"),
        ({"distillation_temperature": math.inf}, "`distillation_temperature` is inf"),
    ],
    ids=str,
)
def test_a_weight_or_a_temperature_out_of_range_is_refused(build_config, given, named):
    with pytest.raises(StrictDataclassError, match=named):
        build_config(**given)


# With the stock Trainer


def encoded_rows(unlabelled: tuple[int, ...] = ()) -> Dataset:
    """Eight texts of one to five tokens, of which some have no label."""
    draw = random.Random(0)
    rows = []
    for row in range(8):
        labels = [-100.0] * 3 if row in unlabelled else [float(draw.random() < 0.4) for _ in range(3)]
        tokens = [draw.randrange(1, 20) for _ in range(1 + row % 5)]
        rows.append({"id": str(row), "labels": labels, "input_ids": tokens, "attention_mask": [1] * len(tokens)})
    return Dataset.from_list(rows)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(WORDS)] * 2)


def trained(folder: Path, model, rows: Dataset, tokenizer, accumulation: int = 1) -> tuple[dict, Trainer]:
    """What one step of a stock Trainer changes."""
    before = copy.deepcopy(model.state_dict())
    args = TrainingArguments(
        str(folder),
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        optim="sgd",
        learning_rate=1.0,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, args, train_dataset=rows, eval_dataset=encoded_rows(), processing_class=tokenizer)
    trainer.train()
    return {name: weight - before[name] for name, weight in model.state_dict().items()}, trainer


def test_four_accumulated_batches_with_unlabelled_texts_train_as_one(tmp_path, build_tagger, tokenizer):
    logits = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    rows = add_teacher(encoded_rows(unlabelled=(1, 2, 6)), logits)
    # T is not 1, so that the column, and not the labels that the teacher gave, is seen to be used.
    settings = {"distillation_weight": 0.3, "distillation_temperature": 2}
    once, four = (trained(tmp_path, build_tagger(**settings), rows, tokenizer, parts)[0] for parts in (1, 4))
    torch.testing.assert_close(four, once, atol=1e-6, rtol=1e-4)

    model = build_tagger(**settings)
    inputs = tokenizer.pad(rows.select_columns(["input_ids", "attention_mask"]).to_dict(), return_tensors="pt")
    labels, teacher_logits = torch.tensor(rows["labels"][:]), torch.tensor(logits)
    model(**inputs, labels=labels, teacher_logits=teacher_logits).loss.backward()
    torch.testing.assert_close(once["classifier.weight"], -model.classifier.weight.grad, atol=1e-6, rtol=1e-4)


def test_rows_without_the_column_are_evaluated_by_their_labels_alone(tmp_path, build_tagger, tokenizer):
    rows = add_teacher(encoded_rows(), np.ones((8, 3), np.float32))
    _, trainer = trained(tmp_path, build_tagger(), rows, tokenizer)
    output = trainer.predict(encoded_rows())
    expected = binary_cross_entropy(torch.tensor(output.predictions), torch.tensor(output.label_ids)).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", ["unknown", "wrong", "none"])
def test_a_student_learns_the_teachers_decision_from_its_logits_alone(build_tagger, labels):
    # The teacher looks at the first token of a text.
    inputs = torch.randint(1, 20, (60, 4))
    teacher_logits = torch.stack([inputs[:, 0] > limit for limit in (5, 10, 15)], 1).float() * 6 - 3
    truth = {"unknown": torch.full((60, 3), -100), "wrong": teacher_logits < 0, "none": None}[labels]
    model = build_tagger(distillation_weight=1, distillation_temperature=2)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(100):
        optimizer.zero_grad()
        model(inputs, labels=truth, teacher_logits=teacher_logits).loss.backward()
        optimizer.step()
    assert ((model(inputs).logits > 0) == (teacher_logits > 0)).float().mean() > 0.98


# The teacher's logits


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of data sets for this file alone."""
    with mock.patch.object(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache"))):
        yield


@pytest.fixture(scope="module")
def bert_config(tokenizer):
    def build(**settings) -> BertConfig:
        return BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=32,
            initializer_range=0.2,
            **settings,
        )

    return build


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, tokenizer, bert_config) -> Path:
    """A small text classifier that has the labels in another order."""
    folder = tmp_path_factory.mktemp("models") / "wise"
    config = bert_config(id2label=dict(enumerate(LABELS[::-1])), problem_type="multi_label_classification")
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, tokenizer, bert_config) -> Path:
    folder = tmp_path_factory.mktemp("models") / "encoder"
    BertModel(bert_config()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def logits_by_hand(folder: Path, texts: list[str]) -> np.ndarray:
    """The teacher's logits of one text after the other, in the order of LABELS."""
    model, tokenizer = (
        BertForSequenceClassification.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    logits = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])
    names = list(model.config.id2label.values())
    return logits[:, [names.index(name) for name in LABELS]].numpy()


def test_labels_are_matched_by_name(teacher, bert_config):
    config = AutoConfig.from_pretrained(teacher)
    assert label_order(config, LABELS) == [2, 1, 0]
    assert label_order(config, [LABELS[1], LABELS[0], LABELS[2]]) == [1, 2, 0]
    with pytest.raises(ValueError, match=r"lacks the labels \['lux'\] and has \['office', 'lighting'\] besides"):
        label_order(config, ["lux", "timber"])


@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
def test_a_teacher_without_a_sigmoid_a_label_is_refused(bert_config, problem_type):
    config = bert_config(id2label=dict(enumerate(LABELS)), problem_type=problem_type)
    with pytest.raises(
        ValueError, match=rf"The teacher's `problem_type` is {problem_type!r}; give one with a sigmoid"
    ):
        label_order(config, LABELS)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_logits_come_in_the_order_of_the_texts(teacher, batch_size):
    texts = ["lamp desk oak", *(row["text"] for row in make_rows(20))]
    model, tokenizer = BertForSequenceClassification.from_pretrained(teacher), AutoTokenizer.from_pretrained(teacher)
    found = compute_logits(model.train(), tokenizer, texts, batch_size=batch_size)
    np.testing.assert_allclose(found[:, ::-1], logits_by_hand(teacher, texts), atol=1e-5)


def test_texts_are_cut_for_the_teacher(teacher):
    model, tokenizer = BertForSequenceClassification.from_pretrained(teacher), AutoTokenizer.from_pretrained(teacher)
    found = compute_logits(model, tokenizer, ["lamp oak desk", "lamp oak"], max_length=2)
    assert found[0].tolist() == pytest.approx(found[1].tolist(), abs=1e-6)
    tokenizer.model_max_length = 1
    found = compute_logits(model, tokenizer, ["lamp oak desk", "lamp"], max_length=2)
    assert found[0].tolist() == pytest.approx(found[1].tolist(), abs=1e-6)


def test_a_teacher_is_a_column_and_fills_what_is_unknown():
    rows = encoded_rows(unlabelled=(1, 6)).select([6, 0, 1])
    rows = rows.cast_column("labels", datasets.List(datasets.Value("float32"), length=3))
    logits = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    found = add_teacher(rows, logits)
    assert found["id"][:] == ["6", "0", "1"] and found.features["labels"] == rows.features["labels"]
    np.testing.assert_array_equal(found["teacher_logits"][:], logits)
    np.testing.assert_allclose(found["labels"][:], [expit(logits[0]), rows["labels"][1], expit(logits[2])], rtol=1e-6)


def test_logits_that_cannot_teach_are_refused_in_words():
    logits = np.zeros((8, 3), np.float32)
    with pytest.raises(ValueError, match=r"have the shape \(7, 3\), the labels \(8, 3\)"):
        add_teacher(encoded_rows(), logits[:7])
    for wrong in (np.nan, np.inf):
        logits[5, 1] = wrong
        with pytest.raises(ValueError, match=r"1 rows have a teacher's logit that is not finite, as row 5"):
            add_teacher(encoded_rows(), logits)


# The script


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    parts = {"train": make_rows(64), "validation": make_rows(32, 1), "test": make_rows(24, 2)}
    parts["unlabelled"] = [{"text": row["text"], "labels": "not read"} for row in make_rows(16, 3)]
    for split, rows in parts.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {split: str(folder / f"{split}.jsonl") for split in parts}


@pytest.fixture
def run(files):
    """Runs the script; returns what metrics.json holds."""

    def run_script(output_dir: Path, *arguments) -> dict:
        small = ["--hidden_size", "8", "--embedding_size", "8", "--num_train_epochs", "1", "--teacher_epochs", "1"]
        small += ["--use_cpu", "--disable_tqdm", "true"]
        given = [part for split in ("train", "validation", "test") for part in (f"--{split}_file", files[split])]
        command = ["distill.py", "--output_dir", output_dir, *given, *small, *arguments]
        with mock.patch.object(sys, "argv", list(map(str, command))):
            distill.main()
        return json.loads((output_dir / "metrics.json").read_text())

    return run_script


def test_a_text_classifier_teaches_on_labelled_and_unlabelled_texts(tmp_path, run, teacher, files):
    with mock.patch.object(distill, "train_tagger", wraps=distill.train_tagger) as train_tagger:
        more = ["--unlabelled_file", files["unlabelled"], "--distillation_weight", 0.25, "--linear_baseline"]
        facts = run(tmp_path / "student", "--teacher", teacher, "--distillation_temperature", 2, *more)
    data = train_tagger.call_args.args[0]
    rows = make_rows(64) + make_rows(16, 3)
    train = data.dataset["train"]
    assert train["text"][:] == [row["text"] for row in rows] == data.texts["train"]
    logits = logits_by_hand(teacher, data.texts["train"])
    np.testing.assert_allclose(train["teacher_logits"][:], logits, atol=1e-5)
    truth = np.array([[label in row["labels"] for label in LABELS] for row in rows[:64]])
    np.testing.assert_allclose(train["labels"][:], [*truth, *expit(logits[64:])], atol=1e-5)
    assert all("teacher_logits" not in data.dataset[split].column_names for split in ("validation", "test"))

    assert facts["rows"] == {"train": 80, "validation": 32, "test": 24}
    assert facts["distillation"] == {
        "teacher": "wise",
        "fine_tuned": False,
        "weight": 0.25,
        "temperature": 2.0,
        "unlabelled": 16,
    }
    config = AutoConfig.from_pretrained(tmp_path / "student")
    assert (config.distillation_weight, config.distillation_temperature) == (0.25, 2)
    for split, number in {"validation": 32, "test": 24}.items():
        models = [row["model"] for row in facts[split]]
        assert models == ["this model"] * 3 + ["TF-IDF + LR"] * 3 + ["teacher"] * 3
        part = make_rows(number, 1 if split == "validation" else 2)
        scores = expit(logits_by_hand(teacher, [row["text"] for row in part]))
        truth = np.array([[label in row["labels"] for label in LABELS] for row in part])
        shares = 1 - ((scores >= 0.5) != truth).mean()
        assert facts[split][6]["hamming_loss"] == pytest.approx(1 - shares, abs=1e-6)


def test_the_card_names_the_teacher_and_no_private_path(tmp_path, run, teacher):
    facts = run(tmp_path / "student", "--teacher", teacher)
    card = (tmp_path / "student" / "README.md").read_text()
    assert "| teacher | wise; weight 0.5, temperature 1.0 |" in card
    assert "The teacher is the model that this one learned from" in card and "| teacher, 0.5 |" in card
    assert str(teacher.parent) not in card + json.dumps(facts)
    facts["distillation"] |= {"fine_tuned": True, "unlabelled": 1234}
    card = str(build_card(AutoConfig.from_pretrained(tmp_path / "student"), facts))
    told = "| teacher | wise, fine-tuned on the same texts; weight 0.5, temperature 1.0; 1,234 of the training texts"
    assert told in card


def test_an_encoder_is_made_the_teacher_first_and_a_killed_run_computes_nothing_twice(tmp_path, run, encoder, capsys):
    arguments = [tmp_path / "student", "--teacher_from", encoder, "--teacher_learning_rate", 1e-3]
    with mock.patch.object(distill, "train_tagger", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        run(*arguments)
    folder = tmp_path / "student" / "teacher"
    made = json.loads((folder / "metrics.json").read_text())
    assert made["encoder"] == "encoder" and [row["model"] for row in made["test"]] == ["teacher"] * 3
    config = AutoConfig.from_pretrained(folder)
    assert label_order(config, LABELS) == [0, 1, 2]

    with (
        mock.patch.object(distill, "Trainer", side_effect=AssertionError),
        mock.patch.object(distill, "compute_logits", side_effect=AssertionError),
        mock.patch.object(distill, "train_tagger", wraps=distill.train_tagger) as train_tagger,
    ):
        facts = run(*arguments)
    output = capsys.readouterr().out
    assert "Taking the finished classifier in" in output and "Taking the teacher's logits from" in output
    train = train_tagger.call_args.args[0].dataset["train"]
    np.testing.assert_allclose(train["teacher_logits"][:], logits_by_hand(folder, train["text"][:]), atol=1e-5)
    assert facts["distillation"]["teacher"] == "encoder" and facts["distillation"]["fine_tuned"]
    assert [row for row in facts["test"] if row["model"] == "teacher"] == made["test"]

    shutil.copytree(folder, tmp_path / "other" / "teacher")
    (tmp_path / "wise").mkdir()
    with pytest.raises(ValueError, match=r"holds a classifier made from 'encoder', not from 'wise'; remove it"):
        run(tmp_path / "other", "--teacher_from", tmp_path / "wise")


def test_a_fine_tuned_encoder_is_better_than_chance_and_knows_no_unknown_label(tmp_path, encoder, files):
    many = tmp_path / "train.jsonl"
    many.write_text("".join(json.dumps(row) + "\n" for row in make_rows(240)))
    args = distill.DataArguments(train_file=str(many), validation_file=files["validation"])
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
    assert list(found) == ["validation"] and {row["model"] for row in found["validation"]} == {"encoder"}
    assert max(row["f1_micro"] for row in found["validation"]) > 0.9


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give either `--teacher`, a text classifier, or `--teacher_from`"),
        (["--teacher", "a", "--teacher_from", "b"], "Give either `--teacher`"),
        (["--teacher", "a", "--distillation_weight", "2"], "`distillation_weight` is 2.0"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(tmp_path, run, arguments, message):
    with (
        mock.patch.object(distill, "read_data") as read_data,
        pytest.raises((ValueError, StrictDataclassError), match=message),
    ):
        run(tmp_path / "student", *arguments)
    assert not read_data.called


def test_an_unlabelled_row_without_a_text_is_told(tmp_path):
    path = tmp_path / "more.jsonl"
    path.write_text('{"body": "lamp"}\n{"body": null}\n')
    with pytest.raises(ValueError, match=r"Row 1 of .*more.jsonl has None as its text; remove such rows"):
        distill.read_unlabelled(str(path), None)


def test_labels_that_are_named_in_the_unlabelled_file_are_not_read(files):
    texts = distill.read_unlabelled(files["unlabelled"], "text")
    assert texts == [row["text"] for row in make_rows(16, 3)]
    with pytest.raises(ValueError, match="nowhere"):
        distill.read_unlabelled(files["unlabelled"], "nowhere")
