"""What is said of a training, and what is chosen where nothing is said."""

import re
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from helpers import run_train
from transformers import EvalPrediction

from hf_rnn_multilabel import RnnMultilabelConfig
from hf_rnn_multilabel.evaluation import compute_metrics
from hf_rnn_multilabel.training.initialization import objective_numbers
from hf_rnn_multilabel.training.recipe import (
    NETWORK,
    SELECTION_METRICS,
    Recipe,
    Traits,
    check,
    resolve,
    trainer_arguments,
)
from hf_rnn_multilabel.training.tagger import split_settings


def traits(**changes) -> Traits:
    return Traits(**{"num_rows": 100, "num_labels": 28, "vocab_size": 1_000, "max_length": 256} | changes)


@pytest.mark.parametrize(("max_length", "labels", "most"), [(256, 28, 256), (256, 8_207, 127), (4_096, 80_000, 1)])
def test_an_evaluation_batch_holds_as_many_texts_as_label_attention_has_room_for(max_length, labels, most):
    resolved = resolve(Recipe(), traits(max_length=max_length, num_labels=labels))
    assert resolved.per_device_eval_batch_size == most


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs", "dropout"),
    [
        (100, 16, 30, 0.4),
        (1_600, 16, 30, 0.4),
        (9_999, 16, 5, 0.4),
        (10_000, 32, 10, 0.1),
        (32_000, 32, 3, 0.1),
        (10**6, 32, 3, 0.1),
    ],
)
def test_batches_epochs_and_dropout_are_those_for_the_number_of_texts(rows, batch_size, epochs, dropout):
    resolved = resolve(Recipe(), traits(num_rows=rows))
    assert (resolved.per_device_train_batch_size, resolved.num_train_epochs) == (batch_size, epochs)
    assert (resolved.embedding_dropout, resolved.classifier_dropout, resolved.hidden_dropout) == (
        dropout,
        dropout,
        0.4,
    )


@pytest.mark.parametrize(
    ("recipe", "embeds_from_model", "rate", "factor"),
    [
        (Recipe(), False, 4e-3, 1),
        (Recipe(embeddings_from="a-model"), True, 2e-3, 0.1),
        (Recipe(embeddings_from="a-file"), False, 2e-3, 1),
        (Recipe(model_name_or_path="a-model"), False, 2e-3, 1),
    ],
    ids=["new", "of a model", "of a file", "checkpoint"],
)
def test_the_learning_rates_are_those_for_where_the_model_starts(recipe, embeds_from_model, rate, factor):
    resolved = resolve(recipe, traits(embeds_from_model=embeds_from_model))
    assert (resolved.learning_rate, resolved.embedding_lr_factor) == (rate, factor)


def test_what_is_said_stays():
    said = {"learning_rate": 0.0, "num_train_epochs": 2.0, "embedding_lr_factor": 0.5, "wide_head": True}
    said |= {"per_device_train_batch_size": 7, "per_device_eval_batch_size": 9, "pooling": ["max"]}
    said |= {"embedding_dropout": 0.0, "classifier_dropout": 0.3, "embeddings_from": "a-model"}
    resolved = resolve(Recipe(**said), traits(num_rows=20_000, vocab_size=10**7))
    assert {name: getattr(resolved, name) for name in said} == said


def test_a_recipe_is_frozen_and_resolves_to_the_same_every_time():
    recipe = Recipe()
    assert resolve(recipe, traits()) == resolve(recipe, traits()) == resolve(resolve(recipe, traits()), traits())
    assert recipe == Recipe()
    with pytest.raises(FrozenInstanceError):
        recipe.learning_rate = 1.0


def test_the_recipe_and_the_configuration_start_from_the_same_settings():
    resolved, config = resolve(Recipe(), traits()), RnnMultilabelConfig()
    assert {name: getattr(resolved, name) for name in NETWORK} == {name: getattr(config, name) for name in NETWORK}
    assert Recipe().objective == config.objective


def test_only_what_has_no_default_stays_open():
    resolved = resolve(Recipe(), traits())
    is_open = {each.name for each in fields(Recipe) if getattr(resolved, each.name) is None}
    assert is_open == {
        "embeddings_from",
        "model_name_or_path",
        "tokenizer_name",
        "prune_vocabulary",
        "objective_parameters",
        "tokenizer_algorithm",
        "vocab_size",
        "lowercase",
    }


def test_labels_of_whose_names_nothing_is_known_have_no_label_attention():
    assert resolve(Recipe(), traits(named_labels=0.5)).pooling == ["attention", "max", "label_attention"]
    assert resolve(Recipe(), traits(named_labels=0.4)).pooling == ["attention", "max"]
    assert resolve(Recipe(pooling=["label_attention"]), traits(named_labels=0)).pooling == ["label_attention"]


