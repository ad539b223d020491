"""The folder of a small tagger as a training leaves it, and its run information with all fields filled in."""

from pathlib import Path
from typing import Any

import torch

from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.hub.model_card import build_card, save_card
from hf_rnn_multilabel.hub.run_info import (
    CalibrationInfo,
    DatasetInfo,
    LabelResult,
    MetricRow,
    RunInfo,
    SpeedInfo,
    SplitInfo,
    TrainingInfo,
)


CODE = {path.name for path in Path(__file__).parents[2].glob("hf_rnn_multilabel/model/*.py")} - {"__init__.py"}
MODEL = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
LABELS = ["lighting", "office", "wood"]
TEXTS = ["a lamp of oak", "one more desk", ""]
THRESHOLDS = ("0.5", "global threshold", "per-label thresholds")


def make_folder(folder: Path) -> Path:
    """Save a tagger of LABELS with random weights, its tokenizer, run information, a plot and its card."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS[:2] * 2, model_max_length=16)
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=8,
        hidden_size=8,
        initializer_range=1.0,
        id2label=dict(enumerate(LABELS)),
        thresholds=dict(zip(LABELS, (0.3, 0.4, 0.5), strict=True)),
        num_bigram_buckets=None,
    )
    RnnMultilabelForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    run_info = make_run_info(LABELS, name=folder.name, plots={"plots/one.png": "A plot. What it shows."})
    (folder / "plots").mkdir()
    (folder / "plots" / "one.png").write_bytes(b"\x89PNG")
    run_info.save(folder)
    save_card(build_card(config, run_info), folder)
    return folder


def metric_row(model: str, thresholds: str, f1: float) -> MetricRow:
    metrics = {
        "f1_micro": f1,
        "f1_macro": f1 / 2,
        "f1_weighted": f1 / 3,
        "f1_samples": f1 / 4,
        "precision_micro": f1 / 5,
        "precision_macro": f1 / 6,
        "recall_micro": f1 / 7,
        "recall_macro": f1 / 9,
        "hamming_loss": f1 / 8,
        "subset_accuracy": f1 / 16,
        "lrap": 0.987654,
        "map_macro": None,
        "precision_at_1": 0.976543,
    }
    return MetricRow(model=model, thresholds=thresholds, metrics=metrics)


def label_result(name: str, index: int, **changes: Any) -> LabelResult:
    values = {
        "label": name,
        "support": 11 + index,
        "predicted": 1,
        "precision": 0.1 + 0.8 / (index + 1),
        "recall": 0.2 + 0.7 / (index + 1),
        "f1": 0.3 + 0.6 / (index + 1),
        "train_support": 1001 + index,
        "threshold": 0.0004321 + index / 1000,
    }
    return LabelResult(**values | changes)


def make_dataset_info(**changes: Any) -> DatasetInfo:
    values = {
        "name": "Moods",
        "id": "someone/moods",
        "config": "simple",
        "license": "cc-by-4.0",
        "citation": "@misc{moods,\n  title={Moods}\n}",
        "revisions": {"train": "1a" * 20, "validation": "2b" * 20, "test": "3c" * 20},
    }
    return DatasetInfo(**values | changes)


def make_training_info(**changes: Any) -> TrainingInfo:
    values = {
        "batch_size": 33,
        "learning_rate": 0.00234,
        "schedule": "linear",
        "warmup": 0.15,
        "weight_decay": 0.013,
        "optimizer": "adamw_torch_fused",
        "epochs": 6.0,
        "best_epoch": 4.0,
        "selected_by": "f1_micro",
        "steps": 3000,
        "seed": 17,
        "seconds": 61.7,
        "tokenizer": "a wordpiece one of the training texts",
        "embeddings_from": "MiniLM",
    }
    return TrainingInfo(**values | changes)


def make_run_info(names=("calm", "joy"), splits=("validation", "test"), without=(), **changes: Any) -> RunInfo:
    """Run information in which each number is another; `without` names fields that are left at their default."""
    values: dict[str, Any] = {
        "name": "tagger",
        "license": "apache-2.0",
        "language": ["en", "no"],
        "dataset": make_dataset_info(),
        "splits": {
            "train": SplitInfo(rows=12345, truncated=4321),
            "validation": SplitInfo(rows=1300, truncated=2),
            "test": SplitInfo(rows=1400, truncated=3),
        },
        "max_length": 256,
        "label_description": "2 labels (calm, joy), read from names. A train row carries 1.50 on average.",
        "threshold_method": "shrinkage",
        "results": {
            split: [
                metric_row("this model", kind, 0.8123 - row / 9 - place / 50) for row, kind in enumerate(THRESHOLDS)
            ]
            for place, split in enumerate(splits)
        },
        "labels": [label_result(name, index) for index, name in enumerate(names)],
        "calibration": CalibrationInfo(expected_calibration_error=0.012345, bins=15),
        "plots": {"plots/one.png": "The first. What it shows.", "plots/two.png": "The second. And this."},
        "num_parameters": 1234567,
        "weight_bytes": 4_938_268,
        "training": make_training_info(),
        "speed": SpeedInfo(texts_per_second=2712.3, batch_size=257, threads=2, processor="2 cores, a small CPU"),
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
    } | changes
    return RunInfo(**{name: value for name, value in values.items() if name not in without})
