"""Texts in, tags out: the pipeline of the package and the stock one."""

import copy
import io
import logging
import math
import pickle
import random
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Pipeline,
    PreTrainedTokenizerFast,
    pipeline,
)
from transformers.pipelines.pt_utils import KeyDataset

from hf_rnn_multilabel import (
    RnnMultilabelConfig,
    RnnMultilabelForSequenceClassification,
    RnnMultilabelModel,
    RnnMultilabelTaggingPipeline,
)
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.model import tagging
from hf_rnn_multilabel.model.pipeline_rnn_multilabel import make_encoder


TEXTS = ["a folding lamp for the desk", "a wooden desk", "", "a lamp", "☃ ☄", "the lamp for the wooden desk"]
LABELS = ["lighting", "office", "wood", "garden"]
THRESHOLDS = {"lighting": 0.4, "office": 0.55, "wood": 0.9}
MAX_LENGTH = 8


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS[:4] * 3, model_max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer) -> str:
    torch.manual_seed(0)
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=8,
        hidden_size=8,
        id2label=dict(enumerate(LABELS)),
        thresholds=THRESHOLDS,
        initializer_range=1,
    )
    path = tmp_path_factory.mktemp("tagger")
    RnnMultilabelForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.fixture
def tagger(folder) -> RnnMultilabelTaggingPipeline:
    return pipeline("multi-label-tagging", model=folder)


