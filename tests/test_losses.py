import copy
import math

import pytest
import torch
from torch import nn

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.model.losses import binary_cross_entropy


LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.4, 0.0, 5.0]])
FREQUENCIES = {"LABEL_0": 0.5, "LABEL_1": 0.2, "LABEL_2": 0.01}
LABELS = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
WEIGHTS = torch.tensor([1.0, 4.0, 0.5])


def by_hand(logits, labels, weights=(1.0, 1.0, 1.0)):
    """L = -1/K sum_i w_i y_i log s(z_i) + (1 - y_i) log(1 - s(z_i)) in plain numbers."""
    terms = []
    for row, truth in zip(logits.tolist(), labels.tolist(), strict=True):
        for logit, label, weight in zip(row, truth, weights, strict=True):
            score = 1 / (1 + math.exp(-logit))
            if label != -100:
                terms.append(weight * label * math.log(score) + (1 - label) * math.log(1 - score))
    return -sum(terms) / len(terms)


def test_the_loss_is_the_equation_of_the_article():
    assert binary_cross_entropy(LOGITS, LABELS).item() == pytest.approx(by_hand(LOGITS, LABELS), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.bool])
def test_pain_07_labels_of_every_type_give_the_same_loss(dtype):
    loss = binary_cross_entropy(LOGITS, LABELS.to(dtype))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(by_hand(LOGITS, LABELS), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_pain_07_an_unknown_label_counts_neither_above_nor_below_the_line(dtype):
    labels = LABELS.clone().to(dtype)
    labels[0, 1] = labels[1, 2] = -100
    logits = LOGITS.clone().requires_grad_()
    loss = binary_cross_entropy(logits, labels, WEIGHTS)
    assert loss.item() == pytest.approx(by_hand(LOGITS, labels, WEIGHTS.tolist()), rel=1e-6)
    loss.backward()
    assert ((logits.grad == 0) == (labels == -100)).all()


def test_a_label_may_be_anything_between_absent_and_present():
    labels = torch.full_like(LABELS, 0.3)
    assert binary_cross_entropy(LOGITS, labels).item() == pytest.approx(by_hand(LOGITS, labels), rel=1e-6)


def test_pain_09_positive_weights_equal_those_of_torch():
    loss = binary_cross_entropy(LOGITS, LABELS, WEIGHTS)
    torch.testing.assert_close(loss, nn.BCEWithLogitsLoss(pos_weight=WEIGHTS)(LOGITS, LABELS))
    assert loss.item() == pytest.approx(by_hand(LOGITS, LABELS, WEIGHTS.tolist()), rel=1e-6)


@pytest.mark.parametrize("num_items_in_batch", [None, 0, torch.tensor(0)])
def test_a_batch_without_a_known_label_has_the_loss_zero(num_items_in_batch):
    logits = LOGITS.clone().requires_grad_()
    labels = torch.full_like(LABELS, -100)
    loss = binary_cross_entropy(logits, labels, num_items_in_batch=num_items_in_batch)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("form", [int, torch.tensor, lambda count: torch.tensor([count])])
def test_pain_20_the_parts_of_a_batch_sum_to_the_loss_and_gradients_of_the_whole(form):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (8, 3), generator=generator).float()
    labels[0] = labels[5, 1] = -100
    whole = torch.randn(8, 3, generator=generator).requires_grad_()
    parts = whole.detach().clone().requires_grad_()

    loss = binary_cross_entropy(whole, labels, WEIGHTS)
    loss.backward()
    count = int((labels != -100).sum())
    pairs = zip(parts.chunk(4), labels.chunk(4), strict=True)
    summed = sum(binary_cross_entropy(*pair, WEIGHTS, form(count)) for pair in pairs)
    summed.backward()
    torch.testing.assert_close(summed, loss)
    torch.testing.assert_close(parts.grad, whole.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pain_21_the_loss_of_half_precision_logits_is_a_finite_float32(dtype):
    logits = torch.full((40, 100), 6e4, dtype=dtype)  # their sum is beyond float16
    loss = binary_cross_entropy(logits, torch.zeros(40, 100))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(logits[0, 0].item(), rel=1e-6)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (3, 2)])
def test_labels_of_another_shape_are_refused_in_words(shape):
    with pytest.raises(ValueError, match=r"`labels` has the shape .* the logits \(2, 3\)") as error:
        binary_cross_entropy(LOGITS, torch.zeros(shape))
    assert str(shape) in str(error.value)


# The loss of the net


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
@pytest.mark.parametrize("num_labels", [1, 3])
def test_pain_06_07_labels_of_any_type_give_one_loss_and_leave_the_problem_type(
    build_tagger, batch, dtype, num_labels
):
    model = build_tagger(num_labels=num_labels)
    labels = batch["labels"][:, :num_labels].clamp(min=0)
    outputs = model(**batch | {"labels": labels.to(dtype)})
    torch.testing.assert_close(outputs.loss, nn.BCEWithLogitsLoss()(outputs.logits, labels))
    assert model.config.problem_type == "multi_label_classification"


def test_pain_07_an_unknown_label_is_left_out_of_the_loss(build_tagger, batch):
    outputs = build_tagger()(**batch)
    known = batch["labels"] != -100
    assert known.sum() == 8
    torch.testing.assert_close(outputs.loss, nn.BCEWithLogitsLoss()(outputs.logits[known], batch["labels"][known]))


@pytest.mark.parametrize(
    ("positive_weights", "expected"),
    [(None, [1, 1, 1]), (3, [3, 3, 3]), ({"LABEL_1": 2.5}, [1, 2.5, 1]), ("balanced", [1, 4, 10])],
)
def test_pain_09_positive_weights_of_the_configuration_are_in_the_loss(
    tmp_path, build_tagger, batch, positive_weights, expected
):
    model = build_tagger(positive_weights=positive_weights, label_frequencies=FREQUENCIES)
    model.save_pretrained(tmp_path)
    labels = batch["labels"].clamp(min=0)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(expected).float())
    for net in [model, RnnMultilabelForSequenceClassification.from_pretrained(tmp_path)]:
        outputs = net(**batch | {"labels": labels})
        torch.testing.assert_close(outputs.loss, criterion(outputs.logits, labels))


def test_the_net_refuses_labels_of_another_shape(build_tagger, batch):
    with pytest.raises(ValueError, match=r"`labels` has the shape \(3, 2\), the logits \(3, 3\)"):
        build_tagger()(**batch | {"labels": torch.zeros(3, 2)})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_pain_20_four_accumulated_batches_train_as_one(build_tagger, build_trainer, rows, cell_type):
    rows[0]["labels"] = [-100.0] * 3
    rows[5]["labels"][1] = -100.0
    trained, losses = [], []
    for accumulation in [1, 4]:
        model = build_tagger(cell_type=cell_type)
        before = copy.deepcopy(model.state_dict())
        trainer = build_trainer(
            model,
            rows,
            per_device_train_batch_size=8 // accumulation,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            logging_steps=1,
        )
        trainer.train()
        trained.append({name: weight - before[name] for name, weight in model.state_dict().items()})
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    for name, step in trained[0].items():
        assert step.any(), name
    torch.testing.assert_close(trained[1], trained[0], atol=1e-6, rtol=1e-4)


def test_pain_20_the_loss_honours_the_number_of_labels_in_the_whole_batch(build_tagger, batch):
    model = build_tagger()
    whole = model(**batch).loss
    texts = [{name: value[row : row + 1] for name, value in batch.items()} for row in range(3)]
    parts = [model(**text, num_items_in_batch=8).loss for text in texts]
    torch.testing.assert_close(sum(parts), whole)
