"""How fast it trains and tags, beside what one would use instead: side by side, in turns, in one run.

    python scripts/benchmark.py --model outputs/goemotions --texts test.jsonl.gz --minilm path/to/MiniLM-L6 --check
    python scripts/benchmark.py --sections step growth

Every figure is a median of runs that alternate with those of its rivals, with the least and the most beside it, since
no machine is quiet; what counts are the ratios. The rate of a plain float32 matrix product on the same machine stands
above every table, and the share of it that was reached where the arithmetic can be counted.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    default_data_collator,
    pipeline,
)

import hf_rnn_multilabel
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.model.recurrence import GATES, RnnMultilabelLayer, reversal
from hf_rnn_multilabel.provenance import processor
from hf_rnn_multilabel.tokenization import train_tokenizer


LABELS = {index: f"label {index}" for index in range(28)}
CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
# (batch, time, embedding, hidden size of a direction, share of the steps that are no padding)
SHAPES = [(64, 64, 128, 256, 0.55), (64, 64, 128, 256, 1.0), (32, 20, 384, 256, 0.9), (16, 256, 192, 256, 0.7)]
# A ratio, and what it may be at most, or must be at least.
BARS = {
    "training step, gru, fill .55: ours / packed": ("most", 0.70),
    "training step, lstm, fill .55: ours / packed": ("most", 0.45),
    "training step, gru, fill .55: ours / padded": ("most", 1.15),
    "training step, lstm, fill .55: ours / padded": ("most", 1.15),
    "training step, gru: share of the product rate": ("least", 0.70),
    "training step, lstm: share of the product rate": ("least", 0.85),
    "epoch: Trainer / bare loop": ("most", 1.10),
    "texts/s: our pipeline / MiniLM-L6, stock pipeline": ("least", 12.0),
    "texts/s: fastest / MiniLM-L6, stock pipeline": ("least", 20.0),
    "texts/s: our pipeline / our net, stock pipeline": ("least", 2.5),
    "texts/s: ONNX Runtime / our net in torch": ("least", 1.3),
    "one text: fastest / MiniLM-L6, stock pipeline": ("most", 0.15),
    "two threads of one process together / one: our pipeline": ("least", 1.0),
    "two threads of one process together / one: ONNX Runtime float32": ("least", 1.0),
    "a million texts: memory at the end / after 10,000": ("most", 1.10),
}


@dataclass
class Arguments:
    sections: list[str] = field(
        default_factory=lambda: ["step", "epoch", "tagging", "growth"], metadata={"help": "What to measure."}
    )
    model: str | None = field(default=None, metadata={"help": "A trained folder; else a net of drawn weights."})
    texts: str | None = field(default=None, metadata={"help": "jsonl (.gz) of texts; else the bundled ones."})
    minilm: str | None = field(default=None, metadata={"help": "A folder of MiniLM-L6; else it is left out."})
    distilbert: bool = field(default=False, metadata={"help": "Time a net of DistilBERT's shape, too."})
    number: int = field(default=2048, metadata={"help": "Texts to tag; the transformers tag an eighth of them."})
    rows: list[int] = field(default_factory=lambda: [1_000, 10_000, 100_000], metadata={"help": "Of files to tag."})
    repeats: int = field(default=5, metadata={"help": "Runs of each, in turns."})
    threads: int = field(default=2, metadata={"help": "Of torch and of ONNX Runtime."})
    output: str | None = field(default=None, metadata={"help": "A folder for benchmark.json and benchmark.md."})
    check: bool = field(default=False, metadata={"help": "Compare with the bars; exit with 1 where one is missed."})


class Report:
    """The rows of the tables, and the ratios that the bars are about."""

    def __init__(self, args: Arguments):
        self.args = args
        self.rows: list[dict[str, Any]] = []
        self.ratios: dict[str, float] = {}
        square = torch.randn(2048, 2048)
        self.product_rate = 2 * 2048**3 / median(race({"product": lambda: square @ square}, 9)["product"])

    def add(self, section: str, name: str, unit: str, values: list[float], **more: Any) -> None:
        """A row: the median, least and most of the values."""
        row = {"section": section, "name": name, "unit": unit}
        self.rows.append(row | {"median": median(values), "least": min(values), "most": max(values)} | more)
        print(markdown_row(self.rows[-1]), flush=True)

    def markdown(self) -> str:
        lines = []
        for section in dict.fromkeys(row["section"] for row in self.rows):
            lines += ["", f"### {section}", ""]
            lines += [f"float32 matrix product: {self.product_rate / 1e9:.0f} GFLOP/s; {processor()}.", ""]
            lines += ["| | median | least to most | of the product rate |", "|---|---|---|---|"]
            lines += [markdown_row(row) for row in self.rows if row["section"] == section]
        lines += ["", "### Ratios", "", "| ratio | measured | bar | |", "|---|---|---|---|"]
        for name, value in self.ratios.items():
            bar = BARS.get(name)
            shown = "" if bar is None else f"at {bar[0]} {bar[1]:g} | {'met' if is_met(name, value) else 'missed'}"
            lines.append(f"| {name} | {value:.3g} | {shown or ' | '} |")
        return "\n".join(lines).strip() + "\n"


def summary(found: dict[str, Any]) -> str:
    """The table of the README, from what benchmark.json holds: every path of tagging with its medians."""
    columns = {
        "Tagging in batches": "texts/s in batches",
        "One text: p50, and p5 to p95": "one text",
        "From start to the first tags, imports included": "start to first tags",
        "Peak memory of that": "memory of that",
        "Weights on disk": "weights",
    }
    shown: dict[str, dict[str, str]] = {}
    for row in found["rows"]:
        if row["section"] in columns:
            unit = "" if row["unit"] == "texts/s" else f" {row['unit']}"
            shown.setdefault(row["name"], {})[row["section"]] = f"{float(format(row['median'], '.2g')):,g}{unit}"
    lines = [f"| | {' | '.join(columns.values())} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {name} | {' | '.join(cells.get(key, '') for key in columns)} |" for name, cells in shown.items()]
    machine = f"{found['processor']}, {found['threads']} threads, {found['product_rate'] / 1e9:.0f} GFLOP/s"
    return "\n".join([f"{machine} in a float32 matrix product:", "", *lines])


def is_met(name: str, value: float) -> bool:
    kind, bar = BARS[name]
    return value <= bar if kind == "most" else value >= bar


def markdown_row(row: dict[str, Any]) -> str:
    share = row.get("share")
    return (
        f"| {row['name']} | {row['median']:,.4g} {row['unit']} | {row['least']:,.4g} to {row['most']:,.4g} "
        f"| {'' if share is None else f'{share:.2f}'} |"
    )


def race(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, in turns, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


# A training step of one layer


def measure_steps(report: Report) -> None:
    for batch, time_steps, embedding, hidden, fill in SHAPES:
        for cell_type in CELLS:
            for bidirectional in (False, True):
                shape = f"{cell_type}, {'two directions' if bidirectional else 'one'}"
                shape += f", B{batch} T{time_steps} E{embedding} H{hidden}, fill {fill:g}"
                inputs = torch.randn(batch, time_steps, embedding, requires_grad=True)
                lengths = ragged_lengths(batch, time_steps, fill)
                found = race(layer_steps(cell_type, bidirectional, hidden, inputs, lengths), report.args.repeats)
                operations = 3 * 2 * GATES[cell_type] * hidden * (embedding + hidden) * batch * time_steps
                for name, seconds in found.items():
                    share = operations * (1 + bidirectional) / median(seconds) / report.product_rate
                    values = [1e3 * value for value in seconds]
                    report.add("Training step of a layer", f"{name}: {shape}", "ms", values, share=share)
                if not bidirectional and (time_steps, embedding) == (64, 128) and cell_type != "rnn":
                    label = f"training step, {cell_type}"
                    if fill < 1:
                        for rival in ("packed", "padded"):
                            ratio = median(found["ours"]) / median(found[rival])
                            report.ratios[f"{label}, fill .55: ours / {rival}"] = ratio
                    else:
                        share = operations / median(found["ours"]) / report.product_rate
                        report.ratios[f"{label}: share of the product rate"] = share


def ragged_lengths(batch: int, time_steps: int, fill: float) -> torch.Tensor:
    """Lengths from short to whole, (batch,), whose mean is `fill` of the time."""
    shortest = max(1, round((2 * fill - 1) * time_steps))
    return torch.linspace(shortest, time_steps, batch).round().long().flip(0)


def layer_steps(
    cell_type: str, bidirectional: bool, hidden: int, inputs: torch.Tensor, lengths: torch.Tensor
) -> dict[str, Callable[[], Any]]:
    """Forward and backward of our layer, of the packed cell, and of the bare call that reads the padding too."""
    config = RnnMultilabelConfig(
        cell_type=cell_type,  # type: ignore[arg-type]
        hidden_size=hidden,
        bidirectional=bidirectional,
    )
    layer = RnnMultilabelLayer(config, inputs.shape[2]).train()
    for weight in layer.parameters():
        nn.init.uniform_(weight, -0.05, 0.05)
    cell = CELLS[cell_type](inputs.shape[2], hidden, batch_first=True, bidirectional=bidirectional)
    reversed_steps = reversal(lengths, inputs.shape[1])

    def packed() -> torch.Tensor:
        sequence = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(cell(sequence)[0], batch_first=True)[0]

    def step(forward: Callable[[], torch.Tensor], weights: list[torch.Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(forward().sum(), [inputs, *weights])

    return {
        "ours": step(lambda: layer(inputs, lengths, reversed_steps), list(layer.parameters())),
        "packed": step(packed, list(cell.parameters())),
        "padded": step(lambda: cell(inputs)[0], list(cell.parameters())),
    }


# An epoch


def measure_epoch(report: Report, texts: list[str]) -> None:
    """The stock Trainer against the same net, optimiser and batches in a bare loop."""
    tokenizer = train_tokenizer(texts, model_max_length=256)
    batch_size, labels = 32, len(LABELS)
    rows = [
        {
            "input_ids": tokens,
            "attention_mask": [1] * len(tokens),
            "labels": [float(i % labels == j) for j in range(labels)],
        }
        for i, tokens in enumerate(tokenizer(texts, truncation=True)["input_ids"])
    ]
    rows.sort(key=lambda row: len(row["input_ids"]))

    def collate(some: list[dict]) -> dict[str, torch.Tensor]:
        padded = tokenizer.pad([{key: row[key] for key in ("input_ids", "attention_mask")} for row in some])
        return default_data_collator(
            [{key: padded[key][i] for key in padded} | {"labels": row["labels"]} for i, row in enumerate(some)]
        )

    def new_model() -> RnnMultilabelForSequenceClassification:
        return RnnMultilabelForSequenceClassification(RnnMultilabelConfig(vocab_size=len(tokenizer), id2label=LABELS))

    def with_trainer() -> None:
        with tempfile.TemporaryDirectory() as folder:
            args = TrainingArguments(
                folder,
                num_train_epochs=1,
                per_device_train_batch_size=batch_size,
                train_sampling_strategy="sequential",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                logging_steps=1e9,
                use_cpu=True,
                dataloader_pin_memory=False,
            )
            Trainer(new_model(), args, train_dataset=rows, data_collator=collate).train()  # type: ignore[arg-type]

    def bare() -> None:
        model = new_model().train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
        for start in range(0, len(rows), batch_size):
            model(**collate(rows[start : start + batch_size])).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    found = race({"Trainer": with_trainer, "bare loop": bare}, max(report.args.repeats // 2, 2))
    for name, seconds in found.items():
        report.add("An epoch", f"{name}, {len(rows):,} texts", "s", seconds)
    report.ratios["epoch: Trainer / bare loop"] = median(found["Trainer"]) / median(found["bare loop"])


# Tagging


def measure_tagging(report: Report, texts: list[str], folder: str) -> None:
    """Texts a second in batches, one text's latency, and what each path costs to start and to keep."""
    args = report.args
    taggers = load_taggers(args, texts, folder)
    many = list(islice(cycle(texts), args.number))
    slow = [name for name in taggers if name.startswith(("MiniLM", "DistilBERT"))]
    numbers = {name: len(many) // 8 if name in slow else len(many) for name in taggers}
    runs: dict[str, Callable[[], Any]] = {name: partial(tag, many[: numbers[name]]) for name, tag in taggers.items()}
    rates = {}
    for name, seconds in race(runs, args.repeats).items():
        values = [numbers[name] / value for value in seconds]
        rates[name] = median(values)
        report.add("Tagging in batches", name, "texts/s", values)
    ours = rates["our pipeline"]
    fastest = max(rate for name, rate in rates.items() if name.startswith(("our pipeline", "ONNX Runtime float32")))
    report.ratios["texts/s: our pipeline / our net, stock pipeline"] = ours / rates["our net, stock pipeline"]

    ones = list(islice(cycle(texts), 100))
    latencies: dict[str, list[float]] = {name: [] for name in taggers}
    for text in ones:
        for name, tag in taggers.items():
            started = time.perf_counter()
            tag([text])
            latencies[name].append(1e3 * (time.perf_counter() - started))
    for name, values in latencies.items():
        report.add("One text: p50, and p5 to p95", name, "ms", sorted(values)[5:95])
    if "MiniLM-L6, stock pipeline" in rates:
        minilm = rates["MiniLM-L6, stock pipeline"]
        report.ratios["texts/s: our pipeline / MiniLM-L6, stock pipeline"] = ours / minilm
        report.ratios["texts/s: fastest / MiniLM-L6, stock pipeline"] = fastest / minilm
        best = min(
            median(v) for name, v in latencies.items() if name.startswith(("our pipeline", "ONNX Runtime float32"))
        )
        report.ratios["one text: fastest / MiniLM-L6, stock pipeline"] = best / median(
            latencies["MiniLM-L6, stock pipeline"]
        )
    kept = {
        "our pipeline": (folder, "model.safetensors"),
        "ONNX Runtime float32": (folder, "onnx/model.onnx"),
        "ONNX Runtime int8": (folder, "onnx/model_int8.onnx"),
        "MiniLM-L6, stock pipeline": (args.minilm, "model.safetensors"),
    }
    for name, (parent, file) in kept.items():
        if name in taggers:
            report.add("Weights on disk", name, "MB", [(Path(str(parent)) / file).stat().st_size / 1e6])
    measure_net_alone(report, texts, folder)
    measure_two_at_once(report, many, folder)
    for name, code in START_UPS.items():
        if name in taggers:
            source = args.minilm if name.startswith("MiniLM") else folder
            found = [json.loads(run_child(code, str(source), texts[0])) for _ in range(3)]
            report.add(
                "From start to the first tags, imports included", name, "s", [each["seconds"] for each in found]
            )
            report.add("Peak memory of that", name, "MB", [each["bytes"] / 1e6 for each in found])


def linear_tagger(texts: list[str]) -> Callable[[list[str]], Any]:
    """TF-IDF with a logistic regression a label, of the baseline's settings; its labels are drawn."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=200_000)
    labels = np.random.default_rng(0).random((len(texts), len(LABELS))) < 0.1
    model = make_pipeline(vectorizer, OneVsRestClassifier(LogisticRegression(C=5, solver="liblinear")))
    model.fit(texts, labels)
    return lambda some: [np.flatnonzero(row) for row in model.predict_proba(some) >= 0.5]


def load_taggers(args: Arguments, texts: list[str], folder: str) -> dict[str, Callable[[list[str]], Any]]:
    """Each path as a function of a list of texts; those whose packages or folders are absent are left out."""
    ours = pipeline("multi-label-tagging", model=folder)  # type: ignore[call-overload]
    stock = pipeline("text-classification", model=folder, top_k=None)
    compiled = pipeline("multi-label-tagging", model=folder)  # type: ignore[call-overload]
    compiled.model = torch.compile(compiled.model, dynamic=True)
    taggers: dict[str, Callable[[list[str]], Any]] = {
        "our pipeline": lambda some: ours(some, batch_size=64),
        "our pipeline, torch.compile": lambda some: compiled(some, batch_size=64),
        "our net, stock pipeline": lambda some: stock(some, batch_size=64),
        "TF-IDF + LR": linear_tagger(texts),
    }
    if find_spec("onnxruntime") is not None:
        from hf_rnn_multilabel.onnx_tagger import OnnxTagger

        for name, file in {"float32": "model.onnx", "int8": "model_int8.onnx"}.items():
            if (Path(folder) / "onnx" / file).exists():
                tagger = OnnxTagger(Path(folder) / "onnx", file=file, threads=args.threads)
                taggers[f"ONNX Runtime {name}"] = partial(tagger, batch_size=64)
    if args.minilm is not None:
        minilm = pipeline("text-classification", model=args.minilm, top_k=None, function_to_apply="sigmoid")
        taggers["MiniLM-L6, stock pipeline"] = lambda some: minilm(some, batch_size=64)
        if args.distilbert:
            tokenizer = AutoTokenizer.from_pretrained(args.minilm)
            net = DistilBertForSequenceClassification(DistilBertConfig(id2label=LABELS)).eval()
            distilbert = pipeline("text-classification", model=net, tokenizer=tokenizer, top_k=None)
            taggers["DistilBERT's shape, stock pipeline"] = lambda some: distilbert(some, batch_size=64)
    return taggers


def measure_net_alone(report: Report, texts: list[str], folder: str) -> None:
    """The nets without tokenizing: batches of 64 texts, sorted by length."""
    if not (Path(folder) / "onnx" / "model.onnx").exists():
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = report.args.threads
    session = onnxruntime.InferenceSession(Path(folder) / "onnx" / "model.onnx", options, ["CPUExecutionProvider"])
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ordered = sorted(islice(cycle(texts), report.args.number), key=lambda text: len(tokenizer(text)["input_ids"]))
    batches = [
        tokenizer(ordered[i : i + 64], padding=True, truncation=True, return_tensors="pt", return_token_type_ids=False)
        for i in range(0, len(ordered), 64)
    ]
    arrays = [{key: value.numpy() for key, value in batch.items()} for batch in batches]

    @torch.inference_mode()
    def eager() -> None:
        for batch in batches:
            model(**batch)

    found = race(
        {"our net in torch": eager, "ONNX Runtime": lambda: [session.run(None, each) for each in arrays]},
        report.args.repeats,
    )
    for name, seconds in found.items():
        report.add("The net alone, batches of 64", name, "texts/s", [len(ordered) / value for value in seconds])
    ratio = median(found["our net in torch"]) / median(found["ONNX Runtime"])
    report.ratios["texts/s: ONNX Runtime / our net in torch"] = ratio


def measure_two_at_once(report: Report, texts: list[str], folder: str) -> None:
    """Two threads of one process, each with a tagger of one thread, against one of them alone on the same cores."""
    torch.set_num_threads(1)
    pipes = [pipeline("multi-label-tagging", model=folder) for _ in range(2)]  # type: ignore[call-overload]
    pairs: dict[str, list[Callable[[list[str]], Any]]] = {
        "our pipeline": [partial(pipe, batch_size=64) for pipe in pipes]
    }
    if find_spec("onnxruntime") is not None and (Path(folder) / "onnx" / "model.onnx").exists():
        from hf_rnn_multilabel.onnx_tagger import OnnxTagger

        pairs["ONNX Runtime float32"] = [OnnxTagger(Path(folder) / "onnx", threads=1) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for name, taggers in pairs.items():

            def both(taggers: list[Callable[[list[str]], Any]] = taggers) -> None:
                list(pool.map(lambda tag: tag(texts), taggers))

            found = race({"one": partial(taggers[0], texts), "two at once": both}, report.args.repeats)
            report.add("Two at once, a thread each", f"{name}, one", "texts/s", [len(texts) / s for s in found["one"]])
            together = [2 * len(texts) / seconds for seconds in found["two at once"]]
            report.add("Two at once, a thread each", f"{name}, two together", "texts/s", together)
            ratio = 2 * median(found["one"]) / median(found["two at once"])
            report.ratios[f"two threads of one process together / one: {name}"] = ratio
    torch.set_num_threads(report.args.threads)


FIRST_TAGS = """
import sys, time; started = time.perf_counter()
{}
import json, re
used = 1024 * int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps(dict(seconds=time.perf_counter() - started, bytes=used)))
"""
STOCK = (
    "from transformers import pipeline\npipeline('text-classification', model=sys.argv[1], top_k=None)(sys.argv[2])"
)
START_UPS = {
    "our pipeline": FIRST_TAGS.format(
        "import hf_rnn_multilabel\nfrom transformers import pipeline\n"
        "pipeline('multi-label-tagging', model=sys.argv[1])(sys.argv[2])"
    ),
    "ONNX Runtime float32": FIRST_TAGS.format(
        "sys.path.insert(0, sys.argv[1] + '/onnx')\nfrom tagger import OnnxTagger\n"
        "OnnxTagger(sys.argv[1] + '/onnx')(sys.argv[2])"
    ),
    "MiniLM-L6, stock pipeline": FIRST_TAGS.format(STOCK),
}


def run_child(*arguments: str) -> str:
    """The last line that `python -c` of these arguments prints."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"A child of the benchmark failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


