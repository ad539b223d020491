"""`hf-rnn-multilabel train`: rows in, a folder with everything out."""

from collections.abc import Sequence
from typing import Any

import transformers

from ..data import DataArguments
from ..training.recipe import Recipe, is_main_process
from ..training.tagger import CardArguments, Run, train_tagger
from .output import print_json, print_run, progress, quiet
from .parser import CommandParser


SECTIONS = {
    "Data": [
        "train_file",
        "validation_file",
        "test_file",
        "dataset_name",
        "text_column",
        "label_column",
        "label_separator",
        "delimiter",
        "encoding",
        "max_length",
    ],
    "Model": [
        "embeddings_from",
        "model_name_or_path",
        "cell_type",
        "hidden_size",
        "num_hidden_layers",
        "pooling",
        "wide_head",
    ],
    "Training": [
        "num_train_epochs",
        "learning_rate",
        "per_device_train_batch_size",
        "seed",
        "bf16",
        "threshold_method",
        "linear_baseline",
        "retrain_with_validation",
        "search_trials",
    ],
    "Output": ["output_dir", "license", "language", "push_to_hub", "hub_model_id"],
}
EXAMPLES = """
hf-rnn-multilabel train --output_dir demo      # the bundled product descriptions
hf-rnn-multilabel train --train_file articles.csv --label_column tags --label_separator ";" --output_dir my-tagger
"""
# Steps of the stock example scripts; here a run takes all of them.
SKIPPED = ("training_arguments", "do_train", "do_eval", "do_predict", "resume_from_checkpoint")


def make_parser() -> CommandParser:
    """The options of the command."""
    kinds = [DataArguments, Recipe, CardArguments, transformers.TrainingArguments]
    description = "Train a tagger on labelled texts, tune its thresholds, test it once and save one folder."
    return CommandParser("train", description, kinds, SECTIONS, EXAMPLES, SKIPPED)


def main(argv: Sequence[str]) -> None:
    """Train as the command line says."""
    settings = make_parser().parse(argv)
    as_json = settings.pop("json")
    with quiet():
        run = train_tagger(**progress(settings))
    show(run, as_json)


def show(run: Run, as_json: bool) -> None:
    """Print what a run found, once for all processes of it."""
    if not is_main_process():
        return
    if as_json:
        print_json({"folder": str(run.folder)} | run.info.to_dict())
        return
    print_run(run.info)
    print()
    for text, tags in run.examples:
        print(f"{text[:100]!r}\n    -> {_tags(tags)}")
    print(f"\nSaved in {run.folder}.")


def _tags(tags: list[dict[str, Any]]) -> str:
    return ", ".join(f"{tag['label']} {tag['score']:.2f}" for tag in tags) or "no tag"
