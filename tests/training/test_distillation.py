"""A larger model as teacher: the loss, and the column of its logits."""

import copy
import math
import random
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset
from helpers import LABELS, WORDS, logits_by_hand, make_rows, make_teacher
from scipy.special import expit
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    TrainingArguments,
)

from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.inference.logits import compute_logits
from hf_rnn_multilabel.model.losses import binary_cross_entropy
from hf_rnn_multilabel.training.distillation import Distillation, add_teacher_logits, label_order
from hf_rnn_multilabel.training.objectives import (
    check_distillation,
    distillation,
    distilled_loss,
    labels_from_teacher,
)
from hf_rnn_multilabel.training.trainer import TaggerTrainer


LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.4, 0.0, 5.0]])
TEACHER = torch.tensor([[1.5, -0.2, -1.0], [0.0, 3.0, 4.0]])


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


def test_an_ignored_label_is_the_teachers_score():
    labels = torch.tensor([[1, 0, -100], [-100, -100, -100]])
    scores = TEACHER.sigmoid()
    expected = torch.tensor([[1, 0, scores[0, 2]], scores[1].tolist()])
    torch.testing.assert_close(labels_from_teacher(labels, TEACHER), expected)
    torch.testing.assert_close(labels_from_teacher(None, TEACHER), scores)
    torch.testing.assert_close(labels_from_teacher(labels.clamp(min=0), TEACHER, 6), labels.clamp(min=0).float())


def test_ignored_labels_that_are_not_counted_are_refused_in_words():
    with pytest.raises(ValueError, match=r"1 labels with `teacher_logits` are -100, .* give such labels the score"):
        labels_from_teacher(torch.tensor([[1.0, 0, 0], [0, -100, 0]]), TEACHER, 5)


def test_logits_of_another_shape_are_refused_in_words(build_tagger, batch):
    with pytest.raises(ValueError, match=r"`teacher_logits` has the shape \(3, 2\), the logits \(3, 3\)"):
        compute_loss(build_tagger(), batch | {"teacher_logits": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match=r"`labels` has the shape \(3, 1\), `teacher_logits` \(3, 3\)"):
        compute_loss(build_tagger(), batch | {"labels": torch.zeros(3, 1), "teacher_logits": torch.zeros(3, 3)})


# The loss of the model


def compute_loss(model, inputs, **settings):
    inputs = dict(inputs)
    labels, teacher_logits = inputs.pop("labels", None), inputs.pop("teacher_logits")
    return distilled_loss(model, model(**inputs).logits, labels, teacher_logits, **settings)


@pytest.fixture(scope="module")
def taught(batch):
    """A batch with a teacher; all labels are known."""
    teacher_logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)) * 2
    return batch | {"labels": batch["labels"].clamp(min=0), "teacher_logits": teacher_logits}


def test_without_its_weight_the_loss_is_the_plain_one_to_the_bit(build_tagger, taught):
    model = build_tagger(positive_weights=3)
    plain = model(**{name: value for name, value in taught.items() if name != "teacher_logits"}).loss
    assert torch.equal(compute_loss(model, taught, weight=0, temperature=2), plain)
    assert not torch.equal(compute_loss(model, taught, weight=0.1, temperature=2), plain)


def test_with_the_whole_weight_the_labels_do_not_count(build_tagger, taught):
    model, settings = build_tagger(), {"weight": 1, "temperature": 2}
    logits = model(taught["input_ids"], taught["attention_mask"]).logits
    loss = compute_loss(model, taught, **settings)
    torch.testing.assert_close(loss, distillation(logits, taught["teacher_logits"], 2))
    torch.testing.assert_close(compute_loss(model, taught | {"labels": 1 - taught["labels"]}, **settings), loss)


def test_the_weight_stands_between_the_objective_and_the_teacher(build_tagger, taught):
    model = build_tagger(positive_weights=3)
    logits = model(taught["input_ids"], taught["attention_mask"]).logits
    objective = binary_cross_entropy(logits, taught["labels"], torch.tensor(3.0))
    expected = 0.7 * objective + 0.3 * distillation(logits, taught["teacher_logits"], 2)
    torch.testing.assert_close(compute_loss(model, taught, weight=0.3, temperature=2), expected)


@pytest.mark.parametrize("weight", [0, 0.3, 1])
def test_a_text_without_labels_weighs_as_much_as_one_with_them(build_tagger, taught, weight):
    model = build_tagger()
    labels = taught["labels"].clone()
    labels[1] = -100
    logits = model(taught["input_ids"], taught["attention_mask"]).logits
    scores = taught["teacher_logits"].sigmoid()
    targets = (1 - weight) * labels + weight * scores
    targets[1] = scores[1]
    loss = compute_loss(model, taught | {"labels": labels}, weight=weight)
    torch.testing.assert_close(loss, nn.BCEWithLogitsLoss()(logits, targets))
    alone = compute_loss(model, {name: value for name, value in taught.items() if name != "labels"}, weight=weight)
    torch.testing.assert_close(alone, nn.BCEWithLogitsLoss()(logits, scores))


