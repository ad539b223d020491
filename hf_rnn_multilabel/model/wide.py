"""The wide head: a linear n-gram model whose logits are mixed with those of the recurrent model.

It is the wide part of a wide and deep model (Cheng et al. 2016) over tokens and hashed bigrams, as in fastText
(Joulin et al. 2017). Such a model makes different errors, and both together make fewer (Mesnil et al. 2015).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .recurrence import pad_right


def hash_bigrams(first: Any, second: Any, num_buckets: int) -> Any:
    """The buckets of bigrams of token ids, from 0 to `num_buckets` - 1; of int64 tensors or arrays, as they are."""
    return (first * 1_000_003 + second) % num_buckets


class WideHead(nn.Module):
    """(1 - m) z + m (b + 1 / sqrt(N) sum_n w_{v_n}), with the N tokens and bigrams v_n of a text.

    Attributes:
        weight: (buckets + tokens, labels), the rows of the bigrams before those of the tokens.
        bias: (labels,).
        mixing_weights: (labels,) from 0 to 1, m: how much of each logit is this head's; 0 until it is fitted.
    """

    mixing_weights: torch.Tensor

    def __init__(self, vocab_size: int, num_bigram_buckets: int, num_labels: int):
        super().__init__()
        self.num_bigram_buckets = num_bigram_buckets
        self.weight = nn.Parameter(torch.zeros(num_bigram_buckets + vocab_size, num_labels))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        self.register_buffer("mixing_weights", torch.zeros(num_labels))

    def resize(self, vocab_size: int) -> None:
        """Makes the head one of `vocab_size` tokens; a new token says nothing."""
        old = self.weight.data
        weight = old.new_zeros(self.num_bigram_buckets + vocab_size, old.shape[1])
        kept = min(len(old), len(weight))
        weight[:kept] = old[:kept]
        self.weight = nn.Parameter(weight, self.weight.requires_grad)

    def forward(
        self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, logits: torch.Tensor
    ) -> torch.Tensor:
        """Mixes the logits of the n-grams into those that are given.

        Args:
            input_ids: (batch, time) int.
            attention_mask: (batch, time), nonzero at the valid positions, in any pattern; None: all are valid.
            logits: (batch, labels).

        Returns:
            (batch, labels).

        Raises:
            ValueError: If there are no `input_ids`.
        """
        if input_ids is None:
            raise ValueError(
                "`inputs_embeds` are given, but the wide head reads the tokens themselves (`num_bigram_buckets` is "
                f"{self.num_bigram_buckets}). Give `input_ids`; a model without a wide head takes either."
            )
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        wide_logits = self.score(input_ids.long(), mask.bool())
        return torch.lerp(logits.to(wide_logits.dtype), wide_logits, self.mixing_weights)

    # For the same reason as `ReadingOrders.of`.
    @torch.compiler.disable
    def score(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The logits of the n-grams alone, (batch, labels), for ids int64 and a mask bool, both (batch, time)."""
        ids, valid = self.num_bigram_buckets + input_ids, mask
        if self.num_bigram_buckets:
            # Neighbours are neighbours among the valid positions.
            tokens = input_ids.gather(1, pad_right(mask)[0])
            is_second = torch.arange(tokens.shape[1], device=tokens.device)[1:] < mask.sum(1, keepdim=True)
            ids = torch.cat([ids, hash_bigrams(tokens[:, :-1], tokens[:, 1:], self.num_bigram_buckets)], dim=1)
            valid = torch.cat([valid, is_second], dim=1)  # (batch, n-grams)
        offsets = torch.arange(ids.shape[0], device=ids.device) * ids.shape[1]
        sums = F.embedding_bag(
            ids.flatten(), self.weight, offsets, mode="sum", per_sample_weights=valid.flatten().to(self.weight.dtype)
        )
        return self.bias + sums / valid.sum(1, keepdim=True).clamp(min=1).to(sums.dtype).sqrt()
