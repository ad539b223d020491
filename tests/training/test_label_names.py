import pytest
import torch

from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.training import label_names as label_names
from hf_rnn_multilabel.training.label_names import fraction_in_texts, start_from_label_names


TEXTS = ["a folding lamp for the desk", "a garden chair of oak", "a desk lamp", "the garden", "unseen oak chair"]
NAMES = ["desk_lamp", "garden", "Folding-chair", "zzz", "of"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3, algorithm="word")


@pytest.fixture
def tagger(build_tagger, tokenizer, cell_type, bidirectional):
    settings = {"cell_type": cell_type, "bidirectional": bidirectional, "hidden_size": 8}
    return build_tagger(vocab_size=len(tokenizer), id2label=dict(enumerate(NAMES)), **settings)


def states_of(tagger, tokenizer, text):
    with torch.no_grad():
        return tagger.rnn(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]  # (time, state)


def test_a_label_attends_to_its_name_and_takes_it_for_evidence(tagger, tokenizer):
    assert start_from_label_names(tagger, tokenizer, attention=6, evidence=4) == 4
    for index, text in {0: "desk lamp", 1: "garden", 2: "folding chair", 4: "of"}.items():
        state = states_of(tagger, tokenizer, text).mean(0)
        assert (state @ tagger.label_attention.query.weight[index]).item() == pytest.approx(6, rel=1e-4)
        assert (state @ tagger.label_attention.classifier.weight[index]).item() == pytest.approx(4, rel=1e-4)


def test_a_name_of_unknown_words_and_all_other_weights_stay_as_they_were(tagger, tokenizer):
    before = {name: weight.clone() for name, weight in tagger.named_parameters()}
    tagger.train()
    start_from_label_names(tagger, tokenizer)
    assert tagger.training
    changed = {name for name, weight in tagger.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"label_attention.query.weight", "label_attention.classifier.weight"}
    for name in changed:
        assert torch.equal(tagger.get_parameter(name)[3], before[name][3])


def test_an_unknown_word_beside_known_ones_does_not_count(tagger, build_tagger, tokenizer):
    start_from_label_names(tagger, tokenizer)
    names = ["desk zzz lamp", *NAMES[1:]]
    settings = {"cell_type": tagger.config.cell_type, "bidirectional": tagger.config.bidirectional, "hidden_size": 8}
    other = build_tagger(vocab_size=len(tokenizer), id2label=dict(enumerate(names)), **settings)
    start_from_label_names(other, tokenizer)
    assert torch.allclose(other.label_attention.query.weight, tagger.label_attention.query.weight)


@pytest.mark.parametrize(("names", "named"), [(["LABEL_0", "7", "desk 7"], [2]), (["LABEL_0", "7"], [])])
def test_labels_that_came_as_ids_do_not_start_from_their_numbers(build_tagger, names, named):
    tokenizer = train_tokenizer(["a label 0 7 desk"] * 3, algorithm="word")
    tagger = build_tagger(vocab_size=len(tokenizer), id2label=dict(enumerate(names)))
    before = tagger.label_attention.query.weight.clone()
    assert start_from_label_names(tagger, tokenizer) == len(named)
    assert (tagger.label_attention.query.weight != before).any(dim=1).nonzero().flatten().tolist() == named


@pytest.mark.parametrize("side", ["left", "right"])
def test_names_in_parts_and_under_any_padding_give_the_same_start(tagger, build_tagger, tokenizer, monkeypatch, side):
    settings = {"cell_type": tagger.config.cell_type, "bidirectional": tagger.config.bidirectional, "hidden_size": 8}
    other = build_tagger(vocab_size=len(tokenizer), id2label=dict(enumerate(NAMES)), **settings)
    start_from_label_names(tagger, tokenizer)
    # Two by two, "zzz" and "of"; one by one, "zzz" alone.
    monkeypatch.setattr(label_names, "NAMES_AT_ONCE", 1 if side == "left" else 2)
    monkeypatch.setattr(tokenizer, "padding_side", side)
    assert start_from_label_names(other, tokenizer) == 4
    assert torch.allclose(other.label_attention.query.weight, tagger.label_attention.query.weight, atol=1e-5)


def test_a_model_without_label_attention_is_refused(build_tagger, tokenizer):
    with pytest.raises(
        ValueError, match="`pooling` is 'max', so there is no label attention to start; put 'label_attention' into it"
    ):
        start_from_label_names(build_tagger(vocab_size=len(tokenizer), pooling="max"), tokenizer)


@pytest.mark.parametrize(
    ("names", "texts", "share"),
    [
        (["Desk_Lamp", "oak-garden", "shed", "spades"], ["A desk LAMP.", "the garden, a spade"], 0.5),
        (["anger", "joy"], ["我今天很高兴", "A1"], 0),
        (["高兴", "愤怒"], ["我今天很高兴"], 0.5),
        # Neither numbers nor punctuation nor the unknown token are names.
        (["7", "LABEL_1", "a.b", "UNK"], ["7 label 1. [UNK"], 0.25),
    ],
)
def test_a_name_is_in_the_texts_with_one_of_its_words(names, texts, share):
    assert fraction_in_texts(names, texts) == share
