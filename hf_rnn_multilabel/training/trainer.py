"""Embeddings that start from elsewhere learn more slowly than the rest, so that rare words stay beside the others."""

import torch
from transformers import Trainer


def scale_embedding_rate(trainer: Trainer, factor: float) -> None:
    """Give the input embeddings a learning rate of their own, before a stock `Trainer` trains.

    Vectors of another model are comparable with each other, those of words that the texts lack too. Trained at the
    rate of the other weights, the words of the texts soon leave the others behind. Source: Howard & Ruder 2018,
    section 3.1, discriminative fine-tuning.

    Args:
        trainer: it has no optimizer yet; the stock one that it makes gets one more group of parameters, and the
            schedule goes for all groups. In a search too, where each trial has an optimizer of its own.
        factor: of the learning rate, at least 0 and at most 1; 0 leaves the embeddings as they are, and costs less.

    Raises:
        ValueError: for a factor out of its range, and, unless it is 1, if the trainer has its optimizer already.
    """
    if not 0 <= factor <= 1:
        raise ValueError(f"`factor` is {factor}; it must be in [0, 1].")
    if factor == 1:
        return
    if trainer.optimizer is not None:
        raise ValueError(
            f"The trainer has its optimizer already, a {type(trainer.optimizer).__name__}; call this before it is "
            "made, or give one of your own a group for the embeddings with its own learning rate."
        )
    create = trainer.create_optimizer

    def create_scaled(model=None) -> torch.optim.Optimizer:
        embeddings = trainer.model.get_input_embeddings().weight  # type: ignore[union-attr,operator]
        if factor == 0:
            embeddings.requires_grad_(False)
        is_new = trainer.optimizer is None
        optimizer = create(model)
        if is_new and factor > 0:
            group = next(g for g in optimizer.param_groups if any(weight is embeddings for weight in g["params"]))
            group["params"] = [weight for weight in group["params"] if weight is not embeddings]
            optimizer.add_param_group(group | {"params": [embeddings], "lr": factor * group["lr"]})
        return optimizer

    trainer.create_optimizer = create_scaled  # type: ignore[method-assign]
