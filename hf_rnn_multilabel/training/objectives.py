"""The objectives beside binary cross-entropy, and the loss of a student against its teacher.

They only train, so they do not travel: the package registers them where the model looks for its loss. Each is a mean
over the observed labels of the batch. A loss of a whole text counts once for each of its observed labels. So the parts
of a batch, each divided by the number of observed labels in the whole, sum to the loss of the whole.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ..model.losses import IGNORED, binary_cross_entropy, mean_over_observed, split_observed, training_loss


MAX_NODES = 64


def focal(
    logits: torch.Tensor,
    labels: torch.Tensor,
    positive_weights: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    gamma: float = 2.0,
) -> torch.Tensor:
    """-(1 - p_t)^gamma log p_t, where p_t is the score of what is true: easy labels count less.

    Source: Lin et al. 2017, equations 4 and 5; a positive weight w is their alpha / (1 - alpha).

    Args:
        logits: See `model.losses.binary_cross_entropy`, as for the others.
        labels: A label between 0 and 1 gives the expected loss.
        positive_weights: (labels,).
        num_items_in_batch: A number.
        gamma: 0 is binary cross-entropy.
    """
    return asymmetric(
        logits, labels, positive_weights, num_items_in_batch, gamma_positive=gamma, gamma_negative=gamma, margin=0.0
    )


def asymmetric(
    logits: torch.Tensor,
    labels: torch.Tensor,
    positive_weights: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
) -> torch.Tensor:
    """-(1 - p)^gamma_positive log p of a present label, -p_m^gamma_negative log(1 - p_m) of an absent one.

    p is the score and p_m = max(p - margin, 0): absent labels with a score below the margin do not count.
    Source: Ridnik et al. 2021, section 2.

    Args:
        logits: See `model.losses.binary_cross_entropy`, as for the others.
        labels: A label between 0 and 1 gives the expected loss.
        positive_weights: (labels,).
        num_items_in_batch: A number.
        gamma_positive: Of present labels.
        gamma_negative: Of absent labels. With both gammas and the margin 0 it is binary cross-entropy.
        margin: Of the score, 0 to 1.
    """
    logits, labels, observed = split_observed(logits, labels)
    log_absent = F.logsigmoid(-logits)  # log(1 - p)
    present = (gamma_positive * log_absent).exp() * -F.logsigmoid(logits)
    log_shifted = torch.logaddexp(log_absent, logits.new_tensor(margin).log()).clamp(max=0)  # log(1 - p_m)
    # The slope of a power below 1 is infinite at 0.
    shifted = (-torch.expm1(log_shifted)).clamp(min=torch.finfo(logits.dtype).tiny)
    absent = shifted**gamma_negative * -log_shifted
    weighted = labels if positive_weights is None else labels * positive_weights
    return mean_over_observed(weighted * present + (1 - labels) * absent, observed, num_items_in_batch)


def zlpr(
    logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """log(1 + sum_i y_i exp(-z_i)) + log(1 + sum_i (1 - y_i) exp(z_i)) of a text: present above 0, absent below.

    Source: Su et al. 2022 (arXiv 2208.02955), ZLPR and its soft version for labels between 0 and 1. With a single
    label, 0 or 1, it is binary cross-entropy.

    Args:
        logits: See `model.losses.binary_cross_entropy`, as for the others.
        labels: (batch, labels).
        num_items_in_batch: A number.
    """
    logits, labels, observed = split_observed(logits, labels)
    zero = logits.new_zeros(len(logits), 1)
    present = torch.cat([zero, labels.log() - logits], 1).logsumexp(1, keepdim=True)  # (batch, 1)
    absent = torch.cat([zero, (observed.to(labels) - labels).log() + logits], 1).logsumexp(1, keepdim=True)
    return mean_over_observed(present + absent, observed, num_items_in_batch)


def distribution_balanced(
    logits: torch.Tensor,
    labels: torch.Tensor,
    frequencies: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.9,
    scale: float = 2.0,
    kappa: float = 0.05,
    gamma: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy with weights against the co-occurrence of labels, and with tolerance of negatives.

    r_i (y_i log(1 + exp(-u_i)) + (1 - y_i) log(1 + exp(scale u_i)) / scale), where u_i = z_i + kappa log-odds(f_i) and
    r_i = alpha + s(beta (1/f_i / sum_k y_k/f_k - mu)), which is small where the other labels of the text are rarer.
    Source: Wu et al. 2020, section 3; the defaults but for gamma are those of Huang et al. 2021 for Reuters-21578, who
    also make it focal, with gamma 2.

    Args:
        logits: See `model.losses.binary_cross_entropy`, as for the others.
        labels: A label between 0 and 1 counts as this fraction of a label, in the weights too.
        frequencies: (labels,) fractions f of the training texts.
        num_items_in_batch: A number.
        alpha: Lift of the weights.
        beta: Steepness of the weights.
        mu: Centre of the weights.
        scale: Slope of the logit of an absent label.
        kappa: Fraction of the log-odds in the bias.
        gamma: As in `focal`, of the scaled logits. With alpha .5, scale 1 and the others 0 it is binary cross-entropy.
    """
    logits, labels, observed = split_observed(logits, labels)
    frequencies = frequencies.to(logits).clamp(1e-6, 1 - 1e-6)
    # Without any label the rate is infinite; the bound leaves it large.
    rates = 1 / frequencies / (labels / frequencies).sum(1, keepdim=True).clamp(min=1e-6)
    weights = alpha + torch.sigmoid(beta * (rates - mu))
    biased = logits + kappa * frequencies.logit()
    present = (gamma * F.logsigmoid(-biased)).exp() * -F.logsigmoid(biased)
    absent = (gamma * F.logsigmoid(scale * biased)).exp() * -F.logsigmoid(-scale * biased) / scale
    return mean_over_observed(weights * (labels * present + (1 - labels) * absent), observed, num_items_in_batch)


