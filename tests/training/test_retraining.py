"""Training again on all rows: how long, on what schedule, and resuming."""

import pytest
import torch
from transformers import TrainerCallback

from hf_rnn_multilabel.training.averaging import WeightAveraging
from hf_rnn_multilabel.training.retraining import StopAtFraction, retrain
from hf_rnn_multilabel.training.trainer import TaggerTrainer


EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch", "num_train_epochs": 5}
STEPS = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 10}


class Rates(TrainerCallback):
    """The learning rate of each step."""

    def __init__(self):
        self.rates = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append(optimizer.param_groups[0]["lr"])


@pytest.fixture
def chosen(build_trainer, build_tagger, rows):
    """A trainer that has trained on 8 rows, the `best` of whose evaluations was better than the others."""

    def build(best, **arguments):
        settings = {"per_device_train_batch_size": 4, "load_best_model_at_end": True, "metric_for_best_model": "f1"}
        trainer = build_trainer(build_tagger(), rows, trainer_class=TaggerTrainer, **settings | arguments)
        values = iter(range(1, 99))
        trainer.compute_metrics = lambda _: {"f1": float(next(values) == best)}
        trainer.rates = Rates()
        trainer.add_callback(trainer.rates)
        trainer.train()
        return trainer

    return build


@pytest.fixture
def train_again(build_tagger, rows, tmp_path):
    """A second model on 12 rows, of which four are new."""

    def run(trainer, *callbacks, **arguments):
        model = build_tagger(seed=1, embedding_dropout=0.3)
        return retrain(trainer, model, [*rows, *rows[:4]], str(tmp_path / "anew"), callbacks, **arguments)

    return run


@pytest.mark.parametrize("best", [1, 2, 5])
def test_the_new_model_trains_for_the_best_epoch_at_the_rates_of_the_first_schedule(chosen, train_again, best):
    trainer, rates = chosen(best, **EPOCHS), Rates()
    new = train_again(trainer, rates)
    assert (new.state.epoch, new.state.global_step, new.state.max_steps) == (best, 3 * best, 15)
    # The first step of each epoch, of 2 steps before and of 3 now, has the rate that it had.
    assert rates.rates[::3] == pytest.approx(trainer.rates.rates[::2][:best])


def test_a_schedule_in_steps_keeps_its_steps(chosen, train_again):
    assert train_again(chosen(7, **STEPS)).state.global_step == 7


def test_without_a_best_evaluation_the_new_model_trains_as_long_as_the_first(chosen, train_again):
    trainer = chosen(2, **EPOCHS | {"load_best_model_at_end": False})
    assert train_again(trainer).state.epoch == 5
    trainer.add_callback(StopAtFraction(0.6))
    trainer.train()
    assert train_again(trainer).state.epoch == 3


def test_the_first_model_and_its_arguments_stay_as_they_are(chosen, train_again):
    trainer = chosen(2, **EPOCHS)
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    arguments = trainer.args.to_dict()
    train_again(trainer)
    assert trainer.args.to_dict() == arguments
    assert all(torch.equal(before[name], weight) for name, weight in trainer.model.state_dict().items())


@pytest.mark.parametrize("averaging", [[], [0.9]], ids=["plain", "averaging"])
@pytest.mark.parametrize("arguments", [EPOCHS, STEPS], ids=["epochs", "steps"])
def test_a_retraining_that_resumes_from_any_checkpoint_ends_at_the_same_weights(
    chosen, train_again, averaging, arguments, tmp_path
):
    trainer = chosen(4, **arguments)
    whole = train_again(trainer, *map(WeightAveraging, averaging))
    checkpoints = sorted((tmp_path / "anew").glob("checkpoint-*"))
    assert len(checkpoints) == 3
    for checkpoint in checkpoints:
        resumed = train_again(trainer, *map(WeightAveraging, averaging), resume_from_checkpoint=str(checkpoint))
        assert resumed.state.global_step == whole.state.global_step
        expected = whole.model.state_dict()
        assert all(torch.equal(expected[name], weight) for name, weight in resumed.model.state_dict().items())
