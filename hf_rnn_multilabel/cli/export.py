"""`hf-rnn-multilabel export`: a trained folder in, one that tags without torch out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..data import read_texts
from ..inference.loading import load_checkpoint
from ..inference.onnx_check import check_export
from ..inference.onnx_export import MODEL, MODEL_INT8, export_onnx
from .output import print_json, quiet, silenced
from .parser import CommandParser


@dataclass
class ExportArguments:
    """What to export, and where to."""

    model: str | None = field(default=None, metadata={"help": "A trained folder, or a name on the Hub."})
    output_dir: str | None = field(default=None, metadata={"help": "Default: the folder `onnx` in the model's."})
    int8: bool = field(default=False, metadata={"help": "Also write an int8 model: smaller, faster, not quite exact."})
    input: str | None = field(default=None, metadata={"help": "Texts on which to compare the export with the model."})
    text_column: str | None = field(
        default=None, metadata={"help": "Where a row's text is. Default: it is looked for."}
    )
    revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of a model on the Hub."})


EXAMPLES = """
hf-rnn-multilabel export --model my-tagger --int8 --input validation.jsonl
python my-tagger/onnx/tagger.py < texts.txt > tags.jsonl
"""


def make_parser() -> CommandParser:
    """The options of the command."""
    return CommandParser("export", "Export a tagger to ONNX.", [ExportArguments], examples=EXAMPLES)


def main(argv: Sequence[str]) -> None:
    """Export as the command line says."""
    parser = make_parser()
    given = parser.parse(argv)
    as_json = given.pop("json")
    args = ExportArguments(**given)
    if args.model is None:
        parser.error("--model is needed: a trained folder, or a name on the Hub")
    # Hints for those who write exporters.
    with quiet(), silenced("root", "torch.onnx", "onnxscript", "onnx_ir"):
        output = _output(args)
        texts = [] if args.input is None else list(read_texts([args.input], args.text_column))
        if args.input is not None and not texts:
            raise ValueError(f"{args.input!r} holds no texts; leave out `--input`, or give a file of texts.")
        model, tokenizer = load_checkpoint(args.model, revision=args.revision)
        folder = export_onnx(model, tokenizer, output, int8=args.int8)  # type: ignore[arg-type]
        names = [MODEL, MODEL_INT8] if args.int8 else [MODEL]
        checks = [check_export(folder, name, model, tokenizer, texts) for name in names] if texts else []
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    if as_json:
        print_json({"folder": str(folder), "bytes": sizes, "checks": checks})
        return
    print(f"Exported to {folder}:")
    for name, size in sizes.items():
        print(f"{size:>15,}  {name}")
    for check in checks:
        print(
            f"{check['file']}: the same tags for {check['same_tags']:.2%} of {len(texts):,} texts, logits differ by "
            f"at most {check['max_logit_difference']:.2g}."
        )


def _output(args: ExportArguments) -> Path:
    """Where the export goes."""
    if args.output_dir is not None:
        return Path(args.output_dir)
    if not Path(str(args.model)).is_dir():
        raise ValueError(f"{args.model!r} is no folder to put an export into; say where to with `--output_dir`.")
    return Path(str(args.model), "onnx")
