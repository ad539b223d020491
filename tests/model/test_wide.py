import math

import numpy as np
import pytest
import torch
from helpers import are_equal, weights_of

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.model.wide import WideHead, hash_bigrams


def draw_head(num_bigram_buckets: int) -> WideHead:
    head = WideHead(20, num_bigram_buckets, 3)
    for weight in head.parameters():
        torch.nn.init.uniform_(weight, -0.6, 0.6)
    return head


def all_valid(ids: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(ids).bool()


def test_the_logits_are_mixed_with_those_of_the_tokens_by_the_weight_of_each_label(build_tagger, batch):
    """(1 - m) z + m (b + 1 / sqrt(T) sum_t w_{v_t}), token by token, with the z of a model without a wide head."""
    tagger, plain = build_tagger(num_bigram_buckets=0), build_tagger(num_bigram_buckets=None)
    mixing_weights = torch.tensor([0.3, 0.15, 0.0])
    tagger.wide.mixing_weights.copy_(mixing_weights)
    plain.load_state_dict({name: weight for name, weight in tagger.state_dict().items() if "wide" not in name})
    wide = []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        tokens = ids[mask == 1]
        wide.append(tagger.wide.bias + sum(tagger.wide.weight[token] for token in tokens) / math.sqrt(len(tokens)))
    expected = (1 - mixing_weights) * plain(**batch).logits + mixing_weights * torch.stack(wide)
    torch.testing.assert_close(tagger(**batch).logits, expected, atol=1e-6, rtol=0)


def test_tokens_are_seen_without_padding_and_order():
    head = draw_head(0)
    padded = torch.tensor([[0, 4, 19, 9, 2], [9, 4, 0, 2, 0], [4, 2, 9, 5, 5]])
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 1, 0], [1, 1, 1, 0, 0]])
    alone = torch.tensor([[2, 4, 9]])
    torch.testing.assert_close(head.score(padded, mask.bool()), head.score(alone, all_valid(alone)).expand(3, -1))


def test_bigrams_are_neighbours_among_the_valid_positions():
    head = draw_head(7)
    padded = torch.tensor([[0, 4, 19, 9, 2], [4, 9, 0, 2, 0], [4, 9, 2, 5, 5], [2, 9, 4, 5, 5]])
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]])
    alone = torch.tensor([[4, 9, 2]])
    scores, of_alone = head.score(padded, mask.bool()), head.score(alone, all_valid(alone))
    torch.testing.assert_close(scores[:3], of_alone.expand(3, -1))
    assert (scores[3] - of_alone).abs().max() > 0.01  # the same tokens in another order


def test_each_ngram_has_its_row():
    head = draw_head(7)
    buckets = [(4 * 1_000_003 + 9) % 7, (9 * 1_000_003 + 2) % 7]
    expected = head.bias + head.weight[[7 + 4, 7 + 9, 7 + 2, *buckets]].sum(0) / math.sqrt(5)
    ids = torch.tensor([[4, 9, 2]])
    torch.testing.assert_close(head.score(ids, all_valid(ids))[0], expected)
    assert hash_bigrams(np.array([4, 9]), np.array([9, 2]), 7).tolist() == buckets


@pytest.mark.parametrize("num_bigram_buckets", [0, 7])
def test_a_text_without_tokens_has_the_bias(num_bigram_buckets):
    head = draw_head(num_bigram_buckets)
    assert torch.equal(head.score(torch.tensor([[3, 4]]), torch.zeros(1, 2).bool())[0], head.bias)
    for ids in [torch.zeros(2, 0).long(), torch.zeros(2, 1).long()]:
        assert torch.equal(head.score(ids, torch.zeros(ids.shape).bool()), head.bias.expand(2, -1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_head_runs_and_learns_in_every_data_type(dtype):
    head, ids = draw_head(7), torch.tensor([[4, 9, 2], [4, 0, 0]])
    head.mixing_weights.fill_(0.5)
    mask, logits = torch.tensor([[1, 1, 1], [1, 0, 0]]), torch.ones(2, 3)
    expected = head(ids, mask, logits)
    mixed = head.to(dtype)(ids, mask, logits.to(dtype))
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed, expected.to(dtype), atol=2e-2, rtol=0)
    mixed.sum().backward()
    rows = [7 + 4, 7 + 9, 7 + 2, (4 * 1_000_003 + 9) % 7, (9 * 1_000_003 + 2) % 7]
    assert head.weight.grad.any(1).nonzero().flatten().tolist() == sorted(set(rows))


def test_a_new_head_says_nothing_and_a_loaded_one_stays(tmp_path, build_config, batch, poisoned_memory):
    new = RnnMultilabelForSequenceClassification(build_config()).eval()
    plain = RnnMultilabelForSequenceClassification(build_config(num_bigram_buckets=None)).eval()
    plain.load_state_dict({name: weight for name, weight in new.state_dict().items() if "wide" not in name})
    assert torch.equal(new(**batch).logits, plain(**batch).logits)
    assert not new.wide.weight.any() and not new.wide.bias.any()
    new.wide.weight.data.fill_(0.5)
    new.wide.bias.data.fill_(0.25)
    new.wide.mixing_weights.fill_(0.75)
    new.save_pretrained(tmp_path)
    loaded = RnnMultilabelForSequenceClassification.from_pretrained(tmp_path)
    assert are_equal(weights_of(tmp_path), loaded.state_dict())
    assert (loaded.wide.weight == 0.5).all() and (loaded.wide.bias == 0.25).all()
    assert (loaded.wide.mixing_weights == 0.75).all()


def test_a_wide_head_needs_the_tokens_themselves(build_tagger):
    with pytest.raises(ValueError, match=r"`inputs_embeds` are given.*`num_bigram_buckets` is 7.*Give `input_ids`"):
        build_tagger()(inputs_embeds=torch.zeros(1, 2, 6))


@pytest.mark.parametrize("size", [15, 26])
def test_a_wide_head_has_as_many_tokens_as_the_embeddings(build_tagger, size):
    tagger = build_tagger()
    old = tagger.wide.weight.detach().clone()
    tagger.resize_token_embeddings(size)
    kept = min(7 + size, len(old))
    assert tagger.wide.weight.shape == (7 + size, 3)
    assert torch.equal(tagger.wide.weight[:kept], old[:kept]) and not tagger.wide.weight[kept:].any()
    assert tagger(torch.tensor([[size - 1]])).logits.isfinite().all()
