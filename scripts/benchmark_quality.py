"""How good it is, beside what one would use instead: data sets x recipes x seeds, with all choices from validation.

    python scripts/benchmark_quality.py --data ../shared/data --encoder path/to/MiniLM-L6 --output_dir outputs/quality
    python scripts/benchmark_quality.py --data ... --encoder ... --sets goemotions --recipes averaged --output_dir ...

Every cell is one run of `train.py` or `distill.py` with the recipe's arguments, of the linear model, of the fine-tuned
encoder, or of finished cells as one tagger. A cell that has its `metrics.json` is not run again, so a stopped
benchmark goes on, and several processes may share the output folder if each has cells of its own; but for the
pretrained ones, whose encoder all seeds of a set share, and whose seconds are without it. benchmark_quality.json has
all cells of the folder.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from distill import fine_tune
from train import evaluate_all
from train_arguments import CardArguments, DataArguments
from train_data import SPLITS, read_data
from train_output import METRICS
from transformers import HfArgumentParser, pipeline

from hf_rnn_multilabel.evaluation.baseline import linear_scores
from hf_rnn_multilabel.evaluation.metrics.multilabel.multilabel import apply_thresholds, decision_metrics
from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.inference.ensemble import TaggerEnsemble
from hf_rnn_multilabel.inference.logits import sigmoid


LINEAR, FINE_TUNED = "TF-IDF + LR", "fine-tuned encoder"
# What is added to `train.py`'s arguments. {encoder} is that of `--encoder`, {set}, {seed} and {cells} are of the cell.
# The last one counts: BAG after NO_BAG.
BAG, NO_BAG = ["--bag_of_tokens", "true"], ["--bag_of_tokens", "false"]
EMBEDDINGS = ["--embeddings_from", "{encoder}", *NO_BAG]
CORRELATION = ["--label_correlation_size", "64"]
MORE_DROPOUT = ["--embedding_dropout", "0.4", "--classifier_dropout", "0.4"]
# A loss that is meant to go on from a trained net: the cell of the recipe "embeddings" comes first.
ON_TOP = ["--model_name_or_path", "{cells}/{set}/embeddings/{seed}", "--learning_rate", "5e-4"]
ON_TOP += ["--embedding_rate", "0.1", "--objective", "expected_f1", *NO_BAG]
PRUNED_AND_AVERAGED = [*EMBEDDINGS, "--prune_vocabulary", "true", "--weight_averaging", "0.998"]
PRUNED_AND_AVERAGED += ["--num_train_epochs", "4", *MORE_DROPOUT]
FULL_RATE = [*CORRELATION, *MORE_DROPOUT, "--embedding_rate", "1", "--weight_averaging", "0.998"]
LONG_TEXTS = [*FULL_RATE, "--max_length", "512"]
# What `pretrain.py` is told for the encoders of a folder, from which recipes start.
PRETRAINING = {
    "encoders": ["--num_train_epochs", "4"],
    "encoders from embeddings": ["--num_train_epochs", "3", "--embeddings_from", "{encoder}"],
}
FROM_EMBEDDINGS = ["--model_name_or_path", "{cells}/encoders from embeddings/{set}", *LONG_TEXTS]
# With pairs it would have more than ten million parameters.
SMALL = [*PRUNED_AND_AVERAGED, *BAG, "--bag_pairs", "0"]
RECIPES: dict[str, list[str]] = {
    "default": [],
    "default, no bag of tokens": NO_BAG,
    "default, searched": ["--search_trials", "20"],
    "embeddings": EMBEDDINGS,
    "embeddings, bag of tokens": [*EMBEDDINGS, *BAG],
    "frozen embeddings": [*EMBEDDINGS, "--embedding_rate", "0"],
    "pruned and averaged": PRUNED_AND_AVERAGED,
    "pruned and averaged, bag of tokens": SMALL,
    "pruned and averaged, bag of tokens, retrained": [*SMALL, "--retrain_with_validation", "true"],
    # For sets with a validation split: elsewhere these teachers have seen validation rows of other seeds.
    "pruned and averaged, bag of tokens, taught": [*SMALL, "--teacher", "{cells}/{set}/fine-tuned encoder/0"],
    "pruned and averaged, bag of tokens, taught by three": [
        *(*SMALL, "--teacher"),
        *(f"{{cells}}/{{set}}/pruned and averaged, bag of tokens/{seed}" for seed in range(3)),
    ],
    "pretrained": ["--model_name_or_path", "{cells}/encoders/{set}", *NO_BAG],
    "pretrained, bag of tokens": ["--model_name_or_path", "{cells}/encoders/{set}", *BAG],
    "pretrained, bag of tokens, retrained": [
        *("--model_name_or_path", "{cells}/encoders/{set}", *BAG, "--retrain_with_validation", "true"),
    ],
    "pretrained from embeddings, 512 tokens": [*FROM_EMBEDDINGS, *NO_BAG],
    "pretrained from embeddings, 512 tokens, bag of tokens": [*FROM_EMBEDDINGS, *BAG],
    # One technique more.
    "averaged": [*EMBEDDINGS, "--weight_averaging", "0.998"],
    "smoothed": [*EMBEDDINGS, "--label_smoothing", "0.05"],
    "zlpr": [*EMBEDDINGS, "--objective", "zlpr"],
    "focal": [*EMBEDDINGS, "--objective", "focal"],
    "asymmetric": [*EMBEDDINGS, "--objective", "asymmetric"],
    "distribution-balanced": [*EMBEDDINGS, "--objective", "distribution_balanced"],
    "expected F1": [*ON_TOP, "--objective_parameters", "cross_entropy=0.3"],
    "expected F1, sampled": [*ON_TOP, "--objective_parameters", "cross_entropy=0.3", "samples=8"],
    "taught": [*EMBEDDINGS, "--teacher", "{cells}/{set}/fine-tuned encoder/{seed}"],
    "retrained": [*EMBEDDINGS, "--retrain_with_validation", "true"],
    "label correlation": [*EMBEDDINGS, *CORRELATION],
    "label correlation, bag of tokens": [*EMBEDDINGS, *CORRELATION, *BAG],
    "label correlation, taught by three": [
        *(*EMBEDDINGS, *CORRELATION, "--teacher"),
        *(f"{{cells}}/{{set}}/label correlation/{seed}" for seed in range(3)),
    ],
    "label correlation, retrained": [*EMBEDDINGS, *CORRELATION, "--retrain_with_validation", "true"],
    "label correlation, full rate, averaged": [*EMBEDDINGS, *FULL_RATE],
    "label correlation, full rate, averaged, 512 tokens, bag of tokens": [*EMBEDDINGS, *LONG_TEXTS, *BAG],
    "512 tokens": [*EMBEDDINGS, "--max_length", "512"],
    "1,024 tokens": [*EMBEDDINGS, "--max_length", "1024"],
    # One technique less.
    "unnamed labels": [*EMBEDDINGS, "--label_name_queries", "false"],
    "no label attention": [*EMBEDDINGS, "--pooling", "attention", "max"],
    "pruned vocabulary": [*EMBEDDINGS, "--prune_vocabulary", "true"],
    "one rate": [*EMBEDDINGS, "--embedding_rate", "1"],
    "one direction": [*EMBEDDINGS, "--bidirectional", "false"],
    "dropout .1": [*EMBEDDINGS, "--embedding_dropout", "0.1", "--classifier_dropout", "0.1"],
    "dropout .4": [*EMBEDDINGS, *MORE_DROPOUT],
}
# Cells that tag together, as `tag.py --model a b` does.
TOGETHER = {
    "pretrained and embeddings together": [
        *("{cells}/{set}/pretrained, bag of tokens/{seed}", "{cells}/{set}/embeddings, bag of tokens/{seed}"),
    ],
    "pretrained and embeddings together, 512 tokens": [
        "{cells}/{set}/pretrained from embeddings, 512 tokens, bag of tokens/{seed}",
        "{cells}/{set}/label correlation, full rate, averaged, 512 tokens, bag of tokens/{seed}",
    ],
}
# What `--settings` may not say: it comes from the benchmark's own arguments.
DECIDED = {"output_dir", "seed", "validation_share", "bf16", "use_cpu", "disable_tqdm", "unknown_labels"}
DECIDED |= {f"{split}_file" for split in SPLITS}
# The figures of a cell: their names, and the thresholds and the key under which metrics.json has them.
FIGURES = {
    "micro-F1, one for all": ("global threshold", "f1_micro"),
    "micro-F1, one a label": ("per-label thresholds", "f1_micro"),
    "macro-F1, one a label": ("per-label thresholds", "f1_macro"),
    "P@1": ("0.5", "precision_at_1"),
    "P@5": ("0.5", "precision_at_5"),
}
# Of them, what a recipe is compared by with the one that the others add a technique to or take one from.
BASE = "embeddings"
COMPARED = ("micro-F1, one for all", "macro-F1, one a label")


@dataclass
class Arguments:
    data: str = field(metadata={"help": "A folder of sets: a folder each, with {train,validation,test}.jsonl.gz."})
    output_dir: str = field(metadata={"help": "A folder for every cell, and benchmark_quality.json of them all."})
    sets: list[str] = field(default_factory=lambda: ["goemotions", "reuters21578"], metadata={"help": "Of `data`."})
    recipes: list[str] = field(
        default_factory=lambda: [LINEAR, FINE_TUNED, "default", "embeddings"],
        metadata={"help": f"Of {[LINEAR, FINE_TUNED, *RECIPES, *TOGETHER]}."},
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Of the net, and of a split-off."})
    encoder: str | None = field(default=None, metadata={"help": "A pretrained encoder, as MiniLM-L6's folder."})
    settings: list[str] = field(
        default_factory=list,
        metadata={"help": "Of `train.py`, as num_train_epochs=2, but for what the recipe, `seeds` and `data` decide."},
    )
    threads: int = field(default=2, metadata={"help": "Of torch."})
    bf16: bool = field(default=False, metadata={"help": "Train in bfloat16, which some processors multiply faster."})
    texts: list[str] = field(default_factory=list, metadata={"help": "Files for 'pretrained' beside the train texts."})

    def __post_init__(self):
        for setting in self.settings:
            if "=" not in setting:
                raise ValueError(f"`--settings` holds {setting!r}; give a name and a value, as num_train_epochs=2.")
            if setting.partition("=")[0] in DECIDED:
                raise ValueError(f"`--settings` holds {setting!r}, but the benchmark decides it, as by `--seeds`.")


def run_cell(args: Arguments, name: str, recipe: str, seed: int, folder: Path) -> None:
    """Leaves the cell's metrics.json in its folder.

    Raises:
        ValueError: for a recipe that is not known, or needs an encoder or another cell where there is none, and for a
            set without files.
        RuntimeError: if the run fails; its log is in the folder's `log.txt`.
    """
    known = [LINEAR, FINE_TUNED, *RECIPES, *TOGETHER]
    if recipe not in known:
        raise ValueError(f"No recipe {recipe!r}; give some of {known}.")
    needs_encoder = recipe == FINE_TUNED or any(
        "{encoder}" in each or "encoders from embeddings" in each for each in RECIPES.get(recipe, [])
    )
    if needs_encoder and args.encoder is None:
        raise ValueError(f"The recipe {recipe!r} needs a pretrained encoder; give its folder with `--encoder`.")
    files = {split: Path(args.data, name, f"{split}.jsonl.gz") for split in SPLITS}
    given = {f"{split}_file": str(path) for split, path in files.items() if path.exists()}
    missing = [str(files[split]) for split in ("train", "test") if not files[split].exists()]
    if missing:
        raise ValueError(f"{name!r} lacks {missing}; a set has at least train.jsonl.gz and test.jsonl.gz.")
    data_args = DataArguments(**given, unknown_labels="drop")  # type: ignore[arg-type]
    if recipe == LINEAR:
        run_linear(data_args, seed, folder)
    elif recipe == FINE_TUNED:
        data = read_data(data_args, CardArguments(), seed)
        settings: dict[str, Any] = {"learning_rate": 1e-4, "seed": seed, "use_cpu": True, "bf16": args.bf16}
        settings["disable_tqdm"] = True
        fine_tune(data, str(args.encoder), folder, name=FINE_TUNED, **settings)
    elif recipe in TOGETHER:
        members = [Path(each.format(cells=args.output_dir, set=name, seed=seed)) for each in TOGETHER[recipe]]
        for member in members:
            need_cell(recipe, member)
        run_together(data_args, members, seed, folder)
    else:
        values = {"encoder": args.encoder, "seed": seed, "set": name, "cells": args.output_dir}
        # The last one counts: what the recipe says.
        more = [part for setting in args.settings for part in (f"--{setting}".split("=", 1))]
        more += [each.format(**values) for each in RECIPES[recipe]]
        for encoders, told in PRETRAINING.items():
            encoder = Path(args.output_dir, encoders, name)
            if f"{{cells}}/{encoders}/{{set}}" in RECIPES[recipe] and not (encoder / METRICS).exists():
                texts = ["--train_file", given["train_file"], *args.texts]
                run_script("pretrain.py", encoder, [*texts, *(each.format(**values) for each in told)], args)
        for each in RECIPES[recipe]:
            if each.startswith("{cells}"):
                need_cell(recipe, Path(each.format(**values)))
        more += [part for key, value in given.items() for part in (f"--{key}", value)]
        more += ["--unknown_labels", "drop", "--seed", str(seed)]
        script = "distill.py" if "--teacher" in more else "train.py"
        run_script(script, folder, more, args)


def need_cell(recipe: str, folder: Path) -> None:
    if not (folder / METRICS).exists():
        raise ValueError(f"The recipe {recipe!r} needs {folder}, which is not finished; run that cell first.")


def run_script(script: str, folder: Path, more: list[str], args: Arguments) -> None:
    """One of the scripts beside this one; its output goes to the folder's log.txt."""
    command = [sys.executable, str(Path(__file__).with_name(script)), "--output_dir", str(folder)]
    command += [*more, "--disable_tqdm", "true", "--use_cpu", "true", *(["--bf16", "true"] if args.bf16 else [])]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "w") as log:
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed; see {folder / 'log.txt'}.")


