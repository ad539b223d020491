"""Texts of any characters: each way of tagging gives the same tags, in any batch, and as many rows as there are."""

import numpy as np
import pytest
import torch
from fuzzing import WORDS, Refusal, attempt, fuzz, scalars, strings, values, whole_strings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.inference.ensemble import TaggerEnsemble
from hf_rnn_multilabel.inference.files import tag_rows
from hf_rnn_multilabel.model.tagging import TagChooser
from hf_rnn_multilabel.model.text_encoding import TextEncoder


for package in ("onnxruntime", "onnx", "onnxscript"):
    pytest.importorskip(package, reason="Exporting needs the extra `onnx`.")

from hf_rnn_multilabel.inference.onnx_export import export_onnx  # noqa: E402
from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger  # noqa: E402


TOLERANCE = 1e-4  # of a logit
sentences = st.lists(st.sampled_from([*WORDS, ",", "lamps"]), max_size=20).map(" ".join)
long_texts = st.builds(lambda text, times: text * times, whole_strings, st.integers(1, 300))
texts = st.one_of(sentences, whole_strings, long_texts)
unchecked_texts = st.one_of(texts, strings)
tagging_options = st.fixed_dictionaries(
    {},
    optional={
        "threshold": st.one_of(
            st.floats(0, 1), st.dictionaries(st.sampled_from(["lighting", "wood"]), st.floats(0, 1), max_size=2)
        ),
        "top_k": st.integers(1, 5),
        "at_least_one": st.booleans(),
        "max_length": st.integers(1, 20),
        "batch_size": st.integers(1, 4),
    },
)
any_options = st.dictionaries(
    st.sampled_from(["threshold", "top_k", "at_least_one", "truncation", "max_length", "batch_size"]),
    st.one_of(scalars, values, st.dictionaries(st.sampled_from(["lighting", "wood", "x"]), scalars, max_size=2)),
    max_size=3,
)


@pytest.fixture(scope="module")
def taggers(tagger, model, tokenizer, tmp_path_factory):
    exported = export_onnx(model, tokenizer, tmp_path_factory.mktemp("onnx") / "onnx")
    onnx = OnnxTagger(exported, threads=1)
    return {"pipeline": tagger, "onnx": onnx, "ensemble": TaggerEnsemble([tagger, onnx])}


def naive_tags(logits, thresholds, top_k=None, at_least_one=False):
    """The tags of one text, from its logits."""
    scores = {name: np.float32(1 / (1 + np.exp(-np.float64(z)))) for name, z in zip(thresholds, logits, strict=True)}
    tags = [name for name, score in scores.items() if score >= np.float32(thresholds[name])]
    tags = sorted(tags, key=lambda name: -scores[name])[:top_k]
    if at_least_one and not tags:
        tags = [max(scores, key=lambda name: scores[name] - np.float32(thresholds[name]))]
    return [(name, float(scores[name])) for name in tags]


def as_pairs(tags):
    return [(tag["label"], tag["score"]) for tag in tags]


def is_near(tags, others) -> bool:
    """Whether the tags are the same but for those within rounding of their threshold, or of each other."""
    one, two = dict(as_pairs(tags)), dict(as_pairs(others))
    return all(abs(one[name] - two[name]) < TOLERANCE for name in one.keys() & two.keys())


@fuzz(
    60,
    some=st.lists(texts, max_size=6),
    options=tagging_options,
    ways=st.sampled_from([["pipeline", "onnx"], ["onnx"], ["ensemble"]]),
)
def test_each_way_of_tagging_gives_the_same_answers_text_by_text_and_in_batches(taggers, some, options, ways):
    how = {name: value for name, value in options.items() if name in ("max_length", "batch_size")}
    one_by_one = [taggers["pipeline"].logits([text], max_length=options.get("max_length")) for text in some]
    expected = np.concatenate([np.zeros((0, 4), np.float32), *one_by_one])
    for tagger in map(taggers.__getitem__, ways):
        found = tagger.logits(some, **how)
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)
        thresholds = tagger.thresholds
        if "threshold" in options:
            given = options["threshold"]
            thresholds = thresholds | (given if isinstance(given, dict) else dict.fromkeys(thresholds, given))
        tags = tagger(some, **options)
        assert len(tags) == len(some)
        chosen = {name: value for name, value in options.items() if name in ("top_k", "at_least_one")}
        assert [as_pairs(each) for each in tags] == [naive_tags(row, thresholds, **chosen) for row in found]
        for text, each in zip(some[:2], tags, strict=False):
            assert is_near(tagger(text, **options), each)
        assert len(list(tagger(iter(some), **options))) == len(some)


