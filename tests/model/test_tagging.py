"""The protocol of tagging, with a tagger whose logits are known."""

import math
import re
from collections import UserList
from fractions import Fraction

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from hf_rnn_multilabel.model import tagging
from hf_rnn_multilabel.model.tagging import (
    TagChooser,
    Tagger,
    TaggingOptions,
    as_texts,
    choose_thresholds,
    shorten,
    sigmoid,
    windows,
)


LABELS = ["lighting", "office", "wood", "garden"]
TEXTS = ["a lamp", "", "a desk, a lamp and a chair", "☃ ☄", "wood"]


class LengthTagger(Tagger):
    """A text of n characters has the logits (n - 6) * (1, 2, -1, 0); texts are run in batches, the last one first."""

    def __init__(self, **options):
        self.windows = []
        self._set_options(TaggingOptions(**options))

    @property
    def label_names(self):
        return LABELS

    @property
    def _own_thresholds(self):
        return {"lighting": 0.4, "office": 0.55, "wood": 0.3, "garden": 0.5}

    def _run(self, texts, options):
        self.windows.append(len(texts))
        size = options.batch_size or tagging.BATCH_SIZE
        for start in reversed(range(0, len(texts), size)):
            rows = range(start, min(start + size, len(texts)))
            logits = [[(len(texts[row]) - 6.0) * factor for factor in (1, 2, -1, 0)] for row in rows]
            yield rows, np.array(logits, dtype=np.float32)

    def _empty_logits(self, texts):
        return np.empty((texts, len(LABELS)), dtype=np.float32)


def names_of(tags: list[dict]) -> list[str]:
    return [tag["label"] for tag in tags]


# Messages


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["a"], "a"),
        (list("abc"), "a, b, c"),
        (list("abcd"), "a, b, c and 1 more"),
        (iter(range(8_202)), "0, 1, 2 and 8,199 more"),
        (["x" * 100], "x" * 80),
    ],
)
def test_a_long_list_is_shortened(names, expected):
    assert shorten(names, count=3) == expected


def test_eight_names_are_shown_by_default():
    assert shorten("abcdefghij") == "a, b, c, d, e, f, g, h and 2 more"


def test_fault_39_a_message_about_thousands_of_labels_is_short():
    own = {f"label {number}": 0.5 for number in range(8_207)}
    with pytest.raises(ValueError, match=r"`threshold` .*typo; .*label 0, .* and 8,199 more") as raised:
        choose_thresholds({"typo": 0.5}, own)
    assert len(str(raised.value)) < 300


# Scores


def test_a_sigmoid_is_the_nearest_float32_without_a_warning(recwarn):
    logits = np.concatenate([np.linspace(-130, 130, 10_001), [-1e30, 1e30, -np.inf, np.inf]]).astype(np.float32)
    scores = sigmoid(logits)
    assert scores.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(scores, expit(logits.astype(np.float64)).astype(np.float32))
    assert np.isnan(sigmoid(np.array([np.nan]))).all()
    assert not recwarn.list


# Arguments


@pytest.mark.parametrize("value", [0, 1, 0.5, Fraction(1, 4), np.float32(0.5), np.float64(1), np.int64(0)], ids=str)
def test_a_threshold_is_any_number_from_0_to_1(value):
    assert set(choose_thresholds(TaggingOptions(threshold=value).threshold, {"a": 0.1, "b": 0.2}).values()) == {value}
    assert choose_thresholds(TaggingOptions(threshold={"b": value}).threshold, {"a": 0.1, "b": 0.2}) == {
        "a": 0.1,
        "b": value,
    }


@pytest.mark.parametrize(
    "value",
    ["0.5", [0.5], (0.5,), np.array(0.5), np.array([0.5]), math.nan, math.inf, -0.1, 1.5, True, np.True_, 1j, b"1"],
    ids=repr,
)
def test_fault_28_39_any_other_threshold_is_an_error_that_shows_it(value):
    with pytest.raises(ValueError, match=re.escape(f"`threshold` is {value!r:.200}")):
        TaggingOptions(threshold=value)
    with pytest.raises(ValueError, match=re.escape(f"`threshold` of 'wood' is {value!r:.200}")):
        TaggingOptions(threshold={"wood": value})


@pytest.mark.parametrize("name", ["top_k", "max_length", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True, math.inf, np.array([2])], ids=repr)
def test_fault_28_39_a_size_is_a_whole_number_of_at_least_1(name, value):
    assert getattr(TaggingOptions(**{name: np.int64(3)}), name) == 3
    with pytest.raises(ValueError, match=re.escape(f"`{name}` is {value!r}")):
        TaggingOptions(**{name: value})


@pytest.mark.parametrize("name", ["at_least_one", "truncation"])
@pytest.mark.parametrize("value", [0, 1, "yes", "longest_first"])
def test_a_switch_is_true_or_false(name, value):
    with pytest.raises(ValueError, match=re.escape(f"`{name}` is {value!r}")):
        TaggingOptions(**{name: value})


