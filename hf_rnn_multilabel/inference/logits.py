"""The one place that turns texts into logits, and logits into scores, for any text classifier."""

from ..model.pipeline_rnn_multilabel import compute_logits
from ..model.tagging import sigmoid


__all__ = ["compute_logits", "sigmoid"]
