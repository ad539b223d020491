"""Recurrent layers over sequences of different lengths, exact under any padding.

The valid positions of each sequence are aligned to the left, so that one direction is a plain call over the padded
batch: no valid position comes after padding. The backward direction is the same call over each sequence reversed
within its own length. Nothing is packed: packing refuses empty sequences, does not export, and is slower.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


GATES = {"rnn": 1, "gru": 3, "lstm": 4}
# Up to this ratio of the shorter half's time to the batch's, running the two halves apart was measured to be faster.
MAX_TIME_RATIO_OF_HALVES = 0.7
# Faster kernels for training on a CPU, by cell type: (inputs, lengths, *weights) to (batch, time, hidden_size). The
# package registers its own; a checkpoint without the package runs torch's.
TRAINING_KERNELS: dict[str, Callable[..., torch.Tensor]] = {}


def pad_right(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The permutation that aligns the valid positions of each sequence to the left, in their order.

    Args:
        mask: (batch, time) bool, True at the valid positions, any pattern.

    Returns:
        order: (batch, time) int64, the position that comes to each place.
        inverse: (batch, time) int64, the place to which each position goes.
    """
    valid = mask.long()
    padding = 1 - valid
    inverse = torch.where(mask, valid.cumsum(1) - 1, valid.sum(1, keepdim=True) + padding.cumsum(1) - 1)
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(inverse)
    return torch.zeros_like(inverse).scatter(1, inverse, positions), inverse


def reverse_sequences(lengths: torch.Tensor, time: int) -> torch.Tensor:
    """The permutation that reverses the first `lengths` positions of each sequence; its own inverse.

    Args:
        lengths: (batch,) int64.
        time: Number of positions of the padded batch.

    Returns:
        (batch, time) int64.
    """
    positions = torch.arange(time, device=lengths.device)
    mirrored = lengths[:, None] - 1 - positions
    return torch.where(mirrored >= 0, mirrored, positions)


