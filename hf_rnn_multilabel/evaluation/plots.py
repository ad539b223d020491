"""Plots of a split: how its scores rank, what its thresholds do to them, what a score means, which labels co-occur.

An entry is one label of one text. An ignored one (-100) counts nowhere.
"""

import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import color_sequences
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..model.losses import IGNORED
from .calibration import NUM_BINS, reliability_bins, wilson_interval
from .checks import check_entries
from .fonts import BASE_FONT, fonts_for
from .metrics.multilabel.multilabel import apply_thresholds


MAX_CURVES = 10
MAX_CURVE_POINTS = 2000
MAX_MATRIX_LABELS = 20
MAX_ANNOTATED_LABELS = 10
# Characters of a label's name in a legend and beside a matrix.
LEGEND_WIDTH, TICK_WIDTH = 24, 18
# Ten colours that the colour-blind tell apart (Petroff 2021, https://arxiv.org/abs/2107.02270).
COLORS = color_sequences["petroff10"]
DARK = "#333333"


@dataclass(frozen=True)
class Split:
    """The entries of a split, each array (rows, labels), and the fonts for its label names."""

    scores: np.ndarray
    present: np.ndarray
    observed: np.ndarray
    predicted: np.ndarray
    label_names: list[str]
    fonts: list[str] = field(default_factory=lambda: [BASE_FONT])

    def entries(self, columns: int | slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The observed entries of a column, or of all: scores, present and predicted, each (entries,)."""
        observed = self.observed[:, columns]
        return (
            self.scores[:, columns][observed],
            self.present[:, columns][observed],
            self.predicted[:, columns][observed],
        )

    def most_frequent(self, count: int) -> list[int]:
        """The columns of at most `count` labels with a positive, the most frequent first."""
        support = self.present.sum(0)
        return [int(column) for column in np.argsort(-support, kind="stable")[:count] if support[column]]


def plot_all(
    scores: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    thresholds: float | Sequence[float] | np.ndarray,
    folder: str | Path,
) -> dict[str, str]:
    """Write the plots of a split into `folder/plots/`: precision and recall, F1, calibration, co-occurrence.

    Where no installed font has a character of a plotted label name, a line is logged that says so.

    Args:
        scores: (rows, labels) probabilities.
        labels: (rows, labels) 0 or 1, -100 where ignored.
        label_names: the labels in the order of the columns.
        thresholds: the model's own, (labels,) or one for all; a score equal to its threshold is a tag.
        folder: that of the model.

    Returns:
        For each plot its path in `folder`, with slashes, and its caption, which starts with a title that ends in a
        full stop. A plot for which there is no data is left out.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, other values in `labels`.
    """
    split = make_split(scores, labels, label_names, thresholds)
    plotted = {
        "precision_recall": _precision_recall(split),
        "f1": _f1(split),
        "calibration": _calibration(split),
        "cooccurrence": _cooccurrence(split),
    }
    captions = {}
    for name, plot in plotted.items():
        if plot is not None:
            figure, captions[f"plots/{name}.png"] = plot
            _save(figure, Path(folder) / "plots" / f"{name}.png")
    return captions


def make_split(
    scores: np.ndarray,
    labels: np.ndarray,
    label_names: Sequence[str],
    thresholds: float | Sequence[float] | np.ndarray,
) -> Split:
    """Check the arguments of `plot_all`, and apply the thresholds."""
    scores, labels = check_entries(scores, labels)
    if scores.shape[1] != len(label_names):
        raise ValueError(
            f"`label_names` has {len(label_names)} names for {scores.shape[1]} labels; give one per label, in order."
        )
    observed = labels != IGNORED
    predicted = apply_thresholds(scores, thresholds) & observed if scores.size else observed
    split = Split(scores, labels == 1, observed, predicted, list(label_names))
    plotted = split.most_frequent(max(MAX_CURVES, MAX_MATRIX_LABELS))
    return replace(split, fonts=fonts_for(_shortened(label_names[column], LEGEND_WIDTH) for column in plotted))


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # One line about missing characters is logged already.
        warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from font")
        figure.savefig(path, metadata={"Software": None})


def _precision_recall(split: Split) -> tuple[Figure, str] | None:
    columns = split.most_frequent(MAX_CURVES)
    if not columns:
        return None
    figure, axes = _figure(5.6)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    handles, texts = [], []
    total = split.scores.shape[1]
    if total > 1:
        average = _plot_curve(axes, *split.entries(), color="black", linewidth=3, zorder=3)
        handles.append(Line2D([], [], color="black", linewidth=3))
        texts.append(f"micro average  {average:.2f}")
    for column, color in zip(columns, COLORS, strict=False):
        average = _plot_curve(axes, *split.entries(column), color=color)
        handles.append(Line2D([], [], color=color, linewidth=2))
        texts.append(f"{_shortened(split.label_names[column], LEGEND_WIDTH)}  {average:.2f}")
    handles.append(Line2D([], [], color=DARK, marker="o", linestyle="none", markeredgecolor="white", markersize=9))
    texts.append("at the model's threshold")
    _legend(figure, split.fonts, handles, texts, title="average precision", loc="outside right upper")
    curves = f"each of the most frequent labels, and one for all {total:,} together (micro average)"
    caption = (
        f"Precision against recall. There is a curve for {curves if total > 1 else 'the label'}. The number is the "
        "average precision, and the dot marks the model's threshold."
    )
    if total > 1:
        caption += " The micro average's dot lies off its curve where the thresholds of the labels differ."
    return figure, caption


def _plot_curve(
    axes: Any, scores: np.ndarray, present: np.ndarray, predicted: np.ndarray, *, color: Any, **style: Any
) -> float:
    """Plot one curve and the dot of its predictions, all arrays (entries,); return the average precision."""
    precision, recall, average = precision_recall_curve(scores, present)
    # More points than the picture has columns of pixels cost time and are not seen.
    points = np.unique(np.linspace(0, len(recall) - 1, MAX_CURVE_POINTS).astype(int))
    axes.plot(recall[points], precision[points], drawstyle="steps-pre", color=color, **{"linewidth": 1.6} | style)
    if predicted.any():
        true_positives = (predicted & present).sum()
        dot = {"marker": "o", "markersize": 9, "markeredgecolor": "white", "zorder": 4, "clip_on": False}
        axes.plot(true_positives / present.sum(), true_positives / predicted.sum(), color=color, **dot)
    return average


def precision_recall_curve(scores: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Precision and recall at each score that a positive has, recall rising, and the average precision.

    Not scikit-learn's function of this name, which takes eight seconds and a gigabyte for 25 million entries. The
    average precision is the same, because recall is constant between two positives.

    Args:
        scores: (entries,).
        present: (entries,) bool, at least one True.

    Returns:
        Precision (points,), recall (points,) and the average precision.
    """
    positives, negatives = np.sort(scores[present]), np.sort(scores[~present])
    cuts, below = np.unique(positives, return_index=True)
    true_positives = len(positives) - below[::-1]  # (cuts,), the highest score first
    false_positives = len(negatives) - np.searchsorted(negatives, cuts[::-1])
    precision, recall = true_positives / (true_positives + false_positives), true_positives / len(positives)
    average = float((np.diff(recall, prepend=0) * precision).sum())
    # At the left edge, where the curve is undefined, it starts at the precision of its first point.
    return np.append(precision[0], precision), np.append(0, recall), average


def _f1(split: Split) -> tuple[Figure, str] | None:
    if not split.present.any():
        return None
    grid, support = np.linspace(0, 1, 101), split.present.sum(0)
    own = _f1_scores((split.predicted & split.present).sum(0), split.predicted.sum(0), support)
    curves = _f1_scores(*_counts_over(split, grid), support)
    figure, axes = _figure(4.8)
    axes.set(xlabel="global threshold", ylabel="F1", xlim=(0, 1))
    axes.set_ylim(0, min(1.02, 1.12 * max(*map(np.max, curves), *own) + 0.02))
    handles, texts = [], []
    for name, color, curve, value in zip(("micro", "macro"), (COLORS[0], COLORS[6]), curves, own, strict=True):
        handles += axes.plot(grid, curve, color=color, linewidth=2.4)
        texts.append(f"{name}-F1 at this global threshold")
        handles.append(axes.axhline(float(value), color=color, linewidth=1.8, linestyle=(0, (5, 3))))
        texts.append(f"{name}-F1 at the model's own thresholds: {value:.3f}")
    _legend(figure, split.fonts, handles, texts, ncols=2, loc="outside lower center")
    caption = (
        "F1 against a global threshold. The dashed lines are F1 at the model's own thresholds on the same texts. "
        "To choose the maximum of a curve here would be to tune on these texts."
    )
    return figure, caption


def _f1_scores(
    true_positives: np.ndarray, predicted_positives: np.ndarray, support: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Micro- and macro-F1, both (...), from counts (..., labels); 0 where undefined."""
    positives = predicted_positives + support
    f1 = 2 * true_positives / np.maximum(positives, 1)
    return 2 * true_positives.sum(-1) / np.maximum(positives.sum(-1), 1), f1.mean(-1)


def _counts_over(split: Split, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted positives of each label at each threshold of the grid, both (thresholds, labels)."""
    limits = grid.astype(split.scores.dtype)
    true_positives, predicted_positives = np.zeros((2, len(grid), split.scores.shape[1]))
    for column in range(split.scores.shape[1]):
        for counts, selected in ((true_positives, split.present), (predicted_positives, split.observed)):
            scores = np.sort(split.scores[selected[:, column], column])
            counts[:, column] = len(scores) - np.searchsorted(scores, limits)
    return true_positives, predicted_positives


def _calibration(split: Split) -> tuple[Figure, str] | None:
    counts, score_sums, positives = reliability_bins(split.scores, split.present, split.observed)
    total = int(counts.sum())
    if not total:
        return None
    error = np.abs(score_sums - positives).sum() / total
    filled = counts > 0
    lowest = counts[0] / total
    counts, scores, positives = counts[filled], score_sums[filled] / counts[filled], positives[filled]
    fractions = positives / counts
    low, high = wilson_interval(positives, counts)
    figure, (axes, histogram) = _figure(6.6, 2, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1.5, linestyle=(0, (5, 3)))
    # As lists: matplotlib before 3.11.2 warns at arrays of one value.
    intervals = [np.maximum(fractions - low, 0).tolist(), np.maximum(high - fractions, 0).tolist()]
    style = {"color": COLORS[0], "ecolor": COLORS[0], "elinewidth": 1.8, "capsize": 4, "markersize": 8}
    axes.errorbar(scores, fractions, yerr=intervals, fmt="o-", linewidth=1.4, **style)
    axes.set(ylabel="fraction of positives", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set_title(f"expected calibration error {error:.3g}", fontsize=12)
    centers = (np.flatnonzero(filled) + 0.5) / NUM_BINS
    histogram.bar(centers, counts, width=0.92 / NUM_BINS, color="#b8bec6")
    histogram.set(xlabel="score", ylabel="entries", yscale="log", ylim=(0.5, counts.max() * 8))
    histogram.minorticks_off()
    for center, count in zip(centers, counts.tolist(), strict=True):
        histogram.text(center, count * 1.3, _brief(count), ha="center", va="bottom", fontsize=10)
    caption = (
        "Calibration. An entry is one label of one text, and each dot is a bin of entries by score. Across is the "
        "mean score of the bin, upwards the fraction of its entries that are positive. On the dashed line both are "
        "equal. The bars are 95 % Wilson intervals, as if entries were independent. The expected calibration error "
        f"weighs each bin by its entries. The lowest bin has {100 * lowest:.1f} % of all {total:,} entries."
    )
    return figure, caption


def _cooccurrence(split: Split) -> tuple[Figure, str] | None:
    columns = split.most_frequent(MAX_MATRIX_LABELS)
    if len(columns) < 2:
        return None
    observed = split.observed[:, columns].astype(float)  # (rows, columns)
    matrices = [_conditional(each[:, columns].astype(float), observed) for each in (split.present, split.predicted)]
    largest = max(np.nanmax(matrix, initial=0) for matrix in matrices)
    names = [_shortened(split.label_names[column], TICK_WIDTH) for column in columns]
    annotated = len(columns) <= MAX_ANNOTATED_LABELS
    figure, panels = _figure(5.6 if annotated else 6.8, 1, 2, sharey=True)
    for axes, matrix, title in zip(panels, matrices, ("in the labels", "as predicted"), strict=True):
        axes.set_facecolor("#e4e4e4")
        image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=max(largest, 0.01))
        axes.set_title(title, fontsize=13)
        style = {"parse_math": False, "fontfamily": split.fonts, "fontsize": 11 if annotated else 10}
        axes.set_xticks(range(len(names)), names, rotation=90, **style)
        axes.set_yticks(range(len(names)), names, **style)
        axes.tick_params(length=0)
        if annotated:
            _annotate(axes, matrix, largest)
    figure.set_layout_engine("compressed")
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.6, aspect=40, format="{x:.0%}")
    bar.set_label("fraction of the row's texts with the column's label", fontsize=11)
    caption = (
        f"Co-occurrence of the {len(columns)} most frequent labels. Each cell is the fraction"
        f"{' (in %)' if annotated else ''} of the texts with the row's label that also have the column's label. The "
        "left panel counts the labels of the data, the right panel the model's predictions. Grey is the label itself, "
        "or a label without texts."
    )
    return figure, caption


def _annotate(axes: Any, matrix: np.ndarray, largest: float) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        color = "white" if value > 0.6 * largest else DARK
        text = "" if np.isnan(value) else f"{100 * value:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=10, color=color)


def _conditional(carried: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """P(column | row) of labels (rows, columns); NaN on the diagonal and where no text has the row's label."""
    totals = carried.T @ observed  # (columns, columns)
    fractions = np.divide(carried.T @ carried, totals, out=np.full_like(totals, np.nan), where=totals > 0)
    np.fill_diagonal(fractions, np.nan)
    return fractions


def _figure(height: float, *grid: int, **options: Any) -> tuple[Figure, Any]:
    """A figure 960 pixels wide, as a page shows it at three quarters of its size, and its axes."""
    figure = Figure(figsize=(9.6, height), dpi=100, layout="constrained")
    axes = figure.subplots(*grid, **options)
    for each in np.atleast_1d(axes):
        each.tick_params(labelsize=11)
        each.xaxis.label.set_size(12)
        each.yaxis.label.set_size(12)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(figure: Figure, fonts: list[str], handles: list[Any], texts: list[str], **options: Any) -> None:
    # A text that starts with an underscore would be left out, so each text is set afterwards.
    legend = figure.legend(handles, ["-"] * len(handles), frameon=False, fontsize=11, title_fontsize=11, **options)
    for entry, text in zip(legend.get_texts(), texts, strict=True):
        entry.set(parse_math=False, fontfamily=fonts, text=text)


def _shortened(name: str, width: int) -> str:
    """A label's name in one line, truncated where it is wider; a Chinese character is as wide as two letters."""
    line = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())
    widths = np.cumsum([1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line])
    return line if not line or widths[-1] <= width else line[: int((widths < width).sum())].rstrip() + "…"


def _brief(number: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}" if number < 100 * size else f"{number / size:.0f}{letter}"
    return f"{number:.0f}"
