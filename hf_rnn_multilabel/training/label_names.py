"""Starts the label attention from the names of the labels: a text that names a label has it before any training."""

import re
from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedTokenizerBase

from ..data.tokenizer_training import MAX_WORDS, train_tokenizer
from ..model.modeling_rnn_multilabel import RnnMultilabelForSequenceClassification


NAMES_AT_ONCE = 1024
# What labels are called that came as ids.
NUMBER = re.compile(r"(LABEL_)?\d+")


@torch.no_grad()
def start_from_label_names(
    model: RnnMultilabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    *,
    attention: float = 6.0,
    evidence: float = 4.0,
) -> int:
    """Makes each label look for its own name first: its query is u = a h / |h|^2, its classifier w = b h / |h|^2.

    h is the mean hidden state over the tokens of the name, so that a position with that hidden state has the attention
    score u'h = a and adds w'h = b to the logit of the label. Training starts from there. A randomly initialised
    recurrent layer too gives similar words similar hidden states, and pretrained embeddings know the words of the
    rarest label. "_" and "-" part words. A label stays randomly initialised if the tokenizer knows no token of its
    name, or if the name is just a number ("7", "LABEL_7").

    Args:
        model: A tagger with the pooling "label_attention", changed in place, whose embeddings are pretrained already.
        tokenizer: The tokenizer of the model.
        attention: a.
        evidence: b.

    Returns:
        The number of labels that start from their names.

    Raises:
        ValueError: If the model has no label attention.
    """
    head = model.label_attention
    if head is None:
        raise ValueError(
            f"`pooling` is {model.config.pooling!r}, so there is no label attention to start; put 'label_attention' "
            "into it."
        )
    was_training = model.training
    model.eval()
    hidden_states = torch.cat(list(_mean_hidden_states(model, tokenizer)))  # (labels, features)
    model.train(was_training)
    squared_norms = hidden_states.pow(2).sum(1, keepdim=True)  # (labels, 1)
    is_known = squared_norms[:, 0] > 0
    directions = hidden_states[is_known] / squared_norms[is_known]
    head.query.weight[is_known] = attention * directions
    head.classifier.weight[is_known] = evidence * directions
    return int(is_known.sum())


def fraction_in_texts(names: list[str], texts: Iterable[str]) -> float:
    """The fraction of the names of which a word stands in the texts, in any case; numbers do not count as names.

    It is near 1 where the labels are named in the language of the texts, and near 0 where they are not.
    """
    words = train_tokenizer(texts, algorithm="word", vocab_size=MAX_WORDS, min_frequency=1)
    known = words.get_vocab().keys() - set(words.all_special_tokens)

    def is_named(name: str) -> bool:
        tokens = words.tokenize(words_of(name))
        return any(token in known and any(map(str.isalnum, token)) for token in tokens)

    return sum(map(is_named, names)) / len(names)


def words_of(name: str) -> str:
    """The name of a label as a text says it: "_" and "-" part words, and a number says nothing."""
    return "" if NUMBER.fullmatch(name) else re.sub("[_-]", " ", name)


def _mean_hidden_states(
    model: RnnMultilabelForSequenceClassification, tokenizer: PreTrainedTokenizerBase
) -> Iterator[torch.Tensor]:
    """The mean hidden state over the name of each label, 0 where no token is known: parts of (labels, features)."""
    names = [words_of(name) for name in model.config.label_names]
    for first in range(0, len(names), NAMES_AT_ONCE):
        part = names[first : first + NAMES_AT_ONCE]
        tokens = tokenizer(part, add_special_tokens=False, padding=True, truncation=True, return_tensors="pt")
        ids = tokens["input_ids"].to(model.device)
        mask = tokens["attention_mask"].to(model.device)
        if tokenizer.unk_token_id is not None:
            mask = mask * (ids != tokenizer.unk_token_id)
        hidden_states = model.rnn(ids, mask).last_hidden_state  # (names, time, features), zero where the mask is
        yield hidden_states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
