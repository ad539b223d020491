"""Kills each command at random moments and repeats it: the result must have the bytes of one that nobody killed.

    python scripts/kill_commands.py
    python scripts/kill_commands.py --commands tag --kills 5

Each command runs once undisturbed. Then, again and again, it is started, its process group is killed at a random
moment of that time, and the same command runs to its end. After the kill, the earlier output must be at its place, or
nothing, or the whole new one. After the end, all files must be those of the undisturbed run, and nothing else is left.
Of metrics.json and README.md what measures time is left out, by name.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, HfArgumentParser

from hf_rnn_multilabel.data import read_rows, train_tokenizer
from hf_rnn_multilabel.data.raw_rows import DEMO
from hf_rnn_multilabel.hub.atomic import write_text
from hf_rnn_multilabel.hub.partial import PARTIAL
from hf_rnn_multilabel.hub.provenance import processor


RESULTS = Path(__file__).parent / "benchmarks" / "results" / "kills.json"
# What measures time, wherever it is in metrics.json.
TIMES = {"seconds", "other_seconds", "texts_per_second", "teacher_seconds", "logits_seconds"}
# The same in a card: the row of a table, and a sentence.
TIMES_IN_CARD = (r"\| time \| [\d,]+ s \|", r"tagged [\d,]+ texts per second", r"steps, [\d,]+ s \|")
SMALL = "--hidden_size 16 --embedding_size 16 --per_device_train_batch_size 16 --use_cpu true"
OUTCOMES = ("resumed", "started again", "was finished")


@dataclass
class Arguments:
    """What to kill, and how often."""

    commands: list[str] = field(
        default_factory=lambda: ["train", "pretrain", "distill", "export", "tag"],
        metadata={"help": "The commands, of train, pretrain, distill, export and tag."},
    )
    kills: int = field(default=20, metadata={"help": "Kills of each."})
    rows: int = field(default=200_000, metadata={"help": "Rows to tag."})
    seed: int = field(default=0, metadata={"help": "Of the moments."})
    output: str = field(default=str(RESULTS), metadata={"help": "The file of the results; others in it are kept."})


@dataclass(frozen=True)
class Command:
    """A command to kill.

    Attributes:
        name: Its name.
        options: Its command line, where {place} stands for its result.
        place: The name of its result.
        again: Options of its repetition.
        prepare: Puts an earlier result at the place.
    """

    name: str
    options: str
    place: str = "result"
    again: str = ""
    prepare: Callable[[Path], object] = lambda place: None

    def line(self, folder: Path, is_repetition: bool = False) -> list[str]:
        options = self.options.split() + (self.again.split() if is_repetition else [])
        options = [option.replace("{place}", str(folder / self.place)) for option in options]
        return [sys.executable, "-m", "hf_rnn_multilabel.cli.main", self.name, *options]


@dataclass
class Outcome:
    """What the kills of a command found."""

    kills: int = 0
    seconds: float = 0.0
    counts: Counter = field(default_factory=Counter)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "kills": self.kills,
            "seconds_undisturbed": round(self.seconds, 1),
            **self.counts,
            "rounds": self.rounds,
        }


def main() -> None:
    """Kill as the command line says, print a table, and keep what was found."""
    (args,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        os.environ |= {"OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        commands = make_commands(folder, args.rows)
        for command in args.commands:
            outcome = kill_often(commands[command], folder / "runs", args.kills, args.seed)
            keep(Path(args.output), command, outcome, args.seed)
    found = json.loads(Path(args.output).read_text(encoding="utf-8"))
    print(table(found["commands"]))
    if any(outcome.get("not equal") for outcome in found["commands"].values()):
        sys.exit(1)


def make_commands(folder: Path, num_rows: int) -> dict[str, Command]:
    """Make the inputs of the commands, and say how each is called."""
    texts = [row["text"] for split in ("train", "validation", "test") for row in read_rows(DEMO / f"{split}.jsonl")]
    (folder / "texts.txt").write_text("".join(text + "\n" for text in texts[:600]), encoding="utf-8")
    draw = random.Random(0)
    with open(folder / "rows.jsonl", "w", encoding="utf-8") as file:
        for number in range(num_rows):
            words = draw.choice(texts).split()
            file.write(json.dumps({"id": number, "text": " ".join(draw.sample(words, min(5, len(words))))}) + "\n")
    make_encoder(folder / "encoder", texts)
    run([*Command("train", f"{SMALL} --num_train_epochs 3 --output_dir {{place}}", "model").line(folder)])
    run([*Command("export", f"--model {folder / 'model'} --output_dir {{place}}", "earlier").line(folder)])
    return {
        "train": Command(
            "train",
            f"{SMALL} --num_train_epochs 12 --learning_rate 0.01 --retrain_with_validation true "
            "--weight_averaging 0.9 --early_stopping_patience 99 --output_dir {place}",
        ),
        "pretrain": Command(
            "pretrain", f"--train_file {folder / 'texts.txt'} {SMALL} --num_train_epochs 12 --output_dir {{place}}"
        ),
        "distill": Command(
            "distill",
            f"--teacher_from {folder / 'encoder'} --teacher_epochs 6 {SMALL} --num_train_epochs 8 "
            "--early_stopping_patience 99 --output_dir {place}",
        ),
        "export": Command(
            "export",
            f"--model {folder / 'model'} --int8 --output_dir {{place}}",
            prepare=lambda place: shutil.copytree(folder / "earlier", place),
        ),
        "tag": Command(
            "tag",
            f"--model {folder / 'model'} --input {folder / 'rows.jsonl'} --scores --threshold 0.2 --output {{place}}",
            place="tagged.jsonl",
            again="--resume",
            prepare=lambda place: place.write_text("of yesterday\n"),
        ),
    }


def make_encoder(folder: Path, texts: list[str]) -> None:
    """Make a small encoder with a tokenizer, for a teacher."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(texts)
    small: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    BertModel(BertConfig(vocab_size=len(tokenizer), **small)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def kill_often(command: Command, folder: Path, kills: int, seed: int) -> Outcome:
    """Run a command undisturbed, then kill it and repeat it."""
    place = fresh(folder, command)
    earlier = fingerprint(place)
    outcome, started = Outcome(), time.perf_counter()
    run(command.line(folder))
    outcome.seconds = time.perf_counter() - started
    expected = fingerprint(place)
    moments = random.Random(f"{command.name} {seed}")
    while outcome.kills < kills:
        place = fresh(folder, command)
        moment = moments.uniform(0, outcome.seconds)
        started = time.perf_counter()
        if not kill(command.line(folder), moment):
            # It ended before: the machine is less busy now than it was, and the moments come earlier.
            outcome.seconds = time.perf_counter() - started
            continue
        outcome.kills += 1
        problems = []
        after_kill = fingerprint(place)
        if after_kill not in (earlier, expected, {}):
            problems.append(f"after the kill {differing(after_kill, expected)} at its place")
        code, text = repeat(command.line(folder, is_repetition=True))
        if code and not (after_kill == expected and "is not empty" in text):
            problems.append(f"the repetition ended with {code}: {text[-500:]}")
        found = fingerprint(place)
        if found != expected:
            problems.append(f"other bytes: {differing(found, expected)}")
        left = sorted(path.name for path in folder.iterdir() if path != place)
        if left:
            problems.append(f"left behind: {left}")
        what = OUTCOMES[0] if "Resuming" in text else OUTCOMES[2] if after_kill == expected else OUTCOMES[1]
        outcome.counts.update([what, "not equal" if problems else "equal"])
        outcome.rounds.append({"second": round(moment, 2), "outcome": what, "problems": problems})
        print(
            f"{command.name} {outcome.kills}: killed after {moment:.1f} s, {what}; {problems or 'equal'}", flush=True
        )
    return outcome


def fresh(folder: Path, command: Command) -> Path:
    """An empty folder with the earlier result of the command in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    command.prepare(folder / command.place)
    return folder / command.place


def run(line: list[str]) -> None:
    code, text = repeat(line)
    if code:
        sys.exit(f"{' '.join(line)} ended with {code}: {text}")


def repeat(line: list[str]) -> tuple[int, str]:
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    return done.returncode, done.stdout


def kill(line: list[str], moment: float) -> bool:
    """Start a command and kill its process group; whether it was still there."""
    with subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return True
    return False


def fingerprint(place: Path) -> dict[str, str]:
    """The digests of the files of a result, by name; empty: there is none."""
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    return {
        str(path.relative_to(place)) or path.name: hashlib.sha256(content(path)).hexdigest()
        for path in files
        if path.exists()
    }


def content(path: Path) -> bytes:
    """The bytes of a file without what measures time."""
    if path.name == "metrics.json":
        return json.dumps(without_times(json.loads(path.read_bytes()))).encode()
    if path.name == "README.md":
        text = path.read_text(encoding="utf-8")
        for pattern in TIMES_IN_CARD:
            text = re.sub(pattern, "", text)
        return text.encode()
    return path.read_bytes()


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def differing(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def keep(path: Path, command: str, outcome: Outcome, seed: int) -> None:
    """Put an outcome into the file of the results."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"commands": {}}
    found |= {"processor": processor(), "seed": seed, "left_out": sorted(TIMES), "partial": PARTIAL}
    found["commands"][command] = outcome.to_json()
    write_text(path, json.dumps(found, indent=2) + "\n")


def table(commands: dict[str, dict[str, Any]]) -> str:
    columns = ["kills", *OUTCOMES, "equal", "not equal"]
    lines = ["| command | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for name, outcome in commands.items():
        lines.append(f"| {name} | " + " | ".join(str(outcome.get(column, 0)) for column in columns) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
