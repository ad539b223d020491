"""Rows of any types become one table, or an error that names the column."""

import pytest

from hf_rnn_multilabel.data.sources import load_rows


@pytest.mark.parametrize("labels", [[None, None], [[None, None]], {"a": [None, None]}])
def test_a_list_of_nothing_but_none_is_a_column_like_others(labels):
    rows = [{"text": "a", "labels": labels}]
    assert load_rows(rows)["train"].to_list() == rows


@pytest.mark.parametrize("name", ["\0", "a\0b", "\ud800", 3], ids=ascii)
def test_fault_12_a_name_that_no_column_can_have_is_refused(name):
    with pytest.raises(ValueError, match="name of a column") as error:
        load_rows([{"text": "a", name: 0}])
    assert repr(name) in str(error.value)
