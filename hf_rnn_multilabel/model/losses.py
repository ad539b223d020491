"""Losses over known labels: of a text, each 0, 1 or anything between; of a step, its token. -100 where unknown.

Each is a mean over the batch's known labels; a loss of a whole text counts once for each label of it that is known. So
the parts of a batch, each divided by the whole's number of known labels, sum to the loss of the whole.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from .configuration_rnn_multilabel import RnnMultilabelConfig


UNKNOWN = -100
MOST_NODES = 64


def training_loss(
    config: RnnMultilabelConfig,
    logits: torch.Tensor,
    labels: torch.Tensor | None,
    positive_weights: torch.Tensor,
    teacher_logits: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """The loss that the configuration names, of smoothed labels (y becomes y (1 - s) + s / 2), mixed with a teacher's.

    Source of the smoothing: Szegedy et al. 2016, section 7, with the two classes that a label has.

    Args:
        config: as it is now: thresholds may have been tuned since the net was made.
        logits, labels, positive_weights, num_items_in_batch: see `binary_cross_entropy`.
        teacher_logits: (batch, labels) of the teacher, if there is one, see `distillation`; its scores stand in for
            unknown labels.
    """
    taught = None
    if teacher_logits is not None:
        taught = distillation(logits, teacher_logits, config.distillation_temperature, num_items_in_batch)
        labels = labels_from_teacher(labels, teacher_logits, num_items_in_batch)
    numbers = dict(config.objective_parameters or {})
    if config.objective in ("bce", "focal", "asymmetric"):
        numbers["positive_weights"] = positive_weights
    elif config.objective == "distribution_balanced":
        numbers["frequencies"] = torch.tensor(config.label_shares, device=logits.device)
    elif config.objective == "expected_f1":
        numbers["thresholds"] = torch.tensor(config.label_thresholds, device=logits.device)
    if config.label_smoothing:
        smoothed = labels.float() * (1 - config.label_smoothing) + config.label_smoothing / 2
        labels = torch.where(labels == UNKNOWN, UNKNOWN, smoothed)
    loss = OBJECTIVES[config.objective](logits, labels, num_items_in_batch=num_items_in_batch, **numbers)
    if taught is None:
        return loss
    return (1 - config.distillation_weight) * loss + config.distillation_weight * taught


def binary_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    positive_weights: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """L = -1/K sum_i w_i y_i log s(z_i) + (1 - y_i) log(1 - s(z_i)), over the K known labels of the batch.

    Args:
        logits: (batch, labels).
        labels: (batch, labels) float, int or bool; -100 where unknown.
        positive_weights: (labels,) factors w of a present label.
        num_items_in_batch: the number of known labels in all parts of a batch that is split for gradient accumulation
            or over processes; the sum over the parts is then the loss of the whole. None: this batch's own.

    Returns:
        a scalar, float32 (float64 for float64 logits); 0 where no label is known.

    Raises:
        ValueError: if `labels` is not of the shape of `logits`.
    """
    logits, labels, known = _prepare(logits, labels)
    losses = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=positive_weights, reduction="none")
    return _mean_over_known(losses, known, num_items_in_batch)


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
        logits, labels, positive_weights, num_items_in_batch: see `binary_cross_entropy`. A label between 0 and 1
            gives the expected loss.
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

    p is the score and p_m = max(p - margin, 0): absent labels that score below the margin do not count.
    Source: Ridnik et al. 2021, section 2.

    Args:
        logits, labels, positive_weights, num_items_in_batch: see `binary_cross_entropy`. A label between 0 and 1
            gives the expected loss.
        gamma_positive, gamma_negative: 0 with a margin of 0 is binary cross-entropy.
        margin: of the score, 0 to 1.
    """
    logits, labels, known = _prepare(logits, labels)
    log_absent = F.logsigmoid(-logits)  # log(1 - p)
    present = (gamma_positive * log_absent).exp() * -F.logsigmoid(logits)
    log_shifted = torch.logaddexp(log_absent, logits.new_tensor(margin).log()).clamp(max=0)  # log(1 - p_m)
    # The slope of a power below 1 is infinite at 0.
    shifted = (-torch.expm1(log_shifted)).clamp(min=torch.finfo(logits.dtype).tiny)
    absent = shifted**gamma_negative * -log_shifted
    weighted = labels if positive_weights is None else labels * positive_weights
    return _mean_over_known(weighted * present + (1 - labels) * absent, known, num_items_in_batch)


