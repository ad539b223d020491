"""Reads one or several label columns of any form: the names of the labels, and which row carries which."""

from collections import Counter
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, LargeList, List, Value


Form = Literal["names", "ids", "multi_hot", "columns", "separated"]

# The nonzero entries of a label matrix, by row: rows, label indices, values.
Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
Column: TypeAlias = pa.ChunkedArray

UNKNOWN = -100.0
LABEL_COLUMNS = ("labels", "label", "tags", "topics", "categories", "genres", "keywords")
SEPARATORS = ",;|\t\n"
INTEGER_RULE = "integers are multi-hot where all lists have one length above 1 and hold only 0 and 1, ids otherwise"
UNDERSTOOD = {
    "names": "the label names of each row",
    "ids": f"the label ids of each row ({INTEGER_RULE})",
    "multi_hot": f"one 0 or 1 per label in each row ({INTEGER_RULE})",
    "columns": "one 0/1 column per label",
    "separated": "one string per row, split at its separator",
}


def find_label_column(rows: Dataset) -> str:
    """The one of `LABEL_COLUMNS` that is there; a ValueError where none or several are."""
    found = [column for column in LABEL_COLUMNS if column in rows.column_names]
    if len(found) != 1:
        raise ValueError(
            f"Which column holds the labels? Of {', '.join(LABEL_COLUMNS)}, {found or 'none'} are there; pass "
            f"`label_column`. The columns: {rows.column_names}."
        )
    return found[0]


def read_labels(
    splits: dict[str, Dataset], label_column: str | list[str], label_names: list[str] | None, separator: str | None
) -> tuple[Form, list[str], dict[str, Entries], dict[str, dict[str, int]]]:
    """Reads labels of any form that `data.encode_labels` describes.

    Args:
        splits: Rows by split, of which one is "train"; each has a row and the label columns.
        label_column: The column, or one 0/1 column per label.
        label_names: All labels in the order of their indices, or None to take them from the columns.
        separator: What stands between the labels of a string, or None.

    Returns:
        The form, the labels in the order of their indices, by split the entries of the label matrix, and by split
        the rows that carry each label that is not in the vocabulary.

    Raises:
        ValueError: The column has no clear form, a value is not a label, or there is no label.
    """
    if label_names is not None:
        _check_label_names(label_names)
    if not isinstance(label_column, str):
        if separator is not None:
            raise ValueError(f"`separator` is {separator!r}, but 0/1 columns need none; leave it out.")
        values = {split: _stack_columns(rows, split, label_column) for split, rows in splits.items()}
        return "columns", *_read_multi_hot(values, label_names or label_column), {}
    values = {split: arrow_column(rows, label_column) for split, rows in splits.items()}
    features = {split: _feature(rows, label_column, values[split]) for split, rows in splits.items()}
    form = _form(label_column, features, values, label_names, separator)
    if form == "multi_hot":
        return form, *_read_multi_hot(values, label_names), {}
    return form, *_read_names(values, features, label_names, separator)


def kind(feature: object) -> str:
    """What a feature of single values holds: "class", "string", "int", "float", "bool" or "null"; "other" if none."""
    if isinstance(feature, ClassLabel):
        return "class"
    dtype = feature.dtype if isinstance(feature, Value) else ""
    return next((held for held in ("string", "int", "float", "bool", "null") if held in dtype), "other")


def arrow_column(rows: Dataset, column: str) -> Column:
    """All values of a column in the order of the rows, (rows,)."""
    return rows.select_columns([column]).with_format("arrow")[:][column]


def _check_label_names(label_names: list[str]) -> None:
    wrong = [name for name in label_names if not isinstance(name, str) or not name.strip()]
    twice = [name for name, count in Counter(label_names).items() if count > 1]
    if isinstance(label_names, str) or not label_names or wrong or twice:
        raise ValueError(
            "`label_names` must be a list of different, non-empty strings; "
            f"it is {label_names!r:.80}, with {wrong[:5]} wrong and {twice[:5]} repeated."
        )


def _feature(rows: Dataset, column: str, values: Column) -> object:
    # CSV readers call a column of empty cells a float.
    empty = kind(rows.features[column]) == "float" and values.null_count == len(values)
    return Value("null") if empty else rows.features[column]


def _item(feature: object) -> object:
    return feature.feature if isinstance(feature, List | LargeList) else feature


