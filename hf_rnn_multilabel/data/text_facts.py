"""What can be said of the texts of a split while they are read: how many, which are odd, a number for each."""

import re
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from datasets import Dataset

from ..model.text_encoding import TextEncoder
from .columns import Origin, kind, without_spaces


# UTF-8 that was read as latin-1 or cp1252, and what replaces a byte that no encoding explains.
GARBLED = re.compile("Ã[\u0080-\u00bf\u0152-\u0178]|â€|Â[\u00a0-\u00bf]|\ufffd")
NUMBER = re.compile(r"\s*[-+]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?\s*")


class TextFacts:
    """What is known of the texts of a split, filled part by part; of a text only its hash is kept.

    Args:
        max_length: Tokens at which a text is truncated; a text with more words between white space is long.
        encoder: Tokenizes, to count the texts that are truncated.

    Attributes:
        column: The column with the texts.
        rows: How many texts were added.
        characters: Those of all texts.
        missing: Texts that are None.
        empty_rows: The index of each text without a character that is not white space.
        long: Texts with more than `max_length` words.
        counts: How many texts show each sign that something went wrong before: "garbled", "header" (the name of the
            column), "number" and "word" (one ASCII word).
        truncated: Texts with more than `max_length` tokens; None without an `encoder`.
        first: By sign, the index and the beginning of the first such text; of "missing" the index alone.
        feature: What the column holds; None until all texts of the split were read.
    """

    def __init__(self, max_length: int, encoder: TextEncoder | None = None):
        self.column, self.max_length, self.encoder = "", max_length, encoder
        self.truncated = None if encoder is None else 0
        self.rows = self.characters = self.missing = self.long = 0
        self.counts: Counter[str] = Counter()
        self.first: dict[str, tuple[int, str]] = {}
        self.feature: Any = None
        self._hashes, self.empty_rows = array("q"), array("q")

    @property
    def hashes(self) -> np.ndarray:
        """A 64-bit number for each text, the same for texts that differ in white space alone, (rows,)."""
        return np.frombuffer(self._hashes, np.int64) if self._hashes else np.empty(0, np.int64)

    @property
    def empty(self) -> int:
        """Texts without a character that is not white space."""
        return len(self.empty_rows)

    @property
    def are_all(self) -> bool:
        """Whether all texts of the split were read, so that the counts are those of the split."""
        return self.feature is not None

    def add_rows(self, rows: Dataset) -> None:
        """Adds all rows of a split."""
        self.feature = rows.features[self.column]
        for table in rows.select_columns([self.column]).with_format("arrow").iter(1000):
            self.add(table[self.column].to_pylist())

    def add(self, texts: Iterable[Any]) -> list[int]:
        """Adds some rows, and returns the hashes of their texts; what is no string counts as None."""
        texts = [text if isinstance(text, str) else None for text in texts]
        hashes = [hash(without_spaces(text)) for text in texts]
        self._hashes.extend(hashes)
        for index, text in enumerate(texts, self.rows):
            if text is None:
                self.missing += 1
                self.first.setdefault("missing", (index, ""))
                continue
            length = len(text)
            self.characters += length
            # So many words have more than twice as many characters.
            if length > 2 * self.max_length and len(text.split()) > self.max_length:
                self.long += 1
            if not text or text.isspace():
                self.empty_rows.append(index)
            elif " " not in text:
                self._add_short(index, text)
            if not text.isascii() and GARBLED.search(text):
                self._note("garbled", index, text)
        self.rows += len(texts)
        if self.encoder is not None and self.truncated is not None:
            encodings = self.encoder([text for text in texts if text], truncation=True)
            self.truncated += sum(bool(encoding.overflowing) for encoding in encodings)
        return hashes

    def _add_short(self, index: int, text: str) -> None:
        if NUMBER.fullmatch(text):
            self._note("number", index, text)
        elif text == self.column:
            self._note("header", index, text)
        elif text.isascii() and len(text.split()) == 1:
            self._note("word", index, text)

    def _note(self, sign: str, index: int, text: str) -> None:
        self.counts[sign] += 1
        if sign not in self.first:
            self.first[sign] = (index, text[:80])

    def check(self, split: str, origin: Origin) -> None:
        """Raises a ValueError where a text was missing or no string."""
        refuse_texts(self.feature, self.missing, self.first.get("missing", (0, ""))[0], split, self.column, origin)


def refuse_texts(feature: Any, missing: int, first: int, split: str, column: str, origin: Origin) -> None:
    """Raises a ValueError where a column does not hold strings, or some are missing.

    Args:
        feature: What the column holds.
        missing: How many texts are None.
        first: The first row of them.
        split: The split.
        column: The column with the texts.
        origin: Where the rows are.
    """
    if kind(feature) not in ("string", "null"):
        raise ValueError(f"Column {column!r} of {origin.split(split)} holds {feature}, not strings; convert it first.")
    if missing:
        raise ValueError(
            f"{origin.row(split, first)} has None as its text in column {column!r} ({missing} rows do); remove such "
            'rows, or make the text "".'
        )
