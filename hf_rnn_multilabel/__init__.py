"""Recurrent multi-label taggers as ordinary Hugging Face models."""

from functools import partial

from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification
from transformers.pipelines import PIPELINE_REGISTRY

from .model.configuration_rnn_multilabel import RnnMultilabelConfig
from .model.modeling_rnn_multilabel import (
    RnnMultilabelForMaskedLM,
    RnnMultilabelForSequenceClassification,
    RnnMultilabelModel,
    RnnMultilabelPreTrainedModel,
)
from .model.pipeline_rnn_multilabel import RnnMultilabelTaggingPipeline
from .model.recurrence import TRAINING_KERNELS
from .training.stepwise import StepwiseRecurrence


__version__ = "0.1.0"
__all__ = [
    "RnnMultilabelConfig",
    "RnnMultilabelForMaskedLM",
    "RnnMultilabelForSequenceClassification",
    "RnnMultilabelModel",
    "RnnMultilabelPreTrainedModel",
    "RnnMultilabelTaggingPipeline",
]

AutoConfig.register("rnn_multilabel", RnnMultilabelConfig, exist_ok=True)
AutoModel.register(RnnMultilabelConfig, RnnMultilabelModel, exist_ok=True)
AutoModelForMaskedLM.register(RnnMultilabelConfig, RnnMultilabelForMaskedLM, exist_ok=True)
AutoModelForSequenceClassification.register(RnnMultilabelConfig, RnnMultilabelForSequenceClassification, exist_ok=True)
for cell_type in ("rnn", "gru"):
    TRAINING_KERNELS[cell_type] = partial(StepwiseRecurrence.apply, cell_type)
if "multi-label-tagging" not in PIPELINE_REGISTRY.supported_tasks:
    PIPELINE_REGISTRY.register_pipeline(
        "multi-label-tagging",
        pipeline_class=RnnMultilabelTaggingPipeline,
        pt_model=AutoModelForSequenceClassification,
        type="text",
    )