def _form(
    column: str, features: dict, values: dict[str, Column], label_names: list[str] | None, separator: str | None
) -> Form:
    """What one label column holds, or an error where that would be a guess."""
    kinds = {kind(_item(feature)) for feature in features.values()} - {"null"} or {"null"}
    held = "float" if len(kinds) > 1 and kinds <= {"int", "float", "bool"} else "/".join(sorted(kinds))
    in_lists = {_item(feature) is not feature for feature in features.values() if kind(feature) != "null"}
    in_list = True in in_lists
    strings = held in ("string", "null") and not in_list
    if len(in_lists) > 1 or "/" in held:
        raise ValueError(f"Column {column!r} differs between the splits: {features}; load it as one type, or cast it.")
    if separator is not None and (separator == "" or not strings):
        raise ValueError(
            f"`separator` is {separator!r} and column {column!r} is {features}; a separator has a character or more, "
            "and only a column of strings needs one. If a CSV reader took labels for numbers, load the column as "
            '`Value("string")`.'
        )
    if held == "null" and label_names is None:
        raise ValueError(f"Column {column!r} holds no label at all; pass `label_names` to encode it all the same.")
    if strings:
        _check_strings(column, values, label_names, separator)
    if held in ("string", "null"):
        return "names" if separator is None else "separated"
    if held == "class":
        return "ids"
    if in_list and (held in ("bool", "float") or (held == "int" and _are_multi_hot(values))):
        return "multi_hot"
    if held == "int" and (in_list or len(label_names or ()) > 1 or not _distinct(values) <= {0, 1}):
        return "ids"
    raise ValueError(
        f"Column {column!r} is {features}, which is no clear form of labels: pass lists of names, ids or 0/1, "
        f"or strings and a `separator`. For one 0/1 label, pass `label_column=[{column!r}]`; for ids, cast the column "
        "to integers and pass `label_names`."
    )


def _distinct(values: dict[str, Column]) -> set:
    return {value for part in values.values() for value in pc.unique(_flat(part)[1]).to_pylist()}


def _are_multi_hot(lists: dict[str, Column]) -> bool:
    """Whether lists of integers are multi-hot by `INTEGER_RULE`."""
    lengths = {length for part in lists.values() for length in _lengths(part).tolist()} - {0}
    return len(lengths) == 1 and lengths != {1} and _distinct(lists) <= {0, 1, UNKNOWN, None}


def _check_strings(
    column: str, values: dict[str, Column], label_names: list[str] | None, separator: str | None
) -> None:
    """Raises where a string may hold several labels and nothing says whether it does."""
    for split, part in values.items():
        for string in pc.unique(_flat(part)[1]).to_pylist():
            written_list = string.startswith("[") and string.endswith("]")
            separated = separator is None and any(character in string for character in SEPARATORS)
            if (written_list or separated) and string not in (label_names or ()):
                raise ValueError(
                    f"Column {column!r} of split {split!r} holds {string!r:.80}: one label or several? If one, pass "
                    "`label_names` with all labels; if several, pass `separator`, or turn the text of a list into a "
                    "list with `ast.literal_eval`."
                )


def _lengths(lists: Column) -> np.ndarray:
    """The length of each list; 0 for None and for what is no list."""
    if not pa.types.is_nested(lists.type):
        return np.zeros(len(lists), int)
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy()


def _flat(column: Column) -> tuple[np.ndarray, Column]:
    """All values of a column of lists, or all that are not None of a plain one, and the row of each."""
    if pa.types.is_nested(column.type):
        return pc.list_parent_indices(column).to_numpy(), pc.list_flatten(column)
    return np.flatnonzero(column.is_valid()), column.drop_null()


def _binary(values: Column) -> np.ndarray:
    return pc.fill_null(values.cast(pa.float32(), safe=False), UNKNOWN).to_numpy()


def _stack_columns(rows: Dataset, split: str, columns: list[str]) -> Column:
    for column in columns:
        if kind(rows.features[column]) in ("string", "other"):
            raise ValueError(
                f"Column {column!r} of split {split!r} is {rows.features[column]}, but a list as `label_column` means "
                f"one 0/1 column per label; for a single column of other labels pass `label_column={column!r}`."
            )
    matrix = np.stack([_binary(arrow_column(rows, column)) for column in columns], axis=1)  # (rows, labels)
    return pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), len(columns))])


