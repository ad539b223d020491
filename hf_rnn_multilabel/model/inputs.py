"""What turns the inputs of a batch into sequences of vectors, the first box of the model.

An input module takes what a batch holds of its kind and returns the vectors and which positions are valid, in the
order of the inputs. The recurrent layers and the heads know nothing else of the inputs.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .recurrence import LockedDropout


class WordDropout(nn.Module):
    """Dropout of whole positions (Iyyer et al. 2015); the others are not rescaled, as in a shorter text."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return vectors
        kept = torch.rand(vectors.shape[:2], device=vectors.device) >= self.p  # (batch, time)
        return vectors * kept.unsqueeze(-1)


class TokenInputs(nn.Module):
    """The embeddings of token ids, or embeddings that are given."""

    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.word_dropout = WordDropout(config.word_dropout)
        self.dropout = LockedDropout(config.embedding_dropout)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeds the ids in their own order, so that the gradient of an embedding belongs to the id at its position.

        Args:
            input_ids: (batch, time) int; or
            inputs_embeds: (batch, time, embedding_size).
            attention_mask: (batch, time), nonzero at the valid positions, in any pattern; None: all are valid.

        Returns:
            The vectors (batch, time, embedding_size), and the mask (batch, time) bool. A batch without positions gets
            a padded one, since a recurrence has no length of zero: time is at least 1.

        Raises:
            ValueError: If both or none of `input_ids` and `inputs_embeds` are given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give either `input_ids` or `inputs_embeds`, not both and not none.")
        vectors = self.embed_tokens(input_ids.long()) if inputs_embeds is None else inputs_embeds
        if attention_mask is None:
            attention_mask = vectors.new_ones(vectors.shape[:2])
        mask = attention_mask.bool()
        if vectors.shape[1] == 0:
            vectors, mask = F.pad(vectors, (0, 0, 0, 1)), F.pad(mask, (0, 1))
        return self.dropout(self.word_dropout(vectors)), mask