def gather_positions(vectors: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    """The vectors (batch, time, features) at `positions` (batch, time); None: as they are."""
    if positions is None:
        return vectors
    batch, time, features = vectors.shape
    # Rows that are taken whole: a gather takes number by number, three times as slowly.
    starts = torch.arange(batch, device=vectors.device).unsqueeze(1) * time
    return vectors.flatten(0, 1).index_select(0, (starts + positions).flatten()).view(batch, time, features)


class ReadingOrder(NamedTuple):
    """The order in which a direction reads the positions of each sequence: the valid ones first.

    Attributes:
        positions: (batch, time) int64, the position that is read at each time step; None: as they are.
        inverse: (batch, time) int64, the time step at which each position is read; None: as they are.
    """

    positions: torch.Tensor | None
    inverse: torch.Tensor | None


class ReadingOrders(NamedTuple):
    """How a batch is read, which is the same in all layers.

    Attributes:
        mask: (batch, time) bool, True at the valid positions.
        lengths: (batch,) int64, their number.
        forward: The order of the forward direction.
        backward: The order of the backward direction.
    """

    mask: torch.Tensor
    lengths: torch.Tensor
    forward: ReadingOrder
    backward: ReadingOrder

    @classmethod
    # Inductor's vectorised gather of int64 by int64 fails its own check of bounds with AVX2 (torch 2.13).
    @torch.compiler.disable
    def of(cls, mask: torch.Tensor) -> "ReadingOrders":
        """The orders for a mask (batch, time) bool of any pattern."""
        lengths = mask.sum(1)
        mirror = reverse_sequences(lengths, mask.shape[1])
        if _is_padded_right(mask):
            return cls(mask, lengths, ReadingOrder(None, None), ReadingOrder(mirror, mirror))
        order, inverse = pad_right(mask)
        backward = ReadingOrder(order.gather(1, mirror), mirror.gather(1, inverse))
        return cls(mask, lengths, ReadingOrder(order, inverse), backward)


def _is_padded_right(mask: torch.Tensor) -> bool:
    """Whether the valid positions stand at the left already; False where that can't be asked for free."""
    if mask.device.type != "cpu" or _is_tracing():
        return False
    return bool((mask[:, 1:] <= mask[:, :-1]).all())


def _is_tracing() -> bool:
    """Whether a graph is being recorded, in which what is decided by this batch's lengths would stay for all."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


class LockedDropout(nn.Module):
    """Dropout with one mask for all positions of a sequence (Gal & Ghahramani 2016)."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return vectors
        kept = F.dropout(vectors.new_ones(vectors.shape[0], 1, vectors.shape[2]), self.p)  # (batch, 1, features)
        return vectors * kept


class RnnMultilabelDirection(nn.Module):
    """One cell, run over all time steps from the first to the last. Weights are named and laid out as in torch's.

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
        """Runs the cell over a batch whose valid positions are aligned to the left.

        Args:
            inputs: (batch, time, features).
            lengths: (batch,) int64, the number of valid positions of each sequence.

        Returns:
            (batch, time, hidden_size); values at padded positions are undefined.
        """
        weight_hh = F.dropout(self.weight_hh, self.recurrent_dropout, self.training)
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        return _run(self.cell_type, inputs, lengths, weights, self.training)


class RnnMultilabelLayer(GradientCheckpointingLayer):
    """One recurrent layer: a forward direction and, if asked, a backward one (Schuster & Paliwal 1997)."""

    def __init__(self, config, input_size: int):
        super().__init__()
        self.forward_direction = RnnMultilabelDirection(config, input_size)
        self.backward_direction = RnnMultilabelDirection(config, input_size) if config.bidirectional else None

    def forward(self, hidden_states: torch.Tensor, orders: ReadingOrders) -> torch.Tensor:
        """Reads each sequence in both directions.

        Args:
            hidden_states: (batch, time, features), in any padding.
            orders: How the batch is read.

        Returns:
            (batch, time, hidden_size per direction), in the same padding, zero at padded positions.
        """
        outputs = self._read(self.forward_direction, hidden_states, orders.forward, orders.lengths)
        if self.backward_direction is not None:
            backward = self._read(self.backward_direction, hidden_states, orders.backward, orders.lengths)
            outputs = torch.cat([outputs, backward], dim=-1)
        return outputs * orders.mask.unsqueeze(-1)

    @staticmethod
    def _read(
        direction: nn.Module, hidden_states: torch.Tensor, order: ReadingOrder, lengths: torch.Tensor
    ) -> torch.Tensor:
        outputs = direction(gather_positions(hidden_states, order.positions), lengths)
        return gather_positions(outputs, order.inverse)


# Dynamo would unroll the recurrence time step by time step: outside the graph, the library's kernel runs it whole.
@torch.compiler.disable
def _run(
    cell_type: str, inputs: torch.Tensor, lengths: torch.Tensor, weights: list[torch.Tensor], training: bool
) -> torch.Tensor:
    """Runs a cell, in float32 where this processor has no kernel for the data type."""
    is_cast = torch.is_autocast_enabled("cpu") and inputs.dtype != torch.float64
    dtype = torch.get_autocast_dtype("cpu") if is_cast else inputs.dtype
    if inputs.device.type != "cpu" or cell_type != "lstm" or lstm_runs_in(dtype):
        return _run_on_device(cell_type, inputs, lengths, weights, training)
    with torch.autocast("cpu", enabled=False):
        weights = [weight.float() for weight in weights]
        return _run_on_device(cell_type, inputs.float(), lengths, weights, training).to(dtype)


@cache
def lstm_runs_in(dtype: torch.dtype) -> bool:
    """Whether this processor has a kernel for an LSTM in a data type, forward and backward.

    Without AVX-512 there is none for bfloat16, and hardly any processor has one for float16. Under autocast torch then
    raises an error; with weights of the data type it takes twenty times as long. It is tried out once. Elsewhere than
    on a CPU the kernels are others.
    """
    if dtype in (torch.float32, torch.float64):
        return True
    # In a thread of its own there is neither the caller's autocast nor its inference mode, and no graph is recorded.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_try_lstm, dtype).result()


def _try_lstm(dtype: torch.dtype) -> bool:
    inputs, *weights = (torch.zeros(shape, device="cpu") for shape in [(2, 3, 4), (16, 4), (16, 4), (16,), (16,)])
    for weight in weights:
        weight.requires_grad_()
    try:
        with torch.autocast("cpu", dtype):
            _run_cell("lstm", inputs, weights, training=True).float().sum().backward()
            with torch.no_grad():
                _run_cell("lstm", inputs, weights, training=False)
    except RuntimeError:
        return False
    return True


def _run_on_device(
    cell_type: str, inputs: torch.Tensor, lengths: torch.Tensor, weights: list[torch.Tensor], training: bool
) -> torch.Tensor:
    """Runs a cell with the kernel that is fastest: on a CPU by halves, or a registered one in training."""
    if inputs.device.type == "cpu":
        if cell_type == "lstm" and not _is_tracing():
            return _run_halves(cell_type, inputs, lengths, weights, training)
        # Autocast does not see the products that are written into given places.
        kernel = TRAINING_KERNELS.get(cell_type)
        if kernel and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu") and not _is_tracing():
            return kernel(inputs, lengths, *weights)
    return _run_cell(cell_type, inputs, weights, training)


def _run_halves(
    cell_type: str, inputs: torch.Tensor, lengths: torch.Tensor, weights: list[torch.Tensor], training: bool
) -> torch.Tensor:
    """Runs the shorter half of the sequences for its own time alone: on a CPU, padding costs as much as the rest."""
    if len(lengths) > 1:
        longer, shorter = lengths.argsort(descending=True).chunk(2)
        time = max(int(lengths[shorter[0]]), 1)
        if time <= MAX_TIME_RATIO_OF_HALVES * inputs.shape[1]:
            outputs = [
                _run_cell(cell_type, inputs[longer], weights, training),
                F.pad(
                    _run_cell(cell_type, inputs[shorter, :time], weights, training), (0, 0, 0, inputs.shape[1] - time)
                ),
            ]
            return torch.cat(outputs)[torch.cat([longer, shorter]).argsort()]
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
