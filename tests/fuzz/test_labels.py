"""Columns of labels of every form and of no form: the right multi-hot or an error in words."""

import math
import re
import unicodedata

import numpy as np
from fuzzing import Refusal, attempt, fuzz, scalars, strings, values
from hypothesis import assume
from hypothesis import strategies as st

from hf_rnn_multilabel.data import encode_labels
from hf_rnn_multilabel.data.label_names import JOINERS, normalize_label
from hf_rnn_multilabel.data.sources import load_rows


JOINED = {*JOINERS, *"[]{}()"}
SURROGATE = re.compile("[\ud800-\udfff]")


def look(name: str) -> str:
    """How a name looks, in a file that holds no half of a surrogate pair."""
    return normalize_label(SURROGATE.sub("\ufffd", name))


safe_names = st.lists(
    st.sampled_from(["red", "blue", "Red", "sea green", "0117", "117", "é"]), min_size=1, unique=True
)
any_names = st.lists(strings.filter(look), min_size=1, max_size=4, unique_by=look)


@st.composite
def spellings(draw, name: str) -> str:
    """A name as somebody else may write it."""
    form = draw(st.sampled_from(["NFC", "NFD"]))
    name = "".join(
        unicodedata.normalize(form, character) + draw(st.sampled_from(["", "", "", "\u200b"])) for character in name
    )
    return draw(st.sampled_from(["", " ", "\u00a0"])) + name + draw(st.sampled_from(["", "\ufeff", "\u3000"]))


@st.composite
def written_labels(draw):
    """Names, a truth of 0, 1 and None, and the truth written in some form with the arguments that read it."""
    form = draw(st.sampled_from(["names", "ids", "multi_hot", "columns", "separated", "single"]))
    names = draw(safe_names if form in ("separated", "single") else st.one_of(safe_names, any_names))
    given = {"label_names": names} if form in ("ids", "multi_hot", "single") or draw(st.booleans()) else {}
    cells = st.sampled_from([0, 1] if form not in ("multi_hot", "columns") else [0, 0, 1, 1, None])
    truth = draw(st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), min_size=1, max_size=5))
    carried = [[name for name, cell in zip(names, row, strict=True) if cell] for row in truth]
    rows = [{"text": "a"} for _ in truth]
    if form == "names":
        column = [[draw(spellings(name)) for name in some] for some in carried]
    elif form == "ids":
        column = [[names.index(name) for name in some] for some in carried]
    elif form == "multi_hot":
        kind = draw(st.sampled_from([float, bool]))
        column = [[None if cell is None else kind(cell) for cell in row] for row in truth]
    elif form == "separated":
        given["separator"] = draw(st.sampled_from([";", "|", "##", "\n"]))
        spaces = st.sampled_from(["", " "])
        column = [given["separator"].join(draw(spaces) + name + draw(spaces) for name in some) for some in carried]
    elif form == "single":
        truth = [[int(name == (some or [None])[0]) for name in names] for some in carried]
        column = [(some or [None])[0] for some in carried]
    else:
        kind = draw(st.sampled_from([int, float, bool, "{}".format, "{}.0".format]))
        column = None
        given.pop("label_names", None)
        for row, cells_of_row in zip(rows, truth, strict=True):
            row |= {name: None if cell is None else kind(cell) for name, cell in zip(names, cells_of_row, strict=True)}
    if column is not None:
        for row, cell in zip(rows, column, strict=True):
            row["tags"] = cell
    given["label_column"] = names if form == "columns" else "tags"
    given["blank_label"] = draw(st.sampled_from(["ignored", "absent"]))
    return form, names, truth, rows, given


def may_be_refused(form, names, truth, given) -> bool:
    """Whether the labels are ambiguous or say nothing, so that an error is right."""
    matrix = np.array([[math.nan if cell is None else cell for cell in row] for row in truth])
    written = [name for name, used in zip(names, (matrix == 1).any(0), strict=True) if used]
    if form in ("multi_hot", "columns"):
        # No row says that the label is absent.
        nowhere = (matrix == 1).any(0) & ~(matrix == 0).any(0) & np.isnan(matrix).any(0)
        return (given["blank_label"] == "ignored" and bool(nowhere.any())) or np.isnan(matrix).all(0).any()
    if not written or any(JOINED.intersection(name) for name in names):
        return True
    if form == "separated":
        return not any(given["separator"] in given["separator"].join(row) for row in [written]) or all(
            sum(row) <= 1 for row in matrix
        )
    if form == "ids" and any(name.isdecimal() for name in names):
        return True  # an id may be a name or an index
    return any(SURROGATE.search(name) for name in names) or "text" in names


