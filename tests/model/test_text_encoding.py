"""Token ids are those of the whole text, truncated, however little of it is read."""

import copy
import logging
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from hf_rnn_multilabel.data.tokenizer_training import train_tokenizer
from hf_rnn_multilabel.model import text_encoding
from hf_rnn_multilabel.model.text_encoding import TextEncoder


WORDS = ["lamp", "desk", "wood", "the", "a", "garden's", "灯", "été", "it's"]
WHITE_SPACE = " \n\t\r"
VOCABULARY = {
    token: index
    for index, token in enumerate(
        [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            *"abcdefghijklmnopqrstuvwxyz' ▁Ġ",
            *(f"##{letter}" for letter in "abcdefg"),
        ]
    )
}


def trained(algorithm: str) -> Tokenizer:
    return train_tokenizer([" ".join(WORDS)] * 3, algorithm=algorithm, vocab_size=400).backend_tokenizer


def assembled(pre_tokenizer=None, normalizer=None, model=None, processor=None, added=()) -> Tokenizer:
    """A tokenizer of letters, or of the pieces of words."""
    tokenizer = Tokenizer(model or models.BPE(VOCABULARY, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.normalizer = pre_tokenizer, normalizer
    if processor is not None:
        tokenizer.post_processor = processor
    tokenizer.add_tokens(list(added))
    return tokenizer


SPECIAL = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
WORD_PIECE = models.WordPiece(VOCABULARY, unk_token="[UNK]", max_input_chars_per_word=5)
# Each with the white space at which its texts may be split.
TOKENIZERS = {
    "wordpiece": (trained("wordpiece"), WHITE_SPACE),
    "bpe": (trained("bpe"), WHITE_SPACE),
    "unigram": (trained("unigram"), WHITE_SPACE),
    "word": (trained("word"), WHITE_SPACE),
    "like BERT's": (
        assembled(pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(), WORD_PIECE, SPECIAL),
        WHITE_SPACE,
    ),
    "like GPT-2's": (assembled(pre_tokenizers.ByteLevel()), WHITE_SPACE),
    "at white space": (assembled(pre_tokenizers.Whitespace(), normalizers.StripAccents()), WHITE_SPACE),
    "like ALBERT's": (
        assembled(
            pre_tokenizers.Metaspace(),
            normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace(Regex(" {2,}"), " ")]),
        ),
        " ",
    ),
    "nothing is split": (assembled(), ""),
    "not at spaces": (assembled(pre_tokenizers.Metaspace(split=False)), ""),
    "not by a pattern": (assembled(pre_tokenizers.ByteLevel(use_regex=False)), ""),
    "by a pattern that looks ahead": (assembled(pre_tokenizers.Split(Regex(r"\s+(?=a)"), "removed")), ""),
    "where no space is": (assembled(pre_tokenizers.Split(Regex(r"[\s]+"), "removed", invert=True)), ""),
    "spaces deleted first": (assembled(pre_tokenizers.Whitespace(), normalizers.Replace(" ", "")), ""),
    "words joined first": (assembled(pre_tokenizers.Whitespace(), normalizers.Replace(Regex("a b"), "ab")), ""),
    "a token of two words": (assembled(pre_tokenizers.Whitespace(), added=["the lamp"]), ""),
    "a token that takes spaces": (
        assembled(pre_tokenizers.Whitespace(), added=[AddedToken("desk", lstrip=True, rstrip=True)]),
        WHITE_SPACE,
    ),
}


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """Few characters are read at first, so that it matters how many."""
    monkeypatch.setattr(text_encoding, "CHARACTERS_PER_TOKEN", 2)


def truncated(tokenizer: Tokenizer, text: str, limit: int, direction: str = "right") -> list[int]:
    """The ids of the whole text, truncated by the tokenizer itself."""
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_padding()
    whole.enable_truncation(limit, direction=direction)
    return whole.encode(text).ids


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_splits_at_the_white_space_that_it_is_known_to_split_at(name):
    tokenizer, spaces = TOKENIZERS[name]
    assert TextEncoder(tokenizer, 8)._spaces == spaces


texts = st.lists(
    st.sampled_from([*WORDS, "x" * 70, "the lamp", "``", "é", "\u0301", "\u1100", "\u1161", "\u0600", "[SEP]"])
    | st.text(max_size=6)
    | st.text(" \n\t\r\u3000", min_size=1, max_size=4),
    max_size=40,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(TOKENIZERS)), texts, st.integers(3, 12), st.sampled_from(["left", "right"]))
def test_fault_38_the_tokens_are_those_of_the_whole_text(name, text, limit, side):
    text = text.encode("utf-8", "replace").decode()
    tokenizer, _ = TOKENIZERS[name]
    found = TextEncoder(tokenizer, limit, side)([text, "a lamp", text])
    assert [encoding.ids for encoding in found] == [
        truncated(tokenizer, each, limit, side) for each in (text, "a lamp", text)
    ]


