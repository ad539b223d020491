"""Files of rows, and the folders that are trained once for all tests of the commands."""

import logging
import warnings
from pathlib import Path

import pytest
from helpers import make_bert, make_rows, run_train, write_jsonl


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    splits = {"train": make_rows(128), "validation": make_rows(48, seed=1), "test": make_rows(40, seed=2)}
    return {split: write_jsonl(folder / f"{split}.jsonl.gz", rows) for split, rows in splits.items()}


@pytest.fixture(scope="session")
def train_and_validation(files) -> list[str]:
    return ["--train_file", files["train"], "--validation_file", files["validation"]]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, files, train_and_validation) -> Path:
    """A folder as the command leaves it, of a model that tells the labels apart."""
    folder = tmp_path_factory.mktemp("models") / "trained"
    more = ["--num_train_epochs", "12", "--learning_rate", "0.03", "--linear_baseline"]
    more += ["--pooling", "attention", "max", "label_attention"]
    run_train(folder, *train_and_validation, "--test_file", files["test"], *more)
    return folder


@pytest.fixture(scope="session")
def retraining(files, train_and_validation) -> list[str]:
    more = ["--num_train_epochs", "4", "--learning_rate", "0.03", "--retrain_with_validation"]
    return [*train_and_validation, "--test_file", files["test"], *more]


@pytest.fixture(scope="session")
def retrained(tmp_path_factory, retraining) -> Path:
    folder = tmp_path_factory.mktemp("models") / "retrained"
    run_train(folder, *retraining, "--linear_baseline")
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    """A small model of another kind with its tokenizer."""
    return make_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def kept_checkpoints(monkeypatch):
    """A run that keeps its own folder when it has finished."""
    monkeypatch.setattr("hf_rnn_multilabel.training.folder.remove_partial", lambda folder: None)


@pytest.fixture
def loggers():
    """As they were before the command took them."""
    logger, format_warning = logging.getLogger("hf_rnn_multilabel"), warnings.formatwarning
    before = list(logger.handlers), logger.propagate, logger.level
    yield
    (logger.handlers, logger.propagate, logger.level), warnings.formatwarning = before, format_warning
