"""A training with a search for settings before it."""

import json
from unittest import mock

import pytest
import torch
from helpers import SHORT, run, run_train
from transformers import AutoConfig, AutoModel, BertModel

from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.training import steps


def test_the_best_settings_of_a_search_on_validation_are_trained_with(
    tmp_path, files, train_and_validation, kept_checkpoints
):
    seen = []

    def search_and_see(trainer, *arguments):
        seen.extend([len(trainer.train_dataset), len(trainer.eval_dataset)])
        return train_search(trainer, *arguments)

    train_search = steps.search
    arguments = [*train_and_validation, "--test_file", files["test"], "--search_trials", 2]
    arguments += ["--hidden_size", 128, "--embedding_dropout", 0.2, "--pooling", "attention", "max"]
    with mock.patch.object(steps, "search", search_and_see):
        info = run_train(tmp_path / "model", *arguments)
    assert seen == [128, 48]
    trials = json.loads((tmp_path / "model" / "search.json").read_text())["trials"]
    # The first one has the settings that were given, or are the default.
    assert trials[0]["settings"] == {
        "learning_rate": 4e-3,
        "per_device_train_batch_size": 16,
        "hidden_size": 128,
        "num_hidden_layers": 1,
        "pooling": "attention max",
        "word_dropout": 0.0,
        "embedding_dropout": 0.2,
        "hidden_dropout": 0.4,
        "classifier_dropout": 0.4,
    }
    best = max(trials, key=lambda trial: trial["value"])
    # The model that is kept is that of the best trial, not another one of the same settings.
    (checkpoint,) = (tmp_path / f"model{PARTIAL}").glob("checkpoint-*")
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    assert state["best_metric"] == best["value"] > min(trial["value"] for trial in trials)
    search = info.search
    assert (search.settings, search.value, search.metric, search.trials) == (
        best["settings"],
        best["value"],
        "f1_micro",
        2,
    )
    config = AutoConfig.from_pretrained(tmp_path / "model")
    assert (config.hidden_size, config.poolings) == (
        best["settings"]["hidden_size"],
        best["settings"]["pooling"].split(),
    )
    assert info.training.learning_rate == best["settings"]["learning_rate"]
    assert info.training.batch_size == best["settings"]["per_device_train_batch_size"]
    assert not list((tmp_path / f"model{PARTIAL}" / "search").rglob("checkpoint-*"))


def test_a_search_tries_models_with_the_embeddings_that_are_given(tmp_path, train_and_validation, bert):
    theirs = BertModel.from_pretrained(bert).get_input_embeddings().weight
    train_search, tried = steps.search, []

    def search_and_see(trainer, *arguments):
        def see_and_evaluate(*given, **named):
            tried.append(trainer.model.get_input_embeddings().weight[: len(theirs)].detach().clone())
            return evaluate(*given, **named)

        evaluate, trainer.evaluate = trainer.evaluate, see_and_evaluate
        return train_search(trainer, *arguments)

    given = ["--embeddings_from", bert, "--embedding_lr_factor", 0, "--search_trials", 1]
    with mock.patch.object(steps, "search", search_and_see):
        info = run_train(tmp_path / "model", *train_and_validation, *given)
    assert tried and all(torch.equal(each, theirs) for each in tried)
    assert info.training.embedding_lr_factor == 0
    weight = AutoModel.from_pretrained(tmp_path / "model").get_input_embeddings().weight
    assert torch.equal(weight[: len(theirs)], theirs)


def test_the_settings_of_a_checkpoint_are_not_searched(tmp_path, trained, train_and_validation):
    arguments = ["--model_name_or_path", trained, "--search_trials", 1, *SHORT, *train_and_validation]
    with pytest.raises(ValueError, match=r"`search_trials` is 1, .*trained'"):
        run("train", "--output_dir", tmp_path / "model", *arguments)
