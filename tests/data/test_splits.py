"""Two parts of encoded rows: disjoint, complete, with similar label frequencies, no text in both."""

import numpy as np
import pytest
from datasets import (
    Dataset,
    DatasetDict,
    List,
    Value,
    disable_progress_bars,
    enable_progress_bars,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_rnn_multilabel.data import encode_labels, label_frequencies, stratified_split


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


def imbalanced(total, num_labels, seed=0):
    """Encoded rows, whose labels get rarer with their index."""
    shares = 0.5 / np.arange(1, num_labels + 1)
    hot = np.random.default_rng(seed).random((total, num_labels)) < shares
    feature = List(Value("float32"), length=num_labels)
    return rows(hot.astype(np.float32).tolist(), feature, number=list(range(total)))


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 60), st.integers(1, 6), st.floats(0.1, 0.9), st.integers(0, 99))
def test_pain_19_the_split_is_disjoint_complete_and_in_order(total, num_labels, test_size, seed):
    dataset = imbalanced(total, num_labels, seed)
    try:
        split = stratified_split(dataset, test_size, seed=seed)
    except ValueError:
        assert total * test_size > total - 1 or total < 10
        return
    numbers = {part: split[part]["number"][:] for part in ("train", "test")}
    assert sorted(numbers["train"] + numbers["test"]) == list(range(total))
    assert all(numbers[part] == sorted(numbers[part]) and numbers[part] for part in numbers)


def test_pain_19_label_frequencies_are_similar_and_reported():
    dataset = imbalanced(1000, 10)
    shares = label_frequencies(stratified_split(dataset, 0.2))
    assert list(shares) == ["train", "test"]
    assert np.allclose(shares["train"], shares["test"], atol=0.01)
    assert np.allclose(label_frequencies(dataset)["train"], np.mean(matrix(dataset), axis=0))
    unstratified = label_frequencies(DatasetDict(dataset.train_test_split(0.2, seed=0)))
    assert not np.allclose(unstratified["train"], unstratified["test"], atol=0.01)


def test_pain_19_labels_too_rare_to_split_do_not_shrink_the_test_part():
    hot = np.concatenate([np.eye(400), np.arange(400)[:, None] % 2], axis=1)
    split = stratified_split(rows(hot.tolist(), List(Value("float32"), length=401)), 0.1)
    assert 36 <= len(split["test"]) <= 44
    shares = label_frequencies(split)
    assert abs(shares["train"][-1] - shares["test"][-1]) < 0.02


def test_the_split_repeats_with_its_seed_and_changes_with_another():
    dataset = imbalanced(100, 4)
    first, again, other = (stratified_split(dataset, 20, seed=seed)["test"]["number"][:] for seed in (1, 1, 2))
    assert first == again != other


def test_an_unknown_label_counts_as_absent_in_the_split_and_not_in_the_shares():
    hot = np.array(matrix(imbalanced(60, 4)))
    unknown = (np.random.default_rng(1).random(hot.shape) < 0.3) & (hot == 0)
    feature = List(Value("float32"), length=4)
    with_zeros = rows(hot.tolist(), feature)
    with_unknown = rows(np.where(unknown, -100, hot).tolist(), feature)
    assert (
        stratified_split(with_unknown, 0.3)["test"]["text"][:] == stratified_split(with_zeros, 0.3)["test"]["text"][:]
    )
    assert np.allclose(label_frequencies(with_unknown)["train"], hot.sum(axis=0) / (~unknown).sum(axis=0))


@pytest.mark.parametrize("test_size", [0, 0.0, 3, 1.0, 4, -1, 1.5])
def test_a_split_with_an_empty_part_is_an_error(test_size):
    dataset, _ = encode_labels(rows([["a"], ["b"], ["a", "b"]]))
    with pytest.raises(ValueError, match=f"`test_size` {test_size} leaves"):
        stratified_split(dataset, test_size)


def test_one_row_cannot_be_split():
    with pytest.raises(ValueError, match="of 1 rows"):
        stratified_split(encode_labels(rows([["a"]]))[0], 0.5)


@pytest.mark.parametrize("labels", [[["a"], ["b"]], [[1.0, 0.0], [0.0, 1.0]]])
def test_splitting_needs_encoded_labels(labels):
    with pytest.raises(ValueError, match="call `encode_labels` first"):
        stratified_split(rows(labels), 0.5)
    with pytest.raises(ValueError, match="call `encode_labels` first"):
        label_frequencies(rows(labels))


def test_splitting_takes_one_split():
    with pytest.raises(ValueError, match=r'pass one split, such as `dataset\["train"\]`'):
        stratified_split(DatasetDict({"train": imbalanced(10, 2)}), 0.5)
