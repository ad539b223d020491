"""The cells of the benchmark, and its arithmetic; what it measures is no matter of tests."""

import gzip
import json
import re
import sys
from pathlib import Path
from unittest import mock

import benchmark_quality as quality
import numpy as np
import pytest
from benchmarks import quality_recipes, quality_tables
from helpers import make_bert
from scipy.special import expit
from transformers import AutoModelForSequenceClassification

from hf_rnn_multilabel import load_tagger
from hf_rnn_multilabel.cli import distill, pretrain, train
from hf_rnn_multilabel.evaluation.metrics.multilabel.multilabel import ranking_metrics
from hf_rnn_multilabel.hub.run_info import MetricRow, RetrainingInfo, RunInfo
from hf_rnn_multilabel.training import teacher
from hf_rnn_multilabel.training.recipe import check
from hf_rnn_multilabel.training.tagger import split_settings


ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "scripts" / "benchmarks" / "results"


def read_results(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def row(model, thresholds, value):
    names = ("f1_micro", "f1_macro", "precision_at_1", "precision_at_5")
    return MetricRow(model=model, thresholds=thresholds, metrics=dict.fromkeys(names, value))


def write_cell(folder: Path, value: float, **more) -> None:
    """A finished cell: its own three rows, the linear model's behind them."""
    folder.mkdir(parents=True)
    kinds = ("0.5", "global threshold", "per-label thresholds")
    own = [row("this model", kind, value + i / 100) for i, kind in enumerate(kinds)]
    rows = [*own, row("TF-IDF + LR", "global threshold", 0.99)]
    RunInfo(name="cell", results={"validation": rows, "test": rows}, other_seconds=90, **more).save(folder)


# Nothing is concluded from the metrics of so small a set.
pytestmark = pytest.mark.filterwarnings("ignore:9 of 9 texts of test stand in train too")


@pytest.fixture
def sets(tmp_path):
    """A set without a validation split, as small as a linear model and a network can be trained on."""
    folder = tmp_path / "data" / "lamps"
    folder.mkdir(parents=True)
    rows = [{"text": f"a {word} {n}", "labels": [word]} for n in range(20) for word in ("lamp", "desk", "pen")]
    for split, part in {"train": rows, "test": rows[:9]}.items():
        lines = "".join(json.dumps(each) + "\n" for each in part)
        with gzip.open(folder / f"{split}.jsonl.gz", "wt") as file:
            file.write(lines)
    return tmp_path / "data"


def test_the_tables_of_all_figures_are_those_of_the_measured_cells():
    text = (RESULTS / "benchmark_quality.md").read_text(encoding="utf-8")
    assert quality.summary(read_results("benchmark_quality.json")) in text
    assert quality.comparison(read_results("benchmark_ablation.json")) in text


def test_the_table_of_the_readme_is_a_part_of_it_with_the_baselines_and_the_best_network_of_every_set():
    cells = read_results("benchmark_quality.json")
    header, ruler, *measured = quality.summary(cells).splitlines()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text[text.index(f"{header}\n{ruler}\n") :].split("\n\n")[0].splitlines()[2:]
    assert shown == [row for row in measured if row in shown]
    baselines = (quality.LINEAR, quality.FINE_TUNED)
    owed = {row for row in measured if row.split(" | ")[1] in (*baselines, "default")}
    for name in {cell["set"] for cell in cells}:
        networks = [row for row in measured if row.startswith(f"| {name} |") and row.split(" | ")[1] not in baselines]
        owed.add(max(networks, key=lambda row: float(row.split(" | ")[3].split()[0])))  # micro-F1, one for all
    assert owed < set(shown)


def test_a_retrained_network_has_the_time_of_both_trainings_and_no_validation_figures(tmp_path):
    write_cell(
        tmp_path / "lamps" / "retrained" / "0", 0.5, retraining=RetrainingInfo(rows=9, epochs=1, steps=1, seconds=30)
    )
    write_cell(tmp_path / "lamps" / "embeddings" / "0", 0.5)
    once, twice = cells = quality.collect(tmp_path)
    assert [cell["train_seconds"] for cell in cells] == [90, 120]
    assert all(twice["validation"][figure] is None for figure in quality_tables.FIGURES)
    assert None not in (*once["validation"].values(), *twice["test"].values())
    assert "| lamps | retrained | 1 |  |  |" in quality.summary(cells, "validation")
    assert "retrained" not in quality.comparison(cells)


def test_recipes_are_compared_by_what_they_have_more_or_less_than_one_of_them(tmp_path):
    for name, recipe, values in [
        ("lamps", "embeddings", (0.5, 0.6)),
        ("lamps", "zlpr", (0.4, 0.8)),
        ("lamps", "averaged", (0.545,)),
        ("pens", "embeddings", (0.7,)),
        ("pens", "zlpr", (0.699,)),
        ("pens", quality.LINEAR, (0.9,)),
    ]:
        for seed, value in enumerate(values):
            write_cell(tmp_path / name / recipe / str(seed), value)
    header, _, *lines = quality.comparison(quality.collect(tmp_path)).splitlines()
    assert header.split(" | ")[1:3] == ["lamps, micro-F1, one for all", "lamps, macro-F1, one a label"]
    assert lines == [
        "| embeddings | .560 | .570 | .710 | .720 |",
        "| averaged | -.005 | -.005 |  |  |",
        "| zlpr | +.050 | +.050 | -.001 | -.001 |",
    ]


def test_a_figure_is_the_mean_of_the_seeds_with_the_least_and_the_most(tmp_path):
    for seed, value in enumerate((0.5, 0.6, 0.4)):
        write_cell(tmp_path / "lamps" / "default" / str(seed), value, num_parameters=1_500_000)
    write_cell(tmp_path / "lamps" / "other" / "0", 0.7)
    table = quality.summary(quality.collect(tmp_path))
    assert (
        "| lamps | default | 3 | .510 (.410 to .610) | .520 (.420 to .620) | .520 (.420 to .620) "
        "| .500 (.400 to .600)" in table
    )
    assert "| 1.5 M | 90 s |" in table
    assert re.search(r"\| lamps \| other \| 1 \| \.710 \| \.720 \| \.720 \| \.700 \| \.700 \|  \| 90 s \|", table)


def test_an_encoder_may_lie_in_the_output_folder(tmp_path, sets):
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path), encoder=str(tmp_path / "MiniLM"))
    with mock.patch.object(quality, "run_command") as run:
        quality.run_cell(args, "lamps", "embeddings", 0, tmp_path / "lamps" / "embeddings" / "0")
    assert run.call_args.args[2][:2] == ["--embeddings_from", str(tmp_path / "MiniLM")]


