"""`hf-rnn-multilabel inspect`: what the rows say, without a training."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import AutoTokenizer

from ..data import DataArguments, Inspection, inspect_data
from .main import ERRORS, as_options, in_words
from .output import print_json, quiet
from .parser import CommandParser


EXAMPLES = """
hf-rnn-multilabel inspect articles.csv --label_column tags --label_separator ";"
hf-rnn-multilabel inspect train.jsonl --test_file test.jsonl --json
"""


@dataclass
class InspectArguments:
    """What is counted beside what the rows say by themselves."""

    tokenizer_name: str | None = field(
        default=None,
        metadata={"help": "A tokenizer, by which the texts are counted that --max_length truncates."},
    )


def make_parser() -> CommandParser:
    """The options of the command."""
    description = "Show what FILE holds as `train` reads it, and what is likely wrong with it."
    parser = CommandParser("inspect", description, [DataArguments, InspectArguments], examples=EXAMPLES)
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="Rows to train on, or a folder of train, validation and test."
    )
    return parser


def main(argv: Sequence[str]) -> None:
    """Inspect what the command line says; of rows with an error, print what is known before it."""
    parser = make_parser()
    given = parser.parse(argv)
    as_json, file, name = given.pop("json"), given.pop("file", None), given.pop("tokenizer_name", None)
    if file is not None and "train_file" in given:
        parser.error(f"FILE is {file} and --train_file {given['train_file']}; give one")
    taken = next((value for value in given.get("label_column", []) if os.path.exists(value)), None)
    if file is None and taken is not None and not given.keys() & {"train_file", "dataset_name"}:
        parser.error(f"--label_column takes all that follows it, {taken} too; put FILE before the options")
    inspection, failed = Inspection(), {}
    try:
        with quiet():
            tokenizer = None if name is None else AutoTokenizer.from_pretrained(name)
            inspect_data(file, DataArguments(**given), tokenizer=tokenizer, into=inspection)
    except ERRORS as error:
        failed = {"error": in_words(error, "inspect")}
        raise
    finally:
        if as_json:
            print_json(failed | inspection.to_dict())
        elif inspection.splits:
            print("\n".join(_lines(inspection)))


def _lines(inspection: Inspection) -> list[str]:
    warnings = [f"Warning: {message}" for message in inspection.warnings]
    return [as_options(line, "inspect") for line in [str(inspection), *warnings]]