def run_linear(data_args: DataArguments, seed: int, folder: Path) -> None:
    data = read_data(data_args, CardArguments(), seed)
    held_out = [split for split in SPLITS[1:] if split in data.texts]
    started = time.perf_counter()
    found = linear_scores(data.texts["train"], data.labels["train"], *(data.texts[split] for split in held_out))
    seconds = time.perf_counter() - started
    results = evaluate_all(LINEAR, dict(zip(held_out, found, strict=True)), data.labels, data.encoding.label_names)
    folder.mkdir(parents=True, exist_ok=True)
    RunInfo(name=LINEAR, results=results, other_seconds=seconds).save(folder)


def run_together(data_args: DataArguments, members: list[Path], seed: int, folder: Path) -> None:
    """The cells' taggers as one, each label at the ensemble's own threshold."""
    data = read_data(data_args, CardArguments(), seed)
    taggers = [pipeline("multi-label-tagging", model=str(member)) for member in members]  # type: ignore[call-overload]
    ensemble = TaggerEnsemble(taggers)
    held_out = [split for split in SPLITS[1:] if split in data.texts]
    scores = {split: sigmoid(ensemble.logits(data.texts[split])) for split in held_out}
    results = evaluate_all(folder.parent.name, scores, data.labels, ensemble.label_names)
    for split, found in scores.items():
        tags = apply_thresholds(found, list(ensemble.thresholds.values()))
        decided = decision_metrics(tags, data.labels[split])
        results[split] = [
            replace(row, metrics={**row.metrics, **decided}) if row.thresholds == "per-label thresholds" else row
            for row in results[split]
        ]
    parameters = sum(tagger.model.num_parameters() for tagger in taggers)
    seconds = sum(read_cell(member)["train_seconds"] for member in members)
    folder.mkdir(parents=True, exist_ok=True)
    info = RunInfo(name=folder.parent.name, results=results, num_parameters=parameters, other_seconds=seconds)
    info.save(folder)


