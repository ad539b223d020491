"""What the rows say before anything is trained: where they are from, how they were read, what is in them."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..model.tagging import shorten
from .delimited import DELIMITERS, check_delimiter, written_delimiter
from .encoding import LabelEncoding
from .files import DAMAGED, PathLike, find_encoding, open_text, resolve_format
from .label_columns import BLOCK, Entries
from .label_forms import LABEL_COLUMNS, UNDERSTOOD
from .readers import TEXT_COLUMNS
from .text_facts import TextFacts


MAX_EXCEL_LINE = 16  # characters, with which `sep=;` is no part of a longer line
MAX_RAREST = 3  # labels that are named


@dataclass(frozen=True)
class FileFacts:
    """How a file is read.

    Attributes:
        path: The file.
        format: One of `FORMATS`.
        compression: One of `COMPRESSIONS` or "".
        encoding: Of its text; None in parquet.
        delimiter: Between its fields; None where there are none.
    """

    path: str
    format: str
    compression: str
    encoding: str | None
    delimiter: str | None

    def __str__(self) -> str:
        parts = [self.format + (f" in {self.compression}" if self.compression else "")]
        parts += [self.encoding] if self.encoding is not None else []
        if self.delimiter is not None:
            marks = "enclose fields" if self.format == "csv" else "are text"
            parts += [f"delimiter {self.delimiter!r}", f"quotation marks {marks}"]
        return ", ".join(parts)


@dataclass
class SplitInspection:
    """One split, as far as it is known.

    Attributes:
        source: What its rows are from.
        texts: The column's texts.
        file: How the file is read; None: the rows are from no file.
        merged: Rows that went into another row with the same text.
        without_labels: Rows without a label.
        mean_labels: Labels per row.
        repeated: Rows whose text an earlier row has.
        commonest: The rows that have the most common text, before any are merged, and the first of them.
        relabelled: Rows of these with other labels than the first row with the text.
        relabelled_rows: The first of them and the row with the same text before it.
        in_train: Rows whose text stands in train too; None for train.
    """

    source: str
    texts: TextFacts
    file: FileFacts | None = None
    merged: int = 0
    without_labels: int | None = None
    mean_labels: float | None = None
    repeated: int | None = None
    commonest: tuple[int, int] | None = None
    relabelled: int | None = None
    relabelled_rows: tuple[int, int] | None = None
    in_train: int | None = None

    def lines(self) -> list[str]:
        """Where the rows are from, and what is odd about them."""
        source = self.source + (f" ({self.file})" if self.file is not None else "")
        if not self.texts.are_all:
            return [source]
        parts = [f"{self.texts.empty:,} empty texts"]
        if self.merged:
            parts.append(f"{self.merged:,} rows merged into others with the same text")
        if self.repeated is not None:
            other = f", {self.relabelled:,} of them with other labels" if self.repeated else ""
            parts.append(f"{self.repeated:,} repeated texts{other}")
        if self.without_labels is not None:
            parts.append(f"{self.without_labels:,} rows without labels")
        if self.in_train is not None:
            parts.append(f"{self.in_train:,} texts that stand in train too")
        if self.texts.truncated is not None:
            parts.append(f"{self.texts.truncated:,} texts to be truncated at {self.texts.max_length:,} tokens")
        elif self.texts.long:
            parts.append(
                f"{self.texts.long:,} texts of more than {self.texts.max_length:,} words, so that at least these are "
                "to be truncated"
            )
        return [f"{self.texts.rows:,} rows of {source}", "; ".join(parts)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        texts = self.texts
        of_texts = {
            "rows": texts.rows,
            "empty": texts.empty,
            "more_words_than_max_length": texts.long,
            "truncated": texts.truncated,
            "signs": dict(texts.counts),
        }
        of_texts = of_texts if texts.are_all else dict.fromkeys(of_texts)
        rest = {
            name: getattr(self, name)
            for name in ("merged", "without_labels", "mean_labels", "repeated", "relabelled", "in_train")
        }
        file = asdict(self.file) if self.file is not None else None
        return {"source": self.source, "file": file} | of_texts | rest


@dataclass
class Inspection:
    """What is known of the rows, filled in the order of reading; printed, it is a block of lines.

    Attributes:
        splits: By split, what is known of it.
        text_column: The column with the texts.
        text_reason: Why it is that one.
        label_columns: The column or columns with the labels.
        label_reason: Why these.
        separator: Of labels in one string.
        encoding: The labels of train, before validation is split off.
        warnings: What is likely wrong, with what mends it.
        notes: What else is said, for example how many rows were split off.
    """

    splits: dict[str, SplitInspection] = field(default_factory=dict)
    text_column: str | None = None
    text_reason: str = ""
    label_columns: list[str] | None = None
    label_reason: str = ""
    separator: str | None = None
    encoding: LabelEncoding | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def choose_columns(
        self, text: str, labels: list[str], named_text: str | None, named_labels: list[str] | None
    ) -> None:
        """Enters the columns, and why these.

        Args:
            text: The column with the texts.
            labels: Those with the labels.
            named_text: The one that the user named.
            named_labels: Those that the user named.
        """
        self.text_column, self.label_columns = text, labels
        for part in self.splits.values():
            part.texts.column = text
        found = f"the first of {', '.join(TEXT_COLUMNS)} that holds strings"
        found = found if text.casefold() in TEXT_COLUMNS else "the only column of strings"
        self.text_reason = found if named_text is None else "named by `text_column`"
        found = f"the only one of {', '.join(LABEL_COLUMNS)} that is there"
        self.label_reason = found if named_labels is None else "named by `label_column`"

    def __str__(self) -> str:
        return "\n".join(
            f"{title:12}{line}" if first else f"{'':12}{line}"
            for title, lines in self._sections()
            for first, line in zip([True] + [False] * len(lines), lines, strict=False)
        )

    def _sections(self) -> list[tuple[str, list[str]]]:
        sections = [(split, part.lines()) for split, part in self.splits.items()]
        if self.text_column is not None:
            sections.append(("texts", [f"column {self.text_column!r}, {self.text_reason}"]))
        if self.label_columns is not None:
            names = (
                f"{'column' if len(self.label_columns) == 1 else 'columns'} {shorten(map(repr, self.label_columns))}"
            )
            sections.append(("labels", [f"{names}, {self.label_reason}", *self._labels()]))
        if self.notes:
            sections.append(("note", self.notes))
        return sections

    def _labels(self) -> list[str]:
        if self.encoding is None:
            return []
        counts = self.encoding.counts
        split_at = f" {self.separator!r}" if self.encoding.form == "separated" else ""
        names, rarest = list(counts), self.rarest()
        shown = names if len(names) <= 2 + MAX_RAREST else [names[0], names[-1]]
        lines = [
            f"{UNDERSTOOD[self.encoding.form]}{split_at}",
            f"{len(counts):,} labels, {sum(counts.values()) / max(self.rows_of_train, 1):.2f} per row; "
            f"{sum(count == 1 for count in counts.values()):,} of them occur once",
            f"{'all' if shown == names else 'first and last'}: {_counted(shown, counts)}"
            + ("" if shown == names else f"; rarest: {_counted(rarest, counts)}"),
        ]
        return [*lines, *self.encoding.remarks()]

    @property
    def rows_of_train(self) -> int:
        """The rows of train, after merging."""
        train = self.splits["train"]
        return train.texts.rows - train.merged

    def rarest(self) -> list[str]:
        """The labels with the fewest rows."""
        counts = self.encoding.counts if self.encoding is not None else {}
        return sorted(counts, key=counts.__getitem__)[:MAX_RAREST]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, of which those that are not known are None or missing."""
        encoding = self.encoding
        labels = None
        if encoding is not None:
            labels = {
                name: getattr(encoding, name)
                for name in ("form", "counts", "frequencies", "dropped", "merged", "ignored")
            } | {"separator": self.separator}
        return {
            "splits": {split: part.to_dict() for split, part in self.splits.items()},
            "text_column": {"name": self.text_column, "reason": self.text_reason},
            "label_columns": {"names": self.label_columns, "reason": self.label_reason},
            "labels": labels,
            "notes": self.notes,
            "warnings": self.warnings,
        }


