"""Names that look alike are compared by one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_rnn_multilabel.data.label_names import check_label_names, normalize_label


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        (" a\t\u00a0b\u3000 ", "a b"),
        ("a\ufe00\U000e0100\u17b4\U0001d173", "a"),
        ("a\u200bb\ufeff", "ab"),
        ("cafe\u0301", "café"),
        ("\u1100\u1161", "가"),
        # Joiners change words of Persian and of emoji, and letters of other cases or widths are other names.
        ("می\u200cخواهم", "می\u200cخواهم"),  # noqa: RUF001
        ("👩\u200d👩", "👩\u200d👩"),
        ("Ａ", "Ａ"),  # noqa: RUF001
        ("A", "A"),
        (" \u200b ", ""),
    ],
)
def test_white_space_invisible_characters_and_accents_have_one_spelling(name, expected):
    assert normalize_label(name) == expected


@given(st.text() | st.text("a\u00e9\u0301\u200b\u200c\u200d\u3000\u3164\u212a\U0001f3f4\U000e0061 \x00"))
def test_the_spelling_of_a_spelling_is_itself(name):
    assert normalize_label(normalize_label(name)) == normalize_label(name)


@pytest.mark.parametrize(
    "names", [[], "ab", ["a", ""], ["a", "\u200b"], ["a", 1], ["a", "a"], ["a", "\ud83d"], ["a b", "a\u00a0b"]]
)
def test_labels_that_are_no_list_of_different_names_are_an_error(names):
    with pytest.raises(ValueError, match="`label_names` must be"):
        check_label_names(names)


def test_labels_keep_their_spelling_but_for_the_ends():
    assert check_label_names([" a  b ", "c"]) == ["a  b", "c"]


@pytest.mark.parametrize("names", [["a", "\ud800"], ["\udfff b"], 3, None, {"a": 0}], ids=ascii)
def test_fault_12_names_that_no_file_can_hold_and_what_is_no_list_are_refused(names):
    with pytest.raises(ValueError, match="`label_names`"):
        check_label_names(names)
