"""Tag texts with a trained model: lines, jsonl, csv or parquet in, jsonl out, in constant memory.

    python scripts/tag.py --model outputs/demo --input articles.csv --text_column body --output tagged.jsonl
    echo "A folding lamp for the desk" | python scripts/tag.py --model outputs/demo --scores

Every row comes out in its place, with its own columns and one more.
"""

import csv
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from tqdm import tqdm
from transformers import HfArgumentParser, Pipeline, pipeline

from hf_rnn_multilabel.inference.ensemble import TaggerEnsemble


@dataclass
class Arguments:
    model: list[str] = field(
        metadata={"help": "A trained folder, or a name on the Hub; several with the same labels tag as one."}
    )
    input: str = field(default="-", metadata={"help": "txt, jsonl, csv, tsv (.gz) or parquet; - for lines of stdin."})
    output: str = field(default="-", metadata={"help": "A jsonl file; - for stdout."})
    text_column: str = field(default="text", metadata={"help": "Where a row's text is."})
    tags_column: str = field(default="predicted_labels", metadata={"help": "Where a row's tags go."})
    scores: bool = field(default=False, metadata={"help": "Give each tag with its score."})
    threshold: float | None = field(default=None, metadata={"help": "Instead of the model's own thresholds."})
    top_k: int | None = field(default=None, metadata={"help": "At most so many tags a text."})
    at_least_one: bool = field(default=False, metadata={"help": "Give the best tag where none reaches its threshold."})
    batch_size: int = field(default=64, metadata={"help": "Texts in a batch."})
    window: int = field(default=4096, metadata={"help": "Texts in memory at once, sorted by length into batches."})
    threads: int | None = field(default=None, metadata={"help": "Of torch; else OMP_NUM_THREADS, else all cores."})
    revision: str | None = field(default=None, metadata={"help": "Of the models on the Hub."})


def read_rows(path: str, text_column: str) -> Iterator[dict[str, Any]]:
    """The rows of a file or of stdin, one at a time.

    Raises:
        ValueError: for an unknown format, a line that is no JSON object, or a row without a text, with its number.
    """
    if path == "-":
        yield from ({text_column: line.rstrip("\n")} for line in sys.stdin)
        return
    suffixes = Path(path).suffixes
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind == ".parquet":
        from pyarrow.parquet import ParquetFile

        for batch in ParquetFile(path).iter_batches(1024):
            yield from batch.to_pylist()
        return
    opener = gzip.open if suffixes[-1:] == [".gz"] else open
    # Spreadsheets put a mark of the byte order first.
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        if kind == ".txt":
            yield from ({text_column: line.rstrip("\r\n")} for line in file)
        elif kind == ".jsonl":
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"Line {number} of {path} is no JSON: {error}.") from error
                if not isinstance(row, dict):
                    raise ValueError(f"Line {number} of {path} is {row!r}; it must be a JSON object with the text.")
                yield row
        elif kind in (".csv", ".tsv"):
            csv.field_size_limit(sys.maxsize)
            for number, row in enumerate(csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ","), 1):
                if None in row:
                    raise ValueError(
                        f"Row {number} of {path} has more fields than the header, {row[None]} too many; put a text "
                        "with the separator in quotes."
                    )
                yield row
        else:
            raise ValueError(
                f"Cannot tell the format of {path!r}; its name must end in txt, jsonl, csv, tsv or parquet."
            )


def tag_rows(
    tagger: Pipeline | TaggerEnsemble, rows: Iterable[dict[str, Any]], args: Arguments
) -> Iterator[dict[str, Any]]:
    """The rows in their order, each with its tags; texts of alike length share a batch.

    Raises:
        ValueError: for a row whose text is missing or no string, with its number.
    """
    rows, done = iter(rows), 0
    while window := list(islice(rows, args.window)):
        for number, row in enumerate(window, done + 1):
            if not isinstance(row.get(args.text_column), str):
                raise ValueError(
                    f"Row {number} has {row.get(args.text_column)!r} as `{args.text_column}`; it must be a string. "
                    f"Its columns are {list(row)}; name the text's with `--text_column`."
                )
            if args.tags_column in row:
                raise ValueError(
                    f"Row {number} has a column {args.tags_column!r} already; give another `--tags_column`."
                )
        texts = [row[args.text_column] for row in window]
        for row, tags in zip(window, tagger(texts, batch_size=args.batch_size), strict=True):
            yield row | {args.tags_column: tags if args.scores else [tag["label"] for tag in tags]}
        done += len(window)


def write_rows(rows: Iterable[dict[str, Any]], output: TextIO) -> None:
    for row in tqdm(rows, unit=" texts"):
        output.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def main() -> None:
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    if args.input != "-" and not Path(args.input).exists():
        raise FileNotFoundError(f"No file {args.input!r} to tag.")
    if args.output != "-" and Path(args.output).resolve() == Path(args.input).resolve():
        raise ValueError(f"`--output` is the input, {args.input!r}, which would be lost; give another file.")
    if args.window < 1:
        raise ValueError(f"`--window` is {args.window}; it must be at least 1.")
    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f"`--threads` is {args.threads}; it must be at least 1.")
        torch.set_num_threads(args.threads)
    options = {"threshold": args.threshold, "top_k": args.top_k, "at_least_one": args.at_least_one}
    taggers = [
        pipeline("multi-label-tagging", model=model, revision=args.revision, **options)  # type: ignore[call-overload]
        for model in args.model
    ]
    tagger = taggers[0] if len(taggers) == 1 else TaggerEnsemble(taggers, **options)
    rows = tag_rows(tagger, read_rows(args.input, args.text_column), args)
    if args.output == "-":
        write_rows(rows, sys.stdout)
    else:
        with open(args.output, "w", encoding="utf-8") as file:
            write_rows(rows, file)


if __name__ == "__main__":
    main()
