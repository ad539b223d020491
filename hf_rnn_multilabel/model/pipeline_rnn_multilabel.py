"""Texts in, tags out: the pipeline of a checkpoint, and the logits of any text classifier."""

# Every pipeline narrows the arguments and the flags that the base class leaves open.
# mypy: disable-error-code="assignment, override"

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerBase

from .tagging import (
    BATCH_SIZE,
    WINDOW_BATCHES,
    TagChooser,
    Tagger,
    TaggingOptions,
    choose_thresholds,
    list_texts,
    windows,
)
from .text_encoding import MAX_LENGTH, TextEncoder


# Rows that embeddings may have beyond the tokens, for processors that like a multiple of some number.
MAX_PADDED_ROWS = 128


class RnnMultilabelTaggingPipeline(Tagger, Pipeline):
    """Tags of texts: the labels whose score reaches their threshold, highest score first.

    ```python
    tagger = pipeline("multi-label-tagging", model="folder or name on the Hub")
    tagger("a folding lamp for the desk")  # [{"label": "lighting", "score": 0.93}, {"label": "office", "score": 0.81}]
    ```

    Several threads may share one pipeline.

    Args:
        *args: As for every `transformers.Pipeline`: the model, the tokenizer, `device`, ...
        threshold: As in `TaggingOptions`, like all of the following; each may be given in a call as well.
        top_k: The largest number of tags per text.
        at_least_one: Whether a text without any tag gets its best label.
        truncation: Whether texts are truncated.
        max_length: The number of tokens at which they are.
        batch_size: The number of texts that the model reads at once.
        **kwargs: As for every `transformers.Pipeline`.

    Raises:
        ValueError: If an argument is out of its range, `threshold` names an unknown label, or the tokenizer is not a
            fast one or has other tokens than the model.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_video_processor = False
    _encoder: TextEncoder | None = None
    _encoder_is_for: tuple[Any, ...] = ()

    def __init__(
        self,
        *args: Any,
        threshold: Mapping[str, float] | float | None = None,
        top_k: int | None = None,
        at_least_one: bool | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ):
        options = TaggingOptions(threshold, top_k, at_least_one, truncation, max_length, batch_size)
        super().__init__(*args, batch_size=batch_size, **kwargs)
        self.model.eval()
        self._current_encoder()
        self._set_options(options)

    @property
    def label_names(self) -> list[str]:
        return self.model.config.label_names

    @property
    def _own_thresholds(self) -> dict[str, float]:
        return dict(zip(self.model.config.label_names, self.model.config.label_thresholds, strict=True))

    def _run(self, texts: list[str], options: TaggingOptions) -> Iterator[tuple[Sequence[int], Any]]:
        encodings = self._current_encoder()(texts, options.truncation, options.max_length)
        batch_size = options.batch_size or BATCH_SIZE
        for rows, logits in run_by_length(self.model, self.tokenizer, encodings, batch_size, self.device):
            yield rows, logits.numpy()

    def _empty_logits(self, texts: int) -> Any:
        return torch.empty(texts, self.model.config.num_labels).numpy()

    def _current_encoder(self) -> TextEncoder:
        """The encoder of the tokenizer as it is now."""
        tokenizer = self.tokenizer
        is_for = (tokenizer, len(tokenizer), tokenizer.model_max_length, tokenizer.truncation_side)
        encoder = self._encoder
        if encoder is None or self._encoder_is_for != is_for:
            check_tokens(tokenizer, self.model.config.vocab_size)
            encoder = self._encoder = make_encoder(tokenizer)
            self._encoder_is_for = is_for
        return encoder

    # What the base class asks of each pipeline, text by text. Its own calls are answered by `Tagger`.

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        TaggingOptions(**options)
        of_texts = {name: value for name, value in options.items() if name in ("truncation", "max_length")}
        return of_texts, {}, {name: value for name, value in options.items() if name not in of_texts}

    def preprocess(
        self, text: str, truncation: bool | None = None, max_length: int | None = None
    ) -> dict[str, torch.Tensor]:
        options = TaggingOptions(truncation=truncation, max_length=max_length).over(self._options)
        ((_, texts),) = windows([text], 1)
        encodings = self._current_encoder()(texts, options.truncation, options.max_length)
        return pad([encodings[0].ids], self.tokenizer)

    def _forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"logits": self.model(**inputs).logits}

    def postprocess(
        self,
        outputs: dict[str, torch.Tensor],
        threshold: Mapping[str, float] | float | None = None,
        top_k: int | None = None,
        at_least_one: bool | None = None,
    ) -> list[dict[str, Any]]:
        options = TaggingOptions(threshold, top_k, at_least_one).over(self._options)
        thresholds = choose_thresholds(threshold, self.thresholds)
        return TagChooser(thresholds, options.top_k, options.at_least_one)(outputs["logits"].float().numpy())[0]


def compute_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Any:
    """Compute the logits of any text classifier; texts of similar length share a batch.

    Args:
        model: The classifier, on the device where it is to run; it is put into evaluation mode.
        tokenizer: Its tokenizer, a fast one.
        texts: The texts; a string counts as one.
        max_length: The number of tokens at which texts are truncated; by default, and at most, the tokenizer's
            `model_max_length`.
        batch_size: The number of texts that the model reads at once.

    Returns:
        (texts, labels) float32, a numpy array, in the order of the texts and of the model's labels.

    Raises:
        ValueError: If a text is no string, an argument is out of its range, or the tokenizer is not a fast one.
    """
    options = TaggingOptions(truncation=True, max_length=max_length, batch_size=batch_size)
    model.eval()
    encoder = make_encoder(tokenizer)
    limits = [limit for limit in (options.max_length, encoder.model_max_length) if limit is not None]
    texts = list_texts(texts)
    logits = torch.empty(len(texts), model.config.num_labels)
    for start, window in windows(texts, WINDOW_BATCHES * batch_size):
        encodings = encoder(window, truncation=True, max_length=min(limits, default=None))
        for rows, found in run_by_length(model, tokenizer, encodings, batch_size, model.device):
            logits[start : start + len(window)][rows] = found
    return logits.numpy()


def check_tokens(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
    """Refuses a tokenizer that is not the model's, as far as the number of its tokens says.

    Args:
        tokenizer: The tokenizer.
        vocab_size: The rows of the model's embeddings, which may be a few more than the tokens.

    Raises:
        ValueError: If there are more tokens, or many fewer.
    """
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    if not tokens <= vocab_size < tokens + MAX_PADDED_ROWS:
        raise ValueError(
            f"The tokenizer has {tokens:,} tokens and the model's `vocab_size` is {vocab_size:,}; give the tokenizer "
            "with which the model was trained."
        )


def make_encoder(tokenizer: PreTrainedTokenizerBase) -> TextEncoder:
    """Make the encoder of a tokenizer.

    Args:
        tokenizer: A fast tokenizer, which stays as it is.

    Raises:
        ValueError: If it is not a fast one, or its `model_max_length` is no whole number of at least 1.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"The tokenizer is a {type(tokenizer).__name__}; give a fast one, with a tokenizer.json.")
    limit = tokenizer.model_max_length
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if not is_number or not limit >= 1 or (limit <= MAX_LENGTH and limit != int(limit)):
        raise ValueError(
            f"The tokenizer's `model_max_length` is {limit!r}; it must be a whole number, at least 1: set it, or load "
            "the tokenizer that the model was trained with."
        )
    return TextEncoder(
        tokenizer.backend_tokenizer,
        None if limit > MAX_LENGTH else int(limit),
        tokenizer.truncation_side,
        tokenizer.split_special_tokens,
    )


