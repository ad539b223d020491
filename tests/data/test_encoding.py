"""Labels of every form become one float multi-hot, and what may be read in two ways is an error."""

import re

import numpy as np
import pandas as pd
import pytest
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    LargeList,
    List,
    Value,
    disable_progress_bars,
    enable_progress_bars,
    load_dataset,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rnn_multilabel.data import encode_labels
from hf_rnn_multilabel.data.writers import json_text


@pytest.fixture(autouse=True, scope="module")
def no_progress_bars():
    disable_progress_bars()
    yield
    enable_progress_bars()


def rows(labels, feature=None, **columns):
    """A dataset with the column "labels", of the given feature."""
    dataset = Dataset.from_dict({"text": [f"text {row}" for row in range(len(labels))], "labels": labels, **columns})
    return dataset if feature is None else dataset.cast_column("labels", feature)


def matrix(dataset):
    return np.array(dataset["labels"][:], dtype=np.float32).tolist()


# Label forms


@st.composite
def label_sets(draw):
    """Label names, and for each of two splits the label indices of each row."""
    names = draw(st.lists(st.text("abcé 日", min_size=1).map(str.strip), min_size=2, max_size=5, unique=True))
    names = [name or "blank" for name in names]
    index = st.integers(0, len(names) - 1)
    splits = draw(st.lists(st.lists(st.lists(index, max_size=6), min_size=1, max_size=6), min_size=2, max_size=2))
    return list(dict.fromkeys([*names, "x", "y"])), dict(zip(("train", "test"), splits, strict=True))


def as_form(form, names, sets):
    """One split in one form, with the arguments that tell `encode_labels` about it."""
    hot = [[int(index in row) for index in range(len(names))] for row in sets]
    if form == "names":
        return rows([[names[index] for index in row] for row in sets], List(Value("string"))), {}
    if form == "class_ids":
        return rows(sets, List(ClassLabel(names=names))), {}
    if form == "separated":
        return rows(["; ".join(names[index] for index in row) for row in sets]), {"separator": ";"}
    if form == "columns":
        columns = [f"is_{index}" for index in range(len(names))]
        table = dict(zip(columns, map(list, zip(*hot, strict=True)), strict=True))
        return Dataset.from_dict({"text": [""] * len(sets), **table}), {"label_column": columns}
    return rows(hot, List(Value(form))), {}


@settings(deadline=None, max_examples=12)
@given(label_sets())
def test_pain_08_all_forms_of_the_same_labels_encode_to_the_same_matrix(drawn):
    names, splits = drawn
    expected = {
        split: [[float(index in row) for index in range(len(names))] for row in sets] for split, sets in splits.items()
    }
    for form in ("names", "class_ids", "separated", "columns", "int64", "uint8", "bool", "float64"):
        formed = {split: as_form(form, names, sets) for split, sets in splits.items()}
        dataset = DatasetDict({split: part for split, (part, _) in formed.items()})
        encoded, encoding = encode_labels(dataset, label_names=names, **formed["train"][1])
        assert encoding.label_names == names
        for split in splits:
            assert matrix(encoded[split]) == expected[split], form
            assert encoded[split].features["labels"] == List(Value("float32"), length=len(names))
        assert list(encoding.counts.values()) == np.sum(expected["train"], axis=0).tolist()
        assert np.allclose(list(encoding.frequencies.values()), np.mean(expected["train"], axis=0))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=8))
def test_pain_08_plain_ids_are_named_by_their_numbers(sets):
    sets = [*sets, [11], [2, 0]]
    encoded, encoding = encode_labels(rows(sets))
    assert encoding.form == "ids"
    assert encoding.label_names == [str(number) for number in sorted({number for row in sets for number in row})]
    assert matrix(encoded) == [[float(int(name) in row) for name in encoding.label_names] for row in sets]


@pytest.mark.parametrize(
    ("dataset", "arguments", "form", "words"),
    [
        (rows([["b", "a"], ["a"]]), {}, "names", "2 labels (a, b), read from the label names of each row"),
        (rows([[0], [1]]), {}, "ids", "ids otherwise"),
        (rows([[0, 1], [1, 0]]), {}, "multi_hot", "integers are multi-hot where all lists have one length above 1"),
        (rows([1, 0]), {"label_column": ["labels"]}, "columns", "one 0/1 column per label"),
        (rows(["a|b", "a"]), {"separator": "|"}, "separated", "one string per row, split at its separator"),
    ],
)
def test_pain_08_it_says_what_it_understood(dataset, arguments, form, words):
    encoding = encode_labels(dataset, **arguments)[1]
    assert encoding.form == form
    assert words in str(encoding)
    assert "A train row carries" in str(encoding)


