"""Several taggers as one."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from ..model.pipeline_rnn_multilabel import MultiLabelTaggingPipeline


class TaggerEnsemble:
    """Tags of a text by several nets: the mean of their logits, over thresholds of its own.

    The nets may differ in everything but the set of their labels; each reads the text with its own tokenizer.

    Args:
        taggers: the pipelines; of their own settings `truncation` and `max_length` are kept.
        threshold: as for the pipeline; None, and a label that it does not name: the mean of the checkpoints'
            thresholds, in log-odds as the logits are.
        top_k, at_least_one: as for the pipeline.

    Raises:
        ValueError: if the nets' labels differ, and as the pipeline does.
    """

    def __init__(
        self,
        taggers: Sequence[MultiLabelTaggingPipeline],
        threshold: float | dict[str, float] | None = None,
        top_k: int | None = None,
        at_least_one: bool = False,
    ):
        self.taggers = list(taggers)
        self.label_names = taggers[0].model.config.label_names
        self._orders = [self._order(tagger) for tagger in taggers]
        self.thresholds = dict(zip(self.label_names, self._mean_thresholds(), strict=True))
        if threshold is not None:
            self.thresholds |= threshold if isinstance(threshold, dict) else dict.fromkeys(self.label_names, threshold)
        self._postprocessing = taggers[0]._sanitize_parameters(self.thresholds, top_k, at_least_one)[2]

    def __call__(self, texts: Sequence[str], batch_size: int | None = None) -> list[list[dict[str, Any]]]:
        """The tags of each text, highest score first, as the pipeline gives them for a list."""
        return self.taggers[0].postprocess({"logits": self.logits(texts, batch_size)}, **self._postprocessing)

    def logits(self, texts: Iterable[str], batch_size: int | None = None) -> torch.Tensor:
        """The mean of the nets' logits, (texts, labels) float32; the labels are in the order of the first net's."""
        texts = list(texts)
        first, *others = self.taggers
        logits = first.logits(texts, batch_size)  # (texts, labels)
        for tagger, order in zip(others, self._orders[1:], strict=True):
            logits += tagger.logits(texts, batch_size)[:, order]
        return logits / len(self.taggers)

    def _order(self, tagger: MultiLabelTaggingPipeline) -> list[int]:
        """Where a net has the labels of the first one."""
        places = {name: place for place, name in enumerate(tagger.model.config.label_names)}
        missing = [name for name in self.label_names if name not in places]
        added = sorted(set(places) - set(self.label_names))
        if missing or added:
            raise ValueError(
                f"The labels of {tagger.model.name_or_path!r} are not those of "
                f"{self.taggers[0].model.name_or_path!r}: it lacks {missing} and adds {added}; an ensemble is of "
                "models with the same labels, in any order."
            )
        return [places[name] for name in self.label_names]

    def _mean_thresholds(self) -> list[float]:
        limits = [tagger.model.config.label_thresholds for tagger in self.taggers]
        by_label = zip(
            *([_log_odds(own[place]) for place in order] for own, order in zip(limits, self._orders, strict=True)),
            strict=True,
        )
        return [1 / (1 + math.exp(-sum(values) / len(values))) for values in by_label]


def _log_odds(probability: float) -> float:
    probability = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(probability / (1 - probability))
