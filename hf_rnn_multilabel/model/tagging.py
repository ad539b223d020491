"""The protocol of tagging: the same arguments, texts and tags for the pipeline, an ensemble and an ONNX export.

This file travels with every checkpoint and with every export, and needs the standard library alone. Its arrays are
numpy's, and its callers make them.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from numbers import Integral, Real
from typing import Any


BATCH_SIZE = 64  # texts
# What is tokenized and sorted by length at once: this many batches, and fewer where the texts are long.
WINDOW_BATCHES = 64
WINDOW_CHARACTERS = 4_000_000


def shorten(names: Iterable[Any], count: int = 8) -> str:
    """Name the first of many things in a message.

    Args:
        names: The things, of which each is shown with at most 80 characters.
        count: How many are named.

    Returns:
        For example "a, b, c and 8,199 more".
    """
    names = list(names)
    shown = ", ".join(f"{name!s:.80}" for name in names[:count])
    return shown if len(names) <= count else f"{shown} and {len(names) - count:,} more"


def sigmoid(logits: Any) -> Any:
    """Turn logits into scores, 1 / (1 + exp(-logit)), rounded to float32 only at the end.

    Args:
        logits: An array of any shape.

    Returns:
        The scores, float32 of the same shape. They are the same on every processor.
    """
    # Beyond 120 the float32 nearest to the score is 0 or 1, and the power would overflow.
    return (1 / (1 + math.e ** -logits.astype("float64").clip(-120, 120))).astype("float32")


@dataclass(frozen=True)
class TaggingOptions:
    """The arguments of a call or of a constructor; None leaves a choice to the constructor, then to the defaults.

    Args:
        threshold: A score in [0, 1] for all labels, or scores by label name for some of them; by default the
            model's own. It is compared in float32, and a score equal to it is a tag.
        top_k: The largest number of tags per text; by default there is none.
        at_least_one: Whether a text without any tag gets the label whose score is nearest to its threshold.
        truncation: Whether texts are truncated, True by default. The first time that one is, a warning says so,
            unless `truncation` or `max_length` is given.
        max_length: The number of tokens at which texts are truncated; by default the tokenizer's `model_max_length`.
        batch_size: The number of texts of similar length that the model reads at once, 64 by default.

    Raises:
        ValueError: If a value is of the wrong type or out of its range.
    """

    threshold: Mapping[str, float] | float | None = None
    top_k: int | None = None
    at_least_one: bool | None = None
    truncation: bool | None = None
    max_length: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "max_length", "batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
                raise ValueError(f"`{name}` is {value!r:.200}; it must be a whole number, at least 1, or None.")
        for name in ("at_least_one", "truncation"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, bool):
                raise ValueError(f"`{name}` is {value!r:.200}; it must be True, False or None.")
        if self.truncation is False and self.max_length is not None:
            raise ValueError(f"`max_length` is {self.max_length} and `truncation` is False; give one of the two.")
        if isinstance(self.threshold, Mapping):
            for label, value in self.threshold.items():
                _check_threshold(value, f"`threshold` of {label!r:.80}")
        elif self.threshold is not None:
            _check_threshold(self.threshold, "`threshold`")

    def over(self, defaults: "TaggingOptions") -> "TaggingOptions":
        """Return these options, filled up with `defaults` where they are None."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: value for name, value in given.items() if value is not None}
        if "max_length" in given and defaults.truncation is False:
            given.setdefault("truncation", True)
        elif given.get("truncation") is False:
            given["max_length"] = None
        return replace(defaults, **given)


