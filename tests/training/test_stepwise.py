import pytest
import torch
from torch import nn

from hf_rnn_multilabel.model import recurrence
from hf_rnn_multilabel.model.recurrence import RnnMultilabelDirection
from hf_rnn_multilabel.training.stepwise import StepwiseRecurrence


CELLS = {"rnn": nn.RNN, "gru": nn.GRU}
LENGTHS = [[6, 6, 6], [6, 2, 1], [1, 4, 6], [0, 6, 0], [3, 0, 3], [1, 1, 1]]
NAMES = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


@pytest.fixture(params=CELLS)
def cell_type(request):
    return request.param


@pytest.fixture
def module(cell_type):
    """A cell of torch in double precision, with weights that saturate some gates."""
    module = CELLS[cell_type](4, 5, batch_first=True).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-1.5, 1.5)
    return module


def run(cell_type, module, inputs, lengths):
    return StepwiseRecurrence.apply(cell_type, inputs, torch.tensor(lengths), *(getattr(module, n) for n in NAMES))


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_states_and_all_gradients_are_those_of_torch(cell_type, module, lengths):
    inputs = torch.randn(3, 6, 4, dtype=torch.double, requires_grad=True)
    leaves = [inputs, *(getattr(module, name) for name in NAMES)]
    valid = (torch.arange(6) < torch.tensor(lengths)[:, None]).unsqueeze(-1)
    weights = torch.randn(3, 6, 5, dtype=torch.double)
    states, expected = run(cell_type, module, inputs, lengths), module(inputs)[0] * valid
    torch.testing.assert_close(states, expected)
    found = torch.autograd.grad((states * weights).sum(), leaves)
    torch.testing.assert_close(found, torch.autograd.grad((expected * weights).sum(), leaves))


def test_gradients_are_those_of_finite_differences(cell_type, module):
    inputs = torch.randn(3, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *_: run(cell_type, module, inputs, [4, 0, 2]), (inputs, *module.parameters())
    )


def test_padding_has_neither_states_nor_gradients_whatever_stands_there(cell_type, module):
    inputs = torch.randn(2, 5, 4, dtype=torch.double)
    inputs[0, 3:], inputs[1, 1:] = torch.nan, torch.inf
    inputs.requires_grad_()
    states = run(cell_type, module, inputs, [3, 1])
    (gradient,) = torch.autograd.grad(states.sum(), inputs)
    for padded in (states, gradient):
        assert padded.isfinite().all()
        assert (padded[0, 3:] == 0).all() and (padded[1, 1:] == 0).all()
        assert (padded[0, :3] != 0).all() and (padded[1, :1] != 0).all()


def test_a_batch_without_a_step_has_zero_gradients(cell_type, module):
    inputs = torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True)
    gradients = torch.autograd.grad(
        run(cell_type, module, inputs, [0, 0]).sum(), [inputs, *(getattr(module, name) for name in NAMES)]
    )
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize(("mode", "is_stepwise"), [("training", True), ("inference", False), ("autocast", False)])
def test_it_runs_where_torch_has_no_kernel_and_gradients_are_wanted(
    build_config, monkeypatch, cell, mode, is_stepwise
):
    calls, kernels = [], recurrence.TRAINING_KERNELS
    for name, kernel in list(kernels.items()):
        monkeypatch.setitem(kernels, name, lambda *args, kernel=kernel: calls.append(args) or kernel(*args))
    direction = RnnMultilabelDirection(build_config(cell_type=cell), input_size=4)
    for weight in direction.parameters():
        nn.init.uniform_(weight, -0.5, 0.5)
    inputs, lengths = torch.randn(3, 6, 4), torch.tensor([6, 2, 1])
    with (
        torch.set_grad_enabled(mode != "inference"),
        torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"),
    ):
        states = direction(inputs, lengths)
    assert len(calls) == (is_stepwise and cell != "lstm")
    if mode == "training":
        with torch.no_grad():
            valid = (torch.arange(6) < lengths[:, None]).unsqueeze(-1)
            torch.testing.assert_close(states * valid, direction(inputs, lengths) * valid, atol=1e-6, rtol=0)
