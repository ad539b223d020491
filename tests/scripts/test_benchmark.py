"""The script's own arithmetic, and that it runs; what it measures is no matter of tests."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import benchmark
import pytest
import torch
from benchmarks import growth, report, tagging, training


ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "scripts" / "benchmarks" / "results"


def test_the_table_of_the_readme_is_that_of_the_measured_figures():
    results = json.loads((RESULTS / "benchmark.json").read_text(encoding="utf-8"))
    assert report.summary(results) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_runs_take_turns_and_the_first_turn_only_warms_up():
    calls = []
    seconds = report.time_in_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert calls == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_a_run_that_says_how_long_it_took_is_believed():
    assert report.time_in_turns({"a": lambda: 7.0}, repeats=2) == {"a": [7.0, 7.0]}


@pytest.mark.parametrize("fill", [0.55, 0.7, 0.9, 1.0])
def test_ragged_lengths_fill_the_given_fraction_of_the_batch(fill):
    lengths = training.ragged_lengths(64, 64, fill)
    assert lengths.max() == 64 and lengths.min() >= 1
    assert lengths.sum().item() / 64**2 == pytest.approx(fill, abs=0.02)


@pytest.mark.parametrize("cell_type", ["rnn", "gru", "lstm"])
def test_what_is_timed_computes_gradients_of_all_its_weights(cell_type):
    inputs = torch.randn(3, 5, 4, requires_grad=True)
    runs = training.layer_steps(cell_type, True, 2, inputs, torch.tensor([5, 3, 1]))
    assert {name: len(run()) for name, run in runs.items()} == {"ours": 9, "packed": 9, "padded": 9}


@pytest.mark.parametrize(("kind", "value", "met"), [("most", 0.4, True), ("most", 0.6, False), ("least", 0.6, True)])
def test_a_target_is_a_bound_from_above_or_from_below(monkeypatch, kind, value, met):
    monkeypatch.setitem(report.TARGETS, "a ratio", (kind, 0.5))
    assert report.is_met("a ratio", value) == met


def test_sections_that_are_unknown_are_refused_before_anything_is_measured():
    with pytest.raises(ValueError, match=r"`--sections` holds \['steps'\]"):
        benchmark.Arguments(sections=["steps", "epoch"])


TEXTS = [f"a lamp for desk {number % 5}" for number in range(8)]


@pytest.fixture
def measured():
    return report.Report(SimpleNamespace(repeats=1, threads=1, number=8, rows=[5], minilm=None, peer_python=None))


def test_an_epoch_is_measured(measured):
    training.measure_epoch(measured, TEXTS)
    assert [row["name"] for row in measured.rows] == ["Trainer, 8 texts", "bare loop, 8 texts"]
    assert measured.ratios["epoch: Trainer / bare loop"] > 0


def test_growth_is_measured_in_processes_of_its_own(tmp_path, monkeypatch, measured):
    monkeypatch.setattr(growth, "SIZES", {"time_steps": [3]})
    growth.measure_growth(measured, benchmark.make_folder(TEXTS, str(tmp_path), with_export=False))
    assert [(row["section"], row["name"]) for row in measured.rows] == [
        ("Growth: a training step of 16 texts", "time_steps 3"),
        ("Growth: memory of that", "time_steps 3"),
        ("Growth: tagging a file", "5 rows"),
        ("Growth: memory of that", "5 rows"),
    ]
    assert all(row["median"] > 0 for row in measured.rows)


@pytest.mark.filterwarnings("ignore:Label not")
def test_tagging_is_measured_by_every_path(tmp_path, monkeypatch, measured):
    # Compiling, the pauses and the start of processes take long, and are torch's and the system's.
    monkeypatch.setattr(torch, "compile", lambda model, **options: model)
    monkeypatch.setattr(tagging.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(tagging, "START_UPS", {"ONNX Runtime float32": tagging.START_UPS["ONNX Runtime float32"]})
    tagging.measure_tagging(measured, TEXTS, benchmark.make_folder(TEXTS, str(tmp_path), with_export=True))
    sections = {}
    for row in measured.rows:
        sections.setdefault(row["section"], []).append(row["name"])
    paths = ["our pipeline", "our pipeline, torch.compile", "our net, stock pipeline", "TF-IDF + LR"]
    paths += ["ONNX Runtime float32", "ONNX Runtime int8"]
    assert sections["Tagging in batches"] == sections["One text: p50, and p5 to p95"] == paths
    assert sections["The net alone, batches of 64"] == ["our net in torch", "ONNX Runtime"]
    assert len(sections["Two at once, a thread each"]) == 4
    assert sections["From start to the first tags, imports included"] == ["ONNX Runtime float32"]
    assert measured.ratios.keys() <= report.TARGETS.keys()


def test_the_script_writes_what_it_measured_and_fails_where_a_target_is_missed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(report.TARGETS, "a ratio", ("least", 2.0))
    monkeypatch.setattr(benchmark, "measure_steps", lambda measured: measured.ratios.update({"a ratio": 1.0}))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(sys, "argv", ["x", "--sections", "step", "--check", "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="1"):
        benchmark.main()
    assert "Missed: ['a ratio']. Not measured: ['training step, gru" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text(encoding="utf-8"))["ratios"] == {"a ratio": 1.0}
    assert "| a ratio | 1 | at least 2 | missed |" in (tmp_path / "out" / "benchmark.md").read_text(encoding="utf-8")
