import warnings

import numpy as np
import pytest

from hf_rnn_multilabel.evaluation import linear_scores


# Fruit, vehicle, in every text, in none.
TEXTS = [
    "a ripe apple",
    "the red car",
    "apple and pear",
    "a car on the road",
    "pear or apple",
    "road without a car",
] * 5
LABELS = np.array([[1, 0, 1, 0], [0, 1, 1, 0]] * 15, dtype=float)
NEW = ["an apple", "my car", "apple in a car", "zebra", ""]


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_labels_of_a_toy_set_are_learned():
    (scores,) = linear_scores(TEXTS, LABELS[:, :2], NEW)
    assert scores.shape == (5, 2)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[0, 0] > 0.7 > 0.3 > scores[0, 1]
    assert scores[1, 1] > 0.7 > 0.3 > scores[1, 0]


def test_each_collection_gets_its_own_scores_in_its_order():
    both = linear_scores(TEXTS, LABELS, NEW, NEW[::-1])
    assert [len(scores) for scores in both] == [5, 5]
    np.testing.assert_allclose(both[0], both[1][::-1])
    assert linear_scores(TEXTS, LABELS) == []


def test_a_label_of_all_texts_scores_1_and_one_of_none_scores_0():
    (scores,) = linear_scores(TEXTS, LABELS, NEW)
    assert (scores[:, 2] == 1).all()
    assert (scores[:, 3] == 0).all()
    np.testing.assert_allclose(scores[:, :2], linear_scores(TEXTS, LABELS[:, :2], NEW)[0])


def test_labels_none_of_which_varies_need_no_training():
    (scores,) = linear_scores(TEXTS, LABELS[:, 2:], NEW)
    assert scores.tolist() == [[1, 0]] * 5


def test_a_single_label_has_the_scores_that_it_has_among_others():
    (scores,) = linear_scores(TEXTS, LABELS[:, :1], NEW)
    assert scores.shape == (5, 1)
    np.testing.assert_allclose(scores, linear_scores(TEXTS, LABELS, NEW)[0][:, :1])


def test_an_ignored_label_counts_as_absent():
    ignored = np.where(LABELS == 0, -100, LABELS)
    np.testing.assert_array_equal(linear_scores(TEXTS, ignored, NEW)[0], linear_scores(TEXTS, LABELS, NEW)[0])


def test_the_scores_are_the_same_in_every_run():
    np.testing.assert_array_equal(linear_scores(TEXTS, LABELS, NEW)[0], linear_scores(TEXTS, LABELS, NEW)[0])


def test_only_so_many_features_are_kept():
    # "car" and "apple" are the most frequent.
    (scores,) = linear_scores(TEXTS, LABELS, ["pear", "zebra", "apple"], max_features=2)
    assert scores[0].tolist() == scores[1].tolist() != scores[2].tolist()


@pytest.mark.parametrize(
    ("texts", "first", "second"),
    [
        (["我喜欢苹果和梨", "红色的汽车很快"], "苹果树", "这辆汽车"),
        (["りんごを食べる", "車で行く道"], "りんご", "車"),
        (["กินแอปเปิ้ล", "ขับรถยนต์"], "แอปเปิ้ล", "รถ"),
        (["사과를 먹는다", "자동차 도로"], "사과를", "자동차"),
        (["яблоко и груша", "красная машина"], "ЯБЛОКО", "машина"),
    ],
    ids=["chinese", "japanese", "thai", "korean", "russian"],
)
def test_scripts_with_and_without_spaces_are_learned(texts, first, second):
    (scores,) = linear_scores(texts * 10, LABELS[:20, :2], [first, second])
    assert scores[0, 0] > 0.6 > 0.4 > scores[0, 1]
    assert scores[1, 1] > 0.6 > 0.4 > scores[1, 0]


@pytest.mark.parametrize(
    "texts",
    [["", ""], ["a b", "c d"], ["?!", "..."], ["one two", "three four"], ["alone"], []],
    ids=["empty", "single letters", "signs", "nothing twice", "one text", "no text"],
)
def test_texts_of_which_no_word_is_kept_are_refused_with_the_remedy(texts):
    message = rf"No two of the {len(texts)} training texts have a word in common.* more texts, or leave it out"
    with pytest.raises(ValueError, match=message):
        linear_scores(texts, np.ones((len(texts), 2)), NEW)