@pytest.mark.parametrize(
    ("labels", "form", "expected"),
    [
        ([[0], [1], [1]], "ids", [[1, 0], [0, 1], [0, 1]]),
        ([[0, 1], [1], []], "ids", [[1, 1], [0, 1], [0, 0]]),
        ([[0, 1], [1, 2]], "ids", [[1, 1, 0], [0, 1, 1]]),
        ([[0, 1], [1, 1]], "multi_hot", [[0, 1], [1, 1]]),
        ([[0, 1], [], None, [1, 0]], "multi_hot", [[0, 1], [0, 0], [0, 0], [1, 0]]),
        ([[0, None], [1, -100]], "multi_hot", [[0, -100], [1, -100]]),
        ([[0, 0], [0, 0]], "multi_hot", [[0, 0], [0, 0]]),
    ],
)
def test_lists_of_integers_are_multi_hot_only_at_one_length_above_1_with_only_0_and_1(labels, form, expected):
    encoded, encoding = encode_labels(rows(labels))
    assert encoding.form == form
    assert matrix(encoded) == expected


def test_a_list_of_integers_is_judged_over_all_splits():
    dataset = DatasetDict({"train": rows([[0, 1], [1, 2]]), "test": rows([[0, 1]])})
    encoded, encoding = encode_labels(dataset)
    assert encoding.form == "ids"
    assert matrix(encoded["test"]) == [[1, 1, 0]]


@pytest.mark.parametrize(
    ("dataset", "arguments", "names", "expected"),
    [
        (rows(["b", None, " a ", ""]), {}, ["a", "b"], [[0, 1], [0, 0], [1, 0], [0, 0]]),
        (rows(["b, c", "a"]), {"label_names": ["a", "b, c"]}, ["a", "b, c"], [[0, 1], [1, 0]]),
        (rows([1, 0, None], ClassLabel(names=["no", "yes"])), {}, ["no", "yes"], [[0, 1], [1, 0], [0, 0]]),
        (rows([7, 3, 7]), {}, ["3", "7"], [[0, 1], [1, 0], [0, 1]]),
        (rows([0, 1]), {"label_names": ["a", "b"]}, ["a", "b"], [[1, 0], [0, 1]]),
    ],
)
def test_a_column_of_single_values_is_one_label_per_row(dataset, arguments, names, expected):
    encoded, encoding = encode_labels(dataset, **arguments)
    assert encoding.label_names == names
    assert matrix(encoded) == expected


@pytest.mark.parametrize("absent", [None, []])
def test_a_row_without_labels_is_a_row_of_zeros(absent):
    encoded, encoding = encode_labels(rows([["a"], absent, ["a", "a"]]))
    assert matrix(encoded) == [[1], [0], [1]]
    assert encoding.counts == {"a": 2}
    assert encoding.frequencies == {"a": 2 / 3}


@pytest.mark.parametrize("labels", [[[], []], [None, None], [[], None]])
def test_a_column_without_any_label_encodes_when_the_names_are_given(labels):
    encoded, encoding = encode_labels(rows(labels), label_names=["a", "b"])
    assert matrix(encoded) == [[0, 0], [0, 0]]
    assert encoding.counts == {"a": 0, "b": 0}
    assert encoded.features["labels"] == List(Value("float32"), length=2)


@pytest.mark.parametrize(
    ("train", "absent"),
    [(train, absent) for train in ([["a"]], [[0, 1]], [[0.0, 1.0]], [[5]]) for absent in ([[]], [None])]
    + [(["a"], [None]), ([3], [None])],
)
def test_a_test_split_may_have_no_labels_at_all(train, absent):
    encoded, encoding = encode_labels(DatasetDict({"train": rows(train), "test": rows(absent)}))
    assert matrix(encoded["test"]) == [[0] * len(encoding.label_names)]


BLANKS = [
    [[1, None], [0, 1], [1, 0]],
    [[1.0, -100.0], [0.0, 1.0], [1.0, 0.0]],
    [[True, None], [False, True], [True, False]],
]


@pytest.mark.parametrize("labels", BLANKS)
def test_an_ignored_entry_is_minus_100_in_every_0_1_form(labels):
    expected = [[1, -100], [0, 1], [1, 0]]
    encoded, encoding = encode_labels(rows(labels))
    assert matrix(encoded) == expected
    assert encoding.counts == {"LABEL_0": 2, "LABEL_1": 1}
    assert encoding.frequencies == {"LABEL_0": 2 / 3, "LABEL_1": 0.5}
    columns = Dataset.from_dict(dict(zip("ab", map(list, zip(*labels, strict=True)), strict=True)))
    assert matrix(encode_labels(columns, ["a", "b"])[0]) == expected


