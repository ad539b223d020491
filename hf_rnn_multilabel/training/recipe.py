"""The recipe of a training: what can be said, and what is chosen where nothing is said, in one place.

A recipe is frozen. `resolve` answers what was left open, once, from what is known of the data and from the defaults of
`RnnMultilabelConfig`; every later step reads the same answers.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
import transformers

from ..data.near_names import near_names
from ..evaluation.thresholds import ThresholdMethod
from ..model.configuration_rnn_multilabel import ObjectiveName, RnnMultilabelConfig


# From so many texts on, each is seen less often: larger batches, less dropout.
MANY_TEXTS = 10_000
DROPOUT, DROPOUT_OF_MANY = 0.4, 0.1
LEARNING_RATE, LEARNING_RATE_OF_PRETRAINED = 4e-3, 2e-3
NUM_STEPS, MIN_EPOCHS, MAX_EPOCHS = 3000, 3, 30
# 40 MB of weights.
MAX_WIDE_WEIGHTS = 10_000_000
# Numbers in an evaluation batch, of which label attention has one per token and label: a gigabyte, a few times.
MAX_ATTENTION = 2**28
MAX_EVAL_BATCH_SIZE = 256
# The fraction of label names with a word in the training texts from which label attention is worth its memory.
MIN_NAMED_LABELS = 0.5


def setting(help: str, default: Any = None) -> Any:
    """A field of a recipe, with the help text that the command line shows."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class EncoderRecipe:
    """Settings of every training: where the model starts, its encoder, and what the `Trainer` is told."""

    embeddings_from: str | None = setting(
        "Start the embeddings from another model's (Hub name or folder) or from a file of GloVe or word2vec vectors."
    )
    model_name_or_path: str | None = setting("A recurrent model to start from: pretrained, or a tagger.")
    trust_remote_code: bool = setting("Execute the code of `model_name_or_path`.", False)
    tokenizer_name: str | None = setting("A tokenizer to take. Default: trained on the training texts.")
    tokenizer_algorithm: Literal["wordpiece", "bpe", "unigram", "word"] | None = setting(
        "Of a trained tokenizer: wordpiece (default), bpe, unigram or word."
    )
    vocab_size: int | None = setting(
        f"Largest vocabulary of a trained tokenizer. Default: {RnnMultilabelConfig.vocab_size:,}."
    )
    lowercase: bool | None = setting("Whether a trained tokenizer lower-cases. Default: true.")
    prune_vocabulary: bool | None = setting(
        "Keep only the tokens of the training texts from a model in `embeddings_from`. Default: above 60,000 tokens."
    )
    # None: the default of `RnnMultilabelConfig`, or the checkpoint's in `model_name_or_path`.
    cell_type: Literal["rnn", "gru", "lstm"] | None = setting("rnn, gru or lstm (default).")
    embedding_size: int | None = setting("Features of a token's embedding.")
    hidden_size: int | None = setting("Features of a hidden state, per direction.")
    num_hidden_layers: int | None = setting("Recurrent layers.")
    bidirectional: bool | None = setting("Whether to read backward too.")
    embedding_dropout: float | None = setting(
        f"Default: {DROPOUT}, or {DROPOUT_OF_MANY} from {MANY_TEXTS:,} texts on."
    )
    word_dropout: float | None = setting("Probability that a word is dropped in training.")
    hidden_dropout: float | None = setting("Dropout between layers.")
    recurrent_dropout: float | None = setting("DropConnect on the recurrent weights.")
    num_train_epochs: float | None = setting(f"Default: enough for {NUM_STEPS:,} steps, {MIN_EPOCHS} to {MAX_EPOCHS}.")
    learning_rate: float | None = setting(
        f"Default: {LEARNING_RATE:g}, or {LEARNING_RATE_OF_PRETRAINED:g} with anything pretrained."
    )
    per_device_train_batch_size: int | None = setting(f"Default: 16, or 32 from {MANY_TEXTS:,} texts on.")
    per_device_eval_batch_size: int | None = setting(f"Default: {MAX_EVAL_BATCH_SIZE}, fewer with many labels.")
    weight_decay: float = setting("AdamW's.", 0.01)
    warmup_steps: float = setting("Steps, or the fraction of all steps if below 1.", 0.1)
    seed: int = setting("Seed of everything random.", 42)
    # Everything else that `transformers.TrainingArguments` takes, by name.
    training_arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe(EncoderRecipe):
    """Settings of a tagger's training; None: chosen from the data by `resolve`, as the help texts say."""

    pooling: list[str] | None = setting(
        "last, mean, max, attention, label_attention, or several. Default: attention, max and, where the labels' "
        "names are words of the texts, label_attention."
    )
    label_name_queries: bool = setting("Whether new label attention starts from the labels' names.", True)
    label_correlation_size: int | None = setting("Features of a residual block on the logits (CorNet).")
    classifier_dropout: float | None = setting("Default: as for the embeddings.")
    objective: ObjectiveName = setting(
        "bce, focal, asymmetric, zlpr, distribution_balanced or expected_f1.", RnnMultilabelConfig.objective
    )
    objective_parameters: list[str] | None = setting("Numbers for the loss, for example gamma=2.")
    label_smoothing: float = setting("How far labels are moved towards one half.", 0.0)
    balance_positives: bool = setting("Weigh positives of rare labels up in the loss.", False)
    embedding_lr_factor: float | None = setting(
        "Factor of the embeddings' learning rate. 0 freezes them. Default: 0.1 for another model's, else 1."
    )
    early_stopping_patience: int = setting("Evaluations without a gain before the training stops.", 3)
    weight_averaging: float = setting("Decay of a moving average of the weights, for example 0.999. 0: none.", 0.0)
    wide_head: bool | None = setting(
        "Mix a logistic regression on n-grams into the logits, as far as validation says. Default: where it has at "
        f"most {MAX_WIDE_WEIGHTS:,} weights."
    )
    num_bigram_buckets: int = setting("Hashed bigrams of the wide head. 0: none.", 65_536)
    threshold_method: ThresholdMethod = setting("shrinkage, per_label, global_micro or global_macro.", "shrinkage")
    linear_baseline: bool = setting("Also train TF-IDF with logistic regression, and report both.", False)
    retrain_with_validation: bool = setting(
        "Then train a new model on train and validation for as many epochs.", False
    )
    search_trials: int = setting("First search for settings on validation, so many trials.", 0)


