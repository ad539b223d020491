"""Texts in, tags out, over the thresholds of the checkpoint."""

# Every pipeline narrows the arguments and the flags that the base class leaves open.
# mypy: disable-error-code="assignment, override"

from collections.abc import Sequence
from typing import Any

import torch
from transformers import BatchEncoding, Pipeline, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging


logger = logging.get_logger(__name__)


class MultiLabelTaggingPipeline(Pipeline):
    """Tags of a text: the labels whose score reaches their threshold, highest score first.

    ```python
    tagger = pipeline("multi-label-tagging", model="folder or name on the Hub")
    tagger("a folding lamp for the desk")  # [{"label": "lighting", "score": 0.93}, {"label": "office", "score": 0.81}]
    ```

    Args of the constructor, and of each call, which comes first:
        threshold: a number for all labels, or numbers by label name for some; None: the checkpoint's own. It is
            compared in float32, as the scores are.
        top_k: at most so many tags; None: all that reach their threshold.
        at_least_one: whether a text without any gets its best label, by the score's distance from the threshold.
        truncation: whether a text is cut at `max_length`; None: it is, and the first time a warning says so.
        max_length: number of tokens; None: the tokenizer's `model_max_length`.

    Returns:
        for a text a list of `{"label": name, "score": probability}`, for a list of texts a list of those; for a
        generator or a torch `Dataset` an iterator of those.

    Raises:
        ValueError: for a text that is no string, an unknown label in `threshold`, a threshold outside [0, 1], or a
            `top_k` below 1.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False
    _has_warned_of_truncation = False

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes):
            inputs = list(inputs)  # the base class knows no tuple, and no column of a `datasets.Dataset`
            if not inputs:
                return []
        return super().__call__(inputs, *args, **kwargs)

    def _sanitize_parameters(
        self,
        threshold: float | dict[str, float] | None = None,
        top_k: int | None = None,
        at_least_one: bool | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
    ) -> tuple[dict, dict, dict]:
        if top_k is not None and top_k < 1:
            raise ValueError(f"`top_k` is {top_k}; it must be at least 1, or None for all.")
        thresholds = None if threshold is None else self._thresholds(threshold)
        preprocess = {"truncation": truncation, "max_length": max_length}
        postprocess = {"thresholds": thresholds, "top_k": top_k, "at_least_one": at_least_one}
        return _given(preprocess), {}, _given(postprocess)

    def _thresholds(self, threshold: float | dict[str, float]) -> list[float]:
        labels = self.model.config.label_names
        given = threshold if isinstance(threshold, dict) else dict.fromkeys(labels, threshold)
        unknown = sorted(set(given) - set(labels))
        if unknown:
            raise ValueError(f"`threshold` names {unknown}, which the model does not know; its labels are {labels}.")
        wrong = [value for value in given.values() if not 0 <= value <= 1]
        if wrong:
            raise ValueError(f"`threshold` is {wrong[0]}; it must be in [0, 1].")
        own = dict(zip(labels, self.model.config.label_thresholds, strict=True))
        return list((own | given).values())

    def preprocess(self, text: str, truncation: bool | None = None, max_length: int | None = None) -> BatchEncoding:
        if not isinstance(text, str):
            raise ValueError(
                f"A text to tag is {text!r:.200}, of type {type(text).__name__}; give a string ('' for an empty text) "
                'or a list of strings: `dataset["text"]` for a dataset, `series.tolist()` for a column of a table.'
            )
        # `verbose` would warn of an error to come where a long text is read whole, but a recurrence has no limit.
        tokens = self.tokenizer(
            text, return_tensors="pt", truncation=truncation is not False, max_length=max_length, verbose=False
        )
        if truncation is None and max_length is None:
            self._warn_of_truncation(text, tokens)
        if tokens["input_ids"].shape[1] == 0:
            # The base class cannot pad an empty text on the left; one masked step is the same to the model.
            return BatchEncoding({name: torch.zeros(1, 1, dtype=torch.long) for name in tokens})
        return tokens

    def _warn_of_truncation(self, text: str, tokens: BatchEncoding) -> None:
        is_cut = tokens.encodings is not None and tokens.encodings[0].overflowing
        if is_cut and not self._has_warned_of_truncation:
            self._has_warned_of_truncation = True
            logger.warning(
                f"A text of {len(text):,} characters has more tokens than the tokenizer's `model_max_length` of "
                f"{self.tokenizer.model_max_length:,}; it and others like it are cut. Give `truncation=True` to "
                "agree, `truncation=False` to read such texts whole, or `max_length`."
            )

    def _forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"logits": self.model(**inputs).logits}

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        thresholds: list[float] | None = None,
        top_k: int | None = None,
        at_least_one: bool = False,
    ) -> list[dict[str, Any]]:
        scores = outputs["logits"][0].float().sigmoid()  # (labels,)
        limits = scores.new_tensor(thresholds or self.model.config.label_thresholds)
        chosen = (scores >= limits).nonzero().flatten()
        if at_least_one and len(chosen) == 0:
            chosen = (scores - limits).argmax().reshape(1)
        chosen = chosen[scores[chosen].argsort(descending=True, stable=True)][:top_k]
        names = self.model.config.label_names
        return [{"label": names[index], "score": scores[index].item()} for index in chosen.tolist()]


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