@pytest.mark.parametrize(
    ("edema", "mass"),
    [
        ([1, None, None], [None, 1, 0]),
        ([1.0, None, 1.0], [None, 1.0, 0.0]),
        ([True, None, None], [None, True, False]),
        (["1", None, ""], [" ", "1.0", "0"]),
        (["TRUE", "", None], [None, "true", "False"]),
        (["x", "", ""], ["", "X ", "no"]),
        (["Yes", "", None], ["", "y", "N"]),
        (["T", "", None], ["", "t", "f"]),
        ([1, -100, -100], [-100, 1, 0]),
    ],
)
def test_fault_01_a_label_that_is_nowhere_absent_is_an_error_and_blanks_can_mean_absent(edema, mass):
    dataset = Dataset.from_dict({"text": ["a", "b", "c"], "edema": edema, "mass": mass})
    with pytest.raises(
        ValueError, match=r"\['edema'\] \(1 of 2\) are nowhere 0 in split 'train'.*blank_label=\"absent\""
    ):
        encode_labels(dataset, ["edema", "mass"])
    if -100 not in edema:
        encoded, encoding = encode_labels(dataset, ["edema", "mass"], blank_label="absent")
        assert matrix(encoded) == [
            [int(str(label).strip().lower() in ("1", "1.0", "true", "t", "yes", "y", "x")) for label in row]
            for row in zip(edema, mass, strict=True)
        ]
        assert encoding.frequencies["mass"] == 1 / 3


@pytest.mark.parametrize("blank", ["NaN", "NA", "n/a", "null", "None"])
def test_fault_01_a_written_blank_is_a_blank(blank):
    dataset = Dataset.from_dict({"a": ["1", blank, "1"], "b": ["0", "1", "0"]})
    with pytest.raises(ValueError, match=r"\['a'\] \(1 of 2\) are nowhere 0"):
        encode_labels(dataset, ["a", "b"])
    assert matrix(encode_labels(dataset, ["a", "b"], blank_label="absent")[0]) == [[1, 0], [0, 1], [1, 0]]


def test_fault_01_a_few_blanks_are_counted_and_how_they_are_read_is_said():
    dataset = Dataset.from_dict({"a": ["1", "", "0"], "b": ["0", "1", ""]})
    encoding = encode_labels(dataset, ["a", "b"])[1]
    assert encoding.ignored == {"train": 2}
    assert re.search('2 zeros and ones of train are blank .* not observed.*`blank_label="absent"`', str(encoding))
    assert "not observed" not in str(encode_labels(dataset, ["a", "b"], blank_label="absent")[1])


def test_fault_01_columns_are_taken_by_name_where_label_names_are_given():
    dataset = Dataset.from_dict({"a": [1, 0, 0], "b": [1, 1, 0]})
    for columns in (["a", "b"], ["b", "a"]):
        assert encode_labels(dataset, columns, label_names=["b", "a"])[1].counts == {"b": 2, "a": 1}
    assert encode_labels(dataset, ["a", "b"], label_names=["x", "y"])[1].counts == {"x": 1, "y": 2}
    for names in (["b", "c"], ["a", "b", "c"], ["a"]):
        with pytest.raises(ValueError, match=r"`label_column` has \['a', 'b'\] for the labels"):
            encode_labels(dataset, ["a", "b"], label_names=names)


def test_fault_04_ids_are_names_again_where_labels_are_named_by_ids():
    names = encode_labels(rows([[0], [2], [5]]))[1].label_names
    assert matrix(encode_labels(rows([[5], [2, 0]]), label_names=names)[0]) == [[0, 0, 1], [1, 1, 0]]
    assert matrix(encode_labels(rows([[4], [0]]), label_names=["1", "2", "3", "4", "5"])[0])[0] == [0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"holds the id 2.* the label '2', or .*'5'"):
        encode_labels(rows([[0], [2]]), label_names=names)


def test_fault_01_holds_for_lists_with_blanks_and_for_every_split():
    with pytest.raises(ValueError, match=r"\['LABEL_1'\] .* split 'train'"):
        encode_labels(rows([[1, None], [0, 1]]))
    assert matrix(encode_labels(rows([[1, None], [0, 1]]), blank_label="absent")[0]) == [[1, 0], [0, 1]]
    splits = DatasetDict({"train": rows([[1, 0], [0, 1]]), "test": rows([[1, None], [None, 1]])})
    with pytest.raises(ValueError, match=r"\(2 of 2\) are nowhere 0 in split 'test'"):
        encode_labels(splits)
    partly = DatasetDict({"train": rows([[1, 0], [0, 1]]), "test": rows([[1, None], [0, 1]])})
    assert matrix(encode_labels(partly)[0]["test"]) == [[1, -100], [0, 1]]