def expected_f1(
    logits: torch.Tensor,
    labels: torch.Tensor,
    thresholds: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    cross_entropy: float = 0.5,
    samples: int = 0,
) -> torch.Tensor:
    """1 - E[F1] of a text whose predicted labels are sampled from the scores, mixed with binary cross-entropy.

    The F1 of a text is 2 |predicted and true| / (|predicted| + |true|), and 1 where both are empty. It is meant for a
    model that has been trained on cross-entropy. Without samples the expectation is computed (see `_expected_f1`).
    With samples its gradient is estimated from sampled sets, -(F1 - F1 of the greedy set) log p(set), by REINFORCE
    (Williams 1992) with the self-critical baseline (Rennie et al. 2017). That is the same gradient on average, at less
    cost where there are hundreds of labels. The parts of a batch then equal the whole on average only.

    Args:
        logits: See `model.losses.binary_cross_entropy`, as for the others.
        labels: The true labels are those of at least 0.5.
        thresholds: (labels,) scores from which a label is in the greedy set, for samples; None: 0.5.
        num_items_in_batch: A number.
        cross_entropy: Mixing weight of the cross-entropy; 1 is binary cross-entropy, 0 the F1 alone.
        samples: Sets that are sampled for each text.
    """
    logits, labels, observed = split_observed(logits, labels)
    truth = (labels >= 0.5) & observed
    if samples:
        greedy = (logits.sigmoid() >= (0.5 if thresholds is None else thresholds)) & observed
        texts = _self_critical(logits, truth, observed, greedy, samples)  # (batch,)
    else:
        texts = 1 - _expected_f1(logits, truth, observed)
    entropies = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    losses = cross_entropy * entropies + (1 - cross_entropy) * texts.unsqueeze(1)
    return mean_over_observed(losses, observed, num_items_in_batch)


