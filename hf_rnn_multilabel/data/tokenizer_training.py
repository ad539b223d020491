"""Stock fast tokenizers, trained on the user's texts."""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .json_rows import SURROGATE


PAD, UNK = "[PAD]", "[UNK]"
CONTINUATION, WORD_START = "##", "▁"

WORD_BOUNDARY = r"[\s\p{Cc}\p{Cf}\x{FE0E}\x{FE0F}]+"
SYMBOL = rf"[\p{{P}}\p{{S}}&&[^{WORD_START}]]"
# What is a word by itself. BPE and unigram find the words of scripts written without spaces; WordPiece would learn
# every Chinese character twice, as a start and as a continuation, and a vocabulary of words would learn clauses.
LONE_CHARACTER = {
    "wordpiece": SYMBOL + r"|\p{Han}",
    "bpe": SYMBOL,
    "unigram": SYMBOL,
    "word": SYMBOL + r"|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]",
}
# A longer run without spaces is split: WordPiece takes cubic time in the length of a word.
MAX_WORD_LENGTH = 64
# A private character, neither symbol nor separator.
WORD_END = "\ue000"

MAX_WORDS = 1_000_000
# The trainers make room for all tokens at once.
MAX_VOCAB_SIZE = 10_000_000

Train = Callable[..., Tokenizer]


def train_tokenizer(
    texts: Iterable[str],
    *,
    algorithm: Literal["wordpiece", "bpe", "unigram", "word"] = "wordpiece",
    vocab_size: int = 30_000,
    min_frequency: int = 2,
    lowercase: bool = True,
    model_max_length: int = 512,
) -> PreTrainedTokenizerFast:
    """Trains a tokenizer without [CLS] and [SEP]; the same texts give the same tokenizer.

    Args:
        texts: The training texts.
        algorithm: "wordpiece" (as BERT's), "bpe" (on bytes, as GPT-2's), "unigram" (as SentencePiece's) or "word"
            (one token per word). All split at white space and set punctuation, symbols and emoji apart; "wordpiece"
            sets Chinese characters apart as well, "word" those of every script written without spaces.
        vocab_size: The largest number of tokens, [PAD] (id 0) and [UNK] (id 1) included.
        min_frequency: How often a word, or a pair of pieces, must occur to become a token. All but "word" keep every
            single character, however rare.
        lowercase: Whether to lower-case. Accents stay in either case.
        model_max_length: The number of tokens to which `truncation=True` truncates.

    Returns:
        A tokenizer that `AutoTokenizer.from_pretrained` loads without this package.

    Raises:
        ValueError: A text is no string or holds half a surrogate pair, the algorithm is unknown, the texts hold no
            word that is frequent enough, or `vocab_size` is too large or has no room for the characters.
    """
    if not 0 < vocab_size <= MAX_VOCAB_SIZE:
        raise ValueError(f"`vocab_size` is {vocab_size:,}; it must be from 1 to {MAX_VOCAB_SIZE:,}.")
    if algorithm not in ALGORITHMS:
        raise ValueError(f"`algorithm` is {algorithm!r}; give one of {sorted(ALGORITHMS)}.")
    texts = check_texts(texts)

    def train(model: models.Model, trainer: trainers.Trainer, more_texts: Iterable[str] = ()) -> Tokenizer:
        tokenizer = _tokenizer(algorithm, lowercase, model)
        tokenizer.train_from_iterator(chain(texts, more_texts), trainer)
        return tokenizer

    model = ALGORITHMS[algorithm](train, vocab_size, min_frequency)
    if Tokenizer(model).get_vocab_size() <= len((PAD, UNK)):
        raise ValueError(f"No word of the texts occurs `min_frequency` = {min_frequency} times; lower it.")
    return PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(algorithm, lowercase, model),
        pad_token=PAD,
        unk_token=UNK,
        model_max_length=model_max_length,
    )


def check_texts(texts: Iterable[str]) -> list[str]:
    """The texts as a list; a ValueError where one is no string or no UTF-8 can hold it, or all are empty."""
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise ValueError(f"`texts` is one {type(texts).__name__}; give an iterable of strings, as in `[text]`.")
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"Text {row} is {text!r:.80}, of type {type(text).__name__}; drop it, or make it a str.")
        if SURROGATE.search(text):
            raise ValueError(f"Text {row} is {text!r:.80}, with half of a surrogate pair; replace that.")
    if not any(text.strip() for text in texts):
        raise ValueError(f"All of the {len(texts)} texts are empty; give at least one that holds a word.")
    return texts