def test_a_label_that_no_row_observes_or_that_every_row_has_is_kept():
    assert matrix(encode_labels(rows([[0, None], [1, None]]))[0]) == [[0, -100], [1, -100]]
    assert matrix(encode_labels(rows([[0, 1], [1, 1]]))[0]) == [[0, 1], [1, 1]]


def test_fault_04_0_1_columns_of_strings_are_numbers_and_other_strings_are_told():
    dataset = Dataset.from_dict({"a": ["1", "0"], "b": ["0.0", "1"]})
    assert matrix(encode_labels(dataset, ["a", "b"])[0]) == [[1, 0], [0, 1]]
    for value, message in {
        "2": "Row 1 .* has 2.0 for label 'b'",
        "?": "'b' of split 'train' is '\\?' in row 1",
    }.items():
        with pytest.raises(ValueError, match=message):
            encode_labels(Dataset.from_dict({"a": ["1", "0"], "b": ["0", value]}), ["a", "b"])
    with pytest.raises(ValueError, match="1 and 0") as error:
        encode_labels(Dataset.from_dict({"a": ["1", "0"], "b": ["0", "?"]}), ["a", "b"])
    assert "label_column='" not in str(error.value)


@pytest.mark.parametrize(
    ("strings", "separator", "proposal"),
    [
        (["rust scab", "scab", "rust", "none"], None, "separator=' '"),
        (["sport#news", "sport", "news"], None, "separator='#'"),
        (["a+b", "b", "a", "b+a", "c"], None, r"separator='\+'"),
        (["a/b", "b", "a"], None, "separator='/'"),
        (["a and b", "b", "a"], None, "separator=' and '"),
        (["a, b", "a"], None, "separator=','"),
        (["a; b, c", "a; b"], None, "separator=';'"),
        (["a\nb", "a"], None, r"--label_separator` as \$'\\n'"),
        (["a,b", "b", "a"], ";", "',' occurs in 1 of the 3"),
        (["a\nb", "b"], r"\n", r"\$'\\n'"),
        (["ab", "b"], ";", "leave `separator` out"),
        (["a && b", "b", "a"], None, "separator='&&'"),
        (["a__b", "b", "a"], None, "separator='__'"),
        ([r"a\nb", "b", "a"], None, "parts are labels too"),
        (["\u4f53\u80b2\u3001\u65b0\u95fb", "\u65b0\u95fb"], None, "one label or several"),
        (["('a')", "('b')"], None, "no list of names"),
        (["New York; Rome", "New York"], ",", "';' occurs in 1 of the 2"),
        (["a,b", "b", "a", "a;b"], ";", "',' must not join"),
        (["b;a", "b; a"], "; ", "';' must not join"),
    ],
)
def test_fault_05_a_separator_that_is_missing_or_wrong_is_an_error_with_a_proposal(strings, separator, proposal):
    with pytest.raises(ValueError, match=f"(?s){strings[0]!r}.*{proposal}|{proposal}"):
        encode_labels(rows(strings), separator=separator)


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        (["['a', 'b']", '["a"]', "{'b'}", "()", None, " "], [[1, 1], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]),
        ([str(["b", "a\\n's \""]), '["b", "a\\\\n\'s \\""]', "('b',)"], [[1, 1], [1, 1], [0, 1]]),
        (["[]", "set()", r'["\u00e9"]'], [[0], [0], [1]]),
    ],
)
def test_fault_05_lists_that_are_written_as_text_are_lists(strings, expected):
    encoded, encoding = encode_labels(rows(strings))
    assert matrix(encoded) == expected
    assert "in lists that are written as text" in str(encoding)
    splits = DatasetDict({"train": rows(strings), "test": rows([["b"], []])})
    assert matrix(encode_labels(splits, unknown_labels="drop")[0]["train"]) == expected


@pytest.mark.parametrize(
    ("strings", "words"),
    [
        (["['a']", "['a' 'b']"], r"\['a' 'b'\].* in row 1 of split 'train'.*str\.replace"),
        (["['a'\n 'b']"], r"row 0.*numpy.*str\.replace"),
        (["['a']", "['b']", "b"], "holds 'b' in row 2.*to_json"),
        (["[0, 1]", "[1]"], r"holds '\[0, 1\]' in row 0"),
        (["['a', nan]"], "nan"),
        (["{'a': 1}"], "no list of names"),
        (["[" * 9999 + "]"], "no list of names"),
    ],
)
def test_fault_05_a_written_list_that_cannot_be_read_is_an_error_with_its_row(strings, words):
    with pytest.raises(ValueError, match=words):
        encode_labels(rows(strings))


