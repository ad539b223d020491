"""Where a model came from: its data, its training, the machine; without anyone's private paths."""

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import SchedulerType
from transformers.training_args import OptimizerNames

from .run_info import DatasetInfo, TrainingInfo


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer


CPUINFO = Path("/proc/cpuinfo")


def describe_dataset(train: "Dataset", name: str, files: dict[str, str] | None = None) -> DatasetInfo:
    """Describe where the rows come from.

    Args:
        train: The rows as they were loaded.
        name: An id on the Hub, or what to call local files.
        files: The local file of each split. None: the rows came from the Hub, or from memory.

    Returns:
        Name, id, configuration, licence and citation. The revision of a split is the commit on the Hub or the
        beginning of its file's SHA-256.
    """
    info = train.info
    revisions: dict[str, str | None] = {}
    if files is None:
        # The addresses of its files name the commit.
        commits = re.findall(r"@([0-9a-f]{40})/", " ".join(info.download_checksums or {}))
        revisions = dict.fromkeys(("train", "validation", "test"), commits[0] if commits else None)
    else:
        revisions |= {split: f"sha256:{_sha256(path)[:16]}" for split, path in files.items()}
        revisions.setdefault("validation", revisions["train"])  # split off
    return DatasetInfo(
        name=shown_name(name) or "",
        id=name if files is None and not os.path.exists(name) else None,
        config=info.config_name if files is None else None,
        license=info.license or None,
        citation=info.citation or None,
        revisions=revisions,
    )


def describe_file(path: str | Path, split: str) -> DatasetInfo:
    """Describe a file of rows: its name, and the beginning of its SHA-256 as the revision of the split."""
    return DatasetInfo(name=Path(path).name, revisions={split: f"sha256:{_sha256(path)[:16]}"})


def describe_training(trainer: "Trainer", *, seconds: float, **origin: Any) -> TrainingInfo:
    """Describe a finished training: its settings, and the epoch that was selected.

    Not by `transformers.modelcard.extract_hyperparameters_from_trainer`, which knows neither bfloat16 nor the weight
    decay nor the selected epoch, and names the optimizer in a sentence.

    Args:
        trainer: After `train()`.
        seconds: Of the training.
        origin: The fields of `TrainingInfo` that a `Trainer` does not know, for example `tokenizer`.
    """
    args, state = trainer.args, trainer.state
    best = [log["epoch"] for log in state.log_history if log["step"] == state.best_global_step]
    return TrainingInfo(
        batch_size=args.train_batch_size * args.world_size * args.gradient_accumulation_steps,
        learning_rate=args.learning_rate,
        schedule=SchedulerType(args.lr_scheduler_type).value,
        warmup=args.warmup_steps,
        weight_decay=args.weight_decay,
        optimizer=OptimizerNames(args.optim).value,
        precision="bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
        epochs=args.num_train_epochs,
        best_epoch=best[0] if best else None,
        selected_by=args.metric_for_best_model if best else None,
        steps=state.global_step,
        seed=args.seed,
        seconds=seconds,
        **origin,
    )


def shown_name(name_or_path: str | None) -> str | None:
    """Return an id as it is, and of a path the last part alone, since the rest is private."""
    return Path(name_or_path).absolute().name if name_or_path and os.path.exists(name_or_path) else name_or_path


def processor() -> str:
    """Return the number of cores and the processor's name, as far as the system tells."""
    text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    models = re.findall(r"model name\s*:\s*(.+)", text)
    return f"{os.cpu_count()} cores, {models[0] if models else platform.processor() or platform.machine()}"


def _sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