def _read_multi_hot(values: dict[str, Column], label_names: list[str] | None) -> tuple[list[str], dict[str, Entries]]:
    lengths = {split: _lengths(part) for split, part in values.items()}
    width = next((length for found in lengths.values() for length in found[found > 0].tolist()), 0)
    names = label_names or [f"LABEL_{index}" for index in range(width)]
    if not names:
        raise ValueError("All label lists are empty; pass `label_names` to encode them all the same.")
    entries = {}
    for split, part in values.items():
        (filled,) = np.nonzero(lengths[split])
        ragged = filled[lengths[split][filled] != len(names)]
        if len(ragged):
            raise ValueError(
                f"Row {ragged[0]} of split {split!r} has {lengths[split][ragged[0]]} zeros and ones for {len(names)} "
                "labels; pass one per label, and a name for each in `label_names`. If they are ids, cast the column "
                "to integers, or to `List(ClassLabel(names=...))` where all are 0 or 1."
            )
        matrix = _binary(_flat(part)[1]).reshape(-1, len(names))  # (filled rows, labels)
        wrong = np.argwhere(~np.isin(matrix, (0, 1, UNKNOWN)))
        if len(wrong):
            row, label = wrong[0]
            raise ValueError(
                f"Row {filled[row]} of split {split!r} has {matrix[row, label]} for label {names[label]!r}; it must "
                "be 0, 1, or None where it is unknown. Cast ids to integers; threshold scores."
            )
        row, label = np.nonzero(matrix)
        entries[split] = (filled[row], label, matrix[row, label])
    return names, entries


def _read_names(
    values: dict[str, Column], features: dict, label_names: list[str] | None, separator: str | None
) -> tuple[list[str], dict[str, Entries], dict[str, dict[str, int]]]:
    items = {split: _item(feature) for split, feature in features.items()}
    class_names = {split: item.names if isinstance(item, ClassLabel) else None for split, item in items.items()}
    mentions = {
        split: _mentions(part, split, class_names[split] or label_names, separator) for split, part in values.items()
    }
    numbers = pa.types.is_integer(_flat(values["train"])[1].type)
    names = label_names or class_names["train"]
    names = names or sorted(pc.unique(mentions["train"][1]).to_pylist(), key=int if numbers else None)
    if not names:
        raise ValueError("The train split holds no label at all; pass `label_names` to encode it all the same.")
    entries, dropped = {}, {}
    for split, (rows, found) in mentions.items():
        indices = pc.index_in(found, value_set=pa.array(names, pa.string()))
        known = indices.is_valid().to_numpy()
        entries[split] = (rows[known], indices.drop_null().to_numpy(), np.ones(known.sum(), np.float32))
        unknown = set(zip(rows[~known].tolist(), found.filter(indices.is_null()).to_pylist(), strict=True))
        if unknown:
            dropped[split] = dict(sorted(Counter(name for _, name in unknown).items()))
    return names, entries, dropped


def _mentions(
    column: Column, split: str, id_names: list[str] | None, separator: str | None
) -> tuple[np.ndarray, Column]:
    """All label names of a column, and the row of each."""
    rows, values = _flat(column)
    if pa.types.is_integer(values.type):
        _check_mentions(values, pc.less(values, 0), rows, split)
        names = values.cast(pa.string())
        if id_names is not None:
            inside = pc.if_else(pc.less(values, len(id_names)), values, None)
            outside = pc.binary_join_element_wise("id", names, " ")
            names = pc.coalesce(pa.array(id_names, pa.string()).take(inside), outside)
        return rows, names
    values = values.cast(pa.string())
    if pa.types.is_nested(column.type):
        _check_mentions(values, pc.equal(pc.utf8_trim_whitespace(values), ""), rows, split)
        return rows, values
    if separator is not None:
        parts = pc.split_pattern(values, separator)
        rows, values = rows[pc.list_parent_indices(parts).to_numpy()], pc.list_flatten(parts)
    values = pc.utf8_trim_whitespace(values)
    filled = pc.not_equal(values, "")
    return rows[filled.to_numpy()], values.filter(filled)


def _check_mentions(values: Column, wrong: Column, rows: np.ndarray, split: str) -> None:
    where = np.flatnonzero(pc.fill_null(wrong, True))
    if len(where):
        raise ValueError(
            f"Row {rows[where[0]]} of split {split!r} has the label {values[int(where[0])].as_py()!r}; a label is a "
            "name that is not empty or an id from 0 up, and a row without labels is None or an empty list."
        )