def test_fault_05_tags_that_we_wrote_to_csv_are_lists_again():
    names = ['caf\u00e9, \u2028"b"', "it's"]
    encoding = encode_labels(rows([json_text(names), json_text([])]))[1]
    assert encoding.label_names == names


def test_fault_05_what_mends_the_lists_of_numpy_mends_them():
    strings = pd.Series([str(np.array(each)) for each in (["it's", "b", "c"], ["b"])])
    mended = strings.str.replace(r"(['\"])\s+(['\"])", r"\1, \2", regex=True)
    assert matrix(encode_labels(rows(mended.tolist()))[0]) == [[1, 1, 1], [1, 0, 0]]


def test_fault_05_joined_names_in_lists_are_an_error_where_their_parts_are_labels():
    for joiner in ";,|#&":
        with pytest.raises(ValueError, match=f"a.*b'.*parts are labels.*{re.escape(repr(joiner))} must not join"):
            encode_labels(rows([["a", f"a{joiner}b"], ["b"]]))
    for names in (["Health, Education", "Health"], ["rust", "scab", "rust scab"], ["c", "c#", "f#"]):
        assert len(encode_labels(rows([[name] for name in names]))[1].label_names) == len(names)
    assert encode_labels(rows([["a;b", "a"], ["b"]]), label_names=["a;b", "a", "b"])[1].counts["a;b"] == 1


@pytest.mark.parametrize(
    ("strings", "arguments", "names"),
    [
        (["New York", "York", "New Delhi"], {}, ["New Delhi", "New York", "York"]),
        (["arts and crafts", "arts", "sand"], {}, ["arts", "arts and crafts", "sand"]),
        (["css-grid", "css", "grid", "sci-fi", "e-mail"], {}, ["css", "css-grid", "e-mail", "grid", "sci-fi"]),
        (["a b", "a", "b"], {"label_names": ["a", "b", "a b"]}, ["a", "b", "a b"]),
        (["a b", "a c"], {"separator": " "}, ["a", "b", "c"]),
        (["a", "b"], {"separator": ";", "label_names": ["a", "b"]}, ["a", "b"]),
        (["", None, "a;b"], {"separator": ";"}, ["a", "b"]),
    ],
)
def test_names_with_spaces_and_signs_are_names_where_their_parts_are_none(strings, arguments, names):
    assert encode_labels(rows(strings), **arguments)[1].label_names == names


LOOK_ALIKE = [
    "caf\u00e9 bar",
    "cafe\u0301 bar",
    "caf\u00e9\u00a0bar",
    "caf\u00e9  bar",
    "caf\u00e9\u200b bar",
    " caf\u00e9 bar",
    "\u202acaf\u00e9 bar\u202c",
    "caf\u00e9\u3164bar",
    "caf\u00e9 \u200dbar",
    "caf\u00e9\ufe0f bar",
    "caf\u00e9 b\x00ar",
    "caf\u00e9 bar\U000e0061",
]


@pytest.mark.parametrize("spelling", LOOK_ALIKE[1:])
def test_fault_07_names_that_look_alike_are_one_label_and_it_is_said(spelling):
    name = LOOK_ALIKE[0]
    for labels, arguments in (
        ([[name], [spelling], ["x"]], {}),
        ([name, spelling, "x"], {}),
        ([f"{name};x", f"{spelling};x", "x"], {"separator": ";"}),
    ):
        encoding = encode_labels(rows(labels), **arguments)[1]
        assert encoding.label_names == [name, "x"]
        assert encoding.counts[name] == 2
        if spelling.strip() == spelling or isinstance(labels[0], list):
            assert encoding.merged == {name: sorted([name, spelling])}
            assert "1 labels are written in several ways" in str(encoding)
    given = encode_labels(rows([[spelling]]), label_names=["x", name])[1]
    assert given.label_names == ["x", name] and given.counts == {"x": 0, name: 1}
    with pytest.raises(ValueError, match=r"`label_names`.* repeated"):
        encode_labels(rows([[name]]), label_names=[name, spelling])


def test_fault_07_joiners_and_tags_that_a_script_or_a_flag_needs_make_other_names():
    names = ["\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u062e", "\U0001f3f4\U000e0067", "\U0001f3f4\U000e0068"]
    assert set(encode_labels(rows([[name] for name in names]))[1].label_names) == set(names)


def test_fault_07_names_that_are_almost_written_alike_are_said():
    for pair in (["Sport", "sport"], ["\uff53port", "sport"], ["e-mail", "e\u2011mail"]):
        assert "1 groups of labels are almost written alike" in str(encode_labels(rows([pair]))[1])
    assert "alike" not in str(encode_labels(rows([["sport", "sports"]]))[1])


def test_a_name_that_is_written_in_one_way_stays_as_it_is():
    encoding = encode_labels(rows([["a  b", "c\u00a0d"], ["a  b"]]))[1]
    assert encoding.label_names == ["a  b", "c\u00a0d"] and not encoding.merged


