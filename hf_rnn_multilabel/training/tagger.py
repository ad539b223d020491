"""Train a tagger: from rows to one folder that holds everything."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import pipeline, set_seed
from transformers.utils import logging

from ..data import DataArguments, TaggingData, load_data
from ..evaluation import apply_thresholds, per_label_metrics
from ..evaluation.calibration import NUM_BINS, expected_calibration_error
from ..evaluation.plots import plot_all
from ..hub.model_card import build_card, save_card
from ..hub.provenance import processor
from ..hub.push import push_to_hub
from ..hub.run_info import CalibrationInfo, LabelResult, RunInfo, SpeedInfo, SplitInfo
from ..model.pipeline_rnn_multilabel import RnnMultilabelTaggingPipeline
from . import steps
from .folder import RunFolder, run_folder
from .identity import identity, versions, without_folders
from .recipe import Recipe, check, is_main_process, refuse_unknown, setting
from .search import TRIALS
from .teacher import DistillationArguments, add_teacher


logger = logging.get_logger(__name__)

# Texts whose tagging is timed for the card.
NUM_TIMED = 1000
NUM_EXAMPLES = 3


@dataclass(frozen=True)
class CardArguments:
    """What only the author of a model can say of it, for its card."""

    license: str | None = setting("Licence of the model, for its card, for example apache-2.0.")
    language: list[str] | None = setting("Languages of the texts, for the card, for example en de.")
    dataset_title: str | None = setting("Name of the data set, for the card.")
    dataset_license: str | None = setting("Licence of the data set, for the card.")


@dataclass(frozen=True)
class Run:
    """What a training found.

    Attributes:
        folder: model, code, tokenizer, thresholds, metrics.json and card.
        tagger: the pipeline of that folder.
        info: what metrics.json and the card say.
        recipe: the settings, resolved.
        examples: the first texts of the test split, or of validation, each with its tags.
    """

    folder: Path
    tagger: RnnMultilabelTaggingPipeline
    info: RunInfo
    recipe: Recipe
    examples: list[tuple[str, list[dict[str, Any]]]]

    def __repr__(self) -> str:
        name = self.info.final_split
        figures = ", ".join(
            f"{key} {self.metrics[key]:.3f}" for key in ("f1_micro", "f1_macro") if self.metrics.get(key)
        )
        return f"Run({str(self.folder)!r}, {len(self.thresholds)} labels, {name}: {figures})"

    @property
    def thresholds(self) -> dict[str, float]:
        """Each label's threshold."""
        return self.tagger.thresholds

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics at the model's thresholds, of the test split or, without one, of validation."""
        row = self.info.final_row(str(self.info.final_split))
        return dict(row.metrics) if row is not None else {}

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Push the folder to the Hub; see `hf_rnn_multilabel.push_to_hub`."""
        return push_to_hub(self.folder, repo_id, **options)


def train_tagger(
    data: Any = None,
    output_dir: str | Path = "tagger",
    *,
    distillation: DistillationArguments | None = None,
    **settings: Any,
) -> Run:
    """Train a tagger on labelled texts, tune its thresholds, test it once and save it as one folder.

    ```python
    run = train_tagger("articles.csv", "my-tagger", label_column="tags", label_separator=";")
    run.metrics["f1_micro"], run.tagger("a text")
    ```

    A run that was stopped resumes when the same call is made again.

    Args:
        data: a file, files by split, a `Dataset`, a `DatasetDict`, a table of pandas or a list of dicts; None: what
            `train_file` or `dataset_name` among the settings name, else the bundled product descriptions.
        output_dir: the folder of the result, which must not exist or be empty.
        distillation: a teacher to learn from too.
        settings: fields of `DataArguments`, `Recipe` and `CardArguments`, and of `transformers.TrainingArguments`.

    Returns:
        the tagger, its metrics and its folder.

    Raises:
        ValueError: for settings or data that are wrong, in words.
        FileExistsError: if the folder holds anything.
        BlockingIOError: if another run trains into it.
    """
    data_args, recipe, card = split_settings(settings)
    check(recipe)
    with run_folder(output_dir, is_main_process()) as folder:
        loaded = load_data(data, data_args, seed=recipe.seed)
        run = train(loaded, folder, data_args, recipe, card, distillation)
    hub = recipe.training_arguments
    if hub.get("push_to_hub") and is_main_process():
        logger.info(f"Saved in {run.folder}; pushing it to the Hub.")
        run.push_to_hub(
            hub.get("hub_model_id") or run.folder.name,
            private=hub.get("hub_private_repo"),
            revision=hub.get("hub_revision"),
            token=hub.get("hub_token"),
        )
    return run


def split_settings(settings: Mapping[str, Any]) -> tuple[DataArguments, Recipe, CardArguments]:
    """Sort settings by what they are of.

    Raises:
        ValueError: for a name that nothing takes, with the nearest ones.
    """
    rest = dict(settings)
    kinds = (DataArguments, Recipe, CardArguments)
    parts = [{each.name: rest.pop(each.name) for each in fields(kind) if each.name in rest} for kind in kinds]
    refuse_unknown(rest, kinds)
    stock = dict(parts[1].pop("training_arguments", {})) | rest
    return DataArguments(**parts[0]), Recipe(**parts[1], training_arguments=stock), CardArguments(**parts[2])


def train(
    data: TaggingData,
    folder: RunFolder,
    data_args: DataArguments,
    recipe: Recipe,
    card: CardArguments,
    distillation: DistillationArguments | None = None,
) -> Run:
    """Go through all steps of a training, in a folder that is open; see `train_tagger`."""
    set_seed(recipe.seed)
    fingerprint = identity(
        data.texts,
        recipe,
        data.labels,
        data.encoding.label_names,
        max_length=data_args.max_length,
        distillation=None if distillation is None else asdict(distillation),
    )
    # With the names themselves, to say which labels came or went.
    folder.identify(fingerprint | {"label_names": data.encoding.label_names})
    data, teacher_result = add_teacher(data, distillation, recipe, folder, data_args)
    # A teacher that a stopped run has left draws no random numbers; one that is fine-tuned now does.
    set_seed(recipe.seed)
    inputs = steps.prepare(recipe, data, data_args.max_length, teacher_result.distillation)
    linear = steps.baseline_scores(recipe, inputs)
    recipe = steps.resolve_for(recipe, inputs)
    recipe, search = steps.search_settings(recipe, inputs, folder)

    fitted = steps.fit(recipe, inputs, folder)
    fitted = steps.choose_thresholds(recipe, inputs, fitted)
    fitted = steps.retrain_with_validation(recipe, inputs, fitted, folder)
    fitted = steps.score_test_split(inputs, fitted)
    results = steps.compare(recipe, inputs, fitted, linear, teacher_result.results)

    info = RunInfo(
        name=folder.output.name,
        license=card.license,
        language=card.language,
        fingerprint=without_folders(fingerprint),
        dataset=replace(data.source, **_given(name=card.dataset_title, license=card.dataset_license)),
        splits={
            split: SplitInfo(rows=len(rows), truncated=inputs.truncated[split]) for split, rows in inputs.rows.items()
        },
        max_length=inputs.max_length,
        label_description=str(inputs.encoding),
        threshold_method=recipe.threshold_method,
        results=results,
        num_parameters=fitted.model.num_parameters(),
        training=fitted.info,
        search=search,
        retraining=fitted.retraining,
        distillation=teacher_result.info,
        versions=versions(),
    )
    if fitted.trainer.is_world_process_zero():
        save(inputs, fitted, folder, info)
    fitted.trainer.accelerator.wait_for_everyone()
    # What the other processes of a training do not know of it.
    info = RunInfo.load(folder.output)
    tagger = pipeline("multi-label-tagging", model=str(folder.output))  # type: ignore[call-overload]
    texts = data.texts[str(info.final_split)][:NUM_EXAMPLES]
    return Run(folder.output, tagger, info, recipe, list(zip(texts, tagger(texts, truncation=True), strict=True)))


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def save(inputs: steps.Inputs, fitted: steps.Fitted, folder: RunFolder, info: RunInfo) -> None:
    """Put the result together, measure what only a saved model shows, and move it to its place."""
    result = folder.result
    # Not `trainer.save_model()`, which adds its arguments as a pickle.
    fitted.model.save_pretrained(result)
    inputs.tokenizer.save_pretrained(result)
    names, thresholds = inputs.encoding.label_names, fitted.model.config.label_thresholds
    split = str(info.final_split)
    scores, truth = fitted.scores[split], fitted.truth[split]
    info = replace(
        info,
        labels=[
            LabelResult(train_support=inputs.encoding.counts[row["label"]], threshold=threshold, **row)
            for row, threshold in zip(
                per_label_metrics(apply_thresholds(scores, thresholds), truth, names), thresholds, strict=True
            )
        ],
        calibration=CalibrationInfo(
            expected_calibration_error=expected_calibration_error(scores, truth), bins=NUM_BINS
        ),
        plots=plot_all(scores, truth, names, thresholds, str(result)),
        weight_bytes=sum(path.stat().st_size for path in result.glob("*.safetensors")),
        speed=measure_speed(result, inputs.data.texts[split][:NUM_TIMED], fitted.trainer.args),
    )
    if (folder.partial / TRIALS).exists():
        shutil.copy(folder.partial / TRIALS, result)
    save_card(build_card(fitted.model.config, info), result)
    info.save(result)
    folder.publish(result)


def measure_speed(folder: Path, texts: list[str], args: transformers.TrainingArguments) -> SpeedInfo:
    """Measure how fast a saved tagger tags."""
    tagger = pipeline("multi-label-tagging", model=str(folder))  # type: ignore[call-overload]
    started = time.perf_counter()
    tagger(texts, batch_size=args.per_device_eval_batch_size, truncation=True)
    return SpeedInfo(
        texts_per_second=len(texts) / (time.perf_counter() - started),
        batch_size=args.per_device_eval_batch_size,
        threads=torch.get_num_threads(),
        processor=processor(),
    )
