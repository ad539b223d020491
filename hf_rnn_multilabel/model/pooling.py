"""From the hidden states of a sequence to one vector, the classifier's features. Padding is never seen."""

import torch
from torch import nn


def masked_softmax(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Softmax over time among the valid positions, in float32; zero everywhere for a sequence without any.

    Args:
        scores: (batch, time, heads).
        mask: (batch, time) bool.

    Returns:
        (batch, time, heads) float32.
    """
    mask = mask.unsqueeze(-1)  # (batch, time, 1)
    scores = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    return scores.softmax(dim=1) * mask


class Attention(nn.Module):
    """a_t = softmax_t(u' tanh(W h_t + b)), the mean of h under a (Yang et al. 2016, equations 5 to 7)."""

    def __init__(self, size: int):
        super().__init__()
        self.projection = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the mean (batch, features) and the weights (batch, time, 1) float32."""
        weights = masked_softmax(self.query(torch.tanh(self.projection(hidden_states))), mask)
        return (weights.to(hidden_states.dtype) * hidden_states).sum(1), weights


class Pooling(nn.Module):
    """The concatenation of the vectors that the configuration names; "label_attention" is a head of its own."""

    def __init__(self, config):
        super().__init__()
        self.names = [name for name in config.poolings if name != "label_attention"]
        self.bidirectional = config.bidirectional
        self.attention = Attention(config.output_size) if "attention" in self.names else None
        self.output_size = len(self.names) * config.output_size

    def forward(
        self, hidden_states: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Pools over the valid positions.

        Args:
            hidden_states: (batch, time, features), zero at padded positions; time at least 1.
            mask: (batch, time) bool.

        Returns:
            The features (batch, features of all poolings), and the attention's weights (batch, time, 1), if there is
            one.
        """
        pooled, attentions = [], ()
        for name in self.names:
            if name == "attention":
                vector, weights = self.attention(hidden_states, mask)
                attentions = (weights,)
            elif name == "mean":
                vector = hidden_states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
            elif name == "max":
                vector = self.maximum(hidden_states, mask)
            else:
                vector = self.last(hidden_states, mask)
            pooled.append(vector)
        features = torch.cat(pooled, dim=-1) if pooled else hidden_states.new_zeros(hidden_states.shape[0], 0)
        return features, attentions

    @staticmethod
    def maximum(hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The largest value of each feature over the valid positions, 0 where there is none: (batch, features)."""
        lowest = torch.finfo(hidden_states.dtype).min
        largest = hidden_states.masked_fill(~mask.unsqueeze(-1), lowest).amax(1)
        return largest * mask.any(1, keepdim=True)

    def last(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The last hidden state of each direction: at the last valid position, and at the first: (batch, features)."""
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * positions).amax(1)  # (batch,)
        rows = torch.arange(mask.shape[0], device=mask.device)
        if not self.bidirectional:
            return hidden_states[rows, last]
        first = mask.shape[1] - 1 - (mask * positions.flip(0)).amax(1)
        forward, backward = hidden_states.chunk(2, dim=-1)
        return torch.cat([forward[rows, last], backward[rows, first]], dim=-1)
