"""Texts to token ids: truncated at any number of tokens, without reading more of a long text than it takes.

This file travels with every checkpoint and with every export, and needs the standard library alone. Its tokenizers are
those of `tokenizers`, and its callers make them.
"""

import json
import logging
import re
import unicodedata
from typing import Any


# The first part of a long text that is tokenized, per token that is read. Of the texts of seven data sets, by four
# tokenizers each, one needed more. Where it holds too few tokens, more is tokenized.
CHARACTERS_PER_TOKEN = 12
# A tokenizer that truncates nothing says that its limit is 1e30.
MAX_LENGTH = 10**9
# Tokenizers that are kept, one for each number of tokens at which texts were truncated.
MAX_TOKENIZERS = 4
# Those that change a word whatever the words beside it.
NORMALIZERS_OF_WORDS = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled")
NORMALIZERS_OF_WORDS += ("Prepend", "Strip", "StripAccents")

# Pre-tokenizers that find words from the left to the right.
SPLITTERS = ("BertPreTokenizer", "ByteLevel", "Digits", "FixedLength", "Metaspace", "Punctuation", "Whitespace")
SPLITTERS += ("WhitespaceSplit",)
LOOKS_AROUND = re.compile(r"\(\?|\\[bBzZG]|\$")
# Letters of Hangul that make syllables, and those that make flags.
FIRST_JAMO = re.compile("[\u1100-\u115f\ua960-\ua97f]")
LATER_JAMO_OR_FLAG = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff\U0001f1e6-\U0001f1ff]")
MAX_CLUSTER = 256  # characters before a cut that is looked for

logger = logging.getLogger(__name__)


class TextEncoder:
    """Turns texts into token ids, truncated anywhere; several threads may share one.

    Args:
        tokenizer: A `tokenizers.Tokenizer`, which stays as it is: where it truncates is part of its state.
        model_max_length: The number of tokens at which texts are truncated by default; None: they are not.
        truncation_side: "right" or "left", the side on which tokens are dropped.
        split_special_tokens: Whether the name of a special token is text where it stands in a text.
    """

    def __init__(
        self,
        tokenizer: Any,
        model_max_length: int | None,
        truncation_side: str = "right",
        split_special_tokens: bool = False,
    ):
        self.tokenizer = tokenizer
        self.model_max_length = model_max_length
        self._truncation_side = truncation_side
        self._split_special_tokens = split_special_tokens
        self._spaces = _spaces_between_tokens(tokenizer) if truncation_side == "right" else ""
        self._margin = _words_that_a_cut_changes(tokenizer) if truncation_side == "right" else None
        self._tokenizers: dict[int | None, Any] = {}
        self._has_warned = False

    def __call__(self, texts: list[str], truncation: bool | None = None, max_length: int | None = None) -> list[Any]:
        """Tokenize texts.

        Args:
            texts: The texts.
            truncation: Whether they are truncated, True by default. The first time that one is, a warning says so,
                unless `truncation` or `max_length` is given.
            max_length: The number of tokens at which they are; by default `model_max_length`.

        Returns:
            A `tokenizers.Encoding` per text, without offsets.

        Raises:
            ValueError: If `max_length` leaves no room beside the special tokens.
        """
        limit = None if truncation is False else max_length or self.model_max_length
        if limit is not None and limit > MAX_LENGTH:
            limit = None
        tokenizer = self._truncating_at(limit)
        if limit is None:
            return tokenizer.encode_batch_fast(texts)
        size = limit * CHARACTERS_PER_TOKEN
        starts = [text if len(text) <= size else self._start(text, size) for text in texts]
        encodings = tokenizer.encode_batch_fast(starts)
        for index, (text, start) in enumerate(zip(texts, starts, strict=True)):
            if len(start) < len(text) and not encodings[index].overflowing:
                encodings[index] = self._encode_more(tokenizer, text, size)
        if truncation is None and max_length is None and not self._has_warned:
            self._warn_of_truncation(texts, encodings, limit)
        return encodings

    def _truncating_at(self, limit: int | None) -> Any:
        tokenizer = self._tokenizers.get(limit)
        if tokenizer is None:
            special = self.tokenizer.num_special_tokens_to_add(False)
            if limit is not None and limit <= special:
                raise ValueError(
                    f"`max_length` is {limit}, and the tokenizer adds {special} special tokens to each text; give at "
                    f"least {special + 1}."
                )
            tokenizer = type(self.tokenizer).from_str(self.tokenizer.to_str())
            tokenizer.encode_special_tokens = self._split_special_tokens
            tokenizer.no_padding()
            tokenizer.no_truncation()
            if limit is not None:
                tokenizer.enable_truncation(int(limit), direction=self._truncation_side)
            for old in list(self._tokenizers)[: 1 - MAX_TOKENIZERS]:
                self._tokenizers.pop(old, None)
            self._tokenizers[limit] = tokenizer
        return tokenizer

    def _start(self, text: str, size: int) -> str:
        """At most `size` characters, whose tokens are the first ones of the text: up to the last space among them."""
        end = max((text.rfind(space, 0, size) for space in self._spaces), default=-1)
        return text[: max(end, 0)].rstrip(self._spaces) if self._spaces else text

    def _encode_more(self, tokenizer: Any, text: str, size: int) -> Any:
        """Encode a text of whose first `size` characters there are too few tokens up to a space, or no space."""
        while size < len(text):
            if self._margin is not None and (end := _boundary(text, size)):
                (encoding,) = tokenizer.encode_batch([text[:end]])  # the fast one tells no words
                # Those of its last words are perhaps others than in the whole text.
                if encoding.overflowing and _last_word(encoding) + self._margin < _last_word(encoding.overflowing[-1]):
                    return encoding
            size *= 4
            if self._margin is None and size < len(text):
                (encoding,) = tokenizer.encode_batch_fast([self._start(text, size)])
                if encoding.overflowing:
                    return encoding
        (encoding,) = tokenizer.encode_batch_fast([text])
        return encoding

    def _warn_of_truncation(self, texts: list[str], encodings: list[Any], limit: int) -> None:
        for text, encoding in zip(texts, encodings, strict=True):
            if len(encoding) >= limit and encoding.overflowing:
                self._has_warned = True
                logger.warning(
                    f"A text of {len(text):,} characters has more tokens than the tokenizer's `model_max_length` of "
                    f"{limit:,}; it and others like it are truncated. Give `truncation=True` to agree, "
                    "`truncation=False` to read such texts whole, or `max_length`."
                )
                return