# Growth


def measure_growth(report: Report, folder: str) -> None:
    """Time and memory against the length of texts, the number of labels, the vocabulary, and the rows of a file."""
    for name, sizes in {
        "time_steps": [16, 64, 256, 1024, 4096],
        "num_labels": [10, 100, 1_000, 10_000, 30_000],
        "vocab_size": [1_000, 10_000, 100_000],
    }.items():
        for size in sizes:
            found = [json.loads(run_child(TRAINING_STEP, json.dumps({name: size}))) for _ in range(2)]
            report.add("Growth: a training step of 16 texts", f"{name} {size:,}", "ms", [each["ms"] for each in found])
            report.add("Growth: memory of that", f"{name} {size:,}", "MB", [each["bytes"] / 1e6 for each in found])
    used = {}
    for number in report.args.rows:
        with tempfile.TemporaryDirectory() as temporary:
            lines = (json.dumps({"text": f"a lamp of {index % 997} lights for the desk"}) for index in range(number))
            source = Path(temporary) / "rows.jsonl"
            source.write_text("\n".join(lines))
            script = str(Path(__file__).with_name("tag.py"))
            found = json.loads(run_child(TAG_FILE, script, folder, str(source), f"{temporary}/tagged.jsonl"))
            used[number] = found["bytes"]
            report.add("Growth: tagging a file", f"{number:,} rows", "texts/s", [number / found["seconds"]])
            report.add("Growth: memory of that", f"{number:,} rows", "MB", [found["bytes"] / 1e6])
    if {10_000, 1_000_000} <= used.keys():
        report.ratios["a million texts: memory at the end / after 10,000"] = used[1_000_000] / used[10_000]


