"""Pretrain a recurrent encoder on unlabelled texts by masked language modelling, for taggers to start from."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from datasets import Dataset
from transformers import AutoModelForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerBase, set_seed
from transformers.utils import logging

from ..data import read_texts
from ..data.columns import group_rows
from ..hub.provenance import describe_training, processor
from ..hub.run_info import PretrainingInfo, SplitInfo
from ..model.configuration_rnn_multilabel import RnnMultilabelConfig
from ..model.modeling_rnn_multilabel import RnnMultilabelForMaskedLM
from .checkpoints import last_checkpoint
from .folder import run_folder
from .identity import identity, versions, without_folders
from .initialization import Vocabulary, embeds_from_model, load_config, make_model, make_vocabulary
from .recipe import (
    HEAD,
    NETWORK,
    EncoderRecipe,
    check_numbers,
    is_main_process,
    refuse_settings,
    refuse_unknown,
    setting,
    trainer_arguments,
)
from .steps import origin_of
from .trainer import TaggerTrainer


logger = logging.get_logger(__name__)

MASK = "[MASK]"
DROPOUTS = {"embedding_dropout", "word_dropout", "hidden_dropout", "recurrent_dropout"}


@dataclass(frozen=True)
class PretrainingRecipe(EncoderRecipe):
    """Settings of a pretraining: less dropout than of a tagger, since a text is masked differently in each epoch."""

    embedding_dropout: float | None = setting("Dropout on the embeddings.", 0.1)
    hidden_dropout: float | None = setting("Dropout between layers.", 0.1)
    num_train_epochs: float | None = setting("Passes over the texts.", 10)
    learning_rate: float | None = setting("The highest one.", 4e-3)
    per_device_train_batch_size: int | None = setting("Texts in a batch.", 64)
    per_device_eval_batch_size: int | None = setting("Texts in an evaluation batch: a logit per token and token.", 32)
    max_length: int = setting("Tokens after which a text is split into several rows.", 256)
    validation_fraction: float = setting("Fraction of the texts that is held out.", 0.05)
    mlm_probability: float = setting("Fraction of the tokens to predict.", 0.15)


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining found.

    Attributes:
        folder: model, code, tokenizer and metrics.json.
        info: what metrics.json says.
    """

    folder: Path
    info: PretrainingInfo


def pretrain_encoder(
    files: str | Path | Sequence[str | Path],
    output_dir: str | Path = "pretrained",
    *,
    text_column: str | None = None,
    file_format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    **settings: Any,
) -> Pretraining:
    """Pretrain an encoder on the texts of files; a run that was stopped resumes when the same call is made again.

    Args:
        files: one or several of txt, jsonl, json, csv, tsv and parquet, also compressed.
        output_dir: the folder of the result, which must not exist or be empty.
        text_column: where a row's text is; None: it is looked for. A line of txt is a text.
        file_format, delimiter, encoding: as of `read_rows`.
        settings: fields of `PretrainingRecipe` and of `transformers.TrainingArguments`.

    Raises:
        ValueError: for fewer than two texts, and for settings that are wrong.
        FileExistsError, BlockingIOError: as `train_tagger`.
    """
    recipe = split_settings(settings)
    check(recipe)
    with run_folder(output_dir, is_main_process()) as folder:
        set_seed(recipe.seed)
        paths = [str(path) for path in ([files] if isinstance(files, str | Path) else files)]
        options = {"file_format": file_format, "delimiter": delimiter, "encoding": encoding}
        texts = [text for text in read_texts(paths, text_column, **options) if text.strip()]
        if len(texts) < 2:
            raise ValueError(f"{paths} hold {len(texts)} texts; give at least 2, to train on and to hold out.")
        fingerprint = identity({"texts": texts}, recipe)
        folder.identify(fingerprint)
        parts = split_off(texts, recipe.validation_fraction, recipe.seed)
        vocabulary = make_masking_vocabulary(recipe, list(parts["train"]["text"]))
        tokenizer = vocabulary.tokenizer
        rows = {"train": split_texts(parts["train"], tokenizer), "validation": split_texts(parts["test"], tokenizer)}
        num_tokens = {split: sum(map(len, part["input_ids"])) for split, part in rows.items()}
        logger.info(f"{len(texts):,} texts, {num_tokens['train']:,} tokens to train on.")

        model = make_masked_lm(recipe, vocabulary)
        changes = {"metric_for_best_model": "loss", "remove_unused_columns": True}
        trainer = TaggerTrainer(
            model=model,
            args=trainer_arguments(recipe, str(folder.partial), **changes),
            train_dataset=rows["train"],
            eval_dataset=rows["validation"],
            processing_class=tokenizer,
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=recipe.mlm_probability),
        )
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=last_checkpoint(folder.partial))
        seconds = time.perf_counter() - started
        # The loss of the weights that are kept, on tokens that the seed alone has chosen.
        set_seed(recipe.seed)
        loss = trainer.evaluate()["eval_loss"]
        info = PretrainingInfo(
            name=folder.output.name,
            loss=loss,
            splits={split: SplitInfo(rows=len(part)) for split, part in rows.items()},
            tokens=num_tokens,
            num_parameters=model.num_parameters(),
            training=describe_training(
                trainer,
                seconds=seconds,
                **origin_of(recipe, vocabulary),
                mlm_probability=recipe.mlm_probability,
            ),
            processor=processor(),
            versions=versions(),
            fingerprint=without_folders(fingerprint),
        )
        if trainer.is_world_process_zero():
            result = folder.result
            model.save_pretrained(result)
            tokenizer.save_pretrained(result)
            info.save(result)
            folder.publish(result)
        trainer.accelerator.wait_for_everyone()
        return Pretraining(folder.output, info)


