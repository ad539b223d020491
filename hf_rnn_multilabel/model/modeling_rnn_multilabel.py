"""The net: embeddings, recurrent layers, and a head: pooling and one logit a label, or one logit a token."""

from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_rnn_multilabel import RnnMultilabelConfig
from .losses import UNKNOWN, token_cross_entropy, training_loss
from .pooling import LabelAttention, TextPooling
from .recurrence import (
    GATES,
    LockedDropout,
    RnnMultilabelDirection,
    RnnMultilabelLayer,
    WordDropout,
    compaction,
    reversal,
    take_steps,
)


if TYPE_CHECKING:
    # A checkpoint takes along the files that this one names, and the pipeline is to travel with it, whoever saves.
    from .pipeline_rnn_multilabel import RnnMultilabelTaggingPipeline  # noqa: F401
    from .tagging import Tagger  # noqa: F401
    from .text_encoding import TextEncoder  # noqa: F401


class RnnMultilabelPreTrainedModel(PreTrainedModel):
    config: RnnMultilabelConfig
    base_model_prefix = "rnn"
    supports_gradient_checkpointing = True
    _no_split_modules = ("RnnMultilabelLayer",)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, RnnMultilabelDirection):
            gates = module.weight_hh.chunk(GATES[module.cell_type])
            bias = torch.zeros_like(module.bias_ih)
            if module.cell_type == "lstm":
                # The cell starts by remembering (Jozefowicz et al. 2015).
                bias.chunk(4)[1].fill_(1)
            # Whole tensors are set: a part of a loaded one would not carry the mark that it is loaded.
            init.copy_(module.weight_hh, torch.cat([init.orthogonal_(torch.empty_like(gate)) for gate in gates]))
            init.xavier_uniform_(module.weight_ih)
            init.copy_(module.bias_ih, bias)
            init.zeros_(module.bias_hh)
        elif isinstance(module, RnnMultilabelForSequenceClassification):
            init.copy_(module.positive_weights, torch.tensor(self.config.label_positive_weights))
            init.copy_(module.classifier.bias, torch.tensor(self.config.label_bias))
            if module.label_correlation is not None:
                # The labels start independent of each other.
                init.zeros_(module.label_correlation.up.weight)
        elif isinstance(module, BagOfTokens):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.shrinkage)
        else:
            super()._init_weights(module)