def test_fault_11_rows_with_the_same_text_can_be_one_row():
    dataset = Dataset.from_dict({"text": ["a", "b", "a", "a"], "labels": ["x", "x", "y", "x"], "id": [1, 2, 3, 4]})
    encoded, encoding = encode_labels(dataset, group_column="text")
    assert encoded["text"][:] == ["a", "b"] and encoded["id"][:] == [1, 2]
    assert matrix(encoded) == [[1, 1], [1, 0]]
    assert encoding.counts == {"x": 2, "y": 1} and encoding.grouped == {"train": 2}
    assert "2 rows of train were merged" in str(encoding)
    blanks = Dataset.from_dict(
        {"text": ["a", "a", "b", "b", "c"], "labels": [[1, None], [0, None], [0, None], [0, 0], [1, 1]]}
    )
    assert matrix(encode_labels(blanks, group_column="text")[0]) == [[1, -100], [0, 0], [1, 1]]


def test_rows_of_files_are_told_by_file_and_counted_from_1():
    splits = DatasetDict({"train": rows([[1, 0], [0, 1]]), "test": rows([[1, 0], [2, 1]])})
    splits = splits.cast_column("labels", List(Value("float32")))
    with pytest.raises(ValueError, match=r"Row 2 of 'b\.csv' has 2\.0"):
        encode_labels(splits, files={"train": "a.csv", "test": "b.csv"})
    with pytest.raises(ValueError, match=r"Columns \['tags'\] are not in 'b\.csv'"):
        tagged = DatasetDict({"train": rows([["a"]], tags=[["a"]]), "test": rows([["a"]])})
        encode_labels(tagged, "tags", files={"test": "b.csv"})


def test_encoding_twice_changes_nothing():
    once, first = encode_labels(rows([["a"], ["b", "a"], []]))
    twice, second = encode_labels(once, label_names=first.label_names)
    assert matrix(twice) == matrix(once)
    assert second.counts == first.counts
    assert once.features == twice.features


@pytest.mark.parametrize("feature", [LargeList(Value("large_string")), List(Value("string"), length=2)])
def test_every_kind_of_list_feature_is_read(feature):
    encoded, _ = encode_labels(rows([["a", "b"], None, ["b", "c"]], feature).select([2, 1, 0]))
    assert matrix(encoded) == [[0, 1, 1], [0, 0, 0], [1, 1, 0]]


def test_class_names_win_over_ids_when_the_splits_order_them_differently():
    dataset = DatasetDict(
        {
            "train": rows([[0], [1]], List(ClassLabel(names=["a", "b"]))),
            "test": rows([[0], [1]], List(ClassLabel(names=["b", "a"]))),
        }
    )
    encoded, _ = encode_labels(dataset)
    assert matrix(encoded["train"]) == [[1, 0], [0, 1]]
    assert matrix(encoded["test"]) == [[0, 1], [1, 0]]
    assert matrix(encode_labels(dataset, label_names=["b", "a"])[0]["train"]) == [[0, 1], [1, 0]]


def test_other_columns_row_order_and_the_source_are_kept():
    source = rows([["a"], ["b"], ["c"]], tags=[["x"], ["y"], ["x"]]).remove_columns("labels")
    shuffled = source.select([2, 0, 1]).with_format("torch")
    encoded, encoding = encode_labels(shuffled, "tags")
    assert encoded.column_names == ["text", "labels"]
    assert encoded["text"][:] == ["text 2", "text 0", "text 1"]
    assert matrix(encoded) == [[1, 0], [1, 0], [0, 1]]
    assert encoding.label_names == ["x", "y"]
    assert source.column_names == ["text", "tags"]


@pytest.mark.parametrize("column", ["labels", "label", "tags", "topics", "categories", "genres", "keywords"])
def test_the_label_column_is_found_by_its_name(column):
    assert encode_labels(Dataset.from_dict({"text": [""], column: [["a"]]}))[1].label_names == ["a"]


def test_more_rows_than_one_batch_encode_in_order():
    labels = [[f"label {row % 7}"] if row % 5 else [] for row in range(2500)]
    encoded, encoding = encode_labels(rows(labels))
    found = [[encoding.label_names[index] for index in np.flatnonzero(row)] for row in matrix(encoded)]
    assert found == labels


# Unknown labels


def test_a_label_that_train_lacks_is_an_error_with_its_name_and_the_remedy():
    dataset = DatasetDict({"train": rows([["a"]]), "validation": rows([["a", "new"]]), "test": rows([["new"]])})
    with pytest.raises(ValueError, match=r"1 in 'validation': \['new'\]; 1 in 'test'.*label_names.*unknown_labels"):
        encode_labels(dataset)
    assert encode_labels(dataset, label_names=["new", "a"])[1].counts == {"new": 0, "a": 1}


