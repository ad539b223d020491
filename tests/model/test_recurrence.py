import itertools
import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from hf_rnn_multilabel.model import recurrence
from hf_rnn_multilabel.model.recurrence import (
    LockedDropout,
    ReadingOrders,
    RnnMultilabelDirection,
    RnnMultilabelLayer,
    gather_positions,
    pad_right,
    reverse_sequences,
)


CELLS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
MODULES = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}

masks = st.integers(1, 9).flatmap(
    lambda time: st.lists(st.lists(st.booleans(), min_size=time, max_size=time), min_size=1, max_size=5)
)


def draw_weights(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.6, 0.6, generator=generator)
    return module


def run_cell(cell_type, weights, inputs):
    """Step after step of torch's bare cell: (batch, time, features) -> (batch, time, hidden)."""
    cell = CELLS[cell_type](inputs.shape[-1], weights["weight_hh"].shape[1])
    cell.load_state_dict(weights)
    state, states = None, []
    for step in inputs.unbind(1):
        state = cell(step, state)
        states.append(state[0] if cell_type == "lstm" else state)
    return torch.stack(states, dim=1)


@settings(deadline=None, max_examples=60)
@given(masks)
def test_valid_positions_are_aligned_to_the_left_in_their_order(rows):
    order, inverse = pad_right(torch.tensor(rows))
    for row, moved, back in zip(rows, order.tolist(), inverse.tolist(), strict=True):
        valid = [step for step, is_valid in enumerate(row) if is_valid]
        assert moved[: len(valid)] == valid
        assert sorted(moved) == list(range(len(row)))
        assert [moved[place] for place in back] == list(range(len(row)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.integers(0, 3))
def test_each_sequence_is_reversed_within_its_own_length(lengths, extra):
    time = max(*lengths, 1) + extra
    for length, steps in zip(lengths, reverse_sequences(torch.tensor(lengths), time).tolist(), strict=True):
        assert steps == [*range(length - 1, -1, -1), *range(length, time)]


def test_positions_are_gathered_in_the_given_order():
    vectors = torch.arange(12.0).view(2, 3, 2)
    gathered = gather_positions(vectors, torch.tensor([[2, 0, 1], [0, 2, 2]]))
    assert torch.equal(gathered, torch.stack([vectors[0, [2, 0, 1]], vectors[1, [0, 2, 2]]]))
    assert gather_positions(vectors, None) is vectors


@settings(deadline=None, max_examples=60)
@given(masks)
def test_both_directions_read_the_valid_positions_first_and_give_them_back(rows):
    mask = torch.tensor(rows)
    orders = ReadingOrders.of(mask)
    positions = torch.arange(mask.shape[1]).expand(mask.shape).unsqueeze(-1)
    assert orders.lengths.tolist() == [sum(row) for row in rows]
    for order, step in [(orders.forward, 1), (orders.backward, -1)]:
        read = gather_positions(positions, order.positions)
        assert torch.equal(gather_positions(read, order.inverse), positions)
        for row, found in zip(rows, read.squeeze(-1).tolist(), strict=True):
            valid = [position for position, is_valid in enumerate(row) if is_valid]
            assert found[: len(valid)] == valid[::step]


def test_nothing_is_moved_where_the_padding_is_right_already():
    padded_right = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()
    assert ReadingOrders.of(padded_right).forward == (None, None)
    assert ReadingOrders.of(padded_right.flip(1)).forward.positions is not None


@pytest.mark.parametrize("lengths", [[6, 6, 6], [6, 2, 1], [1, 4, 6], [0, 6, 0], [3, 3, 3], [0, 0, 0]], ids=str)
def test_a_direction_equals_the_bare_cell_of_torch(build_config, cell_type, lengths):
    direction = draw_weights(RnnMultilabelDirection(build_config(cell_type=cell_type), input_size=4))
    inputs = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor(lengths)
    valid = (torch.arange(6) < lengths[:, None]).unsqueeze(-1)
    expected = run_cell(cell_type, direction.state_dict(), inputs)
    torch.testing.assert_close(direction(inputs, lengths) * valid, expected * valid, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("lengths", "times"), [([6, 1, 2], [6, 1]), ([2, 6, 6, 3], [6, 3]), ([6, 5, 5], [6]), ([6], [6])], ids=str
)
def test_the_shorter_half_is_run_apart_where_that_spares_an_lstm_padding(build_config, monkeypatch, lengths, times):
    direction = draw_weights(RnnMultilabelDirection(build_config(cell_type="lstm"), input_size=4))
    seen, run = [], torch.lstm
    monkeypatch.setattr(
        torch, "lstm", lambda inputs, *args, **more: seen.append(inputs.shape[1]) or run(inputs, *args, **more)
    )
    direction(torch.randn(len(lengths), 6, 4), torch.tensor(lengths))
    assert seen == times


def test_a_layer_equals_the_packed_module_of_torch(build_config, cell_type, bidirectional):
    config = build_config(cell_type=cell_type, bidirectional=bidirectional)
    layer = draw_weights(RnnMultilabelLayer(config, input_size=4))
    module = MODULES[cell_type](4, config.hidden_size, batch_first=True, bidirectional=bidirectional)
    directions = {"_l0": layer.forward_direction, "_l0_reverse": layer.backward_direction}
    with torch.no_grad():
        for suffix, name in itertools.product(directions, ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]):
            if directions[suffix] is not None:
                getattr(module, name + suffix).copy_(getattr(directions[suffix], name))
    inputs, lengths = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([6, 2, 1])
    packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
    valid = (torch.arange(6) < lengths[:, None]).unsqueeze(-1)
    torch.testing.assert_close(layer(inputs, ReadingOrders.of(valid.squeeze(-1))), expected, atol=1e-6, rtol=0)


