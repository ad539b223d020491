import inspect
import itertools
import math
from functools import partial
from typing import get_args

import pytest
import torch

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.model import losses
from hf_rnn_multilabel.model.configuration_rnn_multilabel import OBJECTIVE_PARAMETERS, ObjectiveName
from hf_rnn_multilabel.model.losses import binary_cross_entropy
from hf_rnn_multilabel.training import objectives
from hf_rnn_multilabel.training.objectives import asymmetric, distribution_balanced, expected_f1, focal, zlpr


LOGITS = torch.tensor([[0.3, -1.2, 2.0], [-0.4, 0.0, 5.0]])
FREQUENCIES = {"LABEL_0": 0.5, "LABEL_1": 0.2, "LABEL_2": 0.01}
LABELS = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
SOFT = torch.tensor([[0.3, 1.0, 0.0], [0.0, -100.0, 0.8]])
WEIGHTS = torch.tensor([1.0, 4.0, 0.5])
PRIORS = torch.tensor([0.5, 0.2, 0.01])
# Every loss that is not sampled, also with exponents between 0 and 1, whose slope at 0 is infinite.
LOSSES = {
    "bce": partial(binary_cross_entropy, positive_weights=WEIGHTS),
    "focal": partial(focal, positive_weights=WEIGHTS),
    "focal_half": partial(focal, gamma=0.5),
    "asymmetric": partial(asymmetric, positive_weights=WEIGHTS, gamma_positive=1.0),
    "asymmetric_half": partial(asymmetric, gamma_positive=0.5, gamma_negative=0.5, margin=0.3),
    "zlpr": zlpr,
    "distribution_balanced": partial(distribution_balanced, frequencies=PRIORS),
    "distribution_balanced_focal": partial(distribution_balanced, frequencies=PRIORS, gamma=2.0),
    "expected_f1": partial(expected_f1, cross_entropy=0.3),
    "expected_f1_alone": partial(expected_f1, cross_entropy=0.0),
}


@pytest.fixture(params=LOSSES)
def loss_of(request):
    return LOSSES[request.param]


@pytest.mark.parametrize("num_items_in_batch", [None, 0, torch.tensor(0)])
def test_a_batch_without_an_observed_label_has_the_loss_zero(loss_of, num_items_in_batch):
    logits = LOGITS.clone().requires_grad_()
    labels = torch.full_like(LABELS, -100)
    loss = loss_of(logits, labels, num_items_in_batch=num_items_in_batch)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("form", [int, torch.tensor, lambda count: torch.tensor([count])])
def test_pain_20_the_parts_of_a_batch_sum_to_the_loss_and_gradients_of_the_whole(loss_of, form):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (8, 3), generator=generator).float()
    labels[0] = labels[5, 1] = -100
    whole = torch.randn(8, 3, generator=generator).requires_grad_()
    parts = whole.detach().clone().requires_grad_()

    loss = loss_of(whole, labels)
    loss.backward()
    count = int((labels != -100).sum())
    pairs = zip(parts.chunk(4), labels.chunk(4), strict=True)
    summed = sum(loss_of(*pair, num_items_in_batch=form(count)) for pair in pairs)
    summed.backward()
    torch.testing.assert_close(summed, loss)
    torch.testing.assert_close(parts.grad, whole.grad)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (3, 2)])
def test_labels_of_another_shape_are_refused_in_words(loss_of, shape):
    with pytest.raises(ValueError, match=r"`labels` has the shape .* the logits \(2, 3\)") as error:
        loss_of(LOGITS, torch.zeros(shape))
    assert str(shape) in str(error.value)


# All losses


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.bool])
def test_pain_07_every_loss_takes_labels_of_every_type(loss_of, dtype):
    assert torch.equal(loss_of(LOGITS, LABELS.to(dtype)), loss_of(LOGITS, LABELS))


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
def test_the_gradient_is_that_of_finite_differences(loss_of, labels):
    logits = LOGITS.double().requires_grad_()
    assert torch.autograd.gradcheck(loss_of, (logits, labels))


def test_pain_07_the_logit_of_an_ignored_label_does_not_count(loss_of):
    labels = LABELS.clone()
    labels[0, 1] = labels[1, 2] = -100
    losses = []
    for shift in (0.0, 3.0):
        logits = (LOGITS + shift * (labels == -100)).requires_grad_()
        losses.append(loss_of(logits, labels))
        (gradient,) = torch.autograd.grad(losses[-1], logits)
        assert ((gradient == 0) == (labels == -100)).all()
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pain_21_every_loss_is_computed_in_float32(loss_of, dtype):
    logits = LOGITS.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        loss = loss_of(logits, LABELS)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, loss_of(logits.float(), LABELS))


