"""Train a recurrent multi-label tagger on labels and on what a larger model, its teacher, says of the texts.

    python scripts/distill.py --output_dir outputs/taught --teacher user/tagger --train_file train.csv
    python scripts/distill.py --output_dir outputs/taught --teacher_from user/encoder --unlabelled_file more.jsonl

It takes the arguments of train.py too, and saves the same folder. A killed run goes on where it was when the same
command is given again: neither a finished teacher nor its logits are computed twice.
"""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset, DatasetDict, Features, concatenate_datasets
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.special import expit
from train import compute_metrics, evaluate_all, predict, train_tagger
from train_arguments import CardArguments, DataArguments, ModelArguments, TrainingArguments
from train_data import SPLITS, Data, read_data, read_files
from train_output import METRICS, prepare_output
from train_settings import agree_on_batches, epochs_for
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
    PreTrainedModel,
    Trainer,
    set_seed,
)

from hf_rnn_multilabel import RnnMultilabelConfig
from hf_rnn_multilabel.data.encoding import find_text_column, tokenize
from hf_rnn_multilabel.evaluation.thresholds import ThresholdMethod
from hf_rnn_multilabel.hub.provenance import shown_name
from hf_rnn_multilabel.inference.logits import compute_logits
from hf_rnn_multilabel.model.losses import UNKNOWN, binary_cross_entropy
from hf_rnn_multilabel.training.distillation import add_teacher, label_order


TEACHER = "teacher"  # the folder of all that is the teacher's, within the output folder
LOGITS = "logits-{}.safetensors"  # of each teacher, by its number
# The training arguments of `fine_tune` that are not given to it.
FINE_TUNING: dict[str, Any] = {
    "num_train_epochs": 0,
    "learning_rate": 5e-5,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 64,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "f1_micro",
    "train_sampling_strategy": "group_by_length",
}


@dataclass
class DistillationArguments:
    teacher: list[str] | None = field(
        default=None,
        metadata={
            "help": "A text classifier of the same labels, in any order: a folder or Hub name. Several teach by the "
            "mean of their logits."
        },
    )
    teacher_from: str | None = field(
        default=None, metadata={"help": "Else an encoder, by folder or Hub name, to make the teacher of first."}
    )
    unlabelled_file: str | None = field(
        default=None, metadata={"help": "More texts to learn from the teacher; labels in it are not read."}
    )
    distillation_weight: float = field(default=0.5, metadata={"help": "Of the teacher in the loss, from 0 to 1."})
    distillation_temperature: float = field(default=1.0, metadata={"help": "Divisor of the logits of both."})
    teacher_epochs: float = field(
        default=0,
        metadata={
            "help": "Of the fine-tuning of `teacher_from`. 0: as many as give 1,000 steps, at least 3 and at most 30."
        },
    )
    teacher_learning_rate: float = field(
        default=5e-5, metadata={"help": "Highest one; a small encoder, such as MiniLM, may take 1e-4."}
    )
    teacher_batch_size: int = field(default=32, metadata={"help": "Texts in a batch of the teacher."})


def start_from_shares(model: PreTrainedModel, shares: list[float], new: Collection[str]) -> None:
    """Starts a new head at the shares of its labels: their log-odds become its bias, if it has one.

    From scores of one half, a small learning rate spends a thousand steps on the absence of rare labels alone.

    Args:
        model: the classifier, changed in place.
        shares: of the texts with each label, in the order of the logits; taken as 1e-4 at least, 1 - 1e-4 at most.
        new: names of the parameters that were not loaded; a loaded head stays as it is.

    Source: Lin et al. 2017, section 3.3.
    """
    layers = [layer for name, layer in model.named_modules() if f"{name}.bias" in new]
    # The last one: before it, a head may have a layer that is as wide.
    heads = [each for each in layers if isinstance(each, torch.nn.Linear) and each.out_features == len(shares)][-1:]
    with torch.no_grad():
        for head in heads:
            head.bias.copy_(torch.logit(torch.tensor(shares), eps=1e-4))


