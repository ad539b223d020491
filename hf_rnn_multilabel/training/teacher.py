"""A larger model as the teacher: fine-tuned first where it has to be, its logits a column of the training rows."""

import hashlib
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset, DatasetDict, Features, concatenate_datasets
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    set_seed,
)
from transformers.utils import logging

from ..data import DataArguments, TaggingData, read_texts, tokenize
from ..data.readers import is_delimited
from ..evaluation import ThresholdMethod, compute_metrics, evaluate_all
from ..hub.provenance import shown_name
from ..hub.run_info import TEACHER, DistillationInfo, MetricRow
from ..inference.logits import compute_logits, sigmoid
from ..model.losses import IGNORED, binary_cross_entropy
from .checkpoints import last_checkpoint
from .distillation import Distillation, add_teacher_logits, label_order
from .folder import RunFolder
from .recipe import STOCK_ARGUMENTS, Recipe, epochs_for, for_this_machine, setting, with_one_order
from .trainer import EvaluationLog


logger = logging.get_logger(__name__)

NUM_TEACHER_STEPS = 1000
LOGITS = "logits-{}.safetensors"  # of each teacher, by its number


@dataclass(frozen=True)
class DistillationArguments:
    """The teacher of a training, and how much it counts."""

    teacher: list[str] | None = setting(
        "Text classifiers with the same labels (Hub names or folders); several teach by the mean of their logits."
    )
    teacher_from: str | None = setting("Else an encoder (Hub name or folder) to fine-tune into the teacher first.")
    unlabelled_file: str | None = setting("More texts to learn from the teacher; labels in it are not read.")
    distillation_weight: float = setting("Of the teacher in the loss, from 0 to 1.", 0.5)
    distillation_temperature: float = setting("Divisor of the logits of both.", 1.0)
    teacher_epochs: float | None = setting(f"Of the fine-tuning. Default: enough for {NUM_TEACHER_STEPS:,} steps.")
    teacher_learning_rate: float = setting("Of the fine-tuning; a small encoder, such as MiniLM, may take 1e-4.", 5e-5)
    teacher_batch_size: int = setting("Texts in a batch of the teacher.", 32)

    def __post_init__(self) -> None:
        if (not self.teacher) == (self.teacher_from is None):
            raise ValueError("Give either `teacher`, a text classifier, or `teacher_from`, an encoder, not both.")
        Distillation(self.distillation_weight, self.distillation_temperature)


@dataclass(frozen=True)
class TeacherResult:
    """What a teacher adds to a run.

    Attributes:
        distillation: how much the rows' "teacher_logits" count.
        info: what the card says of the teacher.
        results: by split, the teacher's own metrics.
    """

    distillation: Distillation | None = None
    info: DistillationInfo | None = None
    results: dict[str, list[MetricRow]] = field(default_factory=dict)


def add_teacher(
    data: TaggingData, args: DistillationArguments | None, recipe: Recipe, folder: RunFolder, data_args: DataArguments
) -> tuple[TaggingData, TeacherResult]:
    """Give the training rows the logits of a teacher, fine-tuned before if that is asked for.

    Args:
        data: the rows.
        args: which teacher; None: the rows stay as they are.
        recipe: what was said of the training.
        folder: of the run; there are the teacher and its logits, to resume from.
        data_args: how files are read, and tokens at which a text is truncated.

    Raises:
        ValueError: for a teacher of other labels, and for `retrain_with_validation`, which has no teacher's logits.
    """
    if args is None:
        return data, TeacherResult()
    if recipe.retrain_with_validation:
        raise ValueError(
            "`retrain_with_validation` is given, but validation has no teacher's logits; leave it out, or train "
            "without a teacher."
        )
    max_length = data_args.max_length
    unlabelled = [] if args.unlabelled_file is None else _read_unlabelled(args.unlabelled_file, data, data_args)
    own = folder.partial / "teacher"
    options = transformers.TrainingArguments(str(own), **_machine(recipe))
    results: dict[str, list[MetricRow]] = {}
    teachers, texts = args.teacher, dict(data.texts)
    if teachers is None:
        results = fine_tune(data, str(args.teacher_from), own, args, recipe, max_length)
        teachers, texts = [str(own)], {"train": texts["train"]}
    texts["train"] = [*texts["train"], *unlabelled]
    names = data.encoding.label_names
    with options.main_process_first(desc="the teacher's logits"):
        by_teacher = [
            teacher_logits(
                teacher,
                texts,
                names,
                own / LOGITS.format(number),
                max_length=max_length,
                batch_size=args.teacher_batch_size,
                device=options.device,
            )
            for number, teacher in enumerate(teachers)
        ]
    logits = {split: np.mean([each[split] for each in by_teacher], axis=0) for split in texts}
    if not results:
        scores = {split: sigmoid(logits[split]) for split in texts if split != "train"}
        results = compared(TEACHER, scores, data.labels, names, recipe.threshold_method)
    train = add_teacher_logits(_with_unlabelled(data, unlabelled), logits["train"])
    info = DistillationInfo(
        teachers=[str(shown_name(each)) for each in args.teacher or [str(args.teacher_from)]],
        fine_tuned=args.teacher is None,
        weight=args.distillation_weight,
        temperature=args.distillation_temperature,
        unlabelled_rows=len(unlabelled),
    )
    distillation = Distillation(args.distillation_weight, args.distillation_temperature)
    return replace(data, dataset=DatasetDict(data.dataset | {"train": train})), TeacherResult(
        distillation, info, results
    )