@pytest.mark.parametrize(("labels", "expected"), [(2_000, True), (2_001, False)])
def test_a_wide_head_that_is_not_asked_for_is_left_out_where_it_is_large(labels, expected):
    of = traits(vocab_size=4_000, num_labels=labels)
    assert resolve(Recipe(num_bigram_buckets=1_000), of).wide_head is expected
    for said in (False, True):
        assert resolve(Recipe(num_bigram_buckets=1_000, wide_head=said), of).wide_head is said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_name_or_path": "a", "embeddings_from": "b"}, "brings its own tokenizer"),
        ({"model_name_or_path": "a", "search_trials": 2}, "`search_trials` is 2"),
        ({"embedding_lr_factor": 0.1}, "`embedding_lr_factor` is 0.1, but the embeddings are new"),
        (
            {"embedding_lr_factor": 2.0, "embeddings_from": "b"},
            r"`embedding_lr_factor` is 2.0; it must be in \[0, 1\]",
        ),
        ({"search_trials": -1}, "`search_trials` is -1"),
        ({"model_name_or_path": "a", "vocab_size": 9}, r"\['vocab_size'\] are given, but `model_name_or_path`"),
        ({"tokenizer_name": "a", "lowercase": False}, r"\['lowercase'\] are given, but `tokenizer_name`"),
        ({"embeddings_from": "a", "tokenizer_algorithm": "bpe"}, r"but `embeddings_from` 'a' brings its tokenizer"),
        ({"embeddings_from": __file__, "tokenizer_algorithm": "bpe"}, "are of whole words"),
        ({"embeddings_from": __file__, "embedding_size": 9}, "`embedding_size` is 9"),
        ({"training_arguments": {"dataloader_drop_last": True}}, "`dataloader_drop_last` is True"),
        ({"training_arguments": {"eval_strategy": "no"}}, "`eval_strategy` is no"),
        ({"training_arguments": {"seed": 3}}, r"\['seed'\]"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        check(Recipe(**settings))


def test_a_setting_that_nothing_takes_is_an_error_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"'learning_rat'; near are \['learning_rate'"):
        split_settings({"learning_rat": 1e-3})
    data, recipe, card = split_settings({"text_column": "body", "hidden_size": 8, "license": "mit", "max_steps": 3})
    assert (data.text_column, recipe.hidden_size, card.license) == ("body", 8, "mit")
    assert recipe.training_arguments == {"max_steps": 3}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_without_an_accelerator_is_that_of_the_cpu(tmp_path, monkeypatch, precision):
    monkeypatch.setattr("hf_rnn_multilabel.training.recipe.has_accelerator", lambda: False)
    recipe = resolve(Recipe(training_arguments={precision: True}), traits())
    args = trainer_arguments(recipe, str(tmp_path))
    assert args.use_cpu and getattr(args, precision)


def test_the_stock_arguments_are_those_of_the_recipe(tmp_path):
    said = {"max_grad_norm": 3.0, "eval_strategy": "steps", "save_strategy": "steps", "use_cpu": True}
    recipe = resolve(Recipe(seed=7, training_arguments=said), traits())
    args = trainer_arguments(recipe, str(tmp_path), num_train_epochs=2)
    assert (args.seed, args.max_grad_norm, args.num_train_epochs, args.eval_strategy) == (7, 3.0, 2, "steps")
    assert args.learning_rate == 4e-3 and args.train_sampling_strategy == "group_by_length"
    with pytest.raises(ValueError, match=r"takes no \['hidden_sise'\]"):
        trainer_arguments(Recipe(training_arguments={"hidden_sise": 8}), str(tmp_path))


@pytest.mark.parametrize("wrong", ["gamma", "gamma=", "gamma=two", "gamma=true", "gamma=[2]", "gamma 2"])
def test_a_parameter_of_the_objective_that_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match=re.escape(f"holds {wrong!r}")):
        objective_numbers(["margin=0.1", wrong])


def test_parameters_of_the_objective_are_whole_numbers_or_fractions_each_given_once():
    numbers = objective_numbers(["samples=8", "cross_entropy=.5", "mu=1e-3"])
    assert repr(numbers) == "{'samples': 8, 'cross_entropy': 0.5, 'mu': 0.001}"
    with pytest.raises(ValueError, match="holds 'gamma=2'"):
        objective_numbers(["gamma=1", "gamma=2"])


@pytest.mark.parametrize("factor", ["0", "0.1"])
def test_new_embeddings_learn_at_the_rate_of_the_rest(tmp_path, train_and_validation, factor):
    with pytest.raises(ValueError, match=r"`embedding_lr_factor` is .*, but the embeddings are new"):
        run_train(tmp_path / "model", *train_and_validation, "--embedding_lr_factor", factor)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"learning_rate": -1.0}, "`learning_rate` is -1.0"),
        ({"num_train_epochs": 0.0}, "`num_train_epochs` is 0.0"),
        ({"per_device_train_batch_size": 0}, "`per_device_train_batch_size` is 0"),
        ({"training_arguments": {"metric_for_best_model": "f1"}}, "`metric_for_best_model` is 'f1'.*'f1_micro'"),
    ],
    ids=str,
)
def test_settings_with_which_nothing_is_trained_are_told_at_once(setting, message):
    with pytest.raises(ValueError, match=message):
        check(Recipe(**setting))


def test_an_epoch_can_be_selected_by_every_metric_of_an_evaluation():
    found = compute_metrics(EvalPrediction(np.array([[2.0, -2.0], [-1.0, 1.5]]), np.array([[1.0, 0.0], [0.0, 1.0]])))
    assert found.keys() - {"threshold"} | {"loss"} == SELECTION_METRICS
    for name in SELECTION_METRICS:
        check(Recipe(training_arguments={"metric_for_best_model": f"eval_{name}"}))
