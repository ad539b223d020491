"""`hf-rnn-multilabel pretrain`: texts without labels in, an encoder out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import transformers

from ..training.pretraining import PretrainingRecipe, pretrain_encoder
from .output import print_json, progress, quiet
from .parser import CommandParser


@dataclass
class Texts:
    """What to pretrain on."""

    train_file: list[str] = field(
        default_factory=list, metadata={"help": "One or several of txt, jsonl, json, csv, tsv, parquet, also .gz."}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Where a row's text is; a line of txt is a text. Default: it is looked for."}
    )
    file_format: str | None = field(default=None, metadata={"help": "Of the files. Default: as their names say."})
    delimiter: str | None = field(default=None, metadata={"help": "Of csv files. Default: a comma."})
    encoding: str | None = field(default=None, metadata={"help": "Of the files. Default: UTF-8."})


SECTIONS = {
    "Texts": ["train_file", "text_column", "delimiter", "encoding", "max_length", "validation_fraction"],
    "Model": ["embeddings_from", "model_name_or_path", "cell_type", "hidden_size", "num_hidden_layers", "vocab_size"],
    "Training": [
        "num_train_epochs",
        "learning_rate",
        "per_device_train_batch_size",
        "mlm_probability",
        "seed",
        "bf16",
    ],
    "Output": ["output_dir"],
}
EXAMPLES = """
hf-rnn-multilabel pretrain --train_file texts.txt more.jsonl.gz --output_dir encoder
hf-rnn-multilabel train --train_file train.csv --model_name_or_path encoder --output_dir my-tagger
"""
SKIPPED = ("training_arguments", "do_train", "do_eval", "do_predict", "resume_from_checkpoint")


def make_parser() -> CommandParser:
    """The options of the command."""
    kinds = [Texts, PretrainingRecipe, transformers.TrainingArguments]
    description = "Pretrain an encoder on texts without labels by masked language modelling."
    return CommandParser("pretrain", description, kinds, SECTIONS, EXAMPLES, SKIPPED)


def main(argv: Sequence[str]) -> None:
    """Pretrain as the command line says."""
    parser = make_parser()
    settings = parser.parse(argv)
    as_json = settings.pop("json")
    if "train_file" not in settings:
        parser.error("--train_file is needed: the texts to pretrain on")
    with quiet():
        pretraining = pretrain_encoder(settings.pop("train_file"), **progress(settings))
    info = pretraining.info
    if as_json:
        print_json({"folder": str(pretraining.folder)} | info.to_dict())
        return
    loss = math.nan if info.loss is None else info.loss
    perplexity = math.exp(min(loss, 700))
    print(f"Held-out loss {loss:.4f} per masked token, perplexity {perplexity:.1f}. Saved in {pretraining.folder}.")
