"""Time and memory against the length of texts, the labels, the vocabulary, and the rows of a file."""

import json
import tempfile
from pathlib import Path

from benchmarks.report import POOLING, Report, run_child


SIZES = {
    "time_steps": [16, 64, 256, 1024, 4096],
    "num_labels": [10, 100, 1_000, 10_000, 30_000],
    "vocab_size": [1_000, 10_000, 100_000],
}


def measure_growth(report: Report, folder: str) -> None:
    """Measure time and memory against the length of texts, the labels, the vocabulary, and the rows of a file."""
    for name, sizes in SIZES.items():
        for size in sizes:
            settings = json.dumps({"pooling": POOLING, name: size})
            steps = [json.loads(run_child(TRAINING_STEP, settings)) for _ in range(2)]
            report.add("Growth: a training step of 16 texts", f"{name} {size:,}", "ms", [step["ms"] for step in steps])
            report.add("Growth: memory of that", f"{name} {size:,}", "MB", [step["bytes"] / 1e6 for step in steps])
    used = {}
    for number in report.args.rows:
        with tempfile.TemporaryDirectory() as temporary:
            lines = (json.dumps({"text": f"a lamp of {index % 997} lights for the desk"}) for index in range(number))
            source = Path(temporary) / "rows.jsonl"
            source.write_text("\n".join(lines), encoding="utf-8")
            tagging = json.loads(run_child(TAG_FILE, folder, str(source), f"{temporary}/tagged.jsonl"))
            used[number] = tagging["bytes"]
            report.add("Growth: tagging a file", f"{number:,} rows", "texts/s", [number / tagging["seconds"]])
            report.add("Growth: memory of that", f"{number:,} rows", "MB", [tagging["bytes"] / 1e6])
    if {10_000, 1_000_000} <= used.keys():
        report.ratios["a million texts: memory at the end / after 10,000"] = used[1_000_000] / used[10_000]


TRAINING_STEP = """
import json, re, sys, time, torch
from hf_rnn_multilabel import RnnMultilabelConfig, RnnMultilabelForSequenceClassification
settings = json.loads(sys.argv[1])
time_steps = settings.pop("time_steps", 32)
model = RnnMultilabelForSequenceClassification(RnnMultilabelConfig(**{"num_labels": 28} | settings)).train()
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
ids = torch.randint(1, model.config.vocab_size, (16, time_steps))
labels = (torch.rand(16, model.config.num_labels) < 0.1).float()
for turn in range(3):
    started = time.perf_counter()
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
ms = 1e3 * (time.perf_counter() - started)
used = 1024 * int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps(dict(ms=ms, bytes=used)))
"""
TAG_FILE = """
import json, re, sys, time
model, source, output = sys.argv[1:]
started = time.perf_counter()
from hf_rnn_multilabel.cli.main import main
code = main(["tag", "--model", model, "--input", source, "--output", output])
if code:
    sys.exit(code)
used = 1024 * int(re.search("VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
print(json.dumps(dict(seconds=time.perf_counter() - started, bytes=used)))
"""
