"""A training step against packed sequences and the bare call, and an epoch against a bare loop and a peer."""

import json
import tempfile
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import Trainer, TrainingArguments, default_data_collator

from benchmarks.report import LABELS, POOLING, Report, run_child, time_in_turns
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.model.recurrence import GATES, ReadingOrders, RnnMultilabelLayer


CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
# (batch, time, embedding, hidden size per direction, fraction of the time steps that are no padding)
SHAPES = [(64, 64, 128, 256, 0.55), (64, 64, 128, 256, 1.0), (32, 20, 384, 256, 0.9), (16, 256, 192, 256, 0.7)]


def measure_steps(report: Report) -> None:
    """Measure training steps of one layer, for each shape, cell and number of directions."""
    for batch, time_steps, embedding, hidden, fill in SHAPES:
        for cell_type in CELLS:
            for bidirectional in (False, True):
                shape = f"{cell_type}, {'two directions' if bidirectional else 'one'}"
                shape += f", B{batch} T{time_steps} E{embedding} H{hidden}, fill {fill:g}"
                inputs = torch.randn(batch, time_steps, embedding, requires_grad=True)
                lengths = ragged_lengths(batch, time_steps, fill)
                times = time_in_turns(
                    layer_steps(cell_type, bidirectional, hidden, inputs, lengths), report.args.repeats
                )
                operations = 3 * 2 * GATES[cell_type] * hidden * (embedding + hidden) * batch * time_steps
                for name, seconds in times.items():
                    fraction = operations * (1 + bidirectional) / median(seconds) / report.product_rate
                    values = [1e3 * value for value in seconds]
                    report.add("Training step of a layer", f"{name}: {shape}", "ms", values, share=fraction)
                if not bidirectional and (time_steps, embedding) == (64, 128) and cell_type != "rnn":
                    label = f"training step, {cell_type}"
                    if fill < 1:
                        for other in ("packed", "padded"):
                            ratio = median(times["ours"]) / median(times[other])
                            report.ratios[f"{label}, fill .55: ours / {other}"] = ratio
                    else:
                        fraction = operations / median(times["ours"]) / report.product_rate
                        report.ratios[f"{label}: share of the product rate"] = fraction


def ragged_lengths(batch: int, time_steps: int, fill: float) -> torch.Tensor:
    """Return lengths from short to whole, (batch,), whose mean is `fill` of the time."""
    shortest = max(1, round((2 * fill - 1) * time_steps))
    return torch.linspace(shortest, time_steps, batch).round().long().flip(0)


