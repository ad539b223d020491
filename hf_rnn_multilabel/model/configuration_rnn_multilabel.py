"""The configuration of a recurrent multi-label tagger: a declaration, validated once."""

import math
from dataclasses import field
from typing import Any, Literal, get_args

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


PoolingName = Literal["last", "mean", "max", "attention", "label_attention"]
ObjectiveName = Literal["bce", "focal", "asymmetric", "zlpr", "distribution_balanced", "expected_f1"]
DEFAULT_THRESHOLD = 0.5

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


class PipelinesOfThePackage(dict):
    """Custom pipelines whose class this process has registered.

    Their names can be read, so that `pipeline` infers the task; none is contained, so that `pipeline` takes the class
    from its registry instead of asking for leave to execute the checkpoint's copy.
    """

    def __contains__(self, task: object) -> bool:
        return False


@strict
class RnnMultilabelConfig(PreTrainedConfig):
    """Configuration of `RnnMultilabelModel`, and of it with a head: the tagger or the masked language model.

    Args:
        vocab_size: number of tokens, the rows of the input embeddings.
        embedding_size: features of a token's embedding.
        hidden_size: features of a recurrent state, per direction.
        num_hidden_layers: recurrent layers, one upon the other.
        cell_type: "rnn" (Elman 1990, tanh), "gru" (Cho et al. 2014) or "lstm" (Hochreiter & Schmidhuber 1997).
        bidirectional: whether every layer also reads the text from its end (Schuster & Paliwal 1997).
        pooling: how the states of a text become the classifier's features: "last", "mean", "max", "attention"
            (Yang et al. 2016), "label_attention" (Mullenbach et al. 2018), or a list of several, concatenated.
        label_correlation_size: features of a residual block on the logits, by which the labels' scores speak for and
            against each other (CorNet, Xun et al. 2020); 0: none.
        bag_weight: largest share w of a bag of tokens in the logits, which are 1 - w times the net's and w times those
            of a logistic regression a label on the tokens; 0: none. A label that few texts carried takes less of it.
        bag_pairs: hashed pairs of neighbouring tokens that the bag counts beside the tokens (Joulin et al. 2017); 0:
            none.
        embedding_dropout: probability that a feature of the embeddings is dropped in all steps of a text
            (Gal & Ghahramani 2016).
        word_dropout: probability that a step's embedding is dropped whole (Iyyer et al. 2015).
        hidden_dropout: the same as `embedding_dropout` between the recurrent layers.
        recurrent_dropout: probability that a recurrent weight is dropped (DropConnect, Merity et al. 2018).
        classifier_dropout: probability that a feature is dropped before the classifier.
        objective: the loss over the known labels: "bce", binary cross-entropy, "focal" (Lin et al. 2017), "asymmetric"
            (Ridnik et al. 2021), "zlpr" (Su et al. 2022), "distribution_balanced" (Wu et al. 2020; it needs
            `label_frequencies`) or "expected_f1" (see `losses.expected_f1`).
        objective_parameters: numbers for the loss, by the names of its keyword arguments in `losses`, as {"gamma": 2}.
        label_smoothing: s, for which a label y counts as y (1 - s) + s / 2; not for "distribution_balanced", whose
            weights are of whole labels, nor for "expected_f1", whose truth is a set.
        positive_weights: factor of a present label in the loss: a number for all labels, numbers by label name
            (1 where none is given), "balanced" for (1 - frequency) / frequency from `label_frequencies`, at most
            `positive_weight_cap`, or None for 1. For "bce", "focal" and "asymmetric"; the others have no such factor.
        positive_weight_cap: the largest balanced weight.
        label_frequencies: share of the training texts that carry the label, by label name; the classifier's bias
            starts at its log-odds.
        distillation_weight: weight w of the teacher, where there are `teacher_logits`: the loss is
            (1 - w) * objective + w * distillation (Hinton et al. 2015).
        distillation_temperature: divisor T of both logits in the distillation, which is weighed by T^2.
        thresholds: the score from which a label is a tag: a number for all labels, or numbers by label name
            (0.5 where none is given).
        initializer_range: standard deviation of the initial embeddings and of the heads' weights.
        tie_word_embeddings: whether the masked language model predicts with the weights of its input embeddings.

    Raises:
        huggingface_hub.errors.StrictDataclassError: for a value of the wrong type or out of its range.
    """

    model_type = "rnn_multilabel"

    vocab_size: int = 30_000
    embedding_size: int = 192
    hidden_size: int = 256
    num_hidden_layers: int = 1
    cell_type: Literal["rnn", "gru", "lstm"] = "lstm"
    bidirectional: bool = True
    pooling: str | list[str] = field(default_factory=lambda: ["attention", "max"])
    label_correlation_size: int = 0
    bag_weight: float | int = 0.0
    bag_pairs: int = 0
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
    distillation_weight: float | int = 0.5
    distillation_temperature: float | int = 1.0
    thresholds: dict[str, float | int] | float | int | None = None
    initializer_range: float | int = 0.1
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    problem_type: Literal["multi_label_classification"] | None = "multi_label_classification"

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("custom_pipelines", None)
        if self.id2label is None and self.label2id is not None:
            self.id2label = {index: label for label, index in self.label2id.items()}
            kwargs.pop("num_labels", None)
        super().__post_init__(**kwargs)
        self.problem_type = "multi_label_classification"
        if self.id2label is not None:
            self.label2id = {label: index for index, label in self.id2label.items()}
        pipelines = _custom_pipelines()
        executes_from_checkpoint = __name__.startswith("transformers_modules")
        self.custom_pipelines = pipelines if executes_from_checkpoint else PipelinesOfThePackage(pipelines)

    @property
    def poolings(self) -> list[str]:
        """The names of `pooling` as a list."""
        return [self.pooling] if isinstance(self.pooling, str) else self.pooling

    @property
    def state_size(self) -> int:
        """Features of a layer's output: `hidden_size` for each direction."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def label_names(self) -> list[str]:
        """Label names in the order of the logits."""
        return [self.id2label[index] for index in range(self.num_labels)]

    @property
    def label_thresholds(self) -> list[float]:
        """Thresholds in the order of the logits, 0.5 for a label that has none."""
        return _by_label(self.thresholds, self.label_names, DEFAULT_THRESHOLD)

    @property
    def label_shares(self) -> list[float]:
        """Shares of the training texts in the order of the logits, 0.5 for a label whose frequency is unknown."""
        return _by_label(self.label_frequencies, self.label_names, 0.5)

    @property
    def label_positive_weights(self) -> list[float]:
        """Factors of a present label in the loss, in the order of the logits."""
        if self.positive_weights != "balanced":
            return _by_label(self.positive_weights, self.label_names, 1.0)
        return [min(1 / _odds(share), float(self.positive_weight_cap)) for share in self.label_shares]

    @property
    def label_bias(self) -> list[float]:
        """The constant logits of the least cross-entropy, in the order of the logits: 0 where no share is known."""
        known = self.label_frequencies or {}
        weights = zip(self.label_names, self.label_positive_weights, strict=True)
        return [math.log(weight * _odds(known[name])) if name in known else 0.0 for name, weight in weights]

    def to_dict(self) -> dict[str, Any]:
        """As the base class, with the full map of the code that travels with every checkpoint."""
        return super().to_dict() | {"auto_map": _auto_map(), "custom_pipelines": _custom_pipelines()}

    def validate_sizes(self) -> None:
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be at least 1.")
        for name in ("label_correlation_size", "bag_pairs"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is {getattr(self, name)}; it must be at least 0.")
        if not 0 <= self.bag_weight <= 1:
            raise ValueError(f"`bag_weight` is {self.bag_weight}; it must be in [0, 1].")

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

    def validate_distillation(self) -> None:
        if not 0 <= self.distillation_weight <= 1:
            raise ValueError(f"`distillation_weight` is {self.distillation_weight}; it must be in [0, 1].")
        if not 0 < self.distillation_temperature < math.inf:
            raise ValueError(
                f"`distillation_temperature` is {self.distillation_temperature}; it must be above 0 and finite."
            )

    def validate_labels(self) -> None:
        ranges = {
            "thresholds": (0, 1),
            "label_frequencies": (0, 1),
            "positive_weights": (1e-6, 1e6),
            "positive_weight_cap": (1e-6, 1e6),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            numbers = value.values() if isinstance(value, dict) else [value] if isinstance(value, float | int) else []
            wrong = [number for number in numbers if not low <= number <= high]
            if wrong:
                raise ValueError(f"`{name}` holds {wrong[0]}; it must be in [{low}, {high}].")
        if self.positive_weights == "balanced" and self.label_frequencies is None:
            raise ValueError("`positive_weights` is 'balanced'; `label_frequencies` must then be given too.")
        if sorted(self.id2label) != list(range(len(self.id2label))):
            raise ValueError(f"`id2label` has the indices {sorted(self.id2label)}; they must count from 0.")
        if len(set(self.id2label.values())) != len(self.id2label):
            raise ValueError(f"`id2label` names a label twice: {sorted(self.id2label.values())}; names must differ.")


def _by_label(values: dict[str, float | int] | float | int | None, names: list[str], default: float) -> list[float]:
    if isinstance(values, dict):
        return [float(values.get(name, default)) for name in names]
    return [default if values is None else float(values)] * len(names)


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
