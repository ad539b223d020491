"""The card of a trained folder, from its configuration and its facts and nothing else."""

import json
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


TEMPLATE = Path(__file__).with_name("model_card_template.md")
SPLITS = ("test", "validation")
MODEL = "this model"
# How the rows of a split name the thresholds of a method; any other is named by itself.
ROWS = {"global_micro": "global threshold", "shrinkage": "per-label thresholds"}
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
MOST_ROWS = 200
FEW = 20
# Characters without a shape, and those that turn the direction of the text after them.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONG_WORD = re.compile(r"(\S{59})\S{2,}")
# An underscore within a word is no markup.
MARKUP = re.compile(r"[\\`*\[\]<>&|~$#]|(?<![^\W_])_|_(?![^\W_])")


def build_card(config: Any, facts: dict[str, Any] | None = None) -> ModelCard:
    """Render the model card; a section whose facts are not given is left out.

    Args:
        config: the `RnnMultilabelConfig` of the model.
        facts: what `scripts/train.py` writes to metrics.json. Its labels, plots and calibration are of the test split,
            or of the validation split where there is no other.

    Returns:
        a card whose `save(path)` writes the README.md.

    Raises:
        jinja2.UndefinedError, KeyError: for a fact that is missing within a group that is given.
    """
    facts = {"name": "model"} | (facts or {})
    splits = [split for split in SPLITS if split in facts]
    dataset = facts.get("dataset")
    results = _eval_results(facts, splits)
    data = ModelCardData(
        datasets=[dataset["id"]] if dataset and dataset["id"] else None,
        eval_results=results or None,
        language=[_line(code) for code in facts["language"]] if "language" in facts else None,
        library_name="transformers",
        license=_line(facts["license"]) if "license" in facts else None,
        metrics=["f1", "precision", "recall"] if splits else None,
        model_name=_line(facts["name"]) if results else None,
        pipeline_tag="text-classification",
        tags=["multi-label", "rnn_multilabel", config.cell_type, "hf_rnn_multilabel"],
    )
    # Not `ModelCard.from_template`, which leaves an empty line for each tag of the template and so breaks its tables.
    # Whatever an expression gives is shown as it is, unless it is marked as Markdown.
    environment = Environment(
        trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, finalize=_finalize
    )
    environment.filters |= {"number": _number, "line": _line, "some": _some, "python": _python, "fenced": _fenced}
    environment.filters["url"] = lambda path: Markup(quote(path))
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(
        metadata=Markup(data.to_yaml()),
        config=config,
        facts=facts,
        splits=splits,
        final=splits[0] if splits else None,
        kept_row=ROWS.get(facts.get("threshold_method", ""), facts.get("threshold_method")),
        labels=_most_trained(facts.get("labels", [])),
        limitations=_limitations(facts, splits),
    )
    return ModelCard(text.rstrip() + "\n")


def _eval_results(facts: dict[str, Any], splits: list[str]) -> list[EvalResult]:
    """What the model reaches with the thresholds that it carries, for the metadata; nothing without its data set."""
    if "dataset" not in facts or "threshold_method" not in facts:
        return []
    dataset, method = facts["dataset"], facts["threshold_method"]
    kept = (MODEL, ROWS.get(method, method))
    rows = {split: row for split in splits for row in facts[split] if (row["model"], row["thresholds"]) == kept}
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label text classification",
            # The Hub takes no other word for a data set that it does not hold.
            dataset_type=dataset["id"] or "unknown",
            dataset_name=_line(dataset["name"]),
            dataset_config=dataset["config"] and _line(dataset["config"]),
            dataset_split=split,
            dataset_revision=dataset["revisions"].get(split),
            metric_type=metric_type,
            metric_name=name,
            # Four digits; NaN is no YAML that every reader takes.
            metric_value=float(f"{row[key]:.4g}"),
            metric_args=args,
        )
        for split, row in rows.items()
        for key, metric_type, name, args in METRICS
        if key in row and math.isfinite(row[key])
    ]