@fuzz(60, some=st.lists(st.one_of(unchecked_texts, values), max_size=5), options=any_options)
def test_any_texts_and_options_are_tagged_or_refused_by_all_ways(taggers, some, options):
    found = {name: attempt(tagger, some, **options) for name, tagger in taggers.items()}
    is_text = [isinstance(text, str) and text.isprintable() for text in some]
    for tags in found.values():
        assert isinstance(tags, Refusal) == isinstance(found["pipeline"], Refusal), found
        if not isinstance(tags, Refusal):
            assert len(tags) == len(some)
            assert all(isinstance(text, str) for text in some)
    if all(is_text) and not options:
        assert not isinstance(found["pipeline"], Refusal), found


@fuzz(60, what=st.one_of(values, st.binary(max_size=3), st.sets(strings, max_size=2), strings))
def test_anything_that_is_no_texts_is_refused_by_all_ways(taggers, what):
    found = {name: attempt(tagger, what) for name, tagger in taggers.items()}
    if isinstance(what, str) and what.isascii():
        assert all(isinstance(tags, list) and not isinstance(tags, Refusal) for tags in found.values())
    if not isinstance(what, str | list):
        assert all(isinstance(tags, Refusal) for tags in found.values())


row_options = st.fixed_dictionaries(
    {},
    optional={
        "tags_separator": st.one_of(st.none(), strings),
        "scores": st.booleans(),
        "window": st.integers(-1, 3),
        "tags_column": st.one_of(st.just("tags"), strings),
        "text_column": st.sampled_from(["text", "text", "text", "other"]),
    },
)
rows_of_any_texts = st.lists(
    st.fixed_dictionaries({"text": st.one_of(texts, texts, texts, unchecked_texts, scalars), "other": scalars}),
    max_size=6,
)


@fuzz(60, rows=rows_of_any_texts, options=row_options)
def test_rows_out_are_rows_in_with_their_tags(taggers, rows, options):
    found = attempt(lambda: list(tag_rows(taggers["pipeline"], iter(rows), **options)))
    if isinstance(found, Refusal):
        return
    column = options.get("tags_column", "predicted_labels")
    assert len(found) == len(rows)
    for row, before in zip(found, rows, strict=True):
        assert list(row) == [*before, column]
        assert all(row[name] is value for name, value in before.items())
        assert is_near(taggers["pipeline"](before[options.get("text_column", "text")]), []) and column not in before


# The tokens of a long text are those of the whole text, truncated.


TRAINED = {
    algorithm: train_tokenizer(
        ["a folding lamp for the desk", "lamps, desks: 0 1"] * 4, algorithm=algorithm
    ).backend_tokenizer
    for algorithm in ("wordpiece", "bpe", "unigram", "word")
}
NORMALIZERS = [
    None,
    normalizers.Lowercase(),
    normalizers.NFKC(),
    normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    normalizers.Replace(Regex(" {2,}"), " "),
    normalizers.Replace(" ", "▁"),
    normalizers.Replace("a b", "c"),
    normalizers.Strip(),
    normalizers.BertNormalizer(),
    normalizers.Prepend("▁"),
]
PRE_TOKENIZERS = [
    None,
    pre_tokenizers.Whitespace(),
    pre_tokenizers.WhitespaceSplit(),
    pre_tokenizers.BertPreTokenizer(),
    pre_tokenizers.ByteLevel(),
    pre_tokenizers.ByteLevel(use_regex=False),
    pre_tokenizers.Metaspace(),
    pre_tokenizers.Metaspace(split=False),
    pre_tokenizers.Digits(),
    pre_tokenizers.Split(Regex(r"\s+"), "removed"),
    pre_tokenizers.Split(Regex(r"\s+"), "merged_with_next"),
    pre_tokenizers.Split(" ", "isolated"),
]


