"""From the states of a text to the classifier's features: one vector a text, or one a label. Padding is never seen."""

import torch
from torch import nn


def masked_softmax(scores: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Softmax over time among the valid steps, in float32; zero everywhere for a text without any.

    Args:
        scores: (batch, time, heads).
        attention_mask: (batch, time) bool.

    Returns:
        (batch, time, heads) float32.
    """
    mask = attention_mask.unsqueeze(-1)  # (batch, time, 1)
    scores = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return scores.softmax(dim=1) * mask


class Attention(nn.Module):
    """a_t = softmax_t(u' tanh(W h_t + b)), the states' mean under a (Yang et al. 2016, equations 5 to 7)."""

    def __init__(self, size: int):
        super().__init__()
        self.projection = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, states: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weights = masked_softmax(self.query(torch.tanh(self.projection(states))), attention_mask)  # (batch, time, 1)
        return (weights.to(states.dtype) * states).sum(1), weights  # (batch, features)


class TextPooling(nn.Module):
    """The concatenation of several vectors a text."""

    def __init__(self, config):
        super().__init__()
        self.names = [name for name in config.poolings if name != "label_attention"]
        self.bidirectional = config.bidirectional
        self.attention = Attention(config.state_size) if "attention" in self.names else None

    def forward(
        self, states: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """
        Args:
            states: (batch, time, features), zero at padding; time at least 1.
            attention_mask: (batch, time) bool.

        Returns:
            (batch, features of all poolings), and the attention's weights (batch, time, 1), if there is one.
        """
        pooled, attentions = [], ()
        for name in self.names:
            if name == "attention":
                vector, weights = self.attention(states, attention_mask)
                attentions = (weights,)
            elif name == "mean":
                vector = states.sum(1) / attention_mask.sum(1, keepdim=True).clamp(min=1)
            elif name == "max":
                vector = self.maximum(states, attention_mask)
            else:
                vector = self.last(states, attention_mask)
            pooled.append(vector)
        features = torch.cat(pooled, dim=-1) if pooled else states.new_zeros(states.shape[0], 0)
        return features, attentions

    @staticmethod
    def maximum(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The largest value of each feature over the valid steps, 0 for a text without any: (batch, features)."""
        lowest = torch.finfo(states.dtype).min
        largest = states.masked_fill(~attention_mask.unsqueeze(-1), lowest).amax(1)
        return largest * attention_mask.any(1, keepdim=True)

    def last(self, states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Each direction's last state: at the last valid step, and at the first of the other: (batch, features)."""
        steps = torch.arange(attention_mask.shape[1], device=states.device)
        last = (attention_mask * steps).amax(1)  # (batch,)
        rows = torch.arange(states.shape[0], device=states.device)
        if not self.bidirectional:
            return states[rows, last]
        first = attention_mask.shape[1] - 1 - (attention_mask * steps.flip(0)).amax(1)
        forward, backward = states.chunk(2, dim=-1)
        return torch.cat([forward[rows, last], backward[rows, first]], dim=-1)


class LabelAttention(nn.Module):
    """An attention for each label: a_lt = softmax_t(u_l' h_t) (Mullenbach et al. 2018, equations 2 and 3)."""

    def __init__(self, size: int, num_labels: int):
        super().__init__()
        self.query = nn.Linear(size, num_labels, bias=False)

    def forward(
        self, states: torch.Tensor, attention_mask: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            states: (batch, time, features), zero at padding.
            attention_mask: (batch, time) bool.
            weight: (labels, features), the classifier's weights.

        Returns:
            each label's weights times its own mean of the states, (batch, labels), and the attention
            (batch, time, labels).
        """
        attention = masked_softmax(self.query(states), attention_mask)  # (batch, time, labels)
        # w_l' sum_t a_lt h_t = sum_t a_lt w_l' h_t: no tensor of batch x labels x features is ever made.
        values = nn.functional.linear(states, weight)  # (batch, time, labels)
        return (attention.to(values.dtype) * values).sum(1), attention