def layer_steps(
    cell_type: str, bidirectional: bool, hidden: int, inputs: torch.Tensor, lengths: torch.Tensor
) -> dict[str, Callable[[], Any]]:
    """Return forward and backward of our layer, the packed cell, and the bare call that reads the padding too."""
    config = RnnMultilabelConfig(
        cell_type=cell_type,  # type: ignore[arg-type]
        hidden_size=hidden,
        bidirectional=bidirectional,
    )
    layer = RnnMultilabelLayer(config, inputs.shape[2]).train()
    for weight in layer.parameters():
        nn.init.uniform_(weight, -0.05, 0.05)
    cell = CELLS[cell_type](inputs.shape[2], hidden, batch_first=True, bidirectional=bidirectional)
    orders = ReadingOrders.of(torch.arange(inputs.shape[1]) < lengths[:, None])

    def packed() -> torch.Tensor:
        sequence = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(cell(sequence)[0], batch_first=True)[0]

    def step(forward: Callable[[], torch.Tensor], weights: list[torch.Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(forward().sum(), [inputs, *weights])

    return {
        "ours": step(lambda: layer(inputs, orders), list(layer.parameters())),
        "packed": step(packed, list(cell.parameters())),
        "padded": step(lambda: cell(inputs)[0], list(cell.parameters())),
    }


def measure_epoch(report: Report, texts: list[str]) -> None:
    """Measure the stock `Trainer` against the same model and batches in a bare loop, and against LibMultiLabel."""
    tokenizer = train_tokenizer(texts, model_max_length=256)
    labels = len(LABELS)
    rows = [
        {
            "input_ids": tokens,
            "attention_mask": [1] * len(tokens),
            "labels": [float(i % labels == j) for j in range(labels)],
        }
        for i, tokens in enumerate(tokenizer(texts, truncation=True)["input_ids"])
    ]
    rows.sort(key=lambda row: len(row["input_ids"]))

    def collate(batch: list[dict]) -> dict[str, torch.Tensor]:
        padded = tokenizer.pad([{key: row[key] for key in ("input_ids", "attention_mask")} for row in batch])
        return default_data_collator(
            [{key: padded[key][i] for key in padded} | {"labels": row["labels"]} for i, row in enumerate(batch)]
        )

    def with_trainer(sampling: str, batch_size: int, **settings: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            args = TrainingArguments(
                folder,
                num_train_epochs=1,
                per_device_train_batch_size=batch_size,
                train_sampling_strategy=sampling,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_steps=1e9,
                use_cpu=True,
                dataloader_pin_memory=False,
            )
            model = new_model(len(tokenizer), **settings)
            Trainer(model, args, train_dataset=rows, data_collator=collate).train()

    def bare(batch_size: int = 32) -> None:
        model = new_model(len(tokenizer)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
        for start in range(0, len(rows), batch_size):
            model(**collate(rows[start : start + batch_size])).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    repeats = max(report.args.repeats // 2, 2)
    times = time_in_turns({"Trainer": partial(with_trainer, "sequential", 32), "bare loop": bare}, repeats)
    for name, seconds in times.items():
        report.add("An epoch", f"{name}, {len(rows):,} texts", "s", seconds)
    report.ratios["epoch: Trainer / bare loop"] = median(times["Trainer"]) / median(times["bare loop"])
    if report.args.peer_python is None:
        return
    # The peer's model: GloVe's 100 features, 256 per direction, one attention per label, batches of 64.
    same = {"cell_type": "gru", "pooling": "label_attention", "embedding_size": 100, "hidden_size": 256}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        runs: dict[str, Callable[[], Any]] = {
            "our GRU with label attention": partial(with_trainer, "group_by_length", 64, **same),
            "LibMultiLabel's BiGRULWAN": lambda: float(
                run_child(PEER_EPOCH, file.name, str(report.args.threads), python=report.args.peer_python)
            ),
        }
        times = time_in_turns(runs, repeats)
    for name, seconds in times.items():
        report.add("An epoch", f"{name}, {len(rows):,} texts", "s", seconds)
    ratio = median(times["our GRU with label attention"]) / median(times["LibMultiLabel's BiGRULWAN"])
    report.ratios["epoch: our GRU with label attention / LibMultiLabel's BiGRULWAN"] = ratio


def new_model(vocab_size: int, **settings: Any) -> RnnMultilabelForSequenceClassification:
    """Return a model with random weights."""
    settings = {"pooling": POOLING, "id2label": LABELS} | settings
    return RnnMultilabelForSequenceClassification(RnnMultilabelConfig(vocab_size=vocab_size, **settings))


# Its time from the first batch to the last, without the start of its process and the making of its vocabulary.
PEER_EPOCH = """
import json, os, sys, tempfile, time, torch
from libmultilabel.nn.data_utils import get_dataset_loader, load_or_build_text_dict, tokenize
from libmultilabel.nn.nn_utils import init_model, init_trainer
torch.set_num_threads(int(sys.argv[2]))
classes = [f"label {index}" for index in range(28)]
texts = json.load(open(sys.argv[1]))
rows = [{"text": tokenize(text), "label": [classes[i % 28]]} for i, text in enumerate(texts)]
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)  # it leaves checkpoints where it stands
    open(folder + "/vectors.txt", "w").write("the " + " ".join(["0.1"] * 100))
    words, vectors = load_or_build_text_dict(rows, min_vocab_freq=2, embed_file=folder + "/vectors.txt", silent=True)
    loader = get_dataset_loader(
        rows, classes, torch.device("cpu"), max_seq_length=256, batch_size=64, shuffle=True, word_dict=words
    )
    model = init_model(
        "BiGRULWAN", {"rnn_dim": 512}, classes, torch.randn_like(vectors), learning_rate=1e-3, silent=True,
        monitor_metrics=["Micro-F1"], val_metric="Micro-F1", log_path=folder + "/log",
    )
    trainer = init_trainer(folder, epochs=1, silent=True, use_cpu=True, save_checkpoints=False)
    started = time.perf_counter()
    trainer.fit(model, loader)
    print(time.perf_counter() - started)
"""
