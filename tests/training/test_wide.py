import math
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from helpers import LABELS, are_equal, make_rows, weights_of
from sklearn.linear_model import LogisticRegression

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data.tokenization import train_tokenizer
from hf_rnn_multilabel.inference.logits import compute_logits
from hf_rnn_multilabel.model.modeling_rnn_multilabel import BagOfTokens
from hf_rnn_multilabel.training import wide as bag_of_tokens
from hf_rnn_multilabel.training.wide import REGRESSION, add_bag, choose_weight, fit_bag, set_bag


TEXTS = [[4, 4, 7], [4, 9], [5, 7, 9, 9], [5, 8], [6, 7], [4, 5, 8]]


# In the model


def test_the_logits_are_the_nets_and_the_bags_by_its_share(build_tagger, batch):
    """(1 - w) z + w (b + 1 / sqrt(T) sum_t w_{v_t}), token by token, with the z of a net without a bag."""
    tagger, plain = build_tagger(bag_weight=0.3, bag_pairs=0), build_tagger(bag_weight=0)
    tagger.bag.shrinkage.copy_(torch.tensor([1.0, 0.5, 0.0]))
    plain.load_state_dict({name: weight for name, weight in tagger.state_dict().items() if "bag" not in name})
    bag = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        tokens = ids[mask == 1]
        bag.append(tagger.bag.bias + sum(tagger.bag.weight[token] for token in tokens) / math.sqrt(len(tokens)))
    share = torch.tensor([0.3, 0.15, 0.0])  # of each label
    expected = (1 - share) * plain(**batch).logits + share * torch.stack(bag)
    torch.testing.assert_close(tagger(**batch).logits, expected, atol=1e-6, rtol=0)


def test_the_bag_sees_no_padding_and_no_order(build_tagger):
    bag = build_tagger(bag_pairs=0).bag
    padded = torch.tensor([[0, 4, 19, 9, 2], [9, 4, 0, 2, 0], [4, 2, 9, 5, 5]])
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 1, 0], [1, 1, 1, 0, 0]])
    scores = bag(padded, mask.bool())
    torch.testing.assert_close(scores, bag(torch.tensor([[2, 4, 9]]), torch.ones(1, 3).bool()).expand(3, -1))


def test_pairs_are_neighbours_among_the_valid_steps(build_tagger):
    bag = build_tagger(bag_pairs=7).bag
    padded = torch.tensor([[0, 4, 19, 9, 2], [4, 9, 0, 2, 0], [4, 9, 2, 5, 5], [2, 9, 4, 5, 5]])
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]])
    scores, alone = bag(padded, mask.bool()), bag(torch.tensor([[4, 9, 2]]), torch.ones(1, 3).bool())
    torch.testing.assert_close(scores[:3], alone.expand(3, -1))
    assert (scores[3] - alone).abs().max() > 0.01  # the same tokens in another order


def test_a_text_without_tokens_has_the_bias(build_tagger):
    bag = build_tagger().bag
    assert torch.equal(bag(torch.tensor([[3, 4]]), torch.zeros(1, 2).bool())[0], bag.bias)
    assert torch.equal(bag(torch.zeros(1, 0).long(), torch.zeros(1, 0).bool())[0], bag.bias)


def test_a_new_bag_says_nothing_and_a_loaded_one_stays(tmp_path, build_config, batch, poisoned_memory):
    new = RnnMultilabelForSequenceClassification(build_config(bag_weight=1.0)).eval()
    plain = RnnMultilabelForSequenceClassification(build_config(bag_weight=0)).eval()
    plain.load_state_dict({name: weight for name, weight in new.state_dict().items() if "bag" not in name})
    assert torch.equal(new(**batch).logits, plain(**batch).logits)
    assert not new.bag.weight.any() and not new.bag.bias.any()
    new.bag.weight.data.fill_(0.5)
    new.bag.bias.data.fill_(0.25)
    new.bag.shrinkage.fill_(0.75)
    new.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path)
    assert are_equal(weights_of(tmp_path), loaded.state_dict())
    assert (loaded.bag.weight == 0.5).all() and (loaded.bag.bias == 0.25).all()
    assert (loaded.bag.shrinkage == 0.75).all()


