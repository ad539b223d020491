"""The model: inputs, recurrent layers, and a head with one logit per label, or with one logit per token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput
from transformers.utils import can_return_tuple

from .configuration_rnn_multilabel import RnnMultilabelConfig
from .heads import LabelAttention, LabelBias, LabelCorrelation, TokenHead
from .inputs import TokenInputs
from .losses import IGNORED, token_cross_entropy, training_loss
from .pooling import Pooling
from .recurrence import GATES, LockedDropout, ReadingOrders, RnnMultilabelDirection, RnnMultilabelLayer
from .wide import WideHead


if TYPE_CHECKING:
    # A checkpoint takes along the files that this one names, and the pipeline is to travel with it, whoever saves.
    from .pipeline_rnn_multilabel import RnnMultilabelTaggingPipeline  # noqa: F401
    from .tagging import Tagger  # noqa: F401
    from .text_encoding import TextEncoder  # noqa: F401


@dataclass
class RnnMultilabelModelOutput(BaseModelOutput):
    """What the recurrent layers give to a head.

    Attributes:
        last_hidden_state: (batch, time, features), zero at padded positions.
        hidden_states: The input vectors and the output of each layer, (batch, time, features) each.
        attention_mask: (batch, time) int64, 1 at the valid positions.
    """

    attention_mask: torch.Tensor | None = None


class RnnMultilabelPreTrainedModel(PreTrainedModel):
    """The base class: where the weights are initialised, saved and loaded."""

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
            # In float32: the QR decomposition has no bfloat16, and not every transformers goes round that.
            orthogonal = [init.orthogonal_(torch.empty_like(gate, dtype=torch.float32)) for gate in gates]
            init.copy_(module.weight_hh, torch.cat(orthogonal))
            init.xavier_uniform_(module.weight_ih)
            init.copy_(module.bias_ih, bias)
            init.zeros_(module.bias_hh)
        elif isinstance(module, RnnMultilabelForSequenceClassification):
            init.copy_(module.positive_weights, torch.tensor(self.config.label_positive_weights))
            init.copy_(module.classifier.bias, torch.tensor(self.config.label_bias))
            if module.label_correlation is not None:
                # The labels start independent of each other.
                init.zeros_(module.label_correlation.up.weight)
        elif isinstance(module, WideHead):
            init.zeros_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.mixing_weights)
        else:
            super()._init_weights(module)


class RnnMultilabelModel(RnnMultilabelPreTrainedModel):
    """Input vectors and recurrent layers: one hidden state per position."""

    def __init__(self, config: RnnMultilabelConfig):
        super().__init__(config)
        self.inputs = TokenInputs(config)
        input_sizes = [config.embedding_size] + [config.output_size] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList(RnnMultilabelLayer(config, size) for size in input_sizes)
        self.hidden_dropout = LockedDropout(config.hidden_dropout)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The embeddings of the tokens."""
        return self.inputs.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the embeddings of the tokens."""
        self.inputs.embed_tokens = value

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> RnnMultilabelModelOutput:
        """Reads a batch.

        Args:
            input_ids: (batch, time) int; or
            inputs_embeds: (batch, time, embedding_size).
            attention_mask: (batch, time), nonzero at the valid positions, in any pattern; None: all are valid.
            output_hidden_states: Whether to return the input vectors and the output of each layer.
            **kwargs: Ignored, but for `return_dict`.

        Returns:
            The hidden states, which depend on no padding and no other sequence of the batch. A batch without
            positions is read as if it had a padded one.

        Raises:
            ValueError: If both or none of `input_ids` and `inputs_embeds` are given.
        """
        if input_ids is not None and input_ids.numel():
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
        hidden_states, mask = self.inputs(input_ids, attention_mask, inputs_embeds)  # (batch, time, embedding)
        orders = ReadingOrders.of(mask)
        all_hidden_states = [hidden_states]
        for index, layer in enumerate(self.layers):
            hidden_states = self.hidden_dropout(hidden_states) if index else hidden_states
            hidden_states = layer(hidden_states, orders)  # (batch, time, features)
            all_hidden_states.append(hidden_states)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        return RnnMultilabelModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            attention_mask=mask.long(),
        )


class RnnMultilabelForSequenceClassification(RnnMultilabelPreTrainedModel):
    """The tagger: one logit per label. The score of a label is sigmoid(logit)."""

    def __init__(self, config: RnnMultilabelConfig):
        super().__init__(config)
        labels = self.num_labels = config.num_labels
        self.rnn = RnnMultilabelModel(config)
        self.dropout = LockedDropout(config.classifier_dropout)
        self.pooling = Pooling(config)
        size = self.pooling.output_size
        # With "label_attention" alone nothing is pooled.
        self.classifier = nn.Linear(size, labels) if size else LabelBias(labels)
        self.label_attention = self.label_correlation = self.wide = None
        if "label_attention" in config.poolings:
            self.label_attention = LabelAttention(config.output_size, labels)
        if config.label_correlation_size:
            self.label_correlation = LabelCorrelation(config.label_correlation_size, labels)
        if config.num_bigram_buckets is not None:
            self.wide = WideHead(config.vocab_size, config.num_bigram_buckets, labels)
        self.register_buffer("positive_weights", torch.ones(labels), persistent=False)
        self.post_init()

    def resize_token_embeddings(self, *args, **kwargs) -> nn.Embedding:
        """As the base class; the wide head gets as many tokens, and a new token says nothing there."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        if self.wide is not None:
            self.wide.resize(embeddings.num_embeddings)
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
        **kwargs,
    ) -> SequenceClassifierOutput:
        """Computes the logits, and the loss where there are labels.

        Args:
            input_ids: (batch, time) int; or
            inputs_embeds: (batch, time, embedding_size), which a wide head refuses.
            attention_mask: (batch, time), nonzero at the valid positions, in any pattern; None: all are valid.
            labels: (batch, labels) float, int or bool, -100 where ignored.
            output_attentions: Whether to return the attention of the poolings.
            output_hidden_states: As for `RnnMultilabelModel`.
            num_items_in_batch: The number of observed labels of the whole batch, which `Trainer` gives; see
                `losses.binary_cross_entropy`.
            **kwargs: Ignored, but for `return_dict`.

        Returns:
            `loss` if there are labels, `logits` (batch, labels), `attentions`: (batch, time, 1) of "attention" and
            (batch, time, labels) of "label_attention", those that there are.

        Raises:
            ValueError: If both or none of `input_ids` and `inputs_embeds` are given.
        """
        outputs = self.rnn(input_ids, attention_mask, inputs_embeds, output_hidden_states, return_dict=True)
        mask = outputs.attention_mask.bool()  # (batch, time)
        hidden_states = self.dropout(outputs.last_hidden_state)  # (batch, time, features)
        pooled, attentions = self.pooling(hidden_states, mask)  # (batch, features)
        logits = self.classifier(pooled)  # (batch, labels)
        if self.label_attention is not None:
            label_logits, attention = self.label_attention(hidden_states, mask)
            logits, attentions = logits + label_logits, (*attentions, attention)
        if self.label_correlation is not None:
            logits = self.label_correlation(logits)
        if self.wide is not None:
            logits = self.wide(input_ids, attention_mask, logits)
        loss = None
        if labels is not None:
            loss = training_loss(self.config, logits, labels, self.positive_weights, num_items_in_batch)
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=attentions if output_attentions else None,
        )


