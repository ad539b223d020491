"""`hf-rnn-multilabel distill`: as `train`, with a larger model as the teacher."""

from collections.abc import Sequence
from dataclasses import fields

import transformers

from ..data import DataArguments
from ..training.recipe import Recipe
from ..training.tagger import CardArguments, train_tagger
from ..training.teacher import DistillationArguments
from . import train
from .output import progress, quiet
from .parser import CommandParser


EXAMPLES = """
hf-rnn-multilabel distill --train_file train.csv --label_column tags --label_separator ";" \\
    --teacher_from sentence-transformers/all-MiniLM-L6-v2 --output_dir my-tagger
"""
NAMES = [each.name for each in fields(DistillationArguments)]


def make_parser() -> CommandParser:
    """The options of the command."""
    kinds = [DistillationArguments, DataArguments, Recipe, CardArguments, transformers.TrainingArguments]
    sections = {"Teacher": NAMES} | train.SECTIONS
    description = "Train a tagger that learns from a larger text classifier, or from an encoder fine-tuned first."
    return CommandParser("distill", description, kinds, sections, EXAMPLES, train.SKIPPED)


def main(argv: Sequence[str]) -> None:
    """Train as the command line says."""
    settings = make_parser().parse(argv)
    as_json = settings.pop("json")
    teacher = {name: settings.pop(name) for name in NAMES if name in settings}
    with quiet():
        run = train_tagger(distillation=DistillationArguments(**teacher), **progress(settings))
    train.show(run, as_json)