@fuzz(150, written=written_labels())
def test_labels_written_in_a_form_are_read_from_it(written):
    form, names, truth, rows, given = written
    assume("text" not in names)
    if form == "ids":  # lists of zeros and ones that have one length are multi-hot, as is documented
        lengths = {sum(map(bool, row)) for row in truth} - {0}
        used = {index for row in truth for index, cell in enumerate(row) if cell}
        assume(len(lengths) != 1 or lengths == {1} or not used <= {0, 1})
    data = attempt(load_rows, rows)
    assume(not isinstance(data, Refusal))
    found = attempt(encode_labels, data["train"], **given)
    if isinstance(found, Refusal):
        assert may_be_refused(form, names, truth, given) or any(map(SURROGATE.search, names)), found
        return
    encoded, encoding = found
    blank = -100 if given["blank_label"] == "ignored" else 0
    assert len(encoded) == len(truth)
    columns = {look(name): index for index, name in enumerate(encoding.label_names)}
    for row, cells in zip(encoded["labels"], truth, strict=True):
        expected = {look(name): blank if cell is None else cell for name, cell in zip(names, cells, strict=True)}
        assert {name: row[index] for name, index in columns.items()} == {
            name: cell for name, cell in expected.items() if name in columns
        }
        assert all(not cell for name, cell in expected.items() if name not in columns)


label_options = st.fixed_dictionaries(
    {},
    optional={
        "label_column": st.one_of(
            st.sampled_from([None, "tags", "tags", ["tags"], ["tags"], ["tags", "text"]]), strings
        ),
        "label_names": st.one_of(st.none(), any_names, any_names, st.lists(values, max_size=3), strings),
        "separator": st.one_of(st.sampled_from([None, None, None, ";", "", " "]), strings),
        "unknown_labels": st.sampled_from(["error", "drop", "drop", "drop", None]),
        "blank_label": st.sampled_from(["ignored", "absent", "absent", "0"]),
        "group_column": st.sampled_from([None, None, None, "text", "tags", "x"]),
    },
)
columns_of_one_kind = st.sampled_from(
    [
        strings,
        st.sampled_from(["red", "blue", "red;blue", " red", ""]),
        st.lists(strings, max_size=3),
        st.lists(st.sampled_from(["red", "blue", "Red "]), max_size=3),
        st.integers(0, 3),
        st.sampled_from([0, 1, 0.0, 1.0, True, "1", "0", " 1 ", "true", "0.0", "1e0", "nan"]),
        st.lists(st.integers(0, 3), max_size=3),
        st.lists(st.integers(-1, 3), max_size=3),
        st.lists(st.booleans(), min_size=2, max_size=2),
        st.lists(st.sampled_from([0, 1, None, -100]), min_size=2, max_size=2),
        st.lists(st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0])), max_size=3),
        st.booleans(),
        scalars,
        values,
    ]
).flatmap(lambda kind: st.lists(st.one_of(st.none(), kind), min_size=1, max_size=5))


def expected_row(value, form, names, options) -> dict[int, float]:
    """The entries of a row that are not 0, by the index of the label."""
    blank = -100.0 if options.get("blank_label", "ignored") == "ignored" else 0.0
    if form in ("columns", "multi_hot"):
        cells = [value] if form == "columns" else value or []
        words = {"": None} | dict.fromkeys(("true", "t", "yes", "y", "x"), 1.0)
        words |= dict.fromkeys(("false", "f", "no", "n"), 0.0)
        cells = [words.get(c.strip().lower(), c) if isinstance(c, str) else c for c in cells]
        cells = [blank if cell is None else float(cell) for cell in cells]
        cells = [blank if math.isnan(cell) else cell for cell in cells]
        return {index: cell for index, cell in enumerate(cells) if cell}
    items = value if isinstance(value, list) else [] if value is None else [value]
    if options.get("separator") is not None:
        items = [part for item in items for part in item.split(options["separator"])]
    if form == "ids":
        given = options.get("label_names")
        looks = [look(given[item]) if given and item < len(given) else str(item) for item in items]
    else:
        looks = [look(item) for item in items]
    indices = {look(name): index for index, name in enumerate(names)}
    return {indices[name]: 1.0 for name in looks if name in indices}


@fuzz(150, column=columns_of_one_kind, options=label_options, texts=st.lists(strings, min_size=5, max_size=5))
def test_a_column_of_any_values_gives_its_labels_or_an_error(column, options, texts):
    rows = [{"text": text, "tags": value} for text, value in zip(texts, column, strict=False)]
    data = attempt(load_rows, rows)
    if isinstance(data, Refusal):
        return
    found = attempt(encode_labels, data["train"], **options)
    if isinstance(found, Refusal):
        return
    encoded, encoding = found
    if options.get("group_column") is not None:
        assert len(encoded) == len({repr(row[options["group_column"]]) for row in data["train"]})
        return
    if options.get("label_column") == ["tags", "text"]:
        return
    assert len(encoded) == len(rows)
    for row, found_row in zip(data["train"], encoded["labels"], strict=True):
        assert len(found_row) == len(encoding.label_names)
        found_entries = {index: cell for index, cell in enumerate(found_row) if cell}
        assert found_entries == expected_row(row["tags"], encoding.form, encoding.label_names, options)