TRAINING_STEP = """
import json, re, sys, time, torch
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
settings = json.loads(sys.argv[1])
time_steps = settings.pop("time_steps", 32)
model = RnnMultilabelForSequenceClassification(RnnMultilabelConfig(**{"num_labels": 28} | settings)).train()
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
ids = torch.randint(1, model.config.vocab_size, (16, time_steps))
labels = (torch.rand(16, model.config.num_labels) < 0.1).float()
for turn in range(3):
    started = time.perf_counter()
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
ms = 1e3 * (time.perf_counter() - started)
used = 1024 * int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps(dict(ms=ms, bytes=used)))
"""
TAG_FILE = """
import json, re, runpy, sys, time
script, model, source, output = sys.argv[1:]
started = time.perf_counter()
sys.argv = [script, "--model", model, "--input", source, "--output", output]
runpy.run_path(script, run_name="__main__")
used = 1024 * int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps(dict(seconds=time.perf_counter() - started, bytes=used)))
"""


def read_texts(path: str | None) -> list[str]:
    source = Path(path) if path is not None else Path(hf_rnn_multilabel.__file__).parent / "demo" / "train.jsonl"
    with (gzip.open if source.suffix == ".gz" else open)(source, "rt") as file:
        return [json.loads(line)["text"] for line in file]


