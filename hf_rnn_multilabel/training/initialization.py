"""Where a model starts: its tokenizer, its embeddings, its encoder and its label attention."""

import os
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ..data import LabelEncoding, prune_tokenizer, train_tokenizer
from ..hub.provenance import shown_name
from ..model.configuration_rnn_multilabel import RnnMultilabelConfig
from ..model.modeling_rnn_multilabel import RnnMultilabelForMaskedLM, RnnMultilabelForSequenceClassification
from .embeddings import start_embeddings, vectors_from_file, vectors_from_model
from .label_names import start_from_label_names
from .recipe import HEAD, NETWORK, EncoderRecipe, Recipe


logger = logging.get_logger(__name__)

TAGGER, MASKED_LM = RnnMultilabelForSequenceClassification.__name__, RnnMultilabelForMaskedLM.__name__
LOADERS = {TAGGER: AutoModelForSequenceClassification, MASKED_LM: AutoModelForMaskedLM}
# A vocabulary of a hundred languages is most of a model.
MAX_WHOLE_VOCABULARY = 60_000


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model, and what is known of them before it is trained.

    Attributes:
        tokenizer: fast, with a pad token.
        vectors: (tokens, features) to start the embeddings from, NaN where there is none; None: all are new.
        origin: where the tokenizer came from, in words.
    """

    tokenizer: PreTrainedTokenizerBase
    vectors: torch.Tensor | None
    origin: str


def embeds_from_model(recipe: EncoderRecipe) -> bool:
    """Whether the embeddings start from another model's, and not from a file of word vectors."""
    return recipe.embeddings_from is not None and not os.path.isfile(recipe.embeddings_from)


def make_vocabulary(recipe: EncoderRecipe, texts: list[str], max_length: int) -> Vocabulary:
    """Take, prune or train the tokenizer that a recipe asks for.

    Args:
        recipe: what was said; nothing of it needs to be resolved.
        texts: the training texts.
        max_length: tokens at which the tokenizer truncates.

    Raises:
        ValueError: for a tokenizer without a pad token, for `prune_vocabulary` where there is nothing to prune, and
            for a whole vocabulary whose ids have gaps.
    """
    source = recipe.embeddings_from
    if recipe.prune_vocabulary is not None and not embeds_from_model(recipe):
        raise ValueError(
            f"`prune_vocabulary` is {recipe.prune_vocabulary}, but only a model in `embeddings_from` brings a "
            f"vocabulary to prune or to keep whole, not {source!r}; leave it out."
        )
    vectors = None
    tokenizer: PreTrainedTokenizerBase
    if recipe.model_name_or_path is not None:
        name = recipe.model_name_or_path
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=recipe.trust_remote_code)
        origin = _origin(name)
    elif source is not None and embeds_from_model(recipe):
        tokenizer, vectors = _vocabulary_of_a_model(recipe, source, texts)
        origin = _origin(recipe.tokenizer_name or source)
    elif recipe.tokenizer_name is not None:
        tokenizer, origin = AutoTokenizer.from_pretrained(recipe.tokenizer_name), _origin(recipe.tokenizer_name)
        if has_gaps(tokenizer):
            tokenizer, _ = prune_tokenizer(tokenizer, texts)
    else:
        tokenizer = train_tokenizer(
            texts,
            # Word vectors are of whole words.
            algorithm="word" if source is not None else recipe.tokenizer_algorithm or "wordpiece",
            vocab_size=RnnMultilabelConfig.vocab_size if recipe.vocab_size is None else recipe.vocab_size,
            lowercase=recipe.lowercase is not False,
        )
        origin = "trained on the training texts"
    if source is not None and not embeds_from_model(recipe):
        vectors = vectors_from_file(source, tokenizer)[0]
    tokenizer.model_max_length = max_length
    return Vocabulary(tokenizer, vectors, origin)


def _origin(name_or_path: str) -> str:
    return f"that of {shown_name(name_or_path)}"


