"""What is counted of texts while they are read."""

import pytest
from datasets import Dataset

from hf_rnn_multilabel.data.columns import Origin
from hf_rnn_multilabel.data.text_facts import TextFacts


TEXTS = ["a lamp", "", " \t", "0049", "1.5e3", "lamp", "text", '"a ""b"""', '"a" and "b"', '""', "â€œa", "a b\ufffd"]


def facts_of(texts, parts=1, max_length=2) -> TextFacts:
    facts = TextFacts(max_length)
    facts.column = "text"
    size = -(-len(texts) // parts)
    for start in range(0, len(texts), size):
        facts.add(texts[start : start + size])
    return facts


@pytest.mark.parametrize("parts", [1, 3, 12])
def test_signs_are_counted_and_the_first_of_each_is_kept(parts):
    facts = facts_of(TEXTS, parts)
    assert (facts.rows, facts.empty, facts.missing) == (12, 2, 0)
    assert facts.counts == {"number": 2, "word": 3, "header": 1, "garbled": 2} | {"word": facts.counts["word"]}
    assert facts.first["number"] == (3, "0049") and facts.first["garbled"] == (10, "â€œa")
    assert facts.characters == sum(map(len, TEXTS))
    # Texts that are empty or white space alone are one.
    assert (facts.hashes == facts_of(TEXTS).hashes).all() and len(set(facts.hashes)) == 11


def test_a_text_is_long_by_its_words_and_not_by_its_characters():
    assert facts_of(["a b", "a b c", "aaaaaaaaaaaaaa", " a  b  "]).long == 1


def test_a_missing_text_is_an_error_with_the_first_row_and_how_many():
    facts = TextFacts(5)
    facts.column = "text"
    facts.add_rows(Dataset.from_dict({"text": ["a", None, "b", None]}))
    with pytest.raises(ValueError, match=r"Row 1 of split 'train' has None as its text .*2 rows"):
        facts.check("train", Origin())
    facts = TextFacts(5)
    facts.column = "text"
    facts.add_rows(Dataset.from_dict({"text": [1, 2]}))
    with pytest.raises(ValueError, match=r"'text' of 'a\.csv' holds .*int64.*not strings"):
        facts.check("train", Origin({"train": "a.csv"}))