# The settings of the network that have names of `RnnMultilabelConfig`.
NETWORK = {
    "cell_type",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "bidirectional",
    "pooling",
    "label_correlation_size",
    "embedding_dropout",
    "word_dropout",
    "hidden_dropout",
    "recurrent_dropout",
    "classifier_dropout",
}
# Those that a checkpoint without a tagger's head leaves open.
HEAD = {name for name in NETWORK if name.endswith("dropout")} | {"pooling", "label_correlation_size"}

# The arguments of every `Trainer` here that differ from the stock defaults.
STOCK_ARGUMENTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "f1_micro",
    # Batches of similar lengths.
    "train_sampling_strategy": "group_by_length",
    # Else a run that resumes forgets how long it has waited for a gain.
    "restore_callback_states_from_checkpoint": True,
    # The rows hold the columns that are needed, and no others.
    "remove_unused_columns": False,
}


# What an epoch can be selected by; see `evaluation.compute_metrics`.
SELECTION_METRICS = {"loss", "hamming_loss", "subset_accuracy", "map_micro"} | {
    f"{name}_{average}" for name in ("precision", "recall", "f1") for average in ("micro", "macro")
}
# The whole folder is pushed at the end, not the checkpoints on the way.
OF_THE_PUSH = {"push_to_hub", "hub_model_id", "hub_private_repo", "hub_revision", "hub_token", "hub_strategy"}


# What brings a tokenizer, the first one that is given.
SOURCES = ("model_name_or_path", "tokenizer_name", "embeddings_from")
# Stock arguments with which a run would lose rows or could not choose an epoch, and why.
REFUSED: dict[str, tuple[Any, str]] = {
    "dataloader_drop_last": (True, "the last rows of validation and test would be lost."),
    "prediction_loss_only": (True, "thresholds are tuned on the scores of the rows."),
    "eval_do_concat_batches": (False, "thresholds are tuned on the scores of all rows."),
    "batch_eval_metrics": (True, "the metrics are those of all rows together."),
    "eval_strategy": ("no", "the epoch is chosen by evaluations."),
}


@dataclass(frozen=True)
class Traits:
    """What of the data and the machine a recipe's open settings depend on.

    Attributes:
        num_rows: training texts.
        num_labels: labels.
        vocab_size: tokens of the tokenizer.
        max_length: tokens at which a text is truncated.
        named_labels: the fraction of the labels whose name has a word in the training texts, or 1 where another
            model's embeddings know the words.
        embeds_from_model: whether the embeddings are another model's, not new and not from a file of word vectors.
        starts_from_tagger: whether `model_name_or_path` is a tagger, which brings its head's settings.
        world_size: processes that train together.
    """

    num_rows: int
    num_labels: int
    vocab_size: int
    max_length: int
    named_labels: float = 1.0
    embeds_from_model: bool = False
    starts_from_tagger: bool = False
    world_size: int = 1


