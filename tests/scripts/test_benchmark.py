"""The script's own arithmetic; what it measures is no matter of tests."""

import json
from pathlib import Path

import benchmark_report
import benchmark_training
import pytest
import torch


ROOT = Path(__file__).parents[2]


def test_the_table_of_the_readme_is_that_of_the_measured_figures():
    found = json.loads((ROOT / "scripts" / "benchmark.json").read_text())
    assert benchmark_report.summary(found) in (ROOT / "README.md").read_text()


def test_runs_take_turns_and_the_first_turn_only_warms_up():
    calls = []
    seconds = benchmark_report.race({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_a_run_that_says_how_long_it_took_is_believed():
    assert benchmark_report.race({"a": lambda: 7.0}, repeats=2) == {"a": [7.0, 7.0]}


@pytest.mark.parametrize("fill", [0.55, 0.7, 0.9, 1.0])
def test_ragged_lengths_fill_the_given_share_of_the_batch(fill):
    lengths = benchmark_training.ragged_lengths(64, 64, fill)
    assert lengths.max() == 64 and lengths.min() >= 1
    assert lengths.sum().item() / 64**2 == pytest.approx(fill, abs=0.02)


@pytest.mark.parametrize("cell_type", ["rnn", "gru", "lstm"])
def test_what_is_raced_computes_gradients_of_all_its_weights(cell_type):
    inputs = torch.randn(3, 5, 4, requires_grad=True)
    runs = benchmark_training.layer_steps(cell_type, True, 2, inputs, torch.tensor([5, 3, 1]))
    assert {name: len(run()) for name, run in runs.items()} == {"ours": 9, "packed": 9, "padded": 9}


@pytest.mark.parametrize(("kind", "value", "met"), [("most", 0.4, True), ("most", 0.6, False), ("least", 0.6, True)])
def test_a_bar_is_a_bound_from_above_or_from_below(monkeypatch, kind, value, met):
    monkeypatch.setitem(benchmark_report.BARS, "a ratio", (kind, 0.5))
    assert benchmark_report.is_met("a ratio", value) == met