def read_cell(folder: Path) -> dict[str, Any]:
    """The figures of a cell, by split, and what it cost."""
    info = RunInfo.load(folder)
    # The rows of the cell's own model come first.
    own = {split: [row for row in rows if row.model == rows[0].model] for split, rows in info.results.items()}
    figures: dict[str, Any] = {
        split: {
            # With fewer than five labels there is no precision at 5.
            figure: next(row.metrics.get(key) for row in rows if row.thresholds == thresholds)
            for figure, (thresholds, key) in FIGURES.items()
        }
        for split, rows in own.items()
    }
    if info.retraining:  # The validation rows are of the net before it.
        figures["validation"] = dict.fromkeys(FIGURES)
    return figures | {"parameters": info.num_parameters, "train_seconds": info.train_seconds}


def collect(output_dir: Path) -> list[dict[str, Any]]:
    """All finished cells of the folder, in the order of their names."""
    cells = []
    for path in sorted(output_dir.glob(f"*/*/*/{METRICS}")):
        name, recipe, seed = path.parent.relative_to(output_dir).parts
        cells.append({"set": name, "recipe": recipe, "seed": int(seed)} | read_cell(path.parent))
    return cells


def summary(cells: list[dict[str, Any]], split: str = "test") -> str:
    """A table: the mean over the seeds, of the figures with the least and the most, for every set and recipe."""
    lines = ["| set | recipe | seeds | " + " | ".join(FIGURES) + " | parameters | training |"]
    lines.append("|---" * (len(FIGURES) + 5) + "|")
    for name, recipe in dict.fromkeys((cell["set"], cell["recipe"]) for cell in cells):
        some = [cell for cell in cells if (cell["set"], cell["recipe"]) == (name, recipe)]
        figures = [spread([cell[split][figure] for cell in some]) for figure in FIGURES]
        sizes = [cell["parameters"] for cell in some]
        parameters = "" if None in sizes else f"{mean(sizes) / 1e6:.1f} M"
        seconds = f"{mean(cell['train_seconds'] for cell in some):,.0f} s"
        lines.append(f"| {name} | {recipe} | {len(some)} | {' | '.join(figures)} | {parameters} | {seconds} |")
    return "\n".join(lines)


