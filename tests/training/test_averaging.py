"""The moving average of the weights: its arithmetic, and that it leaves the training alone."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, TrainerCallback

from hf_rnn_multilabel.training.averaging import RAW_WEIGHTS, WeightAveraging


DROPOUT = {"embedding_dropout": 0.3, "hidden_dropout": 0.3, "classifier_dropout": 0.3}
STEPS = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 2, "max_steps": 6}
EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch", "num_train_epochs": 3}


class Recorder(TrainerCallback):
    """The weights after each step, and those that each evaluation and each checkpoint saw."""

    def __init__(self):
        self.trained, self.evaluated, self.saved = {}, {}, {}

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.trained[state.global_step + 1] = weights_of(model)

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        self.evaluated[state.global_step] = weights_of(model)

    def on_save(self, args, state, control, model=None, **kwargs):
        self.saved[state.global_step] = weights_of(model)


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def are_equal(weights, others):
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def are_close(weights, others):
    return weights.keys() == others.keys() and all(
        torch.allclose(weights[name].double(), others[name].double(), atol=1e-6) for name in weights
    )


def averages(initial, trained, decay):
    """By hand, in float64: the average after each step."""
    average = {name: weight.double() for name, weight in initial.items()}
    found = {}
    for step, weights in trained.items():
        kept = min(decay, (1 + step) / (10 + step))
        average = {name: kept * average[name] + (1 - kept) * weights[name].double() for name in average}
        found[step] = average
    return found


@pytest.fixture
def train(build_trainer, build_tagger, rows):
    """Train a small net; its trainer and what a recorder saw. `decay=None`: without averaging."""

    def run(decay=0.999, callbacks=(), resume=None, compute_metrics=None, **arguments):
        settings = {"per_device_train_batch_size": 2, "learning_rate": 0.05, "optim": "sgd"} | arguments
        trainer = build_trainer(build_tagger(**DROPOUT), rows, **settings)
        trainer.compute_metrics = compute_metrics
        recorder = Recorder()
        for callback in (*callbacks, *([] if decay is None else [WeightAveraging(decay)]), recorder):
            trainer.add_callback(callback)
        trainer.train(resume_from_checkpoint=resume)
        return trainer, recorder

    return run


@pytest.mark.parametrize("decay", [0.999, 0.2])
def test_the_average_is_that_by_hand(train, build_tagger, decay):
    trainer, recorder = train(decay, max_steps=3)
    initial = weights_of(build_tagger(**DROPOUT))
    expected = averages(initial, recorder.trained, decay)[3]
    assert are_close(weights_of(trainer.model), expected)
    assert not are_close(recorder.trained[3], expected)
    assert not are_close(expected, averages(initial, recorder.trained, 0.9 if decay == 0.2 else 0.2)[3])


@pytest.mark.parametrize("arguments", [STEPS, EPOCHS, STEPS | {"gradient_accumulation_steps": 2}])
def test_the_average_is_evaluated_and_saved_and_the_training_is_that_without_it(train, build_tagger, arguments):
    plain = train(None, **arguments)[1].trained
    trainer, recorder = train(**arguments)
    assert plain.keys() == recorder.trained.keys() and all(are_equal(plain[n], recorder.trained[n]) for n in plain)
    expected = averages(weights_of(build_tagger(**DROPOUT)), plain, 0.999)
    assert len(recorder.saved) == 3 and recorder.saved.keys() == recorder.evaluated.keys()
    for step, saved in recorder.saved.items():
        folder = f"{trainer.args.output_dir}/checkpoint-{step}"
        assert are_close(saved, expected[step]) and are_equal(saved, recorder.evaluated[step])
        checkpoint = load_file(f"{folder}/model.safetensors")
        assert are_equal({name: checkpoint[name] for name in saved}, saved)
        assert are_equal(load_file(f"{folder}/{RAW_WEIGHTS}"), plain[step])
    assert are_equal(weights_of(trainer.model), saved)


@pytest.mark.parametrize(("arguments", "step"), [(STEPS, 2), (STEPS, 4), (EPOCHS, 4), (EPOCHS, 12)])
def test_a_run_that_goes_on_has_the_weights_of_one_that_was_not_stopped(train, arguments, step):
    trainer, whole = train(optim="adamw_torch", **arguments)
    checkpoint = f"{trainer.args.output_dir}/checkpoint-{step}"
    for later in [saved for saved in whole.saved if saved > step]:
        shutil.rmtree(f"{trainer.args.output_dir}/checkpoint-{later}")
    resumed, recorder = train(optim="adamw_torch", resume=checkpoint, **arguments)
    assert min(recorder.trained, default=step + 1) == step + 1
    assert all(are_equal(weights, whole.trained[n]) for n, weights in recorder.trained.items())
    assert all(are_equal(weights, whole.saved[n]) for n, weights in recorder.saved.items())
    assert are_equal(weights_of(resumed.model), weights_of(trainer.model))


def test_the_best_average_is_kept_where_the_training_stops_early(train):
    values = iter([0.1, 0.3, 0.2, 0.1, 0.4])
    trainer, recorder = train(
        callbacks=[EarlyStoppingCallback(2)],
        compute_metrics=lambda _: {"f1": next(values)},
        load_best_model_at_end=True,
        metric_for_best_model="f1",
        save_total_limit=1,
        **EPOCHS | {"num_train_epochs": 9},
    )
    assert list(recorder.evaluated) == [4, 8, 12, 16]
    assert are_equal(weights_of(trainer.model), recorder.evaluated[8])


def test_a_checkpoint_of_the_best_alone_has_the_average(train):
    values = iter([0.1, 0.3, 0.2])
    arguments = {"save_strategy": "best", "metric_for_best_model": "f1", "load_best_model_at_end": True}
    trainer, recorder = train(compute_metrics=lambda _: {"f1": next(values)}, **EPOCHS | arguments)
    assert list(recorder.saved) == [4, 8]
    assert are_equal(weights_of(trainer.model), recorder.evaluated[8])
    assert are_equal(load_file(f"{trainer.args.output_dir}/checkpoint-8/{RAW_WEIGHTS}"), recorder.trained[8])


@pytest.mark.parametrize("arguments", [{"max_steps": 1}, {"max_steps": 6}, {"num_train_epochs": 2}])
def test_without_evaluation_and_checkpoints_the_last_average_is_kept(train, build_tagger, arguments):
    trainer, recorder = train(**arguments)
    expected = averages(weights_of(build_tagger(**DROPOUT)), recorder.trained, 0.999)
    assert are_close(weights_of(trainer.model), expected[max(expected)])
    assert trainer.evaluate()["eval_loss"] != pytest.approx(train(None, **arguments)[0].evaluate()["eval_loss"])
    assert are_close(weights_of(trainer.model), expected[max(expected)])


def test_frozen_weights_and_buffers_stay_as_they_are(build_trainer, build_tagger, rows):
    model = build_tagger(label_frequencies={"LABEL_0": 0.1}, positive_weights="balanced")
    model.rnn.inputs.embed_tokens.requires_grad_(False)
    embeddings, factors = model.rnn.inputs.embed_tokens.weight.clone(), model.positive_weights.clone()
    classifier = model.classifier.weight.clone()
    trainer = build_trainer(model, rows, max_steps=4)
    trainer.add_callback(WeightAveraging(0.9))
    trainer.train()
    assert torch.equal(model.rnn.inputs.embed_tokens.weight, embeddings) and torch.equal(
        model.positive_weights, factors
    )
    assert not torch.equal(model.classifier.weight, classifier)


def test_a_second_training_starts_a_new_average(train):
    trainer = train(max_steps=3)[0]
    initial = weights_of(trainer.model)
    recorder = Recorder()
    trainer.add_callback(recorder)
    trainer.train()
    assert are_close(weights_of(trainer.model), averages(initial, recorder.trained, 0.999)[3])


def test_a_checkpoint_without_raw_weights_cannot_be_gone_on_from(train):
    trainer = train(None, **STEPS)[0]
    with pytest.raises(ValueError, match=rf"checkpoint-2/{RAW_WEIGHTS}.*start anew"):
        train(resume=f"{trainer.args.output_dir}/checkpoint-2", **STEPS)


def test_a_checkpoint_that_a_later_callback_asks_for_is_an_error(build_trainer, build_tagger, rows):
    class Saver(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = True

    trainer = build_trainer(build_tagger(), rows, max_steps=2)
    trainer.add_callback(WeightAveraging(0.9))
    trainer.add_callback(Saver())
    with pytest.raises(ValueError, match=r"checkpoint-1 .*raw weights; add `WeightAveraging` after"):
        trainer.train()


@pytest.mark.parametrize("decay", [0, 1, -0.5, np.nan])
def test_a_decay_out_of_its_range_is_an_error(decay):
    with pytest.raises(ValueError, match="`decay` is"):
        WeightAveraging(decay)
