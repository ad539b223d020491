"""A tagger on labelled rows: its metrics there, and thresholds tuned on them."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import pipeline
from transformers.utils import cached_file

from ..data import DataArguments, load_labelled
from ..data.label_forms import UNDERSTOOD
from ..data.sources import Source
from ..evaluation import ThresholdMethod, evaluate_all, evaluate_scores, tune_thresholds
from ..evaluation.calibration import NUM_BINS, expected_calibration_error
from ..hub.model_card import build_card, save_card
from ..hub.partial import partial_folder, remove_partial
from ..hub.run_info import (
    METRICS_NAME,
    THIS_MODEL,
    CalibrationInfo,
    DatasetInfo,
    LabelResult,
    MetricRow,
    RunInfo,
    SplitInfo,
)
from ..model.tagging import shorten
from .loading import load_checkpoint
from .logits import sigmoid


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and the truth about them.

    Attributes:
        texts: the texts.
        labels: (texts, labels) 0, 1, or -100 where not observed.
        label_names: in the order of the columns.
        description: what was understood of the labels, in a sentence.
        source: where the rows come from, for a card.
        warnings: what is likely wrong with them.
    """

    texts: list[str]
    labels: np.ndarray
    label_names: list[str]
    description: str
    source: DatasetInfo | None = None
    warnings: list[str] = field(default_factory=list)


def labelled_texts(
    source: Source | DataArguments, label_names: list[str], arguments: DataArguments | None = None, **options: Any
) -> LabelledTexts:
    """Read texts and labels as a training does, the labels in the order of a tagger's.

    Args:
        source: of `load_labelled`: a file's path, a `Dataset`, a list of rows and so on.
        label_names: the tagger's labels.
        arguments: how to read them.
        options: fields of `DataArguments`, in place of those of `arguments`.

    Raises:
        FileNotFoundError: as `load_labelled`.
        ValueError: as `load_labelled`: for labels that the tagger does not have, and where no row has a label.
    """
    data = load_labelled(source, label_names, arguments, **options)
    texts, labels, encoding = data.texts["train"], data.labels["train"], data.encoding
    positives = int((labels == 1).sum())
    description = f"Labels read from {UNDERSTOOD[encoding.form]}: {positives / len(labels):.2f} per text on average."
    for dropped in encoding.dropped.values():
        description += (
            f" Dropped {sum(dropped.values()):,} of labels that the tagger does not have: {shorten(list(dropped))}."
        )
    for merged in encoding.grouped.values():
        description += f" Merged {merged:,} rows into others with the same text."
    return LabelledTexts(texts, labels, label_names, description, warnings=data.inspection.warnings)


def evaluate_tagger(tagger: Any, rows: LabelledTexts, **options: Any) -> dict[str, Any]:
    """Score a tagger at the thresholds that it carries.

    Args:
        tagger: a pipeline, an ensemble or an `OnnxTagger`.
        rows: what to score it on.
        options: of `tagger.logits`, for example `batch_size`.

    Returns:
        "rows" with an observed label, "metrics" by name, and "labels": one dict per label.
    """
    scores = sigmoid(np.asarray(tagger.logits(rows.texts, **options)))
    thresholds = list(tagger.thresholds.values())
    evaluated = evaluate_scores(scores, rows.labels, rows.label_names, thresholds)
    labels, num_rows = evaluated.pop("labels"), evaluated.pop("rows")
    return {"rows": num_rows, "metrics": evaluated, "labels": labels}


def tune_tagger(
    folder: str | Path,
    rows: LabelledTexts,
    output_dir: str | Path,
    method: ThresholdMethod = "shrinkage",
    *,
    revision: str | None = None,
) -> dict[str, float]:
    """Save a copy of a tagger whose thresholds are tuned on other rows, with a card that says so.

    Args:
        folder: a trained folder or a Hub id.
        rows: what to tune them on.
        output_dir: the new folder, which must not exist.
        method: see `tune_thresholds`.
        revision: the branch, tag or commit on the Hub.

    Returns:
        the new thresholds.

    Raises:
        FileExistsError: if there is anything at `output_dir`.
        BlockingIOError: if another process writes it.
        OSError: if it cannot be written.
    """
    output = Path(output_dir).absolute()
    _refuse_existing(output)
    model, tokenizer = load_checkpoint(folder, revision=revision)
    info = _info_of(folder, revision) or RunInfo(name=output.name)
    tagger = pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)  # type: ignore[call-overload]
    scores = sigmoid(np.asarray(tagger.logits(rows.texts)))
    thresholds = tune_thresholds(scores, rows.labels, rows.label_names, method)
    model.config.thresholds = thresholds
    info = tuned_info(replace(info, name=output.name), rows, scores, list(thresholds.values()), method)
    with partial_folder(output, doing="is writing") as partial:
        try:
            _refuse_existing(output)  # another process may have made it meanwhile
            result = partial / output.name
            shutil.rmtree(result, ignore_errors=True)
            model.save_pretrained(result)
            tokenizer.save_pretrained(result)
            save_card(build_card(model.config, info), result)
            info.save(result)
            result.rename(output)
        finally:
            remove_partial(partial)
    return thresholds


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise FileExistsError(f"{str(output)!r} exists; give another `output_dir`.")


def _info_of(folder: str | Path, revision: str | None) -> RunInfo | None:
    """The information of the run that left a folder or a repository, if there is one."""
    path = cached_file(folder, METRICS_NAME, revision=revision, _raise_exceptions_for_missing_entries=False)
    return None if path is None else RunInfo.load(path)


def tuned_info(
    info: RunInfo,
    rows: LabelledTexts,
    scores: np.ndarray,
    thresholds: list[float],
    method: ThresholdMethod,
) -> RunInfo:
    """Say of a run that its tagger has new thresholds: how it was trained stays, the figures are of the new rows."""
    train_support = {row.label: row.train_support for row in info.labels}
    evaluated = evaluate_scores(scores, rows.labels, rows.label_names, thresholds)
    splits = {split: size for split, size in info.splits.items() if split == "train"}
    return replace(
        info,
        tuned_on=rows.source or DatasetInfo(name="other texts"),
        splits=splits | {"validation": SplitInfo(rows=len(rows.texts))},
        threshold_method=method,
        results={
            split: [MetricRow.from_flat(row) for row in flat]
            for split, flat in evaluate_all(
                THIS_MODEL, {"validation": scores}, {"validation": rows.labels}, rows.label_names, method
            ).items()
        },
        labels=[
            LabelResult(**row | {"train_support": train_support.get(row["label"])}) for row in evaluated["labels"]
        ],
        calibration=CalibrationInfo(
            expected_calibration_error=expected_calibration_error(scores, rows.labels), bins=NUM_BINS
        ),
        plots={},
    )
