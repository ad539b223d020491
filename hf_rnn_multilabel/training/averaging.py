"""A moving average of the weights, which is evaluated and saved in the place of the last step's."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR


RAW_WEIGHTS = "raw_weights.safetensors"


class WeightAveraging(TrainerCallback):
    """An exponential moving average of the weights with the stock `Trainer`, which trains on with the raw ones.

    After step n the average a of the weights w becomes d a + (1 - d) w, with d = min(decay, (1 + n) / (10 + n)); it
    starts at the initial weights (Polyak & Juditsky 1992; the warm-up is that of TensorFlow's
    ExponentialMovingAverage). Buffers are not averaged.

    What the Trainer evaluates and saves is the average, and at the end the model holds it: that of the best checkpoint
    with `load_best_model_at_end`, else the last. A checkpoint has the raw weights beside it, in
    `raw_weights.safetensors`, so that a run that goes on from `output_dir/checkpoint-...` is that of one that was not
    stopped. The callback holds one copy of the weights. Weights that are sharded over devices are not supported.

    Args:
        decay: in (0, 1); the average spans about the last 1 / (1 - decay) steps.

    Raises:
        ValueError: for a `decay` out of its range, at a checkpoint without raw weights to go on from, and where a
            later callback asks for a checkpoint: this one must come after it.
    """

    def __init__(self, decay: float):
        if not 0 < decay < 1:
            raise ValueError(f"`decay` is {decay}; it must be between 0 and 1, as 0.999.")
        self.decay = decay
        self._weights: dict[str, torch.Tensor] = {}
        # The average, and the raw weights while the model holds the average.
        self._others: dict[str, torch.Tensor] = {}
        self._model_is_averaged = False

    def on_train_begin(self, args, state, control, model=None, **kwargs) -> None:
        self._weights = {name: weight.detach() for name, weight in model.named_parameters()}
        # A run that goes on has loaded its checkpoint's model, the average.
        self._model_is_averaged = state.global_step > 0
        if self._model_is_averaged:
            path = _checkpoint(args, state) / RAW_WEIGHTS
            if not path.exists():
                raise ValueError(
                    f"No file {str(path)!r}: only a checkpoint in `output_dir` whose run averaged its weights can be "
                    "gone on from with `WeightAveraging`; go on without it, or start anew."
                )
            raw = load_file(path)
            self._others = {name: raw[name].to(weight.device) for name, weight in self._weights.items()}
        else:
            self._others = {name: weight.clone() for name, weight in self._weights.items()}

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        if self._model_is_averaged:
            self._swap()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        get_ema_multi_avg_fn(decay)(list(self._others.values()), list(self._weights.values()), None)
        if control.should_evaluate or control.should_save:
            self._swap()

    def on_epoch_end(self, args, state, control, **kwargs) -> None:
        # Whether or not it is evaluated: the training may end here, and nothing is called before the best is loaded.
        if not self._model_is_averaged:
            self._swap()

    def on_save(self, args, state, control, **kwargs) -> None:
        if not self._model_is_averaged:
            raise ValueError(
                f"{_checkpoint(args, state)} was asked for after `WeightAveraging` had looked, and holds the raw "
                "weights; add `WeightAveraging` after the callback that asks."
            )
        if args.should_save and not args.save_only_model and not state.is_hyper_param_search:
            path = _checkpoint(args, state) / RAW_WEIGHTS
            # A run that is killed meanwhile leaves no half of a file.
            save_file(self._others, path.with_suffix(".part"))
            os.replace(path.with_suffix(".part"), path)

    def on_train_end(self, args, state, control, **kwargs) -> None:
        self._weights, self._others = {}, {}

    def _swap(self) -> None:
        for weight, other in zip(self._weights.values(), self._others.values(), strict=True):
            held = weight.clone()
            weight.copy_(other)
            other.copy_(held)
        self._model_is_averaged = not self._model_is_averaged


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(f"{args.output_dir}/{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