def _machine(recipe: Recipe) -> dict[str, Any]:
    """The stock arguments that say where and how precisely a model runs."""
    names = ("use_cpu", "bf16", "fp16", "disable_tqdm", "report_to", "dataloader_pin_memory")
    given = for_this_machine(recipe.training_arguments)
    return {name: value for name, value in given.items() if name in names}


def _read_unlabelled(path: str, data: TaggingData, data_args: DataArguments) -> list[str]:
    """The texts of a file, which is read as those with labels are."""
    delimiter = data_args.delimiter if is_delimited(path) else None
    return list(read_texts([path], data.text_column, delimiter=delimiter, encoding=data_args.encoding))


def _with_unlabelled(data: TaggingData, texts: list[str]) -> Dataset:
    """The training rows, and more of which no label is observed."""
    train = data.dataset["train"].select_columns([data.text_column, "labels"])
    labels = np.full((len(texts), len(data.encoding.label_names)), IGNORED, np.float32)
    more = Dataset.from_dict({data.text_column: texts, "labels": labels}, features=Features(train.features))
    return concatenate_datasets([train, more])


def compared(
    model: str, scores: dict[str, np.ndarray], labels: dict[str, np.ndarray], names: list[str], method: ThresholdMethod
) -> dict[str, list[MetricRow]]:
    """By split, the metrics of a model with each kind of thresholds, tuned on validation; see `evaluate_all`."""
    results = evaluate_all(model, scores, labels, names, method)
    return {split: [MetricRow.from_flat(row) for row in rows] for split, rows in results.items()}


def start_from_frequencies(model: PreTrainedModel, frequencies: list[float], new: Collection[str]) -> None:
    """Start a new head at the frequencies of its labels: their log-odds become its bias, if it has one.

    From scores of one half, a small learning rate spends a thousand steps on the absence of rare labels alone.

    Args:
        model: the classifier, changed in place.
        frequencies: of the labels, in the order of the logits; taken as 1e-4 at least, 1 - 1e-4 at most.
        new: names of the parameters that were not loaded; a loaded head stays as it is.

    Source: Lin et al. 2017, section 3.3.
    """
    layers = [layer for name, layer in model.named_modules() if f"{name}.bias" in new]
    # The last one: before it, a head may have a layer that is as wide.
    heads = [each for each in layers if isinstance(each, torch.nn.Linear) and each.out_features == len(frequencies)]
    with torch.no_grad():
        for head in heads[-1:]:
            head.bias.copy_(torch.logit(torch.tensor(frequencies), eps=1e-4))


def fine_tune(
    data: TaggingData, encoder: str, folder: Path, args: DistillationArguments, recipe: Recipe, max_length: int
) -> dict[str, list[MetricRow]]:
    """Fine-tune an encoder on the labels with the stock `Trainer`; a finished one in the folder is taken as it is.

    Args:
        data: the rows, of which train is trained on.
        encoder: a folder or Hub name.
        folder: where the text classifier, its tokenizer and its metrics are saved.
        args: its epochs, learning rate and batch size.
        recipe: seed, precision and threshold method.
        max_length: tokens at which a text is truncated.

    Returns:
        the metrics of validation and, if there is one, test.
    """
    done = folder / "scores.safetensors"
    names = data.encoding.label_names
    if not done.exists():
        _fine_tune(data, encoder, folder, args, recipe, max_length)
    with safe_open(done, "numpy") as file:
        splits = [split for split in ("validation", "test") if split in data.dataset]
        scores, truth = (
            {split: file.get_tensor(f"{what}.{split}") for split in splits} for what in ("scores", "truth")
        )
    return compared(TEACHER, scores, truth, names, recipe.threshold_method)


