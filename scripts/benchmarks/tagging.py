"""Texts per second, latency, start-up, memory and size of each path from a text to its tags."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    pipeline,
)

from benchmarks.report import LABELS, Report, run_child, time_in_turns


def measure_tagging(report: Report, texts: list[str], folder: str) -> None:
    """Measure texts per second in batches, the latency of one text, and what each path costs to start and to keep."""
    args = report.args
    taggers = load_taggers(args, texts, folder)
    many = list(islice(cycle(texts), args.number))
    slow = [name for name in taggers if name.startswith(("MiniLM", "DistilBERT"))]
    numbers = {name: len(many) // 8 if name in slow else len(many) for name in taggers}
    runs: dict[str, Callable[[], Any]] = {name: partial(tag, many[: numbers[name]]) for name, tag in taggers.items()}
    rates = {}
    for name, seconds in time_in_turns(runs, args.repeats).items():
        values = [numbers[name] / value for value in seconds]
        rates[name] = median(values)
        report.add("Tagging in batches", name, "texts/s", values)
    ours = rates["our pipeline"]
    fastest = max(rate for name, rate in rates.items() if name.startswith(("our pipeline", "ONNX Runtime float32")))
    report.ratios["texts/s: our pipeline / our net, stock pipeline"] = ours / rates["our net, stock pipeline"]

    # In blocks: after each text another path's threads would still be spinning, and the weights out of the cache.
    latencies: dict[str, list[float]] = {name: [] for name in taggers}
    ones = list(islice(cycle(texts), 200))
    for block in (ones[start : start + 20] for start in range(0, len(ones), 20)):
        for name, tag in taggers.items():
            time.sleep(0.3)
            for text in block:
                started = time.perf_counter()
                tag([text])
                latencies[name].append(1e3 * (time.perf_counter() - started))
    for name, values in latencies.items():
        report.add("One text: p50, and p5 to p95", name, "ms", sorted(values)[10:190])
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
    weights = {
        "our pipeline": (folder, "model.safetensors"),
        "ONNX Runtime float32": (folder, "onnx/model.onnx"),
        "ONNX Runtime int8": (folder, "onnx/model_int8.onnx"),
        "MiniLM-L6, stock pipeline": (args.minilm, "model.safetensors"),
    }
    for name, (parent, file) in weights.items():
        if name in taggers:
            report.add("Weights on disk", name, "MB", [(Path(str(parent)) / file).stat().st_size / 1e6])
    measure_model_alone(report, texts, folder)
    measure_two_at_once(report, many, folder)
    for name, code in START_UPS.items():
        if name in taggers:
            source = args.minilm if name.startswith("MiniLM") else folder
            starts = [json.loads(run_child(code, str(source), texts[0])) for _ in range(3)]
            seconds = [start["seconds"] for start in starts]
            report.add("From start to the first tags, imports included", name, "s", seconds)
            report.add("Peak memory of that", name, "MB", [start["bytes"] / 1e6 for start in starts])


def linear_tagger(texts: list[str]) -> Callable[[list[str]], Any]:
    """Return TF-IDF with a one-vs-rest logistic regression, with the baseline's settings, on random labels."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=200_000)
    labels = np.random.default_rng(0).random((len(texts), len(LABELS))) < 0.1
    model = make_pipeline(vectorizer, OneVsRestClassifier(LogisticRegression(C=5, solver="liblinear")))
    model.fit(texts, labels)
    return lambda batch: [np.flatnonzero(row) for row in model.predict_proba(batch) >= 0.5]


def load_taggers(args: Any, texts: list[str], folder: str) -> dict[str, Callable[[list[str]], Any]]:
    """Return each path as a function of a list of texts; those without their packages or folders are left out."""
    ours = pipeline("multi-label-tagging", model=folder)  # type: ignore[call-overload]
    stock = pipeline("text-classification", model=folder, top_k=None)
    compiled = pipeline("multi-label-tagging", model=folder)  # type: ignore[call-overload]
    compiled.model = torch.compile(compiled.model, dynamic=True)
    taggers: dict[str, Callable[[list[str]], Any]] = {
        "our pipeline": lambda batch: ours(batch, batch_size=64),
        "our pipeline, torch.compile": lambda batch: compiled(batch, batch_size=64),
        "our net, stock pipeline": lambda batch: stock(batch, batch_size=64),
        "TF-IDF + LR": linear_tagger(texts),
    }
    if find_spec("onnxruntime") is not None:
        from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger

        for name, file in {"float32": "model.onnx", "int8": "model_int8.onnx"}.items():
            if (Path(folder) / "onnx" / file).exists():
                tagger = OnnxTagger(Path(folder) / "onnx", file=file, threads=args.threads)
                taggers[f"ONNX Runtime {name}"] = partial(tagger, batch_size=64)
    if args.minilm is not None:
        minilm = pipeline("text-classification", model=args.minilm, top_k=None, function_to_apply="sigmoid")
        taggers["MiniLM-L6, stock pipeline"] = lambda batch: minilm(batch, batch_size=64)
        if args.distilbert:
            tokenizer = AutoTokenizer.from_pretrained(args.minilm)
            model = DistilBertForSequenceClassification(DistilBertConfig(id2label=LABELS)).eval()
            distilbert = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
            taggers["DistilBERT's shape, stock pipeline"] = lambda batch: distilbert(batch, batch_size=64)
    return taggers


def measure_model_alone(report: Report, texts: list[str], folder: str) -> None:
    """Measure the models without tokenizing: batches of 64 texts, sorted by length."""
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

    runs = {"our net in torch": eager, "ONNX Runtime": lambda: [session.run(None, batch) for batch in arrays]}
    times = time_in_turns(runs, report.args.repeats)
    for name, seconds in times.items():
        report.add("The net alone, batches of 64", name, "texts/s", [len(ordered) / value for value in seconds])
    ratio = median(times["our net in torch"]) / median(times["ONNX Runtime"])
    report.ratios["texts/s: ONNX Runtime / our net in torch"] = ratio


def measure_two_at_once(report: Report, texts: list[str], folder: str) -> None:
    """Measure two threads of one process, each with a tagger of one thread, against one of them alone."""
    torch.set_num_threads(1)
    pipes = [pipeline("multi-label-tagging", model=folder) for _ in range(2)]  # type: ignore[call-overload]
    pairs: dict[str, list[Callable[[list[str]], Any]]] = {
        "our pipeline": [partial(pipe, batch_size=64) for pipe in pipes]
    }
    if find_spec("onnxruntime") is not None and (Path(folder) / "onnx" / "model.onnx").exists():
        from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger

        pairs["ONNX Runtime float32"] = [OnnxTagger(Path(folder) / "onnx", threads=1) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for name, taggers in pairs.items():

            def both(taggers: list[Callable[[list[str]], Any]] = taggers) -> None:
                list(pool.map(lambda tag: tag(texts), taggers))

            times = time_in_turns({"one": partial(taggers[0], texts), "two at once": both}, report.args.repeats)
            alone = [len(texts) / seconds for seconds in times["one"]]
            together = [2 * len(texts) / seconds for seconds in times["two at once"]]
            report.add("Two at once, a thread each", f"{name}, one", "texts/s", alone)
            report.add("Two at once, a thread each", f"{name}, two together", "texts/s", together)
            ratio = 2 * median(times["one"]) / median(times["two at once"])
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