def _vocabulary_of_a_model(
    recipe: EncoderRecipe, source: str, texts: list[str]
) -> tuple[PreTrainedTokenizerBase, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(recipe.tokenizer_name or source)
    if tokenizer.pad_token is None:
        raise ValueError(f"The tokenizer of {source!r} has no pad token; save it with one, such as its `eos_token`.")
    kept_ids = list(range(len(tokenizer)))
    is_pruned = recipe.prune_vocabulary
    if is_pruned is None:
        is_pruned = has_gaps(tokenizer) or len(tokenizer) > MAX_WHOLE_VOCABULARY
    elif not is_pruned and has_gaps(tokenizer):
        raise ValueError(
            f"`prune_vocabulary=False` keeps the vocabulary of {recipe.tokenizer_name or source!r} whole, but its ids "
            f"have gaps: {len(tokenizer):,} tokens go up to the id {max(tokenizer.get_vocab().values()):,}. Leave it "
            "out: pruning renumbers them."
        )
    if is_pruned:
        tokenizer, kept_ids = prune_tokenizer(tokenizer, texts)
    return tokenizer, vectors_from_model(source, kept_ids)


def has_gaps(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the ids of a tokenizer do not count from 0 on without a gap; pruning renumbers them."""
    return max(tokenizer.get_vocab().values(), default=-1) >= len(tokenizer)


def make_tagger(
    recipe: Recipe, vocabulary: Vocabulary, encoding: LabelEncoding
) -> tuple[RnnMultilabelForSequenceClassification, int]:
    """Make the model that a resolved recipe describes, before any training.

    Args:
        recipe: resolved.
        vocabulary: its tokens.
        encoding: its labels.

    Returns:
        a new model, or one whose encoder and, where the labels are the same, head are those of
        `model_name_or_path`; and how many labels' attention starts from their names.
    """
    labels = {
        "id2label": dict(enumerate(encoding.label_names)),
        "label2id": {name: index for index, name in enumerate(encoding.label_names)},
        "label_frequencies": encoding.frequencies,
        "positive_weights": "balanced" if recipe.balance_positives else None,
        "objective": recipe.objective,
        "objective_parameters": objective_numbers(recipe.objective_parameters),
        "label_smoothing": recipe.label_smoothing,
    }
    if recipe.model_name_or_path is None:
        settings = labels | {name: getattr(recipe, name) for name in HEAD}
        model, has_new_head = make_model(RnnMultilabelForSequenceClassification, recipe, vocabulary, settings), True
    else:
        model, has_new_head = load_tagger(recipe, labels)
    num_named = 0
    if has_new_head and recipe.label_name_queries and "label_attention" in model.config.poolings:
        num_named = start_from_label_names(model, vocabulary.tokenizer)
        logger.info(f"The attention of {num_named:,} of {model.num_labels:,} labels starts from their names.")
    return model, num_named


def make_model(model_class: type, recipe: EncoderRecipe, vocabulary: Vocabulary, settings: dict[str, Any]):
    """Make a randomly initialised model, but for embeddings that start from `vocabulary.vectors`."""
    tokenizer, vectors = vocabulary.tokenizer, vocabulary.vectors
    network = {name: getattr(recipe, name) for name in NETWORK - HEAD}
    if vectors is not None:
        network["embedding_size"] = vectors.shape[1]
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **network,
        **settings,
    )
    model = model_class(config)
    if vectors is not None:
        num_started = start_embeddings(model, vectors)
        logger.info(f"{num_started:,} of {len(tokenizer):,} embeddings start from {recipe.embeddings_from}.")
    return model


def objective_numbers(parameters: list[str] | dict[str, float] | None) -> dict[str, float | int] | None:
    """Turn `objective_parameters`, for example ["gamma=2"], into what the configuration takes.

    Raises:
        ValueError: for an entry that is no name with a number, or a name that is given twice.
    """
    if parameters is None or isinstance(parameters, dict):
        return parameters
    numbers: dict[str, float | int] = {}
    for entry in parameters:
        name, _, text = entry.partition("=")
        try:
            number = int(text) if text.isdecimal() else float(text)
        except ValueError:
            number = None
        if number is None or name in numbers:
            raise ValueError(f"`objective_parameters` holds {entry!r}; give each name once, for example gamma=2.")
        numbers[name] = number
    return numbers


def load_config(name_or_path: str, trust_remote_code: bool) -> RnnMultilabelConfig:
    """Load the configuration of a checkpoint to start from.

    Raises:
        OSError: if there is no such folder or name.
        ValueError: for a model of another kind.
    """
    try:
        config = AutoConfig.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
    except OSError as error:
        raise OSError(f"`model_name_or_path` is {name_or_path!r}, which cannot be loaded: {error}") from error
    if config.model_type != RnnMultilabelConfig.model_type:
        raise ValueError(
            f"{name_or_path!r} is a {config.model_type!r} model; give a {RnnMultilabelConfig.model_type!r} one, or "
            "start a new one from its embeddings with `embeddings_from`."
        )
    return config


def is_tagger(config: RnnMultilabelConfig) -> bool:
    """Whether a checkpoint has a tagger's head."""
    return (config.architectures or [TAGGER])[0] == TAGGER


def load_tagger(recipe: Recipe, labels: dict[str, Any]) -> tuple[RnnMultilabelForSequenceClassification, bool]:
    """Load a checkpoint for these labels, and say whether its head is new.

    A tagger keeps its settings, and its head and thresholds where it has the same labels; thresholds are tuned again
    later, but an objective may ask for them before. Its wide head is left out, and fitted again when the rest is
    trained; thresholds of the mixture are then dropped too. An encoder without a tagger's head gets a new one.
    """
    name = str(recipe.model_name_or_path)
    remote = {"trust_remote_code": recipe.trust_remote_code}
    config = load_config(name, **remote)
    architecture = (config.architectures or [TAGGER])[0]
    has_head = is_tagger(config)
    had_wide_head = config.num_bigram_buckets is not None
    has_same_labels = has_head and config.label_names == list(labels["label2id"])
    given = {key: value for key in HEAD if (value := getattr(recipe, key)) is not None}
    settings = labels if has_head else labels | given
    if had_wide_head or not has_same_labels:
        config.thresholds = None
    for key, value in settings.items():
        setattr(config, key, value)
    config.num_bigram_buckets = None
    config.validate()
    try:
        if has_same_labels:
            return AutoModelForSequenceClassification.from_pretrained(name, config=config, **remote), False
        trained = LOADERS.get(architecture, AutoModel).from_pretrained(name, **remote)
    except SafetensorError as error:
        raise ValueError(f"The weights in {name!r} are broken ({error}); download or save them again.") from error
    model = AutoModelForSequenceClassification.from_config(config, **remote)
    model.rnn.load_state_dict(trained.base_model.state_dict())
    if has_head:
        model.pooling.load_state_dict(trained.pooling.state_dict())
    return model, True
