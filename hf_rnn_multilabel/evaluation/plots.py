"""Plots of a run: how its scores rank, what its thresholds do to them, what a score is worth, which tags go together.

An entry is one label of one text. An unknown one (-100) counts nowhere.
"""

import math
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import color_sequences, font_manager
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .metrics.multilabel.multilabel import apply_thresholds


UNKNOWN = -100
BINS = 15
CURVES = 10
MATRIX_LABELS = 20
ANNOTATED_LABELS = 10
BLOCK = 1 << 22  # entries
# Ten colours that the colour-blind tell apart (Petroff 2021, https://arxiv.org/abs/2107.02270).
COLORS = color_sequences["petroff10"]
DARK = "#333333"
# Matplotlib's own font has no Chinese, Japanese or Korean; one of these is asked where it is installed.
CJK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei")


@dataclass(frozen=True)
class Run:
    """The entries of a split, each array (rows, labels)."""

    scores: np.ndarray
    present: np.ndarray
    known: np.ndarray
    tags: np.ndarray
    names: list[str]

    def most_frequent(self, count: int) -> list[int]:
        """The columns of at most `count` labels with a positive, the most frequent first."""
        support = self.present.sum(0)
        return [int(column) for column in np.argsort(-support, kind="stable")[:count] if support[column]]


