"""The model card, made of a model's configuration and the information of its run, and of nothing else."""

import math
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from markupsafe import Markup

from .atomic import write_text
from .markdown import markdown_environment, one_line, shorten_names
from .run_info import LINEAR_BASELINE, TEACHER, THRESHOLD_ROWS, LabelResult, RunInfo


CARD_NAME = "README.md"
CARD_TAG = "hf_rnn_multilabel"  # among the tags of every card of this package
TEMPLATE = Path(__file__).with_name("model_card_template.md")
# Name in `MetricRow.metrics`, type on the Hub, title, arguments.
METRICS = [
    *((f"f1_{average}", "f1", f"F1 ({average})", {"average": average}) for average in ("micro", "macro", "weighted")),
    ("f1_samples", "f1", "F1 (samples)", {"average": "samples"}),
    *(
        (f"{name}_{average}", name, f"{name.capitalize()} ({average})", {"average": average})
        for name in ("precision", "recall")
        for average in ("micro", "macro")
    ),
    ("hamming_loss", "hamming_loss", "Hamming loss", None),
    ("subset_accuracy", "accuracy", "Subset accuracy", None),
    ("lrap", "lrap", "Label-ranking average precision", None),
    *((f"map_{of}", "average_precision", f"Average precision ({of})", {"average": of}) for of in ("micro", "macro")),
    *((f"roc_auc_{of}", "roc_auc", f"ROC AUC ({of})", {"average": of}) for of in ("micro", "macro")),
    *((f"precision_at_{k}", "precision_at_k", f"Precision at {k}", {"k": k}) for k in (1, 3, 5)),
    *((f"ndcg_at_{k}", "ndcg_at_k", f"NDCG at {k}", {"k": k}) for k in (1, 3, 5)),
]
MAX_LABEL_ROWS = 200
MIN_SUPPORT = 20  # texts, below which the card warns of a label


def build_card(config: Any, run_info: RunInfo | None = None) -> ModelCard:
    """Render the model card; a section that the run information has nothing of is left out.

    Args:
        config: The `RnnMultilabelConfig` of the model.
        run_info: What the training left about itself. None: the card says what the configuration says.

    Returns:
        A card, which `save_card` writes.

    Raises:
        jinja2.UndefinedError: For a metric that a table shows and a row lacks, and for an unknown threshold method.
    """
    run_info = run_info or RunInfo(name="model")
    results = _eval_results(run_info)
    metadata = ModelCardData(
        datasets=[run_info.dataset.id] if run_info.dataset and run_info.dataset.id else None,
        eval_results=results or None,
        language=[one_line(code) for code in run_info.language] if run_info.language else None,
        library_name="transformers",
        license=one_line(run_info.license) if run_info.license else None,
        metrics=["f1", "precision", "recall"] if run_info.results else None,
        model_name=one_line(run_info.name) if results else None,
        pipeline_tag="text-classification",
        tags=["multi-label", "rnn_multilabel", config.cell_type, CARD_TAG],
    )
    # Not `ModelCard.from_template`, which leaves an empty line for each tag of the template and so breaks its tables.
    template = markdown_environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(
        metadata=Markup(metadata.to_yaml()),
        config=config,
        run_info=run_info,
        splits=[split for split in ("test", "validation") if split in run_info.results],
        models={row.model for rows in run_info.results.values() for row in rows},
        linear_baseline=LINEAR_BASELINE,
        teacher=TEACHER,
        threshold_row=THRESHOLD_ROWS.get(run_info.threshold_method or "", run_info.threshold_method),
        labels=_most_frequent(run_info.labels),
        limitations=_limitations(run_info),
    )
    return ModelCard(text.rstrip() + "\n")


def save_card(card: ModelCard, folder: str | Path) -> Path:
    """Write README.md into a folder, whole or not at all, and return its path."""
    path = Path(folder) / CARD_NAME
    write_text(path, str(card))
    return path


def holds_card(folder: str | Path) -> bool:
    """Return whether a folder's README.md is a card of this package, which a stock `Trainer` would write over."""
    path = Path(folder) / CARD_NAME
    return path.is_file() and CARD_TAG in (ModelCard.load(path).data.tags or [])