def check(recipe: PretrainingRecipe) -> None:
    """Refuse settings that mean nothing.

    Raises:
        ValueError: in words.
    """
    check_numbers(recipe)
    for name in ("validation_fraction", "mlm_probability"):
        if not 0 < getattr(recipe, name) < 1:
            raise ValueError(f"`{name}` is {getattr(recipe, name)}; it must be between 0 and 1.")


def split_off(texts: list[str], fraction: float, seed: int) -> dict[str, Dataset]:
    """The texts in random order as "train" and "test", with all copies of a text in one of them."""
    rows = Dataset.from_dict({"text": texts})
    groups, first = group_rows(rows, "text")
    if len(first) < 2:
        raise ValueError(f"All {len(texts):,} texts are the same; give others, to train on and to hold out.")
    parts = Dataset.from_dict({"group": range(len(first))}).train_test_split(fraction, seed=seed)
    members = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    return {
        split: rows.select(np.concatenate([members[group] for group in part["group"]]))
        for split, part in parts.items()
    }


def make_masking_vocabulary(recipe: PretrainingRecipe, texts: list[str]) -> Vocabulary:
    """Take, prune or train a tokenizer, with a mask token."""
    if recipe.prune_vocabulary is None and embeds_from_model(recipe):
        # What learns at the full learning rate leaves those that the texts lack behind.
        recipe = replace(recipe, prune_vocabulary=True)
    vocabulary = make_vocabulary(recipe, texts, recipe.max_length)
    tokenizer, vectors = vocabulary.tokenizer, vocabulary.vectors
    if tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": MASK})
        if vectors is not None:
            vectors = F.pad(vectors, (0, 0, 0, len(tokenizer) - len(vectors)), value=math.nan)
    return replace(vocabulary, vectors=vectors)


def split_texts(texts: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The texts' "input_ids"; one that is longer than `model_max_length` becomes several rows."""

    def split(batch: dict[str, list]) -> dict[str, list]:
        tokens = tokenizer(batch["text"], truncation=True, return_overflowing_tokens=True)
        return {"input_ids": tokens["input_ids"]}

    return texts.map(split, batched=True, remove_columns=texts.column_names, desc="Tokenizing")


def make_masked_lm(recipe: PretrainingRecipe, vocabulary: Vocabulary) -> RnnMultilabelForMaskedLM:
    """Make a new model, or one whose encoder is a checkpoint's, and whose head is too where there is one."""
    if recipe.model_name_or_path is not None:
        refuse_settings(recipe, NETWORK - HEAD)
    defaults = {name: getattr(RnnMultilabelConfig, name) for name in NETWORK - HEAD | DROPOUTS}
    recipe = replace(recipe, **{name: value for name, value in defaults.items() if getattr(recipe, name) is None})
    if recipe.model_name_or_path is None:
        dropouts = {name: getattr(recipe, name) for name in DROPOUTS}
        return make_model(RnnMultilabelForMaskedLM, recipe, vocabulary, dropouts)
    remote = {"trust_remote_code": recipe.trust_remote_code}
    config = load_config(recipe.model_name_or_path, **remote)
    for name in DROPOUTS:
        setattr(config, name, getattr(recipe, name))
    config.num_bigram_buckets = None
    config.validate()
    model = AutoModelForMaskedLM.from_pretrained(recipe.model_name_or_path, config=config, **remote)
    if model.config.vocab_size < len(vocabulary.tokenizer):
        model.resize_token_embeddings(len(vocabulary.tokenizer))
    return model


def split_settings(settings: Mapping[str, Any]) -> PretrainingRecipe:
    """Sort settings into the recipe's own and the stock ones.

    Raises:
        ValueError: for a name that nothing takes, with the nearest ones.
    """
    refuse_unknown(settings, [PretrainingRecipe])
    stock = dict(settings)
    own = {each.name: stock.pop(each.name) for each in fields(PretrainingRecipe) if each.name in stock}
    return PretrainingRecipe(**own | {"training_arguments": dict(own.get("training_arguments", {})) | stock})
