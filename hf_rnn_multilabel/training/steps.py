"""The steps of a training, each of one concern: what it needs goes in, what it found comes out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, TrainerCallback, set_seed
from transformers.utils import logging

from ..data import LabelEncoding, TaggingData, tokenize
from ..evaluation import compute_metrics, linear_scores, tune_thresholds
from ..hub.provenance import describe_training, shown_name
from ..hub.run_info import (
    BEFORE_RETRAINING,
    LINEAR_BASELINE,
    THIS_MODEL,
    MetricRow,
    RetrainingInfo,
    SearchInfo,
    TrainingInfo,
)
from ..inference.logits import sigmoid
from ..model.losses import IGNORED
from ..model.modeling_rnn_multilabel import RnnMultilabelForSequenceClassification
from ..model.recurrence import lstm_runs_in
from .averaging import WeightAveraging
from .checkpoints import last_checkpoint
from .distillation import Distillation
from .folder import RunFolder
from .initialization import Vocabulary, embeds_from_model, is_tagger, load_config, make_tagger, make_vocabulary
from .label_names import fraction_in_texts
from .recipe import HEAD, NETWORK, EncoderRecipe, Recipe, Traits, refuse_settings, resolve, trainer_arguments
from .retraining import retrain
from .search import best_settings, model_settings, search
from .teacher import compared
from .trainer import TaggerTrainer
from .wide import add_wide_head, fit_wide_head, mix_in_wide_head


logger = logging.get_logger(__name__)

SPLITS = ("train", "validation", "test")
# What the model reads of a row.
COLUMNS = ("input_ids", "attention_mask", "labels", "teacher_logits")
# Whether texts are in the language of the labels' names shows in so many.
TEXTS_FOR_NAMES = 10_000


@dataclass(frozen=True)
class Inputs:
    """What a model is trained on.

    Attributes:
        data: the rows and their labels.
        vocabulary: the tokens.
        rows: by split, the tokens and labels of the rows.
        truncated: by split, how many texts were truncated.
        max_length: tokens at which they were.
        distillation: how much "teacher_logits" of the training rows count, if there are any.
    """

    data: TaggingData
    vocabulary: Vocabulary
    rows: DatasetDict
    truncated: dict[str, int]
    max_length: int
    distillation: Distillation | None = None

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the vocabulary."""
        return self.vocabulary.tokenizer

    @property
    def encoding(self) -> LabelEncoding:
        """The labels."""
        return self.data.encoding

    @property
    def labelled(self) -> tuple[dict[str, list[str]], dict[str, np.ndarray]]:
        """By split, the texts of which a label is observed, and their labels, (texts, labels)."""
        texts, labels = dict(self.data.texts), dict(self.data.labels)
        observed = (labels["train"] != IGNORED).any(1)
        if not observed.all():
            texts["train"] = [text for text, is_kept in zip(texts["train"], observed, strict=True) if is_kept]
            labels["train"] = labels["train"][observed]
        return texts, labels

    @property
    def held_out(self) -> list[str]:
        """The splits that are not trained on."""
        return [split for split in SPLITS[1:] if split in self.rows]


@dataclass(frozen=True)
class Fitted:
    """A trained model, and what each step learned of it.

    Attributes:
        model: the tagger.
        trainer: that of its last training, which predicts.
        info: how it was trained.
        mixing_weight: of the wide head; 0: none.
        scores: by split, (rows, labels) probabilities, in the order of `truth`.
        truth: by split, (rows, labels) 0, 1 or -100.
        retraining: if it was trained again with validation.
    """

    model: RnnMultilabelForSequenceClassification
    trainer: TaggerTrainer
    info: TrainingInfo
    mixing_weight: float = 0.0
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    retraining: RetrainingInfo | None = None


def prepare(recipe: Recipe, data: TaggingData, max_length: int, distillation: Distillation | None = None) -> Inputs:
    """Turn texts into tokens, by a tokenizer that the recipe asks for."""
    vocabulary = make_vocabulary(recipe, data.texts["train"], max_length)
    rows, truncated = tokenize(data.dataset, vocabulary.tokenizer, data.text_column, max_length=max_length)
    for split, part in rows.items():
        logger.info(f"{split}: {len(part):,} texts, {truncated[split]:,} truncated at {max_length:,} tokens.")
        rows[split] = part.select_columns([name for name in COLUMNS if name in part.column_names])
    return Inputs(data, vocabulary, rows, truncated, max_length, distillation)


