import torch

from hf_rnn_multilabel.model.heads import LabelAttention, LabelCorrelation


# A hole, padding on the left, none, and nothing but padding.
MASK = torch.tensor([[1, 0, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()


def draw_hidden_states():
    return torch.randn(*MASK.shape, 10, generator=torch.Generator().manual_seed(0)) * MASK.unsqueeze(-1)


def test_label_attention_has_one_softmax_per_label_over_its_own_mean():
    hidden_states, head = draw_hidden_states(), LabelAttention(10, 3)
    logits, attention = head(hidden_states, MASK)
    assert attention.shape == (4, 4, 3)
    for text in range(3):
        valid = hidden_states[text][MASK[text]]
        for label in range(3):
            scores = valid @ head.query.weight[label]
            expected = scores.exp() / scores.exp().sum()
            torch.testing.assert_close(attention[text, MASK[text], label], expected)
            torch.testing.assert_close(logits[text, label], head.classifier.weight[label] @ (expected @ valid))


def test_a_text_without_a_valid_position_has_no_label_attention_and_finite_gradients():
    hidden_states, head = draw_hidden_states().requires_grad_(), LabelAttention(10, 3)
    logits, attention = head(hidden_states, MASK)
    assert not logits[3].any() and not attention[3].any()
    logits.pow(2).sum().backward()
    assert not hidden_states.grad[3].any()
    for weight in [hidden_states, *head.parameters()]:
        assert weight.grad.isfinite().all()


def test_the_label_correlation_is_a_residual_of_the_scores():
    """z + V elu(U sigmoid(z) + c)."""
    head, logits = LabelCorrelation(4, 3), torch.randn(2, 3)
    hidden = (1 / (1 + (-logits).exp())) @ head.down.weight.T + head.down.bias
    expected = logits + torch.where(hidden > 0, hidden, hidden.exp() - 1) @ head.up.weight.T
    torch.testing.assert_close(head(logits), expected)