class RnnMultilabelModel(RnnMultilabelPreTrainedModel):
    """Token embeddings and recurrent layers: one state a step."""

    def __init__(self, config: RnnMultilabelConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id)
        self.word_dropout = WordDropout(config.word_dropout)
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.hidden_dropout = LockedDropout(config.hidden_dropout)
        input_sizes = [config.embedding_size] + [config.state_size] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList(RnnMultilabelLayer(config, size) for size in input_sizes)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> BaseModelOutput:
        """
        Args:
            input_ids: (batch, time) int; or
            inputs_embeds: (batch, time, embedding_size).
            attention_mask: (batch, time), nonzero at the valid steps, in any pattern; None: all are valid.
            output_hidden_states: whether to return the embeddings and every layer's output.

        Returns:
            `last_hidden_state` (batch, time, state_size), zero at padding; it depends on no padding and no other text.

        Raises:
            ValueError: if both or none of `input_ids` and `inputs_embeds` are given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give either `input_ids` or `inputs_embeds`, not both and not none.")
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        inputs = input_ids if inputs_embeds is None else inputs_embeds
        batch, time = inputs.shape[:2]
        if time == 0:
            weight = self.embed_tokens.weight
            sizes = [self.config.embedding_size] + [self.config.state_size] * len(self.layers)
            empty = tuple(weight.new_zeros(batch, 0, size) for size in sizes)
            return BaseModelOutput(last_hidden_state=empty[-1], hidden_states=empty if output_hidden_states else None)
        if input_ids is not None:
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        if attention_mask is None:
            attention_mask = torch.ones(batch, time, device=inputs.device)

        mask = attention_mask.bool()
        order, places = compaction(mask)
        lengths = mask.sum(1)
        reversed_steps = reversal(lengths, time)
        if inputs_embeds is None and output_hidden_states:
            inputs_embeds = self.embed_tokens(input_ids.long())
        if inputs_embeds is None:
            # The steps are moved as ids: as vectors there is more to move.
            states = self.embed_tokens(input_ids.long().gather(1, order))  # (batch, time, embedding)
        else:
            states = take_steps(inputs_embeds, order)
        hidden_states = [inputs_embeds]
        states = self.embedding_dropout(self.word_dropout(states))
        for index, layer in enumerate(self.layers):
            states = self.hidden_dropout(states) if index else states
            states = layer(states, lengths, reversed_steps)  # (batch, time, state)
            if output_hidden_states or index == len(self.layers) - 1:
                hidden_states.append(take_steps(states, places) * mask.unsqueeze(-1))
        return BaseModelOutput(
            last_hidden_state=hidden_states[-1], hidden_states=tuple(hidden_states) if output_hidden_states else None
        )


class LabelCorrelation(nn.Module):
    """z + V elu(U sigmoid(z) + c): what the scores of all labels say of each (CorNet, Xun et al. 2020)."""

    def __init__(self, size: int, num_labels: int):
        super().__init__()
        self.down = nn.Linear(num_labels, size)
        self.up = nn.Linear(size, num_labels, bias=False)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits + self.up(F.elu(self.down(logits.sigmoid())))  # (batch, labels)


class BagOfTokens(nn.Module):
    """b + 1 / sqrt(N) sum_n w_{v_n}: a logistic regression a label on the N terms v_n of a text.

    The terms are its tokens, whatever their order, and, with `pairs`, its pairs of neighbours, hashed to so many rows
    of the weights, which come before those of the tokens. It errs elsewhere than the net: both together err less
    (Mesnil et al. 2015).
    """

    shrinkage: torch.Tensor  # (labels,)

    def __init__(self, vocab_size: int, pairs: int, num_labels: int):
        super().__init__()
        self.pairs = pairs
        self.weight = nn.Parameter(torch.zeros(pairs + vocab_size, num_labels))
        self.bias = nn.Parameter(torch.zeros(num_labels))
        # How much of `bag_weight` each label takes: less where few texts carried it, nothing before the bag is fitted.
        self.register_buffer("shrinkage", torch.zeros(num_labels))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """
        Args:
            input_ids: (batch, time) int.
            attention_mask: (batch, time) bool.

        Returns:
            logits (batch, labels); b for a text without tokens.
        """
        ids = input_ids.long()
        terms, valid = self.pairs + ids, attention_mask
        if self.pairs:
            # The valid steps at the front, so that neighbours are next to each other.
            front = ids.gather(1, compaction(attention_mask)[0])
            is_second = torch.arange(ids.shape[1], device=ids.device)[1:] < attention_mask.sum(1, keepdim=True)
            terms = torch.cat([terms, hash_pairs(front[:, :-1], front[:, 1:], self.pairs)], dim=1)
            valid = torch.cat([valid, is_second], dim=1)  # (batch, terms)
        valid = valid.unsqueeze(-1)
        sums = (F.embedding(terms, self.weight) * valid).sum(1)
        return self.bias + sums / valid.sum(1).clamp(min=1).to(sums.dtype).sqrt()


def hash_pairs(first: Any, second: Any, pairs: int) -> Any:
    """The rows of pairs of tokens, int64 tensors or arrays, from 0 to `pairs` - 1."""
    return (first * 1_000_003 + second) % pairs


class RnnMultilabelForSequenceClassification(RnnMultilabelPreTrainedModel):
    """The tagger: one logit a label, never a sigmoid; a label's score is sigmoid(logit)."""

    def __init__(self, config: RnnMultilabelConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.rnn = RnnMultilabelModel(config)
        self.pooling = TextPooling(config)
        self.label_attention = (
            LabelAttention(config.state_size, config.num_labels) if "label_attention" in config.poolings else None
        )
        self.dropout = LockedDropout(config.classifier_dropout)
        self.classifier = nn.Linear(len(config.poolings) * config.state_size, config.num_labels)
        size = config.label_correlation_size
        self.label_correlation = LabelCorrelation(size, config.num_labels) if size else None
        self.bag = BagOfTokens(config.vocab_size, config.bag_pairs, config.num_labels) if config.bag_weight else None
        self.register_buffer("positive_weights", torch.ones(config.num_labels), persistent=False)
        self.post_init()

    def resize_token_embeddings(self, *args, **kwargs) -> nn.Embedding:
        """As the base class; new tokens say nothing in the bag."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if self.bag is not None and len(self.bag.weight) != self.bag.pairs + embeddings.num_embeddings:
            old = self.bag.weight.data
            weight = old.new_zeros(self.bag.pairs + embeddings.num_embeddings, self.num_labels)
            kept = min(len(old), len(weight))
            weight[:kept] = old[:kept]
            self.bag.weight = nn.Parameter(weight, self.bag.weight.requires_grad)
        return embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        teacher_logits: torch.Tensor | None = None,
        **kwargs,
    ) -> SequenceClassifierOutput:
        """
        Args:
            input_ids, attention_mask, inputs_embeds, output_hidden_states: as for `RnnMultilabelModel`.
            labels: (batch, labels) float, int or bool, -100 where unknown.
            output_attentions: whether to return the attention of the pooling.
            num_items_in_batch: see `losses.binary_cross_entropy`; `Trainer` gives it.
            teacher_logits: (batch, labels), another model's: then the loss is (1 - w) * objective + w * distillation
                (w is `distillation_weight`), and a label that is unknown is the teacher's score.

        Returns:
            `loss` if there are labels or a teacher, `logits` (batch, labels), `attentions`: (batch, time, 1) of
            "attention" and (batch, time, labels) of "label_attention", those that there are.

        Raises:
            ValueError: for `inputs_embeds` where the model has a bag of tokens.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        outputs = self.rnn(input_ids, attention_mask, inputs_embeds, output_hidden_states, return_dict=True)
        states = outputs.last_hidden_state
        mask = states.new_ones(states.shape[:2]).bool() if attention_mask is None else attention_mask.bool()
        if self.bag is not None:
            if input_ids is None:
                raise ValueError(
                    f"`inputs_embeds` are given, but up to {self.config.bag_weight:g} of a logit come from the "
                    "tokens themselves (`bag_weight`); give `input_ids`."
                )
            bag_logits = self.bag(input_ids, mask)
        if states.shape[1] == 0:
            states, mask = F.pad(states, (0, 0, 0, 1)), F.pad(mask, (0, 1))

        states = self.dropout(states)  # (batch, time, state)
        features, attentions = self.pooling(states, mask)  # (batch, features)
        text_weight, label_weight = self.classifier.weight.tensor_split([features.shape[1]], dim=1)
        logits = F.linear(features, text_weight, self.classifier.bias)  # (batch, labels)
        if self.label_attention is not None:
            label_logits, attention = self.label_attention(states, mask, label_weight)
            logits, attentions = logits + label_logits, (*attentions, attention)
        if self.label_correlation is not None:
            logits = self.label_correlation(logits)
        if self.bag is not None:
            share = self.config.bag_weight * self.bag.shrinkage  # (labels,)
            logits = (1 - share) * logits + share * bag_logits

        loss = None
        if labels is not None or teacher_logits is not None:
            loss = training_loss(
                self.config, logits, labels, self.positive_weights, teacher_logits, num_items_in_batch
            )
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=attentions if output_attentions else None,
        )