def resolve(recipe: Recipe, traits: Traits) -> Recipe:
    """Answer what a recipe leaves open; what it says stays as it is.

    Args:
        recipe: as it was given.
        traits: what is known of the data.

    Returns:
        a recipe without None, but for the network's settings that a checkpoint has decided, and for what has no
        default, such as `embeddings_from`.

    Raises:
        ValueError: for settings that contradict each other.
    """
    check(recipe)
    is_pretrained = recipe.model_name_or_path is not None or recipe.embeddings_from is not None
    has_many = traits.num_rows >= MANY_TEXTS
    dropout = DROPOUT_OF_MANY if has_many else DROPOUT
    poolings = RnnMultilabelConfig().poolings
    if traits.named_labels < MIN_NAMED_LABELS:
        poolings = [name for name in poolings if name != "label_attention"]
    wide_weights = (recipe.num_bigram_buckets + traits.vocab_size) * traits.num_labels
    batch_size = recipe.per_device_train_batch_size or (32 if has_many else 16)
    chosen: dict[str, Any] = {
        "learning_rate": LEARNING_RATE_OF_PRETRAINED if is_pretrained else LEARNING_RATE,
        "embedding_lr_factor": 0.1 if traits.embeds_from_model else 1.0,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": min(
            max(MAX_ATTENTION // (traits.max_length * traits.num_labels), 1), MAX_EVAL_BATCH_SIZE
        ),
        "num_train_epochs": epochs_for(
            NUM_STEPS, traits.num_rows, batch_size * traits.world_size * accumulation_steps(recipe)
        ),
        "wide_head": wide_weights <= MAX_WIDE_WEIGHTS,
    }
    if recipe.model_name_or_path is None:
        chosen |= {name: getattr(RnnMultilabelConfig, name) for name in NETWORK - {"pooling"}}
    if not traits.starts_from_tagger:
        chosen |= {"pooling": poolings, "embedding_dropout": dropout, "classifier_dropout": dropout}
    return replace(recipe, **{name: value for name, value in chosen.items() if getattr(recipe, name) is None})


