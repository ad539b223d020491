"""Rows whose words stand for labels, small models of another kind, and what runs a command and reads what it left."""

import csv
import gzip
import json
import random
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.hub.run_info import RunInfo


ROOT = Path(__file__).parents[2]
WORDS = ["lamp", "desk", "wood", "garden", "chair", "blue", "tree", "light", "pen", "oak"]
LABELS = ["lighting", "office", "timber"]
SHORT = ["--per_device_train_batch_size", "16", "--num_train_epochs", "1", "--use_cpu"]
SMALL = ["--hidden_size", "8", "--embedding_size", "8", *SHORT]
# Settings of `make_bert` with which the logits differ from text to text.
WIDE = {"hidden_size": 32, "intermediate_size": 32, "initializer_range": 0.2}


def make_rows(number: int, labels=LABELS, seed: int = 0) -> list[dict]:
    """Texts of 1 to 12 words; each of the first words stands for a label."""
    draw = random.Random(seed)
    rows = []
    for _ in range(number):
        words = [draw.choice(WORDS) for _ in range(draw.randint(1, 12))]
        rows.append(
            {
                "text": " ".join(words),
                "labels": [name for name, word in zip(labels, WORDS, strict=False) if word in words],
            }
        )
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> str:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return str(path)


def write_csv(path: Path, rows: list[dict], delimiter: str = ",") -> str:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(command: str, *arguments) -> None:
    """Run a subcommand; its errors are raised."""
    import_module(f"hf_rnn_multilabel.cli.{command}").main([str(argument) for argument in arguments])


def run_train(output_dir: Path, *arguments) -> RunInfo:
    """Train a small model, and return what metrics.json holds."""
    # Embeddings from elsewhere have their own size.
    small = SMALL if "--embeddings_from" not in arguments else [*SMALL[:2], *SMALL[4:]]
    run("train", "--output_dir", output_dir, *small, *arguments)
    return RunInfo.load(output_dir)


def rows_of(info: RunInfo, split: str) -> dict[tuple[str, str], dict[str, float]]:
    """The metrics of a split by model and thresholds."""
    return {(row.model, row.thresholds): row.metrics for row in info.results[split]}


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def are_equal(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)


def make_bert(
    folder: Path, model_class: type = BertModel, mask_token: str | None = None, seed: int = 0, **settings
) -> Path:
    """Saves a small model of another kind with its tokenizer, which knows WORDS."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer([" ".join(WORDS)] * 2)
    if mask_token is not None:
        tokenizer.add_special_tokens({"mask_token": mask_token})
    small = {"hidden_size": 6, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 6}
    model_class(BertConfig(vocab_size=len(tokenizer), **small | settings)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_teacher(folder: Path, seed: int = 0) -> Path:
    """Saves a small text classifier that has LABELS in another order."""
    labels = {"id2label": dict(enumerate(LABELS[::-1])), "problem_type": "multi_label_classification"}
    return make_bert(folder, BertForSequenceClassification, seed=seed, **WIDE, **labels)


@torch.no_grad()
def logits_by_hand(folder: Path, texts: list[str]) -> np.ndarray:
    """A teacher's logits of one text after the other, in the order of LABELS."""
    model, tokenizer = BertForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    logits = torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in texts])
    names = list(model.config.id2label.values())
    return logits[:, [names.index(name) for name in LABELS]].numpy()
