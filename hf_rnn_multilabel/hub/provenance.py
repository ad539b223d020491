"""Where a model came from: its data, its training, the machine. Facts for the card, without anyone's private paths."""

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import SchedulerType, Trainer
from transformers.training_args import OptimizerNames


def describe_dataset(train: Dataset, name: str, files: dict[str, str] | None = None) -> dict[str, Any]:
    """What the card says of the data.

    Args:
        train: the rows as they were loaded.
        name: an id on the Hub, or what to call local files.
        files: the local file of each split; None: it came from the Hub.

    Returns:
        name, id, config, licence, citation, and as the revision of each split the commit on the Hub or the beginning
        of its file's SHA-256.
    """
    info = train.info
    revisions: dict[str, str | None] = {}
    if files is None:
        # The addresses of its files name the commit.
        commits = re.findall(r"@([0-9a-f]{40})/", " ".join(info.download_checksums or {}))
        revisions = dict.fromkeys(("train", "validation", "test"), commits[0] if commits else None)
    else:
        for split, path in files.items():
            revisions[split] = f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]}"
        revisions.setdefault("validation", revisions["train"])  # split off
    return {
        "name": shown_name(name),
        "id": name if files is None and not os.path.exists(name) else None,
        "config": info.config_name if files is None else None,
        "license": info.license or None,
        "citation": info.citation or None,
        "revisions": revisions,
    }


def describe_training(trainer: Trainer) -> dict[str, Any]:
    """What the card says of a finished training: its settings, and the epoch that was kept."""
    args, state = trainer.args, trainer.state
    best = [log["epoch"] for log in state.log_history if log["step"] == state.best_global_step]
    return {
        "batch_size": args.train_batch_size * args.world_size * args.gradient_accumulation_steps,
        "learning_rate": args.learning_rate,
        "schedule": SchedulerType(args.lr_scheduler_type).value,
        "warmup": args.warmup_steps,
        "weight_decay": args.weight_decay,
        "optimizer": OptimizerNames(args.optim).value,
        "precision": "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
        "epochs": args.num_train_epochs,
        "best_epoch": best[0] if best else None,
        "selected_by": args.metric_for_best_model if best else None,
    }


def shown_name(name_or_path: str | None) -> str | None:
    """An id as it is; of a path the last part alone, since the rest is private."""
    return Path(name_or_path).absolute().name if name_or_path and os.path.exists(name_or_path) else name_or_path


def processor() -> str:
    """Number of cores and the processor's name, as far as the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return f"{os.cpu_count()} cores, {models[0] if models else platform.processor() or platform.machine()}"