def check(recipe: Recipe) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ValueError: in words.
    """
    if recipe.model_name_or_path is not None:
        if recipe.embeddings_from is not None or recipe.tokenizer_name is not None:
            raise ValueError(
                "`model_name_or_path` brings its own tokenizer and embeddings; leave out `embeddings_from` and "
                "`tokenizer_name`."
            )
        if recipe.search_trials:
            raise ValueError(
                f"`search_trials` is {recipe.search_trials}, which needs new models, but `model_name_or_path` is "
                f"{recipe.model_name_or_path!r}; leave out one of the two."
            )
    factor = recipe.embedding_lr_factor
    if factor is not None and not 0 <= factor <= 1:
        raise ValueError(f"`embedding_lr_factor` is {factor}; it must be in [0, 1].")
    if factor not in (None, 1) and recipe.model_name_or_path is None and recipe.embeddings_from is None:
        raise ValueError(
            f"`embedding_lr_factor` is {factor}, but the embeddings are new and have all to learn; say where they "
            "start with `embeddings_from` or `model_name_or_path`."
        )
    given = {"training_arguments"} | {each.name for each in fields(Recipe)}
    twice = sorted(given & recipe.training_arguments.keys())
    if twice:
        raise ValueError(f"`training_arguments` holds {twice}, which are settings of their own; give them as such.")
    for name in ("search_trials", "num_bigram_buckets", "early_stopping_patience"):
        if getattr(recipe, name) < 0:
            raise ValueError(f"`{name}` is {getattr(recipe, name)}; it must be at least 0.")
    metric = recipe.training_arguments.get("metric_for_best_model")
    if metric is not None and metric.removeprefix("eval_") not in SELECTION_METRICS:
        raise ValueError(f"`metric_for_best_model` is {metric!r}; it must be one of {sorted(SELECTION_METRICS)}.")
    for name, (value, why) in REFUSED.items():
        if recipe.training_arguments.get(name) == value:
            raise ValueError(f"`{name}` is {value}: {why} Leave it out.")
    check_start(recipe)
    check_numbers(recipe)


def check_start(recipe: EncoderRecipe) -> None:
    """Refuse settings of a tokenizer or of embeddings that something else brings.

    Raises:
        ValueError: with their names.
    """
    of_file = recipe.embeddings_from is not None and os.path.isfile(recipe.embeddings_from)
    sources = ["model_name_or_path", "tokenizer_name"] if of_file else [*SOURCES]
    source = next((name for name in sources if getattr(recipe, name) is not None), None)
    given = [name for name in ("tokenizer_algorithm", "vocab_size", "lowercase") if getattr(recipe, name) is not None]
    if source is not None and given:
        raise ValueError(
            f"{given} are given, but `{source}` {getattr(recipe, source)!r} brings its tokenizer; leave them out."
        )
    if of_file and recipe.tokenizer_algorithm not in (None, "word"):
        raise ValueError(
            f"`tokenizer_algorithm` is {recipe.tokenizer_algorithm!r}, but the vectors of {recipe.embeddings_from!r} "
            "are of whole words; leave it out."
        )
    if recipe.embeddings_from is not None and recipe.embedding_size is not None:
        raise ValueError(
            f"`embedding_size` is {recipe.embedding_size}, but `embeddings_from` {recipe.embeddings_from!r} brings "
            "its own; leave it out."
        )


def check_numbers(recipe: EncoderRecipe) -> None:
    """Refuse numbers with which no `Trainer` trains.

    Raises:
        ValueError: with the setting's name.
    """
    if recipe.learning_rate is not None and not recipe.learning_rate >= 0:
        raise ValueError(f"`learning_rate` is {recipe.learning_rate}; it must be at least 0.")
    for name in ("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size"):
        value = getattr(recipe, name)
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` is {value}; it must be above 0.")


def refuse_unknown(names: Iterable[str], kinds: Iterable[type]) -> None:
    """Refuse settings that neither these dataclasses nor `transformers.TrainingArguments` take.

    Raises:
        ValueError: for the first of them, with the nearest names.
    """
    known = {each.name for each in fields(transformers.TrainingArguments) if each.init} - {"output_dir"}
    known |= {each.name for kind in kinds for each in fields(kind)}
    unknown = sorted(set(names) - known)
    if unknown:
        near = near_names(unknown[0], known)
        raise ValueError(
            f"No setting is called {unknown[0]!r}" + (f"; near are {near}." if near else "; see `train --help-all`.")
        )


def refuse_settings(recipe: EncoderRecipe, names: set[str]) -> None:
    """Refuse settings that the checkpoint to start from has already decided.

    Args:
        recipe: with a `model_name_or_path`.
        names: of the settings that the checkpoint decides.

    Raises:
        ValueError: with the names that are given all the same.
    """
    given = [name for name in sorted(names & vars(recipe).keys()) if getattr(recipe, name) is not None]
    if given:
        raise ValueError(
            f"{given} are given, but the model is {recipe.model_name_or_path!r}, which has its own; leave them out, "
            "or start a new model without `model_name_or_path`."
        )


def is_main_process() -> bool:
    """Whether this process is the first of those that train together, as a launcher says."""
    return os.environ.get("RANK", "0") == "0"


def trainer_arguments(recipe: EncoderRecipe, output_dir: str, **changes: Any) -> transformers.TrainingArguments:
    """The stock arguments of a resolved recipe.

    Args:
        recipe: resolved.
        output_dir: the folder of the checkpoints.
        changes: more of them, over those of the recipe.

    Raises:
        ValueError: for a name that `transformers.TrainingArguments` does not take.
    """
    known = {each.name for each in fields(transformers.TrainingArguments) if each.init}
    unknown = sorted(recipe.training_arguments.keys() - known)
    if unknown:
        raise ValueError(f"`transformers.TrainingArguments` takes no {unknown}; see `train --help-all`.")
    own = {each.name: getattr(recipe, each.name) for each in fields(recipe) if each.name in known}
    pinned = {"dataloader_pin_memory": torch.cuda.is_available()}
    args = transformers.TrainingArguments(
        output_dir, **STOCK_ARGUMENTS | pinned | own | for_this_machine(recipe.training_arguments) | changes
    )
    return with_one_order(args)


def for_this_machine(given: Mapping[str, Any]) -> dict[str, Any]:
    """The stock arguments that are given; half precision without a GPU means on the CPU, which is not to be said."""
    given = {name: value for name, value in given.items() if name not in OF_THE_PUSH}
    if (given.get("bf16") or given.get("fp16")) and not has_accelerator():
        given.setdefault("use_cpu", True)
    return given


def has_accelerator() -> bool:
    return torch.accelerator.is_available()


def with_one_order(args: transformers.TrainingArguments) -> transformers.TrainingArguments:
    """Has several processes of a CPU take the rows in the same order."""
    if args.world_size > 1 and args.device.type == "cpu" and args.train_sampling_strategy == "group_by_length":
        # The grouped order is sampled from each process's own generator, and dropout moves those of a CPU apart.
        return replace(args, train_sampling_strategy="random")
    return args


def accumulation_steps(recipe: EncoderRecipe) -> int:
    """Batches whose gradients are accumulated into one step."""
    return recipe.training_arguments.get("gradient_accumulation_steps", 1)


def epochs_for(num_steps: int, num_rows: int, batch_size: int) -> float:
    """As many epochs as give so many steps, within `MIN_EPOCHS` and `MAX_EPOCHS`."""
    return float(min(max(math.ceil(num_steps / (num_rows / batch_size)), MIN_EPOCHS), MAX_EPOCHS))
