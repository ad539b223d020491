import pytest
import torch

from hf_rnn_multilabel.model.inputs import TokenInputs, WordDropout


IDS = torch.tensor([[0, 0, 4, 9], [2, 7, 5, 3]])
MASK = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])


@pytest.fixture
def inputs(build_config):
    return TokenInputs(build_config())


def test_vectors_are_the_embeddings_of_the_ids_in_their_own_order(inputs):
    vectors, mask = inputs(IDS, MASK)
    assert torch.equal(vectors, inputs.embed_tokens.weight[IDS])
    assert torch.equal(mask, MASK.bool())


def test_given_embeddings_are_taken_as_they_are(inputs):
    embeddings = torch.randn(2, 4, 6)
    vectors, mask = inputs(inputs_embeds=embeddings)
    assert vectors is embeddings
    assert mask.dtype == torch.bool and mask.shape == (2, 4) and mask.all()


@pytest.mark.parametrize("ids", [torch.zeros(2, 0), torch.zeros(2, 0).long()])
def test_a_batch_without_positions_gets_a_padded_one(inputs, ids):
    for given in [
        {"input_ids": ids},
        {"input_ids": ids, "attention_mask": ids},
        {"inputs_embeds": torch.zeros(2, 0, 6)},
    ]:
        vectors, mask = inputs(**given)
        assert vectors.shape == (2, 1, 6) and not vectors.any()
        assert mask.shape == (2, 1) and not mask.any()


@pytest.mark.parametrize("names", [(), ("input_ids", "inputs_embeds")])
def test_both_and_none_of_the_inputs_are_refused(inputs, names):
    given = {"input_ids": IDS, "inputs_embeds": torch.zeros(2, 4, 6)}
    with pytest.raises(ValueError, match="either `input_ids` or `inputs_embeds`"):
        inputs(**{name: given[name] for name in names})


def test_both_dropouts_are_of_the_embeddings_in_training(build_config):
    inputs = TokenInputs(build_config(word_dropout=0.5, embedding_dropout=0.5)).train()
    ids = torch.randint(1, 20, (40, 30))
    vectors, _ = inputs(ids)
    lost = vectors == 0
    assert 0.4 < lost.all(2).float().mean() < 0.6  # positions
    features = lost.all(1)  # (batch, features)
    assert 0.35 < features.float().mean() < 0.65
    kept = ~lost
    torch.testing.assert_close(vectors[kept], 2 * inputs.embed_tokens(ids)[kept])


def test_word_dropout_drops_whole_positions_and_keeps_the_others_as_they_are():
    torch.manual_seed(0)
    vectors = torch.randn(8, 40, 3)
    dropped = WordDropout(0.4).train()(vectors)
    lost = (dropped == 0).all(-1)
    assert 0.3 < lost.float().mean() < 0.5
    assert torch.equal(dropped[~lost], vectors[~lost])


def test_word_dropout_is_active_in_training_alone():
    vectors = torch.randn(3, 4, 5)
    assert torch.equal(WordDropout(0.9).eval()(vectors), vectors)
    assert torch.equal(WordDropout(0.0).train()(vectors), vectors)
    assert not torch.equal(WordDropout(0.9).train()(vectors), vectors)
