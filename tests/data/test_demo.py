import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

import hf_rnn_multilabel
from hf_rnn_multilabel.evaluation import apply_thresholds, decision_metrics, linear_scores, tune_thresholds


FOLDER = Path(hf_rnn_multilabel.__file__).parent / "data" / "demo"
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def splits():
    return {
        split: [json.loads(line) for line in (FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        for split in SPLITS
    }


@pytest.fixture(scope="module")
def rows(splits):
    return [row for split in SPLITS for row in splits[split]]


@pytest.fixture(scope="module")
def card():
    return (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def described(card):
    """Tag -> number of texts, as the card's table has them."""
    return {tag: int(count) for tag, count in re.findall(r"^\| (\w+) \| .* \| (\d+) \|$", card, re.MULTILINE)}


def words(text):
    return re.findall(r"\w+", text.lower())


def test_a_line_is_a_text_and_its_tags(rows):
    for row in rows:
        assert list(row) == ["text", "labels"]
        assert len(words(row["text"])) >= 5
        assert row["text"] == " ".join(row["text"].split())


def test_about_nine_hundred_texts_most_with_two_tags_or_more(rows):
    assert 850 <= len(rows) <= 950
    counts = Counter(len(row["labels"]) for row in rows)
    assert sum(counts[size] for size in counts if size >= 2) > 0.9 * len(rows)
    assert set(counts) == {1, 2, 3, 4, 5}


def test_the_tags_are_those_of_the_card_sorted_and_different(rows, described):
    assert 14 <= len(described) <= 18
    assert list(described) == sorted(described)
    for row in rows:
        assert row["labels"] == sorted(set(row["labels"]))
        assert set(row["labels"]) <= set(described)


def test_the_counts_of_the_card_are_those_of_the_files(splits, rows, described, card):
    assert described == Counter(tag for row in rows for tag in row["labels"])
    sizes = {split: len(splits[split]) for split in SPLITS}
    assert card.count(f"{len(rows)} short descriptions") == 1
    assert f"of {len(described)} tags" in card
    assert "{train} to train on, {validation} for validation, {test} to test on".format(**sizes) in card


def test_the_metadata_of_the_card_is_yaml(card):
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["license"] == "cc0-1.0"
    assert metadata["task_categories"] == ["text-classification"]


def test_no_two_texts_share_a_run_of_eight_words(rows):
    seen = {}
    for number, row in enumerate(rows):
        found = words(row["text"])
        for run in {tuple(found[start : start + 8]) for start in range(len(found) - 7)}:
            assert seen.setdefault(run, number) == number, f"{run} stands in {rows[seen[run]]['text']!r} too"


def test_the_splits_are_disjoint(rows):
    assert len({tuple(words(row["text"])) for row in rows}) == len(rows)


def test_each_tag_has_about_the_same_share_in_every_split(splits, described):
    for tag in described:
        shares = [np.mean([tag in row["labels"] for row in splits[split]]) for split in SPLITS]
        assert max(shares) - min(shares) < 0.01, tag


def test_a_linear_model_learns_the_tags(splits, described):
    texts = {split: [row["text"] for row in splits[split]] for split in SPLITS}
    truth = {
        split: np.array([[tag in row["labels"] for tag in described] for row in splits[split]], int)
        for split in SPLITS
    }
    validation, test = linear_scores(texts["train"], truth["train"], texts["validation"], texts["test"])
    thresholds = tune_thresholds(validation, truth["validation"], list(described), "global_micro")
    results = decision_metrics(apply_thresholds(test, list(thresholds.values())), truth["test"])
    assert results["f1_micro"] >= 0.6
    assert results["f1_macro"] >= 0.5
