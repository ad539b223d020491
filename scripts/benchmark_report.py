"""What the benchmark measures with: runs in turns, tables of medians with their spread, and the bars."""

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
# A ratio, and what it may be at most, or must be at least.
BARS = {
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
    """The rows of the tables, and the ratios that the bars are about."""

    def __init__(self, args: Any):
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
    """Seconds of each call, or those that it returns as a float, in turns, after a turn that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            taken = run()
            if turn:
                seconds[name].append(taken if isinstance(taken, float) else time.perf_counter() - started)
    return seconds


def run_child(*arguments: str, python: str = sys.executable) -> str:
    """The last line that `python -c` of these arguments prints."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([python, "-c", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"A child of the benchmark failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]