@pytest.mark.parametrize(
    ("weight", "temperature", "named"),
    [
        (1.1, 1, "`distillation_weight` is 1.1"),
        (-1, 1, "`distillation_weight` is -1"),
        (math.nan, 1, "`distillation_weight` is nan"),
        (0.5, 0, "`distillation_temperature` is 0"),
        (0.5, math.inf, "`distillation_temperature` is inf"),
    ],
    ids=str,
)
def test_a_weight_or_a_temperature_out_of_range_is_refused(weight, temperature, named):
    with pytest.raises(ValueError, match=named):
        check_distillation(weight, temperature)


# With the Trainer


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


def trained(
    folder: Path, model, rows: Dataset, tokenizer, accumulation: int = 1, **settings
) -> tuple[dict, TaggerTrainer]:
    """What one step changes."""
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
    data = {"train_dataset": rows, "eval_dataset": encoded_rows(), "processing_class": tokenizer}
    trainer = TaggerTrainer(model, args, **data, **settings)
    trainer.train()
    return {name: weight - before[name] for name, weight in model.state_dict().items()}, trainer


def test_four_accumulated_batches_with_unlabelled_texts_train_as_one(tmp_path, build_tagger, tokenizer):
    logits = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    rows = add_teacher_logits(encoded_rows(unlabelled=(1, 2, 6)), logits)
    # T is not 1, so that the column, and not the labels that the teacher gave, is seen to be used.
    settings = {"distillation": Distillation(0.3, 2)}
    once, four = (trained(tmp_path, build_tagger(), rows, tokenizer, parts, **settings)[0] for parts in (1, 4))
    torch.testing.assert_close(four, once, atol=1e-6, rtol=1e-4)

    model = build_tagger()
    inputs = tokenizer.pad(rows.select_columns(["input_ids", "attention_mask"]).to_dict(), return_tensors="pt")
    labels, teacher_logits = torch.tensor(rows["labels"][:]), torch.tensor(logits)
    inputs |= {"labels": labels, "teacher_logits": teacher_logits}
    compute_loss(model, inputs, weight=0.3, temperature=2).backward()
    torch.testing.assert_close(once["classifier.weight"], -model.classifier.weight.grad, atol=1e-6, rtol=1e-4)


def test_rows_without_the_column_are_evaluated_by_their_labels_alone(tmp_path, build_tagger, tokenizer):
    rows = add_teacher_logits(encoded_rows(), np.ones((8, 3), np.float32))
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
    model = build_tagger()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(100):
        optimizer.zero_grad()
        distilled_loss(model, model(inputs).logits, truth, teacher_logits, weight=1, temperature=2).backward()
        optimizer.step()
    assert ((model(inputs).logits > 0) == (teacher_logits > 0)).float().mean() > 0.98


# The teacher's logits


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("models") / "wise")


def test_labels_are_matched_by_name(teacher):
    config = AutoConfig.from_pretrained(teacher)
    assert label_order(config, LABELS) == [2, 1, 0]
    assert label_order(config, [LABELS[1], LABELS[0], LABELS[2]]) == [1, 2, 0]
    with pytest.raises(ValueError, match=r"lacks the labels \[lux\] and has \[office, lighting\] besides"):
        label_order(config, ["lux", "timber"])


@pytest.mark.parametrize("problem_type", [None, "single_label_classification"])
def test_a_teacher_without_a_sigmoid_a_label_is_refused(problem_type):
    config = BertConfig(id2label=dict(enumerate(LABELS)), problem_type=problem_type)
    with pytest.raises(ValueError, match=rf"The teacher's `problem_type` is {problem_type!r}"):
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
    found = add_teacher_logits(rows, logits)
    assert found["id"][:] == ["6", "0", "1"] and found.features["labels"] == rows.features["labels"]
    np.testing.assert_array_equal(found["teacher_logits"][:], logits)
    np.testing.assert_allclose(found["labels"][:], [expit(logits[0]), rows["labels"][1], expit(logits[2])], rtol=1e-6)


def test_logits_that_cannot_teach_are_refused_in_words():
    logits = np.zeros((8, 3), np.float32)
    with pytest.raises(ValueError, match=r"have the shape \(7, 3\), the labels \(8, 3\)"):
        add_teacher_logits(encoded_rows(), logits[:7])
    for wrong in (np.nan, np.inf):
        logits[5, 1] = wrong
        with pytest.raises(ValueError, match=r"1 rows have a teacher's logit that is not finite, as row 5"):
            add_teacher_logits(encoded_rows(), logits)