def _spaces_between_tokens(tokenizer: Any) -> str:
    """The white space at which a text can be split without changing the tokens; "" where this is not certain.

    Text on one side must change neither the normalization nor the words of the other. What splits words comes after.
    """
    if any(any(map(str.isspace, token.content)) for token in tokenizer.get_added_tokens_decoder().values()):
        return ""
    if not all(map(_is_normalized_word_by_word, _steps(tokenizer.normalizer, "normalizers"))):
        return ""
    steps = _steps(tokenizer.pre_tokenizer, "pretokenizers")
    kind = steps[0]["type"] if steps else None
    if kind == "Metaspace" and steps[0]["split"]:
        return " "
    splits = kind in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit") or (
        (kind == "ByteLevel" and steps[0]["use_regex"]) or (kind == "Split" and _is_white_space(steps[0]))
    )
    return " \n\t\r" if splits else ""


def _words_that_a_cut_changes(tokenizer: Any) -> int | None:
    """The largest number of last words of a text's start that are others in the whole text; None if that is unknown.

    Each word is tokenized by itself. What is left is which words there are near a cut: a piece of a word, and pieces
    of what is found as a whole, such as a special token.
    """
    steps = _steps(tokenizer.pre_tokenizer, "pretokenizers")
    normalizers = _steps(tokenizer.normalizer, "normalizers")
    if not steps or not all(map(_splits_from_left, steps)) or not all(map(_is_normalized_word_by_word, normalizers)):
        return None
    wholes = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if any(any(map(str.isspace, whole)) for whole in wholes):
        return None
    wholes += [step["pattern"].get("String", "  ") for step in normalizers if step["type"] == "Replace"]
    return 2 + max(map(len, wholes), default=0)


def _splits_from_left(step: dict[str, Any]) -> bool:
    """Whether more text changes no word but the last ones."""
    if step["type"] == "Split":
        pattern = step["pattern"].get("Regex", "(?")
        return not step["invert"] and step["behavior"] in ("Removed", "Isolated") and not LOOKS_AROUND.search(pattern)
    return step["type"] in SPLITTERS and step.get("split", True)


def _boundary(text: str, size: int) -> int:
    """The last of the first `size` positions before which no character changes by what follows; 0 if none is near."""
    return next(
        (end for end in range(size, max(size - MAX_CLUSTER, 0), -1) if _is_boundary(*text[end - 1 : end + 1])), 0
    )


def _is_boundary(before: str, after: str) -> bool:
    """Whether two neighbours are normalized each by itself."""
    if before.isascii() and after.isascii():
        return (before, after) != ("\r", "\n")
    head = unicodedata.normalize("NFKD", after)[0]
    if FIRST_JAMO.match(before) or LATER_JAMO_OR_FLAG.match(after) or LATER_JAMO_OR_FLAG.match(head):
        return False
    # A joiner or a virama (class 9) takes the next character into its cluster.
    joins = unicodedata.category(before) == "Cf" or unicodedata.combining(before) == 9
    follows = {unicodedata.category(after), unicodedata.category(head)} & {"Mn", "Mc", "Me", "Cf", "Sk"}
    return not joins and not follows


def _last_word(encoding: Any) -> int:
    return max((word for word in encoding.word_ids if word is not None), default=-1)


def _steps(component: Any, name: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, as in a tokenizer.json."""
    if component is None:
        return []
    state = json.loads(component.__getstate__())
    return state[name] if state["type"] == "Sequence" else [state]


def _is_normalized_word_by_word(step: dict[str, Any]) -> bool:
    if step["type"] == "Replace":
        pattern, content = step["pattern"], step["content"]
        return (pattern, content) == ({"Regex": " {2,}"}, " ") or not any(map(str.isspace, pattern.get("String", " ")))
    return step["type"] in NORMALIZERS_OF_WORDS


def _is_white_space(step: dict[str, Any]) -> bool:
    """Whether the step splits at each run of the characters of one class, white space among them."""
    pattern = step["pattern"].get("Regex", "")
    is_class = re.fullmatch(r"\\s\+|\[\\s[^\]\[&]*\]\+", pattern) is not None
    return is_class and not step["invert"] and step["behavior"] in ("Removed", "Isolated")
