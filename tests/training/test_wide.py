import math
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from helpers import LABELS, are_equal, make_rows, weights_of
from sklearn.linear_model import LogisticRegression

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.inference.logits import compute_logits
from hf_rnn_multilabel.model.wide import WideHead
from hf_rnn_multilabel.training import wide
from hf_rnn_multilabel.training.wide import (
    REGRESSION,
    add_wide_head,
    choose_mixing_weight,
    fit_wide_head,
    mix_in_wide_head,
    remove_wide_head,
)


TEXTS = [[4, 4, 7], [4, 9], [5, 7, 9, 9], [5, 8], [6, 7], [4, 5, 8]]


# Fitted


def test_a_label_of_few_positives_takes_less_of_the_mixing_weight():
    """n / (n + 30), ignored ones not counted."""
    labels = [[1, 0, 1], [-100, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    found = fit_wide_head(TEXTS, np.array(labels), 12).mixing_weights
    assert found.tolist() == pytest.approx([3 / 33, 0, 4 / 34])


@pytest.mark.parametrize("buckets", [0, 5])
def test_a_wide_head_is_the_logistic_regression_of_its_features_on_the_observed_rows(buckets):
    """By hand: n_v idf_v / sqrt(N), with idf_v = ln((1 + texts) / (1 + texts with v)) + 1."""
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, -100], [0, 1], [1, -100]], float)
    features, ngrams = np.zeros((6, buckets + 12)), []
    for ids in TEXTS:
        neighbours = pairwise(ids) if buckets else []
        ngrams.append([(a * 1_000_003 + b) % buckets for a, b in neighbours] + [buckets + token for token in ids])
    for row, found in enumerate(ngrams):
        for ngram in found:
            carriers = sum(ngram in others for others in ngrams)
            features[row, ngram] += (math.log(7 / (1 + carriers)) + 1) / math.sqrt(len(found))
    with mock.patch.dict(REGRESSION, tol=1e-6):
        head = fit_wide_head(TEXTS, labels, 12, buckets)
    for label, column in enumerate(labels.T):
        regression = LogisticRegression(C=0.4, solver="liblinear", intercept_scaling=10, tol=1e-6)
        regression.fit(features[column >= 0], column[column >= 0])
        for ids, expected in zip(TEXTS, regression.decision_function(features), strict=True):
            found = head.score(torch.tensor([ids]), torch.ones(1, len(ids)).bool())[0, label]
            assert found.item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "value, odds", [(1.0, math.log((1 - 1e-4) / 1e-4)), (0.0, math.log(1e-4 / (1 - 1e-4))), (-100.0, 0.0)]
)
def test_a_label_of_all_texts_or_none_has_one_score(value, odds):
    head = fit_wide_head(TEXTS, np.full((6, 1), value), 12)
    assert not head.weight.any() and head.bias.item() == pytest.approx(odds, rel=1e-5)


def test_the_mixing_weight_is_that_of_the_best_order_of_texts_and_labels():
    labels = np.array([[1, 0], [0, 1], [1, -100]])
    right, wrong = np.where(labels == 1, 9.0, -9.0), np.where(labels == 1, -9.0, 9.0)
    assert choose_mixing_weight(right, wrong, labels) == 0
    assert choose_mixing_weight(wrong, right, labels) == 0.55
    # Each alone mistakes a pair; both together mistake none.
    deep, mixed = np.array([[4.0, 0], [3.6, 3.5]]), np.array([[3.5, 3.6], [0, 4.0]])
    assert 0 < choose_mixing_weight(deep, mixed, np.array([[1, 0], [0, 1]])) < 1


def test_without_an_observed_label_there_is_no_mixing_weight():
    logits = np.zeros((2, 2))
    assert choose_mixing_weight(logits, logits, np.array([[0, -100], [0, 0]])) == 0


# Added and removed


def fitted_head(num_labels: int = 3, vocab_size: int = 20) -> WideHead:
    head = WideHead(vocab_size, 7, num_labels)
    head.bias.data.fill_(2.0)
    head.mixing_weights.fill_(0.5)
    return head


def test_a_model_that_gets_a_wide_head_saves_it(tmp_path, build_tagger, batch):
    tagger, head = build_tagger(num_bigram_buckets=None), fitted_head()
    before = tagger(**batch).logits
    add_wide_head(tagger, head, 0.4)
    assert tagger.config.num_bigram_buckets == 7
    torch.testing.assert_close(tagger(**batch).logits, 0.8 * before + 0.2 * 2)
    assert (head.mixing_weights == 0.5).all()  # the given head stays as it is
    tagger.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**batch).logits, tagger(**batch).logits)