def test_recipes_are_compared_where_there_is_one_to_compare_them_with(tmp_path, capsys):
    for recipe in ("embeddings", "zlpr"):
        write_cell(tmp_path / "lamps" / recipe / "0", 0.5)
    arguments = ["x", "--data", str(tmp_path), "--output_dir", str(tmp_path), "--sets", "lamps", "--seeds", "0"]
    with mock.patch.object(sys, "argv", [*arguments, "--recipes", "zlpr"]):
        quality.main()
    assert "| zlpr | +.000 | +.000 |" in capsys.readouterr().out


def test_a_cell_that_is_finished_is_not_run_again(tmp_path, capsys):
    write_cell(tmp_path / "lamps" / "default" / "0", 0.5)
    arguments = ["x", "--data", str(tmp_path), "--output_dir", str(tmp_path), "--sets", "lamps", "--seeds", "0", "1"]
    with (
        mock.patch.object(sys, "argv", [*arguments, "--recipes", "default"]),
        mock.patch.object(quality, "run_cell", side_effect=lambda *_: write_cell(_[-1], 0.6)) as run,
    ):
        quality.main()
    assert [call.args[1:4] for call in run.call_args_list] == [("lamps", "default", 1)]
    cells = json.loads((tmp_path / "benchmark_quality.json").read_text())
    assert [(cell["seed"], cell["test"]["micro-F1, one for all"]) for cell in cells] == [(0, 0.51), (1, 0.61)]
    assert capsys.readouterr().out.count("| lamps | default | 2 |") == 2


def test_recipes_that_cannot_be_run_are_refused_in_words(tmp_path):
    args = quality.Arguments(data=str(tmp_path), output_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"No recipe 'magic'; give some of \['TF-IDF"):
        quality.run_cell(args, "lamps", "magic", 0, tmp_path)
    with pytest.raises(ValueError, match="'embeddings' needs a pretrained encoder; give its folder with `--encoder`"):
        quality.run_cell(args, "lamps", "embeddings", 0, tmp_path)