def test_locked_dropout_has_one_mask_for_all_steps_of_a_text():
    torch.manual_seed(0)
    dropped = LockedDropout(0.4).train()(torch.ones(6, 5, 50))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(dropped.unique(), torch.tensor([0, 1 / 0.6]))
    assert 0.3 < (dropped[:, 0] == 0).float().mean() < 0.5


def test_locked_dropout_is_active_in_training_alone():
    vectors = torch.randn(3, 4, 5)
    assert torch.equal(LockedDropout(0.9).eval()(vectors), vectors)
    assert torch.equal(LockedDropout(0.0).train()(vectors), vectors)
    assert not torch.equal(LockedDropout(0.9).train()(vectors), vectors)


def test_recurrent_dropout_drops_weights_in_training_alone_and_once_for_all_steps(build_config, cell_type):
    config = build_config(cell_type=cell_type, recurrent_dropout=0.5)
    direction = draw_weights(RnnMultilabelDirection(config, input_size=4))
    inputs = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([6, 6, 6])
    weights = {name: weight.clone() for name, weight in direction.state_dict().items()}
    whole = run_cell(cell_type, weights, inputs)
    torch.testing.assert_close(direction.eval()(inputs, lengths), whole, atol=1e-6, rtol=0)

    torch.manual_seed(0)
    trained = direction.train()(inputs, lengths)
    torch.manual_seed(0)
    thinned = weights | {"weight_hh": F.dropout(weights["weight_hh"], 0.5)}
    assert (trained - whole).abs().max() > 1e-3
    torch.testing.assert_close(trained, run_cell(cell_type, thinned, inputs), atol=1e-6, rtol=0)
    assert torch.equal(direction.weight_hh, weights["weight_hh"])


# The same net, text by text: torch's bare cells over the valid steps alone, one label at a time.


def read_one_way(direction, steps):
    """(time, features) -> (time, hidden_size)."""
    cell = CELLS[direction.cell_type](steps.shape[1], direction.weight_hh.shape[1])
    state, states = None, []
    for step in steps:
        state = functional_call(cell, dict(direction.named_parameters()), (step, state))
        states.append(state[0] if direction.cell_type == "lstm" else state)
    return torch.stack(states)


def read_text(model, steps):
    """(time, embedding_size) -> (time, state_size)."""
    for layer in model.rnn.layers:
        ways = [read_one_way(layer.forward_direction, steps)]
        if layer.backward_direction is not None:
            ways.append(read_one_way(layer.backward_direction, steps.flip(0)).flip(0))
        steps = torch.cat(ways, dim=-1)
    return steps


def attend(scores, states):
    weights = scores.exp() / scores.exp().sum()
    return weights @ states


