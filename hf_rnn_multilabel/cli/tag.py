"""`hf-rnn-multilabel tag`: a file of texts in, the same rows with their tags out."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from ..data import Resumption, open_output, read_rows
from ..inference.files import WINDOW, tag_rows, tagging_identity
from ..inference.loading import load_tagger
from .output import print_json, quiet
from .parser import CommandParser


@dataclass
class TagArguments:
    """What to tag, with which model, and where the tags go."""

    model: list[str] = field(
        default_factory=list,
        metadata={"help": "A trained folder, an ONNX export or a Hub name; several with the same labels tag as one."},
    )
    input: str = field(
        default="-", metadata={"help": "txt, jsonl, json, csv, tsv or parquet, also compressed; - for lines of stdin."}
    )
    output: str = field(default="-", metadata={"help": "jsonl, csv, tsv or parquet, also .gz; - for jsonl to stdout."})
    resume: bool = field(
        default=False, metadata={"help": "Resume a tagging into this output that was stopped, if there is one."}
    )
    text_column: str = field(default="text", metadata={"help": "Where a row's text is."})
    tags_column: str = field(default="predicted_labels", metadata={"help": "Where its tags go."})
    tags_separator: str | None = field(
        default=None, metadata={"help": "Join a row's tags to one string, for example ';'. Default: a list."}
    )
    scores: bool = field(default=False, metadata={"help": "Give each tag with its score."})
    threshold: float | None = field(default=None, metadata={"help": "Instead of the model's own thresholds."})
    top_k: int | None = field(default=None, metadata={"help": "At most so many tags per text."})
    at_least_one: bool = field(
        default=False, metadata={"help": "Give the best label where none reaches its threshold."}
    )
    max_length: int | None = field(default=None, metadata={"help": "Tokens at which a text is truncated."})
    batch_size: int = field(default=64, metadata={"help": "Texts in a batch."})
    window: int = field(default=WINDOW, metadata={"help": "Rows in memory at once, sorted by length into batches."})
    threads: int | None = field(default=None, metadata={"help": "Threads of torch. Default: all cores."})
    file_format: str | None = field(default=None, metadata={"help": "Of the input. Default: as its name says."})
    delimiter: str | None = field(default=None, metadata={"help": "Of a csv. Default: a comma."})
    encoding: str | None = field(default=None, metadata={"help": "Of the input. Default: UTF-8."})
    revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of models on the Hub."})


EXAMPLES = """
hf-rnn-multilabel tag --model my-tagger --input articles.csv --text_column body --output tagged.jsonl
echo "A folding lamp for the desk" | hf-rnn-multilabel tag --model my-tagger --scores
"""
COLUMNS = ("text_column", "tags_column", "scores", "tags_separator")
TAGGING = ("threshold", "top_k", "at_least_one", "max_length", "batch_size")


def make_parser() -> CommandParser:
    """The options of the command."""
    return CommandParser("tag", "Tag the texts of a file or of stdin.", [TagArguments], examples=EXAMPLES)


def main(argv: Sequence[str]) -> None:
    """Tag as the command line says."""
    parser = make_parser()
    given = parser.parse(argv)
    as_json = given.pop("json")
    args = TagArguments(**given)
    if not args.model:
        parser.error("--model is needed: a trained folder, or a name on the Hub")
    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f"`--threads` is {args.threads}; it must be at least 1.")
        torch.set_num_threads(args.threads)
    with quiet():
        tagger = load_tagger(args.model, revision=args.revision, threads=args.threads)
    rows = read_rows(
        args.input,
        file_format=args.file_format,
        delimiter=args.delimiter,
        encoding=args.encoding,
        text_column=args.text_column,
    )
    options = {name: getattr(args, name) for name in TAGGING}
    columns = {name: getattr(args, name) for name in COLUMNS}
    identity = tagging_identity(args.model, args.revision, **columns, **options, window=args.window)
    resumption = Resumption(identity, args.window, args.resume)
    with open_output(args.output, inputs=[args.input], resumption=resumption) as output:
        tagged = tag_rows(
            tagger, output.remaining(rows), window=args.window, num_done=output.resumed, **columns, **options
        )
        # A bar in a log file is a thousand lines.
        for row in tqdm(tagged, unit=" texts", initial=output.resumed, disable=not sys.stderr.isatty()):
            output.write(row)
    if args.output != "-":
        if as_json:
            print_json({"rows": output.rows, "output": args.output})
        else:
            print(f"Tagged {output.rows:,} rows. Saved in {args.output}.", file=sys.stderr)
