"""Texts in, tags out, over the thresholds of the checkpoint."""

# Every pipeline narrows the arguments and the flags that the base class leaves open.
# mypy: disable-error-code="assignment, override"

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import torch
from transformers import BatchEncoding, Pipeline, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging


logger = logging.get_logger(__name__)

BATCH_SIZE = 64  # of a list, unless another is asked for; the tags do not depend on it
WINDOW = 4096  # texts of a list that are sorted by length at a time
STREAM_BATCHES = 16  # batches of a generator that are; where it is read one by one, none


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

    def __call__(self, inputs: Any, *args: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        if isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes):
            inputs = list(inputs)  # the base class knows no tuple, and no column of a `datasets.Dataset`
            batch_size = batch_size or self._batch_size or BATCH_SIZE
            if not inputs:
                return []
        return super().__call__(inputs, *args, batch_size=batch_size, **kwargs)

    def run_single(self, inputs: Any, *params: dict[str, Any]) -> list[dict[str, Any]]:
        return next(self.get_iterator([inputs], 0, 1, *params))

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[list[dict[str, Any]]]:
        """The tags of each text in turn; windows of texts are tokenized at once, run in batches of alike lengths."""
        texts = (inputs[index] for index in range(len(inputs))) if hasattr(inputs, "__len__") else iter(inputs)
        window = WINDOW
        if not isinstance(inputs, list):
            window = batch_size * STREAM_BATCHES if batch_size > 1 else 1
        while some := list(islice(texts, window)):
            tags: list[Any] = [None] * len(some)
            for chosen, outputs in self._run_by_length(some, batch_size, preprocess_params, forward_params):
                for index, found in zip(chosen, self.postprocess(outputs, **postprocess_params), strict=True):
                    tags[index] = found
            yield from tags

    def logits(self, texts: Iterable[str], batch_size: int | None = None, **preprocess_params: Any) -> torch.Tensor:
        """The net's logits, before thresholds; a score is the sigmoid of one.

        Args:
            texts: many texts; the logits of all are in memory at once.
            batch_size: texts in a batch; None: that of the constructor, else 64.
            preprocess_params: `truncation` and `max_length` as in a call.

        Returns:
            (texts, labels) float32 on the CPU, in the order of the texts.
        """
        texts, batch_size = list(texts), batch_size or self._batch_size or BATCH_SIZE
        params = self._preprocess_params | preprocess_params
        logits = torch.empty(len(texts), self.model.config.num_labels)
        for start in range(0, len(texts), WINDOW):
            window = logits[start : start + WINDOW]
            for chosen, outputs in self._run_by_length(texts[start : start + WINDOW], batch_size, params, {}):
                window[chosen] = outputs["logits"].float()
        return logits

    def _run_by_length(
        self, texts: list[str], batch_size: int, preprocess_params: dict[str, Any], forward_params: dict[str, Any]
    ) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Batches of texts of alike lengths: their places in the list, and their outputs."""
        tokens = self.preprocess(texts, **preprocess_params)
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        for start in range(0, len(texts), batch_size):
            chosen = order[start : start + batch_size]
            yield chosen, self.forward(self._padded([tokens[index] for index in chosen]), **forward_params)

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

    def preprocess(
        self, texts: list[str], truncation: bool | None = None, max_length: int | None = None
    ) -> list[list[int]]:
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(
                    f"A text to tag is {text!r:.200}, of type {type(text).__name__}; give a string ('' for an empty "
                    'text) or a list of strings: `dataset["text"]` for a dataset, `series.tolist()` for a column of a '
                    "table."
                )
        # `verbose` would warn of an error to come where a long text is read whole, but a recurrence has no limit.
        tokens = self.tokenizer(
            texts,
            truncation=truncation is not False,
            max_length=max_length,
            verbose=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        if truncation is None and max_length is None and not self._has_warned_of_truncation:
            self._warn_of_truncation(texts, tokens)
        return tokens["input_ids"]

    def _warn_of_truncation(self, texts: list[str], tokens: BatchEncoding) -> None:
        limit = self.tokenizer.model_max_length
        for text, ids, encoding in zip(texts, tokens["input_ids"], tokens.encodings or [], strict=False):
            if len(ids) >= limit and encoding.overflowing:
                self._has_warned_of_truncation = True
                logger.warning(
                    f"A text of {len(text):,} characters has more tokens than the tokenizer's `model_max_length` of "
                    f"{limit:,}; it and others like it are cut. Give `truncation=True` to agree, `truncation=False` "
                    "to read such texts whole, or `max_length`."
                )
                return

    def _padded(self, tokens: list[list[int]]) -> dict[str, torch.Tensor]:
        lengths = torch.tensor([len(ids) for ids in tokens])
        # An empty text has a masked step, since the base class cannot handle a batch without any.
        mask = torch.arange(max(int(lengths.max()), 1)) < lengths[:, None]  # (batch, time)
        ids = torch.zeros(mask.shape, dtype=torch.long)
        ids[mask] = torch.tensor(list(chain.from_iterable(tokens)), dtype=torch.long)
        return {"input_ids": ids, "attention_mask": mask.long()}

    def _forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"logits": self.model(**inputs).logits}

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        thresholds: list[float] | None = None,
        top_k: int | None = None,
        at_least_one: bool = False,
    ) -> list[list[dict[str, Any]]]:
        scores = outputs["logits"].float().sigmoid()  # (batch, labels)
        limits = scores.new_tensor(thresholds or self.model.config.label_thresholds)
        reached = scores >= limits
        if at_least_one:
            silent = ~reached.any(1)
            reached[silent, (scores - limits).argmax(1)[silent]] = True
        rows, labels = reached.nonzero(as_tuple=True)
        values = scores[rows, labels]
        order = values.argsort(descending=True, stable=True)
        names = self.model.config.label_names
        tags: list[list[dict[str, Any]]] = [[] for _ in scores]
        for row, label, value in zip(
            rows[order].tolist(), labels[order].tolist(), values[order].tolist(), strict=True
        ):
            if top_k is None or len(tags[row]) < top_k:
                tags[row].append({"label": names[label], "score": value})
        return tags


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