def tag_text(model, ids):
    """(time,) -> (labels,)."""
    ngrams = [7 + token for token in ids.tolist()]
    ngrams += [(first * 1_000_003 + second) % 7 for first, second in itertools.pairwise(ids.tolist())]
    wide = model.wide.bias + model.wide.weight[ngrams].sum(0) / max(len(ngrams), 1) ** 0.5
    weight = model.wide.mixing_weights
    return (1 - weight) * correlate(model.label_correlation, head_of(model, ids)) + weight * wide


def head_of(model, ids):
    """(time,) -> (labels,)."""
    if len(ids) == 0:
        return model.classifier.bias
    states, hidden = read_text(model, model.rnn.inputs.embed_tokens(ids)), model.config.hidden_size
    logits = []
    for label in range(model.num_labels):
        features = []
        for name in model.config.poolings:
            if name == "last":
                features += [states[-1, :hidden], states[0, hidden:]]
            elif name == "mean":
                features.append(states.mean(0))
            elif name == "max":
                features.append(states.max(0).values)
            elif name == "attention":
                attention = model.pooling.attention
                features.append(attend(attention.query(torch.tanh(attention.projection(states))).flatten(), states))
        features = torch.cat(features) if features else states.new_zeros(0)
        logit = model.classifier.bias[label]
        if features.numel():
            logit = logit + model.classifier.weight[label] @ features
        if model.label_attention is not None:
            query, classifier = (
                model.label_attention.query.weight[label],
                model.label_attention.classifier.weight[label],
            )
            logit = logit + classifier @ attend(states @ query, states)
        logits.append(logit)
    return torch.stack(logits)


def correlate(block, logits):
    hidden = block.down.weight @ (1 / (1 + (-logits).exp())) + block.down.bias
    return logits + block.up.weight @ torch.where(hidden > 0, hidden, hidden.exp() - 1)


# The whole net under padding

quickly = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])

batches = st.integers(1, 7).flatmap(
    lambda time: st.lists(st.lists(st.booleans(), min_size=time, max_size=time), min_size=3, max_size=4)
)
texts = st.lists(st.lists(st.integers(1, 19), max_size=7), min_size=3, max_size=5)


@quickly
@given(texts, st.integers(0, 3), st.randoms(use_true_random=False))
def test_pain_16_padding_companions_and_order_do_not_change_the_logits(
    build_tagger, cell_type, bidirectional, pooling, texts, extra, chance
):
    model = build_tagger(cell_type=cell_type, bidirectional=bidirectional, pooling=pooling)
    with torch.no_grad():
        alone = [model(torch.tensor([text], dtype=torch.long)).logits[0] for text in texts]
        for place in [place_right, place_left, place_anywhere]:
            order = chance.sample(range(len(texts)), len(texts))
            time = max(map(len, texts)) + extra
            ids, mask = zip(*(place(texts[text], time, chance) for text in order), strict=True)
            logits = model(torch.tensor(ids).long(), torch.tensor(mask).long()).logits
            for text, row in zip(order, logits, strict=True):
                torch.testing.assert_close(row, alone[text], atol=1e-6, rtol=0)


def place_right(text, time, chance):
    return place(text, range(len(text)), time, chance)


def place_left(text, time, chance):
    return place(text, range(time - len(text), time), time, chance)


def place_anywhere(text, time, chance):
    return place(text, sorted(chance.sample(range(time), len(text))), time, chance)


def place(text, steps, time, chance):
    """Ids with the text at the given steps and any other token at the others, and its mask."""
    ids, mask = [chance.randrange(20) for _ in range(time)], [0] * time
    for step, token in zip(steps, text, strict=True):
        ids[step], mask[step] = token, 1
    return ids, mask


@quickly
@given(batches, st.integers(0, 99))
def test_pain_16_logits_and_gradients_equal_those_of_bare_cells_text_by_text(
    build_tagger, gradients, cell_type, bidirectional, pooling, masks, seed
):
    model = build_tagger(seed, cell_type=cell_type, bidirectional=bidirectional, pooling=pooling)
    mask, generator = torch.tensor(masks), torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 20, mask.shape, generator=generator)
    weights = torch.randn(len(masks), 3, generator=generator)

    logits = model(ids, mask.long()).logits
    expected = torch.stack([tag_text(model, row[valid]) for row, valid in zip(ids, mask, strict=True)])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    computed, wanted = gradients((weights * logits).sum(), model), gradients((weights * expected).sum(), model)
    torch.testing.assert_close(computed, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [[[1, 1, 0], [0, 0, 0]], [[0, 0], [0, 0]], [[1, 0, 1, 0], [0, 1, 0, 0]]])