def _fine_tune(
    data: TaggingData, encoder: str, folder: Path, args: DistillationArguments, recipe: Recipe, max_length: int
) -> None:
    set_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    limit = min(max_length, tokenizer.model_max_length)
    dataset, _ = tokenize(data.dataset, tokenizer, data.text_column, max_length=limit)
    names = data.encoding.label_names
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        encoder,
        output_loading_info=True,
        dtype=torch.float32,
        problem_type="multi_label_classification",
        id2label=dict(enumerate(names)),
        label2id={label: index for index, label in enumerate(names)},
    )
    frequencies = [data.encoding.frequencies[name] for name in names]
    start_from_frequencies(model, frequencies, loading["missing_keys"])
    batch_size = args.teacher_batch_size
    own: dict[str, Any] = {
        "num_train_epochs": args.teacher_epochs or epochs_for(NUM_TEACHER_STEPS, len(dataset["train"]), batch_size),
        "learning_rate": args.teacher_learning_rate,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": batch_size,
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "seed": recipe.seed,
        "remove_unused_columns": True,
    }
    trainer = Trainer(
        model=model,
        args=with_one_order(transformers.TrainingArguments(str(folder), **STOCK_ARGUMENTS | _machine(recipe) | own)),
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=tokenizer,
        compute_metrics=partial(compute_metrics, are_logits=True),
        # Its own loss knows no ignored label, and is wrong over accumulated batches and several processes.
        compute_loss_func=lambda outputs, labels, num_items_in_batch=None: binary_cross_entropy(
            outputs["logits"], labels, num_items_in_batch=num_items_in_batch
        ),
    )
    if trainer.pop_callback(PrinterCallback) is not None:
        trainer.add_callback(EvaluationLog)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    logger.info(f"Fine-tuned {shown_name(encoder)} in {time.perf_counter() - started:,.0f} s.")
    tensors: dict[str, np.ndarray] = {}
    for split in ("validation", "test"):
        if split in dataset:
            output = trainer.predict(dataset[split])
            logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
            tensors |= {f"scores.{split}": sigmoid(logits), f"truth.{split}": np.asarray(output.label_ids)}
    if trainer.is_world_process_zero():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _save(tensors, folder / "scores.safetensors")
    trainer.accelerator.wait_for_everyone()


def teacher_logits(
    teacher: str,
    texts: dict[str, list[str]],
    label_names: list[str],
    cache: Path,
    *,
    max_length: int,
    batch_size: int,
    device: torch.device,
) -> dict[str, np.ndarray]:
    """By split the logits, (texts, labels) in the order of `label_names`; from the cache if they are there."""
    # Another model may have been saved in the same folder since.
    paths = [path for path in sorted(Path(teacher).glob("*")) if path.is_file() and not path.match("logits-*")]
    digest = hashlib.sha256(repr([teacher, label_names, max_length]).encode())
    for path in paths:
        digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    for text in (text for part in texts.values() for text in [f"{len(part)}", *part]):
        digest.update(f"{len(text)} {text}".encode("utf-8", "surrogatepass"))
    if cache.exists():
        with safe_open(cache, "numpy") as file:
            if file.metadata()["digest"] == digest.hexdigest():
                logger.info(f"Taking the teacher's logits from {cache}.")
                return {split: file.get_tensor(split) for split in texts}
    order = label_order(AutoConfig.from_pretrained(teacher), label_names)
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    model = AutoModelForSequenceClassification.from_pretrained(teacher, dtype=torch.float32).to(device)
    logits = {}
    for split, part in texts.items():
        logger.info(f"The teacher reads the {len(part):,} texts of {split}.")
        computed = compute_logits(model, tokenizer, part, max_length=max_length, batch_size=batch_size)
        logits[split] = np.ascontiguousarray(computed[:, order])
    cache.parent.mkdir(exist_ok=True)
    _save(logits, cache, {"digest": digest.hexdigest()})
    return logits


def _save(tensors: dict[str, np.ndarray], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors beside their place, then into it: a killed run leaves no half of a file."""
    part = path.with_suffix(".part")
    save_file(tensors, part, metadata=metadata)
    os.replace(part, path)
