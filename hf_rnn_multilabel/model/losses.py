"""The losses that travel: binary cross-entropy over the observed labels, and cross-entropy over the observed tokens.

Each is a mean over the observed entries of the batch, those that are not -100. So the parts of a batch, each divided
by the number of observed entries in the whole, sum to the loss of the whole.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F


IGNORED = -100
# Losses of other objectives, by name: (config, logits, labels, positive_weights, num_items_in_batch) to a scalar. The
# package registers its own; a checkpoint without the package trains on binary cross-entropy.
OBJECTIVES: dict[str, Callable[..., torch.Tensor]] = {}


def training_loss(
    config,
    logits: torch.Tensor,
    labels: torch.Tensor,
    positive_weights: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """The loss that the configuration names, of smoothed labels: y becomes y (1 - s) + s / 2.

    Source of the smoothing: Szegedy et al. 2016, section 7, with the two classes of a label.

    Args:
        config: The configuration as it is now: thresholds may have been tuned since the model was made.
        logits: See `binary_cross_entropy`, as for the others.
        labels: (batch, labels).
        positive_weights: (labels,).
        num_items_in_batch: A number.

    Returns:
        A scalar.

    Raises:
        ValueError: If the objective is part of the package and the package is not there.
    """
    if config.label_smoothing:
        smoothed = labels.float() * (1 - config.label_smoothing) + config.label_smoothing / 2
        labels = torch.where(labels == IGNORED, IGNORED, smoothed)
    if config.objective == "bce":
        return binary_cross_entropy(logits, labels, positive_weights, num_items_in_batch)
    if config.objective not in OBJECTIVES:
        raise ValueError(
            f"`objective` is {config.objective!r}, whose loss is not part of the checkpoint. To train on it, "
            "`pip install hf-rnn-multilabel` and `import hf_rnn_multilabel` before the model is loaded. To train on "
            'binary cross-entropy, set `model.config.objective = "bce"`.'
        )
    return OBJECTIVES[config.objective](config, logits, labels, positive_weights, num_items_in_batch)


def binary_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    positive_weights: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """L = -1/K sum_i w_i y_i log s(z_i) + (1 - y_i) log(1 - s(z_i)), over the K observed labels of the batch.

    Args:
        logits: (batch, labels).
        labels: (batch, labels) float, int or bool, from 0 to 1; -100 where ignored.
        positive_weights: (labels,) factors w of a present label.
        num_items_in_batch: The number of observed labels in all parts of a batch that is split for gradient
            accumulation or over processes; the sum over the parts is then the loss of the whole. None: this batch's
            own.

    Returns:
        A scalar, float32 (float64 for float64 logits); 0 where no label is observed.

    Raises:
        ValueError: If `labels` is not of the shape of `logits`, or, on a CPU, holds other values.
    """
    logits, labels, observed = split_observed(logits, labels)
    losses = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=positive_weights, reduction="none")
    return mean_over_observed(losses, observed, num_items_in_batch)


def token_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """L = -1/K sum_i log softmax(z_i)[y_i], over the K observed tokens of the batch.

    Args:
        logits: (..., tokens).
        labels: (...) int, the ids; -100 where ignored.
        num_items_in_batch: As for `binary_cross_entropy`.

    Returns:
        A float32 scalar; 0 where no token is observed.
    """
    labels = labels.to(logits.device, torch.long)
    losses = F.cross_entropy(logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return losses / _count(labels != IGNORED, num_items_in_batch)


def split_observed(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits and labels in at least float32, 0 for an ignored label, and which labels are observed.

    Raises:
        ValueError: If `labels` is not of the shape of `logits`, or, on a CPU, holds other values.
    """
    if labels.shape != logits.shape:
        raise ValueError(
            f"`labels` has the shape {tuple(labels.shape)}, the logits {tuple(logits.shape)}: give each row one value "
            "per label, from 0 to 1, or -100 to ignore it."
        )
    _refuse_other_values(labels)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = labels.to(logits)
    observed = labels != IGNORED
    return logits, labels.masked_fill(~observed, 0), observed


def _refuse_other_values(labels: torch.Tensor) -> None:
    # Elsewhere than on a CPU, a look at the values would wait for all that is computed before.
    if labels.device.type != "cpu" or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return
    wrong = ~((labels >= 0) & (labels <= 1) | (labels == IGNORED))  # (batch, labels)
    if wrong.any():
        row, label = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"`labels` holds {labels[row, label].item()} in row {row} of the batch, label {label}; each value is from "
            "0 to 1, or -100 to ignore it."
        )


def mean_over_observed(
    losses: torch.Tensor, observed: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor:
    """The mean of losses (batch, labels), or (batch, 1) for all labels of a row, over `observed` (batch, labels)."""
    return (losses * observed).sum() / _count(observed, num_items_in_batch)


def _count(observed: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor:
    count = (
        observed.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch, device=observed.device)
    )
    return count.flatten()[0].clamp(min=1)
