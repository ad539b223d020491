"""Metrics, decision thresholds, calibration, a linear baseline and plots.

Its libraries (scikit-learn, evaluate, matplotlib) are imported when a name that needs them is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from .baseline import linear_scores
    from .calibration import calibrate, expected_calibration_error
    from .evaluate import compute_metrics, evaluate_all, evaluate_scores
    from .metrics import (
        apply_thresholds,
        decision_metrics,
        make_compute_metrics,
        per_label_metrics,
        ranking_metrics,
    )
    from .plots import plot_all
    from .thresholds import ThresholdMethod, tune_thresholds

__all__ = [
    "ThresholdMethod",
    "apply_thresholds",
    "calibrate",
    "compute_metrics",
    "decision_metrics",
    "evaluate_all",
    "evaluate_scores",
    "expected_calibration_error",
    "linear_scores",
    "make_compute_metrics",
    "per_label_metrics",
    "plot_all",
    "ranking_metrics",
    "tune_thresholds",
]
MODULES = {
    "baseline": {"linear_scores"},
    "calibration": {"calibrate", "expected_calibration_error"},
    "evaluate": {"compute_metrics", "evaluate_all", "evaluate_scores"},
    "plots": {"plot_all"},
    "thresholds": {"ThresholdMethod", "tune_thresholds"},
}


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = next((module for module, names in MODULES.items() if name in names), "metrics")
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