def test_the_options_of_a_call_come_before_those_of_the_constructor():
    own = TaggingOptions(threshold=0.1, top_k=2, at_least_one=True, batch_size=8)
    merged = TaggingOptions(top_k=3, at_least_one=False).over(own)
    assert merged == TaggingOptions(threshold=0.1, top_k=3, at_least_one=False, batch_size=8)
    whole, truncated = TaggingOptions(truncation=False), TaggingOptions(max_length=4)
    assert whole.over(truncated) == whole
    assert truncated.over(whole) == TaggingOptions(truncation=True, max_length=4)


def test_a_tagger_has_the_thresholds_of_its_constructor_over_its_own():
    assert LengthTagger().thresholds == {"lighting": 0.4, "office": 0.55, "wood": 0.3, "garden": 0.5}
    tagger = LengthTagger(threshold={"wood": 0.9})
    assert tagger.thresholds == {"lighting": 0.4, "office": 0.55, "wood": 0.9, "garden": 0.5}
    assert names_of(tagger("wood", threshold={"garden": 1})) == []
    assert names_of(tagger("wood", threshold={"wood": 0.5})) == ["wood", "garden"]
    with pytest.raises(ValueError, match=r"`threshold` .*oak; "):
        LengthTagger(threshold={"oak": 0.9})


# Choice


def slow_tags(scores, thresholds, top_k, at_least_one) -> list[dict]:
    """The tags of one text, one label at a time."""
    chosen = [index for index, score in enumerate(scores) if score >= thresholds[index]]
    if at_least_one and not chosen:
        chosen = [max(range(len(scores)), key=lambda index: scores[index] - thresholds[index])]
    chosen.sort(key=lambda index: -scores[index])
    return [{"label": LABELS[index], "score": float(scores[index])} for index in chosen[:top_k]]


# Few values, so that many scores are equal to each other and to thresholds.
few_logits = st.sampled_from([-200, -1, 0, 1, 17, 200]) | st.floats(-30, 30, width=32)
rows_of_logits = st.lists(st.lists(few_logits, min_size=4, max_size=4), min_size=1, max_size=5)
few_thresholds = st.sampled_from([0, 1e-45, 1e-30, 0.5, 1, *(float(sigmoid(np.float32(x))) for x in (-1, 1, 17))])


@settings(deadline=None)
@given(
    rows_of_logits,
    st.lists(few_thresholds | st.floats(0, 1), min_size=4, max_size=4),
    st.sampled_from([None, 1, 2, 3, 9]),
    st.booleans(),
)
def test_a_batch_gets_the_tags_of_its_texts_one_label_at_a_time(rows, thresholds, top_k, at_least_one):
    logits = np.array(rows, dtype=np.float32)
    found = TagChooser(dict(zip(LABELS, thresholds, strict=True)), top_k, at_least_one)(logits)
    in_float32 = np.array(thresholds, dtype=np.float32)
    assert found == [slow_tags(row, in_float32, top_k, at_least_one) for row in sigmoid(logits)]


@settings(deadline=None)
@given(st.floats(-60, 30, width=32))
def test_a_score_equal_to_its_threshold_is_a_tag_and_one_below_is_none(value):
    logits = np.array([[value]], dtype=np.float32)
    score = sigmoid(logits)[0, 0]
    assert TagChooser({"a": float(score)})(logits) == [[{"label": "a", "score": float(score)}]]
    if score < 1:
        assert TagChooser({"a": float(np.nextafter(score, np.float32(2)))})(logits) == [[]]


def test_a_threshold_is_compared_in_float32():
    # The float32 nearest to .55 is above it, that of .7 below.
    logits = logit(np.array([[0.55, 0.7]])).astype(np.float32)
    near = [logits + np.float32(step) * np.spacing(logits) for step in range(-20, 21)]
    found = [TagChooser({"a": 0.55, "b": 0.7})(row)[0] for row in near]
    for row, tags in zip(near, found, strict=True):
        expected = sigmoid(row)[0] >= np.array([0.55, 0.7], dtype=np.float32)
        assert {tag["label"] for tag in tags} == {name for name, is_tag in zip("ab", expected, strict=True) if is_tag}
    assert len({len(tags) for tags in found}) > 1


def test_logits_that_are_no_numbers_are_an_error_with_the_text():
    class Broken(LengthTagger):
        def _run(self, texts, options):
            for rows, logits in super()._run(texts, options):
                yield rows, np.where(logits == 2, np.nan, logits)

    texts = ["a lamp"] * 8
    assert Broken()(texts, batch_size=3) == LengthTagger()(texts)
    with pytest.raises(ValueError, match="The logits of text 6 are not numbers"):
        Broken()([*texts[:6], "a lamp's", "a lamp"], batch_size=3)


# Texts


@pytest.mark.parametrize("batch_size", [None, 1, 2])
@pytest.mark.parametrize(
    "kind",
    [
        list,
        tuple,
        UserList,
        np.array,
        lambda texts: np.array(texts, object),
        lambda texts: Dataset.from_dict({"t": texts})["t"],
    ],
    ids=["list", "tuple", "UserList", "array", "array of objects", "column"],
)
def test_a_sequence_gives_a_list_of_lists_in_its_order(kind, batch_size):
    tagger = LengthTagger()
    found = tagger(kind(TEXTS), batch_size=batch_size)
    assert type(found) is list
    assert found == [tagger(text) for text in TEXTS]
    np.testing.assert_array_equal(tagger.logits(kind(TEXTS), batch_size=batch_size)[:, 1], [0, -12, 40, -6, -4])


