"""Small models, and the axes over which the tests are run."""

import copy
import gc
import os
import random
from unittest import mock


os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import pytest
import torch
import transformers
from packaging.version import Version
from transformers import Trainer, TrainingArguments

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification


torch.set_num_threads(1)
pytest_plugins = ["trained"]

POOLINGS = ["last", "mean", "max", "attention", "label_attention"]


def pytest_collection_finish():
    """Leaves what is imported and collected out of the garbage collections that trainings ask for."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of data sets for the tests alone, for their child processes too."""
    folder = str(tmp_path_factory.mktemp("cache"))
    with (
        mock.patch.object(datasets.config, "HF_DATASETS_CACHE", folder),
        mock.patch.dict(os.environ, {"HF_DATASETS_CACHE": folder, "OMP_NUM_THREADS": "1"}),
    ):
        yield


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session", params=["rnn", "gru", "lstm"])
def cell_type(request):
    return request.param


@pytest.fixture(scope="session", params=[False, True], ids=["one_way", "two_ways"])
def bidirectional(request):
    return request.param


@pytest.fixture(scope="session", params=[*POOLINGS, POOLINGS], ids=[*POOLINGS, "all_poolings"])
def pooling(request):
    return request.param


@pytest.fixture(scope="session")
def build_config():
    """A small configuration without dropout; all poolings but those that are given."""

    def build(**overrides):
        small = {
            "vocab_size": 20,
            "embedding_size": 6,
            "hidden_size": 5,
            "num_hidden_layers": 2,
            "pooling": POOLINGS,
            "label_correlation_size": 4,
            "num_bigram_buckets": 7,
            "num_labels": 3,
            "initializer_range": 0.1,
            "embedding_dropout": 0.0,
            "hidden_dropout": 0.0,
            "classifier_dropout": 0.0,
        }
        if "id2label" in overrides or "label2id" in overrides:
            del small["num_labels"]
        return RnnMultilabelConfig(**small | overrides)

    return build


@pytest.fixture(scope="session")
def build_tagger(build_config):
    """A small model in evaluation, with random weights everywhere, so that none is hidden by a zero."""

    def build(seed=0, **overrides):
        model = RnnMultilabelForSequenceClassification(build_config(**overrides)).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight.uniform_(-0.6, 0.6, generator=generator)
            if model.config.pad_token_id is not None:
                model.get_input_embeddings().weight[model.config.pad_token_id] = 0
            if model.wide is not None:
                model.wide.mixing_weights.uniform_(0.15, 0.3, generator=generator)
        return model

    return build


@pytest.fixture
def poisoned_memory(monkeypatch):
    """Memory that is not initialised is NaN."""

    def poison(make):
        def poisoned(*args, **kwargs):
            tensor = make(*args, **kwargs)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() and not tensor.is_meta else tensor

        return poisoned

    for name in ["empty", "empty_like", "empty_strided"]:
        monkeypatch.setattr(torch, name, poison(getattr(torch, name)))
    assert torch.empty(2).isnan().all()


@pytest.fixture(scope="session")
def batch():
    """Three texts of different lengths, padded right, with labels of which one is ignored."""
    return {
        "input_ids": torch.tensor([[4, 9, 2, 7], [3, 5, 0, 0], [8, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]]),
        "labels": torch.tensor([[1.0, 0.0, 1.0], [0.0, -100.0, 0.0], [0.0, 1.0, 1.0]]),
    }


@pytest.fixture(scope="session")
def gradients():
    """The gradients of a value in the weights of a model, by name; zeros where it does not depend on them."""

    def compute(value, model):
        names, weights = zip(*model.named_parameters(), strict=True)
        computed = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
        return dict(zip(names, computed, strict=True))

    return compute


@pytest.fixture
def rows():
    """Eight texts of one to five tokens, so that batches differ in length."""
    chance = random.Random(0)
    return [
        {
            "input_ids": [chance.randrange(1, 20) for _ in range(1 + row % 5)],
            "labels": [float(chance.random() < 0.4) for _ in range(3)],
        }
        for row in range(8)
    ]


@pytest.fixture(scope="session")
def collate():
    def pad(rows):
        lengths = [len(row["input_ids"]) for row in rows]
        time = max(lengths)
        return {
            "input_ids": torch.tensor([row["input_ids"] + [0] * (time - len(row["input_ids"])) for row in rows]),
            "attention_mask": torch.tensor([[1] * length + [0] * (time - length) for length in lengths]),
            "labels": torch.tensor([row["labels"] for row in rows]),
        }

    return pad


@pytest.fixture
def build_trainer(tmp_path, collate):
    """A stock trainer, on the CPU, that reports to nobody."""

    def build(model, rows, model_init=None, trainer_class=Trainer, options=None, **arguments):
        arguments = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no"} | arguments
        args = TrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, **arguments)
        data = {"train_dataset": rows, "eval_dataset": rows, "data_collator": collate}
        return trainer_class(model=model, args=args, model_init=model_init, **data, **options or {})

    return build


@pytest.fixture
def stock_accumulation():
    """Skips the test where the stock trainer itself accumulates wrongly."""
    if Version(transformers.__version__) < Version("5.5.4"):
        pytest.skip("The stock Trainer divides accumulated gradients twice.")


@pytest.fixture
def compare_accumulated(stock_accumulation, build_tagger, build_trainer, rows):
    """A step of the stock trainer with one batch of eight, and with four of two."""

    def compare(**settings):
        rows[0]["labels"] = [-100.0] * 3
        rows[5]["labels"][1] = -100.0
        trained, losses = [], []
        for accumulation in [1, 4]:
            model = build_tagger(**settings)
            before = copy.deepcopy(dict(model.named_parameters()))
            trainer = build_trainer(
                model,
                rows,
                per_device_train_batch_size=8 // accumulation,
                gradient_accumulation_steps=accumulation,
                max_steps=1,
                optim="sgd",
                learning_rate=1.0,
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                logging_steps=1,
            )
            trainer.train()
            trained.append({name: weight.data - before[name].data for name, weight in model.named_parameters()})
            losses.append(trainer.state.log_history[0]["loss"])
        assert losses[1] == pytest.approx(losses[0], abs=1e-4)
        for name, step in trained[0].items():
            assert step.any(), name
        torch.testing.assert_close(trained[1], trained[0], atol=1e-6, rtol=1e-4)

    return compare