def _check_threshold(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{name} is {value!r:.200}; it must be a number in [0, 1], or such numbers by label name.")


def choose_thresholds(threshold: Mapping[str, float] | float | None, own: Mapping[str, float]) -> dict[str, float]:
    """Put the thresholds of a call over those of a tagger.

    Args:
        threshold: As in `TaggingOptions`.
        own: The tagger's, by label name in the order of the logits.

    Returns:
        One threshold per label, in the order of `own`.

    Raises:
        ValueError: If `threshold` names a label that the tagger does not have.
    """
    if threshold is None:
        return dict(own)
    if not isinstance(threshold, Mapping):
        return dict.fromkeys(own, float(threshold))
    unknown = [label for label in threshold if label not in own]
    if unknown:
        raise ValueError(
            f"`threshold` names the unknown labels {shorten(unknown)}; the tagger's labels are {shorten(own)}."
        )
    return dict(own) | {label: float(value) for label, value in threshold.items()}


class TagChooser:
    """Chooses the tags of texts by their logits.

    Args:
        thresholds: By label name, in the order of the logits.
        top_k: As in `TaggingOptions`.
        at_least_one: As in `TaggingOptions`.
    """

    def __init__(self, thresholds: Mapping[str, float], top_k: int | None = None, at_least_one: bool | None = None):
        self.label_names = list(thresholds)
        self.top_k = top_k
        self.at_least_one = bool(at_least_one)
        self._thresholds = array("f", thresholds.values())
        # Few logits are near their threshold or above it. The scores of the others need not be computed.
        self._bounds = array("f", map(_lower_bound, self._thresholds))

    def __call__(self, logits: Any) -> list[list[dict[str, Any]]]:
        """Choose the tags of each text: highest score first, equal scores in the order of the labels.

        Args:
            logits: (texts, labels) float32, at least one text.

        Returns:
            For each text a list of `{"label": name, "score": probability}`.
        """
        thresholds, bounds = logits[0].copy(), logits[0].copy()  # (labels,)
        thresholds[:], bounds[:] = self._thresholds, self._bounds
        texts, labels = (logits >= bounds).nonzero()
        scores = sigmoid(logits[texts, labels])
        reached = scores >= thresholds[labels]
        texts, labels, scores = texts[reached], labels[reached], scores[reached]
        order = (-scores).argsort(kind="stable")
        tags: list[list[dict[str, Any]]] = [[] for _ in logits]
        found = zip(texts[order].tolist(), labels[order].tolist(), scores[order].tolist(), strict=True)
        for text, label, score in found:
            if self.top_k is None or len(tags[text]) < self.top_k:
                tags[text].append({"label": self.label_names[label], "score": score})
        if self.at_least_one:
            for text in range(len(tags)):
                if not tags[text]:
                    scores = sigmoid(logits[text])  # (labels,)
                    label = int((scores - thresholds).argmax())
                    tags[text].append({"label": self.label_names[label], "score": float(scores[label])})
        return tags


# The same thresholds come with each call.
@lru_cache(maxsize=2**14)
def _lower_bound(threshold: float) -> float:
    """A logit a little below all those whose score reaches the threshold."""
    below = threshold * (1 - 1e-6)
    return math.log(below / (1 - below)) - 1e-3 if below > 1e-37 else -math.inf


class Tagger:
    """What all ways of tagging have in common; a subclass turns a window of texts into logits.

    Args:
        options: The arguments of its constructor, which stand in for those that a call leaves out.
    """

    _options = TaggingOptions()

    @property
    def label_names(self) -> list[str]:
        """The labels, in the order of the logits."""
        raise NotImplementedError

    @property
    def thresholds(self) -> dict[str, float]:
        """The score from which each label is a tag, unless a call says otherwise, in the order of the logits."""
        return choose_thresholds(self._options.threshold, self._own_thresholds)

    @property
    def _own_thresholds(self) -> dict[str, float]:
        """The thresholds without those of the constructor's arguments."""
        raise NotImplementedError

    def _run(self, texts: list[str], options: TaggingOptions) -> Iterator[tuple[Sequence[int], Any]]:
        """Yield the logits of the texts in batches: the indices of the texts, and (batch, labels) float32."""
        raise NotImplementedError

    def _empty_logits(self, texts: int) -> Any:
        """Return an array (texts, labels) float32 to be filled."""
        raise NotImplementedError

    def _set_options(self, options: TaggingOptions) -> None:
        choose_thresholds(options.threshold, self._own_thresholds)
        self._options = options

    def __call__(
        self,
        texts: Any,
        *,
        threshold: Mapping[str, float] | float | None = None,
        top_k: int | None = None,
        at_least_one: bool | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Tag one text or many.

        Args:
            texts: A string; a list or another sequence of strings, such as a tuple, a column of a `datasets.Dataset`,
                an array or a `pandas.Series`; or an iterator, which is read as its tags are: text by text, or
                `WINDOW_BATCHES` batches at a time where `batch_size` is given and above 1.
            threshold: As in `TaggingOptions`, like all of the following.
            top_k: The largest number of tags per text.
            at_least_one: Whether a text without any tag gets its best label.
            truncation: Whether texts are truncated.
            max_length: The number of tokens at which they are.
            batch_size: The number of texts that the model reads at once.

        Returns:
            For a string a list of `{"label": name, "score": probability}`, highest score first; for a sequence a list
            of those; for an iterator an iterator of those.

        Raises:
            ValueError: If a text is no string, or an argument is out of its range.
        """
        options = TaggingOptions(threshold, top_k, at_least_one, truncation, max_length, batch_size)
        options = options.over(self._options)
        choose = TagChooser(choose_thresholds(threshold, self.thresholds), options.top_k, options.at_least_one)
        if isinstance(texts, str):
            return next(self._tag([texts], choose, options))
        many, is_stream = as_texts(texts)
        if is_stream:
            # Whoever makes the texts may wait for the tags of one before the next.
            size = options.batch_size or 1
            return self._tag(many, choose, options, window=size * WINDOW_BATCHES if size > 1 else 1)
        return list(self._tag(many, choose, options, window=(options.batch_size or BATCH_SIZE) * WINDOW_BATCHES))

    def logits(
        self,
        texts: Iterable[str],
        *,
        truncation: bool | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """Compute the logits of texts; a score is the sigmoid of one.

        Args:
            texts: As in a call; the logits of all are in memory at once. A string counts as one text.
            truncation: As in a call.
            max_length: As in a call.
            batch_size: As in a call.

        Returns:
            (texts, labels) float32, in the order of the texts and of `label_names`.

        Raises:
            ValueError: As in a call.
        """
        options = TaggingOptions(truncation=truncation, max_length=max_length, batch_size=batch_size)
        options = options.over(self._options)
        texts = list_texts(texts)
        logits = self._empty_logits(len(texts))
        for start, window in windows(texts, (options.batch_size or BATCH_SIZE) * WINDOW_BATCHES):
            rows_of_window = logits[start : start + len(window)]
            for rows, found in self._run(window, options):
                rows_of_window[rows] = found
        return logits

    def _tag(
        self, texts: Iterable[Any], choose: TagChooser, options: TaggingOptions, window: int = 1
    ) -> Iterator[list[dict[str, Any]]]:
        for start, some in windows(texts, window):
            tags: list[Any] = [None] * len(some)
            for rows, logits in self._run(some, options):
                if not (logits == logits).all():
                    row = next(row for row, found in zip(rows, logits, strict=True) if not (found == found).all())
                    raise ValueError(
                        f"The logits of text {start + row} are not numbers; the weights of the model are damaged, or "
                        "too large for its data type: load it again, in float32."
                    )
                for row, found in zip(rows, choose(logits), strict=True):
                    tags[row] = found
            yield from tags


def as_texts(texts: Any) -> tuple[Iterable[Any], bool]:
    """Tell what many texts are.

    Args:
        texts: What was given as texts, no string.

    Returns:
        The texts, and whether they are to be read as a stream: those of an iterator, of an iterable without a length,
        and of a data set that is read by index alone, such as a `torch.utils.data.Dataset`.

    Raises:
        ValueError: If it is nothing that holds texts in an order.
    """
    holds_texts = not isinstance(texts, Mapping | Set | bytes | bytearray) and getattr(texts, "ndim", 1) == 1
    is_sized, is_iterable = hasattr(texts, "__len__"), hasattr(texts, "__iter__")
    if holds_texts and is_iterable:
        return texts, not is_sized
    if holds_texts and is_sized and hasattr(texts, "__getitem__"):
        return (texts[index] for index in range(len(texts))), True
    raise ValueError(f"A text to tag is {_described(texts)}.")


def list_texts(texts: Any) -> list[Any]:
    """Make a list of texts, of which a string is one.

    Args:
        texts: As in a call of a `Tagger`.

    Raises:
        ValueError: If it is nothing that holds texts in an order.
    """
    return [texts] if isinstance(texts, str) else list(as_texts(texts)[0])


def windows(texts: Iterable[Any], size: int) -> Iterator[tuple[int, list[str]]]:
    """Split texts into lists of at most `size`, and of few more characters than `WINDOW_CHARACTERS`.

    Args:
        texts: The texts, read no further than needed for the next list.
        size: The largest number of texts in a list.

    Yields:
        The index of the first text, and the texts.

    Raises:
        ValueError: If a text is no string, or holds half a surrogate pair.
    """
    window: list[str] = []
    start = characters = 0
    for index, text in enumerate(texts):
        _check_text(text, index)
        window.append(text)
        characters += len(text)
        if len(window) == size or characters >= WINDOW_CHARACTERS:
            yield start, window
            window, start, characters = [], index + 1, 0
    if window:
        yield start, window


def _check_text(text: Any, index: int) -> None:
    if not isinstance(text, str):
        raise ValueError(f"Text {index} to tag is {_described(text)}.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"Text {index} to tag has {text[error.start]!r} at character {error.start}, half of a surrogate pair, "
                'which no file in UTF-8 can hold; replace it: `text.encode("utf-8", "replace").decode()`.'
            ) from error


def _described(text: Any) -> str:
    return (
        f"{text!r:.200}, of type {type(text).__name__}; give a string ('' for an empty text) or a sequence of "
        'strings, such as `dataset["text"]` for a column of a dataset or of a table'
    )
