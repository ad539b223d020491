"""What commands print: tables for people, JSON for machines."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from huggingface_hub.utils import disable_progress_bars
from transformers.utils.logging import disable_progress_bar

from ..hub.run_info import LabelResult, MetricRow, RunInfo, to_json


SHOWN_METRICS = ("f1_micro", "f1_macro", "f1_samples", "hamming_loss", "subset_accuracy")
MAX_LABELS = 40


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the output stream for the result: what libraries print goes to the error stream."""
    if not sys.stderr.isatty():
        # A bar in a log file is a thousand lines.
        disable_progress_bar()
        disable_progress_bars()
        # Not of every command.
        if "datasets" in sys.modules:
            sys.modules["datasets"].disable_progress_bars()
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def silenced(*names: str) -> Iterator[None]:
    """Leave out what loggers of other libraries warn of."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def progress(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a training with a progress bar only where somebody sees it."""
    return {"disable_tqdm": not sys.stderr.isatty(), "report_to": "none"} | settings


def print_json(value: Any) -> None:
    """Print strict JSON, with null for NaN."""
    is_utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    print(json.dumps(to_json(value), indent=2, ensure_ascii=not is_utf8, allow_nan=False))


def print_run(info: RunInfo) -> None:
    """Print what a run found: metrics by split, then the labels."""
    for split, rows in info.results.items():
        print(f"\n{split}, {info.splits[split].rows:,} texts")
        print_metrics(rows)
    print_labels(info.labels)


def print_metrics(rows: list[MetricRow]) -> None:
    """Print a table of metrics, one row per model and choice of thresholds."""
    names = [f"{row.model}, {row.thresholds}" for row in rows]
    width = max(map(len, names), default=0)
    print(" " * (width + 2) + "".join(f"{key:>17}" for key in SHOWN_METRICS))
    for name, row in zip(names, rows, strict=True):
        print(f"  {name:{width}}" + "".join(f"{_number(row.metrics.get(key)):>17}" for key in SHOWN_METRICS))


def print_labels(labels: list[LabelResult]) -> None:
    """Print a table of labels, the first of many; without the training texts where they are not known."""
    has_train = any(row.train_support is not None for row in labels)
    train = f"{'train':>8}" if has_train else ""
    print(f"\n{'label':30}{train}{'support':>9}{'threshold':>11}{'precision':>11}{'recall':>8}{'F1':>7}")
    for row in labels[:MAX_LABELS]:
        train = f"{_number(row.train_support, 0):>8}" if has_train else ""
        print(
            f"{row.label[:29]:30}{train}{row.support:9}{row.threshold:11.3f}"
            f"{_number(row.precision, 2):>11}{_number(row.recall, 2):>8}{_number(row.f1, 2):>7}"
        )
    if len(labels) > MAX_LABELS:
        print(f"... and {len(labels) - MAX_LABELS:,} more labels; `--json` prints all.")


def _number(value: float | None, digits: int = 4) -> str:
    return "n/a" if value is None or value != value else f"{value:.{digits}f}"