def comparison(cells: list[dict[str, Any]], split: str = "validation") -> str:
    """A table: `BASE` on every set, and what the other recipes have more or less, each the mean of its seeds."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for name, recipe in dict.fromkeys((cell["set"], cell["recipe"]) for cell in cells):
        some = [cell[split] for cell in cells if (cell["set"], cell["recipe"]) == (name, recipe)]
        if None in (cell[figure] for cell in some for figure in COMPARED):
            continue
        for figure in COMPARED:
            found.setdefault(recipe, {})[name, figure] = mean(cell[figure] for cell in some)
    bases = found.pop(BASE)
    lines = ["| recipe | " + " | ".join(f"{name}, {figure}" for name, figure in bases) + " |"]
    lines.append("|---" * (len(bases) + 1) + "|")
    lines.append(f"| {BASE} | " + " | ".join(f"{value:.3f}".lstrip("0") for value in bases.values()) + " |")
    for recipe in [each for each in RECIPES if each in found]:
        gains = [found[recipe][column] - value if column in found[recipe] else None for column, value in bases.items()]
        shown = ["" if gain is None else f"{gain:+.3f}".replace("0.", ".") for gain in gains]
        lines.append(f"| {recipe} | {' | '.join(shown)} |")
    return "\n".join(lines)


def spread(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    shown = [f"{value:.3f}".lstrip("0") for value in (mean(known), min(known), max(known))]
    return shown[0] if len(known) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def main() -> None:
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    torch.set_num_threads(args.threads)
    output_dir = Path(args.output_dir)
    for seed in args.seeds:
        for name in args.sets:
            for recipe in args.recipes:
                folder = output_dir / name / recipe / str(seed)
                if not (folder / METRICS).exists():
                    print(f"{name}, {recipe}, seed {seed}", flush=True)
                    run_cell(args, name, recipe, seed, folder)
    cells = collect(output_dir)
    (output_dir / "benchmark_quality.json").write_text(json.dumps(cells, indent=2) + "\n")
    for split in SPLITS[1:]:
        print(f"\n{split}:\n\n{summary(cells, split)}")
    if any(cell["recipe"] == BASE for cell in cells):
        print(f"\nBeside {BASE!r}, validation:\n\n{comparison(cells)}")


if __name__ == "__main__":
    main()