class RnnMultilabelPredictionHead(nn.Module):
    """norm(gelu(W h + b)): from a state to a vector that is compared with every token's embedding."""

    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.state_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.norm(F.gelu(self.dense(states)))


class RnnMultilabelForMaskedLM(RnnMultilabelPreTrainedModel):
    """The masked language model (Devlin et al. 2019): one logit a token at each step, for training without labels.

    Without `bidirectional`, a masked token is predicted from what stands before it alone.
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {"decoder.weight": "rnn.embed_tokens.weight"}

    def __init__(self, config: RnnMultilabelConfig):
        super().__init__(config)
        self.rnn = RnnMultilabelModel(config)
        self.head = RnnMultilabelPredictionHead(config)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.decoder = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> MaskedLMOutput:
        """
        Args:
            input_ids, attention_mask, inputs_embeds, output_hidden_states: as for `RnnMultilabelModel`.
            labels: (batch, time) int, the token to predict; -100 where there is none.
            num_items_in_batch: see `losses.token_cross_entropy`; `Trainer` gives it.

        Returns:
            `loss` if there are labels, `logits` (batch, time, vocab_size). In training with labels the logits are
            those of the tokens to predict alone, (tokens, vocab_size), in the order of `labels[labels != -100]`:
            the others, most of the work and of the memory, would not be looked at.
        """
        outputs = self.rnn(input_ids, attention_mask, inputs_embeds, output_hidden_states, return_dict=True)
        states = outputs.last_hidden_state  # (batch, time, state)
        if labels is not None and self.training:
            labels = labels.to(states.device)
            is_predicted = labels != UNKNOWN
            states, labels = states[is_predicted], labels[is_predicted]  # (tokens, state), (tokens,)
        logits = self.decoder(self.head(states))
        return MaskedLMOutput(
            loss=None if labels is None else token_cross_entropy(logits, labels, num_items_in_batch),
            logits=logits,
            hidden_states=outputs.hidden_states,
        )


RnnMultilabelModel.register_for_auto_class("AutoModel")
RnnMultilabelForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
RnnMultilabelForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
