"""The configuration of a recurrent multi-label tagger: a declaration, validated once."""

import math
from collections import Counter
from dataclasses import field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .tagging import shorten


PoolingName = Literal["last", "mean", "max", "attention", "label_attention"]
ObjectiveName = Literal["bce", "focal", "asymmetric", "zlpr", "distribution_balanced", "expected_f1"]
DEFAULT_THRESHOLD = 0.5
# The fields that may hold numbers by label name.
LABEL_FIELDS = ("thresholds", "positive_weights", "label_frequencies")
RANGES = {
    "thresholds": (0, 1),
    "label_frequencies": (0, 1),
    "positive_weights": (1e-6, 1e6),
    "positive_weight_cap": (1e-6, 1e6),
}

# The keyword arguments of each loss that `objective_parameters` may give, and their ranges.
OBJECTIVE_PARAMETERS: dict[str, dict[str, tuple[float, float]]] = {
    "bce": {},
    "focal": {"gamma": (0, 100)},
    "asymmetric": {"gamma_positive": (0, 100), "gamma_negative": (0, 100), "margin": (0, 1)},
    "zlpr": {},
    "distribution_balanced": {
        "alpha": (0, 1e6),
        "beta": (0, 1e6),
        "mu": (0, 1e6),
        "scale": (1e-6, 1e6),
        "kappa": (0, 1e6),
        "gamma": (0, 100),
    },
    "expected_f1": {"cross_entropy": (0, 1), "samples": (0, 10_000)},
}