def test_a_bag_needs_the_tokens_themselves(build_tagger):
    with pytest.raises(ValueError, match=r"`inputs_embeds` are given, but up to 0.3 of a logit .* give `input_ids`"):
        build_tagger(bag_weight=0.3)(inputs_embeds=torch.zeros(1, 2, 6))


@pytest.mark.parametrize("size", [15, 26])
def test_a_bag_has_as_many_tokens_as_the_embeddings(build_tagger, size):
    tagger = build_tagger(bag_weight=0.3)
    old = tagger.bag.weight.detach().clone()
    tagger.resize_token_embeddings(size)
    kept = min(7 + size, len(old))
    assert tagger.bag.weight.shape == (7 + size, 3)
    assert torch.equal(tagger.bag.weight[:kept], old[:kept]) and not tagger.bag.weight[kept:].any()
    assert tagger(torch.tensor([[size - 1]])).logits.isfinite().all()


# Fitted


def test_a_label_of_few_texts_takes_less_of_the_share():
    """n / (n + 30), unknown ones not counted."""
    labels = [[1, 0, 1], [-100, 0, 1], [1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert fit_bag(TEXTS, np.array(labels), 12).shrinkage.tolist() == pytest.approx([3 / 33, 0, 4 / 34])


@pytest.mark.parametrize("pairs", [0, 5])
def test_a_bag_is_the_logistic_regression_of_its_features_on_the_known_rows(pairs):
    """By hand: n_v idf_v / sqrt(N), with idf_v = ln((1 + texts) / (1 + texts with v)) + 1."""
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, -100], [0, 1], [1, -100]], float)
    features, all_terms = np.zeros((6, pairs + 12)), []
    for ids in TEXTS:
        neighbours = pairwise(ids) if pairs else []
        all_terms.append([(a * 1_000_003 + b) % pairs for a, b in neighbours] + [pairs + token for token in ids])
    for row, terms in enumerate(all_terms):
        for term in terms:
            carriers = sum(term in others for others in all_terms)
            features[row, term] += (math.log(7 / (1 + carriers)) + 1) / math.sqrt(len(terms))
    with mock.patch.dict(REGRESSION, tol=1e-6):
        bag = fit_bag(TEXTS, labels, 12, pairs)
    for label, column in enumerate(labels.T):
        regression = LogisticRegression(C=0.4, solver="liblinear", intercept_scaling=10, tol=1e-6)
        regression.fit(features[column >= 0], column[column >= 0])
        for ids, expected in zip(TEXTS, regression.decision_function(features), strict=True):
            found = bag(torch.tensor([ids]), torch.ones(1, len(ids)).bool())[0, label]
            assert found.item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "value, odds", [(1.0, math.log((1 - 1e-4) / 1e-4)), (0.0, math.log(1e-4 / (1 - 1e-4))), (-100.0, 0.0)]
)
def test_a_label_of_all_texts_or_none_has_one_score(value, odds):
    bag = fit_bag(TEXTS, np.full((6, 1), value), 12)
    assert not bag.weight.any() and bag.bias.item() == pytest.approx(odds, rel=1e-5)


def test_the_share_is_that_of_the_best_order_of_texts_and_labels():
    labels = np.array([[1, 0], [0, 1], [1, -100]])
    right, wrong = np.where(labels == 1, 9.0, -9.0), np.where(labels == 1, -9.0, 9.0)
    assert choose_weight(right, wrong, labels) == 0
    assert choose_weight(wrong, right, labels) == 0.55
    # Each alone mistakes a pair; both together mistake none.
    net, bag = np.array([[4.0, 0], [3.6, 3.5]]), np.array([[3.5, 3.6], [0, 4.0]])
    assert 0 < choose_weight(net, bag, np.array([[1, 0], [0, 1]])) < 1


