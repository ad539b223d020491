"""The vanilla cell and the GRU in training on a CPU, where torch runs them as many small operations.

Here the padding costs nothing, a time step is one product and a few operations in place, the gates are kept, and the
gradient of a weight is one product over all time steps. Measured against `torch.gru`, a training step took .55 of the
time on sequences of different lengths and .85 on full ones (for the vanilla cell .65 and 1). Without gradients, on
sequences of similar lengths, there is nothing to gain. An LSTM has a kernel of its own in torch.
"""

from itertools import pairwise
from typing import Any

import torch


class StepwiseRecurrence(torch.autograd.Function):
    """One direction of a cell over sequences, for the cells and with the weights of `RnnMultilabelDirection`.

    The valid positions are laid one behind the other, all first ones, then all second ones, the longest sequence
    first. So the sequences that are still running at a time step are the first ones of the time step before. With d_t
    the gradient of the loss in h_t, and G_t those in the gates before their nonlinearity:

    d_{t-1} += z_t * d_t + U' G_t

    rnn:  G = d * (1 - h^2), z = 0
    gru:  G_n = d * (1 - z) * (1 - n^2), G_z = d * (h_{t-1} - n) * z * (1 - z),
          G_r = G_n * (U h_{t-1} + c)_n * r * (1 - r).
          G_n is the gradient in the part of the new state that comes from the input; that in the recurrent part is
          r * G_n.

    A second derivative is not defined: input Hessians need a kernel of torch.
    """

    @staticmethod
    def forward(
        ctx: Any,
        cell_type: str,
        inputs: torch.Tensor,
        lengths: torch.Tensor,
        weight_ih: torch.Tensor,
        weight_hh: torch.Tensor,
        bias_ih: torch.Tensor,
        bias_hh: torch.Tensor,
    ) -> torch.Tensor:
        """Runs the cell.

        Args:
            ctx: What autograd keeps for the gradient.
            cell_type: "rnn" or "gru".
            inputs: (batch, time, features), the valid positions of each sequence aligned to the left.
            lengths: (batch,) int64, their number.
            weight_ih: As in the cells of torch, like the others.
            weight_hh: (gates * hidden, hidden).
            bias_ih: (gates * hidden,).
            bias_hh: (gates * hidden,).

        Returns:
            (batch, time, hidden_size), zero at padded positions.
        """
        batch, time, _ = inputs.shape
        hidden = weight_hh.shape[1]
        positions, counts = _layout(lengths, time)
        steps = inputs.flatten(0, 1).index_select(0, positions)  # (steps, features)
        bias = bias_ih + bias_hh if cell_type == "rnn" else bias_ih
        gates = torch.addmm(bias, steps, weight_ih.t())  # (steps, gates * hidden)
        recurrent = torch.empty_like(gates) if cell_type == "gru" else None
        hidden_states, previous = gates.new_empty(2, len(steps), hidden)  # (steps, hidden) each
        state = gates.new_zeros(batch, hidden)
        start = 0
        for count in counts:
            step = slice(start, start + count)
            previous[step] = state[:count]
            if recurrent is None:
                state = torch.addmm(gates[step], previous[step], weight_hh.t(), out=hidden_states[step]).tanh_()
            else:
                torch.addmm(bias_hh, previous[step], weight_hh.t(), out=recurrent[step])
                reset, update, new = gates[step].chunk(3, dim=1)  # r, z, n
                gates[step, : 2 * hidden].add_(recurrent[step, : 2 * hidden]).sigmoid_()
                new.addcmul_(reset, recurrent[step, 2 * hidden :]).tanh_()
                state = torch.lerp(new, previous[step], update, out=hidden_states[step])
            start += count
        ctx.cell_type, ctx.counts, ctx.shape = cell_type, counts, inputs.shape
        ctx.save_for_backward(positions, steps, weight_ih, weight_hh, gates, recurrent, hidden_states, previous)
        outputs = hidden_states.new_zeros(batch * time, hidden).index_copy_(0, positions, hidden_states)
        return outputs.view(batch, time, hidden)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients in the inputs and the weights."""
        positions, steps, weight_ih, weight_hh, gates, recurrent, hidden_states, previous = ctx.saved_tensors
        grad_hidden = grad_outputs.flatten(0, 1).index_select(0, positions)  # (steps, hidden), d
        # First dG/dd, which needs no recurrence; it becomes G time step by time step, from the last one on.
        if ctx.cell_type == "rnn":
            update = None
            grad_gates = hidden_states.square().neg_().add_(1).unsqueeze(1)  # (steps, gates, hidden)
        else:
            reset, update, new = gates.chunk(3, dim=1)  # r, z, n
            local_new = new.square().neg_().add_(1).mul_(1 - update)
            grad_gates = gates.new_empty(len(steps), 3, hidden_states.shape[1])
            torch.mul(local_new, reset, out=grad_gates[:, 2])
            torch.sub(previous, new, out=grad_gates[:, 1]).mul_(update).mul_(1 - update)
            torch.mul(grad_gates[:, 2], recurrent.chunk(3, dim=1)[2], out=grad_gates[:, 0]).mul_(1 - reset)
        end = len(steps)
        for count, count_before in pairwise([*reversed(ctx.counts), 0]):
            step = slice(end - count, end)
            end -= count
            grad_gates[step].mul_(grad_hidden[step].unsqueeze(1))
            if count_before:
                grad_before = grad_hidden[end - count_before :][:count]
                if update is not None:
                    grad_before.addcmul_(grad_hidden[step], update[step])
                grad_before.addmm_(grad_gates[step].flatten(1), weight_hh)
        flat_gates = grad_gates.flatten(1)  # (steps, gates * hidden), in the recurrent parts
        grad_weight_hh, grad_bias_hh = flat_gates.t() @ previous, flat_gates.sum(0)
        if ctx.cell_type == "gru":
            torch.mul(grad_hidden, local_new, out=grad_gates[:, 2])  # now in the parts from the input
        grad_inputs = grad_hidden.new_zeros(ctx.shape).flatten(0, 1).index_copy_(0, positions, flat_gates @ weight_ih)
        grad_weight_ih, grad_bias_ih = flat_gates.t() @ steps, flat_gates.sum(0)
        return None, grad_inputs.view(ctx.shape), None, grad_weight_ih, grad_weight_hh, grad_bias_ih, grad_bias_hh


def _layout(lengths: torch.Tensor, time: int) -> tuple[torch.Tensor, list[int]]:
    """The valid positions in (batch * time), step by step, longest sequence first; and how many a time step has."""
    rows = lengths.argsort(descending=True)
    is_running = torch.arange(time).unsqueeze(1) < lengths[rows]  # (time, batch)
    step, row = is_running.nonzero(as_tuple=True)
    return rows[row] * time + step, [count for count in is_running.sum(1).tolist() if count]