def _tokenizer(algorithm: str, lowercase: bool, model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    )
    separate = pre_tokenizers.Split(Regex(WORD_BOUNDARY), "removed")
    isolate = pre_tokenizers.Split(Regex(LONE_CHARACTER[algorithm]), "isolated")
    shorten = pre_tokenizers.FixedLength(MAX_WORD_LENGTH)
    steps = [separate, isolate, shorten]
    if algorithm == "wordpiece":
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
    elif algorithm == "bpe":
        steps = [separate, isolate, shorten, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
        tokenizer.decoder = decoders.ByteLevel()
    elif algorithm == "unigram":
        steps = [separate, pre_tokenizers.Metaspace(WORD_START), isolate, shorten]
        tokenizer.decoder = decoders.Metaspace(WORD_START)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return tokenizer


def _wordpiece(train: Train, vocab_size: int, min_frequency: int) -> models.Model:
    draft = train(models.BPE(), trainers.BpeTrainer(**_options(0)))
    least = draft.get_vocab()
    # The trainer makes continuations of the characters that it saw within a word, numbers them at random, and settles
    # ties by number. Special tokens are numbered as given.
    within_words = [token for token in least if len(draft.pre_tokenizer.pre_tokenize_str("a" + token)) == 1]
    continuations = sorted(CONTINUATION + character for character in within_words)
    _check_room(vocab_size, len(least) + len(continuations))
    trainer = trainers.WordPieceTrainer(**_options(vocab_size, *continuations), min_frequency=min_frequency)
    vocab = train(models.WordPiece(unk_token=UNK), trainer).get_vocab()
    return models.WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=MAX_WORD_LENGTH)


def _bpe(train: Train, vocab_size: int, min_frequency: int) -> models.Model:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _check_room(vocab_size, len(alphabet) + 2)
    trainer = trainers.BpeTrainer(**_options(vocab_size), min_frequency=min_frequency, initial_alphabet=alphabet)
    return train(models.BPE(), trainer).model


def _unigram(train: Train, vocab_size: int, min_frequency: int) -> models.Model:
    least = train(models.BPE(), trainers.BpeTrainer(**_options(0))).get_vocab()
    # The trainer does not stop where the characters fill the vocabulary.
    _check_room(vocab_size, len(least) + 1)
    # The trainer overlooks words that are never the start of a longer one; so each word
    # that repeats is shown once more, with a mark at its end.
    word_trainer = trainers.WordLevelTrainer(**_options(MAX_WORDS), min_frequency=max(2, min_frequency))
    words = train(models.WordLevel(), word_trainer).get_vocab()
    marked = [word.removeprefix(WORD_START) + WORD_END for word in words if word.startswith(WORD_START)]
    # A shrinking factor of .5 halves the time that the usual .75 takes, for 1 % more tokens.
    trainer = trainers.UnigramTrainer(**_options(vocab_size + 1), unk_token=UNK, shrinking_factor=0.5)
    trained = train(models.Unigram(), trainer, [WORD_END, *marked])
    scores = dict(json.loads(trained.to_str())["model"]["vocab"])
    # The trainer sums in random order, and in random order gives the characters without a score the lowest one plus 0,
    # .0001, .0002, ...; rounding undoes the one, and the lowest score for them all the other.
    lowest = min(scores.values())
    unscored = {token for token, score in scores.items() if token in least and score < lowest + 1e-4 * len(least)}
    pieces = [
        (token, round(lowest if token in unscored else score, 4))
        for token, score in scores.items()
        if token not in (PAD, UNK) and WORD_END not in token
    ]
    pieces.sort(key=lambda piece: (-piece[1], piece[0]))
    return models.Unigram([(PAD, 0.0), (UNK, 0.0), *pieces], unk_id=1)


def _word(train: Train, vocab_size: int, min_frequency: int) -> models.Model:
    _check_room(vocab_size, 3)
    trainer = trainers.WordLevelTrainer(**_options(vocab_size), min_frequency=min_frequency)
    return train(models.WordLevel(unk_token=UNK), trainer).model


ALGORITHMS = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram, "word": _word}


def _options(vocab_size: int, *more_special_tokens: str) -> dict[str, Any]:
    return {"vocab_size": vocab_size, "special_tokens": [PAD, UNK, *more_special_tokens], "show_progress": False}


def _check_room(vocab_size: int, least: int) -> None:
    if vocab_size < least:
        raise ValueError(
            f"`vocab_size` is {vocab_size}; these texts need at least {least}, for special tokens and characters."
        )
