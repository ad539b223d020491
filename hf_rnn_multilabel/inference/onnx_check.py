"""How far an export agrees with its model."""

from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase, pipeline

from .onnx_tagger import OnnxTagger


def check_export(
    folder: str | Path, file: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> dict[str, Any]:
    """Compare an exported model with the one that it is of.

    Args:
        folder: what `export_onnx` wrote.
        file: the exported model in it.
        model, tokenizer: what was exported.
        texts: on which they are compared.

    Returns:
        "file", "same_tags": the fraction of the texts with the same tags, and "max_logit_difference".
    """
    tagger = pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)  # type: ignore[call-overload]
    exported = OnnxTagger(folder, file=file)
    difference = np.abs(exported.logits(texts) - np.asarray(tagger.logits(texts)))
    pairs = zip(_labels(exported(texts)), _labels(tagger(texts, truncation=True)), strict=True)
    return {
        "file": file,
        "same_tags": float(np.mean([ours == theirs for ours, theirs in pairs])),
        "max_logit_difference": float(difference.max()),
    }


def _labels(tags: list[list[dict[str, Any]]]) -> list[set[str]]:
    return [{tag["label"] for tag in of_text} for of_text in tags]