def run_by_length(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    encodings: Sequence[Any],
    batch_size: int,
    device: torch.device,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Run a model over batches of texts of similar length.

    Args:
        model: A text classifier.
        tokenizer: Its tokenizer, which says how to pad.
        encodings: A `tokenizers.Encoding` per text.
        batch_size: The number of texts in a batch.
        device: Where the model is.

    Yields:
        The indices of a batch's texts, and their logits, (batch, labels) float32 on the CPU.
    """
    # The longest come first: a batch that is too large for the memory shows at once.
    order = sorted(range(len(encodings)), key=lambda row: -len(encodings[row]))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = pad([encodings[row].ids for row in rows], tokenizer)
        with torch.inference_mode():
            logits = model(**{name: value.to(device) for name, value in inputs.items()}).logits.float().cpu()
        yield rows, logits


def pad(texts: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
    """Make a batch of texts.

    Args:
        texts: The token ids of each.
        tokenizer: Says with which token on which side.

    Returns:
        `input_ids` and `attention_mask`, (texts, time) int64, time at least 1.
    """
    lengths = torch.tensor([len(ids) for ids in texts])
    time = max(int(lengths.max()), 1)
    mask = torch.arange(time) < lengths[:, None]  # (texts, time)
    if tokenizer.padding_side == "left":
        mask = mask.flip(1)
    input_ids = torch.full(mask.shape, tokenizer.pad_token_id or 0)
    input_ids[mask] = torch.tensor(list(chain.from_iterable(texts)), dtype=torch.long)
    return {"input_ids": input_ids, "attention_mask": mask.long()}
