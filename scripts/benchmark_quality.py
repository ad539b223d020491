"""How good it is, beside what one would use instead: data sets x recipes x seeds, with all choices from validation.

    python scripts/benchmark_quality.py --data path/to/sets --encoder path/to/MiniLM-L6 --output_dir outputs/quality
    python scripts/benchmark_quality.py --data ... --encoder ... --sets goemotions --recipes averaged --output_dir ...

Every cell is one run of `hf-rnn-multilabel train` or `distill` with the recipe's options, of the linear model, of the
fine-tuned encoder, or of finished cells as one tagger. A cell that has its `metrics.json` is not run again, and one
that was stopped resumes, so the same command continues a stopped benchmark. Several processes may share the output
folder if each has cells of its own. All seeds of a set share the encoder of the pretrained cells, whose seconds do not
count it. benchmark_quality.json has all cells of the folder.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from benchmarks.quality_recipes import FINE_TUNED, LINEAR, PRETRAINING, RECIPES, TOGETHER
from benchmarks.quality_tables import BASE, collect, comparison, summary
from transformers import AutoModelForSequenceClassification, HfArgumentParser

from hf_rnn_multilabel import TaggerEnsemble, load_tagger
from hf_rnn_multilabel.data import DataArguments, load_data
from hf_rnn_multilabel.evaluation import evaluate_all, linear_scores
from hf_rnn_multilabel.hub.atomic import write_text
from hf_rnn_multilabel.hub.run_info import METRICS_NAME, MetricRow, RunInfo
from hf_rnn_multilabel.inference.logits import sigmoid
from hf_rnn_multilabel.training.folder import run_folder
from hf_rnn_multilabel.training.recipe import Recipe
from hf_rnn_multilabel.training.teacher import DistillationArguments, compared, fine_tune


SPLITS = ("train", "validation", "test")
HELD_OUT = SPLITS[1:]
# What `--settings` may not say: it comes from the benchmark's own arguments.
DECIDED = {"output_dir", "seed", "validation_fraction", "bf16", "use_cpu", "disable_tqdm", "unknown_labels"}
DECIDED |= {f"{split}_file" for split in SPLITS}


def all_recipes() -> list[str]:
    """Return the names of all recipes."""
    return [LINEAR, FINE_TUNED, *RECIPES, *TOGETHER]


@dataclass
class Arguments:
    """Which cells to run, and where they go."""

    data: str = field(metadata={"help": "A folder of sets: a folder each, with {train,validation,test}.jsonl.gz."})
    output_dir: str = field(metadata={"help": "A folder for every cell, and benchmark_quality.json of them all."})
    sets: list[str] = field(default_factory=lambda: ["goemotions", "reuters21578"], metadata={"help": "Of `data`."})
    recipes: list[str] = field(
        default_factory=lambda: [LINEAR, FINE_TUNED, "default", "embeddings"],
        metadata={"help": f"Of {all_recipes()}."},
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "Of the model, and of the split of train."}
    )
    encoder: str | None = field(
        default=None, metadata={"help": "A pretrained encoder, for example MiniLM-L6's folder."}
    )
    settings: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Options of `train`, for example num_train_epochs=2, that neither the recipe nor the benchmark "
            "decides."
        },
    )
    threads: int = field(default=2, metadata={"help": "Of torch."})
    bf16: bool = field(default=False, metadata={"help": "Train in bfloat16, which some processors multiply faster."})
    texts: list[str] = field(default_factory=list, metadata={"help": "Files for 'pretrained' beside the train texts."})

    def __post_init__(self) -> None:
        for setting in self.settings:
            if "=" not in setting:
                raise ValueError(
                    f"`--settings` holds {setting!r}; give a name and a value, for example num_train_epochs=2."
                )
            if setting.partition("=")[0] in DECIDED:
                raise ValueError(f"`--settings` holds {setting!r}, which the benchmark decides; leave it out.")


def run_cell(args: Arguments, name: str, recipe: str, seed: int, folder: Path) -> None:
    """Run one cell, whose folder then has its metrics.json.

    Args:
        args: those of the benchmark.
        name: of the set.
        recipe: its name.
        seed: of the model, and of the validation rows where they are split off.
        folder: of the cell.

    Raises:
        ValueError: for a recipe that is unknown, or needs an encoder or another cell where there is none, and for a
            set without files.
        RuntimeError: if a command fails; its log is beside the folder.
    """
    if recipe not in all_recipes():
        raise ValueError(f"No recipe {recipe!r}; give some of {all_recipes()}.")
    if needs_encoder(recipe) and args.encoder is None:
        raise ValueError(f"The recipe {recipe!r} needs a pretrained encoder; give its folder with `--encoder`.")
    files = files_of(args.data, name)
    data_args = DataArguments(**files, unknown_labels="drop")  # type: ignore[arg-type]
    if recipe == LINEAR:
        run_linear(data_args, seed, folder)
    elif recipe == FINE_TUNED:
        run_fine_tuned(args, data_args, seed, folder)
    elif recipe in TOGETHER:
        members = [Path(path.format(cells=args.output_dir, set=name, seed=seed)) for path in TOGETHER[recipe]]
        for member in members:
            need_cell(recipe, member)
        run_together(data_args, members, seed, folder)
    else:
        run_recipe(args, name, recipe, seed, files, folder)


def needs_encoder(recipe: str) -> bool:
    """Return whether a recipe starts from `--encoder`."""
    parts = RECIPES.get(recipe, [])
    return recipe == FINE_TUNED or any("{encoder}" in part or "encoders from embeddings" in part for part in parts)


def files_of(data: str, name: str) -> dict[str, str]:
    """Return the files of a set, by the names that `train` has for them."""
    paths = {split: Path(data, name, f"{split}.jsonl.gz") for split in SPLITS}
    missing = [str(paths[split]) for split in ("train", "test") if not paths[split].exists()]
    if missing:
        raise ValueError(f"{name!r} lacks {missing}; a set has at least train.jsonl.gz and test.jsonl.gz.")
    return {f"{split}_file": str(path) for split, path in paths.items() if path.exists()}


def need_cell(recipe: str, folder: Path) -> None:
    """Refuse a recipe that starts from a cell which is not there."""
    if not (folder / METRICS_NAME).exists():
        raise ValueError(f"The recipe {recipe!r} needs {folder}, which is not finished; run that cell first.")


def run_recipe(args: Arguments, name: str, recipe: str, seed: int, files: dict[str, str], folder: Path) -> None:
    """Run `train` or `distill` with the options of a recipe, after `pretrain` if it needs a pretrained encoder."""
    values = {"encoder": args.encoder, "seed": seed, "set": name, "cells": args.output_dir}
    # The last one counts: what the recipe says.
    options = [part for setting in args.settings for part in (f"--{setting}".split("=", 1))]
    options += [part.format(**values) for part in RECIPES[recipe]]
    for encoders, told in PRETRAINING.items():
        encoder = Path(args.output_dir, encoders, name)
        if f"{{cells}}/{encoders}/{{set}}" in RECIPES[recipe] and not (encoder / METRICS_NAME).exists():
            texts = ["--train_file", files["train_file"], *args.texts]
            run_command("pretrain", encoder, [*texts, *(part.format(**values) for part in told)], args)
    for part in RECIPES[recipe]:
        if part.startswith("{cells}"):
            need_cell(recipe, Path(part.format(**values)))
    options += [part for key, value in files.items() for part in (f"--{key}", value)]
    options += ["--unknown_labels", "drop", "--seed", str(seed)]
    run_command("distill" if "--teacher" in options else "train", folder, options, args)


def run_command(command: str, folder: Path, options: list[str], args: Arguments) -> None:
    """Run a command of the package; its output goes to a log beside the folder."""
    argv = [sys.executable, "-m", "hf_rnn_multilabel.cli.main", command, "--output_dir", str(folder), *options]
    argv += ["--disable_tqdm", "true", "--use_cpu", "true", *(["--bf16", "true"] if args.bf16 else [])]
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.log")
    with path.open("w", encoding="utf-8") as log:
        environment = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
        done = subprocess.run(argv, stdout=log, stderr=subprocess.STDOUT, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} failed; see {path}.")


def run_linear(data_args: DataArguments, seed: int, folder: Path) -> None:
    """Fit the linear baseline."""
    data = load_data(data_args, seed=seed)
    held_out = [split for split in HELD_OUT if split in data.texts]
    started = time.perf_counter()
    found = linear_scores(data.texts["train"], data.labels["train"], *(data.texts[split] for split in held_out))
    seconds = time.perf_counter() - started
    scores = dict(zip(held_out, found, strict=True))
    results = compared(LINEAR, scores, data.labels, data.encoding.label_names, Recipe.threshold_method)
    save(RunInfo(name=LINEAR, results=results, other_seconds=seconds), folder)


def run_fine_tuned(args: Arguments, data_args: DataArguments, seed: int, folder: Path) -> None:
    """Fine-tune the encoder, as a teacher is."""
    stock = {"use_cpu": True, "bf16": args.bf16, "disable_tqdm": True, "report_to": "none"}
    teacher = DistillationArguments(teacher_from=str(args.encoder), teacher_learning_rate=1e-4)
    recipe = Recipe(seed=seed, training_arguments=stock)
    data = load_data(data_args, seed=seed)
    with run_folder(folder) as run:
        own = run.partial / "teacher"
        started = time.perf_counter()
        results = fine_tune(data, str(args.encoder), own, teacher, recipe, data_args.max_length)
        seconds = time.perf_counter() - started
        for checkpoint in own.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        parameters = AutoModelForSequenceClassification.from_pretrained(own).num_parameters()
        info = RunInfo(name=FINE_TUNED, results=results, num_parameters=parameters, other_seconds=seconds)
        info.save(own)
        run.publish(own)


def run_together(data_args: DataArguments, members: list[Path], seed: int, folder: Path) -> None:
    """Evaluate the cells' taggers as one, at the ensemble's own thresholds."""
    data = load_data(data_args, seed=seed)
    ensemble = TaggerEnsemble([load_tagger(member) for member in members])
    held_out = [split for split in HELD_OUT if split in data.texts]
    scores = {split: sigmoid(ensemble.logits(data.texts[split])) for split in held_out}
    name = folder.parent.name
    rows = evaluate_all(name, scores, data.labels, ensemble.label_names, thresholds=ensemble.thresholds)
    infos = [RunInfo.load(member) for member in members]
    info = RunInfo(
        name=name,
        results={split: [MetricRow.from_flat(row) for row in part] for split, part in rows.items()},
        num_parameters=sum(info.num_parameters or 0 for info in infos),
        other_seconds=sum(info.train_seconds for info in infos),
    )
    save(info, folder)


def save(info: RunInfo, folder: Path) -> None:
    """Save the metrics of a cell that has no model."""
    folder.mkdir(parents=True, exist_ok=True)
    info.save(folder)


def main() -> None:
    """Run the cells that are not finished, and print the tables of all."""
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    torch.set_num_threads(args.threads)
    output_dir = Path(args.output_dir)
    for seed in args.seeds:
        for name in args.sets:
            for recipe in args.recipes:
                folder = output_dir / name / recipe / str(seed)
                if not (folder / METRICS_NAME).exists():
                    print(f"{name}, {recipe}, seed {seed}", flush=True)
                    run_cell(args, name, recipe, seed, folder)
    cells = collect(output_dir)
    write_text(output_dir / "benchmark_quality.json", json.dumps(cells, indent=2) + "\n")
    for split in HELD_OUT:
        print(f"\n{split}:\n\n{summary(cells, split)}")
    if any(cell["recipe"] == BASE for cell in cells):
        print(f"\nBeside {BASE!r}, validation:\n\n{comparison(cells)}")


if __name__ == "__main__":
    main()
