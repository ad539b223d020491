"""The stock `Trainer` with what it lets a subclass decide: a learning rate for the embeddings, and a teacher."""

from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.utils import logging

from ..hub.model_card import holds_card
from .distillation import Distillation
from .objectives import distilled_loss


logger = logging.get_logger(__name__)


class EvaluationLog(TrainerCallback):
    """One line per evaluation, instead of a dict of all metrics."""

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        """Report the loss and the metric that the best epoch is chosen by."""
        chosen = f"eval_{args.metric_for_best_model or 'loss'}".replace("eval_eval_", "eval_")
        names = dict.fromkeys(["eval_loss", chosen])
        values = ", ".join(f"{name.removeprefix('eval_')} {metrics[name]:.4f}" for name in names if name in metrics)
        if state.is_world_process_zero and values:
            logger.info(f"Epoch {state.epoch or 0:g}, step {state.global_step:,}: {values} on validation.")


class TaggerTrainer(Trainer):
    """A `Trainer` whose embeddings may learn more slowly, and whose model may learn from a teacher.

    Vectors of another model are comparable with each other, those of words that the texts lack too. Trained at the
    rate of the other weights, the words of the texts soon leave the others behind. Source: Howard & Ruder 2018,
    section 3.1, discriminative fine-tuning.

    Args:
        embedding_lr_factor: of the learning rate, in [0, 1], for the input embeddings; 0 leaves them as they are, and
            costs less.
        distillation: how much the training rows' "teacher_logits" count, where there are any.
        args, kwargs: of `Trainer`.

    Raises:
        ValueError: for a factor out of its range, and, unless it is 1, for an optimizer that is given.
    """

    def __init__(
        self, *args: Any, embedding_lr_factor: float = 1.0, distillation: Distillation | None = None, **kwargs: Any
    ):
        if not 0 <= embedding_lr_factor <= 1:
            raise ValueError(f"`embedding_lr_factor` is {embedding_lr_factor}; it must be in [0, 1].")
        super().__init__(*args, **kwargs)
        if self.pop_callback(PrinterCallback) is not None:
            self.add_callback(EvaluationLog)
        if embedding_lr_factor != 1 and self.optimizer is not None:
            raise ValueError(
                f"An optimizer is given, a {type(self.optimizer).__name__}, so `embedding_lr_factor` "
                f"{embedding_lr_factor} has no effect; give the embeddings a group of parameters in it."
            )
        self.embedding_lr_factor = embedding_lr_factor
        self.distillation = distillation or Distillation()
        # Versions before 5.5.4 divide accumulated gradients here once more.
        self.accelerator.gradient_accumulation_steps = 1

    def create_optimizer(self, *args: Any) -> torch.optim.Optimizer:
        """As the stock one, with a group of parameters more for the embeddings."""
        embeddings = self.model.get_input_embeddings().weight  # type: ignore[union-attr,operator]
        if self.embedding_lr_factor == 0:
            embeddings.requires_grad_(False)
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args)
        if is_new and 0 < self.embedding_lr_factor < 1:
            group = next(g for g in optimizer.param_groups if any(weight is embeddings for weight in g["params"]))
            group["params"] = [weight for weight in group["params"] if weight is not embeddings]
            rate = self.embedding_lr_factor * group["lr"]
            optimizer.add_param_group(group | {"params": [embeddings], "lr": rate})
        return optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As the stock one; where rows have "teacher_logits", see `objectives.distilled_loss`."""
        teacher_logits = inputs.pop("teacher_logits", None)
        if teacher_logits is None:
            return super().compute_loss(model, inputs, *args, **kwargs)

        def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None):
            return distilled_loss(
                self.accelerator.unwrap_model(model),
                outputs.logits,
                labels,
                teacher_logits,
                weight=self.distillation.weight,
                temperature=self.distillation.temperature,
                num_items_in_batch=num_items_in_batch,
            )

        # The stock method scales what such a function returns for gradient accumulation and several processes.
        own, self.compute_loss_func = self.compute_loss_func, loss
        try:
            return super().compute_loss(model, inputs, *args, **kwargs)
        finally:
            self.compute_loss_func = own

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """As the stock one, but for a folder whose card is ours, which stays."""
        if not holds_card(str(self.args.output_dir)):
            super().create_model_card(*args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        """Keeps "teacher_logits" among the columns of the rows."""
        super()._set_signature_columns_if_needed()
        columns: list[str] = self._signature_columns  # type: ignore[assignment]
        if "teacher_logits" not in columns:
            columns.append("teacher_logits")
