"""Several taggers as one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..model.tagging import BATCH_SIZE, Tagger, TaggingOptions, shorten


class TaggerEnsemble(Tagger):
    """Tags of texts by several models: the mean of their logits, over thresholds of its own.

    The models may differ in everything but the set of their labels. Each reads the texts with its own tokenizer, and
    may be a pipeline, an exported one, or an ensemble.

    Args:
        taggers: The taggers; of their own options `truncation` and `max_length` are kept.
        threshold: As in `TaggingOptions`, like all of the following; each may be given in a call as well. By default
            a label's is the mean of the taggers' thresholds in log-odds, as the logits are.
        top_k: The largest number of tags per text.
        at_least_one: Whether a text without any tag gets its best label.
        truncation: Whether texts are truncated.
        max_length: The number of tokens at which they are.
        batch_size: The number of texts that a model reads at once.

    Raises:
        ValueError: If there are no taggers, their labels differ, an argument is out of its range, or `threshold` names
            an unknown label.
    """

    def __init__(
        self,
        taggers: Sequence[Tagger],
        *,
        threshold: Mapping[str, float] | float | None = None,
        top_k: int | None = None,
        at_least_one: bool | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
    ):
        self.taggers = list(taggers)
        if not self.taggers:
            raise ValueError("`taggers` is empty; an ensemble needs at least one.")
        self._label_names = list(self.taggers[0].label_names)
        self._orders = [self._order(number) for number in range(len(self.taggers))]
        self._mean_thresholds = self._compute_mean_thresholds()
        self._set_options(TaggingOptions(threshold, top_k, at_least_one, truncation, max_length, batch_size))

    @property
    def label_names(self) -> list[str]:
        """The labels in the order of the logits, which is that of the first tagger."""
        return self._label_names

    @property
    def _own_thresholds(self) -> dict[str, float]:
        return self._mean_thresholds

    def _run(self, texts: list[str], options: TaggingOptions) -> Iterator[tuple[Sequence[int], Any]]:
        truncation, max_length, batch_size = options.truncation, options.max_length, options.batch_size or BATCH_SIZE
        total = np.zeros((len(texts), len(self.label_names)), dtype=np.float32)
        for tagger, order in zip(self.taggers, self._orders, strict=True):
            logits = tagger.logits(texts, truncation=truncation, max_length=max_length, batch_size=batch_size)
            total += logits[:, order]
        total /= len(self.taggers)
        for start in range(0, len(texts), batch_size):
            rows = range(start, min(start + batch_size, len(texts)))
            yield rows, total[rows.start : rows.stop]

    def _empty_logits(self, texts: int) -> np.ndarray:
        return np.empty((texts, len(self.label_names)), dtype=np.float32)

    def _order(self, number: int) -> list[int]:
        """Where a tagger has the labels of the first one."""
        indices = {name: index for index, name in enumerate(self.taggers[number].label_names)}
        missing = [name for name in self.label_names if name not in indices]
        known = set(self.label_names)
        added = [name for name in indices if name not in known]
        if missing or added:
            difference = [f"lacks {shorten(missing)}"] if missing else []
            difference += [f"adds {shorten(added)}"] if added else []
            raise ValueError(
                f"The labels of tagger {number} of `taggers` are not those of tagger 0, it "
                f"{' and '.join(difference)}. An ensemble is of models with the same labels, in any order."
            )
        return [indices[name] for name in self.label_names]

    def _compute_mean_thresholds(self) -> dict[str, float]:
        by_tagger = [tagger.thresholds for tagger in self.taggers]
        means = {}
        for name in self.label_names:
            log_odds = [_log_odds(thresholds[name]) for thresholds in by_tagger]
            means[name] = 1 / (1 + math.exp(-sum(log_odds) / len(log_odds)))
        return means


def _log_odds(probability: float) -> float:
    probability = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(probability / (1 - probability))