def configured(loss: Callable[..., torch.Tensor], needs: str | None = None) -> Callable[..., torch.Tensor]:
    """A loss as `model.losses.OBJECTIVES` holds it: its numbers are those of the configuration.

    Args:
        loss: One of this module's.
        needs: The name of its argument with one number per label, if it has one: "positive_weights", "frequencies" or
            "thresholds".
    """

    def objective(
        config: Any,
        logits: torch.Tensor,
        labels: torch.Tensor,
        positive_weights: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        numbers = dict(config.objective_parameters or {})
        if needs == "positive_weights":
            numbers[needs] = positive_weights
        elif needs == "frequencies":
            numbers[needs] = torch.tensor(config.label_priors, device=logits.device)
        elif needs == "thresholds":
            numbers[needs] = torch.tensor(config.label_thresholds, device=logits.device)
        return loss(logits, labels, num_items_in_batch=num_items_in_batch, **numbers)

    return objective


# What the package registers with the model.
OBJECTIVES: dict[str, Callable[..., torch.Tensor]] = {
    "focal": configured(focal, "positive_weights"),
    "asymmetric": configured(asymmetric, "positive_weights"),
    "zlpr": configured(zlpr),
    "distribution_balanced": configured(distribution_balanced, "frequencies"),
    "expected_f1": configured(expected_f1, "thresholds"),
}


def distilled_loss(
    model: Any,
    logits: torch.Tensor,
    labels: torch.Tensor | None,
    teacher_logits: torch.Tensor,
    *,
    weight: float = 0.5,
    temperature: float = 1.0,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """(1 - w) * objective + w * distillation, where an ignored label is the score of the teacher.

    Args:
        model: The student, whose configuration names the objective.
        logits: (batch, labels), the student's.
        labels: (batch, labels), -100 where ignored; None: all are.
        teacher_logits: (batch, labels).
        weight: w, from 0 to 1.
        temperature: See `distillation`.
        num_items_in_batch: As for `model.losses.binary_cross_entropy`.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: As for `distillation` and `labels_from_teacher`.
    """
    from_teacher = distillation(logits, teacher_logits, temperature, num_items_in_batch)
    labels = labels_from_teacher(labels, teacher_logits, num_items_in_batch)
    objective = training_loss(model.config, logits, labels, model.positive_weights, num_items_in_batch)
    return (1 - weight) * objective + weight * from_teacher


def check_distillation(weight: float, temperature: float) -> None:
    """Refuses a weight or a temperature of the distillation that is out of range.

    Raises:
        ValueError: If `weight` is not from 0 to 1, or `temperature` is not above 0 and finite.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"`distillation_weight` is {weight}; it must be in [0, 1].")
    if not 0 < temperature < math.inf:
        raise ValueError(f"`distillation_temperature` is {temperature}; it must be above 0 and finite.")


def distillation(
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    temperature: float = 1.0,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """L = -T^2/K sum_i q_i log s(z_i/T) + (1 - q_i) log(1 - s(z_i/T)), q_i = s(t_i/T), over the batch's K entries.

    Source: Hinton, Vinyals, Dean 2015, equation 1 and the factor T^2 of section 2, for one sigmoid per label.

    Args:
        logits: (batch, labels), z.
        teacher_logits: (batch, labels), t.
        temperature: T; the larger, the closer the gradient comes to that of the squared difference of the logits.
        num_items_in_batch: As for `model.losses.binary_cross_entropy`; all labels count as observed.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: If `teacher_logits` is not of the shape of `logits`.
    """
    if teacher_logits.shape != logits.shape:
        raise ValueError(
            f"`teacher_logits` has the shape {tuple(teacher_logits.shape)}, the logits {tuple(logits.shape)}: give "
            "each text one logit per label, in the order of the labels of this model."
        )
    scores = (teacher_logits.to(logits.device, torch.float32) / temperature).sigmoid()
    return temperature**2 * binary_cross_entropy(
        logits.float() / temperature, scores, num_items_in_batch=num_items_in_batch
    )


def labels_from_teacher(
    labels: torch.Tensor | None,
    teacher_logits: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """The labels, with the score of the teacher where they are ignored, so that such an entry weighs as any other.

    Args:
        labels: (batch, labels), -100 where ignored; None: all are.
        teacher_logits: (batch, labels).
        num_items_in_batch: As for `model.losses.binary_cross_entropy`. `Trainer` counts what is not -100.

    Returns:
        (batch, labels) float32, all observed.

    Raises:
        ValueError: If the shapes differ, or if labels are ignored and `num_items_in_batch` is given, which lacks them.
    """
    scores = teacher_logits.float().sigmoid()
    if labels is None:
        return scores
    if labels.shape != teacher_logits.shape:
        raise ValueError(
            f"`labels` has the shape {tuple(labels.shape)}, `teacher_logits` {tuple(teacher_logits.shape)}: give each "
            "text one value and one logit per label."
        )
    ignored = labels == IGNORED
    if num_items_in_batch is not None and ignored.any():
        raise ValueError(
            f"{int(ignored.sum())} labels with `teacher_logits` are -100, and `num_items_in_batch` does not count "
            "them: give such labels the score of the teacher, sigmoid(teacher_logits), before training."
        )
    return torch.where(ignored, scores, labels.to(scores.dtype))


def _expected_f1(logits: torch.Tensor, truth: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """The expectation of the F1 of a text over independent labels, (batch,), not an estimate of it.

    With n true labels, E[F1] = 2 sum_{i true} p_i E[1 / (n + 1 + predicted but i)], and E[1 / (n + 1 + T)] is the
    integral of x^n E[x^T] over [0, 1] (Chao & Strawderman 1972), of a polynomial, since E[x^T] is the product of
    1 - p_k (1 - x). Gauss's rule is exact for it with as many nodes as labels. With MAX_NODES, it was right to the
    rounding of float32 with 8,000 labels and a thousand expected predictions.
    """
    scores = logits.sigmoid() * observed
    nodes, node_weights = (part.to(logits) for part in _gauss_legendre(min(logits.shape[1], MAX_NODES)))
    factors = 1 - scores.unsqueeze(1) * (1 - nodes).unsqueeze(1)  # (batch, nodes, labels)
    true_positives = ((truth * scores).unsqueeze(1) / factors).sum(2)  # (batch, nodes)
    size = truth.sum(1, keepdim=True)
    f1 = 2 * (node_weights * nodes**size * true_positives * factors.log().sum(2).exp()).sum(1)
    nothing_predicted = (F.logsigmoid(-logits) * observed).sum(1).exp()
    return torch.where(size.squeeze(1) == 0, nothing_predicted, f1)


def _gauss_legendre(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights on [0, 1], exact for polynomials of a degree below 2 count (Golub & Welsch 1969)."""
    order = torch.arange(1, count, dtype=torch.float64, device="cpu")
    beside = order / (4 * order**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return (nodes + 1) / 2, vectors[0] ** 2


def _self_critical(
    logits: torch.Tensor, truth: torch.Tensor, observed: torch.Tensor, greedy: torch.Tensor, samples: int
) -> torch.Tensor:
    """-(F1(set) - F1(greedy set)) log p(set) of a text, (batch,), the mean over the sampled sets."""
    scores = logits.sigmoid()
    sampled = (
        torch.rand(samples, *scores.shape, device=scores.device) < scores
    ) & observed  # (samples, batch, labels)
    advantage = _f1(sampled, truth) - _f1(greedy, truth)  # (samples, batch)
    log_scores = torch.where(sampled, F.logsigmoid(logits), F.logsigmoid(-logits)) * observed
    return -(advantage * log_scores.sum(2)).mean(0)


def _f1(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    size = predicted.sum(-1) + truth.sum(-1)
    return torch.where(size == 0, 1.0, 2 * (predicted & truth).sum(-1) / size.clamp(min=1))