def test_a_model_whose_wide_head_is_removed_saves_none(tmp_path, build_tagger, batch):
    tagger, plain = build_tagger(), build_tagger(num_bigram_buckets=None)
    remove_wide_head(tagger)
    plain.load_state_dict(tagger.state_dict())
    assert torch.equal(tagger(**batch).logits, plain(**batch).logits)
    tagger.save_pretrained(tmp_path)
    assert not any(name.startswith("wide.") for name in weights_of(tmp_path))
    assert RnnMultilabelForSequenceClassification.from_pretrained(tmp_path).wide is None


@pytest.mark.parametrize("vocab_size, labels", [(21, 3), (20, 2)])
def test_a_wide_head_of_another_size_is_refused(build_tagger, vocab_size, labels):
    tagger = build_tagger(num_bigram_buckets=None)
    with pytest.raises(ValueError, match=rf"the shape \({7 + vocab_size}, {labels}\).* must have \(27, 3\)"):
        add_wide_head(tagger, fitted_head(labels, vocab_size))
    assert tagger.wide is None and tagger.config.num_bigram_buckets is None


def test_a_wide_head_is_of_the_data_type_of_the_model(build_tagger, batch):
    tagger = build_tagger(num_bigram_buckets=None).bfloat16()
    add_wide_head(tagger, fitted_head())
    assert tagger.wide.weight.dtype == tagger(**batch).logits.dtype == torch.bfloat16


# Mixed in as far as validation says


@pytest.fixture
def labelled(build_tagger):
    """A model, its tokenizer, and texts whose first words say their labels."""
    rows = {"train": make_rows(90), "validation": make_rows(30, seed=1)}
    texts = {split: [row["text"] for row in part] for split, part in rows.items()}
    labels = {
        split: np.array([[label in row["labels"] for label in LABELS] for row in part], int)
        for split, part in rows.items()
    }
    tokenizer = train_tokenizer(texts["train"])

    def build(**settings):
        return build_tagger(vocab_size=len(tokenizer), **settings)

    return build, tokenizer, texts, labels


def test_the_mixing_weight_is_chosen_between_no_head_and_the_fitted_one(labelled):
    build, tokenizer, texts, labels = labelled
    deep, mixed, tagger = (build(num_bigram_buckets=None) for _ in range(3))
    with mock.patch.object(wide, "choose_mixing_weight", wraps=choose_mixing_weight) as choose:
        weight = mix_in_wide_head(tagger, tokenizer, texts, labels, num_bigram_buckets=7)
    head = fit_wide_head(tokenizer(texts["train"])["input_ids"], labels["train"], len(tokenizer), 7)
    add_wide_head(mixed, head)
    logits = [compute_logits(model, tokenizer, texts["validation"]) for model in (deep, mixed, tagger)]
    for given, expected in zip(choose.call_args.args, [*logits[:2], labels["validation"]], strict=True):
        np.testing.assert_array_equal(given, expected)
    assert weight == choose_mixing_weight(*logits[:2], labels["validation"]) > 0
    assert torch.equal(tagger.wide.weight, head.weight)
    torch.testing.assert_close(tagger.wide.mixing_weights, weight * head.mixing_weights)
    np.testing.assert_allclose(logits[2], (1 - weight) * logits[0] + weight * logits[1], atol=1e-5)


def test_a_head_that_is_there_is_replaced_and_texts_without_labels_are_left_out(labelled):
    build, tokenizer, texts, labels = labelled
    new, old = build(num_bigram_buckets=None), build(num_bigram_buckets=9)
    weights = [mix_in_wide_head(new, tokenizer, texts, labels, num_bigram_buckets=7)]
    more = texts | {"train": [*texts["train"], "lamp lamp"]}
    weights.append(mix_in_wide_head(old, tokenizer, more, labels, num_bigram_buckets=7))
    assert weights[0] == weights[1] and are_equal(new.wide.state_dict(), old.wide.state_dict())


def test_where_the_best_mixing_weight_is_0_there_is_no_wide_head(labelled):
    build, tokenizer, texts, labels = labelled
    tagger = build()
    nothing_observed = labels | {"validation": np.full_like(labels["validation"], -100)}
    assert mix_in_wide_head(tagger, tokenizer, texts, nothing_observed, num_bigram_buckets=7) == 0
    assert tagger.wide is None and tagger.config.num_bigram_buckets is None