def test_settings_without_a_value_or_without_effect_are_refused_before_anything_is_run():
    with pytest.raises(ValueError, match="`--settings` holds 'num_train_epochs'; give a name and a value"):
        quality.Arguments(data="sets", output_dir="out", settings=["warmup_steps=5", "num_train_epochs"])
    with pytest.raises(ValueError, match="`--settings` holds 'seed=7', which the benchmark decides"):
        quality.Arguments(data="sets", output_dir="out", settings=["warmup_steps=5", "seed=7"])


def test_settings_are_those_of_a_recipe_that_says_nothing_of_them(tmp_path, sets):
    settings = ["num_train_epochs=2", "embedding_dropout=0.4"]
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path), encoder="encoder", settings=settings)
    found = {}
    for recipe in ("embeddings", "dropout .1"):
        with mock.patch.object(quality, "run_command") as run:
            quality.run_cell(args, "lamps", recipe, 0, tmp_path / "cell")
        options = train.make_parser().parse(run.call_args.args[2])
        found[recipe] = (options["num_train_epochs"], options["embedding_dropout"])
    assert found == {"embeddings": (2, 0.4), "dropout .1": (2, 0.1)}


@pytest.mark.parametrize(
    ("recipe", "first"),
    [
        ("expected F1", "embeddings"),
        ("taught", "fine-tuned encoder"),
        ("pretrained and embeddings together", "pretrained, bag of tokens"),
    ],
)
def test_a_recipe_that_starts_from_another_cell_asks_for_it(tmp_path, sets, recipe, first):
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path / "out"), encoder=str(tmp_path / "outer"))
    with pytest.raises(ValueError, match=rf"needs .*lamps/{first}/3, which is not finished; run that cell first"):
        quality.run_cell(args, "lamps", recipe, 3, tmp_path / "out" / "lamps" / recipe / "3")


def test_a_set_without_a_test_split_is_refused_before_it_is_trained_on(tmp_path, sets):
    (sets / "lamps" / "test.jsonl.gz").unlink()
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"'lamps' lacks \[.*test\.jsonl\.gz'\]"):
        quality.run_cell(args, "lamps", "default", 0, tmp_path / "cell")


def test_a_run_that_fails_says_where_its_log_is(tmp_path, sets):
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path))
    with (
        mock.patch.dict(quality.RECIPES, {"broken": ["--cell_type", "tree"]}),
        pytest.raises(RuntimeError, match=r"failed; see .*cell\.log"),
    ):
        quality.run_cell(args, "lamps", "broken", 0, tmp_path / "cell")
    assert "tree" in (tmp_path / "cell.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("recipe", "encoders"),
    [
        ("pretrained", "encoders"),
        ("pretrained from embeddings, 512 tokens", "encoders from embeddings"),
        ("pretrained from embeddings, 512 tokens, bag of tokens", "encoders from embeddings"),
    ],
)
def test_the_encoder_is_pretrained_once_for_all_seeds(tmp_path, sets, recipe, encoders):
    def run_command(command, folder, options, args):
        ran.append((command, folder.relative_to(tmp_path).as_posix(), options))
        write_cell(folder, 0.5)

    ran = []
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path), texts=["more.txt"], encoder="theirs")
    with mock.patch.object(quality, "run_command", side_effect=run_command):
        for seed in (0, 1):
            quality.run_cell(args, "lamps", recipe, seed, tmp_path / "lamps" / recipe / str(seed))
    commands = [("pretrain", f"{encoders}/lamps"), *(("train", f"lamps/{recipe}/{seed}") for seed in (0, 1))]
    assert [each[:2] for each in ran] == commands
    assert ran[0][2][:3] == ["--train_file", str(sets / "lamps" / "train.jsonl.gz"), "more.txt"]
    assert (ran[0][2][-2:] == ["--embeddings_from", "theirs"]) == ("from embeddings" in recipe)
    assert ran[1][2][:2] == ["--model_name_or_path", str(tmp_path / encoders / "lamps")]
    assert [cell["recipe"] for cell in quality.collect(tmp_path)] == [recipe, recipe]


def parts_of(recipe):
    values = {"encoder": "theirs", "seed": 0, "set": "lamps", "cells": "cells"}
    return [part.format(**values) for part in recipe]


@pytest.mark.parametrize("recipe", quality_recipes.RECIPES)
def test_the_commands_take_the_options_of_every_recipe(recipe):
    options = parts_of(quality_recipes.RECIPES[recipe])
    command = distill if "--teacher" in options else train
    settings = command.make_parser().parse(["--output_dir", "out", *options])
    settings = {name: value for name, value in settings.items() if name not in ("json", "output_dir", "teacher")}
    check(split_settings(settings)[1])