def expected_calibration_error(scores: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Mean distance between the score and the share of positives, over bins of equal width, weighted by their entries.

    All known entries of all labels count alike, so that where most labels are absent from most texts, it is foremost
    the error of the low scores.

    Args:
        scores: (rows, labels) probabilities.
        truth: (rows, labels) 0 or 1, -100 where unknown.
        bins: the number of bins; each takes the scores above its lower edge up to its upper one.

    Returns:
        the error in [0, 1]; NaN if no entry is known.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, other values in `truth`.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3, https://arxiv.org/abs/1706.04599.
    """
    scores, present, known = _checked(scores, truth)
    count, score, positives = _binned(scores, present, known, bins)
    return float(np.abs(score - positives).sum() / count.sum()) if count.any() else math.nan


def plot_all(
    scores: np.ndarray,
    truth: np.ndarray,
    names: Sequence[str],
    thresholds: float | Sequence[float] | np.ndarray,
    folder: str | Path,
) -> dict[str, str]:
    """Write the plots of a split into `folder/plots/`: precision and recall, F1, calibration, co-occurrence.

    Args:
        scores: (rows, labels) probabilities.
        truth: (rows, labels) 0 or 1, -100 where unknown.
        names: the labels in the order of the columns.
        thresholds: the model's own, (labels,) or one for all; a score equal to its threshold is a tag.
        folder: that of the model.

    Returns:
        for each plot its path in `folder`, with slashes, and its caption, which starts with a title that ends in a
        full stop; a plot for which the data gives nothing to draw is left out.

    Raises:
        ValueError: for shapes that differ, scores that are no probabilities, other values in `truth`.
    """
    scores, present, known = _checked(scores, truth)
    if scores.shape[1] != len(names):
        raise ValueError(f"`names` has {len(names)} names for {scores.shape[1]} labels; give one for each, in order.")
    tags = apply_thresholds(scores, thresholds) & known if scores.size else known
    run = Run(scores, present, known, tags, list(names))
    drawn = {
        "precision_recall": _precision_recall(run),
        "f1": _f1(run),
        "calibration": _calibration(run),
        "cooccurrence": _cooccurrence(run),
    }
    written = {}
    for name, plot in drawn.items():
        if plot is not None:
            figure, caption = plot
            path = Path(folder) / "plots" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                # An emoji in a label's name is drawn as a box.
                warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from font")
                figure.savefig(path, metadata={"Software": None})
            written[f"plots/{name}.png"] = caption
    return written


def _precision_recall(run: Run) -> tuple[Figure, str] | None:
    columns = run.most_frequent(CURVES)
    if not columns:
        return None
    figure, axes = _figure(5.6)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    handles, labels = [], []
    total = run.scores.shape[1]
    if total > 1:
        entries = run.scores[run.known], run.present[run.known], run.tags[run.known]
        average = _draw_curve(axes, *entries, color="black", linewidth=3, zorder=3)
        handles.append(Line2D([], [], color="black", linewidth=3))
        labels.append(f"micro average  {average:.2f}")
    for column, color in zip(columns, COLORS, strict=False):
        known = run.known[:, column]
        entries = run.scores[known, column], run.present[known, column], run.tags[known, column]
        average = _draw_curve(axes, *entries, color=color)
        handles.append(Line2D([], [], color=color, linewidth=2))
        labels.append(f"{_shown(run.names[column], 24)}  {average:.2f}")
    handles.append(Line2D([], [], color=DARK, marker="o", linestyle="none", markeredgecolor="white", markersize=9))
    labels.append("at the model's threshold")
    _legend(figure, handles, labels, title="average precision", loc="outside right upper")
    several = f"each of the most frequent labels and for all {total:,} together (micro average)"
    caption = (
        f"Precision against recall. A curve for {several if total > 1 else 'the label'}; the number is its average "
        "precision, the dot is where the model's threshold stands."
    )
    if total > 1:
        caption += " The micro average's dot lies off its curve where the labels' thresholds differ."
    return figure, caption


def _draw_curve(axes: Any, scores: np.ndarray, present: np.ndarray, tags: np.ndarray, **style: Any) -> float:
    """Draw one curve and the dot of its tags, all of them (entries,); return the average precision."""
    precision, recall, average = _curve(scores, present)
    # More points than the picture has columns of pixels are not seen, but drawn.
    kept = np.unique(np.linspace(0, len(recall) - 1, 2000).astype(int))
    axes.plot(recall[kept], precision[kept], drawstyle="steps-pre", **{"linewidth": 1.6} | style)
    if tags.any():
        hits = (tags & present).sum()
        dot = {"marker": "o", "markersize": 9, "markeredgecolor": "white", "zorder": 4, "clip_on": False}
        axes.plot(hits / present.sum(), hits / tags.sum(), color=style["color"], **dot)
    return average


def _curve(scores: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Precision and recall at each score that a positive has, recall rising, and the average precision.

    Not scikit-learn's `precision_recall_curve`, which takes eight seconds and a gigabyte for 25 million entries; the
    average precision is the same, because between two positives recall stands still.
    """
    positives, negatives = np.sort(scores[present]), np.sort(scores[~present])
    cuts, below = np.unique(positives, return_index=True)
    hits = len(positives) - below[::-1]  # (cuts,), the highest score first
    mistakes = len(negatives) - np.searchsorted(negatives, cuts[::-1])
    precision, recall = hits / (hits + mistakes), hits / len(positives)
    average = float((np.diff(recall, prepend=0) * precision).sum())
    # From the left edge, where the curve is not defined, on a level with its first point.
    return np.append(precision[0], precision), np.append(0, recall), average


def _f1(run: Run) -> tuple[Figure, str] | None:
    if not run.present.any():
        return None
    grid = np.linspace(0, 1, 101)
    own = _f1_scores((run.tags & run.present).sum(0), run.tags.sum(0), run.present.sum(0))
    curves = _f1_scores(*_tags_over(run, grid), run.present.sum(0))
    figure, axes = _figure(4.8)
    axes.set(xlabel="one threshold for all labels", ylabel="F1", xlim=(0, 1))
    axes.set_ylim(0, min(1.02, 1.12 * max(*map(np.max, curves), *own) + 0.02))
    handles, labels = [], []
    for name, color, curve, value in zip(("micro", "macro"), (COLORS[0], COLORS[6]), curves, own, strict=True):
        handles += axes.plot(grid, curve, color=color, linewidth=2.4)
        labels.append(f"{name}-F1 at this threshold")
        handles.append(axes.axhline(float(value), color=color, linewidth=1.8, linestyle=(0, (5, 3))))
        labels.append(f"{name}-F1 at the model's own thresholds: {value:.3f}")
    _legend(figure, handles, labels, ncols=2, loc="outside lower center")
    caption = (
        "F1 against one threshold for all labels. The dashed lines are what the model's own thresholds reach on the "
        "same texts; to choose the top of a curve here instead would be to tune on them."
    )
    return figure, caption


def _f1_scores(hits: np.ndarray, given: np.ndarray, support: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Micro- and macro-F1, both (...), from counts (..., labels); 0 where undefined."""
    f1 = 2 * hits / np.maximum(given + support, 1)
    return 2 * hits.sum(-1) / np.maximum((given + support).sum(-1), 1), f1.mean(-1)


def _tags_over(run: Run, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hits and the tags that each threshold of the grid gives each label, both (thresholds, labels)."""
    limits = grid.astype(run.scores.dtype)
    hits, given = np.zeros((2, len(grid), run.scores.shape[1]))
    for column in range(run.scores.shape[1]):
        for counts, chosen in ((hits, run.present[:, column]), (given, run.known[:, column])):
            scores = np.sort(run.scores[chosen, column])
            counts[:, column] = len(scores) - np.searchsorted(scores, limits)
    return hits, given


def _calibration(run: Run) -> tuple[Figure, str] | None:
    count, score, positives = _binned(run.scores, run.present, run.known, BINS)
    total = int(count.sum())
    if not total:
        return None
    error = np.abs(score - positives).sum() / total
    filled = count > 0
    count, score, positives = count[filled], score[filled] / count[filled], positives[filled]
    share = positives / count
    low, high = _wilson(positives, count)
    figure, (axes, counts) = _figure(6.6, 2, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1.5, linestyle=(0, (5, 3)))
    bars = [np.maximum(share - low, 0), np.maximum(high - share, 0)]
    style = {"color": COLORS[0], "ecolor": COLORS[0], "elinewidth": 1.8, "capsize": 4, "markersize": 8}
    axes.errorbar(score, share, yerr=bars, fmt="o-", linewidth=1.4, **style)
    axes.set(ylabel="share that is true", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set_title(f"expected calibration error {error:.3g}", fontsize=12)
    centers = (np.flatnonzero(filled) + 0.5) / BINS
    counts.bar(centers, count, width=0.92 / BINS, color="#b8bec6")
    counts.set(xlabel="score", ylabel="entries", yscale="log", ylim=(0.5, count.max() * 8))
    counts.minorticks_off()
    for center, number in zip(centers, count.tolist(), strict=True):
        counts.text(center, number * 1.3, _brief(number), ha="center", va="bottom", fontsize=10)
    lowest = count[0] / total if filled[0] else 0
    caption = (
        "Calibration: how often a score is right. Each dot is a bin of scores: across, their mean; upwards, the share "
        "of its entries (an entry is one label of one text) that are true. On the dashed line the two are equal. The "
        "bars are 95 % Wilson intervals, as if entries were independent. The expected calibration error weighs the "
        f"bins by their entries, of which the lowest has {100 * lowest:.1f} % of {total:,}."
    )
    return figure, caption


def _wilson(hits: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a share, from counts (bins,) (Wilson 1927)."""
    share = hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - half, middle + half


def _cooccurrence(run: Run) -> tuple[Figure, str] | None:
    columns = run.most_frequent(MATRIX_LABELS)
    if len(columns) < 2:
        return None
    known = run.known[:, columns].astype(float)  # (rows, columns)
    shares = [_conditional(of[:, columns].astype(float), known) for of in (run.present, run.tags)]
    largest = max(np.nanmax(share, initial=0) for share in shares)
    names = [_shown(run.names[column], 18) for column in columns]
    small = len(columns) > ANNOTATED_LABELS
    figure, panels = _figure(6.8 if small else 5.6, 1, 2, sharey=True)
    for axes, share, title in zip(panels, shares, ("in truth", "as predicted"), strict=True):
        axes.set_facecolor("#e4e4e4")
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=max(largest, 0.01))
        axes.set_title(title, fontsize=13)
        style = {"parse_math": False, "fontfamily": _fonts(), "fontsize": 10 if small else 11}
        axes.set_xticks(range(len(names)), names, rotation=90, **style)
        axes.set_yticks(range(len(names)), names, **style)
        axes.tick_params(length=0)
        if not small:
            for (row, column), value in np.ndenumerate(share):
                color = "white" if value > 0.6 * largest else DARK
                text = "" if np.isnan(value) else f"{100 * value:.0f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=10, color=color)
    figure.set_layout_engine("compressed")
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.6, aspect=40, format="{x:.0%}")
    bar.set_label("share of the row's texts that carry the column's label", fontsize=11)
    caption = (
        f"Labels that go together. Of the texts with the row's label, the share{'' if small else ' (in %)'} that also "
        f"carry the column's, in truth and as the model tags them, for the {len(columns)} most frequent labels. Grey: "
        "the label itself, or no text with the row's label."
    )
    return figure, caption


def _conditional(carried: np.ndarray, known: np.ndarray) -> np.ndarray:
    """P(column | row) of labels (rows, columns); NaN on the diagonal and where no text has the row's label."""
    given = carried.T @ known  # (columns, columns)
    shares = np.divide(carried.T @ carried, given, out=np.full_like(given, np.nan), where=given > 0)
    np.fill_diagonal(shares, np.nan)
    return shares


def _binned(
    scores: np.ndarray, present: np.ndarray, known: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of entries in each bin, the sum of their scores and the number of positives; each (bins,)."""
    sums = np.zeros((3, bins))
    rows = max(BLOCK // max(scores.shape[1], 1), 1)
    for start in range(0, len(scores), rows):
        block = slice(start, start + rows)
        found = scores[block][known[block]].astype(float)  # (entries,)
        places = np.maximum(np.ceil(found * bins).astype(int) - 1, 0)
        for total, weights in zip(sums, (None, found, present[block][known[block]]), strict=True):
            total += np.bincount(places, weights, minlength=bins)
    return sums[0], sums[1], sums[2]


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


def _legend(figure: Figure, handles: list[Any], labels: list[str], **options: Any) -> None:
    # A label that starts with an underscore would be left out, so each text is set afterwards.
    legend = figure.legend(handles, ["-"] * len(handles), frameon=False, fontsize=11, title_fontsize=11, **options)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set(parse_math=False, fontfamily=_fonts(), text=label)


def _fonts() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *[name for name in CJK_FONTS if name in installed][:1]]


def _shown(name: str, width: int) -> str:
    """A label's name in one line, cut where it is wider; a Chinese character is as wide as two letters."""
    line = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())
    widths = np.cumsum([1 + (unicodedata.east_asian_width(letter) in "WF") for letter in line])
    return line if not line or widths[-1] <= width else line[: int((widths < width).sum())].rstrip() + "…"


def _brief(number: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}" if number < 100 * size else f"{number / size:.0f}{letter}"
    return f"{number:.0f}"


def _checked(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scores, which of them are positives, and which are known; each (rows, labels)."""
    scores, truth = np.asarray(scores), np.asarray(truth)
    scores = scores if scores.dtype.kind == "f" else scores.astype(float)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(f"`scores` has the shape {scores.shape}, `truth` {truth.shape}; both must be (rows, labels).")
    # A comparison with NaN is false.
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("`scores` must be probabilities in [0, 1]; give sigmoid(logits).")
    present, known = truth == 1, truth != UNKNOWN
    wrong = truth[known & ~present & (truth != 0)]
    if wrong.size:
        raise ValueError(f"`truth` holds {wrong[0]}; it must be 0 or 1, or {UNKNOWN} where it is unknown.")
    return scores, present, known
