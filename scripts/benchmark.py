"""How fast it trains and tags, beside what one would use instead: side by side, in turns, in one run.

    python scripts/benchmark.py --model outputs/goemotions --texts test.jsonl.gz --minilm path/to/MiniLM-L6 --check
    python scripts/benchmark.py --sections step growth

Every figure is a median of runs that alternate with those of the others, with the least and the most beside it, since
no machine is quiet. What counts are the ratios. The rate of a plain float32 matrix product on the same machine stands
above every table, and the fraction of it that was reached where the arithmetic can be counted.
"""

import json
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from benchmarks.growth import measure_growth
from benchmarks.report import TARGETS, Report, is_met
from benchmarks.tagging import measure_tagging
from benchmarks.training import measure_epoch, measure_steps, new_model
from transformers import HfArgumentParser

from hf_rnn_multilabel.data import read_texts, train_tokenizer
from hf_rnn_multilabel.data.raw_rows import DEMO
from hf_rnn_multilabel.hub.atomic import write_text
from hf_rnn_multilabel.hub.provenance import processor


SECTIONS = ["step", "epoch", "tagging", "growth"]


@dataclass
class Arguments:
    """What to measure, and beside what."""

    sections: list[str] = field(
        default_factory=lambda: list(SECTIONS), metadata={"help": f"What to measure, of {', '.join(SECTIONS)}."}
    )
    model: str | None = field(
        default=None, metadata={"help": "A trained folder; else a model with random weights, exported if that can be."}
    )
    texts: str | None = field(default=None, metadata={"help": "A file of texts. Default: the bundled ones."})
    minilm: str | None = field(default=None, metadata={"help": "A folder of MiniLM-L6; else it is left out."})
    distilbert: bool = field(default=False, metadata={"help": "Time a model of DistilBERT's shape, too."})
    peer_python: str | None = field(
        default=None, metadata={"help": "A Python that has LibMultiLabel, for an epoch of its model; else left out."}
    )
    number: int = field(default=2048, metadata={"help": "Texts to tag; the transformers tag an eighth of them."})
    rows: list[int] = field(default_factory=lambda: [1_000, 10_000, 100_000], metadata={"help": "Of files to tag."})
    repeats: int = field(default=5, metadata={"help": "Runs of each, in turns."})
    threads: int = field(default=2, metadata={"help": "Of torch and of ONNX Runtime."})
    output: str | None = field(default=None, metadata={"help": "A folder for benchmark.json and benchmark.md."})
    check: bool = field(default=False, metadata={"help": "Compare with the targets; exit with 1 if one is missed."})

    def __post_init__(self) -> None:
        unknown = sorted(set(self.sections) - set(SECTIONS))
        if unknown:
            raise ValueError(f"`--sections` holds {unknown}; give some of {SECTIONS}.")


def make_folder(texts: list[str], folder: str, with_export: bool) -> str:
    """Save a model with random weights, which is as fast as a trained one, and its export if that can be made."""
    tokenizer = train_tokenizer(texts, model_max_length=256)
    model = new_model(len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if with_export and find_spec("onnx") is not None and find_spec("onnxruntime") is not None:
        from hf_rnn_multilabel import export_onnx

        export_onnx(model.eval(), tokenizer, Path(folder, "onnx"), int8=True)
    return folder


def save(report: Report, folder: Path) -> None:
    """Write benchmark.json and benchmark.md."""
    results = {
        "processor": processor(),
        "threads": report.args.threads,
        "product_rate": report.product_rate,
        "ratios": report.ratios,
        "rows": report.rows,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "benchmark.json", json.dumps(results, indent=2) + "\n")
    write_text(folder / "benchmark.md", report.markdown())


def main() -> None:
    """Measure, print the tables, and compare them with the targets."""
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    torch.set_num_threads(args.threads)
    texts = list(read_texts(args.texts or DEMO / "train.jsonl"))
    report = Report(args)
    print(f"float32 matrix product: {report.product_rate / 1e9:.0f} GFLOP/s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model
        if folder is None and {"tagging", "growth"} & set(args.sections):
            folder = make_folder(texts, temporary, with_export="tagging" in args.sections)
        if "step" in args.sections:
            measure_steps(report)
        if "epoch" in args.sections:
            measure_epoch(report, texts)
        if "tagging" in args.sections:
            measure_tagging(report, texts, str(folder))
        if "growth" in args.sections:
            measure_growth(report, str(folder))
    print("\n" + report.markdown())
    if args.output is not None:
        save(report, Path(args.output))
    if args.check:
        missed = [name for name, value in report.ratios.items() if name in TARGETS and not is_met(name, value)]
        unmeasured = [name for name in TARGETS if name not in report.ratios]
        print(f"Missed: {missed or 'none'}. Not measured: {unmeasured or 'none'}.")
        if missed:
            sys.exit(1)


if __name__ == "__main__":
    main()
