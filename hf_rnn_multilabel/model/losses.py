"""Losses over known labels. A label's value is 0, 1 or anything between, and -100 where it is unknown."""

import torch
import torch.nn.functional as F


UNKNOWN = -100


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
        a float32 scalar; 0 where no label is known.

    Raises:
        ValueError: if `labels` is not of the shape of `logits`.
    """
    if labels.shape != logits.shape:
        raise ValueError(
            f"`labels` has the shape {tuple(labels.shape)}, the logits {tuple(logits.shape)}: give each text one "
            "value a label, 0 or 1, -100 where unknown."
        )
    labels = labels.to(logits.device, torch.float32)
    known = labels != UNKNOWN
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), labels.masked_fill(~known, 0), pos_weight=positive_weights, reduction="none"
    )  # (batch, labels)
    count = known.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch, device=losses.device)
    return (losses * known).sum() / count.flatten()[0].clamp(min=1)


OBJECTIVES = {"bce": binary_cross_entropy}