@pytest.mark.parametrize("size", [0.0, 30.0, 200.0, 6e4])
def test_pain_21_loss_and_gradient_are_finite_however_confident_the_model_is(loss_of, size):
    logits = torch.tensor([[-size, size, 0.0], [size, -size, size], [-size, -size, -size]]).requires_grad_()
    labels = torch.tensor([[1.0, 0.0, -100.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    loss = loss_of(logits, labels)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize(
    "neutral",
    [
        partial(focal, gamma=0),
        partial(asymmetric, gamma_positive=0, gamma_negative=0, margin=0),
        partial(distribution_balanced, frequencies=PRIORS, alpha=0.5, beta=0, scale=1, kappa=0, gamma=0),
        partial(expected_f1, cross_entropy=1),
    ],
    ids=["focal", "asymmetric", "distribution_balanced", "expected_f1"],
)
@pytest.mark.parametrize("labels", [LABELS, SOFT, torch.zeros(2, 3)], ids=["hard", "soft", "texts_without_label"])
def test_a_loss_with_neutral_parameters_is_binary_cross_entropy(neutral, labels):
    torch.testing.assert_close(neutral(LOGITS, labels), binary_cross_entropy(LOGITS, labels))
    if neutral.func in (focal, asymmetric):
        weighted = neutral(LOGITS, labels, positive_weights=WEIGHTS)
        torch.testing.assert_close(weighted, binary_cross_entropy(LOGITS, labels, WEIGHTS))


def test_zlpr_of_one_label_is_binary_cross_entropy():
    torch.testing.assert_close(zlpr(LOGITS[:, :1], LABELS[:, :1]), binary_cross_entropy(LOGITS[:, :1], LABELS[:, :1]))


# By hand


def score(logit):
    return 1 / (1 + math.exp(-logit))


def entries(labels):
    """Row, column and value of the observed labels."""
    values = labels.tolist()
    return [(row, column, y) for row, found in enumerate(values) for column, y in enumerate(found) if y != -100]


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_is_its_equation(labels, gamma):
    terms = []
    for row, column, y in entries(labels):
        p = score(LOGITS[row, column].item())
        terms.append(y * WEIGHTS[column].item() * (1 - p) ** gamma * -math.log(p))
        terms[-1] += (1 - y) * p**gamma * -math.log(1 - p)
    expected = sum(terms) / len(terms)
    assert focal(LOGITS, labels, WEIGHTS, gamma=gamma).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize(
    ("positive", "negative", "margin"), [(0.0, 4.0, 0.05), (1.0, 2.0, 0.4), (2.0, 1.0, 0.0), (0.0, 0.0, 0.4)]
)
def test_the_asymmetric_loss_is_its_equation(labels, positive, negative, margin):
    terms = []
    for row, column, y in entries(labels):
        p = score(LOGITS[row, column].item())
        shifted = max(p - margin, 0)
        terms.append(y * WEIGHTS[column].item() * (1 - p) ** positive * -math.log(p))
        terms[-1] += (1 - y) * shifted**negative * -math.log(1 - shifted)
    expected = sum(terms) / len(terms)
    parameters = {"gamma_positive": positive, "gamma_negative": negative, "margin": margin}
    assert asymmetric(LOGITS, labels, WEIGHTS, **parameters).item() == pytest.approx(expected, rel=1e-5)


def test_an_absent_label_that_scores_below_the_margin_does_not_count():
    logits = torch.tensor([[-4.0, -2.0]]).requires_grad_()  # scores .018 and .119
    asymmetric(logits, torch.zeros(1, 2), margin=0.05).backward()
    assert logits.grad[0, 0] == 0 < logits.grad[0, 1]


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
def test_zlpr_is_its_equation_and_a_text_counts_by_its_observed_labels(labels):
    texts = []
    for row in range(2):
        known = [(LOGITS[row, column].item(), y) for at, column, y in entries(labels) if at == row]
        present = math.log(1 + sum(y * math.exp(-z) for z, y in known))
        absent = math.log(1 + sum((1 - y) * math.exp(z) for z, y in known))
        texts.append((present + absent, len(known)))
    expected = sum(loss * count for loss, count in texts) / sum(count for _, count in texts)
    assert zlpr(LOGITS, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize(
    "labels",
    [LABELS, torch.tensor([[0.0, 0.0, -100.0], [1.0, 1.0, 0.0]]), SOFT],
    ids=["hard", "a_text_without_label", "soft"],
)
def test_the_distribution_balanced_loss_is_its_equation(labels, gamma):
    alpha, beta, mu, scale, kappa = 0.2, 3.0, 0.4, 2.5, 0.1
    rarity = [1 / share for share in PRIORS.tolist()]
    terms = []
    for row, column, y in entries(labels):
        sampled = sum(y_of * rarity[of] for at, of, y_of in entries(labels) if at == row)
        weight = alpha + (score(beta * (rarity[column] / sampled - mu)) if sampled else 1)
        z = LOGITS[row, column].item() - kappa * math.log(rarity[column] - 1)
        present = (1 - score(z)) ** gamma * -math.log(score(z))
        absent = score(scale * z) ** gamma * -math.log(1 - score(scale * z)) / scale
        terms.append(weight * (y * present + (1 - y) * absent))
    parameters = {"alpha": alpha, "beta": beta, "mu": mu, "scale": scale, "kappa": kappa, "gamma": gamma}
    loss = distribution_balanced(LOGITS, labels, PRIORS, **parameters)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_labels_of_no_text_and_of_all_texts_are_balanced_finitely():
    logits = LOGITS.clone().requires_grad_()
    loss = distribution_balanced(logits, LABELS, torch.tensor([0.0, 1.0, 0.5]))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


# The expected F1


def f1(tags, truth):
    return 2 * len(tags & truth) / (len(tags) + len(truth)) if tags or truth else 1


def subsets(items):
    return [set(some) for size in range(len(items) + 1) for some in itertools.combinations(items, size)]


def expectation(logits, truth, known):
    """Of the F1 of a text, over all sets of known labels."""
    scores = logits.sigmoid()
    return sum(
        f1(tags, truth) * math.prod(scores[label] if label in tags else 1 - scores[label] for label in known)
        for tags in subsets(known)
    )


TEXT = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("truth", subsets([0, 1, 2]), ids=str)
@pytest.mark.parametrize("unknown", [None, 2])
def test_the_expected_f1_and_its_gradient_are_those_of_all_sets(truth, unknown):
    known = [label for label in range(3) if label != unknown]
    labels = torch.tensor([[-100.0 if label == unknown else float(label in truth) for label in range(3)]])
    logits = TEXT.clone().requires_grad_()
    expected = 1 - expectation(logits, truth - {unknown}, known)
    loss = expected_f1(logits.unsqueeze(0), labels, cross_entropy=0)
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients)


def test_the_expected_f1_of_many_labels_is_that_of_the_numbers_of_true_and_false_positives():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(300, generator=generator)
    labels = (torch.rand(300, generator=generator) < 0.03).float()
    chances = {}
    for present in (True, False):
        chances[present] = [1.0]  # of 0, 1, ... tags
        for chance in logits[(labels == 1) == present].double().sigmoid().tolist():
            before = chances[present]
            chances[present] = [
                (1 - chance) * stay + chance * more for stay, more in zip([*before, 0.0], [0.0, *before], strict=True)
            ]
    size = int(labels.sum())
    expected = sum(
        hit * miss * 2 * hits / (hits + misses + size)
        for hits, hit in enumerate(chances[True])
        for misses, miss in enumerate(chances[False])
    )
    loss = expected_f1(logits.unsqueeze(0), labels.unsqueeze(0), cross_entropy=0)
    assert 1 - loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_truth_of_the_f1_has_the_labels_of_at_least_a_half():
    alone = partial(expected_f1, LOGITS, cross_entropy=0)
    assert alone(torch.tensor([[0.5, 0.4, 1.0], [0.0, 0.6, 0.2]])) == alone(
        torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    )


def test_the_mixing_weight_mixes_the_expected_f1_with_cross_entropy():
    alone, entropy = expected_f1(LOGITS, LABELS, cross_entropy=0), binary_cross_entropy(LOGITS, LABELS)
    torch.testing.assert_close(expected_f1(LOGITS, LABELS, cross_entropy=0.3), 0.7 * alone + 0.3 * entropy)


@pytest.mark.parametrize("truth", [set(), {0}, {0, 2}], ids=str)
def test_the_sampled_gradient_is_on_average_that_of_the_expected_f1(truth):
    labels = torch.tensor([[float(label in truth) for label in range(3)]])
    found = []
    for samples in (0, 200_000):
        logits = TEXT.float().unsqueeze(0).requires_grad_()
        expected_f1(logits, labels, torch.tensor([0.3, 0.5, 0.9]), cross_entropy=0, samples=samples).backward()
        found.append(logits.grad)
    torch.testing.assert_close(found[1], found[0], atol=4e-3, rtol=0)
    assert found[0].abs().max() > 0.02


def test_the_sampled_sets_are_compared_with_the_greedy_set():
    # The ignored label is over its threshold; that with the score 0.5 has it.
    logits = torch.tensor([[0.3, 1.2, 2.0], [-0.4, 0.0, 5.0]])
    labels = torch.tensor([[1.0, -100.0, 0.0], [0.0, 0.0, 0.0]])
    thresholds = torch.tensor([0.5, 0.5, 0.999])
    torch.manual_seed(3)
    loss = expected_f1(logits, labels, thresholds, cross_entropy=0, samples=5)
    torch.manual_seed(3)
    chances = torch.rand(5, 2, 3).tolist()
    terms = []
    for drawn, row in itertools.product(range(5), range(2)):
        known = [label for label in range(3) if labels[row, label] != -100]
        scores = [score(logit) for logit in logits[row].tolist()]
        truth = {label for label in known if labels[row, label] == 1}
        tags = {label for label in known if chances[drawn][row][label] < scores[label]}
        greedy = {label for label in known if scores[label] >= thresholds[label]}
        log_p = sum(math.log(scores[label] if label in tags else 1 - scores[label]) for label in known)
        terms.append(-(f1(tags, truth) - f1(greedy, truth)) * log_p * len(known) / 5)  # of 5 known labels
    assert any(terms)
    assert loss.item() == pytest.approx(sum(terms) / 5, rel=1e-5)


# The loss of the model

# Each with parameters that are not the defaults.
CONFIGURED = {
    "bce": {"positive_weights": 2.5, "label_smoothing": 0.1},
    "focal": {"objective_parameters": {"gamma": 3}, "positive_weights": "balanced", "label_smoothing": 0.1},
    "asymmetric": {"objective_parameters": {"gamma_negative": 2, "margin": 0.1}, "positive_weights": 2.5},
    "zlpr": {"label_smoothing": 0.1},
    "distribution_balanced": {"objective_parameters": {"mu": 0.2, "gamma": 1}},
    "expected_f1": {"objective_parameters": {"cross_entropy": 0.2}},
}
FUNCTIONS = {
    "bce": partial(binary_cross_entropy, positive_weights=torch.tensor([2.5] * 3)),
    "focal": partial(focal, positive_weights=torch.tensor([1.0, 4.0, 10.0]), gamma=3),
    "asymmetric": partial(asymmetric, positive_weights=torch.tensor([2.5] * 3), gamma_negative=2, margin=0.1),
    "zlpr": zlpr,
    "distribution_balanced": partial(distribution_balanced, frequencies=PRIORS, mu=0.2, gamma=1),
    "expected_f1": partial(expected_f1, cross_entropy=0.2),
}


@pytest.mark.parametrize("objective", CONFIGURED)
def test_the_objective_of_the_configuration_is_the_loss_and_travels_with_it(tmp_path, build_tagger, batch, objective):
    settings = CONFIGURED[objective]
    model = build_tagger(objective=objective, label_frequencies=FREQUENCIES, **settings)
    model.save_pretrained(tmp_path)
    smoothing = settings.get("label_smoothing", 0)
    labels = batch["labels"] * (1 - smoothing) + smoothing / 2
    labels[1, 1] = -100
    for each in [model, RnnMultilabelForSequenceClassification.from_pretrained(tmp_path)]:
        outputs = each(**batch)
        torch.testing.assert_close(outputs.loss, FUNCTIONS[objective](outputs.logits, labels))


def test_thresholds_that_are_tuned_later_are_those_of_the_greedy_set(build_tagger, batch):
    model = build_tagger(
        objective="expected_f1", objective_parameters={"samples": 4, "cross_entropy": 0}, thresholds=0.9
    )
    losses = []
    for thresholds in ({"LABEL_0": 0.1, "LABEL_1": 0.99}, {"LABEL_0": 0.99, "LABEL_1": 0.1}):
        model.config.thresholds = thresholds
        torch.manual_seed(0)
        outputs = model(**batch)
        torch.manual_seed(0)
        limits = torch.tensor(model.config.label_thresholds)
        expected = expected_f1(outputs.logits, batch["labels"], limits, cross_entropy=0, samples=4)
        torch.testing.assert_close(outputs.loss, expected)
        losses.append(outputs.loss.item())
    assert losses[0] != losses[1]


def test_the_package_registers_every_objective_that_the_configuration_knows():
    functions = {"bce": binary_cross_entropy} | {name: getattr(objectives, name) for name in objectives.OBJECTIVES}
    assert list(get_args(ObjectiveName)) == list(functions) == list(OBJECTIVE_PARAMETERS)
    assert losses.OBJECTIVES == objectives.OBJECTIVES
    for name, loss in functions.items():
        parameters = inspect.signature(loss).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
        assert defaults.keys() == OBJECTIVE_PARAMETERS[name].keys()
        for parameter, (low, high) in OBJECTIVE_PARAMETERS[name].items():
            assert low <= defaults[parameter] <= high


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("objective", CONFIGURED)
def test_pain_20_four_accumulated_batches_train_as_one_with_every_objective(compare_accumulated, objective):
    compare_accumulated(objective=objective, label_frequencies=FREQUENCIES, **CONFIGURED[objective])
