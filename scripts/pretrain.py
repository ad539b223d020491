"""Pretrain a recurrent encoder on unlabelled texts by masked language modelling, for `train.py` to start from.

    python scripts/pretrain.py --train_file texts.txt more.jsonl.gz --output_dir outputs/pretrained
    python scripts/train.py --train_file train.csv --model_name_or_path outputs/pretrained --output_dir outputs/mine

A killed run goes on from its last checkpoint when the same command is given again.
"""

import logging
import math
import os
import sys
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from datasets import Dataset
from tag import read_rows
from train_arguments import ARCHITECTURE, DROPOUTS, DataArguments, EncoderArguments, refuse_settings
from train_model import load_config, make_tokenizer, new_model, takes_embeddings_of_a_model, tokenizer_origin
from train_output import prepare_output
from train_settings import agree_on_batches
from transformers import (
    AutoModelForMaskedLM,
    DataCollatorForLanguageModeling,
    HfArgumentParser,
    PreTrainedTokenizerBase,
    Trainer,
    set_seed,
)

from hf_rnn_multilabel import RnnMultilabelForMaskedLM
from hf_rnn_multilabel.hub.provenance import describe_training, processor, shown_name
from hf_rnn_multilabel.hub.run_info import PretrainingInfo, SplitInfo


MASK = "[MASK]"


@dataclass
class NetArguments(EncoderArguments):
    """The net of `train.py` with little dropout: there are more texts, and each is masked anew in every epoch."""

    embedding_dropout: float = field(default=0.1, metadata={"help": "Dropout on the embeddings."})
    hidden_dropout: float = field(default=0.1, metadata={"help": "Dropout between layers."})


@dataclass
class TextArguments:
    train_file: list[str] = field(metadata={"help": "One or several of txt, jsonl, csv, tsv (also .gz), parquet."})
    text_column: str = field(default="text", metadata={"help": "Where a row's text is; a line of txt is a text."})
    validation_share: float = field(default=0.05, metadata={"help": "Share of the texts held out for evaluation."})
    max_length: int = field(default=256, metadata={"help": "Tokens at which a text is cut into several."})
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of the tokens to predict."})


@dataclass
class PretrainingArguments(transformers.TrainingArguments):
    """The stock arguments with the defaults of this recipe."""

    output_dir: str = field(default="outputs/pretrained", metadata={"help": "Everything is saved here."})
    learning_rate: float = field(default=4e-3, metadata={"help": "The highest one."})
    num_train_epochs: float = field(default=10, metadata={"help": "Passes over the texts."})
    per_device_train_batch_size: int = field(default=64, metadata={"help": "Texts in a batch."})
    per_device_eval_batch_size: int = field(
        default=32, metadata={"help": "Texts in an evaluation batch, which has a logit for each token of each text."}
    )
    warmup_steps: float = field(default=0.1, metadata={"help": "Steps, or the share of all steps below 1."})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints to keep beside the best."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the best epoch's weights."})
    metric_for_best_model: str | None = field(default="loss", metadata={"help": "On the texts held out."})
    dataloader_pin_memory: bool = field(default=torch.cuda.is_available(), metadata={"help": "Of use to a GPU alone."})
    train_sampling_strategy: str = field(default="group_by_length", metadata={"help": "Batches of alike lengths."})


def read_texts(files: list[str], column: str) -> list[str]:
    """The texts of all files, but for the empty ones."""
    texts = []
    for path in files:
        if not os.path.exists(path):
            raise FileNotFoundError(f"No file {path!r}; give the path of a txt, jsonl, csv, tsv or parquet file.")
        for number, row in enumerate(read_rows(path, column), 1):
            text = row.get(column)
            if not isinstance(text, str):
                raise ValueError(
                    f"Row {number} of {path} has {text!r} as `{column}`; it must be a string. Its columns are "
                    f"{list(row)}; name the text's with `--text_column`."
                )
            if text.strip():
                texts.append(text)
    if len(texts) < 2:
        raise ValueError(f"{files} hold {len(texts)} texts; give at least two, one to train on and one to hold out.")
    return texts