RUNS = [
    "x",
    "ab",
    "灯",
    "é",
    "e\u0301",
    "\u1100\u1161",
    "!",
    "12",
    "👩\u200d🚀",
    "🇩🇪",
    "ｶﾞ",
    "ﷺ",
    "[SEP]",
    "``",
    "\u0e2a\u0e27",
]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(TOKENIZERS)),
    st.lists(st.tuples(st.sampled_from([*RUNS, " ", "\u0301"]), st.integers(1, 120)), min_size=1, max_size=6),
    st.integers(3, 12),
)
def test_fault_38_the_tokens_of_a_text_without_spaces_are_those_of_the_whole_text(name, runs, limit):
    text = "".join(run * times for run, times in runs)
    tokenizer, _ = TOKENIZERS[name]
    (found,) = TextEncoder(tokenizer, limit)([text])
    assert found.ids == truncated(tokenizer, text, limit)


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "unigram", "word"])
@pytest.mark.parametrize("run", [run for run in RUNS if run != "🇩🇪"])
def test_fault_38_little_of_a_text_without_spaces_is_tokenized(name, run, monkeypatch):
    tokenizer, _ = TOKENIZERS[name]
    encoder, sizes = TextEncoder(tokenizer, 64), []
    boundary = text_encoding._boundary
    monkeypatch.setattr(text_encoding, "_boundary", lambda text, size: sizes.append(size) or boundary(text, size))
    (found,) = encoder([run * 100_000])
    assert found.ids == truncated(tokenizer, run * 12_000, 64)
    assert sizes[-1] <= 64 * 2 * 4**4 < 100_000


@pytest.mark.parametrize("name", [name for name, (_, spaces) in TOKENIZERS.items() if spaces])
def test_fault_38_little_of_ten_million_characters_is_tokenized(name, monkeypatch):
    tokenizer, _ = TOKENIZERS[name]
    words = random.Random(0).choices(WORDS, k=1_000)
    text = " ".join(words * 2_500)
    assert len(text) > 10_000_000
    encoder = TextEncoder(tokenizer, 256)
    seen = []
    start = encoder._start
    monkeypatch.setattr(encoder, "_start", lambda text, size: seen.append(start(text, size)) or seen[-1])
    assert encoder([text])[0].ids == truncated(tokenizer, " ".join(words), 256)
    assert 0 < sum(map(len, seen)) < 5_000


def test_a_text_whose_words_come_late_is_read_on():
    tokenizer, _ = TOKENIZERS["wordpiece"]
    text = "\n " * 100 + "lamp desk " * 10
    assert TextEncoder(tokenizer, 4)([text])[0].ids == truncated(tokenizer, "lamp desk lamp desk", 4)


def test_a_text_can_be_read_whole_or_truncated_elsewhere():
    tokenizer, _ = TOKENIZERS["like BERT's"]
    encoder = TextEncoder(tokenizer, 5)
    text = "a b c d e f g"
    assert len(encoder([text])[0]) == 5
    assert len(encoder([text], max_length=3)[0]) == 3
    assert len(encoder([text], truncation=False)[0]) == 9
    assert len(TextEncoder(tokenizer, None)([text])[0]) == 9
    assert len(TextEncoder(tokenizer, None)([text], max_length=4)[0]) == 4


def test_special_tokens_leave_room_or_are_an_error():
    tokenizer, _ = TOKENIZERS["like BERT's"]
    assert len(TextEncoder(tokenizer, 3)(["a b"])[0]) == 3
    with pytest.raises(ValueError, match="`max_length` is 2, and the tokenizer adds 2 special tokens"):
        TextEncoder(tokenizer, 8)(["a b"], max_length=2)


def test_the_tokenizer_stays_as_it_is_and_its_state_does_not_count():
    tokenizer = trained("wordpiece")
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=30)
    before = tokenizer.to_str()
    assert len(TextEncoder(tokenizer, 6)(["a lamp"] * 2, max_length=5)[0]) < 6
    assert len(TextEncoder(tokenizer, 6)(["lamp desk wood the a lamp desk"])[0]) == 6
    assert tokenizer.to_str() == before


def test_the_name_of_a_special_token_is_text_where_it_is_to_be():
    tokenizer = trained("wordpiece")
    tokenizer.add_special_tokens(["[SEP]"])
    (special,) = TextEncoder(tokenizer, 8)(["[SEP]"])
    (split,) = TextEncoder(tokenizer, 8, split_special_tokens=True)(["[SEP]"])
    assert len(special) == 1 < len(split)


def test_fault_22_threads_may_truncate_anywhere():
    tokenizer, _ = TOKENIZERS["bpe"]
    encoder = TextEncoder(tokenizer, 9)
    many = [" ".join(random.Random(row).choices(WORDS, k=30)) for row in range(50)]
    limits = [None, 2, 3, 5, 6, 7] * 20  # more than are kept
    expected = {limit: [truncated(tokenizer, text, limit or 9) for text in many] for limit in set(limits)}
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda limit: [each.ids for each in encoder(many, max_length=limit)], limits)
        for limit, ids in zip(limits, found, strict=True):
            assert ids == expected[limit]
    assert len(encoder._tokenizers) <= text_encoding.MAX_TOKENIZERS + 8


def test_a_copy_and_a_pickled_one_are_the_same():
    encoder = TextEncoder(TOKENIZERS["unigram"][0], 5)
    expected = encoder(["a lamp for the desk"])[0].ids
    for other in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert other(["a lamp for the desk"])[0].ids == expected


def test_a_truncated_text_is_told_of_once(caplog):
    encoder = TextEncoder(TOKENIZERS["wordpiece"][0], 4)
    encoder(["a lamp", "lamp desk wood the"])
    for arguments in ({"truncation": True}, {"truncation": False}, {"max_length": 3}):
        encoder(["lamp " * 100], **arguments)
    assert caplog.messages == []
    encoder(["a lamp", "lamp " * 100, "desk " * 200])
    encoder(["lamp " * 100])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "500 characters" in record.getMessage() and "`model_max_length` of 4" in record.getMessage()