def test_a_series_of_pandas_is_a_sequence_and_a_table_is_none():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": TEXTS}, index=range(5, 10))
    assert LengthTagger()(table["text"]) == LengthTagger()(TEXTS)
    with pytest.raises(ValueError, match="of type DataFrame; give a string"):
        LengthTagger()(table)
    with pytest.raises(ValueError, match="Text 1 to tag is nan, of type float"):
        LengthTagger()(pandas.Series(["a lamp", None, "a desk"]))


class ByIndex:
    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, index):
        return TEXTS[index]


class WithoutLength:
    def __iter__(self):
        return iter(TEXTS)


@pytest.mark.parametrize("kind", [iter(TEXTS), (text for text in TEXTS), map(str, TEXTS), ByIndex(), WithoutLength()])
def test_an_iterator_gives_an_iterator(kind):
    found = LengthTagger()(kind)
    assert iter(found) is found
    assert list(found) == LengthTagger()(TEXTS)


@pytest.mark.parametrize(("batch_size", "window"), [(None, 1), (1, 1), (2, 2 * tagging.WINDOW_BATCHES)])
def test_an_iterator_is_read_as_its_tags_are(batch_size, window):
    read = []
    tags = LengthTagger()((text for text in TEXTS * 100 if read.append(text) is None), batch_size=batch_size)
    assert read == []
    next(tags)
    assert len(read) == window
    assert len(list(tags)) == 499


def test_no_texts_give_no_tags():
    assert LengthTagger()([]) == LengthTagger()(()) == list(LengthTagger()(iter([]))) == []
    assert LengthTagger().logits([]).shape == (0, 4)


def test_fault_39_one_text_is_one_text():
    assert LengthTagger()("a lamp for the de") == LengthTagger()(["a lamp for the de"])[0]
    assert LengthTagger().logits("a lamp for the de").shape == (1, 4)
    assert LengthTagger()(np.array(["a lamp"])[0]) == LengthTagger()("a lamp")


@pytest.mark.parametrize(
    "text",
    [None, math.nan, 7, {"text": "a lamp"}, {"a lamp"}, b"lamp", np.array("a lamp"), np.array([["a lamp"]])],
    ids=str,
)
def test_fault_39_what_holds_no_texts_is_an_error(text):
    for call in (LengthTagger(), LengthTagger().logits):
        with pytest.raises(ValueError, match=f"A text to tag is .*, of type {type(text).__name__}; give a string"):
            call(text)


@pytest.mark.parametrize("text", [None, math.nan, 7, {"text": "a lamp"}, b"lamp", ["a lamp"]], ids=str)
def test_a_text_that_is_no_string_is_an_error_with_its_row(text):
    texts = ["a lamp"] * 5 + [text]
    for call in (
        LengthTagger(),
        LengthTagger().logits,
        lambda texts, **sizes: list(LengthTagger()(iter(texts), **sizes)),
    ):
        with pytest.raises(ValueError, match=f"Text 5 to tag is .*, of type {type(text).__name__}; give a string"):
            call(texts, batch_size=2)


def test_the_rows_of_a_dataset_are_no_texts():
    with pytest.raises(ValueError, match=r"Text 0 to tag is .*, of type dict; "):
        LengthTagger()(Dataset.from_dict({"text": TEXTS}))


def test_fault_12_half_a_surrogate_pair_is_an_error_with_its_row():
    with pytest.raises(ValueError, match=r"Text 1 to tag has '\\ud83d' at character 7"):
        LengthTagger()(["a lamp", "a lamp \ud83d", "☃"])


def test_a_misspelt_argument_is_an_error():
    with pytest.raises(TypeError, match="treshold"):
        LengthTagger()("a lamp", treshold=0.9)
    with pytest.raises(TypeError, match="treshold"):
        LengthTagger(treshold=0.9)


def test_a_window_of_long_texts_holds_few_of_them(monkeypatch):
    monkeypatch.setattr(tagging, "WINDOW_CHARACTERS", 30)
    texts = ["a" * 10] * 5 + ["a" * 100, "", "a"]
    assert [(start, len(window)) for start, window in windows(texts, 100)] == [(0, 3), (3, 3), (6, 2)]
    assert [(start, len(window)) for start, window in windows(texts, 2)] == [(0, 2), (2, 2), (4, 2), (6, 2)]
    tagger = LengthTagger()
    assert tagger(texts) == [LengthTagger()(text) for text in texts]
    assert tagger.windows == [3, 3, 2]


def test_what_is_to_be_read_as_a_stream_is_told():
    assert [as_texts(texts)[1] for texts in ([], (), np.array(["a"]), ByIndex(), WithoutLength(), iter([]))] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]