def character_tokenizer(normalizer, pre_tokenizer) -> Tokenizer:
    """Each byte or character a token, and a few words."""
    alphabet = sorted({chr(code) for code in range(33, 127)} | set(pre_tokenizers.ByteLevel.alphabet()) | {"▁", " "})
    vocabulary = {token: index for index, token in enumerate(["[UNK]", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="[UNK]"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    return tokenizer


tokenizers_of_all_kinds = st.one_of(
    st.sampled_from(list(TRAINED)).map(TRAINED.__getitem__),
    st.builds(character_tokenizer, st.sampled_from(NORMALIZERS), st.sampled_from(PRE_TOKENIZERS)),
)


@fuzz(
    100,
    tokenizer=tokenizers_of_all_kinds,
    some=st.lists(texts, min_size=1, max_size=3),
    limit=st.one_of(st.none(), st.integers(1, 9)),
    side=st.sampled_from(["right", "right", "left"]),
)
def test_a_truncated_text_has_the_first_tokens_of_the_whole_one(tokenizer, some, limit, side):
    found = TextEncoder(tokenizer, limit, side)(some)
    for text, encoding in zip(some, found, strict=True):
        whole = tokenizer.encode(text).ids
        assert encoding.ids == (whole if limit is None else whole[:limit] if side == "right" else whole[-limit:])


# Tags by logits.


@fuzz(
    150,
    logits=st.lists(
        st.lists(
            st.one_of(st.floats(-200, 200, width=32), st.sampled_from([0.0, 1.0, -1.0, 88.0, -104.0, 17.0])),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=4,
    ),
    thresholds=st.lists(
        st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 0.5, 0.7310586, 1e-45, 1e-38])), min_size=3, max_size=3
    ),
    top_k=st.one_of(st.none(), st.integers(1, 4)),
    at_least_one=st.booleans(),
)
def test_tags_are_those_of_a_naive_comparison_of_scores_and_thresholds(logits, thresholds, top_k, at_least_one):
    names = dict(zip("abc", thresholds, strict=True))
    matrix = torch.tensor(logits, dtype=torch.float32).numpy()
    tags = TagChooser(names, top_k, at_least_one)(matrix)
    for row, each in zip(matrix, tags, strict=True):
        expected = naive_tags(np.clip(row.astype(float), -120, 120), names, top_k, at_least_one)
        assert [(label, pytest.approx(score)) for label, score in expected] == as_pairs(each)


# Tokenizers of any texts.


@fuzz(
    25,
    some=st.one_of(st.lists(texts, max_size=5), st.lists(st.one_of(unchecked_texts, scalars), max_size=4), values),
    algorithm=st.sampled_from(["wordpiece", "bpe", "unigram", "word"]),
    vocab_size=st.sampled_from([300, 300, 1000, 30, 3, 0]),
    min_frequency=st.integers(0, 2),
    lowercase=st.booleans(),
)
def test_a_tokenizer_is_trained_on_any_texts_or_says_why_not(some, algorithm, vocab_size, min_frequency, lowercase):
    options = {"vocab_size": vocab_size, "min_frequency": min_frequency, "lowercase": lowercase}
    tokenizer = attempt(train_tokenizer, some, algorithm=algorithm, **options)
    if isinstance(tokenizer, Refusal):
        return
    assert len(tokenizer) <= max(vocab_size, 3)
    for text in some:
        ids = tokenizer(text)["input_ids"]
        assert all(0 <= token < len(tokenizer) for token in ids)
        # Nothing but white space and characters without width is left out.
        assert ids or not any(character.isalnum() for character in text)