class RnnMultilabelForMaskedLM(RnnMultilabelPreTrainedModel):
    """The masked language model (Devlin et al. 2019): one logit per token at each position, to train without labels.

    Without `bidirectional`, a masked token is predicted from the tokens before it alone.
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {"decoder.weight": "rnn.inputs.embed_tokens.weight"}

    def __init__(self, config: RnnMultilabelConfig):
        super().__init__(config)
        self.rnn = RnnMultilabelModel(config)
        self.head = TokenHead(config)
        self.decoder = nn.Linear(config.embedding_size, config.vocab_size)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The decoder, whose weights are those of the input embeddings by default."""
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replaces the decoder."""
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
        """Computes the logits, and the loss where there are labels.

        Args:
            input_ids: (batch, time) int; or
            inputs_embeds: (batch, time, embedding_size).
            attention_mask: (batch, time), nonzero at the valid positions, in any pattern; None: all are valid.
            labels: (batch, time) int, the token to predict; -100 where ignored.
            output_hidden_states: As for `RnnMultilabelModel`.
            num_items_in_batch: The number of observed tokens of the whole batch, which `Trainer` gives.
            **kwargs: Ignored, but for `return_dict`.

        Returns:
            `loss` if there are labels, `logits` (batch, time, vocab_size). In training with labels the logits are
            those of the tokens to predict alone, (tokens, vocab_size), in the order of `labels[labels != -100]`: the
            others, most of the work and of the memory, would not be looked at.
        """
        outputs = self.rnn(input_ids, attention_mask, inputs_embeds, output_hidden_states, return_dict=True)
        time = (input_ids if inputs_embeds is None else inputs_embeds).shape[1]
        hidden_states = outputs.last_hidden_state[:, :time]  # (batch, time, features)
        if labels is not None and self.training:
            labels = labels.to(hidden_states.device)
            is_predicted = labels != IGNORED
            hidden_states, labels = hidden_states[is_predicted], labels[is_predicted]  # (tokens, features), (tokens,)
        logits = self.decoder(self.head(hidden_states))
        return MaskedLMOutput(
            loss=None if labels is None else token_cross_entropy(logits, labels, num_items_in_batch),
            logits=logits,
            hidden_states=outputs.hidden_states,
        )


RnnMultilabelModel.register_for_auto_class("AutoModel")
RnnMultilabelForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
RnnMultilabelForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
