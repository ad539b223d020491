"""The bag of tokens that training puts beside the net."""

from unittest import mock

import numpy as np
import torch
import train
from helpers import LABELS, SHORT, are_equal, make_rows, run, run_train, weights_of
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from hf_rnn_multilabel.training.wide import fit_bag


def test_a_bag_of_tokens_is_mixed_in_as_far_as_validation_says(tmp_path, files, train_and_validation, capsys):
    arguments = [*train_and_validation, "--test_file", files["test"], "--bag_pairs", "64"]
    facts = run_train(tmp_path / "both", *arguments)
    alone = run_train(tmp_path / "alone", *arguments, "--bag_of_tokens", "false")
    share = facts["training"]["mixing_weight"]
    assert 0 < share <= 1 and f"Up to {share:.0%} of a logit come from" in capsys.readouterr().out
    assert alone["training"]["mixing_weight"] is None
    assert facts["validation"] != alone["validation"] and facts["test"] != alone["test"]
    config = AutoConfig.from_pretrained(tmp_path / "both")
    assert (config.bag_weight, config.bag_pairs) == (share, 64)
    both, net = weights_of(tmp_path / "both"), weights_of(tmp_path / "alone")
    assert both.pop("bag.weight").shape == (64 + config.vocab_size, len(LABELS)) and both.pop("bag.bias").any()
    present = torch.tensor([sum(name in row["labels"] for row in make_rows(128)) for name in config.label_names])
    torch.testing.assert_close(both.pop("bag.shrinkage"), present / (present + 30))
    assert are_equal(both, net)


def test_a_tagger_that_is_trained_on_gets_a_new_bag(tmp_path, train_and_validation):
    run_train(tmp_path / "first", *train_and_validation, "--bag_pairs", "64")
    arguments = [*train_and_validation, *SHORT, "--model_name_or_path", tmp_path / "first", "--output_dir"]
    run(train, *arguments, tmp_path / "without", "--bag_of_tokens", "false")
    run(train, *arguments, tmp_path / "with")
    without, new = weights_of(tmp_path / "without"), weights_of(tmp_path / "with")
    assert new.pop("bag.weight").shape[0] == 65_536 + AutoConfig.from_pretrained(tmp_path / "with").vocab_size
    assert are_equal({name: weight for name, weight in new.items() if not name.startswith("bag.")}, without)
    assert AutoConfig.from_pretrained(tmp_path / "without").bag_weight == 0


def test_a_retrained_nets_bag_is_of_all_texts_with_the_share_of_the_first(tmp_path, files, retraining, retrained):
    run_train(tmp_path / "first", *retraining, "--retrain_with_validation", "false")
    old, new = (AutoConfig.from_pretrained(folder).bag_weight for folder in (tmp_path / "first", retrained))
    assert old == new > 0
    tokenizer = AutoTokenizer.from_pretrained(retrained)
    rows = [*make_rows(128), *make_rows(48, seed=1)]
    ids = [tokenizer(row["text"])["input_ids"] for row in rows]
    labels = np.array([[label in row["labels"] for label in LABELS] for row in rows], int)
    bag = fit_bag(ids, labels, len(tokenizer), 65_536)
    torch.testing.assert_close(weights_of(retrained)["bag.weight"], bag.weight.data)
    torch.testing.assert_close(weights_of(retrained)["bag.shrinkage"], bag.shrinkage)


def test_a_net_that_is_retrained_without_a_share_gets_no_bag(tmp_path, retraining):
    with mock.patch.object(train, "add_bag", lambda *arguments: 0.0):
        run_train(tmp_path / "model", *retraining)
    assert AutoConfig.from_pretrained(tmp_path / "model").bag_weight == 0
    assert not any(name.startswith("bag.") for name in weights_of(tmp_path / "model"))


def test_a_tagger_with_more_embeddings_than_tokens_is_retrained_with_a_bag(tmp_path, trained, retraining):
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    size = model.config.vocab_size + 5
    model.resize_token_embeddings(size)
    model.save_pretrained(tmp_path / "padded")
    AutoTokenizer.from_pretrained(trained).save_pretrained(tmp_path / "padded")
    run(train, "--output_dir", tmp_path / "model", *SHORT, *retraining, "--model_name_or_path", tmp_path / "padded")
    # It was loaded for its speed.
    assert weights_of(tmp_path / "model")["bag.weight"].shape == (65_536 + size, len(LABELS))