def test_the_pretraining_takes_its_options():
    for options in quality_recipes.PRETRAINING.values():
        settings = pretrain.make_parser().parse(parts_of(options))
        assert settings["num_train_epochs"] in (3, 4)


def test_a_cell_that_was_stopped_is_not_among_the_finished_ones(tmp_path):
    write_cell(tmp_path / "lamps" / "default" / "0", 0.5)
    write_cell(tmp_path / "encoders" / "lamps.partial" / "finished", 0.5)
    write_cell(tmp_path / "lamps" / "default" / "1.partial", 0.5)
    assert [cell["seed"] for cell in quality.collect(tmp_path)] == [0]


def test_the_fine_tuned_encoder_is_a_classifier_that_can_teach(tmp_path, sets):
    folder = tmp_path / "out" / "lamps" / quality.FINE_TUNED / "0"
    encoder = make_bert(tmp_path / "encoder")
    args = quality.Arguments(data=str(sets), output_dir=str(tmp_path / "out"), encoder=str(encoder), threads=1)
    with mock.patch.object(teacher, "NUM_TEACHER_STEPS", 1):
        quality.run_cell(args, "lamps", quality.FINE_TUNED, 0, folder)
    (cell,) = quality.collect(tmp_path / "out")
    assert cell["recipe"] == quality.FINE_TUNED and cell["parameters"] > 0 and cell["train_seconds"] > 0
    assert 0 <= cell["test"]["micro-F1, one for all"] <= 1
    assert {path.name for path in folder.parent.iterdir()} == {"0"}
    assert not list(folder.glob("checkpoint-*"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert sorted(model.config.label2id) == ["desk", "lamp", "pen"]


def test_a_network_the_linear_model_and_networks_together_are_collected(tmp_path, sets):
    small = ["--hidden_size", "4", "--embedding_size", "4"]
    args = quality.Arguments(
        data=str(sets), output_dir=str(tmp_path / "out"), threads=1, settings=["num_train_epochs=1"]
    )
    cells = tmp_path / "out" / "lamps"
    with mock.patch.dict(quality.RECIPES, {"small": small}):
        for recipe, seed in (("small", 0), ("small", 1), (quality.LINEAR, 0)):
            quality.run_cell(args, "lamps", recipe, seed, cells / recipe / str(seed))
    assert RunInfo.load(cells / "small" / "0").training.epochs == 1
    linear, network, other = quality.collect(tmp_path / "out")
    assert (linear["recipe"], network["recipe"]) == (quality.LINEAR, "small")
    assert linear["test"]["micro-F1, one for all"] == 1 and linear["parameters"] is None
    assert network["test"]["P@5"] is None and "|  |" in quality.summary([network])
    assert network["parameters"] > 0 and 0 <= network["validation"]["P@1"] <= 1

    # Two networks, at thresholds of their own that give no tag.
    folders = [cells / "small" / str(seed) for seed in (0, 1)]
    for config in (folder / "config.json" for folder in folders):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"thresholds": 1.0}))
    with mock.patch.dict(quality.TOGETHER, {"both": ["{cells}/{set}/small/0", "{cells}/{set}/small/1"]}):
        quality.run_cell(args, "lamps", "both", 0, cells / "both" / "0")
    info = RunInfo.load(cells / "both" / "0")
    for split in ("validation", "test"):
        recall = {row.thresholds: row.metrics["recall_micro"] for row in info.results[split]}
        assert recall["per-label thresholds"] == 0 < recall["global threshold"]
    (both,) = (cell for cell in quality.collect(tmp_path / "out") if cell["recipe"] == "both")
    for cost in ("parameters", "train_seconds"):
        assert both[cost] == network[cost] + other[cost]
    with gzip.open(sets / "lamps" / "test.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    taggers = [load_tagger(folder) for folder in folders]
    logits = [tagger.logits([row["text"] for row in rows]) for tagger in taggers]  # (taggers, texts, labels)
    truth = np.array([[name in row["labels"] for name in taggers[0].label_names] for row in rows])
    mean, first = (ranking_metrics(expit(each), truth)["map_micro"] for each in (np.mean(logits, 0), logits[0]))
    assert info.results["test"][0].metrics["map_micro"] == pytest.approx(mean) != pytest.approx(first)
