"""The logits of any text classifier are those of each text alone."""

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from hf_rnn_multilabel.data.tokenizer_training import train_tokenizer
from hf_rnn_multilabel.inference.logits import compute_logits
from hf_rnn_multilabel.model import tagging


TEXTS = ["lamp oak desk", "", "lamp", "desk desk desk desk lamp", "unheard-of", "oak " * 50]
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([" ".join(TEXTS)] * 2, model_max_length=12)


def make_model(kind: str, tokenizer, build_tagger):
    torch.manual_seed(0)
    common = {"vocab_size": len(tokenizer), "num_labels": 3, "initializer_range": 0.5}
    if kind == "ours":
        return build_tagger(vocab_size=len(tokenizer))
    if kind == "bert":
        return BertForSequenceClassification(BertConfig(**common, **SIZES))
    if kind == "roberta":
        # Its positions are those of the tokens that are no padding.
        return RobertaForSequenceClassification(RobertaConfig(**common, **SIZES, pad_token_id=tokenizer.pad_token_id))
    config = GPT2Config(**common, n_embd=8, n_layer=1, n_head=2, pad_token_id=tokenizer.pad_token_id)
    return GPT2ForSequenceClassification(config)


@pytest.mark.parametrize("kind", ["ours", "bert", "roberta", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_the_logits_are_those_of_each_text_alone(kind, tokenizer, build_tagger, batch_size, monkeypatch):
    monkeypatch.setattr(tagging, "WINDOW_CHARACTERS", 20)
    model = make_model(kind, tokenizer, build_tagger)
    # Most models have no logits of a text without any token.
    texts = TEXTS if kind == "ours" else [text for text in TEXTS if text]
    found = compute_logits(model.train(), tokenizer, texts, batch_size=batch_size)
    assert not model.training
    assert (found.dtype, found.shape) == (np.float32, (len(texts), model.config.num_labels))
    with torch.no_grad():
        alone = [model(**inputs_of(tokenizer, text)).logits for text in texts]
    np.testing.assert_allclose(found, torch.cat(alone), rtol=0, atol=1e-5)


def inputs_of(tokenizer, text: str) -> dict[str, torch.Tensor]:
    encoding = tokenizer(text, truncation=True, return_tensors="pt")
    return {name: encoding[name].long() for name in ("input_ids", "attention_mask")}


def test_texts_are_truncated_at_the_lower_of_two_limits(tokenizer, build_tagger):
    model = build_tagger(vocab_size=len(tokenizer))
    by_default = compute_logits(model, tokenizer, TEXTS)
    np.testing.assert_array_equal(compute_logits(model, tokenizer, TEXTS, max_length=100), by_default)
    np.testing.assert_allclose(
        compute_logits(model, tokenizer, ["lamp oak desk"], max_length=2),
        compute_logits(model, tokenizer, ["lamp oak"]),
        atol=1e-6,
    )


def test_no_texts_have_no_logits(tokenizer, build_tagger):
    assert compute_logits(build_tagger(vocab_size=len(tokenizer)), tokenizer, []).shape == (0, 3)


def test_wrong_arguments_are_the_errors_of_tagging(tokenizer, build_tagger):
    model = build_tagger(vocab_size=len(tokenizer))
    with pytest.raises(ValueError, match="Text 1 to tag is None"):
        compute_logits(model, tokenizer, ["a", None])
    with pytest.raises(ValueError, match="A text to tag is 7"):
        compute_logits(model, tokenizer, 7)
    for name in ("batch_size", "max_length"):
        with pytest.raises(ValueError, match=f"`{name}` is 0"):
            compute_logits(model, tokenizer, ["a"], **{name: 0})
