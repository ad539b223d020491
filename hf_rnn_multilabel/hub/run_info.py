"""The run information: what a training leaves about itself in metrics.json.

Training writes it. The model card, the push, the printed results and the benchmarks read it, and nothing else.
"""

import dataclasses
import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from .atomic import write_text


if TYPE_CHECKING:
    from typing_extensions import Self


SCHEMA_VERSION = 1
METRICS_NAME = "metrics.json"
# The values of `MetricRow.model`.
THIS_MODEL, BEFORE_RETRAINING = "this model", "before retraining"
LINEAR_BASELINE, TEACHER = "TF-IDF + LR", "teacher"
# The `MetricRow.thresholds` of a method; every other method is its own name there.
THRESHOLD_ROWS = {"global_micro": "global threshold", "shrinkage": "per-label thresholds"}

Number: TypeAlias = float | int


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Where the rows come from.

    Attributes:
        name: What to call the data set.
        id: Its id on the Hub, if it is there.
        config: Its configuration on the Hub.
        license: Its licence, for example "cc-by-4.0".
        citation: BibTeX.
        revisions: By split the commit on the Hub, or the beginning of the file's SHA-256.
    """

    name: str
    id: str | None = None
    config: str | None = None
    license: str | None = None
    citation: str | None = None
    revisions: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """The size of a split, after all splitting.

    Attributes:
        rows: Texts.
        truncated: Texts that are longer than `RunInfo.max_length`.
    """

    rows: int
    truncated: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """The metrics of one model with one choice of thresholds on one split.

    Attributes:
        model: `THIS_MODEL`, or what it is compared with.
        thresholds: "0.5", "global threshold", "per-label thresholds" or the name of another method.
        metrics: By name, for example "f1_micro"; NaN or None where a metric is undefined.
    """

    model: str
    thresholds: str
    metrics: Mapping[str, Number | None]

    @classmethod
    def from_flat(cls, row: dict[str, Any]) -> "MetricRow":
        """Make a row of a dict that holds "model", "thresholds" and the metrics side by side."""
        return cls(
            model=row["model"],
            thresholds=row["thresholds"],
            metrics={name: value for name, value in row.items() if name not in ("model", "thresholds")},
        )


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """One label's result on the final split, with the threshold that the model carries.

    Attributes:
        label: Its name.
        train_support: Texts of the train split that carry it, after all splitting; None if that is not known.
        threshold: A score equal to it is a tag.
        support: Texts of the final split that carry it.
        predicted: Texts of the final split that the model gives it to.
        precision: Of the final split.
        recall: Of the final split.
        f1: Of the final split.
    """

    label: str
    train_support: int | None
    threshold: Number
    support: int
    predicted: int
    precision: Number | None
    recall: Number | None
    f1: Number | None


@dataclass(frozen=True, kw_only=True)
class TrainingInfo:
    """How the model was trained.

    Attributes:
        batch_size: Texts per optimizer step, over all processes and accumulated batches.
        learning_rate: The highest one.
        schedule: Of the learning rate, for example "linear".
        warmup: Steps, or the fraction of all steps if below 1.
        weight_decay: The optimizer's.
        optimizer: For example "adamw_torch_fused".
        precision: "float32", "bfloat16" or "float16".
        epochs: Planned.
        best_epoch: The epoch whose weights were selected, if one was.
        selected_by: The metric of the validation split that selected it.
        steps: Optimizer steps that were run.
        seed: Of the initial weights and the order of the rows.
        seconds: Of training and of fitting the wide head.
        tokenizer: A description, for example "3,377 tokens, trained on the training texts".
        embeddings_from: The model or the file that the embeddings start from, without its folder.
        embedding_lr_factor: The factor of the learning rate that the embeddings are trained with.
        started_from: The checkpoint that the weights start from, without its folder.
        label_name_queries: Labels whose attention query starts from their name.
        mixing_weight: The weight of the wide head in the logits, between 0 and 1.
        weight_averaging: The decay of the moving average of the weights.
        mlm_probability: The probability that a token is masked, in pretraining.
    """

    batch_size: int
    learning_rate: Number
    schedule: str
    warmup: Number
    weight_decay: Number
    optimizer: str
    precision: str = "float32"
    epochs: Number
    best_epoch: Number | None = None
    selected_by: str | None = None
    steps: int
    seed: int
    seconds: Number
    tokenizer: str | None = None
    embeddings_from: str | None = None
    embedding_lr_factor: Number = 1.0
    started_from: str | None = None
    label_name_queries: int | None = None
    mixing_weight: Number | None = None
    weight_averaging: Number | None = None
    mlm_probability: Number | None = None


@dataclass(frozen=True, kw_only=True)
class SearchInfo:
    """A search for settings on the validation split.

    Attributes:
        trials: How many were made.
        metric: What the best was chosen by.
        value: The best trial's.
        settings: The best trial's, by name.
    """

    trials: int
    metric: str
    value: Number | None
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RetrainingInfo:
    """The training from scratch on train and validation together, after all choices were made.

    Attributes:
        rows: Texts of both splits.
        epochs: Epochs that were run.
        steps: Optimizer steps that were run.
        seconds: Of the training.
    """

    rows: int
    epochs: Number
    steps: int
    seconds: Number


@dataclass(frozen=True, kw_only=True)
class DistillationInfo:
    """What the model learned from teachers.

    Attributes:
        teachers: Their names, without folders; the mean of their logits is the target.
        fine_tuned: Whether the run itself fine-tuned the teacher on the same texts.
        weight: The weight of the teacher's term in the loss.
        temperature: The logits are divided by it.
        unlabelled_rows: Training texts that have the teacher's scores and no labels.
    """

    teachers: list[str]
    fine_tuned: bool
    weight: Number
    temperature: Number
    unlabelled_rows: int = 0


@dataclass(frozen=True, kw_only=True)
class CalibrationInfo:
    """How well the scores of the final split are calibrated.

    Attributes:
        expected_calibration_error: Over all labels of all texts together.
        bins: Of the scores.
    """

    expected_calibration_error: Number | None
    bins: int


@dataclass(frozen=True, kw_only=True)
class SpeedInfo:
    """How fast the saved model tagged.

    Attributes:
        texts_per_second: Of the final split.
        batch_size: Texts at a time.
        threads: Of torch.
        processor: Its cores and name.
    """

    texts_per_second: Number
    batch_size: int
    threads: int
    processor: str


class Record:
    """A frozen dataclass that is kept in a metrics.json, checked when it is read."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them: NumPy's numbers as Python's, NaN and infinity as None."""
        return {"schema_version": SCHEMA_VERSION} | to_json(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Self":
        """Make a record of what `to_dict` returned.

        Args:
            values: The fields, and "schema_version".

        Raises:
            ValueError: For another version of the schema, and for fields that are missing, unknown or of a wrong
                type; it names the field and its value.
        """
        if not isinstance(values, dict):
            raise ValueError(f"The run information is a {type(values).__name__}; it must be a dict of fields.")
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            raise ValueError(
                f"`schema_version` of the run information is {version!r} and this package reads {SCHEMA_VERSION}; "
                "use the version of the package that wrote it, or train again."
            )
        return _from_json({key: value for key, value in values.items() if key != "schema_version"}, cls, "")

    def save(self, folder: str | Path) -> Path:
        """Write metrics.json, whole or not at all.

        Args:
            folder: An existing folder.

        Returns:
            The path of the file, which is strict JSON in UTF-8.
        """
        path = Path(folder) / METRICS_NAME
        write_text(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Self":
        """Read what `save` wrote.

        Args:
            path: The file, or the folder that holds metrics.json.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no JSON, or not that of a run; it names the file.
        """
        path = Path(path)
        path = path / METRICS_NAME if path.is_dir() else path
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{str(path)!r} is not the information of a run: {error}") from error


@dataclass(frozen=True, kw_only=True)
class RunInfo(Record):
    """What a training of a tagger leaves about itself; all but the name is optional.

    Attributes:
        name: The model's, for example the name of its folder, or "user/name".
        license: The model's licence, for example "apache-2.0".
        language: Codes of the texts' languages.
        fingerprint: What the run is a run of, by subject, for example "rows", "labels", "recipe": digests or values.
        dataset: Where the rows come from.
        tuned_on: Where the rows come from on which the thresholds were tuned again after the training; they are the
            validation split of this information.
        splits: Sizes, by split.
        max_length: Tokens at which a text is truncated.
        label_description: How many labels there are and how they were read.
        threshold_method: How the thresholds that the model carries were chosen.
        results: By split ("validation", "test"), one row per model and choice of thresholds.
        labels: One result per label, of `final_split`.
        calibration: Of `final_split`.
        plots: By path below the folder the caption of a plot, of `final_split`.
        num_parameters: The model's.
        weight_bytes: The size of the weight files.
        training: How it was trained.
        search: The search for settings, if there was one.
        retraining: The training on train and validation, if there was one.
        distillation: The teachers, if there were any.
        speed: How fast the saved model tagged.
        versions: By package.
        other_seconds: Of fitting a model that has no `training`: a baseline, an ensemble.
    """

    name: str
    license: str | None = None
    language: list[str] | None = None
    fingerprint: dict[str, Any] | None = None
    dataset: DatasetInfo | None = None
    tuned_on: DatasetInfo | None = None
    splits: dict[str, SplitInfo] = field(default_factory=dict)
    max_length: int | None = None
    label_description: str | None = None
    threshold_method: str | None = None
    results: dict[str, list[MetricRow]] = field(default_factory=dict)
    labels: list[LabelResult] = field(default_factory=list)
    calibration: CalibrationInfo | None = None
    plots: dict[str, str] = field(default_factory=dict)
    num_parameters: int | None = None
    weight_bytes: int | None = None
    training: TrainingInfo | None = None
    search: SearchInfo | None = None
    retraining: RetrainingInfo | None = None
    distillation: DistillationInfo | None = None
    speed: SpeedInfo | None = None
    versions: dict[str, str] = field(default_factory=dict)
    other_seconds: Number = 0

    @property
    def final_split(self) -> str | None:
        """The split that the labels' results, plots and calibration are of: test, else validation."""
        return next((split for split in ("test", "validation") if split in self.results), None)

    @property
    def train_seconds(self) -> float:
        """All that the run took to train, re-training included."""
        parts = [part.seconds for part in (self.training, self.retraining) if part is not None]
        return sum(parts) + self.other_seconds

    def final_row(self, split: str) -> MetricRow | None:
        """Return this model's metrics on a split with the thresholds that it carries, None if there are none."""
        method = self.threshold_method or ""
        wanted = THIS_MODEL, THRESHOLD_ROWS.get(method, method)
        return next((row for row in self.results.get(split, []) if (row.model, row.thresholds) == wanted), None)


@dataclass(frozen=True, kw_only=True)
class PretrainingInfo(Record):
    """What a pretraining of an encoder leaves about itself.

    Attributes:
        name: The encoder's.
        loss: Mean cross-entropy per masked token of the held-out rows.
        splits: Rows, by split.
        tokens: Tokens, by split.
        num_parameters: The model's.
        training: How it was trained.
        processor: Its cores and name.
        versions: By package.
        fingerprint: What the run is a run of.
    """

    name: str
    loss: Number | None
    splits: dict[str, SplitInfo]
    tokens: dict[str, int]
    num_parameters: int
    training: TrainingInfo
    processor: str
    versions: dict[str, str] = field(default_factory=dict)
    fingerprint: dict[str, Any] | None = None


def to_json(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses as dicts, NumPy's numbers as Python's, NaN and infinity as None."""
    if dataclasses.is_dataclass(value):
        return {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if hasattr(value, "item"):  # NumPy's and torch's numbers
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: Any, expected: Any, path: str) -> Any:
    """What JSON holds at a path, as the expected type."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is Any:
        return value
    if origin in (Union, types.UnionType):
        # Each union here is of one type, or of numbers, and perhaps None.
        if value is None and type(None) in arguments:
            return None
        if type(value) in arguments:
            return value
        return _from_json(value, arguments[0], path)
    if origin is list and isinstance(value, list):
        return [_from_json(item, arguments[0], f"{path}[{index}]") for index, item in enumerate(value)]
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _from_json(item, arguments[1], f"{path}[{key!r}]") for key, item in value.items()}
    if dataclasses.is_dataclass(expected) and isinstance(value, dict):
        return _from_fields(value, expected, path)
    if type(value) is expected:
        return value
    name = getattr(origin or expected, "__name__", str(expected))
    raise ValueError(f"`{path}` is {value!r}; it must be of the type {name}.")


def _from_fields(values: dict[str, Any], expected: Any, path: str) -> Any:
    hints = _hints(expected)
    unknown = sorted(values.keys() - hints.keys())
    if unknown:
        raise ValueError(f"Fields {unknown} of `{path or expected.__name__}` are unknown; known: {sorted(hints)}.")
    needed = [item.name for item in fields(expected) if item.default is item.default_factory is MISSING]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ValueError(f"Fields {missing} of `{path or expected.__name__}` are missing.")
    prefix = f"{path}." if path else ""
    return expected(**{name: _from_json(value, hints[name], prefix + name) for name, value in values.items()})


@cache
def _hints(expected: Any) -> dict[str, Any]:
    return get_type_hints(expected)
