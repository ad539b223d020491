"""Recurrent layers over ragged batches, exact under any padding.

The valid steps of each text are moved to its front, so that one direction is a plain call over the padded batch: no
valid step comes after padding. The other direction is the same call over each text reversed within its own length.
Nothing is packed: packing refuses empty texts, does not export, and is slower.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


GATES = {"rnn": 1, "gru": 3, "lstm": 4}
# Where the shorter half of the texts fits into this share of the time, running it apart was measured to be faster.
RAGGED = 0.7
# Faster kernels for training on a CPU, by cell type: (inputs, lengths, *weights) to (batch, time, hidden_size). What
# travels has none, and runs torch's.
TRAINING_KERNELS: dict[str, Callable[..., torch.Tensor]] = {}


def compaction(attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The permutation that moves the valid steps of each text to its front, in their order.

    Args:
        attention_mask: (batch, time) bool, True at the valid steps, any pattern.

    Returns:
        order: (batch, time) int64, the step that comes to each place.
        places: (batch, time) int64, its inverse: the place to which each step goes.
    """
    valid = attention_mask.long()
    padding = 1 - valid
    places = torch.where(
        attention_mask, valid.cumsum(1) - 1, valid.sum(1, keepdim=True) + padding.cumsum(1) - 1
    )  # (batch, time)
    steps = torch.arange(attention_mask.shape[1], device=attention_mask.device).expand_as(places)
    return torch.zeros_like(places).scatter(1, places, steps), places


def reversal(lengths: torch.Tensor, time: int) -> torch.Tensor:
    """The permutation that reverses the first `lengths` steps of each text; its own inverse.

    Args:
        lengths: (batch,) int64.
        time: number of steps of the padded batch.

    Returns:
        (batch, time) int64.
    """
    steps = torch.arange(time, device=lengths.device)
    mirrored = lengths[:, None] - 1 - steps
    return torch.where(mirrored >= 0, mirrored, steps)


def take_steps(states: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """`states` (batch, time, features) in the order of `steps` (batch, time)."""
    batch, time, features = states.shape
    # Rows that are taken whole: a gather takes number by number, three times as slowly.
    starts = torch.arange(batch, device=states.device).unsqueeze(1) * time
    return states.flatten(0, 1).index_select(0, (starts + steps).flatten()).view(batch, time, features)


class LockedDropout(nn.Module):
    """Dropout with one mask for all steps of a text (Gal & Ghahramani 2016)."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return states
        kept = F.dropout(states.new_ones(states.shape[0], 1, states.shape[2]), self.p)  # (batch, 1, features)
        return states * kept


class WordDropout(nn.Module):
    """Dropout of whole steps (Iyyer et al. 2015); the kept ones are not rescaled, as a shorter text would not be."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return states
        kept = torch.rand(states.shape[:2], device=states.device) >= self.p  # (batch, time)
        return states * kept.unsqueeze(-1)


class RnnMultilabelDirection(nn.Module):
    """One cell, run over all steps from the first to the last. Weights are named and laid out as in torch's cells.

    rnn:  h_t = tanh(W x_t + U h_{t-1} + b)
    gru:  r, z = sigmoid(...), n = tanh(W x_t + b + r * (U h_{t-1} + c)), h_t = (1 - z) * n + z * h_{t-1}
    lstm: i, f, o = sigmoid(...), g = tanh(...), c_t = f * c_{t-1} + i * g, h_t = o * tanh(c_t)
    """

    def __init__(self, config, input_size: int):
        super().__init__()
        self.cell_type = config.cell_type
        self.recurrent_dropout = config.recurrent_dropout
        rows = GATES[config.cell_type] * config.hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, config.hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """
        Args:
            inputs: (batch, time, features), the valid steps of each text at its front.
            lengths: (batch,) int64, their number.

        Returns:
            (batch, time, hidden_size); what stands at padding is arbitrary.
        """
        weight_hh = F.dropout(self.weight_hh, self.recurrent_dropout, self.training)
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        return _run(self.cell_type, inputs, lengths, weights, self.training)


# Dynamo would unroll the recurrence step by step: outside the graph, the library's kernel runs it whole.
@torch.compiler.disable
def _run(
    cell_type: str, inputs: torch.Tensor, lengths: torch.Tensor, weights: list[torch.Tensor], training: bool
) -> torch.Tensor:
    if inputs.device.type == "cpu" and cell_type == "lstm":
        return _run_halves(cell_type, inputs, lengths, weights, training)
    # Autocast does not see the products that are written into given places.
    kernel = TRAINING_KERNELS.get(cell_type)
    if kernel and inputs.device.type == "cpu" and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
        return kernel(inputs, lengths, *weights)
    return _run_cell(cell_type, inputs, weights, training)


def _run_halves(
    cell_type: str, inputs: torch.Tensor, lengths: torch.Tensor, weights: list[torch.Tensor], training: bool
) -> torch.Tensor:
    # On a CPU, padding costs as much as texts do: the shorter half is run for its own time alone.
    if len(lengths) > 1:
        longer, shorter = lengths.argsort(descending=True).chunk(2)
        time = max(int(lengths[shorter[0]]), 1)
        if time <= RAGGED * inputs.shape[1]:
            states = [
                _run_cell(cell_type, inputs[longer], weights, training),
                F.pad(
                    _run_cell(cell_type, inputs[shorter, :time], weights, training), (0, 0, 0, inputs.shape[1] - time)
                ),
            ]
            return torch.cat(states)[torch.cat([longer, shorter]).argsort()]
    return _run_cell(cell_type, inputs, weights, training)


def _run_cell(cell_type: str, inputs: torch.Tensor, weights: list[torch.Tensor], training: bool) -> torch.Tensor:
    state = inputs.new_zeros(1, inputs.shape[0], weights[1].shape[1])
    options: dict[str, Any] = {
        "has_biases": True,
        "num_layers": 1,
        "dropout": 0.0,
        "train": training,
        "bidirectional": False,
        "batch_first": True,
    }
    if cell_type == "lstm":
        return torch.lstm(inputs, [state, state], weights, **options)[0]
    run = torch.gru if cell_type == "gru" else torch.rnn_tanh
    return run(inputs, state, weights, **options)[0]


class RnnMultilabelLayer(GradientCheckpointingLayer):
    """One recurrent layer: the text read from its start and, if asked, also from its end."""

    def __init__(self, config, input_size: int):
        super().__init__()
        self.forward_direction = RnnMultilabelDirection(config, input_size)
        self.backward_direction = RnnMultilabelDirection(config, input_size) if config.bidirectional else None

    def forward(self, states: torch.Tensor, lengths: torch.Tensor, reversed_steps: torch.Tensor) -> torch.Tensor:
        """
        Args:
            states: (batch, time, features), the valid steps of each text at its front.
            lengths: (batch,) int64, their number.
            reversed_steps: (batch, time), see `reversal`.

        Returns:
            (batch, time, hidden_size per direction); what stands at padding is arbitrary.
        """
        outputs = self.forward_direction(states, lengths)
        if self.backward_direction is None:
            return outputs
        backward = self.backward_direction(take_steps(states, reversed_steps), lengths)
        return torch.cat([outputs, take_steps(backward, reversed_steps)], dim=-1)
