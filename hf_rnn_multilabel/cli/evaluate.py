"""`hf-rnn-multilabel evaluate`: a tagger and a labelled file in, metrics out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..data.sources import FileOptions, local_copy
from ..hub.provenance import describe_file
from ..hub.run_info import LabelResult, MetricRow
from ..inference.evaluation import LabelledTexts, evaluate_tagger, labelled_texts
from ..inference.loading import load_tagger
from .output import print_json, print_labels, print_metrics, quiet
from .parser import CommandParser


@dataclass
class LabelledFile:
    """A file of texts with their labels."""

    input: str | None = field(
        default=None, metadata={"help": "jsonl, json, csv, tsv or parquet, also compressed; - for stdin."}
    )
    text_column: str | None = field(default=None, metadata={"help": "Where the texts are. Default: it is looked for."})
    label_column: list[str] | None = field(
        default=None, metadata={"help": "The label column, or several 0/1 columns. Default: it is looked for."}
    )
    label_separator: str | None = field(default=None, metadata={"help": "What separates labels within a string."})
    unknown_labels: Literal["error", "drop"] = field(
        default="error", metadata={"help": "Labels that the tagger does not have: error or drop."}
    )
    blank_label: Literal["ignored", "absent"] = field(
        default="ignored", metadata={"help": "Meaning of a blank in a 0/1 column: ignored or absent (0)."}
    )
    group_duplicates: bool = field(
        default=False, metadata={"help": "Merge rows with the same text into one row with the labels of all."}
    )
    file_format: str | None = field(default=None, metadata={"help": "Default: as the file's name says."})
    delimiter: str | None = field(default=None, metadata={"help": "Of a csv. Default: a comma."})
    encoding: str | None = field(default=None, metadata={"help": "Of the file. Default: UTF-8."})

    def read(self, label_names: list[str]) -> LabelledTexts:
        """Read the file; the labels are in the order of a tagger's."""
        own = {name: value for name, value in vars(self).items() if name != "input"}
        path = local_copy(str(self.input), FileOptions(self.file_format, self.delimiter, self.encoding))
        return replace(labelled_texts(path, label_names, **own), source=describe_file(path, "validation"))


@dataclass
class EvaluateArguments:
    """Which tagger."""

    model: list[str] = field(
        default_factory=list, metadata={"help": "A trained folder, an ONNX export or a Hub name, or several as one."}
    )
    batch_size: int = field(default=64, metadata={"help": "Texts in a batch."})
    revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of a model on the Hub."})


EXAMPLES = """
hf-rnn-multilabel evaluate --model my-tagger --input test.csv --label_column tags --label_separator ";"
"""


def make_parser() -> CommandParser:
    """The options of the command."""
    kinds = [EvaluateArguments, LabelledFile]
    return CommandParser("evaluate", "Score a tagger on a labelled file.", kinds, examples=EXAMPLES)


def main(argv: Sequence[str]) -> None:
    """Evaluate as the command line says."""
    parser = make_parser()
    given = parser.parse(argv)
    as_json = given.pop("json")
    own = {name: given.pop(name) for name in ("model", "batch_size", "revision") if name in given}
    args, file = EvaluateArguments(**own), LabelledFile(**given)
    if not args.model or file.input is None:
        parser.error("--model and --input are needed: a tagger, and a labelled file")
    with quiet():
        tagger = load_tagger(args.model, revision=args.revision)
        rows = file.read(tagger.label_names)
        result = evaluate_tagger(tagger, rows, batch_size=args.batch_size)
    if as_json:
        read = {"description": rows.description, "warnings": rows.warnings}
        print_json({"model": args.model, "input": file.input} | read | result)
        return
    print(rows.description)
    show(args.model, result)


def show(models: list[str], result: dict[str, Any]) -> None:
    """Print the metrics, then the labels."""
    print(f"\n{result['rows']:,} texts")
    print_metrics([MetricRow(model=" + ".join(models), thresholds="its own thresholds", metrics=result["metrics"])])
    print_labels([LabelResult(**{"train_support": None} | row) for row in result["labels"]])
