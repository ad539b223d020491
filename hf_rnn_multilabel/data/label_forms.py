"""What a label column is called, and what form its labels have."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, LargeList, List, Value

from ..model.losses import IGNORED
from .columns import Column, kind
from .files import quoted
from .label_names import JOINERS, check_joined, check_separator, check_written, normalize_label
from .readers import columns_called


Form = Literal["names", "written", "ids", "multi_hot", "columns", "separated"]

LABEL_COLUMNS = ("labels", "label", "tags", "topics", "categories", "genres", "keywords")
INTEGER_RULE = "integers are multi-hot where all lists have one length above 1 and hold only 0 and 1, ids otherwise"
UNDERSTOOD = {
    "names": "the label names of each row",
    "written": "the label names of each row, in lists that are written as text",
    "ids": f"the label ids of each row ({INTEGER_RULE})",
    "multi_hot": f"one 0 or 1 per label in each row ({INTEGER_RULE})",
    "columns": "one 0/1 column per label",
    "separated": "one string per row, split at its separator",
}
# The form of a column by the kind of its values; integers are decided by their values.
IN_LISTS: dict[str, Form] = {
    "string": "names",
    "null": "names",
    "class": "ids",
    "bool": "multi_hot",
    "float": "multi_hot",
}
ONE_PER_ROW: dict[str, Form] = {"class": "ids"}


def find_label_column(columns: list[str]) -> str:
    """The one of `LABEL_COLUMNS` that is there, in capitals or not; a ValueError where none or several are."""
    matches = columns_called(columns, LABEL_COLUMNS)
    if len(matches) != 1:
        raise ValueError(
            f"Which column holds the labels? Of {', '.join(LABEL_COLUMNS)}, "
            f"{quoted(matches) if matches else 'none'} are there; pass `label_column`. The columns: "
            f"{quoted(columns)}."
        )
    return matches[0]


def feature_of(rows: Dataset, column: str, values: Column) -> object:
    # CSV readers call a column of empty cells a float.
    empty = kind(rows.features[column]) == "float" and values.null_count == len(values)
    return Value("null") if empty else rows.features[column]


def item_of(feature: object) -> object:
    return feature.feature if isinstance(feature, List | LargeList) else feature


def choose_form(
    column: str, features: dict, values: dict[str, Column], names: list[str] | None, separator: str | None
) -> Form:
    """Decides what one label column holds, or raises where that would be a guess.

    | values       | in lists                                 | one per row                                        |
    |--------------|------------------------------------------|----------------------------------------------------|
    | strings      | names                                    | names; separated where a separator is given        |
    | `ClassLabel` | ids                                      | ids                                                |
    | bool, float  | multi_hot                                | an error                                           |
    | int          | multi_hot or ids, as INTEGER_RULE says   | ids where there are several names, or not only 0   |
    |              |                                          | and 1; else an error, since it may be one 0/1 label|
    | None alone   | names, if the labels' names are given    | as strings, if the labels' names are given         |
    """
    held, in_list = _held(column, features)
    strings = held in ("string", "null") and not in_list
    if separator is not None and (separator == "" or not strings):
        raise ValueError(
            f"`separator` is {separator!r} and column {column!r} is {features!s:.300}; a separator has at least one "
            "character, and only a column of strings needs one. If a CSV reader took labels for numbers, load the "
            'column as `Value("string")`.'
        )
    if held == "null" and names is None:
        raise ValueError(f"Column {column!r} holds no label at all; pass `label_names` to encode it all the same.")
    if strings:
        _check_strings(column, values, names, separator)
        return "names" if separator is None else "separated"
    if held == "string" and names is None:
        check_joined(distinct_values(values) - {None}, column, JOINERS)
    form = IN_LISTS.get(held) if in_list else ONE_PER_ROW.get(held)
    if held == "int" and in_list:
        form = "multi_hot" if _are_multi_hot(values) else "ids"
    elif held == "int" and (len(names or ()) > 1 or not distinct_values(values) <= {0, 1}):
        form = "ids"
    if form is None:
        raise ValueError(
            f"Column {column!r} is {features!s:.300}, which is no clear form of labels: pass lists of names, ids or "
            f"0/1, or strings and a `separator`. For one 0/1 label, pass `label_column=[{column!r}]`; for ids, cast "
            "the column to integers and pass `label_names`."
        )
    return form


def _held(column: str, features: dict) -> tuple[str, bool]:
    """The kind of the values of all splits, and whether they are in lists."""
    kinds = {kind(item_of(feature)) for feature in features.values()} - {"null"} or {"null"}
    held = "float" if len(kinds) > 1 and kinds <= {"int", "float", "bool"} else "/".join(sorted(kinds))
    in_lists = {item_of(feature) is not feature for feature in features.values() if kind(feature) != "null"}
    if len(in_lists) > 1 or "/" in held:
        raise ValueError(
            f"Column {column!r} differs between the splits: {features!s:.300}; load it as one type, or cast it."
        )
    return held, True in in_lists


def distinct_values(values: dict[str, Column]) -> set:
    return {value for part in values.values() for value in pc.unique(flat_values(part)[1]).to_pylist()}


def _are_multi_hot(lists: dict[str, Column]) -> bool:
    """Whether lists of integers are multi-hot by `INTEGER_RULE`."""
    lengths = {length for part in lists.values() for length in list_lengths(part).tolist()} - {0}
    return len(lengths) == 1 and lengths != {1} and distinct_values(lists) <= {0, 1, IGNORED, None}


def _check_strings(column: str, values: dict[str, Column], names: list[str] | None, separator: str | None) -> None:
    """Raises where a string may hold several labels and nothing says whether it does."""
    strings = sorted(distinct_values(values))
    known = {normalize_label(name) for name in names or ()}
    others = [string for string in strings if normalize_label(string) not in {*known, ""}]
    if separator is not None:
        check_separator(strings if others else [], separator, column)
        check_written(others, column, separators="")
        if names is None:
            check_joined({part for string in strings for part in string.split(separator)}, column, JOINERS)
    else:
        check_written(others, column)
        if names is None:
            check_joined(strings, column)


def list_lengths(lists: Column) -> np.ndarray:
    """The length of each list; 0 for None and for what is no list."""
    if not pa.types.is_nested(lists.type):
        return np.zeros(len(lists), int)
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy()


def flat_values(column: Column) -> tuple[np.ndarray, Column]:
    """All values of a column of lists, or all that are not None of a plain one, and the row of each."""
    if pa.types.is_nested(column.type):
        return pc.list_parent_indices(column).to_numpy(), pc.list_flatten(column)
    return np.flatnonzero(column.is_valid()), column.drop_null()