def fine_tune(
    data: Data,
    encoder: str,
    folder: Path,
    *,
    name: str = "teacher",
    max_length: int = 256,
    threshold_method: ThresholdMethod = "shrunk",
    **arguments: Any,
) -> dict[str, list[dict]]:
    """Fine-tunes an encoder on the labels with the stock `Trainer`; a finished folder is taken as it is.

    Args:
        data: the rows, of which train is trained on.
        encoder: a folder or Hub name.
        folder: where the text classifier, its tokenizer and its metrics are saved.
        name: how the rows of the metrics call it.
        max_length: tokens at which a text is cut.
        threshold_method: see `evaluate_all`.
        arguments: of `transformers.TrainingArguments`, over those of `FINE_TUNING`; 0 epochs are as many as give
            1,000 steps, at least 3 and at most 30.

    Returns:
        the metrics of validation and, if there is one, test, as `evaluate_all` gives them.

    Raises:
        ValueError: if the folder holds one that was made from another encoder, of other rows or with other arguments.
    """
    rows = {split: labels.tolist() for split, labels in data.labels.items()}
    given = json.dumps([data.texts, rows, data.encoding.label_names, max_length, threshold_method, arguments])
    digest = hashlib.sha256(given.encode()).hexdigest()
    if (folder / METRICS).exists():
        facts = json.loads((folder / METRICS).read_text())
        if facts["encoder"] != shown_name(encoder):
            raise ValueError(
                f"{folder} holds a classifier made from {facts['encoder']!r}, not from {shown_name(encoder)!r}; "
                "remove it, or give another `--output_dir`."
            )
        if facts["digest"] != digest:
            raise ValueError(
                f"{folder} holds a classifier made from other rows or with other arguments; remove it, or give "
                "another `--output_dir`."
            )
        print(f"Taking the finished classifier in {folder}.")
        return {split: facts[split] for split in SPLITS[1:] if split in facts}
    checkpoint = prepare_output(folder)
    args = transformers.TrainingArguments(str(folder), **FINE_TUNING | arguments)
    if args.num_train_epochs == 0:
        args.num_train_epochs = epochs_for(1000, len(data.texts["train"]), args)
    agree_on_batches(args)
    set_seed(args.seed)
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
    start_from_shares(model, [data.encoding.frequencies[name] for name in names], loading["missing_keys"])
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        # Its own loss knows no unknown label, and is wrong over accumulated batches and several processes.
        compute_loss_func=lambda outputs, labels, num_items_in_batch=None: binary_cross_entropy(
            outputs["logits"], labels, num_items_in_batch=num_items_in_batch
        ),
    )
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    train_seconds = time.perf_counter() - started
    found = {split: predict(trainer, dataset[split]) for split in SPLITS[1:] if split in dataset}
    scores, truth = ({split: pair[index] for split, pair in found.items()} for index in range(2))
    results = evaluate_all(name, scores, truth, names, threshold_method)
    if trainer.is_world_process_zero():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        facts = {
            "encoder": shown_name(encoder),
            "digest": digest,
            **results,
            "parameters": model.num_parameters(),
            "train_seconds": train_seconds,
        }
        (folder / METRICS).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return results


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
    # Another model may have been saved in the same folder since, or its labels renamed.
    paths = [path for path in sorted(Path(teacher).glob("*")) if path.is_file() and not path.match("logits-*")]
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = json.dumps([teacher, files, texts, label_names, max_length])
    digest = hashlib.sha256(key.encode()).hexdigest()
    if cache.exists():
        with safe_open(cache, "numpy") as file:
            if file.metadata()["digest"] == digest:
                print(f"Taking the teacher's logits from {cache}.")
                return {split: file.get_tensor(split) for split in texts}
    order = label_order(AutoConfig.from_pretrained(teacher), label_names)
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    model = AutoModelForSequenceClassification.from_pretrained(teacher, dtype=torch.float32).to(device)
    logits = {}
    for split, part in texts.items():
        print(f"The teacher reads the {len(part):,} texts of {split}.")
        found = compute_logits(model, tokenizer, part, max_length=max_length, batch_size=batch_size)
        logits[split] = np.ascontiguousarray(found[:, order])
    cache.parent.mkdir(exist_ok=True)
    # A killed run leaves no half of a cache.
    save_file(logits, cache.with_suffix(".part"), metadata={"digest": digest})
    os.replace(cache.with_suffix(".part"), cache)
    return logits


def read_unlabelled(path: str, text_column: str | None) -> list[str]:
    """The texts of a file."""
    rows = read_files({"train": path})["train"]
    column = text_column or find_text_column(rows)
    texts = list(rows.select_columns(column)[column])
    if None in texts:
        raise ValueError(f"Row {texts.index(None)} of {path} has None as its text; remove such rows.")
    return texts


