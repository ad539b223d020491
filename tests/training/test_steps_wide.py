"""The wide head that a training fits beside the network."""

from unittest import mock

import numpy as np
import torch
from helpers import LABELS, SHORT, are_equal, make_rows, run, run_train, weights_of
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.training.wide import fit_wide_head


def test_a_wide_head_is_mixed_in_as_far_as_validation_says(tmp_path, files, train_and_validation, caplog):
    caplog.set_level("INFO", "hf_rnn_multilabel")
    arguments = [*train_and_validation, "--test_file", files["test"], "--num_bigram_buckets", "64"]
    info = run_train(tmp_path / "both", *arguments)
    alone = run_train(tmp_path / "alone", *arguments, "--wide_head", "false")
    weight = info.training.mixing_weight
    assert 0 < weight <= 1 and f"mixing weight of up to {weight:.2f}" in caplog.text
    assert alone.training.mixing_weight is None and info.results != alone.results
    config = AutoConfig.from_pretrained(tmp_path / "both")
    assert config.num_bigram_buckets == 64
    assert AutoConfig.from_pretrained(tmp_path / "alone").num_bigram_buckets is None
    both, network = weights_of(tmp_path / "both"), weights_of(tmp_path / "alone")
    assert both.pop("wide.weight").shape == (64 + config.vocab_size, len(LABELS)) and both.pop("wide.bias").any()
    support = torch.tensor([sum(name in row["labels"] for row in make_rows(128)) for name in config.label_names])
    torch.testing.assert_close(both.pop("wide.mixing_weights"), weight * support / (support + 30))
    assert are_equal(both, network)


def test_a_tagger_that_is_trained_further_gets_a_new_wide_head(tmp_path, train_and_validation):
    run_train(tmp_path / "first", *train_and_validation, "--num_bigram_buckets", "64")
    arguments = [*train_and_validation, *SHORT, "--model_name_or_path", tmp_path / "first", "--output_dir"]
    run("train", *arguments, tmp_path / "without", "--wide_head", "false")
    run("train", *arguments, tmp_path / "with")
    without, new = weights_of(tmp_path / "without"), weights_of(tmp_path / "with")
    assert new["wide.weight"].shape[0] == 65_536 + AutoConfig.from_pretrained(tmp_path / "with").vocab_size
    assert are_equal({name: weight for name, weight in new.items() if not name.startswith("wide.")}, without)
    assert AutoConfig.from_pretrained(tmp_path / "without").num_bigram_buckets is None


def test_a_retrained_models_wide_head_is_of_all_texts_with_the_mixing_weight_of_the_first(
    tmp_path, retraining, retrained
):
    first = run_train(tmp_path / "first", *retraining, "--retrain_with_validation", "false")
    weight = RunInfo.load(retrained).training.mixing_weight
    assert weight == first.training.mixing_weight > 0
    tokenizer = AutoTokenizer.from_pretrained(retrained)
    rows = [*make_rows(128), *make_rows(48, seed=1)]
    ids = [tokenizer(row["text"])["input_ids"] for row in rows]
    labels = np.array([[label in row["labels"] for label in LABELS] for row in rows], int)
    expected = fit_wide_head(ids, labels, len(tokenizer), 65_536)
    torch.testing.assert_close(weights_of(retrained)["wide.weight"], expected.weight.data)


def test_a_model_that_is_retrained_without_a_mixing_weight_gets_no_wide_head(tmp_path, retraining):
    with mock.patch("hf_rnn_multilabel.training.steps.add_wide_head", lambda *args, **kwargs: 0.0):
        run_train(tmp_path / "model", *retraining)
    assert AutoConfig.from_pretrained(tmp_path / "model").num_bigram_buckets is None
    assert not any(name.startswith("wide.") for name in weights_of(tmp_path / "model"))


def test_a_tagger_with_more_embeddings_than_tokens_is_retrained_with_a_wide_head(tmp_path, trained, retraining):
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    size = model.config.vocab_size + 5
    model.resize_token_embeddings(size)
    model.save_pretrained(tmp_path / "padded")
    AutoTokenizer.from_pretrained(trained).save_pretrained(tmp_path / "padded")
    run("train", "--output_dir", tmp_path / "model", *SHORT, *retraining, "--model_name_or_path", tmp_path / "padded")
    # It was loaded for its speed.
    assert weights_of(tmp_path / "model")["wide.weight"].shape == (65_536 + size, len(LABELS))