@pytest.fixture
def log():
    """What transformers and the package log, as text."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    loggers = [logging.getLogger("transformers"), logging.getLogger("hf_rnn_multilabel")]
    for logger in loggers:
        logger.addHandler(handler)
    yield stream
    for logger in loggers:
        logger.removeHandler(handler)


def scores_of(folder: str, text: str) -> torch.Tensor:
    """Sigmoid of the logits, (labels,), without any pipeline."""
    tokens = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", truncation=True)
    with torch.no_grad():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()(**tokens).logits[0].sigmoid()


def expected_labels(scores: torch.Tensor, thresholds: list[float]) -> list[str]:
    """The labels that reach their thresholds, best first."""
    order = scores.argsort(descending=True).tolist()
    return [LABELS[index] for index in order if scores[index] >= thresholds[index]]


def labels_of(tags: list[dict]) -> list[str]:
    return [tag["label"] for tag in tags]


def constant_tagger(
    tokenizer, logits: list[float], labels: list[str] = LABELS, **arguments
) -> RnnMultilabelTaggingPipeline:
    """A tagger that gives every text these logits."""
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=2,
        hidden_size=2,
        pooling="mean",
        id2label=dict(enumerate(labels[: len(logits)])),
        **arguments,
    )
    model = RnnMultilabelForSequenceClassification(config)
    torch.nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.tensor(logits)
    return pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)


# Finding it


def test_the_task_is_found_by_name_without_trust_remote_code(tagger):
    assert type(tagger) is RnnMultilabelTaggingPipeline
    assert type(tagger.model) is RnnMultilabelForSequenceClassification


def test_a_model_and_a_tokenizer_in_memory_make_a_tagger(folder, tokenizer, tagger):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)(TEXTS) == tagger(TEXTS)


def test_a_saved_tagger_is_the_same_tagger(tagger, tmp_path):
    tagger.save_pretrained(tmp_path)
    assert pipeline("multi-label-tagging", model=str(tmp_path))(TEXTS) == tagger(TEXTS)


@pytest.mark.parametrize("source", ["folder", "model"])
def test_pain_05_the_stock_pipeline_logs_no_error_line(folder, tokenizer, log, source):
    model = folder if source == "folder" else AutoModelForSequenceClassification.from_pretrained(folder)
    pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)(TEXTS)
    assert "not supported" not in log.getvalue()


def test_the_log_of_these_tests_sees_the_error_line_of_an_unsupported_model(tokenizer, log):
    base = RnnMultilabelModel(RnnMultilabelConfig(vocab_size=len(tokenizer), embedding_size=2, hidden_size=2))
    pipeline("text-classification", model=base, tokenizer=tokenizer)
    assert "not supported" in log.getvalue()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_pain_12_the_scores_of_the_stock_pipeline_are_the_sigmoids_of_the_logits(folder, batch_size):
    texts = ["", *TEXTS]
    stock = pipeline("text-classification", model=folder, top_k=None)
    for text, scores in zip(texts, stock(texts, batch_size=batch_size), strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert [by_name[name] for name in LABELS] == pytest.approx(scores_of(folder, text).tolist(), abs=1e-6)


# Thresholds


@pytest.mark.parametrize("text", TEXTS)
def test_pain_11_the_thresholds_of_the_checkpoint_are_honoured(folder, tagger, text):
    scores = scores_of(folder, text)
    tags = tagger(text)
    assert labels_of(tags) == expected_labels(scores, [0.4, 0.55, 0.9, 0.5])
    for tag in tags:
        assert tag["score"] == pytest.approx(scores[LABELS.index(tag["label"])].item(), abs=1e-6)


def test_pain_11_every_label_has_a_threshold_of_its_own(tokenizer):
    tagger = constant_tagger(tokenizer, [0.0, 0.0, 0.0, 0.0], thresholds={"lighting": 0.4, "wood": 0.6, "garden": 1})
    assert labels_of(tagger("a lamp")) == ["lighting", "office"]


@pytest.mark.parametrize(
    ("threshold", "limits"),
    [
        (0.3, [0.3] * 4),
        (0, [0] * 4),
        (1, [1] * 4),
        (np.float32(0.5), [0.5] * 4),
        ({"wood": 0.1, "office": 1.0}, [0.4, 1.0, 0.1, 0.5]),
        ({}, [0.4, 0.55, 0.9, 0.5]),
        (None, [0.4, 0.55, 0.9, 0.5]),
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["constructor", "call"])
def test_pain_11_a_threshold_can_be_given_instead(folder, threshold, limits, where):
    given = {"threshold": threshold}
    tagger = pipeline("multi-label-tagging", model=folder, **(given if where == "constructor" else {}))
    tags = tagger(TEXTS, **(given if where == "call" else {}))
    assert [labels_of(found) for found in tags] == [expected_labels(scores_of(folder, text), limits) for text in TEXTS]


def test_the_threshold_of_a_call_comes_before_that_of_the_constructor(folder):
    tagger = pipeline("multi-label-tagging", model=folder, threshold=1, top_k=1)
    assert tagger("a lamp") == []
    assert len(tagger("a lamp", threshold=0)) == 1
    assert len(tagger("a lamp", threshold=0, top_k=2)) == 2
    assert tagger("a lamp") == []


def test_pain_11_a_score_equal_to_its_threshold_is_a_tag(tagger):
    for text in TEXTS:
        for tag in tagger(text, threshold=0):
            assert tag in tagger(text, threshold=tag["score"])
            above = np.nextafter(np.float32(tag["score"]), np.float32(2))
            assert tag not in tagger(text, threshold=float(above))


def test_pain_11_a_threshold_that_float32_rounds_down_is_reached_by_its_rounded_score(tokenizer):
    thresholds = [0.55, 0.6, 0.7, 0.8]
    logits = [nearest_logit(threshold) for threshold in thresholds]
    scores = tagging.sigmoid(np.array(logits, dtype=np.float32))
    assert np.array_equal(scores, np.array(thresholds, dtype=np.float32))
    assert any(score < threshold for score, threshold in zip(scores.tolist(), thresholds, strict=True))

    tagger = constant_tagger(tokenizer, logits, thresholds=dict(zip(LABELS, thresholds, strict=True)))
    assert labels_of(tagger("a lamp")) == LABELS[::-1]


def nearest_logit(score: float) -> float:
    """A float32 whose sigmoid is the float32 nearest to `score`."""
    logit = np.float32(math.log(score / (1 - score)))
    below = above = logit
    for _ in range(20):
        for candidate in (below, above):
            if tagging.sigmoid(candidate) == np.float32(score):
                return float(candidate)
        below, above = np.nextafter(below, np.float32(-9)), np.nextafter(above, np.float32(9))
    raise ValueError(f"No logit near {logit} has the sigmoid {score}.")


def test_pain_10_a_model_that_reaches_no_threshold_can_be_made_to_give_its_best_label(tokenizer):
    tagger = constant_tagger(tokenizer, [-3.0, -2.0, -4.0], thresholds={"lighting": 0.1, "office": 0.5, "wood": 0.03})
    assert tagger("a lamp") == []
    (tag,) = tagger("a lamp", at_least_one=True)
    assert tag["label"] == "wood"  # the nearest to its threshold, not the highest score
    assert labels_of(tagger("a lamp", at_least_one=True, threshold=0.1)) == ["office"]
    assert labels_of(tagger("a lamp", at_least_one=True, threshold=0.5)) == ["office"]


def test_at_least_one_adds_nothing_to_a_text_that_has_tags(tagger):
    tagged = [text for text in TEXTS if tagger(text)]
    assert tagged
    assert tagger(tagged, at_least_one=True) == tagger(tagged)


def test_the_highest_score_comes_first_and_top_k_keeps_it(tagger):
    for text in TEXTS:
        tags = tagger(text, threshold=0)
        scores = [tag["score"] for tag in tags]
        assert len(tags) == 4
        assert scores == sorted(scores, reverse=True)
        assert tagger(text, threshold=0, top_k=2) == tags[:2]
        assert tagger(text, threshold=0, top_k=9) == tags


def test_equal_scores_come_in_the_order_of_the_labels(tokenizer):
    labels = [f"label {number}" for number in range(300)]
    assert labels_of(constant_tagger(tokenizer, [1.0] * 300, labels)("a lamp")) == labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": {"lightning": 0.5}}, "`threshold` .*lightning; .*lighting, office, wood, garden"),
        ({"threshold": 1.5}, "`threshold` is 1.5"),
        ({"threshold": {"wood": -0.1}}, "`threshold` of 'wood' is -0.1"),
        ({"threshold": math.nan}, "`threshold` is nan"),
        ({"threshold": [0.5]}, r"`threshold` is \[0.5\]"),
        ({"threshold": np.array([0.5] * 4)}, r"`threshold` is array"),
        ({"threshold": "0.5"}, "`threshold` is '0.5'"),
        ({"top_k": 0}, "`top_k` is 0"),
        ({"at_least_one": "no"}, "`at_least_one` is 'no'"),
        ({"truncation": "longest_first"}, "`truncation` is 'longest_first'"),
        ({"truncation": False, "max_length": 4}, "`max_length` is 4 and `truncation` is False"),
        ({"max_length": 0}, "`max_length` is 0"),
        ({"batch_size": -1}, "`batch_size` is -1"),
    ],
)
def test_fault_28_39_a_wrong_argument_is_an_error_at_constructor_and_call(folder, tagger, arguments, message):
    with pytest.raises(ValueError, match=message):
        tagger("a lamp", **arguments)
    with pytest.raises(ValueError, match=message):
        pipeline("multi-label-tagging", model=folder, **arguments)


def test_pain_11_a_misspelt_argument_is_an_error(tagger):
    with pytest.raises(TypeError, match="treshold"):
        tagger("a lamp", treshold=0.9)


# Inputs


def long_and_short_texts() -> list[str]:
    words = random.Random(0).choices([*TEXTS[0].split(), "wooden", "unheard-of"], k=400)
    return [" ".join(words[i : i + i % 7]) for i in range(0, 390, 10)]


def assert_same_tags(found: list[list[dict]], expected: list[list[dict]]) -> None:
    assert [labels_of(tags) for tags in found] == [labels_of(tags) for tags in expected]
    for tags, others in zip(found, expected, strict=True):
        assert [tag["score"] for tag in tags] == pytest.approx([tag["score"] for tag in others], abs=1e-6)


@pytest.mark.parametrize("batch_size", [2, 7, 64])
@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_a_batch_gives_the_tags_of_its_texts_one_by_one(tagger, batch_size, padding_side):
    texts = ["", *TEXTS, *long_and_short_texts()]
    one_by_one = [tagger(text, threshold=0.3) for text in texts]
    tagger.tokenizer.padding_side = padding_side
    assert_same_tags(tagger(texts, batch_size=batch_size, threshold=0.3), one_by_one)


@pytest.mark.parametrize(
    "inputs",
    [
        tuple(TEXTS),
        (text for text in TEXTS),
        KeyDataset(Dataset.from_dict({"text": TEXTS}), "text"),
        Dataset.from_dict({"text": TEXTS})["text"],
    ],
    ids=["tuple", "generator", "key dataset", "column of a dataset"],
)
def test_many_kinds_of_input_give_the_tags_of_a_list(tagger, inputs):
    assert_same_tags(list(tagger(inputs, batch_size=2)), tagger(TEXTS))


@pytest.mark.parametrize("batches", [1, 2])
def test_texts_are_run_by_length_and_come_out_in_their_order(tagger, batches, monkeypatch):
    expected = tagger(TEXTS * 2)
    monkeypatch.setattr(tagging, "WINDOW_BATCHES", batches)
    seen = []
    tagger.model.register_forward_pre_hook(
        lambda model, args, inputs: seen.append(inputs["attention_mask"].sum(1).tolist()), with_kwargs=True
    )
    assert_same_tags(tagger(TEXTS * 2, batch_size=2), expected)
    assert sum(len(lengths) for lengths in seen) == len(TEXTS * 2)
    lengths = [length for lengths in seen for length in lengths]
    windows = [lengths[start : start + 2 * batches] for start in range(0, len(lengths), 2 * batches)]
    assert windows == [sorted(window, reverse=True) for window in windows]
    assert all(len(lengths) == 2 for lengths in seen)


@pytest.mark.parametrize("batches", [1, 64])
def test_the_logits_are_the_model_s_in_the_order_of_the_texts(folder, tokenizer, batches, monkeypatch):
    monkeypatch.setattr(tagging, "WINDOW_BATCHES", batches)
    tagger = pipeline("multi-label-tagging", model=folder, batch_size=3)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in TEXTS])
    for found in (tagger.logits(TEXTS), tagger.logits(iter(TEXTS), batch_size=2)):
        assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), len(LABELS)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert tagger.logits([]).shape == (0, len(LABELS))


def test_the_logits_are_of_texts_truncated_as_in_a_call_and_by_the_constructor(folder, tagger):
    truncated, whole = tagger.logits(TEXTS, max_length=2), tagger.logits(TEXTS)
    assert not np.allclose(truncated, whole, atol=1e-3)
    assert np.array_equal(pipeline("multi-label-tagging", model=folder, max_length=2).logits(TEXTS), truncated)


def test_no_texts_give_no_tags(tagger):
    assert tagger([]) == []
    assert tagger(()) == []


@pytest.mark.parametrize("text", ["", " ", "☃ ☄ ☂", "\n\t"])
def test_a_text_without_known_tokens_is_tagged(tagger, text):
    tags = tagger(text, threshold=0)
    assert sorted(labels_of(tags)) == sorted(LABELS)
    assert all(0 <= tag["score"] <= 1 for tag in tags)


# Long texts


def test_a_truncated_text_is_told_of_once(tagger, log):
    tagger(TEXTS)
    assert log.getvalue() == ""
    tagger(["a lamp " * 20, "a desk " * 30])
    tagger("a lamp " * 40)
    assert "A text of 140 characters has more tokens" in log.getvalue()
    assert log.getvalue().count("`model_max_length` of 8") == 1


@pytest.mark.parametrize("arguments", [{"truncation": True}, {"truncation": False}, {"max_length": 5}], ids=str)
def test_nothing_is_told_to_whom_decided(tagger, log, arguments):
    tagger("a lamp " * 20, **arguments)
    assert log.getvalue() == ""


def test_a_text_can_be_read_whole_or_cut_shorter(tagger):
    text = "a lamp for the desk, a lamp for the desk, a wooden desk"
    whole, cut, shorter = (
        {tag["label"]: tag["score"] for tag in tagger(text, threshold=0, **arguments)}
        for arguments in ({"truncation": False}, {"truncation": True}, {"max_length": 3})
    )
    assert whole != cut != shorter != whole
    assert shorter == {tag["label"]: tag["score"] for tag in tagger("a lamp for", threshold=0)}


def test_a_model_in_half_precision_tags(folder):
    tagger = pipeline("multi-label-tagging", model=folder, dtype=torch.bfloat16)
    assert tagger.model.dtype == torch.bfloat16
    exact = pipeline("multi-label-tagging", model=folder)(TEXTS, threshold=0)
    for tags, others in zip(tagger(TEXTS, threshold=0), exact, strict=True):
        scores = {tag["label"]: tag["score"] for tag in others}
        assert {tag["label"]: tag["score"] for tag in tags} == pytest.approx(scores, abs=0.05)


# Threads, processes and the stock machinery


def test_fault_22_threads_may_give_one_pipeline_different_maximum_lengths(tagger):
    texts = long_and_short_texts()
    limits = [4, 256, None, 6] * 12
    expected = {limit: tagger(texts, threshold=0.3, max_length=limit) for limit in set(limits)}
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda limit: tagger(texts, threshold=0.3, max_length=limit), limits)
        for limit, tags in zip(limits, found, strict=True):
            assert_same_tags(tags, expected[limit])


def test_fault_22_what_others_do_with_the_tokenizer_does_not_count(tagger):
    expected = tagger(TEXTS)
    tagger.tokenizer(TEXTS, truncation=True, max_length=1, padding="max_length")
    assert tagger(TEXTS) == expected


def test_fault_34_a_tokenizer_with_other_tokens_than_the_model_is_refused(folder, tagger):
    words = [f"word{number}" for number in range(300)]
    larger = train_tokenizer(words * 2, algorithm="word")
    with pytest.raises(ValueError, match=r"tokenizer has 302 tokens and the model's `vocab_size` is \d+"):
        pipeline("multi-label-tagging", model=folder, tokenizer=larger)
    tagger.model.config.vocab_size = 1000
    tagger.tokenizer = larger
    with pytest.raises(ValueError, match=r"tokenizer has 302 tokens and the model's `vocab_size` is 1,000"):
        tagger("a lamp")
    tagger.tokenizer = AutoTokenizer.from_pretrained(folder)
    tagger.model.config.vocab_size = len(tagger.tokenizer) + 7
    assert tagger("a lamp")
    tagger.tokenizer.add_tokens([f"new{number}" for number in range(8)])
    with pytest.raises(ValueError, match="`vocab_size`"):
        tagger("new7")


def test_fault_22_the_side_of_truncation_is_the_tokenizers_as_it_is_now(tagger):
    text = "a lamp for the wooden desk"
    right = tagger.logits(text, max_length=2)
    tagger.tokenizer.truncation_side = "left"
    assert not np.array_equal(tagger.logits(text, max_length=2), right)
    tagger.tokenizer.truncation_side = "right"
    assert np.array_equal(tagger.logits(text, max_length=2), right)


def test_fault_28_a_maximum_length_beyond_all_texts_is_none(tagger):
    assert np.array_equal(tagger.logits(TEXTS, max_length=10**30), tagger.logits(TEXTS, truncation=False))


def test_the_tokenizer_is_used_as_it_is_now(tagger):
    text = "a lamp for the desk"
    whole = tagger.logits(text)
    tagger.tokenizer.model_max_length = 2
    assert np.array_equal(tagger.logits(text), tagger.logits(text, max_length=2))
    assert not np.array_equal(tagger.logits(text), whole)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_stock_machinery_gives_the_same_tags(folder, batch_size):
    tagger = pipeline("multi-label-tagging", model=folder, threshold=0.3, at_least_one=True)
    assert_same_tags(Pipeline.__call__(tagger, TEXTS, batch_size=batch_size), tagger(TEXTS))
    options = {"threshold": {"wood": 0.1}, "top_k": 2, "max_length": 3}
    found = Pipeline.__call__(tagger, (text for text in TEXTS), batch_size=batch_size, **options)
    assert_same_tags(list(found), tagger(TEXTS, **options))
    assert_same_tags([Pipeline.__call__(tagger, TEXTS[0])], [tagger(TEXTS[0])])
    with pytest.raises(ValueError, match="Text 0 to tag is 7"):
        Pipeline.__call__(tagger, [7])


def test_a_model_in_training_mode_is_put_into_evaluation_mode(folder, tokenizer):
    model = AutoModelForSequenceClassification.from_pretrained(folder).train()
    tagger = pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)
    assert not any(module.training for module in tagger.model.modules())
    assert tagger(TEXTS) == tagger(TEXTS)


def test_a_batch_is_padded_with_the_pad_token(tokenizer, tagger):
    assert tokenizer.pad_token_id != 1
    tagger.tokenizer.pad_token = "[UNK]"
    seen = []
    tagger.model.register_forward_pre_hook(lambda model, args, inputs: seen.append(inputs), with_kwargs=True)
    tagger(TEXTS)
    (inputs,) = seen
    assert set(inputs["input_ids"][inputs["attention_mask"] == 0].tolist()) == {1}


def test_a_copy_and_a_pickled_one_are_the_same_tagger(folder):
    tagger = pipeline("multi-label-tagging", model=folder, threshold=0.3, max_length=3)
    expected = tagger(TEXTS)
    for other in (copy.deepcopy(tagger), pickle.loads(pickle.dumps(tagger))):
        assert other(TEXTS) == expected


def test_a_tokenizer_that_is_not_fast_is_an_error(tagger):
    with pytest.raises(ValueError, match=r"The tokenizer is a \w+; give a fast one"):
        make_encoder(mock.Mock(is_fast=False))
    tagger.tokenizer.model_max_length = 0
    with pytest.raises(ValueError, match="`model_max_length` is 0"):
        tagger("a lamp")
