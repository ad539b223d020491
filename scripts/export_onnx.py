"""Export a trained model to ONNX: a folder that tags texts without torch.

    python scripts/export_onnx.py --model outputs/demo
    python scripts/export_onnx.py --model outputs/demo --int8 --check_file validation.jsonl
    python outputs/demo/onnx/tagger.py < texts.txt > tags.jsonl

With `--check_file` it prints how far the exported nets agree with the model; for int8, look before you serve.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tag import read_rows
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
    pipeline,
)

import hf_rnn_multilabel  # noqa: F401  (registers the model and its pipeline)
from hf_rnn_multilabel.inference.logits import compute_logits
from hf_rnn_multilabel.inference.onnx_export import MODEL, MODEL_INT8, export_onnx
from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger


BATCH_SIZE = 64


@dataclass
class ExportArguments:
    model: str = field(metadata={"help": "A trained folder, or a name on the Hub."})
    output_dir: str | None = field(default=None, metadata={"help": "Where to; the model's folder/onnx if not given."})
    int8: bool = field(default=False, metadata={"help": "Also write a net in int8: smaller, faster, not quite exact."})
    check_file: str | None = field(default=None, metadata={"help": "Texts on which to compare the nets with model."})
    text_column: str = field(default="text", metadata={"help": "Where a row's text is."})
    revision: str | None = field(default=None, metadata={"help": "Of a model on the Hub."})


def find_output(args: ExportArguments) -> Path:
    """Where the export goes.

    Raises:
        ValueError: for a model on the Hub without `--output_dir`.
    """
    if args.output_dir is not None:
        return Path(args.output_dir)
    if not Path(args.model).is_dir():
        raise ValueError(f"{args.model!r} is no folder to put an export into; say where to with `--output_dir`.")
    return Path(args.model, "onnx")


def read_texts(path: str, column: str) -> list[str]:
    """The texts of a file that `tag.py` could tag.

    Raises:
        ValueError: for a file without texts, or a row whose text is missing or no string, with its number.
    """
    texts: list[Any] = [row.get(column) for row in read_rows(path, column)]
    wrong = [number for number, text in enumerate(texts, 1) if not isinstance(text, str)]
    if wrong or not texts:
        where = f"Row {wrong[0]} of {path} has no string" if wrong else f"{path} has no rows with a string"
        raise ValueError(f"{where} as `{column}`; name the texts' column with `--text_column`.")
    return texts


def label_sets(tags: list[list[dict[str, Any]]]) -> list[set[str]]:
    return [{tag["label"] for tag in found} for found in tags]


def main() -> None:
    (args,) = HfArgumentParser(ExportArguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    output = find_output(args)
    texts = [] if args.check_file is None else read_texts(args.check_file, args.text_column)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, revision=args.revision).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model, revision=args.revision)
    folder = export_onnx(model, tokenizer, output, int8=args.int8)
    print(f"Exported to {folder}:")
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:>15,}  {path.name}")
    if not texts:
        return
    print(f"On the {len(texts):,} texts of {args.check_file}, against the model itself:")
    expected = compute_logits(model, tokenizer, texts)
    tagger = pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)  # type: ignore[call-overload]
    tags = label_sets(tagger(texts, batch_size=BATCH_SIZE, truncation=True))
    for file in [MODEL, MODEL_INT8] if args.int8 else [MODEL]:
        exported = OnnxTagger(folder, file=file)
        difference = np.abs(exported.logits(texts) - expected).max()
        agreeing = np.mean([found == own for found, own in zip(label_sets(exported(texts)), tags, strict=True)])
        print(f"{file}: the same tags for {agreeing:.2%} of the texts, logits differ by at most {difference:.2g}")


if __name__ == "__main__":
    main()