def _counted(names: list[str], counts: dict[str, int]) -> str:
    return ", ".join(f"{name!r:.60} {counts[name]:,}" for name in names)


def describe_file(
    path: PathLike, shown: PathLike, file_format: str | None, delimiter: str | None, encoding: str | None
) -> FileFacts:
    """Tells how `read_rows` reads a file.

    Args:
        path: The file.
        shown: What to call it.
        file_format: As in `read_rows`.
        delimiter: As in `read_rows`.
        encoding: As in `read_rows`.

    Raises:
        ValueError: As `read_rows`.
    """
    kind, compression = resolve_format(path, file_format)
    is_text = kind != "parquet"
    if delimiter is None:
        delimiter = _written_delimiter(path, kind, compression, encoding)
    return FileFacts(
        str(shown),
        kind,
        compression,
        find_encoding(path, compression, encoding) if is_text else None,
        check_delimiter(delimiter, kind) or None,
    )


def _written_delimiter(path: PathLike, kind: str, compression: str, encoding: str | None) -> str | None:
    if kind not in DELIMITERS:
        return None
    with open_text(path, compression, encoding) as file:
        try:
            return written_delimiter(file.readline(MAX_EXCEL_LINE))
        except (UnicodeDecodeError, *DAMAGED):
            return None  # an error of whoever reads the rows


def find_repetitions(texts: np.ndarray, labels: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Finds rows that repeat the text of an earlier row.

    Args:
        texts: A number for each text, (rows,).
        labels: A number for the labels of each row, (rows,).

    Returns:
        How many there are; those with other labels than the first row with their text, and these first rows.
    """
    order = np.argsort(texts, kind="stable")
    in_order = texts[order]
    repeats = np.flatnonzero(in_order[1:] == in_order[:-1]) + 1
    # A repeat right after another is in its run of equal texts, which begins before the first of them.
    begins = np.diff(repeats, prepend=-1) > 1
    starts = (repeats[begins] - 1)[np.cumsum(begins) - 1]
    later, earlier = order[repeats], order[starts]
    different = labels[later] != labels[earlier]
    by_row = np.argsort(later[different])
    return len(repeats), later[different][by_row], earlier[different][by_row]


def find_commonest(texts: np.ndarray) -> tuple[int, int]:
    """Finds the text that most rows have.

    Args:
        texts: A number for each text, (rows,); at least one.

    Returns:
        How many rows have it, and the first of them.
    """
    _, first, counts = np.unique(texts, return_index=True, return_counts=True)
    return int(counts.max()), int(first[counts.argmax()])


def hash_labels(entries: Entries, num_rows: int) -> np.ndarray:
    """A 64-bit number for the labels of each row, (rows,)."""
    totals = np.zeros(num_rows, np.uint64)
    for start in range(0, num_rows, BLOCK):
        here = slice(*np.searchsorted(entries[0], [start, start + BLOCK]))
        rows, labels, values = (part[here] for part in entries)
        # SplitMix64 (Steele et al. 2014) of each entry; their sum does not depend on the order.
        mixed = labels.astype(np.uint64) * np.uint64(2) + (values > 0).astype(np.uint64) + np.uint64(1)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        if len(rows):
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            totals[rows[starts]] = np.add.reduceat(mixed, starts)
    return totals