def test_without_a_known_label_there_is_no_share():
    logits = np.zeros((2, 2))
    assert choose_weight(logits, logits, np.array([[0, -100], [0, 0]])) == 0


def test_a_model_that_gets_a_bag_saves_it(tmp_path, build_tagger, batch):
    tagger = build_tagger(bag_weight=0)
    bag = BagOfTokens(20, 7, 3)
    bag.bias.data.fill_(2.0)
    set_bag(tagger, bag, 0.5)
    tagger.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(**batch).logits, tagger(**batch).logits)


@pytest.mark.parametrize("vocab_size, labels", [(21, 3), (20, 2)])
def test_a_bag_of_another_size_is_refused(build_tagger, vocab_size, labels):
    tagger = build_tagger(bag_weight=0)
    with pytest.raises(ValueError, match=rf"the shape \({7 + vocab_size}, {labels}\).* must be \(27, 3\)"):
        set_bag(tagger, BagOfTokens(vocab_size, 7, labels), 0.5)
    assert tagger.bag is None and tagger.config.bag_weight == 0


def test_a_bag_is_of_the_models_type_of_number(build_tagger, batch):
    tagger = build_tagger(bag_weight=0).bfloat16()
    set_bag(tagger, BagOfTokens(20, 7, 3), 0.5)
    assert tagger.bag.weight.dtype == tagger(**batch).logits.dtype == torch.bfloat16


# Put beside a net


@pytest.fixture
def taught(build_tagger):
    """A net, its tokenizer, and texts whose first words say their labels."""
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


def test_the_share_is_chosen_between_the_net_and_the_bag_alone(taught):
    build, tokenizer, texts, labels = taught
    net, tagger = build(bag_weight=0), build(bag_weight=0)
    with mock.patch.object(bag_of_tokens, "choose_weight", wraps=choose_weight) as choose:
        share = add_bag(tagger, tokenizer, texts, labels)
    ids = tokenizer(texts["train"])["input_ids"]
    alone = build(bag_weight=0)
    set_bag(alone, fit_bag(ids, labels["train"], len(tokenizer), 7), 1.0)
    logits = [compute_logits(model, tokenizer, texts["validation"]) for model in (net, alone, tagger)]
    for given, expected in zip(choose.call_args.args, [*logits[:2], labels["validation"]], strict=True):
        np.testing.assert_array_equal(given, expected)
    assert share == tagger.config.bag_weight == choose_weight(*logits[:2], labels["validation"]) > 0
    assert torch.equal(tagger.bag.weight, alone.bag.weight)
    taken = share * tagger.bag.shrinkage.numpy()
    # `alone` has 1 - shrinkage of the net in it.
    kept = alone.bag.shrinkage.numpy()
    bag = (logits[1] - (1 - kept) * logits[0]) / kept
    np.testing.assert_allclose(logits[2], (1 - taken) * logits[0] + taken * bag, atol=1e-4)


def test_a_bag_that_is_there_is_replaced_and_texts_without_labels_are_left_out(taught):
    build, tokenizer, texts, labels = taught
    new, old = build(bag_weight=0), build(bag_weight=1.0)
    shares = [add_bag(new, tokenizer, texts, labels)]
    shares.append(add_bag(old, tokenizer, texts | {"train": [*texts["train"], "lamp lamp"]}, labels))
    assert shares[0] == shares[1] and are_equal(new.bag.state_dict(), old.bag.state_dict())


def test_where_the_best_share_is_0_there_is_no_bag(tmp_path, taught):
    build, tokenizer, texts, labels = taught
    tagger = build(bag_weight=0)
    nothing_known = labels | {"validation": np.full_like(labels["validation"], -100)}
    assert add_bag(tagger, tokenizer, texts, nothing_known) == 0
    assert tagger.bag is None and tagger.config.bag_weight == 0
    tagger.save_pretrained(tmp_path)
    assert not any(name.startswith("bag.") for name in weights_of(tmp_path))