def resolve_for(recipe: Recipe, inputs: Inputs) -> Recipe:
    """Answer what the recipe leaves open for these inputs; see `recipe.resolve`."""
    names, texts = inputs.encoding.label_names, inputs.data.texts["train"]
    starts_from_tagger = False
    if recipe.model_name_or_path is not None:
        starts_from_tagger = is_tagger(load_config(recipe.model_name_or_path, recipe.trust_remote_code))
        refuse_settings(recipe, NETWORK if starts_from_tagger else NETWORK - HEAD)
    named_labels = 1.0
    if recipe.pooling is None and not starts_from_tagger and not embeds_from_model(recipe):
        named_labels = fraction_in_texts(names, texts[:TEXTS_FOR_NAMES])
    traits = Traits(
        num_rows=len(inputs.rows["train"]),
        num_labels=len(names),
        vocab_size=len(inputs.tokenizer),
        max_length=inputs.max_length,
        named_labels=named_labels,
        embeds_from_model=embeds_from_model(recipe),
        starts_from_tagger=starts_from_tagger,
        world_size=transformers.TrainingArguments("unused", **_placement(recipe)).world_size,
    )
    resolved = resolve(recipe, traits)
    if recipe.pooling is None and not starts_from_tagger and "label_attention" not in (resolved.pooling or []):
        logger.info("Most labels' names have no word in the training texts, so there is no label attention.")
    if recipe.wide_head is None and not resolved.wide_head:
        logger.info("The wide head is left out: it would have more weights than `wide_head=True` is needed for.")
    return resolved


def _placement(recipe: Recipe) -> dict[str, Any]:
    """The stock arguments that say where a training runs."""
    return {name: value for name, value in recipe.training_arguments.items() if name in ("use_cpu", "ddp_backend")}


def search_settings(recipe: Recipe, inputs: Inputs, folder: RunFolder) -> tuple[Recipe, SearchInfo | None]:
    """Search for settings on validation, and put the best into the recipe."""
    if recipe.search_trials == 0:
        return recipe, None

    def model_init(trial):
        settings = {} if trial is None else model_settings(trial)
        model, _ = make_tagger(replace(recipe, **settings), inputs.vocabulary, inputs.encoding)
        # As `Trainer(model)` does, so that the model that is trained in the end is that of the best trial.
        set_seed(recipe.seed)
        return model

    changes = {"save_strategy": "no", "load_best_model_at_end": False}
    args = trainer_arguments(recipe, str(folder.partial / "search"), **changes)
    trainer = make_trainer(recipe, inputs, args, model_init=model_init)
    result = search(trainer, recipe.search_trials, folder.partial, vars(recipe))
    logger.info(
        f"The best of {result['trials']} trials, {result['metric']} {result['value']:.4f}: {result['settings']}"
    )
    training, network = best_settings(result["settings"])
    set_seed(recipe.seed)
    return replace(recipe, **training, **network), SearchInfo(**result)


def make_trainer(
    recipe: Recipe,
    inputs: Inputs,
    args: transformers.TrainingArguments,
    callbacks: Sequence[TrainerCallback] = (),
    **of,
) -> TaggerTrainer:
    """Make the trainer of a model (`model=`) or of what makes models (`model_init=`) on the inputs."""
    return TaggerTrainer(
        args=args,
        train_dataset=inputs.rows["train"],
        eval_dataset=inputs.rows["validation"],
        processing_class=inputs.tokenizer,
        compute_metrics=partial(compute_metrics, are_logits=True),
        callbacks=[EarlyStoppingCallback(recipe.early_stopping_patience), *averaging(recipe), *callbacks],
        embedding_lr_factor=1.0 if recipe.embedding_lr_factor is None else recipe.embedding_lr_factor,
        distillation=inputs.distillation,
        **of,
    )


def averaging(recipe: Recipe) -> list[TrainerCallback]:
    """The callback that averages the weights, if they are to be."""
    return [WeightAveraging(recipe.weight_averaging)] if recipe.weight_averaging else []


def fit(recipe: Recipe, inputs: Inputs, folder: RunFolder) -> Fitted:
    """Train the model, and fit a wide head beside it."""
    model, num_named = make_tagger(recipe, inputs.vocabulary, inputs.encoding)
    args = trainer_arguments(recipe, str(folder.partial))
    note_precision(model.config.cell_type, args)
    trainer = make_trainer(recipe, inputs, args, model=model)
    started = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_checkpoint(folder.partial, recipe.weight_averaging > 0))
    weight = 0.0
    if recipe.wide_head:
        weight = mix_in_wide_head(
            model,
            inputs.tokenizer,
            *inputs.labelled,
            num_bigram_buckets=recipe.num_bigram_buckets,
            batch_size=args.per_device_eval_batch_size,
        )
        if weight:
            logger.info(f"The wide head has a mixing weight of up to {weight:.2f} in the logits.")
        else:
            logger.info("The wide head is left out: it does not help on validation.")
    info = describe_training(
        trainer,
        seconds=time.perf_counter() - started,
        **origin_of(recipe, inputs.vocabulary),
        embedding_lr_factor=recipe.embedding_lr_factor,
        weight_averaging=recipe.weight_averaging or None,
        label_name_queries=num_named or None,
        mixing_weight=weight or None,
    )
    return Fitted(model, trainer, info, mixing_weight=weight)


