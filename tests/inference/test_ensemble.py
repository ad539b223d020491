"""Several taggers as one: logits, labels and thresholds by hand."""

import math

import numpy as np
import pytest
import torch
from transformers import pipeline

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.inference.ensemble import TaggerEnsemble


TEXTS = [
    "a folding lamp for the desk",
    "a wooden desk",
    "",
    "a lamp",
    "the lamp for the wooden desk",
    "desk lamp lamp",
]
LABELS = ["lighting", "office", "wood"]
OTHERS = ["wood", "lighting", "office"]


def make_tagger(seed=0, labels=LABELS, thresholds=0.5, texts=TEXTS, **options):
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts * 3)
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=8,
        hidden_size=8,
        id2label=dict(enumerate(labels)),
        thresholds=thresholds,
        initializer_range=1,
    )
    model = RnnMultilabelForSequenceClassification(config).eval()
    return pipeline("multi-label-tagging", model=model, tokenizer=tokenizer, **options)


@pytest.fixture(scope="module")
def taggers():
    """Two that differ in weights, vocabulary, order of the labels and thresholds."""
    return [
        make_tagger(0, LABELS, {"lighting": 0.2, "office": 0.5, "wood": 0.7}),
        make_tagger(1, OTHERS, {"lighting": 0.6, "office": 0.5, "wood": 0.9}, texts=["lamp desk wooden", "a the for"]),
    ]


def logits_by_hand(tagger, text):
    """The logits of one text by itself, by label name."""
    tokens = tagger.tokenizer(text or "", return_tensors="pt")
    with torch.no_grad():
        logits = tagger.model(tokens["input_ids"].long(), tokens["attention_mask"]).logits[0]
    return dict(zip(tagger.model.config.label_names, logits.tolist(), strict=True))


def scores_by_hand(taggers, text):
    found = [logits_by_hand(tagger, text) for tagger in taggers]
    return {name: 1 / (1 + math.exp(-sum(each[name] for each in found) / len(found))) for name in LABELS}


def test_the_logits_are_averaged_by_label_name(taggers):
    found = TaggerEnsemble(taggers, threshold=0)(TEXTS, batch_size=2)
    for tags, text in zip(found, TEXTS, strict=True):
        expected = scores_by_hand(taggers, text)
        assert {tag["label"]: tag["score"] for tag in tags} == pytest.approx(expected, abs=1e-6)
        assert [tag["score"] for tag in tags] == sorted((tag["score"] for tag in tags), reverse=True)
    # Neither the one nor the other alone, and not the labels in the order of each.
    first = {tag["label"]: tag["score"] for tag in taggers[0](TEXTS[0], threshold=0)}
    assert first != pytest.approx(scores_by_hand(taggers, TEXTS[0]), abs=1e-2)


def test_a_label_s_threshold_is_the_mean_of_the_models_in_log_odds(taggers):
    by_hand = {}
    for name in LABELS:
        odds = [tagger.model.config.thresholds[name] for tagger in taggers]
        by_hand[name] = math.sqrt(math.prod(limit / (1 - limit) for limit in odds))
        by_hand[name] /= 1 + by_hand[name]
    expected = [
        {name for name, score in scores_by_hand(taggers, text).items() if score >= by_hand[name]} for text in TEXTS
    ]
    assert [{tag["label"] for tag in tags} for tags in TaggerEnsemble(taggers)(TEXTS)] == expected
    assert TaggerEnsemble(taggers).thresholds == pytest.approx(by_hand, abs=1e-9)


def test_a_given_threshold_comes_before_those_of_the_models(taggers):
    assert all(len(tags) == 3 for tags in TaggerEnsemble(taggers, threshold=0)(TEXTS))
    assert all(tags == [] for tags in TaggerEnsemble(taggers, threshold=1)(TEXTS))
    own = TaggerEnsemble(taggers)(TEXTS)
    found = TaggerEnsemble(taggers, threshold={"wood": 0})(TEXTS)
    assert all("wood" in {tag["label"] for tag in tags} for tags in found)
    assert [[tag for tag in tags if tag["label"] != "wood"] for tags in found] == [
        [tag for tag in tags if tag["label"] != "wood"] for tags in own
    ]


