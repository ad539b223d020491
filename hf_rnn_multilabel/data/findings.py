"""What is likely wrong with rows that can be read: one line each, with an example and what mends it."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np

from .arguments import DataArguments
from .columns import Origin
from .encoding import LabelledRows
from .files import ONE_FOR_ALL, quoted
from .inspection import Inspection, SplitInspection
from .label_names import SEPARATORS, WORD_JOINERS, is_joined, normalize_label
from .text_facts import GARBLED


# Fractions of a split from which something is a warning.
MAX_SEEN = 0.05  # texts that stand in train too
MAX_RELABELLED = 0.02  # rows with a repeated text and other labels
MAX_SAME = 0.2  # rows with one and the same text
MAX_GARBLED = 0.01
MAX_WITHOUT_LABELS = 0.5
MAX_SHORT = 0.9  # texts that are empty, numbers or one word
MAX_DISTINCT = 0.5  # different labels, of all labels of all rows
MIN_ROWS = 10  # fewer rows show nothing
MIN_VALIDATION = 10  # texts on which an epoch and thresholds can be chosen
LONG_LABEL = 30  # characters of an average label that may be a text

# What stands for no label where a field was not left empty.
NO_LABEL = {"nan", "<na>", "n/a", "na", "none", "null", "nil", "-"}


def find_in_texts(split: str, part: SplitInspection, origin: Origin, encoding: str | None) -> Iterator[str]:
    """Yields what is likely wrong with the texts of a split.

    Args:
        split: The split.
        part: What is known of it.
        origin: Where the rows are.
        encoding: The encoding that the user named.
    """
    texts, file = part.texts, part.file

    def shown(sign: str, what: str) -> str:
        index, text = texts.first[sign]
        example = f"for example row {origin.number(split, index)}, {text!r}"
        return f"{texts.counts[sign]:,} of {texts.rows:,} texts of {origin.split(split)} {what}, {example}."

    if texts.counts["garbled"] > MAX_GARBLED * texts.rows:
        remedy = (
            f"Pass another `encoding` than {encoding!r}, or none. {ONE_FOR_ALL}"
            if encoding is not None
            else "The wrong characters are in the rows themselves: write them again, with the right encoding."
        )
        yield f"{shown('garbled', 'show signs of a wrong encoding')} {remedy}"
    if texts.counts["header"] and file is not None and file.delimiter is not None:
        yield f"{shown('header', 'are the name of the column, as where files were joined')} Remove such rows."
    if texts.rows < MIN_ROWS:
        return
    remedy = f"If {texts.column!r} is not the column of the texts, pass another `text_column`."
    filled = texts.rows - texts.empty
    if texts.empty > MAX_SHORT * texts.rows:
        yield f"{texts.empty:,} of {texts.rows:,} texts of {origin.split(split)} are empty. {remedy}"
    elif texts.counts["number"] > MAX_SHORT * filled:
        yield f"{shown('number', 'are numbers')} {remedy}"
    elif texts.counts["word"] > MAX_SHORT * filled:
        yield f"{shown('word', 'are one word')} {remedy}"


def find_in_repetitions(split: str, part: SplitInspection, rows: int, origin: Origin) -> Iterator[str]:
    """Yields whether many texts of a split are repeated with other labels, or stand in train too."""
    count, first = part.commonest or (0, 0)
    if count >= MIN_ROWS and count > MAX_SAME * part.texts.rows:
        yield (
            f"{count:,} of {part.texts.rows:,} rows of {origin.split(split)} have one and the same text, the first of "
            f"them row {origin.number(split, first)}. If it stands for no text, remove such rows. If "
            f"{part.texts.column!r} is not the column of the texts, pass another `text_column`."
        )
    elif part.relabelled and part.relabelled_rows and part.relabelled > MAX_RELABELLED * rows:
        later, earlier = (origin.number(split, row) for row in part.relabelled_rows)
        yield (
            f"{part.repeated:,} of {rows:,} rows of {origin.split(split)} repeat the text of another row, "
            f"{part.relabelled:,} of them with other labels, as where a file has one row per text and label, for "
            f"example row {later} that of row {earlier}. Pass `group_duplicates=True` to make one row of them, with "
            "the labels of all."
        )
    if part.in_train is not None and part.in_train > MAX_SEEN * rows:
        yield (
            f"{part.in_train:,} of {rows:,} texts of {split} stand in train too, so that metrics are too good. Remove "
            f"them from {split} or from train."
        )


def find_empty_texts(split: str, part: SplitInspection, labelled: np.ndarray, origin: Origin) -> Iterator[str]:
    """Yields whether empty texts have labels.

    Args:
        split: The split.
        part: What is known of it.
        labelled: The rows that carry a label, (rows,).
        origin: Where the rows are.
    """
    rows = labelled[np.isin(labelled, np.array(part.texts.empty_rows, np.int64))]
    if len(rows):
        yield (
            f"{len(rows):,} empty texts of {origin.split(split)} have labels, the first of them row "
            f"{origin.number(split, int(rows.min()))}. Remove such rows, or give them their texts."
        )


def find_few(rows: Mapping[str, int], arguments: DataArguments) -> Iterator[str]:
    """Yields whether validation is too small, given the rows by split."""
    fraction = arguments.validation_fraction
    if "validation" in rows and rows["validation"] < MIN_VALIDATION:
        yield (
            f"validation has {rows['validation']} texts, too few to choose the epoch and the thresholds on. Give "
            f"{MIN_VALIDATION} or more."
        )
    elif "validation" not in rows and (count := math.ceil(fraction * rows["train"])) < MIN_VALIDATION:
        yield (
            f"`validation_fraction` {fraction} of {rows['train']} rows of train is about {count} texts, too few to "
            "choose the epoch and the thresholds on. Raise it, or pass `validation_file`."
        )


def find_in_labels(
    inspection: Inspection, read: LabelledRows, origin: Origin, are_named: bool = False
) -> Iterator[str]:
    """Yields what is likely wrong with the labels of train.

    Args:
        inspection: What is known of the rows.
        read: The labels.
        origin: Where the rows are.
        are_named: Whether the user gave all labels, so that each is one that is meant.
    """
    found = _LabelFindings(inspection, read, origin)
    yield from found.in_all_labels(are_named)
    if inspection.rows_of_train >= MIN_ROWS:
        yield from found.in_counts()
    if read.labels.form in ("names", "written", "separated"):
        yield from found.in_names()


def find_in_measured(inspection: Inspection, read: LabelledRows, origin: Origin) -> Iterator[str]:
    """Yields what is likely wrong with the labels of rows that a tagger is measured on, whose labels it has."""
    if inspection.rows_of_train >= MIN_ROWS:
        yield from _LabelFindings(inspection, read, origin).in_unlabelled()


class _LabelFindings:
    """What is likely wrong with the labels of train."""

    def __init__(self, inspection: Inspection, read: LabelledRows, origin: Origin):
        self.inspection, self.read, self.origin = inspection, read, origin
        self.counts, self.rows = read.encoding.counts, inspection.rows_of_train
        self.remedy = (
            f"If {quoted(read.columns)} does not hold the labels, pass another `label_column`"
            if len(read.columns) == 1
            else "Look at the columns of `label_column`"
        )

    def example(self, name: str) -> str:
        """A label, and the first row that carries it."""
        rows, labels, values = self.read.labels.entries["train"]
        with_label = rows[(labels == self.read.labels.names.index(name)) & (values > 0)]
        if not len(with_label):
            return f"{name!r:.80}"
        selected = self.read.selected.get("train")
        row = int(with_label[0] if selected is None else selected[with_label[0]])
        return f"{name!r:.80} in row {self.origin.number('train', row)}"

    def in_all_labels(self, are_named: bool) -> Iterator[str]:
        never = [name for name, count in self.counts.items() if not count]
        if never:
            yield (
                f"Labels {quoted(never)} ({len(never):,} of {len(self.counts):,}) are on no row of train, and cannot "
                "be learned. Leave them out, or give rows that carry them."
            )
        stand_ins = [name for name, count in self.counts.items() if count and _is_no_label(name)]
        if stand_ins and not are_named and self.read.labels.form != "columns":
            yield (
                f"Labels {quoted(stand_ins)} may say that a row has no label, for example {self.example(stand_ins[0])}"
                ". If so, leave the field empty there, or write [] in jsonl. If not, give all labels as `label_list`."
            )

        held = [name for name, count in self.counts.items() if count and any(mark in name for mark in SEPARATORS)]
        if held and not are_named and self.read.labels.form in ("names", "written") and self.have_one_each():
            yield (
                f"No row of train has more than one label, and {len(held):,} labels hold what separates labels "
                f"elsewhere, for example {self.example(held[0])}. If they are several labels, write each by itself."
            )

    def have_one_each(self) -> bool:
        """Whether no row of train has more than one label."""
        rows, _, values = self.read.labels.entries["train"]
        labelled = rows[values > 0]
        return len(np.unique(labelled)) == len(labelled)

    def in_counts(self) -> Iterator[str]:
        total, train = sum(self.counts.values()), self.inspection.splits["train"]
        everywhere = [name for name, count in self.counts.items() if count == self.rows]
        if everywhere:
            yield f"Labels {quoted(everywhere)} are on all rows of train, and so say nothing. {self.remedy}."
        yield from self.in_unlabelled()
        if total >= MIN_ROWS and len(self.counts) > MAX_DISTINCT * total:
            once = next((name for name, count in self.counts.items() if count == 1), "")
            several = "" if self.inspection.separator else "; if its strings are several labels, `label_separator`"
            yield (
                f"Rows of train carry {total:,} labels, {len(self.counts):,} of them different, too many to be "
                f"learned, for example {self.example(once)}. {self.remedy}{several}."
            )
        filled = train.texts.rows - train.texts.empty
        if total and filled:
            of_label = sum(len(name) * count for name, count in self.counts.items()) / total
            of_text = train.texts.characters / filled
            if of_label > max(LONG_LABEL, of_text):
                yield (
                    f"A label has {of_label:.0f} characters on average and a text {of_text:.0f}. If the columns are "
                    f"mixed up, pass `text_column` and `label_column`, which are {self.inspection.text_column!r} and "
                    f"{quoted(self.read.columns)}."
                )

    def in_unlabelled(self) -> Iterator[str]:
        without = self.inspection.splits["train"].without_labels
        if without is not None and without > MAX_WITHOUT_LABELS * self.rows:
            yield (
                f"{without:,} of {self.rows:,} rows of {self.origin.split('train')} have no label, and count as texts "
                f"without any. {self.remedy}."
            )

    def in_names(self) -> Iterator[str]:
        names = [name for name, count in self.counts.items() if count]
        spellings = defaultdict(list)
        for name in names:
            if _is_no_label(name):
                continue
            spellings[name.casefold()].append(name)
        by_case = [held for held in spellings.values() if len(held) > 1]
        if by_case:
            first, second, *_ = by_case[0]
            yield (
                f"Labels that differ in capitals alone ({len(by_case):,} names) count as several, for example "
                f"{self.example(first)} and {self.example(second)}. If they mean one label, write it in one way."
            )
        marked = [name for name in names if _has_stray_mark(name)]
        if marked:
            yield (
                f"Labels ({len(marked):,}) have quotation marks or brackets that may not be part of the name, for "
                f"example {self.example(marked[0])}. If so, write the labels without them, or as lists in jsonl."
            )
        garbled = [name for name in names if not name.isascii() and GARBLED.search(name)]
        if garbled:
            yield (
                f"Labels ({len(garbled):,}) show signs of a wrong encoding, for example {self.example(garbled[0])}. "
                "Read the file with its `encoding`, or write it again."
            )
        known = {normalize_label(name) for name in names}
        for character in (*SEPARATORS, *WORD_JOINERS):
            holders = [name for name in names if character in name]
            joined = [name for name in holders if is_joined(name, character, known)]
            # A word stands in many a name.
            if joined and (character in SEPARATORS or 2 * len(joined) >= len(holders)):
                yield (
                    f"Labels ({len(joined):,}) hold {character!r} between names that are labels too, for example "
                    f"{self.example(joined[0])}. If they are several labels, separate them as all others are."
                )


def _is_no_label(name: str) -> bool:
    return normalize_label(name).casefold() in NO_LABEL


def _has_stray_mark(name: str) -> bool:
    """Whether a name is in quotation marks, or has a bracket at one end that nothing opens or closes."""
    if len(name) > 2 and name[0] in "\"'" and name[-1] == name[0]:
        return True
    return any(
        (name[0] == opening and closing not in name) or (name[-1] == closing and opening not in name)
        for opening, closing in ("[]", "{}")
    )