def zlpr(
    logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """log(1 + sum_i y_i exp(-z_i)) + log(1 + sum_i (1 - y_i) exp(z_i)) of a text: present above 0, absent below.

    Source: Su et al. 2022 (arXiv 2208.02955), ZLPR and its soft version for labels between 0 and 1. With a single
    label, 0 or 1, it is binary cross-entropy.

    Args:
        logits, labels, num_items_in_batch: see `binary_cross_entropy`.
    """
    logits, labels, known = _prepare(logits, labels)
    zero = logits.new_zeros(len(logits), 1)
    present = torch.cat([zero, labels.log() - logits], 1).logsumexp(1, keepdim=True)  # (batch, 1)
    absent = torch.cat([zero, (known.to(labels) - labels).log() + logits], 1).logsumexp(1, keepdim=True)
    return _mean_over_known(present + absent, known, num_items_in_batch)


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
    """Cross-entropy with weights against label co-occurrence and with tolerance of negatives.

    r_i (y_i log(1 + exp(-u_i)) + (1 - y_i) log(1 + exp(scale u_i)) / scale), where u_i = z_i + kappa log-odds(f_i) and
    r_i = alpha + s(beta (1/f_i / sum_k y_k/f_k - mu)), which is small where the text's other labels are rarer.
    Source: Wu et al. 2020, section 3; the defaults but for gamma are those of Huang et al. 2021 for Reuters-21578, who
    also make it focal, with gamma 2.

    Args:
        logits, labels, num_items_in_batch: see `binary_cross_entropy`. A label between 0 and 1 counts as this share
            of a label, in the weights too.
        frequencies: (labels,) shares f of the training texts.
        alpha, beta, mu: lift, steepness and centre of the weights.
        scale, kappa: of the tolerance: slope of an absent label's logit, and share of the log-odds in the bias.
        gamma: as in `focal`, of the scaled logits. With alpha .5, scale 1 and the others 0 it is binary cross-entropy.
    """
    logits, labels, known = _prepare(logits, labels)
    frequencies = frequencies.to(logits).clamp(1e-6, 1 - 1e-6)
    # Without any label the rate is infinite; the bound leaves it large.
    rates = 1 / frequencies / (labels / frequencies).sum(1, keepdim=True).clamp(min=1e-6)
    weights = alpha + torch.sigmoid(beta * (rates - mu))
    biased = logits + kappa * frequencies.logit()
    present = (gamma * F.logsigmoid(-biased)).exp() * -F.logsigmoid(biased)
    absent = (gamma * F.logsigmoid(scale * biased)).exp() * -F.logsigmoid(-scale * biased) / scale
    return _mean_over_known(weights * (labels * present + (1 - labels) * absent), known, num_items_in_batch)


def expected_f1(
    logits: torch.Tensor,
    labels: torch.Tensor,
    thresholds: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    cross_entropy: float = 0.5,
    samples: int = 0,
) -> torch.Tensor:
    """1 - E[F1] of a text whose tags are drawn from the scores, mixed with binary cross-entropy.

    The F1 is 2 |tags and truth| / (|tags| + |truth|), and 1 where both are empty. It is meant for a net that has been
    trained on cross-entropy. Without samples the expectation is computed (see `_expected_f1`). With samples its
    gradient is estimated from drawn sets, -(F1 - F1 of the greedy set) log p(set), by REINFORCE (Williams 1992) with
    the self-critical baseline (Rennie et al. 2017): the same gradient on average, at less cost where there are
    hundreds of labels; the parts of a batch then equal the whole on average only.

    Args:
        logits, labels, num_items_in_batch: see `binary_cross_entropy`. The truth has the labels of at least 0.5.
        thresholds: (labels,) scores from which a label is in the greedy set, 0.5 without; for samples.
        cross_entropy: share of the cross-entropy; 1 is binary cross-entropy, 0 the F1 alone.
        samples: sets drawn for each text.
    """
    logits, labels, known = _prepare(logits, labels)
    truth = (labels >= 0.5) & known
    if samples:
        thresholds = 0.5 if thresholds is None else thresholds
        texts = _self_critical(logits, truth, known, thresholds, samples)  # (batch,)
    else:
        texts = 1 - _expected_f1(logits, truth, known)
    entropies = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    losses = cross_entropy * entropies + (1 - cross_entropy) * texts.unsqueeze(1)
    return _mean_over_known(losses, known, num_items_in_batch)


OBJECTIVES: dict[str, Callable[..., torch.Tensor]] = {
    "bce": binary_cross_entropy,
    "focal": focal,
    "asymmetric": asymmetric,
    "zlpr": zlpr,
    "distribution_balanced": distribution_balanced,
    "expected_f1": expected_f1,
}


def token_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """L = -1/K sum_i log softmax(z_i)[y_i], over the K known tokens of the batch.

    Args:
        logits: (..., tokens).
        labels: (...) int, the ids; -100 where unknown.
        num_items_in_batch: as for `binary_cross_entropy`.

    Returns:
        a float32 scalar; 0 where no token is known.
    """
    labels = labels.to(logits.device, torch.long)
    losses = F.cross_entropy(logits.float().flatten(0, -2), labels.flatten(), ignore_index=UNKNOWN, reduction="sum")
    return losses / _count(labels != UNKNOWN, num_items_in_batch)


def distillation(
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    temperature: float = 1.0,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """L = -T^2/K sum_i q_i log s(z_i/T) + (1 - q_i) log(1 - s(z_i/T)), q_i = s(t_i/T), over the batch's K entries.

    Hinton, Vinyals, Dean (2015), equation 1 and the factor T^2 of section 2, for one sigmoid a label.

    Args:
        logits: (batch, labels), z.
        teacher_logits: (batch, labels), t.
        temperature: T; the larger, the closer the gradient comes to that of the squared difference of the logits.
        num_items_in_batch: as for `binary_cross_entropy`; all labels count as known.

    Returns:
        a float32 scalar.

    Raises:
        ValueError: if `teacher_logits` is not of the shape of `logits`.
    """
    if teacher_logits.shape != logits.shape:
        raise ValueError(
            f"`teacher_logits` has the shape {tuple(teacher_logits.shape)}, the logits {tuple(logits.shape)}: give "
            "each text one logit a label, in the order of this model's labels."
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
    """The labels, and the teacher's scores where they are unknown, so that such an entry weighs as much as any other.

    Args:
        labels: (batch, labels), -100 where unknown; None: all are.
        teacher_logits: (batch, labels).
        num_items_in_batch: as for `binary_cross_entropy`. `Trainer` counts what is not -100.

    Returns:
        (batch, labels) float32, all known.

    Raises:
        ValueError: if the shapes differ, or if labels are unknown and `num_items_in_batch` is given, which lacks them.
    """
    scores = teacher_logits.float().sigmoid()
    if labels is None:
        return scores
    if labels.shape != teacher_logits.shape:
        raise ValueError(
            f"`labels` has the shape {tuple(labels.shape)}, `teacher_logits` {tuple(teacher_logits.shape)}: give each "
            "text one value and one logit a label."
        )
    unknown = labels == UNKNOWN
    if num_items_in_batch is not None and unknown.any():
        raise ValueError(
            f"{int(unknown.sum())} labels with `teacher_logits` are -100, and `num_items_in_batch` does not count "
            "them: give such labels the teacher's score, sigmoid(teacher_logits), before training."
        )
    return torch.where(unknown, scores, labels.to(scores.dtype))


def _prepare(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits and labels in at least float32, 0 for an unknown label, and which ones are known."""
    if labels.shape != logits.shape:
        raise ValueError(
            f"`labels` has the shape {tuple(labels.shape)}, the logits {tuple(logits.shape)}: give each text one "
            "value a label, 0 or 1, -100 where unknown."
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = labels.to(logits)
    known = labels != UNKNOWN
    return logits, labels.masked_fill(~known, 0), known


def _mean_over_known(
    losses: torch.Tensor, known: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor:
    """Of losses (batch, labels), or (batch, 1) for all labels of a text."""
    return (losses * known).sum() / _count(known, num_items_in_batch)


def _count(known: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor:
    count = known.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch, device=known.device)
    return count.flatten()[0].clamp(min=1)


def _expected_f1(logits: torch.Tensor, truth: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The expectation of a text's F1 over independent tags, (batch,), not an estimate of it.

    With n labels in the truth, E[F1] = 2 sum_{i in truth} p_i E[1 / (n + 1 + tags but i)], and E[1 / (n + 1 + T)] is
    the integral of x^n E[x^T] over [0, 1] (Chao & Strawderman 1972), of a polynomial, since E[x^T] is the product of
    1 - p_k (1 - x). Gauss's rule is exact for it with as many nodes as labels; with MOST_NODES, it was right to
    float32's rounding with 8,000 labels and a thousand expected tags.
    """
    scores = logits.sigmoid() * known
    nodes, node_weights = (part.to(logits) for part in _gauss_legendre(min(logits.shape[1], MOST_NODES)))
    factors = 1 - scores.unsqueeze(1) * (1 - nodes).unsqueeze(1)  # (batch, nodes, labels)
    hits = ((truth * scores).unsqueeze(1) / factors).sum(2)  # (batch, nodes)
    size = truth.sum(1, keepdim=True)
    f1 = 2 * (node_weights * nodes**size * hits * factors.log().sum(2).exp()).sum(1)
    no_tag = (F.logsigmoid(-logits) * known).sum(1).exp()
    return torch.where(size.squeeze(1) == 0, no_tag, f1)


def _gauss_legendre(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Nodes and weights on [0, 1], exact for polynomials of a degree below 2 count (Golub & Welsch 1969)."""
    order = torch.arange(1, count, dtype=torch.float64, device="cpu")
    beside = order / (4 * order**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return (nodes + 1) / 2, vectors[0] ** 2


def _self_critical(
    logits: torch.Tensor, truth: torch.Tensor, known: torch.Tensor, thresholds: torch.Tensor | float, samples: int
) -> torch.Tensor:
    """A text's -(F1(set) - F1(greedy set)) log p(set), (batch,), the mean over the drawn sets."""
    scores = logits.sigmoid()
    drawn = (torch.rand(samples, *scores.shape, device=scores.device) < scores) & known  # (samples, batch, labels)
    advantage = _f1(drawn, truth) - _f1((scores >= thresholds) & known, truth)  # (samples, batch)
    log_scores = torch.where(drawn, F.logsigmoid(logits), F.logsigmoid(-logits)) * known
    return -(advantage * log_scores.sum(2)).mean(0)


def _f1(tags: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    size = tags.sum(-1) + truth.sum(-1)
    return torch.where(size == 0, 1.0, 2 * (tags & truth).sum(-1) / size.clamp(min=1))
