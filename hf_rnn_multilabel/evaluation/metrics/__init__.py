"""The metric of the `evaluate` library; its folder `multilabel` is a Space. Imported when a name is first used."""

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from .multilabel.multilabel import (
        Multilabel,
        apply_thresholds,
        decision_metrics,
        make_compute_metrics,
        per_label_metrics,
        ranking_metrics,
    )

__all__ = [
    "Multilabel",
    "apply_thresholds",
    "decision_metrics",
    "make_compute_metrics",
    "per_label_metrics",
    "ranking_metrics",
]


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .multilabel import multilabel

    return getattr(multilabel, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