def test_pain_22_what_stands_at_padding_reaches_neither_logits_nor_gradients(
    build_tagger, cell_type, bidirectional, pooling, rows
):
    model = build_tagger(cell_type=cell_type, bidirectional=bidirectional, pooling=pooling, num_bigram_buckets=None)
    mask = torch.tensor(rows)
    embeddings = torch.randn(*mask.shape, 6, generator=torch.Generator().manual_seed(0))
    loud = torch.where(mask.bool().unsqueeze(-1), embeddings, 1e4).requires_grad_()
    logits = model(inputs_embeds=loud, attention_mask=mask).logits
    torch.testing.assert_close(logits, model(inputs_embeds=embeddings, attention_mask=mask).logits, atol=1e-6, rtol=0)
    logits.square().sum().backward()
    assert not loud.grad[~mask.bool()].any()
    for weight in [loud, *model.parameters()]:
        assert weight.grad is None or weight.grad.isfinite().all()
    assert not mask.any() or loud.grad[mask.bool()].any()


def attributions(model, ids, mask, label):
    """Integrated gradients of a logit in the output of the embeddings, from zeros: (batch, time)."""
    steps, found = 20, []

    def scale(module, inputs, output):
        found.append(output.detach().mul(factor).requires_grad_())
        return found[-1]

    handle, total = model.get_input_embeddings().register_forward_hook(scale), 0
    for factor in (torch.arange(steps) + 0.5) / steps:
        logit = model(ids, mask).logits[:, label].sum()
        (gradient,) = torch.autograd.grad(logit, found[-1])
        total = total + gradient * found[-1].detach() / factor / steps
    handle.remove()
    return total.sum(-1)


