"""The cells of `benchmark_quality.py` as figures, and their tables."""

from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.quality_recipes import RECIPES
from hf_rnn_multilabel.hub.run_info import METRICS_NAME, RunInfo


# The figures of a cell: their names, and the thresholds and the key under which metrics.json has them.
FIGURES = {
    "micro-F1, one for all": ("global threshold", "f1_micro"),
    "micro-F1, one a label": ("per-label thresholds", "f1_micro"),
    "macro-F1, one a label": ("per-label thresholds", "f1_macro"),
    "P@1": ("0.5", "precision_at_1"),
    "P@5": ("0.5", "precision_at_5"),
}
# Of them, what a recipe is compared by with the one that the others add a technique to or take one from.
BASE = "embeddings"
COMPARED = ("micro-F1, one for all", "macro-F1, one a label")


def read_cell(folder: Path) -> dict[str, Any]:
    """Return the figures of a cell, by split, and what it cost."""
    info = RunInfo.load(folder)
    # The rows of the cell's own model come first.
    own = {split: [row for row in rows if row.model == rows[0].model] for split, rows in info.results.items()}
    figures: dict[str, Any] = {
        split: {
            # With fewer than five labels there is no precision at 5.
            figure: next(row.metrics.get(key) for row in rows if row.thresholds == thresholds)
            for figure, (thresholds, key) in FIGURES.items()
        }
        for split, rows in own.items()
    }
    if info.retraining:  # The validation rows are of the model before it.
        figures["validation"] = dict.fromkeys(FIGURES)
    return figures | {"parameters": info.num_parameters, "train_seconds": info.train_seconds}


def collect(output_dir: Path) -> list[dict[str, Any]]:
    """Return all finished cells of the folder, in the order of their names."""
    cells = []
    for path in sorted(output_dir.glob(f"*/*/*/{METRICS_NAME}")):
        name, recipe, seed = path.parent.relative_to(output_dir).parts
        if not seed.isdigit():  # in the folder of a run that was stopped
            continue
        cells.append({"set": name, "recipe": recipe, "seed": int(seed)} | read_cell(path.parent))
    return cells


def summary(cells: list[dict[str, Any]], split: str = "test") -> str:
    """Return a table: for every set and recipe the mean of the seeds, of the figures with the least and the most."""
    lines = ["| set | recipe | seeds | " + " | ".join(FIGURES) + " | parameters | training |"]
    lines.append("|---" * (len(FIGURES) + 5) + "|")
    for name, recipe in dict.fromkeys((cell["set"], cell["recipe"]) for cell in cells):
        seeds = [cell for cell in cells if (cell["set"], cell["recipe"]) == (name, recipe)]
        figures = [spread([cell[split][figure] for cell in seeds]) for figure in FIGURES]
        sizes = [cell["parameters"] for cell in seeds]
        parameters = "" if None in sizes else f"{mean(sizes) / 1e6:.1f} M"
        seconds = f"{mean(cell['train_seconds'] for cell in seeds):,.0f} s"
        lines.append(f"| {name} | {recipe} | {len(seeds)} | {' | '.join(figures)} | {parameters} | {seconds} |")
    return "\n".join(lines)


def comparison(cells: list[dict[str, Any]], split: str = "validation") -> str:
    """Return a table: `BASE` on every set, and the differences of the other recipes, each the mean of its seeds."""
    found: dict[str, dict[tuple[str, str], float]] = {}
    for name, recipe in dict.fromkeys((cell["set"], cell["recipe"]) for cell in cells):
        seeds = [cell[split] for cell in cells if (cell["set"], cell["recipe"]) == (name, recipe)]
        if None in (cell[figure] for cell in seeds for figure in COMPARED):
            continue
        for figure in COMPARED:
            found.setdefault(recipe, {})[name, figure] = mean(cell[figure] for cell in seeds)
    bases = found.pop(BASE)
    lines = ["| recipe | " + " | ".join(f"{name}, {figure}" for name, figure in bases) + " |"]
    lines.append("|---" * (len(bases) + 1) + "|")
    lines.append(f"| {BASE} | " + " | ".join(f"{value:.3f}".lstrip("0") for value in bases.values()) + " |")
    for recipe in [each for each in RECIPES if each in found]:
        gains = [found[recipe][column] - value if column in found[recipe] else None for column, value in bases.items()]
        shown = ["" if gain is None else f"{gain:+.3f}".replace("0.", ".") for gain in gains]
        lines.append(f"| {recipe} | {' | '.join(shown)} |")
    return "\n".join(lines)


def spread(values: list[float | None]) -> str:
    """Return the mean with the least and the most, or nothing where nothing was measured."""
    measured = [value for value in values if value is not None]
    if not measured:
        return ""
    shown = [f"{value:.3f}".lstrip("0") for value in (mean(measured), min(measured), max(measured))]
    return shown[0] if len(measured) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"