def add_unlabelled(data: Data, texts: list[str]) -> Data:
    """The data with more texts to train on, all labels of which are unknown."""
    train = data.dataset["train"].select_columns([data.text_column, "labels"])
    labels = np.full((len(texts), len(data.encoding.label_names)), UNKNOWN, np.float32)
    more = Dataset.from_dict({data.text_column: texts, "labels": labels}, features=Features(train.features))
    return replace(
        data,
        dataset=DatasetDict(data.dataset | {"train": concatenate_datasets([train, more])}),
        texts=data.texts | {"train": data.texts["train"] + texts},
    )


def main() -> None:
    parser = HfArgumentParser(
        (DistillationArguments, ModelArguments, DataArguments, CardArguments, TrainingArguments)  # type: ignore[arg-type]
    )
    teacher_args, model_args, data_args, card_args, args = parser.parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if (not teacher_args.teacher) == (teacher_args.teacher_from is None):
        raise ValueError("Give either `--teacher`, a text classifier, or `--teacher_from`, an encoder, not both.")
    weight, temperature = teacher_args.distillation_weight, teacher_args.distillation_temperature
    # It refuses what is out of range, before anything is computed.
    RnnMultilabelConfig(distillation_weight=weight, distillation_temperature=temperature)
    if args.retrain_with_validation:
        raise ValueError(
            "`--retrain_with_validation` is given, but validation has no teacher's logits; leave it out, or train on "
            "without a teacher by `train.py`."
        )
    checkpoint = prepare_output(Path(args.output_dir), args.weight_averaging > 0)

    # 1. Rows, with labels and without.
    data = read_data(data_args, card_args, args.seed)
    taught, unlabelled = data, []
    if teacher_args.unlabelled_file is not None:
        unlabelled = read_unlabelled(teacher_args.unlabelled_file, data_args.text_column)
        taught = add_unlabelled(data, unlabelled)
        print(f"{len(unlabelled):,} texts without labels beside {len(data.texts['train']):,} with labels.")

    # 2. The teacher: its own metrics, and its logits of all texts to train on.
    folder = Path(args.output_dir) / TEACHER
    results, teachers, texts = None, teacher_args.teacher, taught.texts
    if teachers is None:
        teachers, texts = [str(folder)], {"train": taught.texts["train"]}
        results = fine_tune(
            data,
            teacher_args.teacher_from,
            folder,
            max_length=data_args.max_length,
            threshold_method=data_args.threshold_method,
            num_train_epochs=teacher_args.teacher_epochs,
            learning_rate=teacher_args.teacher_learning_rate,
            per_device_train_batch_size=teacher_args.teacher_batch_size,
            per_device_eval_batch_size=teacher_args.teacher_batch_size,
            seed=args.seed,
            use_cpu=args.use_cpu,
            bf16=args.bf16,
            fp16=args.fp16,
            dataloader_pin_memory=args.dataloader_pin_memory,
            disable_tqdm=args.disable_tqdm,
        )
    with args.main_process_first(desc="the teacher's logits"):
        logits: dict[str, np.ndarray] = {}
        for number, teacher in enumerate(teachers):
            found = teacher_logits(
                teacher,
                texts,
                data.encoding.label_names,
                folder / LOGITS.format(number),
                max_length=data_args.max_length,
                batch_size=teacher_args.teacher_batch_size,
                device=args.device,
            )
            for split, part in found.items():
                logits[split] = logits[split] + part if number else part
    logits = {split: part / len(teachers) for split, part in logits.items()}
    if results is None:
        scores = {split: expit(logits[split]) for split in SPLITS[1:] if split in logits}
        results = evaluate_all("teacher", scores, data.labels, data.encoding.label_names, data_args.threshold_method)

    # 3. The recurrent net, as train.py trains it.
    rows = add_teacher(taught.dataset["train"], logits["train"])
    distillation = {
        "teachers": [shown_name(each) for each in teacher_args.teacher or [teacher_args.teacher_from]],
        "fine_tuned": teacher_args.teacher is None,
        "weight": weight,
        "temperature": temperature,
        "unlabelled": len(unlabelled),
    }
    train_tagger(
        replace(taught, dataset=DatasetDict(taught.dataset | {"train": rows})),
        model_args,
        data_args,
        card_args,
        args,
        checkpoint,
        distillation=distillation,
        teacher_results=results,
    )


if __name__ == "__main__":
    main()