@pytest.mark.parametrize("label", [0, 2])
def test_fault_23_attributions_belong_to_the_token_at_their_position_under_any_padding(
    build_tagger, cell_type, bidirectional, label
):
    model = build_tagger(cell_type=cell_type, bidirectional=bidirectional)
    ids, mask = torch.tensor([[4, 9, 2, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    expected = attributions(model, ids, mask, label)
    assert not expected[mask == 0].any() and expected[mask == 1].all()
    left = attributions(model, ids.roll(2, 1), mask.roll(2, 1), label)
    torch.testing.assert_close(left, expected.roll(2, 1), atol=1e-6, rtol=0)
    holes = torch.tensor([[1, 0, 1, 0, 1]])
    found = attributions(model, torch.tensor([[4, 0, 9, 0, 2]]), holes, label)
    torch.testing.assert_close(found[holes == 1], expected[mask == 1], atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("grads", [False, True])
def test_fault_24_a_model_traced_on_one_batch_gives_the_logits_of_others(build_tagger, batch, cell_type, grads):
    model = build_tagger(cell_type=cell_type, return_dict=False)
    with torch.set_grad_enabled(grads):
        traced = torch.jit.trace(model, (batch["input_ids"], batch["attention_mask"]))
    for texts, time in [(3, 4), (5, 9), (1, 1), (4, 20)]:
        ids = torch.randint(1, 20, (texts, time))
        for mask in [torch.rand(texts, time) < 0.6, torch.arange(time) < torch.arange(1, texts + 1)[:, None]]:
            (logits,), (expected,) = traced(ids, mask.long()), model(ids, mask.long())
            torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)


# Processors without a kernel for a data type

HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture(params=["whole", "lacking"])
def processor(request, monkeypatch):
    """This one, and one whose kernel for an LSTM in half precision is missing."""
    recurrence.lstm_runs_in.cache_clear()
    if request.param == "lacking":
        lstm = torch.lstm

        def lacking(inputs, *arguments, **options):
            dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype
            if dtype in HALVES and inputs.dtype != torch.float64:
                raise RuntimeError("could not create a primitive descriptor for the LSTM")
            return lstm(inputs, *arguments, **options)

        monkeypatch.setattr(torch, "lstm", lacking)
    yield request.param
    recurrence.lstm_runs_in.cache_clear()


@pytest.mark.parametrize("dtype", HALVES)
def test_it_is_found_out_once_whether_an_lstm_runs_in_a_data_type(processor, monkeypatch, dtype):
    tried, run = [], recurrence._try_lstm
    monkeypatch.setattr(recurrence, "_try_lstm", lambda dtype: tried.append(dtype) or run(dtype))
    assert recurrence.lstm_runs_in(torch.float32) and recurrence.lstm_runs_in(torch.float64) and not tried
    generator = torch.get_rng_state()
    found = [recurrence.lstm_runs_in(dtype) for _ in range(2)]
    assert tried == [dtype] and found[0] == found[1]
    assert processor == "whole" or not found[0]
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("context", [torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.float16)])
def test_where_it_is_found_out_does_not_matter(processor, context):
    expected = recurrence.lstm_runs_in(torch.bfloat16)
    recurrence.lstm_runs_in.cache_clear()
    with context:
        assert recurrence.lstm_runs_in(torch.bfloat16) == expected


def train_step(model, batch, gradients, dtype, way):
    """Loss, logits and gradients in half precision, by autocast or with weights in it."""
    if way == "weights":
        outputs = model.to(dtype)(**batch)
    else:
        with torch.autocast("cpu", dtype):
            outputs = model(**batch)
    return outputs.loss, outputs.logits, gradients(outputs.loss, model)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("way", ["autocast", "weights"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
def test_an_lstm_trains_in_half_precision_on_every_processor(
    build_tagger, batch, gradients, processor, dtype, way, checkpointing
):
    model = build_tagger(cell_type="lstm").train()
    expected = train_step(model, batch, gradients, torch.float32, "weights")
    if checkpointing:
        # Before transformers 5.23 it had the second name.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
    loss, logits, found = train_step(model, batch, gradients, dtype, way)
    assert loss.dtype == torch.float32
    tolerance = {"atol": 2e-2 if dtype == torch.bfloat16 else 4e-3, "rtol": 0}
    torch.testing.assert_close(loss, expected[0], **tolerance)
    torch.testing.assert_close(logits.float(), expected[1], **tolerance)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient.float(), expected[2][name], **tolerance)
        assert gradient.any() == expected[2][name].any(), name


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_an_lstm_tags_in_half_precision_on_every_processor(build_tagger, batch, processor, dtype, context):
    model = build_tagger(cell_type="lstm")
    inputs = batch["input_ids"], batch["attention_mask"]
    expected = model(*inputs).logits
    tolerance = {"atol": 2e-2 if dtype == torch.bfloat16 else 4e-3, "rtol": 0}
    with context(), torch.autocast("cpu", dtype):
        outputs = model(*inputs, output_hidden_states=True)
    torch.testing.assert_close(outputs.logits.float(), expected, **tolerance)
    assert outputs.hidden_states[-1].dtype == dtype
    with context():
        outputs = model.to(dtype)(*inputs, output_hidden_states=True)
    assert outputs.logits.dtype == outputs.hidden_states[-1].dtype == dtype
    torch.testing.assert_close(outputs.logits.float(), expected, **tolerance)


def test_double_precision_stays_under_autocast(build_tagger, batch, processor):
    direction = build_tagger(cell_type="lstm").double().rnn.layers[0].forward_direction
    inputs, lengths = torch.randn(2, 3, 6, dtype=torch.float64), torch.tensor([3, 2])
    expected = direction(inputs, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(direction(inputs, lengths), expected)


def test_a_smaller_processor_trains_and_tags_in_bfloat16():
    """In a process of its own, where the libraries are told that the processor is a smaller one."""
    code = """
import torch
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.model.recurrence import lstm_runs_in
torch.manual_seed(0)
config = RnnMultilabelConfig(vocab_size=20, embedding_size=8, hidden_size=8, num_labels=3)
model = RnnMultilabelForSequenceClassification(config).eval()
inputs = {"input_ids": torch.randint(1, 20, (4, 6)), "labels": torch.ones(4, 3)}
expected = model(**inputs).logits
for dtype in (torch.bfloat16, torch.float16):
    with torch.autocast("cpu", dtype):
        outputs = model.train()(**inputs)
        outputs.loss.backward()
        with torch.no_grad():
            logits = model.eval()(**inputs).logits.float()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    torch.testing.assert_close(logits, expected, atol=2e-2, rtol=0)
print(lstm_runs_in(torch.bfloat16))
"""
    smaller = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | smaller, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() in (["False"], ["True"])  # other libraries than oneDNN may run it


def test_states_are_zero_at_padding(build_tagger, cell_type, bidirectional, batch):
    model = build_tagger(cell_type=cell_type, bidirectional=bidirectional).rnn
    states = model(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    assert not states[batch["attention_mask"] == 0].any()
    assert states[batch["attention_mask"] == 1].all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32])
def test_the_mask_may_be_of_any_type_and_none_means_all_steps(build_tagger, batch, dtype):
    model = build_tagger()
    mask = batch["attention_mask"]
    logits = model(batch["input_ids"], mask).logits
    assert torch.equal(model(batch["input_ids"], mask.to(dtype)).logits, logits)
    assert torch.equal(model(batch["input_ids"][:1]).logits, model(batch["input_ids"][:1], mask[:1]).logits)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_a_batch_of_empty_texts_has_the_logits_of_the_bias(build_tagger, cell_type, pooling, dtype):
    model = build_tagger(cell_type=cell_type, pooling=pooling, label_correlation_size=0, num_bigram_buckets=None)
    empty = torch.zeros(2, 0, dtype=dtype)  # a tokenizer gives an empty text's ids as float
    outputs = model(empty, empty, output_hidden_states=True)
    torch.testing.assert_close(outputs.logits, model.classifier.bias.expand(2, -1))
    assert [states.shape for states in outputs.hidden_states] == [(2, 1, 6), (2, 1, 10), (2, 1, 10)]
    assert not any(states.any() for states in outputs.hidden_states)


# The net of the article: one layer, one direction, the last state


def article_rnn(x, h, c, w, u, b_x, b_h):
    return torch.tanh(w @ x + u @ h + b_x + b_h), c


def article_gru(x, h, c, w, u, b_x, b_h):
    (w_r, w_z, w_n), (u_r, u_z, u_n) = w.chunk(3), u.chunk(3)
    (b_r, b_z, b_n), (d_r, d_z, d_n) = b_x.chunk(3), b_h.chunk(3)
    r = 1 / (1 + torch.exp(-(w_r @ x + b_r + u_r @ h + d_r)))
    z = 1 / (1 + torch.exp(-(w_z @ x + b_z + u_z @ h + d_z)))
    n = torch.tanh(w_n @ x + b_n + r * (u_n @ h + d_n))
    return (1 - z) * n + z * h, c


def article_lstm(x, h, c, w, u, b_x, b_h):
    i, f, g, o = (w @ x + u @ h + b_x + b_h).chunk(4)
    i, f, o = (1 / (1 + torch.exp(-gate)) for gate in (i, f, o))
    c = f * c + i * torch.tanh(g)
    return o * torch.tanh(c), c


ARTICLE = {"rnn": article_rnn, "gru": article_gru, "lstm": article_lstm}


def test_the_net_of_the_article_equals_its_equations(build_tagger, gradients, batch, cell_type):
    simple = {"bidirectional": False, "num_hidden_layers": 1, "pooling": "last", "label_correlation_size": 0}
    simple["num_bigram_buckets"] = None
    model = build_tagger(cell_type=cell_type, **simple)
    direction, labels = model.rnn.layers[0].forward_direction, batch["labels"].clamp(min=0)
    recurrent = direction.weight_ih, direction.weight_hh, direction.bias_ih, direction.bias_hh

    logits = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        h = c = torch.zeros(5)
        for token in ids[: mask.sum()]:
            h, c = ARTICLE[cell_type](model.rnn.inputs.embed_tokens.weight[token], h, c, *recurrent)
        logits.append(model.classifier.weight @ h + model.classifier.bias)
    z = torch.stack(logits)
    s = 1 / (1 + torch.exp(-z))
    loss = -(labels * torch.log(s) + (1 - labels) * torch.log(1 - s)).sum() / labels.numel()

    outputs = model(**batch | {"labels": labels})
    torch.testing.assert_close(outputs.logits, z, atol=1e-6, rtol=0)
    torch.testing.assert_close(outputs.loss, loss, atol=1e-6, rtol=0)
    wanted = gradients(loss, model)
    assert [name for name, gradient in wanted.items() if not gradient.any()] == []
    torch.testing.assert_close(gradients(outputs.loss, model), wanted, atol=1e-6, rtol=1e-5)
