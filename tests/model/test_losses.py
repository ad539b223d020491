import math

import pytest
import torch
from torch import nn

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.model import losses
from hf_rnn_multilabel.model.losses import binary_cross_entropy, token_cross_entropy, training_loss


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
def test_pain_07_an_ignored_label_counts_neither_above_nor_below_the_line(dtype):
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


def test_the_cross_entropy_of_tokens_is_the_mean_over_the_observed_ones():
    logits = torch.randn(2, 3, 7)
    labels = torch.tensor([[4, -100, 6], [-100, -100, 0]])
    log_p = logits.log_softmax(-1)
    expected = -(log_p[0, 0, 4] + log_p[0, 2, 6] + log_p[1, 2, 0]) / 3
    torch.testing.assert_close(token_cross_entropy(logits, labels), expected)
    torch.testing.assert_close(token_cross_entropy(logits, labels, 6), expected / 2)
    assert token_cross_entropy(logits, torch.full_like(labels, -100)) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pain_21_the_loss_of_half_precision_logits_is_a_finite_float32(dtype):
    logits = torch.full((40, 100), 6e4, dtype=dtype)  # their sum is beyond float16
    loss = binary_cross_entropy(logits, torch.zeros(40, 100))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(logits[0, 0].item(), rel=1e-6)


# The loss of the model


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.bool])
def test_labels_of_every_type_are_smoothed_similarly(build_tagger, batch, dtype):
    model = build_tagger(label_smoothing=0.3)
    labels = batch["labels"].clamp(min=0)
    outputs = model(**batch | {"labels": labels.to(dtype)})
    assert outputs.loss.item() == pytest.approx(by_hand(outputs.logits, labels * 0.7 + 0.15), rel=1e-5)


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


def test_pain_07_an_ignored_label_is_left_out_of_the_loss(build_tagger, batch):
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
    for each in [model, RnnMultilabelForSequenceClassification.from_pretrained(tmp_path)]:
        outputs = each(**batch | {"labels": labels})
        torch.testing.assert_close(outputs.loss, criterion(outputs.logits, labels))


def test_the_model_refuses_labels_of_another_shape(build_tagger, batch):
    with pytest.raises(ValueError, match=r"`labels` has the shape \(3, 2\), the logits \(3, 3\)"):
        build_tagger()(**batch | {"labels": torch.zeros(3, 2)})


def test_a_checkpoint_without_the_package_refuses_an_objective_that_it_lacks(build_tagger, batch, monkeypatch):
    model = build_tagger(objective="focal")
    expected = model(batch["input_ids"], batch["attention_mask"]).logits
    monkeypatch.setattr(losses, "OBJECTIVES", {})
    with pytest.raises(
        ValueError, match=r"`objective` is 'focal'.*pip install hf-rnn-multilabel.*objective = \"bce\""
    ):
        model(**batch)
    assert torch.equal(model(batch["input_ids"], batch["attention_mask"]).logits, expected)
    model.config.objective = "bce"
    outputs = model(**batch)
    torch.testing.assert_close(outputs.loss, binary_cross_entropy(outputs.logits, batch["labels"]))


def test_the_loss_is_called_as_the_registry_says(build_config, monkeypatch):
    config, calls = build_config(objective="zlpr", label_smoothing=0.5), []
    monkeypatch.setitem(losses.OBJECTIVES, "zlpr", lambda *arguments: calls.append(arguments) or LOGITS.sum())
    training_loss(config, LOGITS, LABELS, WEIGHTS, 6)
    (given,) = calls
    assert given[0] is config and given[1] is LOGITS and given[3] is WEIGHTS and given[4] == 6
    torch.testing.assert_close(given[2], LABELS / 2 + 0.25)


@pytest.mark.parametrize("value", [2.0, -1.0, math.nan, math.inf, -99.0])
def test_fault_42_a_label_that_is_no_label_is_an_error_with_its_row(build_tagger, batch, value):
    batch["labels"][1, 2] = value
    with pytest.raises(ValueError, match=rf"`labels` holds {value} in row 1 of the batch, label 2"):
        build_tagger()(**batch)
    batch["labels"][1, 2] = 0.5
    assert build_tagger()(**batch).loss.isfinite()


# Parts of a batch


def test_pain_20_the_loss_honours_the_number_of_labels_in_the_whole_batch(build_tagger, batch):
    model = build_tagger()
    whole = model(**batch).loss
    texts = [{name: value[row : row + 1] for name, value in batch.items()} for row in range(3)]
    parts = [model(**text, num_items_in_batch=8).loss for text in texts]
    torch.testing.assert_close(sum(parts), whole)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_pain_20_four_accumulated_batches_train_as_one(compare_accumulated, cell_type):
    compare_accumulated(cell_type=cell_type)