def test_many_unknown_labels_are_counted_and_the_first_few_named():
    dataset = DatasetDict({"train": rows([["a"]]), "test": rows([[f"new{number}" for number in range(9)]])})
    with pytest.raises(ValueError, match=r"9 in 'test': \['new0', .*, 'new7' and 1 more\]"):
        encode_labels(dataset)


def test_dropped_labels_are_counted_by_split_and_row():
    dataset = DatasetDict({"train": rows([["a"]]), "test": rows([["new", "new", "a"], ["new", "b"]])})
    encoded, encoding = encode_labels(dataset, unknown_labels="drop")
    assert encoding.dropped == {"test": {"b": 1, "new": 2}}
    assert matrix(encoded["test"]) == [[1], [0]]
    assert "2 unknown labels were dropped from test (3 times)" in str(encoding)


def test_an_id_beyond_the_names_is_unknown_even_when_a_name_looks_like_it():
    dataset = rows([[0], [5]])
    with pytest.raises(ValueError, match="id 5"):
        encode_labels(dataset, label_names=["5", "7"])
    encoded, encoding = encode_labels(dataset, label_names=["5", "7"], unknown_labels="drop")
    assert matrix(encoded) == [[1, 0], [0, 0]]
    assert encoding.dropped == {"train": {"id 5": 1}}


# Bad labels


