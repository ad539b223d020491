"""What the benchmark measures with: runs in turns, tables of medians with their spread, and the targets."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from hf_rnn_multilabel.hub.provenance import processor


LABELS = {index: f"label {index}" for index in range(28)}
# Of the models with random weights. The targets are about it: label attention takes memory for each token and label.
POOLING = ["attention", "max"]
# A ratio, and what it may be at most, or must be at least.
TARGETS = {
    "training step, gru, fill .55: ours / packed": ("most", 0.70),
    "training step, lstm, fill .55: ours / packed": ("most", 0.45),
    "training step, gru, fill .55: ours / padded": ("most", 1.15),
    "training step, lstm, fill .55: ours / padded": ("most", 1.15),
    "training step, gru: share of the product rate": ("least", 0.70),
    "training step, lstm: share of the product rate": ("least", 0.85),
    "epoch: Trainer / bare loop": ("most", 1.10),
    "epoch: our GRU with label attention / LibMultiLabel's BiGRULWAN": ("most", 0.60),
    "texts/s: our pipeline / MiniLM-L6, stock pipeline": ("least", 12.0),
    "texts/s: fastest / MiniLM-L6, stock pipeline": ("least", 20.0),
    "texts/s: our pipeline / our net, stock pipeline": ("least", 2.5),
    "texts/s: ONNX Runtime / our net in torch": ("least", 1.3),
    "one text: fastest / MiniLM-L6, stock pipeline": ("most", 0.15),
    "two threads of one process together / one: our pipeline": ("least", 1.0),
    "two threads of one process together / one: ONNX Runtime float32": ("least", 1.0),
    "a million texts: memory at the end / after 10,000": ("most", 1.10),
}


class Report:
    """The rows of the tables, and the ratios that the targets are about.

    Args:
        args: the arguments of the benchmark.

    Attributes:
        product_rate: operations per second of a float32 matrix product on this machine.
        rows: of all tables, each with its section, name, unit, median, least and most.
        ratios: by name.
    """

    def __init__(self, args: Any):
        self.args = args
        self.rows: list[dict[str, Any]] = []
        self.ratios: dict[str, float] = {}
        square = torch.randn(2048, 2048)
        self.product_rate = 2 * 2048**3 / median(time_in_turns({"product": lambda: square @ square}, 9)["product"])

    def add(self, section: str, name: str, unit: str, values: list[float], **more: Any) -> None:
        """Add a row, the median, least and most of the values, and print it."""
        row = {"section": section, "name": name, "unit": unit}
        self.rows.append(row | {"median": median(values), "least": min(values), "most": max(values)} | more)
        print(markdown_row(self.rows[-1]), flush=True)

    def markdown(self) -> str:
        """Return all tables, that of the ratios last."""
        lines = []
        for section in dict.fromkeys(row["section"] for row in self.rows):
            lines += ["", f"### {section}", ""]
            lines += [f"float32 matrix product: {self.product_rate / 1e9:.0f} GFLOP/s; {processor()}.", ""]
            lines += ["| | median | least to most | of the product rate |", "|---|---|---|---|"]
            lines += [markdown_row(row) for row in self.rows if row["section"] == section]
        lines += ["", "### Ratios", "", "| ratio | measured | target | |", "|---|---|---|---|"]
        for name, value in self.ratios.items():
            target = TARGETS.get(name)
            shown = ""
            if target is not None:
                shown = f"at {target[0]} {target[1]:g} | {'met' if is_met(name, value) else 'missed'}"
            lines.append(f"| {name} | {value:.3g} | {shown or ' | '} |")
        return "\n".join(lines).strip() + "\n"


def summary(results: dict[str, Any]) -> str:
    """Return the table of the README from what benchmark.json holds: every path of tagging with its medians."""
    columns = {
        "Tagging in batches": "texts/s in batches",
        "One text: p50, and p5 to p95": "one text",
        "From start to the first tags, imports included": "start to first tags",
        "Peak memory of that": "memory of that",
        "Weights on disk": "weights",
    }
    shown: dict[str, dict[str, str]] = {}
    for row in results["rows"]:
        if row["section"] in columns:
            unit = "" if row["unit"] == "texts/s" else f" {row['unit']}"
            shown.setdefault(row["name"], {})[row["section"]] = f"{float(format(row['median'], '.2g')):,g}{unit}"
    lines = [f"| | {' | '.join(columns.values())} |", "|---" * (1 + len(columns)) + "|"]
    lines += [f"| {name} | {' | '.join(cells.get(key, '') for key in columns)} |" for name, cells in shown.items()]
    machine = f"{results['processor']}, {results['threads']} threads, {results['product_rate'] / 1e9:.0f} GFLOP/s"
    return "\n".join([f"{machine} in a float32 matrix product:", "", *lines])


def is_met(name: str, value: float) -> bool:
    """Return whether a ratio meets its target."""
    kind, target = TARGETS[name]
    return value <= target if kind == "most" else value >= target


def markdown_row(row: dict[str, Any]) -> str:
    """Return a row of a table."""
    share = row.get("share")
    return (
        f"| {row['name']} | {row['median']:,.4g} {row['unit']} | {row['least']:,.4g} to {row['most']:,.4g} "
        f"| {'' if share is None else f'{share:.2f}'} |"
    )


def time_in_turns(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Measure the seconds of each call, in turns, after a turn that warms up.

    Args:
        runs: by name; one that returns a float has measured its seconds itself.
        repeats: calls of each that count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            taken = run()
            if turn:
                seconds[name].append(taken if isinstance(taken, float) else time.perf_counter() - started)
    return seconds


def run_child(*arguments: str, python: str = sys.executable) -> str:
    """Return the last line that `python -c` with these arguments prints.

    Raises:
        RuntimeError: if it fails, with the end of its messages.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, "-c", *arguments], env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode != 0:
        raise RuntimeError(f"A child of the benchmark failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]