def _eval_results(run_info: RunInfo) -> list[EvalResult]:
    """The metrics with the thresholds that the model carries, for the metadata; none without a data set."""
    dataset = run_info.tuned_on or run_info.dataset
    if dataset is None:
        return []
    rows = {split: run_info.final_row(split) for split in ("test", "validation")}
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label text classification",
            # The Hub takes no other word for a data set that it does not hold.
            dataset_type=dataset.id or "unknown",
            dataset_name=one_line(dataset.name),
            dataset_config=dataset.config and one_line(dataset.config),
            dataset_split=split,
            dataset_revision=dataset.revisions.get(split),
            metric_type=metric_type,
            metric_name=title,
            # Four digits, and no NaN, which not every reader of YAML takes.
            metric_value=float(f"{value:.4g}"),
            metric_args=arguments,
        )
        for split, row in rows.items()
        if row is not None
        for name, metric_type, title, arguments in METRICS
        if (value := row.metrics.get(name)) is not None and math.isfinite(value)
    ]


def _limitations(run_info: RunInfo) -> list[str]:
    """A few sentences for each limit that the run information shows."""
    return [
        *_limits_of_labels(run_info),
        *_limits_of_figures(run_info),
        *_limits_of_texts(run_info),
    ]


def _limits_of_labels(run_info: RunInfo) -> list[str]:
    limits = []
    count = len(run_info.labels)
    rare = [row.label for row in run_info.labels if row.train_support is not None and row.train_support < MIN_SUPPORT]
    if rare:
        limits.append(
            f"{len(rare):,} of {count:,} labels have fewer than {MIN_SUPPORT} training texts ({shorten_names(rare)}). "
            "Expect little of them."
        )
    untested = [row.label for row in run_info.labels if row.support < MIN_SUPPORT]
    if untested and run_info.final_split:
        limits.append(
            f"{len(untested):,} of {count:,} labels have fewer than {MIN_SUPPORT} texts in the {run_info.final_split} "
            f"split ({shorten_names(untested)}). Their own figures are rough. A macro average counts them as much as "
            "any other label."
        )
    return limits


def _limits_of_figures(run_info: RunInfo) -> list[str]:
    limits = []
    final, splits = run_info.final_split, run_info.splits
    if final and final in splits:
        rows = splits[final].rows
        # Half of the normal interval of a fraction, 1.96 * sqrt(p * (1 - p) / n), is widest at p = 1/2.
        limits.append(
            f"The {final} split has {rows:,} texts. Chance alone moves a fraction of them, for example the subset "
            f"accuracy, by up to {98 / math.sqrt(max(rows, 1)):.1f} points (95 % interval)."
        )
    if final and run_info.training:
        limits.append(
            f"The figures are of one run (seed {run_info.training.seed}). Another seed gives slightly different ones."
        )
    if run_info.threshold_method and "validation" in splits:
        limits.append(
            f"The thresholds were chosen on {splits['validation'].rows:,} texts. Choose them again on your own texts "
            "where labels are rarer or more frequent."
        )
    calibration = run_info.calibration
    error = calibration.expected_calibration_error if calibration else None
    if calibration and error is not None and math.isfinite(error):
        limits.append(
            "A score is not exactly the probability that its label is right. "
            f"The expected calibration error is {error:.3g} ({calibration.bins} bins, all labels of all texts "
            "together). The low scores of absent labels weigh most in it."
        )
    return limits


def _limits_of_texts(run_info: RunInfo) -> list[str]:
    limits = []
    train = run_info.splits.get("train")
    if run_info.max_length is not None and train and train.truncated is not None:
        limits.append(
            f"Texts were truncated at {run_info.max_length:,} tokens. {train.truncated:,} of {train.rows:,} training "
            "texts are longer. How well the model tags longer texts as a whole was not measured."
        )
    if run_info.language:
        limits.append(
            f"The training texts are in these languages: {', '.join(run_info.language)}. Others were not tested."
        )
    if run_info.dataset or run_info.splits:
        limits.append(
            "The model has also learned what is missing, wrong or biased in the training texts and their labels."
        )
    return limits


def _most_frequent(labels: list[LabelResult]) -> list[LabelResult]:
    if len(labels) <= MAX_LABEL_ROWS:
        return labels
    return sorted(labels, key=lambda row: -(row.train_support or 0))[:MAX_LABEL_ROWS]
