"""Stock fast tokenizers: trained on the user's texts, or pruned to the tokens that the texts use."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


PAD, UNK = "[PAD]", "[UNK]"
CONTINUATION, WORD_START = "##", "▁"

SEPARATORS = r"[\s\p{Cc}\p{Cf}\x{FE0E}\x{FE0F}]+"
SYMBOL = rf"[\p{{P}}\p{{S}}&&[^{WORD_START}]]"
# What is a word by itself. BPE and unigram find the words of scripts written without spaces; WordPiece would learn
# every Chinese character twice, as a start and as a continuation, and a vocabulary of words would learn clauses.
LONE_CHARACTER = {
    "wordpiece": SYMBOL + r"|\p{Han}",
    "bpe": SYMBOL,
    "unigram": SYMBOL,
    "word": SYMBOL + r"|[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]",
}
# A longer run without spaces is cut: WordPiece takes cubic time in the length of a word.
LONGEST_WORD = 64
# A private character, neither symbol nor separator.
WORD_END = "\ue000"

BYTE = re.compile("<0x[0-9A-F]{2}>")
ENCODING_BATCH = 10_000
MOST_WORDS = 1_000_000

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
    """
    Trains a tokenizer without [CLS] and [SEP]; the same texts give the same tokenizer.

    Args:
        texts: the training texts.
        algorithm: "wordpiece" (as BERT's), "bpe" (on bytes, as GPT-2's), "unigram" (as SentencePiece's) or "word"
            (one token a word). All split at white space and set punctuation, symbols and emoji apart; "wordpiece"
            sets Chinese characters apart as well, "word" those of every script written without spaces.
        vocab_size: the largest number of tokens, [PAD] (id 0) and [UNK] (id 1) included.
        min_frequency: how often a word, or a pair of pieces, must occur to become a token. All but "word" keep every
            single character, however rare.
        lowercase: whether to lower-case. Accents stay in either case.
        model_max_length: the number of tokens at which `truncation=True` cuts.

    Returns:
        A tokenizer that `AutoTokenizer.from_pretrained` loads without this package.

    Raises:
        TypeError: a text is not a str.
        ValueError: the algorithm is unknown, the texts hold no word that is frequent enough, or `vocab_size` has no
            room for the characters.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"`algorithm` is {algorithm!r}; give one of {sorted(ALGORITHMS)}.")
    texts = _checked(texts)

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


