"""Starts the label attention from the labels' names: a text that names a label speaks for it before any training."""

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
    """
    Has each label first look for its own name: its query is u = a s / |s|^2 and its weights are w = b s / |s|^2.

    s is the mean of the encoder's states over the name's tokens, so that a step with that state has the attention
    score u's = a and adds w's = b to the label's logit. Training goes on from there. A recurrent layer gives alike
    words alike states with drawn weights too, and embeddings from elsewhere know the words of the rarest label. "_"
    and "-" part words. A label stays as it was drawn if the tokenizer knows no token of its name, or if the name is a
    mere number ("7", "LABEL_7").

    Args:
        model: a tagger with the pooling "label_attention", changed in place; its embeddings have their start already.
        tokenizer: the model's.
        attention: a.
        evidence: b.

    Returns:
        The number of labels that start from their names.

    Raises:
        ValueError: the model has no label attention.
    """
    if model.label_attention is None:
        raise ValueError(
            f"`pooling` is {model.config.pooling!r}, so there is no label attention to start; put 'label_attention' "
            "into it."
        )
    was_training = model.training
    model.eval()
    states = torch.cat(list(_name_states(model, tokenizer)))  # (labels, state)
    model.train(was_training)
    lengths = states.pow(2).sum(1, keepdim=True)  # (labels, 1)
    known = lengths[:, 0] > 0
    directions = states[known] / lengths[known]
    model.label_attention.query.weight[known] = attention * directions
    model.classifier.weight[known, -states.shape[1] :] = evidence * directions
    return int(known.sum())


def share_in_texts(names: list[str], texts: Iterable[str]) -> float:
    """The share of the names of which a word stands in the texts, in any case; mere numbers have none.

    It is near 1 where the labels are named in the language of the texts, and near 0 where they are not.
    """
    words = train_tokenizer(texts, algorithm="word", vocab_size=MAX_WORDS, min_frequency=1)
    known = words.get_vocab().keys() - set(words.all_special_tokens)

    def is_named(name: str) -> bool:
        tokens = words.tokenize(words_of(name))
        return any(token in known and any(map(str.isalnum, token)) for token in tokens)

    return sum(map(is_named, names)) / len(names)


def words_of(name: str) -> str:
    """A label's name as a text says it: "_" and "-" part words, and a mere number says nothing."""
    return "" if NUMBER.fullmatch(name) else re.sub("[_-]", " ", name)


def _name_states(
    model: RnnMultilabelForSequenceClassification, tokenizer: PreTrainedTokenizerBase
) -> Iterator[torch.Tensor]:
    """The mean state over each label's name, 0 where no token is known: parts of (labels, state)."""
    names = [words_of(name) for name in model.config.label_names]
    for first in range(0, len(names), NAMES_AT_ONCE):
        part = names[first : first + NAMES_AT_ONCE]
        tokens = tokenizer(part, add_special_tokens=False, padding=True, truncation=True, return_tensors="pt")
        ids = tokens["input_ids"].to(model.device)
        mask = tokens["attention_mask"].to(model.device)
        if tokenizer.unk_token_id is not None:
            mask = mask * (ids != tokenizer.unk_token_id)
        states = model.rnn(ids, mask).last_hidden_state  # (names, time, state), zero where the mask is
        yield states.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
