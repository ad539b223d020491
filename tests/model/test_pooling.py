import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rnn_multilabel.model.pooling import Pooling, masked_softmax


# A hole, padding on the left, none, and nothing but padding.
MASK = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()


def draw_states(size, seed=0):
    states = torch.randn(*MASK.shape, size, generator=torch.Generator().manual_seed(seed))
    return states * MASK.unsqueeze(-1)


def pool(build_config, name, **overrides):
    torch.manual_seed(0)
    return Pooling(build_config(pooling=name, **overrides))


def test_last_takes_each_direction_where_it_ends(build_config):
    states = draw_states(10)
    forward, backward = states[..., :5], states[..., 5:]
    features, attentions = pool(build_config, "last", bidirectional=True)(states, MASK)
    for text, (first, last) in enumerate([(0, 2), (2, 3), (0, 3)]):
        assert torch.equal(features[text], torch.cat([forward[text, last], backward[text, first]]))
    assert attentions == ()


def test_last_of_one_direction_is_the_state_of_the_last_valid_step(build_config):
    states = draw_states(5)
    features, _ = pool(build_config, "last", bidirectional=False)(states, MASK)
    assert torch.equal(features[:3], torch.stack([states[0, 2], states[1, 3], states[2, 3]]))


def test_mean_divides_by_the_number_of_valid_steps(build_config):
    states = draw_states(10)
    features, _ = pool(build_config, "mean")(states, MASK)
    expected = torch.stack([states[text][MASK[text]].mean(0) for text in range(3)])
    torch.testing.assert_close(features[:3], expected)


def test_max_of_negative_states_is_not_the_zero_of_the_padding(build_config):
    states = -draw_states(10).abs()
    features, _ = pool(build_config, "max")(states, MASK)
    expected = torch.stack([states[text][MASK[text]].max(0).values for text in range(3)])
    assert torch.equal(features[:3], expected)
    assert (features[:3] < 0).all()


def test_attention_is_the_softmax_over_the_valid_steps_alone(build_config):
    states = draw_states(10)
    pooling = pool(build_config, "attention")
    features, (weights,) = pooling(states, MASK)
    projection, query = pooling.attention.projection, pooling.attention.query
    assert weights.shape == (4, 4, 1)
    for text in range(3):
        valid = states[text][MASK[text]]  # (steps, features)
        scores = torch.tanh(valid @ projection.weight.T + projection.bias) @ query.weight[0]
        expected = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(weights[text][MASK[text]].flatten(), expected)
        torch.testing.assert_close(features[text], expected @ valid)


def test_several_poolings_are_concatenated_in_the_order_of_the_configuration(build_config):
    states = draw_states(10)
    features, _ = pool(build_config, ["max", "label_attention", "last"])(states, MASK)
    parts = [pool(build_config, name)(states, MASK)[0] for name in ["max", "last"]]
    assert torch.equal(features, torch.cat(parts, dim=-1))


def test_a_text_without_a_valid_step_pools_to_zero_with_finite_gradients(build_config, pooling):
    states = draw_states(10).requires_grad_()
    module = pool(build_config, pooling)
    features, attentions = module(states, MASK)
    for value in [features, *attentions]:
        assert not value[3].any()
    (features.pow(2).sum() + states.sum()).backward()
    assert (states.grad[3] == 1).all()
    for weight in [states, *module.parameters()]:
        assert weight.grad.isfinite().all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(0, 99))
def test_pain_22_the_softmax_never_sees_padding(rows, seed):
    mask = torch.tensor(rows)
    scores = torch.randn(*mask.shape, 2, generator=torch.Generator().manual_seed(seed))
    weights = masked_softmax(scores.masked_fill(~mask.unsqueeze(-1), 1e30), mask)
    assert not weights[~mask].any()
    torch.testing.assert_close(weights.sum(1), mask.any(1).float().unsqueeze(-1).expand(-1, 2))
    assert torch.equal(weights, masked_softmax(scores.masked_fill(~mask.unsqueeze(-1), -1e30), mask))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pain_21_attention_is_float32_and_finite_for_the_largest_half_precision_scores(dtype):
    largest = torch.finfo(dtype).max
    scores = torch.tensor([[largest, -largest, largest, largest]], dtype=dtype).view(1, 4, 1)
    weights = masked_softmax(scores, MASK[:1])
    assert weights.dtype == torch.float32
    assert weights.flatten().tolist() == [0.5, 0.0, 0.5, 0.0]
    lowest = masked_softmax(scores.fill_(-largest), MASK[:1])
    assert lowest.flatten().tolist() == [0.5, 0.0, 0.5, 0.0]