@strict
class RnnMultilabelConfig(PreTrainedConfig):
    """Configuration of `RnnMultilabelModel`, with or without a head.

    Args:
        vocab_size: Number of tokens, the rows of the input embeddings.
        embedding_size: Features of the embedding of a token.
        hidden_size: Features of a hidden state, per direction.
        num_hidden_layers: Number of recurrent layers.
        cell_type: "rnn" (Elman 1990, tanh), "gru" (Cho et al. 2014) or "lstm" (Hochreiter & Schmidhuber 1997).
        bidirectional: Whether each layer has a backward direction too (Schuster & Paliwal 1997).
        pooling: How the hidden states of a text become the features of the classifier: "last", "mean", "max",
            "attention" (Yang et al. 2016), "label_attention" (Mullenbach et al. 2018), or a list of several,
            concatenated.
        label_correlation_size: Features of a residual block on the logits, through which the scores of all labels
            change each other (CorNet, Xun et al. 2020). 0: no such block.
        num_bigram_buckets: Number of hashed bigrams of the wide head (see `wide.WideHead`), a linear model over the
            n-grams whose logits are mixed with the others. 0: a wide head over tokens alone. None: no wide head.
        embedding_dropout: Probability that a feature of the embeddings is dropped at all positions of a text
            (Gal & Ghahramani 2016).
        word_dropout: Probability that the embedding of a position is dropped whole (Iyyer et al. 2015).
        hidden_dropout: The same as `embedding_dropout`, between the recurrent layers.
        recurrent_dropout: Probability that a recurrent weight is dropped (DropConnect, Merity et al. 2018).
        classifier_dropout: Probability that a feature is dropped before the pooling and the classifier.
        objective: The loss over the observed labels: "bce", binary cross-entropy, "focal" (Lin et al. 2017),
            "asymmetric" (Ridnik et al. 2021), "zlpr" (Su et al. 2022), "distribution_balanced" (Wu et al. 2020, which
            needs `label_frequencies`) or "expected_f1". All but "bce" are part of the package `hf-rnn-multilabel`.
        objective_parameters: Numbers for the loss, by the names of its keyword arguments, for example {"gamma": 2}.
        label_smoothing: s, for which a label y counts as y (1 - s) + s / 2. Not for "distribution_balanced", whose
            weights are of whole labels, nor for "expected_f1", whose truth is a set.
        positive_weights: Factor of a present label in the loss: a number for all labels, numbers by label name (1 by
            default), "balanced" for (1 - frequency) / frequency from `label_frequencies`, at most
            `positive_weight_cap`, or None for 1. For "bce", "focal" and "asymmetric" only.
        positive_weight_cap: The largest balanced weight.
        label_frequencies: Fraction of the training texts with the label, by label name. The bias of the classifier
            starts at its log-odds.
        thresholds: The score from which a label is predicted: a number for all labels, or numbers by label name (0.5
            by default).
        initializer_range: Standard deviation of the initial embeddings and of the weights of the heads.
        tie_word_embeddings: Whether the masked language model predicts with the weights of its input embeddings.
        pad_token_id: The id of the padding token, whose embedding is zero. Which positions are padded is said by the
            attention mask alone.
        bos_token_id: The id of the token that starts a text, if there is one.
        eos_token_id: The id of the token that ends a text, if there is one.
        problem_type: Always "multi_label_classification".

    Thresholds, positive weights and frequencies belong to the labels of one head. They follow a label that gets
    another name by `config.id2label = {...}` or `from_pretrained(..., id2label={...})`. With another number of labels
    the head is a new one, and they are gone.

    Raises:
        huggingface_hub.errors.StrictDataclassError: If a value is of the wrong type or out of its range, or if a name
            is not the name of a label.
        ValueError: If `id2label`, `label2id` or `num_labels` are no labels: different names, counted from 0.
    """

    model_type = "rnn_multilabel"

    vocab_size: int = 30_000
    embedding_size: int = 192
    hidden_size: int = 256
    num_hidden_layers: int = 1
    cell_type: Literal["rnn", "gru", "lstm"] = "lstm"
    bidirectional: bool = True
    pooling: str | list[str] = field(default_factory=lambda: ["attention", "max", "label_attention"])
    label_correlation_size: int = 0
    num_bigram_buckets: int | None = None
    embedding_dropout: float | int = 0.4
    word_dropout: float | int = 0.0
    hidden_dropout: float | int = 0.4
    recurrent_dropout: float | int = 0.0
    classifier_dropout: float | int = 0.4
    objective: ObjectiveName = "bce"
    objective_parameters: dict[str, float | int] | None = None
    label_smoothing: float | int = 0.0
    positive_weights: dict[str, float | int] | float | int | Literal["balanced"] | None = None
    positive_weight_cap: float | int = 10.0
    label_frequencies: dict[str, float | int] | None = None
    thresholds: dict[str, float | int] | float | int | None = None
    initializer_range: float | int = 0.1
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    problem_type: Literal["multi_label_classification"] | None = "multi_label_classification"

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("custom_pipelines", None)
        _refuse_misspelled(kwargs)
        if self.id2label is None and self.label2id is not None:
            self.id2label = _inverse(self.label2id)
            kwargs.pop("num_labels", None)
        self._refuse_two_orders()
        super().__post_init__(**kwargs)
        super().__setattr__("label2id", {label: index for index, label in self.id2label.items()})
        self.problem_type = "multi_label_classification"
        # `pipeline` asks for trust where the configuration names a class. The package has registered the class.
        if __name__.startswith("transformers_modules"):
            self.custom_pipelines = _custom_pipelines()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "num_labels" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"`num_labels` is {value!r:.200}; it must be a whole number, at least 1.")
        is_made = "_name_or_path" in self.__dict__
        if name == "label2id" and is_made:
            name, value = "id2label", _inverse(value)
        if name == "id2label" and (is_made or value is not None):
            _check_id2label(value)
            value = {int(index): label for index, label in value.items()}
            self._follow_labels(value)
        super().__setattr__(name, value)
        if name == "id2label" and is_made:
            super().__setattr__("label2id", {label: index for index, label in value.items()})

    def _refuse_two_orders(self) -> None:
        """Refuses numbers by name where the two maps of the labels differ: which name was meant is not known."""
        if self.id2label is None or self.label2id is None or not any(self._is_by_name(name) for name in LABEL_FIELDS):
            return
        inverse = _inverse(self.label2id)
        differing = [label for index, label in self.id2label.items() if inverse.get(int(index)) != label]
        if differing:
            raise ValueError(
                f"`id2label` and `label2id` differ in [{shorten(differing)}], so that it is unknown what the numbers "
                "by label name are of. To rename labels, set the whole `config.id2label`; in a file, rename them in "
                "both maps and in the numbers."
            )

    def _is_by_name(self, field_name: str) -> bool:
        return isinstance(self.__dict__.get(field_name), dict)

    def _follow_labels(self, new: dict[int, str]) -> None:
        """Renames the labels in what is stored by name; forgets it where the number of labels is another one."""
        old = self.__dict__.get("id2label") or new
        if old.keys() != new.keys():
            self.thresholds = None
        for field_name in LABEL_FIELDS:
            values = self.__dict__.get(field_name)
            if isinstance(values, dict) and old.keys() != new.keys():
                setattr(self, field_name, {})
            elif isinstance(values, dict) and old != new:
                names = {label: new[index] for index, label in old.items()}
                setattr(self, field_name, {names.get(label, label): value for label, value in values.items()})

    @property
    def poolings(self) -> list[str]:
        """The names of `pooling` as a list."""
        return [self.pooling] if isinstance(self.pooling, str) else self.pooling

    @property
    def output_size(self) -> int:
        """Features of the output of a layer: `hidden_size` for each direction."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def label_names(self) -> list[str]:
        """Label names in the order of the logits."""
        id2label = self.id2label  # once, since each attribute of a configuration takes a microsecond
        return [id2label[index] for index in range(len(id2label))]

    @property
    def label_thresholds(self) -> list[float]:
        """Thresholds in the order of the logits, 0.5 by default."""
        return self._by_label("thresholds", DEFAULT_THRESHOLD)

    @property
    def label_priors(self) -> list[float]:
        """Fractions of the training texts in the order of the logits, 0.5 for a label of unknown frequency."""
        return self._by_label("label_frequencies", 0.5)

    @property
    def label_positive_weights(self) -> list[float]:
        """Factors of a present label in the loss, in the order of the logits."""
        if self.positive_weights != "balanced":
            return self._by_label("positive_weights", 1.0)
        return [min(1 / _odds(prior), float(self.positive_weight_cap)) for prior in self.label_priors]

    @property
    def label_bias(self) -> list[float]:
        """The constant logits of the least cross-entropy, in the order of the logits; 0 for an unknown frequency."""
        known = self.label_frequencies or {}
        numbers = zip(self.label_names, self.label_positive_weights, self.label_priors, strict=True)
        return [math.log(weight * _odds(prior)) if name in known else 0.0 for name, weight, prior in numbers]

    def _by_label(self, field_name: str, default: float) -> list[float]:
        """The numbers of a field in the order of the logits; names may have been changed since it was validated."""
        self._refuse_unknown_names(field_name)
        self._check_range(field_name)
        values = getattr(self, field_name)
        if isinstance(values, dict):
            self._refuse_two_orders()
        if isinstance(values, dict):
            return [float(values.get(name, default)) for name in self.label_names]
        return [default if values is None else float(values) for _ in self.label_names]

    def _refuse_unknown_names(self, field_name: str) -> None:
        values = getattr(self, field_name)
        unknown = sorted(set(values) - set(self.id2label.values())) if isinstance(values, dict) else []
        if unknown:
            raise ValueError(
                f"`{field_name}` names [{shorten(unknown)}], which are not among the labels "
                f"[{shorten(self.label_names)}]. Use the names in `id2label`, or leave `{field_name}` out. To rename "
                "labels, set the whole `config.id2label`."
            )

    def to_dict(self) -> dict[str, Any]:
        """As the base class, with the full map of the code that travels with every checkpoint."""
        label2id = {label: index for index, label in self.id2label.items()}
        travelling = {"auto_map": _auto_map(), "custom_pipelines": _custom_pipelines()}
        return super().to_dict() | {"label2id": label2id} | travelling

    def validate_sizes(self) -> None:
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be at least 1.")
        for name in ("label_correlation_size", "num_bigram_buckets"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be at least 0.")
        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"`pad_token_id` is {self.pad_token_id}; it must be from 0 to `vocab_size` - 1, {self.vocab_size - 1}."
            )
        if not 0 <= self.initializer_range < math.inf:
            raise ValueError(f"`initializer_range` is {self.initializer_range}; it must be a number, at least 0.")

        if self.pad_token_id is not None and not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"`pad_token_id` is {self.pad_token_id}; it must be None or the id of a token, below `vocab_size` "
                f"{self.vocab_size}."
            )

    def validate_pooling(self) -> None:
        known = list(get_args(PoolingName))
        names = self.poolings
        if not names or len(set(names)) != len(names) or not set(names) <= set(known):
            raise ValueError(f"`pooling` is {self.pooling!r}; it must be one of {known} or a list of different ones.")

    def validate_dropout(self) -> None:
        for name in (
            "embedding_dropout",
            "word_dropout",
            "hidden_dropout",
            "recurrent_dropout",
            "classifier_dropout",
        ):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be in [0, 1).")

    def validate_objective(self) -> None:
        ranges = OBJECTIVE_PARAMETERS[self.objective]
        parameters = self.objective_parameters or {}
        for name, value in parameters.items():
            if name not in ranges:
                raise ValueError(
                    f"`objective_parameters` holds {name!r}; {self.objective!r} takes {list(ranges) or 'none'}."
                )
            low, high = ranges[name]
            if not low <= value <= high:
                raise ValueError(f"`objective_parameters` holds {name!r} {value}; it must be in [{low}, {high}].")
        if isinstance(parameters.get("samples"), float):
            raise ValueError(
                f"`objective_parameters` holds 'samples' {parameters['samples']}; it must be a whole number."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` is {self.label_smoothing}; it must be in [0, 1).")
        if self.label_smoothing and self.objective in ("distribution_balanced", "expected_f1"):
            raise ValueError(
                f"`label_smoothing` is {self.label_smoothing}; {self.objective!r} takes none: leave it 0, or take "
                "another objective."
            )
        if self.positive_weights is not None and self.objective not in ("bce", "focal", "asymmetric"):
            raise ValueError(
                f"`positive_weights` is {self.positive_weights!r}; {self.objective!r} has no such weights: leave it "
                "None, or take 'bce', 'focal' or 'asymmetric'."
            )
        if self.objective == "distribution_balanced" and self.label_frequencies is None:
            raise ValueError("`objective` is 'distribution_balanced'; `label_frequencies` must then be given too.")

    def validate_labels(self) -> None:
        for name in RANGES:
            self._check_range(name)
        if self.positive_weights == "balanced" and self.label_frequencies is None:
            raise ValueError("`positive_weights` is 'balanced'; `label_frequencies` must then be given too.")
        _check_id2label(self.id2label)
        for name in LABEL_FIELDS:
            self._refuse_unknown_names(name)
        self._refuse_two_orders()

    def _check_range(self, field_name: str) -> None:
        low, high = RANGES[field_name]
        value = getattr(self, field_name)
        numbers = value.values() if isinstance(value, dict) else [value] if isinstance(value, float | int) else []
        wrong = [number for number in numbers if not low <= number <= high]
        if wrong:
            raise ValueError(f"`{field_name}` holds {wrong[0]}; it must be in [{low}, {high}].")


def _inverse(label2id: Any) -> dict[int, str]:
    """The labels by index."""
    try:
        inverse = {int(index): label for label, index in label2id.items() if isinstance(index, int | str)}
    except (AttributeError, ValueError):
        inverse = {}
    if not isinstance(label2id, dict) or len(inverse) < len(label2id):
        raise ValueError(f"`label2id` is {label2id!r:.200}; it must be a dict from names to different indices.")
    return inverse


def _refuse_misspelled(names: dict[str, Any]) -> None:
    """Refuses names that are nearly those of this configuration; others are the base class's or a user's own."""
    own = [name for name in RnnMultilabelConfig.__annotations__ if name not in names]
    for name in names:
        near = get_close_matches(name, own, n=1, cutoff=0.88)
        if near:
            raise ValueError(f"The configuration has no `{name}`; `{near[0]}` is near: write it so, or leave it out.")


def _check_id2label(id2label: Any) -> None:
    if not isinstance(id2label, dict) or not id2label or not all(isinstance(name, str) for name in id2label.values()):
        raise ValueError(
            f"`id2label` is {id2label!r:.200}; it must be a dict from indices to names, for example "
            '{0: "art", 1: "law"}.'
        )
    if sorted(map(str, id2label)) != sorted(map(str, range(len(id2label)))):
        raise ValueError(f"`id2label` has the indices [{shorten(id2label)}]; they must count from 0.")
    twice = [name for name, count in Counter(id2label.values()).items() if count > 1]
    if twice:
        raise ValueError(f"`id2label` names [{shorten(twice)}] twice; names must differ.")


def _odds(frequency: float) -> float:
    frequency = min(max(frequency, 1e-4), 1 - 1e-4)
    return frequency / (1 - frequency)


def _auto_map() -> dict[str, str]:
    return {
        "AutoConfig": "configuration_rnn_multilabel.RnnMultilabelConfig",
        "AutoModel": "modeling_rnn_multilabel.RnnMultilabelModel",
        "AutoModelForMaskedLM": "modeling_rnn_multilabel.RnnMultilabelForMaskedLM",
        "AutoModelForSequenceClassification": "modeling_rnn_multilabel.RnnMultilabelForSequenceClassification",
    }


def _custom_pipelines() -> dict[str, dict[str, Any]]:
    return {
        "multi-label-tagging": {
            "impl": "pipeline_rnn_multilabel.RnnMultilabelTaggingPipeline",
            "pt": ["AutoModelForSequenceClassification"],
            "type": "text",
        }
    }


RnnMultilabelConfig.register_for_auto_class()
