"""How fast it trains and tags, beside what one would use instead: side by side, in turns, in one run.

    python scripts/benchmark.py --model outputs/goemotions --texts test.jsonl.gz --minilm path/to/MiniLM-L6 --check
    python scripts/benchmark.py --sections step growth

Every figure is a median of runs that alternate with those of its rivals, with the least and the most beside it, since
no machine is quiet; what counts are the ratios. The rate of a plain float32 matrix product on the same machine stands
above every table, and the share of it that was reached where the arithmetic can be counted.
"""

import gzip
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch
from benchmark_growth import measure_growth
from benchmark_report import BARS, LABELS, Report, is_met
from benchmark_tagging import measure_tagging
from benchmark_training import measure_epoch, measure_steps
from transformers import HfArgumentParser

import hf_rnn_multilabel
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.hub.provenance import processor


@dataclass
class Arguments:
    sections: list[str] = field(
        default_factory=lambda: ["step", "epoch", "tagging", "growth"], metadata={"help": "What to measure."}
    )
    model: str | None = field(default=None, metadata={"help": "A trained folder; else a net of drawn weights."})
    texts: str | None = field(default=None, metadata={"help": "jsonl (.gz) of texts; else the bundled ones."})
    minilm: str | None = field(default=None, metadata={"help": "A folder of MiniLM-L6; else it is left out."})
    distilbert: bool = field(default=False, metadata={"help": "Time a net of DistilBERT's shape, too."})
    peer_python: str | None = field(
        default=None, metadata={"help": "A Python that has LibMultiLabel, for an epoch of its net; else left out."}
    )
    number: int = field(default=2048, metadata={"help": "Texts to tag; the transformers tag an eighth of them."})
    rows: list[int] = field(default_factory=lambda: [1_000, 10_000, 100_000], metadata={"help": "Of files to tag."})
    repeats: int = field(default=5, metadata={"help": "Runs of each, in turns."})
    threads: int = field(default=2, metadata={"help": "Of torch and of ONNX Runtime."})
    output: str | None = field(default=None, metadata={"help": "A folder for benchmark.json and benchmark.md."})
    check: bool = field(default=False, metadata={"help": "Compare with the bars; exit with 1 where one is missed."})


def read_texts(path: str | None) -> list[str]:
    source = (
        Path(path) if path is not None else Path(hf_rnn_multilabel.__file__).parent / "data" / "demo" / "train.jsonl"
    )
    with (gzip.open if source.suffix == ".gz" else open)(source, "rt") as file:
        return [json.loads(line)["text"] for line in file]


def new_folder(texts: list[str], folder: str) -> str:
    """A net of the default size with drawn weights: as fast as a trained one."""
    tokenizer = train_tokenizer(texts, model_max_length=256)
    config = RnnMultilabelConfig(vocab_size=len(tokenizer), id2label=LABELS)
    RnnMultilabelForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    torch.set_num_threads(args.threads)
    texts = read_texts(args.texts)
    report = Report(args)
    print(f"float32 matrix product: {report.product_rate / 1e9:.0f} GFLOP/s")
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.model or new_folder(texts, temporary)
        if "step" in args.sections:
            measure_steps(report)
        if "epoch" in args.sections:
            measure_epoch(report, texts)
        if "tagging" in args.sections:
            measure_tagging(report, texts, folder)
        if "growth" in args.sections:
            measure_growth(report, folder)
    markdown = report.markdown()
    print("\n" + markdown)
    if args.output is not None:
        Path(args.output).mkdir(parents=True, exist_ok=True)
        found = {
            "processor": processor(),
            "threads": args.threads,
            "product_rate": report.product_rate,
            "ratios": report.ratios,
            "rows": report.rows,
        }
        (Path(args.output) / "benchmark.json").write_text(json.dumps(found, indent=2) + "\n")
        (Path(args.output) / "benchmark.md").write_text(markdown)
    if args.check:
        missed = [name for name, value in report.ratios.items() if name in BARS and not is_met(name, value)]
        unmeasured = [name for name in BARS if name not in report.ratios]
        print(f"Missed: {missed or 'none'}. Not measured: {unmeasured or 'none'}.")
        if missed:
            sys.exit(1)


if __name__ == "__main__":
    main()
