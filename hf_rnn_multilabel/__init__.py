"""Recurrent multi-label taggers as ordinary Hugging Face models."""

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .model.configuration_rnn_multilabel import RnnMultilabelConfig
from .model.losses import OBJECTIVES
from .model.modeling_rnn_multilabel import (
    RnnMultilabelForMaskedLM,
    RnnMultilabelForSequenceClassification,
    RnnMultilabelModel,
)
from .model.pipeline_rnn_multilabel import RnnMultilabelTaggingPipeline
from .model.recurrence import TRAINING_KERNELS
from .training import objectives
from .training.stepwise import StepwiseRecurrence


if TYPE_CHECKING:
    from .data import encode_labels
    from .evaluation import make_compute_metrics, tune_thresholds
    from .hub.push import push_to_hub
    from .inference.ensemble import TaggerEnsemble
    from .inference.loading import load_tagger
    from .inference.onnx_export import export_onnx
    from .inference.onnx_tagger import OnnxTagger
    from .training.pretraining import pretrain_encoder
    from .training.tagger import train_tagger
    from .training.trainer import TaggerTrainer

__version__ = "0.2.0"
__all__ = [
    "OnnxTagger",
    "RnnMultilabelConfig",
    "RnnMultilabelForMaskedLM",
    "RnnMultilabelForSequenceClassification",
    "RnnMultilabelModel",
    "RnnMultilabelTaggingPipeline",
    "TaggerEnsemble",
    "TaggerTrainer",
    "encode_labels",
    "export_onnx",
    "load_tagger",
    "make_compute_metrics",
    "pretrain_encoder",
    "push_to_hub",
    "train_tagger",
    "tune_thresholds",
]

# Loaded when they are asked for: they need more than loading and tagging do.
_LAZY = {
    "OnnxTagger": "inference.onnx_tagger",
    "TaggerEnsemble": "inference.ensemble",
    "TaggerTrainer": "training.trainer",
    "encode_labels": "data",
    "export_onnx": "inference.onnx_export",
    "load_tagger": "inference.loading",
    "make_compute_metrics": "evaluation",
    "pretrain_encoder": "training.pretraining",
    "push_to_hub": "hub.push",
    "train_tagger": "training.tagger",
    "tune_thresholds": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


AutoConfig.register("rnn_multilabel", RnnMultilabelConfig, exist_ok=True)
AutoModel.register(RnnMultilabelConfig, RnnMultilabelModel, exist_ok=True)
AutoModelForMaskedLM.register(RnnMultilabelConfig, RnnMultilabelForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(RnnMultilabelConfig, RnnMultilabelForSequenceClassification, exist_ok=True)
if "multi-label-tagging" not in PIPELINE_REGISTRY.supported_tasks:
    PIPELINE_REGISTRY.register_pipeline(
        "multi-label-tagging",
        pipeline_class=RnnMultilabelTaggingPipeline,
        pt_model=AutoModelForSequenceClassification,
        type="text",
    )
# What only training needs does not travel with a checkpoint; whoever has the package has it.
OBJECTIVES |= objectives.OBJECTIVES
TRAINING_KERNELS |= {cell_type: partial(StepwiseRecurrence.apply, cell_type) for cell_type in ("rnn", "gru")}