@pytest.mark.parametrize(
    ("dataset", "arguments", "message"),
    [
        (rows([["a"], ["b", None]]), {}, "Row 1 of split 'train' has the label None"),
        (rows([["a"], ["b"], [" "]]), {}, "Row 2 of split 'train' has the label ' '"),
        (rows([[None], []]), {"label_names": ["a"]}, "Row 0 of split 'train' has the label None"),
        (rows([[3], [4, -1]]), {}, "Row 1 of split 'train' has the label -1"),
        (rows([[3, None]]), {}, "Row 0 of split 'train' has the label None"),
        (rows([-1, 4]), {}, "Row 0 of split 'train' has the label -1"),
        (rows([[["a"]]]), {}, r"List\(List\(Value\('string'\)\)\).*no clear form"),
        (rows([{"a": 1}]), {}, "no clear form"),
        (rows([[{"a": 1}]]), {}, "no clear form"),
        (rows([0.5, 1.0]), {}, "no clear form"),
        (rows([True, False]), {}, r"no clear form.*label_column=\['labels'\]"),
        (rows([1, 0]), {}, r"no clear form.*label_column=\['labels'\].*label_names"),
        (rows([1, 0]), {"label_names": ["spam"]}, "no clear form"),
        (rows([[1.0, 0.0], [0.0, float("nan")]]), {}, "Row 1 of split 'train' has nan for label 'LABEL_1'"),
        (rows([[1.0, 0.0], [], [0.3, 0.0]]), {}, "Row 2 of split 'train' has 0.3.* threshold scores"),
        (rows([[1.0, 0.0], [1.0]]), {}, "Row 1 of split 'train' has 1 zeros and ones for 2 labels"),
        (
            rows([[1, 0], [1, 0]]),
            {"label_names": ["a", "b", "c"]},
            "Row 0 .* 2 zeros and ones for 3 labels.*ClassLabel",
        ),
        (rows(["a, b"]), {}, "'a, b': one label or several"),
        (rows(["a, b"]), {"label_names": ["a", "b"]}, "'a, b': one label or several"),
        (rows(["['a', 'b']"]), {"separator": ","}, "'a', 'b'.*row 0.*leave `separator`"),
        (rows(["a"]), {"separator": ""}, "`separator` is ''"),
        (rows([["a"]]), {"separator": ","}, "`separator` is ','"),
        (rows([[], []]), {}, "no label at all; pass `label_names`"),
        (rows([[], []], List(Value("string"))), {}, "no label at all; pass `label_names`"),
        (rows([[], []], List(Value("float32"))), {}, "empty; pass `label_names`"),
        (rows([["a"]]), {"label_column": "tags"}, r"Columns \['tags'\] are not in split 'train'"),
        (rows([["a"]]), {"label_column": ["labels"]}, "0/1 column per label.*label_column='labels'"),
        (rows([2, 1]), {"label_column": ["labels"]}, "Row 0 of split 'train' has 2.0 for label 'labels'"),
        (rows([float("nan")]), {"label_column": ["labels"]}, "has nan for label 'labels'"),
        (rows([0]), {"label_column": ["labels"], "label_names": ["a", "b"]}, "1 zeros and ones for 2 labels"),
        (rows([0]), {"label_column": ["labels"], "separator": ","}, "`separator` is ','"),
        (rows([0]), {"label_column": ["labels", "labels"]}, "each once"),
        (rows([0]), {"label_column": []}, "at least one column"),
        (rows([["a"]], tags=[["b"]]), {"label_column": "tags"}, r"\['labels'\] .*would overwrite"),
        (
            Dataset.from_dict({"label": [3], "tags": [["a"]]}),
            {"label_column": "tags"},
            r"\['label'\] .*would overwrite",
        ),
        (rows([["a"]], tags=[["b"]]), {}, r"\['labels', 'tags'\] are there"),
        (Dataset.from_dict({"text": ["a"]}), {}, r"none are there.*\['text'\]"),
        (rows([["a"]]), {"label_names": []}, "`label_names` must be"),
        (rows([["a"]]), {"label_names": "ab"}, "`label_names` must be"),
        (rows([["a"]]), {"label_names": ["a", "a"]}, r"\['a'\] repeated"),
        (rows([["a"]]), {"label_names": ["a", 1, ""]}, r"\[1, ''\] wrong"),
        (rows([["a"]]), {"unknown_labels": "ignore"}, "`unknown_labels` is 'ignore'"),
        (rows([["a"]]), {"blank_label": 0}, "`blank_label` is 0"),
        (rows([["a"]]).select([]), {}, "Split 'train' has no rows"),
        (DatasetDict({"train": rows([["a"]]), "test": rows([["a"]]).select([])}), {}, "Split 'test' has no rows"),
        (DatasetDict({"test": rows([["a"]])}), {}, r"The splits are \['test'\]"),
        (DatasetDict(), {}, r"The splits are \[\]"),
        (IterableDataset.from_generator(lambda: iter([{"labels": ["a"]}])), {}, "IterableDataset.*without streaming"),
        (DatasetDict({"train": rows([["a"]]), "test": rows([[1]])}), {}, "differs between the splits"),
        (DatasetDict({"train": rows([["a"]]), "test": rows(["a"])}), {}, "differs between the splits"),
        (DatasetDict({"train": rows(["a"]), "test": rows([[]])}), {}, "differs between the splits"),
    ],
)
def test_bad_labels_are_an_error_that_says_where_and_what_to_do(dataset, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        encode_labels(dataset, **arguments)


def from_csv(folder, name, lines, **a):
    (folder / name).write_text("text,labels\n" + "\n".join(lines) + "\n")
    return load_dataset("csv", data_files=str(folder / name), split="train", cache_dir=str(folder / "cache"), **a)


def test_empty_cells_of_a_csv_file_are_rows_without_labels(tmp_path):
    train = from_csv(tmp_path, "train.csv", ["one,a;b", "two,", "three,b"])
    test = from_csv(tmp_path, "test.csv", ["four,", "five,"])
    assert test.features["labels"] == Value("float64")
    encoded, encoding = encode_labels(DatasetDict({"train": train, "test": test}), separator=";")
    assert encoding.label_names == ["a", "b"]
    assert encoded["train"]["labels"][:] == [[1, 1], [0, 0], [0, 1]]
    assert encoded["test"]["labels"][:] == [[0, 0], [0, 0]]


def test_numbers_loaded_as_strings(tmp_path):
    lines = ["one,1", "two,", "three,3"]
    with pytest.raises(ValueError, match="load the column as `Value"):
        encode_labels(from_csv(tmp_path, "n.csv", lines), separator=";")
    features = Features({"text": Value("string"), "labels": Value("string")})
    encoded, encoding = encode_labels(
        from_csv(tmp_path, "n.csv", [*lines, "four,1;3"], features=features), separator=";"
    )
    assert encoding.label_names == ["1", "3"]
    assert encoded["labels"][:] == [[1, 0], [0, 0], [0, 1], [1, 1]]


def test_a_column_to_group_by_that_is_not_there_is_refused():
    rows = Dataset.from_dict({"text": ["a", "b"], "labels": [["x"], ["y"]]})
    with pytest.raises(ValueError, match=r"\['x'\] are not in"):
        encode_labels(rows, group_column="x")


@pytest.mark.parametrize("value", [1e-50, 1 + 1e-12, 1 - 1e-12])
def test_a_score_that_is_0_or_1_in_float32_alone_is_no_label(value):
    with pytest.raises(ValueError, match="for label 'LABEL_0'; it must be 0, 1"):
        encode_labels(Dataset.from_dict({"labels": [[value, 0.0], [0.0, 1.0]]}))
    with pytest.raises(ValueError, match="for label 'red'; it must be 0, 1"):
        encode_labels(Dataset.from_dict({"red": [str(value), "0"]}), ["red"])
