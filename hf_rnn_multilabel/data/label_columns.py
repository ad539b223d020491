"""Reads one or several label columns of any form: the names of the labels, and which row carries which."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, List, Value

from ..model.losses import IGNORED
from .columns import Column, Origin, arrow_column, kind
from .files import quoted
from .label_forms import Form, choose_form, distinct_values, feature_of, flat_values, item_of, list_lengths
from .label_lists import read_written_lists
from .label_names import check_label_names, normalize_label


BlankLabel = Literal["ignored", "absent"]

# The nonzero entries of a label matrix, by row and each once: rows, label indices, values.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray]

BLOCK = 2**16  # rows of a split that are read at once
# What a 0/1 column of strings may hold, beside numbers.
WORDS = (
    dict.fromkeys(("", "nan", "na", "n/a", "null", "none"))
    | dict.fromkeys(("no", "n", "false", "f"), 0.0)
    | dict.fromkeys(("yes", "y", "true", "t", "x"), 1.0)
)


@dataclass(frozen=True)
class LabelRequest:
    """What was asked of `encode_labels`.

    Attributes:
        column: The label column, or one 0/1 column per label.
        names: All labels in the order of their indices, or None to take them from the columns.
        separator: What stands between the labels of a string, or None.
        blank: Whether a None among zeros and ones is ignored or absent.
        origin: Where the rows are.
    """

    column: str | list[str]
    names: list[str] | None = None
    separator: str | None = None
    blank: BlankLabel = "ignored"
    origin: Origin = field(default_factory=Origin)


@dataclass(frozen=True)
class ReadLabels:
    """What `read_labels` read.

    Attributes:
        form: The form of the labels.
        names: The labels in the order of their indices.
        entries: By split, the entries of the label matrix.
        unknown: By split, the rows that carry each label that is not in `names`.
        merged: Labels that were written in several ways, with these.
    """

    form: Form
    names: list[str]
    entries: dict[str, Entries]
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    merged: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Mentions:
    """All labels of some rows of a column.

    Attributes:
        rows: The row of each.
        keys: The normalized name of each.
        spellings: By key, how it is written.
    """

    rows: np.ndarray
    keys: Column
    spellings: dict[str, set[str]]


def read_labels(splits: dict[str, Dataset], request: LabelRequest) -> ReadLabels:
    """Reads labels of any form that `encode_labels` describes.

    Args:
        splits: Rows by split, of which one is "train"; each has a row and the label columns.
        request: What to read.

    Returns:
        The labels.

    Raises:
        ValueError: The column has no clear form, a value is not a label, or there is no label.
    """
    names = None if request.names is None else check_label_names(request.names)
    if not isinstance(request.column, str):
        if request.separator is not None:
            raise ValueError(f"`separator` is {request.separator!r}, but 0/1 columns need none; leave it out.")
        stacked = {split: _stack_columns(rows, split, request) for split, rows in splits.items()}
        return _read_multi_hot("columns", stacked, names or check_label_names(request.column), request)
    values = {split: arrow_column(rows, request.column) for split, rows in splits.items()}
    features = {split: feature_of(rows, request.column, values[split]) for split, rows in splits.items()}
    lists = read_written_lists(request.column, values, names, request.separator, request.origin)
    values |= lists
    features |= dict.fromkeys(lists, List(Value("string")))
    form = choose_form(request.column, features, values, names, request.separator)
    form = "written" if lists else form
    if form == "multi_hot":
        return _read_multi_hot(form, values, names, request)
    return _read_names(form, values, features, names, request)


def _binary(values: Column, blank: BlankLabel) -> np.ndarray:
    # In float32, a score of 1e-50 would be a 0.
    precision = pa.float64() if values.type == pa.float64() else pa.float32()
    filled = pc.fill_null(values.cast(precision, safe=False), IGNORED if blank == "ignored" else 0.0)
    return filled.to_numpy()


def _stack_columns(rows: Dataset, split: str, request: LabelRequest) -> Column:
    columns = []
    for name in request.column:
        held = kind(rows.features[name])
        if held == "other":
            raise _not_binary(name, split, rows.features[name], request)
        values = arrow_column(rows, name)
        columns.append(_binary(_numbers(values, name, split, request) if held == "string" else values, request.blank))
    matrix = np.stack(columns, axis=1)  # (rows, labels)
    return pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), len(columns))])


def _numbers(strings: Column, column: str, split: str, request: LabelRequest) -> Column:
    """The numbers that strings spell."""
    distinct = pc.unique(strings)
    numbers: list[float | None] = []
    for text in distinct.to_pylist():
        word = None if text is None else text.strip().lower()
        try:
            numbers.append(None if word is None else WORDS[word] if word in WORDS else float(word))
        except ValueError:
            row = pc.index(strings, text).as_py()
            held = f"{text!r:.80} in row {request.origin.number(split, row)}"
            raise _not_binary(column, split, held, request) from None
    return pa.chunked_array([pa.array(numbers, pa.float64()).take(pc.index_in(strings, distinct).combine_chunks())])


def _not_binary(column: str, split: str, held: object, request: LabelRequest) -> ValueError:
    single = (
        f" For a single column of other labels pass `label_column={column!r}`." if len(request.column) == 1 else ""
    )
    return ValueError(
        f"Column {column!r} of {request.origin.split(split)} is {held}, but {quoted(request.column)} as "
        "`label_column` means one 0/1 column per label: write 1 and 0 (yes and no, true and false, or x for 1), or "
        f"leave a field blank as `blank_label` says.{single}"
    )


def _read_multi_hot(
    form: Form, values: dict[str, Column], names: list[str] | None, request: LabelRequest
) -> ReadLabels:
    lengths = {split: list_lengths(part) for split, part in values.items()}
    width = next((length for counts in lengths.values() for length in counts[counts > 0].tolist()), 0)
    names = names or [f"LABEL_{index}" for index in range(width)]
    if not names:
        raise ValueError("All label lists are empty; pass `label_names` to encode them all the same.")
    entries = {
        split: _joined(
            _multi_hot_entries(
                part.slice(start, BLOCK), lengths[split][start : start + BLOCK], start, split, names, request
            )
            for start in range(0, len(part), BLOCK)
        )
        for split, part in values.items()
    }
    return ReadLabels(form, names, entries)


def _multi_hot_entries(
    block: Column, lengths: np.ndarray, start: int, split: str, names: list[str], request: LabelRequest
) -> Entries:
    """The entries of some rows of a split, of which `start` is the first."""
    (filled,) = np.nonzero(lengths)
    ragged = filled[lengths[filled] != len(names)]
    if len(ragged):
        raise ValueError(
            f"{request.origin.row(split, start + ragged[0])} has {lengths[ragged[0]]} zeros and ones for "
            f"{len(names)} labels; pass one per label, and a name for each in `label_names`. If they are ids, "
            "cast the column to integers, or to `List(ClassLabel(names=...))` where all are 0 or 1."
        )
    matrix = _binary(flat_values(block)[1], request.blank).reshape(-1, len(names))  # (filled rows, labels)
    wrong = np.argwhere(~np.isin(matrix, (0, 1, IGNORED)))
    if len(wrong):
        row, label = wrong[0]
        raise ValueError(
            f"{request.origin.row(split, start + filled[row])} has {matrix[row, label]} for label {names[label]!r}; "
            "it must be 0, 1, or None where it is not observed. Cast ids to integers; threshold scores."
        )
    row, label = np.nonzero(matrix)
    return start + filled[row], label.astype(np.int32), matrix[row, label]


def _joined(parts: Iterable[Entries]) -> Entries:
    rows, labels, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return rows, labels, values


def _read_names(
    form: Form, values: dict[str, Column], features: dict, names: list[str] | None, request: LabelRequest
) -> ReadLabels:
    items = {split: item_of(feature) for split, feature in features.items()}
    classes = {
        split: check_label_names(item.names) if isinstance(item, ClassLabel) else None for split, item in items.items()
    }
    plain_ids = form == "ids" and not any(classes.values())
    by_name = plain_ids and names is not None and _are_named_by_id(values, names, request)
    id_names = {split: classes[split] or (None if by_name else names) for split in values}
    numbers = pa.types.is_integer(flat_values(values["train"].slice(0, 1))[1].type)
    names = names or classes["train"]
    if names is None:
        keys: dict[str, None] = {}
        spelled: dict[str, set[str]] = {}
        for mention in _mentions(values["train"], "train", None, request):
            keys.update(dict.fromkeys(pc.unique(mention.keys).to_pylist()))
            _add_spellings(spelled, mention)
        # A label keeps its name where all rows write it in one way.
        names = [next(iter(spelled[key])).strip() if len(spelled.get(key, ())) == 1 else key for key in keys]
        names.sort(key=int if numbers else None)
    if not names:
        raise ValueError("The train split holds no label at all; pass `label_names` to encode it all the same.")
    indexed = pa.array([normalize_label(name) for name in names], pa.string())
    entries, unknown = {}, {}
    written: dict[str, set[str]] = {}
    for split, part in values.items():
        blocks, others = [], Counter[str]()
        for mention in _mentions(part, split, id_names[split], request):
            indices = pc.index_in(mention.keys, value_set=indexed)
            known = indices.is_valid().to_numpy()
            blocks.append(_once(mention.rows[known], indices.drop_null().to_numpy(), len(names)))
            strange = mention.keys.filter(indices.is_null()).to_pylist()
            others.update(name for _, name in set(zip(mention.rows[~known].tolist(), strange, strict=True)))
            _add_spellings(written, mention)
        entries[split] = _joined(blocks)
        if others:
            unknown[split] = dict(sorted(others.items()))
    merged = {key: sorted(spellings) for key, spellings in sorted(written.items()) if len(spellings) > 1}
    return ReadLabels(form, names, entries, unknown, merged)


def _are_named_by_id(values: dict[str, Column], names: list[str], request: LabelRequest) -> bool:
    """Whether ids are the names of their labels, as an earlier encoding without names gives them, and not indices."""
    ids = sorted(distinct_values(values) - {None})
    are_names, are_indices = {str(index) for index in ids} <= set(names), all(0 <= index < len(names) for index in ids)
    if are_names and are_indices:
        example = next((index for index in ids if names[index] != str(index)), None)
        if example is None:
            return False
        raise ValueError(
            f"Column {request.column!r} holds the id {example}, and `label_names` are numbers too, {quoted(names)}: "
            f"is it the label {str(example)!r}, or the one of that index, {names[example]!r}? Write the labels as "
            "strings."
        )
    return are_names


def _once(rows: np.ndarray, labels: np.ndarray, num_labels: int) -> Entries:
    """Entries of present labels in the order of the rows, each once, since a row may name a label twice."""
    # They come almost sorted, which a stable sort makes use of.
    pairs = np.sort(rows * num_labels + labels, kind="stable")
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return pairs // num_labels, (pairs % num_labels).astype(np.int32), np.ones(len(pairs), np.float32)


def _add_spellings(spellings: dict[str, set[str]], mention: _Mentions) -> None:
    for key, names in mention.spellings.items():
        spellings.setdefault(key, set()).update(names)


def _mentions(column: Column, split: str, id_names: list[str] | None, request: LabelRequest) -> Iterator[_Mentions]:
    """Yields the labels of some rows at a time."""
    for start in range(0, len(column), BLOCK):
        yield _mentions_of_block(column.slice(start, BLOCK), start, split, id_names, request)


def _mentions_of_block(
    column: Column, start: int, split: str, id_names: list[str] | None, request: LabelRequest
) -> _Mentions:
    rows, values = flat_values(column)
    rows = rows + start
    if pa.types.is_integer(values.type):
        _check_mentions(values, pc.less(values, 0), rows, split, request)
        keys = values.cast(pa.string())
        if id_names is not None:
            inside = pc.if_else(pc.less(values, len(id_names)), values, None)
            outside = pc.binary_join_element_wise("id", keys, " ")
            keys = pc.coalesce(pa.array(map(normalize_label, id_names), pa.string()).take(inside), outside)
        return _Mentions(rows, keys, {})
    values = values.cast(pa.string())
    if request.separator is not None:
        parts = pc.split_pattern(values, request.separator)
        rows, values = rows[pc.list_parent_indices(parts).to_numpy()], pc.list_flatten(parts)
    nested = pa.types.is_nested(column.type)
    distinct = pc.unique(values)
    spelled = distinct.to_pylist()
    normalized = pa.array([None if name is None else normalize_label(name) for name in spelled], pa.string())
    spellings: dict[str, set[str]] = {}
    for key, name in zip(normalized.to_pylist(), spelled, strict=True):
        if key:
            # White space round a separator is no other way to write a label.
            spellings.setdefault(key, set()).add(name if nested else name.strip())
    keys = pa.chunked_array([normalized.take(pc.index_in(values, distinct).combine_chunks())])
    if nested:
        _check_mentions(values, pc.equal(keys, ""), rows, split, request)
        return _Mentions(rows, keys, spellings)
    filled = pc.not_equal(keys, "")
    return _Mentions(rows[filled.to_numpy()], keys.filter(filled), spellings)


def _check_mentions(values: Column, wrong: Column, rows: np.ndarray, split: str, request: LabelRequest) -> None:
    where = np.flatnonzero(pc.fill_null(wrong, True))
    if len(where):
        raise ValueError(
            f"{request.origin.row(split, rows[where[0]])} has the label {values[int(where[0])].as_py()!r}; a label is "
            "a name that is not empty or an id from 0 up, and a row without labels is None or an empty list."
        )