def origin_of(recipe: EncoderRecipe, vocabulary: Vocabulary) -> dict[str, str | None]:
    """Where a model starts, for the run information."""
    return {
        "tokenizer": f"{len(vocabulary.tokenizer):,} tokens, {vocabulary.origin}",
        "embeddings_from": shown_name(recipe.embeddings_from),
        "started_from": shown_name(recipe.model_name_or_path),
    }


def note_precision(cell_type: str, args: transformers.TrainingArguments) -> None:
    """Say in one line where half precision brings nothing on this processor."""
    dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    if dtype and cell_type == "lstm" and args.device.type == "cpu" and not lstm_runs_in(dtype):
        logger.warning(
            f"This processor has no LSTM kernel for {dtype}: the recurrence runs in float32, so half precision brings "
            "next to nothing here."
        )


def predict(trainer: transformers.Trainer, rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth, both (rows, labels), in the Trainer's order, which may group by length."""
    output = trainer.predict(rows, metric_key_prefix="predict")
    logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    if len(logits) != len(rows):
        raise ValueError(f"The Trainer predicted {len(logits):,} of {len(rows):,} rows; leave out what drops rows.")
    return sigmoid(logits), np.asarray(output.label_ids)


def choose_thresholds(recipe: Recipe, inputs: Inputs, fitted: Fitted) -> Fitted:
    """Tune the thresholds on validation, and put them into the model."""
    scores, truth = predict(fitted.trainer, inputs.rows["validation"])
    fitted.model.config.thresholds = tune_thresholds(
        scores, truth, inputs.encoding.label_names, recipe.threshold_method
    )
    return replace(fitted, scores={"validation": scores}, truth={"validation": truth})


def retrain_with_validation(recipe: Recipe, inputs: Inputs, fitted: Fitted, folder: RunFolder) -> Fitted:
    """Train a new model on train and validation, with the thresholds, the mixing weight and the epochs found."""
    if not recipe.retrain_with_validation:
        return fitted
    set_seed(recipe.seed)
    model, _ = make_tagger(recipe, inputs.vocabulary, inputs.encoding)
    model.config.thresholds = fitted.model.config.thresholds
    rows = concatenate_datasets([inputs.rows["train"], inputs.rows["validation"]])
    own = folder.partial / "retraining"
    started = time.perf_counter()
    trainer = retrain(
        fitted.trainer,
        model,
        rows,
        str(own),
        averaging(recipe),
        resume_from_checkpoint=last_checkpoint(own, recipe.weight_averaging > 0),
    )
    if fitted.mixing_weight:
        labels = np.concatenate([inputs.data.labels["train"], inputs.data.labels["validation"]])
        sizes = model.config.vocab_size, recipe.num_bigram_buckets
        add_wide_head(model, fit_wide_head(rows["input_ids"], labels, *sizes), fitted.mixing_weight)
    info = RetrainingInfo(
        rows=len(rows),
        epochs=trainer.state.epoch,
        steps=trainer.state.global_step,
        seconds=time.perf_counter() - started,
    )
    return replace(fitted, model=model, trainer=trainer, retraining=info)


def score_test_split(inputs: Inputs, fitted: Fitted) -> Fitted:
    """Score the test split, if there is one."""
    if "test" not in inputs.rows:
        return fitted
    scores, truth = predict(fitted.trainer, inputs.rows["test"])
    return replace(fitted, scores=fitted.scores | {"test": scores}, truth=fitted.truth | {"test": truth})


def baseline_scores(recipe: Recipe, inputs: Inputs) -> dict[str, np.ndarray]:
    """By split, the scores of the linear baseline, if it is asked for; see `evaluation.baseline`."""
    if not recipe.linear_baseline:
        return {}
    texts, labels = inputs.labelled
    scores = linear_scores(texts["train"], labels["train"], *(texts[split] for split in inputs.held_out))
    by_split = dict(zip(inputs.held_out, scores, strict=True))
    if recipe.retrain_with_validation and "test" in by_split:
        both = np.concatenate([labels["train"], labels["validation"]])
        (by_split["test"],) = linear_scores([*texts["train"], *texts["validation"]], both, texts["test"])
    return by_split


def compare(
    recipe: Recipe, inputs: Inputs, fitted: Fitted, linear: dict[str, np.ndarray], teacher: dict[str, list[MetricRow]]
) -> dict[str, list[MetricRow]]:
    """By split, the metrics of the model and of what it is compared with; thresholds from validation alone."""
    names, method = inputs.encoding.label_names, recipe.threshold_method
    results = compared(THIS_MODEL, fitted.scores, fitted.truth, names, method)
    if fitted.retraining is not None:
        results["validation"] = [replace(row, model=BEFORE_RETRAINING) for row in results["validation"]]
    others = [compared(LINEAR_BASELINE, linear, inputs.data.labels, names, method)] if linear else []
    for other in [*others, teacher]:
        for split, rows in other.items():
            results[split] = [*results[split], *rows]
    return results
