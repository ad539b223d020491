"""Heads beside the linear classifier of the pooled features: one for each label, and one over all labels."""

import torch
import torch.nn.functional as F
from torch import nn

from .pooling import masked_softmax


class LabelBias(nn.Module):
    """The classifier where nothing is pooled: a bias per label. A linear layer without inputs cannot be quantised."""

    def __init__(self, num_labels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Returns (batch, labels) for (batch, 0)."""
        return self.bias.expand(pooled.shape[0], -1)


class LabelAttention(nn.Module):
    """An attention for each label, a_lt = softmax_t(u_l' h_t) (Mullenbach et al. 2018, equations 2 and 3)."""

    def __init__(self, size: int, num_labels: int):
        super().__init__()
        self.query = nn.Linear(size, num_labels, bias=False)
        self.classifier = nn.Linear(size, num_labels, bias=False)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Classifies the mean hidden state of each label by the weights of that label.

        Args:
            hidden_states: (batch, time, features), zero at padded positions.
            mask: (batch, time) bool.

        Returns:
            The logits (batch, labels), and the attention (batch, time, labels) float32.
        """
        attention = masked_softmax(self.query(hidden_states), mask)  # (batch, time, labels)
        # w_l' sum_t a_lt h_t = sum_t a_lt w_l' h_t: no tensor of batch x labels x features is ever made.
        values = self.classifier(hidden_states)  # (batch, time, labels)
        return (attention.to(values.dtype) * values).sum(1), attention


class LabelCorrelation(nn.Module):
    """z + V elu(U sigmoid(z) + c): what the scores of all labels say of each (CorNet, Xun et al. 2020)."""

    def __init__(self, size: int, num_labels: int):
        super().__init__()
        self.down = nn.Linear(num_labels, size)
        self.up = nn.Linear(size, num_labels, bias=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Returns the logits (batch, labels) with the residual added."""
        return logits + self.up(F.elu(self.down(logits.sigmoid())))


class TokenHead(nn.Module):
    """norm(gelu(W h + b)): from a hidden state to a vector that is compared with every token's embedding."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.output_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Returns (..., embedding_size) for (..., features)."""
        return self.norm(F.gelu(self.dense(hidden_states)))
