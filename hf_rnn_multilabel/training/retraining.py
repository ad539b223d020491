"""Training anew on all labelled texts, once those that were held out have chosen for how long."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback

from .trainer import TaggerTrainer


class StopAtFraction(TrainerCallback):
    """Ends the training at a fraction of its schedule, which stays as it is.

    Args:
        fraction: of all steps, in (0, 1].
    """

    def __init__(self, fraction: float):
        self.fraction = fraction

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step >= round(self.fraction * state.max_steps):
            control.should_training_stop = True
            # A run that resumes from a checkpoint makes at least one more step: of the end there must be none.
            control.should_save = False

    on_epoch_end = on_step_end


def retrain(
    trainer: TaggerTrainer,
    model: PreTrainedModel,
    rows: Dataset,
    output_dir: str,
    callbacks: Iterable[TrainerCallback] = (),
    resume_from_checkpoint: str | None = None,
) -> TaggerTrainer:
    """Train a new model on other rows for as long as the one that a finished trainer has kept.

    The schedule has as many epochs as the first one had, and ends where the kept weights stood in it: each epoch has
    the learning rates that it had there. A schedule of so many epochs alone would come down to 0 by its end, and the
    number of epochs was not chosen for it.

    Args:
        trainer: it has trained; of its evaluations the best is taken, with `load_best_model_at_end`, else the last
            step.
        model: a new model.
        rows: what to train it on, tokenized: those of the trainer and those that it evaluated on.
        output_dir: a folder of its own for the checkpoints.
        callbacks: more of them.
        resume_from_checkpoint: a checkpoint in that folder.

    Returns:
        the new trainer with the trained model.
    """
    args, state = trainer.args, trainer.state
    kept = state.best_global_step if args.load_best_model_at_end else None
    changed: dict[str, Any] = {"eval_strategy": "no", "load_best_model_at_end": False, "push_to_hub": False}
    new = TaggerTrainer(
        model=model,
        args=replace(args, output_dir=output_dir, **changed),
        data_collator=trainer.data_collator,
        train_dataset=rows,
        processing_class=trainer.processing_class,
        callbacks=[StopAtFraction((kept or state.global_step) / state.max_steps), *callbacks],
        embedding_lr_factor=trainer.embedding_lr_factor,
    )
    new.train(resume_from_checkpoint=resume_from_checkpoint)
    return new
