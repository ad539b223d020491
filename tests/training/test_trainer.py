"""The stock `Trainer` with a learning rate of its own for the embeddings."""

import warnings
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from transformers import EvalPrediction, TrainingArguments

from hf_rnn_multilabel.training import steps
from hf_rnn_multilabel.training.recipe import Recipe
from hf_rnn_multilabel.training.trainer import TaggerTrainer


STEPS = {"max_steps": 3, "per_device_train_batch_size": 4, "learning_rate": 0.01, "weight_decay": 0.1}


def train(build_tagger, build_trainer, rows, factor, **arguments):
    trainer = build(build_trainer, build_tagger().train(), rows, factor, **STEPS | arguments)
    trainer.train()
    return trainer


def build(build_trainer, model, rows, factor, **arguments):
    options = {"embedding_lr_factor": factor}
    return build_trainer(model, rows, trainer_class=TaggerTrainer, options=options, **arguments)


def test_the_factor_1_is_the_stock_training_to_the_bit(build_tagger, build_trainer, rows):
    stock = build_trainer(build_tagger().train(), rows, **STEPS)
    stock.train()
    scaled = train(build_tagger, build_trainer, rows, 1.0).model.state_dict()
    assert all(torch.equal(weight, scaled[name]) for name, weight in stock.model.state_dict().items())


def test_the_first_step_of_the_embeddings_is_shorter_by_the_factor_and_that_of_the_others_is_not(
    build_tagger, build_trainer, rows
):
    start = dict(build_tagger().named_parameters())
    whole = train(build_tagger, build_trainer, rows, 1.0, max_steps=1).model.state_dict()
    scaled = train(build_tagger, build_trainer, rows, 0.1, max_steps=1).model.state_dict()
    for name, weight in start.items():
        weight = weight.detach()
        factor = 0.1 if name == "rnn.inputs.embed_tokens.weight" else 1.0
        assert (whole[name] - weight).abs().max() > 1e-4
        torch.testing.assert_close(scaled[name] - weight, factor * (whole[name] - weight), atol=2e-7, rtol=0)


def test_the_schedule_goes_for_the_embeddings_too(build_tagger, build_trainer, rows):
    trainer = train(build_tagger, build_trainer, rows, 0.1, lr_scheduler_type="linear", max_steps=2)
    rates = [group["lr"] for group in trainer.optimizer.param_groups]
    assert len(rates) == 3 and rates == [0, 0, 0]
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.01, 0.01, 0.001])
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.1, 0, 0.1]


def test_the_factor_0_leaves_the_embeddings_as_they_are(build_tagger, build_trainer, rows):
    model = train(build_tagger, build_trainer, rows, 0.0).model
    start = build_tagger().state_dict()
    unchanged = {name for name, weight in model.named_parameters() if torch.equal(weight, start[name])}
    assert unchanged == {"rnn.inputs.embed_tokens.weight"}


@pytest.mark.parametrize("factor", [0.0, 0.1])
def test_every_model_that_a_search_tries_has_its_embeddings_at_their_rate(build_tagger, build_trainer, rows, factor):
    start = build_tagger().state_dict()["rnn.inputs.embed_tokens.weight"]
    arguments = STEPS | {"max_steps": 1}
    trainer = build(build_trainer, None, rows, factor, model_init=lambda: build_tagger().train(), **arguments)
    whole = train(build_tagger, build_trainer, rows, 1.0, max_steps=1).model.get_input_embeddings().weight - start
    for _ in range(2):
        trainer.train()
        moved = trainer.model.get_input_embeddings().weight - start
        torch.testing.assert_close(moved, factor * whole, atol=2e-7, rtol=0)


@pytest.mark.parametrize("factor", [0.0, 0.1])
def test_an_optimizer_that_is_given_is_refused(build_tagger, rows, tmp_path, factor):
    model = build_tagger()
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    optimizers = torch.optim.SGD(model.parameters(), lr=0.1), None
    with pytest.raises(ValueError, match="An optimizer is given, a SGD, so `embedding_lr_factor`"):
        TaggerTrainer(model, args, embedding_lr_factor=factor, optimizers=optimizers)
    assert TaggerTrainer(model, args, embedding_lr_factor=1, optimizers=optimizers).optimizer is optimizers[0]


@pytest.mark.parametrize("factor", [-0.1, 1.1, float("nan")])
def test_a_factor_out_of_its_range_is_refused(build_tagger, build_trainer, rows, factor):
    with pytest.raises(ValueError, match=r"`embedding_lr_factor` is .*; it must be in \[0, 1\]"):
        build(build_trainer, build_tagger(), rows, factor)


def test_an_evaluation_is_one_line(build_tagger, build_trainer, rows, caplog, capsys):
    caplog.set_level("INFO", "hf_rnn_multilabel")
    arguments = STEPS | {"eval_strategy": "steps", "eval_steps": 3}
    build(build_trainer, build_tagger().train(), rows, 1.0, **arguments).train()
    (record,) = [record for record in caplog.records if "on validation" in record.message]
    assert "step 3: loss 0." in record.message
    assert "eval_loss" not in capsys.readouterr().out


def test_the_logits_of_a_training_are_not_taken_for_probabilities():
    inputs = SimpleNamespace(rows={"train": [], "validation": []}, tokenizer=None, distillation=None)
    with mock.patch.object(steps, "TaggerTrainer") as trainer:
        steps.make_trainer(Recipe(), inputs, None, model=None)
    compute_metrics = trainer.call_args.kwargs["compute_metrics"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compute_metrics(EvalPrediction(np.array([[2.0], [0.5]]), np.array([[1], [0]])))["f1_micro"] == 1