def _limitations(facts: dict[str, Any], splits: list[str]) -> list[str]:
    """A sentence for each limit that the facts show."""
    labels, rows = facts.get("labels", []), facts.get("rows", {})
    found = []
    untrained = [label["label"] for label in labels if label["train"] < FEW]
    if untrained:
        found.append(
            f"Fewer than {FEW} training texts: {len(untrained):,} of {len(labels):,} labels ({_some(untrained)}). "
            "Expect little of them."
        )
    untested = [label["label"] for label in labels if label["support"] < FEW]
    if untested and splits:
        found.append(
            f"Fewer than {FEW} texts of the {splits[0]} split: {len(untested):,} of {len(labels):,} labels "
            f"({_some(untested)}). Their own figures are rough, and in a macro average they weigh as much as any."
        )
    if splits and rows:
        count = rows[splits[0]]
        # Half of the normal interval of a share, 1.96 * sqrt(p * (1 - p) / n), is widest at p = 1/2.
        found.append(
            f"The {splits[0]} split has {count:,} texts: chance alone moves a share of them, such as the subset "
            f"accuracy, by up to {98 / math.sqrt(count):.1f} points up or down (95 % interval)."
        )
    if splits and "seed" in facts:
        found.append(f"The figures are of one run (seed {facts['seed']}), another seed gives somewhat other ones.")
    if "threshold_method" in facts and rows:
        found.append(
            f"The thresholds were chosen on {rows['validation']:,} texts; where labels are rarer or more frequent "
            "than there, choose them anew on texts of your own."
        )
    if {"max_length", "truncated", "rows"} <= facts.keys():
        found.append(
            f"Texts were cut at {facts['max_length']:,} tokens (longer: {facts['truncated']['train']:,} of "
            f"{rows['train']:,} training texts); how it tags longer ones whole is not measured."
        )
    if "language" in facts:
        found.append(f"It was made for texts in {', '.join(facts['language'])} and for no other language.")
    if "calibration" in facts and math.isfinite(facts["calibration"]["expected_calibration_error"]):
        error, bins = facts["calibration"]["expected_calibration_error"], facts["calibration"]["bins"]
        found.append(
            "A score is not exactly the chance that its label is right: the expected calibration error is "
            f"{error:.3g} ({bins} bins, all labels of all texts together, so that the low scores of absent labels "
            "weigh most)."
        )
    if "dataset" in facts or rows:
        found.append(
            "What is missing, wrong or prejudiced in the training texts and their labels, the model has learnt too."
        )
    return found


def _most_trained(labels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return labels if len(labels) <= MOST_ROWS else sorted(labels, key=lambda row: -row["train"])[:MOST_ROWS]


def _line(text: str, limit: int = 80) -> str:
    """A text in one line, cut where it or one of its words is too long for a page."""
    line = LONG_WORD.sub(r"\1…", UNSEEN.sub("", " ".join(str(text).split())))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _some(names: list[str], count: int = 8) -> str:
    shown = ", ".join(_line(name, 40) for name in names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count:,} more"


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "n/a"


def _finalize(value: Any) -> str:
    """What an expression of the template gives, so that Markdown and HTML show it as it is, also in a table's cell."""
    if isinstance(value, Markup):
        return value
    line = "n/a" if value is None else UNSEEN.sub("", " ".join(str(value).split()))
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", line)


def _python(text: str) -> Markup:
    """A text as a literal of Python: JSON's, which is one too."""
    return Markup(json.dumps(text, ensure_ascii=False))


def _fenced(text: str) -> Markup:
    """A block of code that no line of the text ends before its end."""
    lines = "\n".join(UNSEEN.sub("", line) for line in text.strip().splitlines())
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    return Markup(f"{fence}\n{lines}\n{fence}")
