"""Lists of labels that are written as text, as pandas and our own csv output write them."""

import ast
import json
import re

import pyarrow as pa
import pyarrow.compute as pc

from .columns import Column, Origin
from .label_names import WRITTEN_LIST, normalize_label


# A list, tuple or set of strings as Python writes it. Strings without a comma between them, as numpy writes them, are
# none: Python would join them to one.
_STRING = r"""(?:'(?:[^'\\]|\\[\\'"nrtxuU])*'|"(?:[^"\\]|\\[\\'"nrtxuU])*")"""
PYTHON_LIST = re.compile(rf"[\[({{]\s*(?:{_STRING}\s*(?:,\s*{_STRING}\s*)*(?:,\s*)?)?[\])}}]|set\(\)")
LIST = pa.list_(pa.string())
SURROGATE = re.compile("[\ud800-\udfff]")


def read_list(text: str) -> list[str] | None:
    """The strings of a list that is written as text, in JSON or in Python; None if it is no list of strings."""
    text = text.strip()
    try:
        found = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        found = None
    if found is None and PYTHON_LIST.fullmatch(text):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found = None
    if not isinstance(found, list | tuple | set) or not all(isinstance(item, str) for item in found):
        return None
    return [SURROGATE.sub("\ufffd", item) for item in found]


def read_written_lists(
    column: str, values: dict[str, Column], names: list[str] | None, separator: str | None, origin: Origin
) -> dict[str, Column]:
    """Reads the lists that strings write out.

    Args:
        column: The column's name.
        values: By split, its values.
        names: All labels, if they are given; a string that is one of them is a name and no list.
        separator: What was said to stand between the labels of a string.
        origin: Where the rows are.

    Returns:
        By split, the lists, of the splits with strings; nothing if these are no lists. A blank is None.

    Raises:
        ValueError: Some strings are lists and others are not, none can be read, or there is a separator.
    """
    known = {normalize_label(name) for name in names or ()}
    strings = {split: part for split, part in values.items() if _holds_strings(part)}
    read: dict[str, list[str] | None] = {}
    for part in strings.values():
        for text in pc.unique(part).to_pylist():
            if text is not None and text.strip():
                read[text] = read_list(text)
    if known and known.intersection(map(normalize_label, read)):
        return {}
    lists = [text for text, found in read.items() if found is not None]
    others = [text for text, found in read.items() if found is None]
    looks = [text for text in others if WRITTEN_LIST.fullmatch(text.strip())]
    if not lists and not looks:
        return {}
    if others:
        raise _unreadable(column, strings, (looks or others)[0], lists, origin)
    if separator is not None:
        raise ValueError(
            f"`separator` is {separator!r}, and column {column!r} holds lists that are written as text, for example "
            f"{lists[0]!r:.80} in {_where(strings, lists[0], origin)}: leave `separator` (`--label_separator`) out."
        )
    return {split: _lists(part, read) for split, part in strings.items()}


def _holds_strings(column: Column) -> bool:
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _lists(strings: Column, read: dict[str, list[str] | None]) -> Column:
    distinct = pc.unique(strings)
    lists = pa.array([read.get(text) if text is not None else None for text in distinct.to_pylist()], LIST)
    return pa.chunked_array([lists.take(pc.index_in(strings, distinct).combine_chunks())], LIST)


def _where(strings: dict[str, Column], text: str, origin: Origin) -> str:
    """The first row with a string."""
    rows = ((split, pc.index(part, pa.scalar(text, part.type)).as_py()) for split, part in strings.items())
    split, row = next((split, row) for split, row in rows if row >= 0)
    return f"row {origin.number(split, row)} of {origin.split(split)}"


def _unreadable(column: str, strings: dict[str, Column], text: str, lists: list[str], origin: Origin) -> ValueError:
    of_lists = f", and others hold lists that are written as text, for example {lists[0]!r:.80}" if lists else ""
    if re.search(r"""['"]\s+['"]""", text):
        quotes = r"""r"(['\"])\s+(['\"])", r"\1, \2", regex=True"""
        remedy = f"numpy writes lists without commas; in pandas, frame[{column!r}].str.replace({quotes}) puts them in"
    else:
        remedy = (
            'write all rows as lists of names, for example ["red", "blue"], and [] or a blank for none; in pandas, '
            'frame.to_json("rows.jsonl", orient="records", lines=True) writes lists as they are'
        )
    return ValueError(
        f"Column {column!r} holds {text!r:.80} in {_where(strings, text, origin)}, which is no list of names{of_lists}"
        f": {remedy}. If it is one label, give all labels (`label_names`, `--label_list`)."
    )