def make_masking_tokenizer(args: NetArguments, max_length: int, texts: list[str]):
    """A tokenizer with a mask token, and the vectors to start the embeddings from, if any."""
    if args.prune_vocabulary is None and takes_embeddings_of_a_model(args):
        # What learns at the full rate leaves those that the texts lack behind.
        args = replace(args, prune_vocabulary=True)
    tokenizer, vectors = make_tokenizer(args, DataArguments(max_length=max_length), texts)
    if tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": MASK})
        if vectors is not None:
            vectors = F.pad(vectors, (0, 0, 0, len(tokenizer) - len(vectors)), value=math.nan)
    return tokenizer, vectors


def tokenize(texts: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The texts' "input_ids"; one that is longer than `model_max_length` becomes several rows."""

    def cut(batch: dict[str, list]) -> dict[str, list]:
        tokens = tokenizer(batch["text"], truncation=True, return_overflowing_tokens=True)
        return {"input_ids": tokens["input_ids"]}

    return texts.map(cut, batched=True, remove_columns=texts.column_names, desc="Tokenizing")


def make_model(args: NetArguments, tokenizer: PreTrainedTokenizerBase, vectors) -> RnnMultilabelForMaskedLM:
    """A new model, or one whose encoder is a checkpoint's, and whose head is too where there is one."""
    dropouts = {name: getattr(args, name) for name in DROPOUTS}
    if args.model_name_or_path is not None:
        refuse_settings(args, (ARCHITECTURE - DROPOUTS) & vars(args).keys())
        remote = {"trust_remote_code": args.trust_remote_code}
        config = load_config(args.model_name_or_path, **remote)
        for name, value in dropouts.items():
            setattr(config, name, value)
        config.bag_weight = 0.0
        config.validate()
        model = AutoModelForMaskedLM.from_pretrained(args.model_name_or_path, config=config, **remote)
        if model.config.vocab_size < len(tokenizer):
            model.resize_token_embeddings(len(tokenizer))
        return model
    return new_model(RnnMultilabelForMaskedLM, args, tokenizer, vectors, dropouts)


def main() -> None:
    parser = HfArgumentParser((NetArguments, TextArguments, PretrainingArguments))  # type: ignore[arg-type]
    net_args, text_args, args = parser.parse_args_into_dataclasses()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    checkpoint = prepare_output(Path(args.output_dir))
    set_seed(args.seed)

    # 1. Texts, and their tokens.
    texts = Dataset.from_dict({"text": read_texts(text_args.train_file, text_args.text_column)})
    parts = texts.train_test_split(text_args.validation_share, seed=args.seed)
    tokenizer, vectors = make_masking_tokenizer(net_args, text_args.max_length, list(parts["train"]["text"]))
    dataset = {"train": tokenize(parts["train"], tokenizer), "validation": tokenize(parts["test"], tokenizer)}
    rows = {split: len(part) for split, part in dataset.items()}
    tokens = {split: sum(map(len, part["input_ids"])) for split, part in dataset.items()}
    print(
        f"{len(texts):,} texts; "
        + ", ".join(f"{split}: {rows[split]:,} rows, {tokens[split]:,} tokens" for split in rows)
    )

    # 2. Training.
    model = make_model(net_args, tokenizer, vectors)
    agree_on_batches(args)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=dataset["train"],
        eval_dataset=dataset["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=text_args.mlm_probability),
    )
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=checkpoint)
    train_seconds = time.perf_counter() - started

    # 3. The loss of the weights that are kept, on tokens that the seed alone has chosen; one folder with everything.
    set_seed(args.seed)
    loss = trainer.evaluate()["eval_loss"]
    if not trainer.is_world_process_zero():
        return
    # Not `trainer.save_model()`, which adds its arguments as a pickle.
    model.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    run_info = PretrainingInfo(
        name=Path(args.output_dir).resolve().name,
        loss=loss,
        splits={split: SplitInfo(rows=count) for split, count in rows.items()},
        tokens=tokens,
        num_parameters=model.num_parameters(),
        training=describe_training(
            trainer,
            seconds=train_seconds,
            mlm_probability=text_args.mlm_probability,
            embeddings_from=shown_name(net_args.embeddings_from),
            started_from=shown_name(net_args.model_name_or_path),
            tokenizer=f"{len(tokenizer):,} tokens, {tokenizer_origin(net_args)}",
        ),
        processor=processor(),
        versions={name: version(name) for name in ("hf-rnn-multilabel", "torch", "transformers", "datasets")},
    )
    run_info.save(args.output_dir)
    print(f"\nHeld-out loss {loss:.4f} a masked token, perplexity {math.exp(loss):.1f}. Saved in {args.output_dir}.")


if __name__ == "__main__":
    main()