def prune_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """
    Drops the tokens that `texts` do not use; the texts are split as before.

    Special tokens stay, and so do single characters and bytes, of which unseen words are made, and the tokens through
    which BPE reaches the used ones. Truncation and padding that a tokenizer.json brought along are cleared.

    Args:
        tokenizer: any fast tokenizer (WordPiece, BPE, unigram or word-level) with a pad token.
        texts: the training texts.

    Returns:
        The pruned tokenizer, and the old id of each of its ids.

    Raises:
        TypeError: the tokenizer is not a fast one, or a text is not a str.
        ValueError: the tokenizer has no pad token, or the texts are empty.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TypeError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and no other can be pruned; load one with "
            "`AutoTokenizer.from_pretrained(name)`, or train one with `train_tokenizer(texts)`."
        )
    if "pad_token" not in tokenizer.special_tokens_map:
        raise ValueError("The tokenizer has no pad token; set one, as in `tokenizer.pad_token = tokenizer.eos_token`.")
    state = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    backend = Tokenizer.from_str(json.dumps(state))
    backend.encode_special_tokens = tokenizer.split_special_tokens
    model, old_ids = state["model"], backend.get_vocab()

    kept = _used_tokens(backend, _checked(texts))
    if model["type"] == "BPE":
        kept |= _intermediate_tokens(model, kept)
    kept.update(_building_blocks(model), tokenizer.all_special_tokens)
    kept.update(token["content"] for token in state["added_tokens"] if token["special"])
    kept.update(token for processor in _processors(state) for token in _processor_tokens(processor))

    # Tokens outside the model's own vocabulary come after it: loading numbers them so.
    own = dict(model["vocab"])
    tokens = sorted(kept & old_ids.keys(), key=lambda token: (token not in own, old_ids[token]))
    _renumber(state, {token: new_id for new_id, token in enumerate(tokens)})
    pruned = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **tokenizer.special_tokens_map,
        extra_special_tokens=tokenizer.extra_special_tokens,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        split_special_tokens=tokenizer.split_special_tokens,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
    )
    return pruned, [old_ids[token] for token in tokens]


def _checked(texts: Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        raise TypeError("`texts` is one str; give an iterable of them, as in `[text]`.")
    texts = list(texts)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"Text {row} is {text!r}, of type {type(text).__name__}; drop it, or make it a str.")
    if not any(text.strip() for text in texts):
        raise ValueError(f"All of the {len(texts)} texts are empty; give at least one that holds a word.")
    return texts


def _tokenizer(algorithm: str, lowercase: bool, model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), *([normalizers.Lowercase()] if lowercase else [])]
    )
    separate = pre_tokenizers.Split(Regex(SEPARATORS), "removed")
    isolate = pre_tokenizers.Split(Regex(LONE_CHARACTER[algorithm]), "isolated")
    cut = pre_tokenizers.FixedLength(LONGEST_WORD)
    steps = [separate, isolate, cut]
    if algorithm == "wordpiece":
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUATION)
    elif algorithm == "bpe":
        steps = [separate, isolate, cut, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
        tokenizer.decoder = decoders.ByteLevel()
    elif algorithm == "unigram":
        steps = [separate, pre_tokenizers.Metaspace(WORD_START), isolate, cut]
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
    return models.WordPiece(vocab, unk_token=UNK, max_input_chars_per_word=LONGEST_WORD)


def _bpe(train: Train, vocab_size: int, min_frequency: int) -> models.Model:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _check_room(vocab_size, len(alphabet) + 2)
    trainer = trainers.BpeTrainer(**_options(vocab_size), min_frequency=min_frequency, initial_alphabet=alphabet)
    return train(models.BPE(), trainer).model


def _unigram(train: Train, vocab_size: int, min_frequency: int) -> models.Model:
    least = train(models.BPE(), trainers.BpeTrainer(**_options(0))).get_vocab()
    # The trainer does not stop where the characters fill the vocabulary.
    _check_room(vocab_size, len(least) + 1)
    # The trainer overlooks words that are never the start of a longer one (tokenizers pull request 1081); so each word
    # that repeats is shown once more, with a mark at its end.
    word_trainer = trainers.WordLevelTrainer(**_options(MOST_WORDS), min_frequency=max(2, min_frequency))
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


def _used_tokens(backend: Tokenizer, texts: list[str]) -> set[str]:
    used: set[int] = set()
    for start in range(0, len(texts), ENCODING_BATCH):
        for encoding in backend.encode_batch_fast(texts[start : start + ENCODING_BATCH]):
            used.update(encoding.ids)
    return {token for token, token_id in backend.get_vocab().items() if token_id in used}


def _building_blocks(model: dict[str, Any]) -> Iterator[str]:
    """The tokens that every word can fall back on: characters, bytes, the unknown token."""
    prefix, suffix = _affixes(model)
    for token in dict(model["vocab"]):
        if len(token.removeprefix(prefix).removesuffix(suffix)) == 1 or BYTE.fullmatch(token):
            yield token
    if model["type"] == "Unigram":
        # The score of an unknown character is set below the lowest of the vocabulary.
        yield min(model["vocab"], key=lambda entry: entry[1])[0]
    if (unk_token := _unk_token(model)) is not None:
        yield unk_token


def _intermediate_tokens(model: dict[str, Any], tokens: Iterable[str]) -> set[str]:
    """
    The tokens through which BPE reaches `tokens`, found by merging each of them alone.

    What is merged within a token is the same in every word, since none of these merges reaches across its ends.
    """
    prefix, suffix = _affixes(model)
    ranks = {(left, right): rank for rank, (left, right) in enumerate(model["merges"])}
    intermediate = set()
    for token in tokens:
        stem = token.removesuffix(suffix)
        parts = [prefix + character for character in stem.removeprefix(prefix)]
        if parts and not stem.startswith(prefix):
            parts[0] = parts[0].removeprefix(prefix)
        if parts and stem != token:
            parts[-1] += suffix
        while mergeable := [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]:
            _, at = min(mergeable)
            parts[at : at + 2] = [parts[at] + parts[at + 1].removeprefix(prefix)]
            intermediate.add(parts[at])
    return intermediate


def _affixes(model: dict[str, Any]) -> tuple[str, str]:
    return model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""


def _unk_token(model: dict[str, Any]) -> str | None:
    if model["type"] != "Unigram":
        return model["unk_token"]
    return None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]


def _processors(state: dict[str, Any]) -> list[dict[str, Any]]:
    processor = state["post_processor"]
    if processor is None:
        return []
    return processor["processors"] if processor["type"] == "Sequence" else [processor]


def _processor_tokens(processor: dict[str, Any]) -> list[str]:
    templates = [token for entry in processor.get("special_tokens", {}).values() for token in entry["tokens"]]
    return templates + [processor[end][0] for end in ("cls", "sep") if end in processor]


def _renumber(state: dict[str, Any], new_ids: dict[str, int]) -> None:
    """Leaves in a tokenizer.json the tokens of `new_ids`, which is in the order of the ids."""
    model = state["model"]
    if model["type"] == "Unigram":
        unk_token, scores = _unk_token(model), dict(model["vocab"])
        model["vocab"] = [(token, scores[token]) for token in new_ids if token in scores]
        model["unk_id"] = None if unk_token is None else new_ids[unk_token]
    else:
        model["vocab"] = {token: new_id for token, new_id in new_ids.items() if token in model["vocab"]}
    if model["type"] == "BPE":
        prefix, _ = _affixes(model)
        model["merges"] = [
            (left, right)
            for left, right in model["merges"]
            if {left, right, left + right.removeprefix(prefix)} <= new_ids.keys()
        ]
    state["added_tokens"] = [
        token | {"id": new_ids[token["content"]]} for token in state["added_tokens"] if token["content"] in new_ids
    ]
    for processor in _processors(state):
        for entry in processor.get("special_tokens", {}).values():
            entry["ids"] = [new_ids[token] for token in entry["tokens"]]
        for end in ("cls", "sep"):
            if end in processor:
                processor[end][1] = new_ids[processor[end][0]]