def new_folder(texts: list[str], folder: str) -> str:
    """A net of the default size with drawn weights: as fast as a trained one."""
    tokenizer = train_tokenizer(texts, model_max_length=256)
    config = RnnMultilabelConfig(vocab_size=len(tokenizer), id2label=LABELS)
    RnnMultilabelForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    torch.set_num_threads(args.threads)
    texts = read_texts(args.texts)
    report = Report(args)
    print(f"float32 matrix product: {report.product_rate / 1e9:.0f} GFLOP/s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model or new_folder(texts, temporary)
        if "step" in args.sections:
            measure_steps(report)
        if "epoch" in args.sections:
            measure_epoch(report, texts)
        if "tagging" in args.sections:
            measure_tagging(report, texts, folder)
        if "growth" in args.sections:
            measure_growth(report, folder)
    markdown = report.markdown()
    print("\n" + markdown)
    if args.output is not None:
        Path(args.output).mkdir(parents=True, exist_ok=True)
        found = {
            "processor": processor(),
            "threads": args.threads,
            "product_rate": report.product_rate,
            "ratios": report.ratios,
            "rows": report.rows,
        }
        (Path(args.output) / "benchmark.json").write_text(json.dumps(found, indent=2) + "\n")
        (Path(args.output) / "benchmark.md").write_text(markdown)
    if args.check:
        missed = [name for name, value in report.ratios.items() if name in BARS and not is_met(name, value)]
        unmeasured = [name for name in BARS if name not in report.ratios]
        print(f"Missed: {missed or 'none'}. Not measured: {unmeasured or 'none'}.")
        if missed:
            sys.exit(1)


if __name__ == "__main__":
    main()