def test_at_least_one_and_top_k_are_those_of_the_pipeline(taggers):
    best = [max(scores_by_hand(taggers, text).items(), key=lambda item: item[1])[0] for text in TEXTS]
    for options in ({"threshold": 1, "at_least_one": True}, {"threshold": 0, "top_k": 1}):
        assert [[tag["label"] for tag in tags] for tags in TaggerEnsemble(taggers, **options)(TEXTS)] == [
            [name] for name in best
        ]


def test_thresholds_of_zero_and_one_have_a_mean():
    taggers = [make_tagger(thresholds=limit) for limit in (0.0, 1.0)]
    assert TaggerEnsemble(taggers).thresholds == pytest.approx(dict.fromkeys(LABELS, 0.5))


def test_a_model_twice_tags_as_it_does_alone(taggers):
    tagger = taggers[0]
    expected, found = tagger(TEXTS), TaggerEnsemble([tagger, tagger])(TEXTS)
    assert [[tag["label"] for tag in tags] for tags in found] == [[tag["label"] for tag in tags] for tags in expected]
    assert any(expected) and TaggerEnsemble([tagger, tagger])([]) == []


def test_other_labels_are_an_error_that_names_them(taggers):
    other = make_tagger(labels=["lighting", "garden", "wood"])
    with pytest.raises(ValueError, match=r"tagger 1 of `taggers` .* lacks office and adds garden\."):
        TaggerEnsemble([taggers[0], other])


def test_fault_39_a_message_about_thousands_of_labels_is_short(taggers):
    other = make_tagger(labels=[f"label {number}" for number in range(9_000)])
    with pytest.raises(ValueError, match=r"adds label 0, .* and 8,992 more") as raised:
        TaggerEnsemble([taggers[0], other])
    assert len(str(raised.value)) < 300


def test_no_taggers_are_an_error():
    with pytest.raises(ValueError, match="`taggers` is empty"):
        TaggerEnsemble([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2}, "`threshold` is 2"),
        ({"threshold": [0.5]}, "`threshold` is "),
        ({"threshold": {"x": 0.1}}, r"`threshold` .* x; "),
        ({"top_k": 0}, "`top_k` is 0"),
        ({"batch_size": -1}, "`batch_size` is -1"),
        ({"max_length": 0}, "`max_length` is 0"),
    ],
)
def test_wrong_options_are_the_errors_of_the_pipeline(taggers, options, message):
    ensemble = TaggerEnsemble(taggers)
    for call in (lambda: TaggerEnsemble(taggers, **options), lambda: ensemble("a lamp", **options)):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    "options",
    [{"threshold": 0.4}, {"threshold": 1, "at_least_one": True}, {"threshold": 0, "top_k": 2}, {"batch_size": 2}],
)
def test_the_options_of_a_call_are_those_of_the_constructor(taggers, options):
    assert TaggerEnsemble(taggers)(TEXTS, **options) == TaggerEnsemble(taggers, **options)(TEXTS)


def test_each_tagger_truncates_as_it_was_told_unless_the_call_says_otherwise(taggers):
    short = make_tagger(0, LABELS, max_length=2)
    text = "a folding lamp for the desk"
    own = TaggerEnsemble([short, taggers[0]]).logits([text])
    np.testing.assert_allclose(own, (short.logits([text]) + taggers[0].logits([text])) / 2, rtol=0, atol=1e-6)
    truncated = TaggerEnsemble([short, taggers[0]]).logits([text], max_length=3)
    np.testing.assert_allclose(truncated, taggers[0].logits([text], max_length=3), rtol=0, atol=1e-6)


def test_an_ensemble_may_hold_ensembles_and_is_called_like_each_of_them(taggers):
    ensemble = TaggerEnsemble([TaggerEnsemble(taggers[:1]), TaggerEnsemble(taggers[1:])])
    expected = TaggerEnsemble(taggers)(TEXTS)
    names = [[tag["label"] for tag in tags] for tags in expected]
    assert ensemble(TEXTS) == expected
    assert [tag["label"] for tag in ensemble(TEXTS[0])] == names[0]
    assert [[tag["label"] for tag in tags] for tags in ensemble(iter(TEXTS), batch_size=2)] == names
    assert ensemble.label_names == LABELS
