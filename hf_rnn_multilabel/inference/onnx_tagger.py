"""Texts in, tags out, from an exported folder and without torch.

Each export holds a copy of this file as tagger.py, which needs numpy, onnxruntime and tokenizers and nothing else:

    python tagger.py < texts.txt > tags.jsonl
"""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Encoding, Tokenizer


FORMAT_VERSION = 1
MAKER = "hf_rnn_multilabel"
# What is tokenised at once: so many batches, and so many characters, since a long text is held whole until it is cut.
WINDOW_BATCHES = 64
WINDOW_CHARACTERS = 4_000_000

logger = logging.getLogger(__name__)


class OnnxTagger:
    """Tags of a text: the labels whose score reaches their threshold, highest score first, as the pipeline gives them.

    ```python
    tagger = OnnxTagger("outputs/articles/onnx")
    tagger("a folding lamp for the desk")  # [{"label": "lighting", "score": 0.93}, {"label": "office", "score": 0.81}]
    ```

    Several threads may share one tagger.

    Args:
        folder: what `hf_rnn_multilabel.export.export_onnx` wrote.
        file: "model.onnx", or "model_int8.onnx": about a quarter of the size; its scores are nearly the same, and
            depend a little on the other texts of the batch.
        threads: number of batches that are run at the same time, each by one thread; None: one a core. Two threads on
            one batch measured slower than one on each of two.

    Raises:
        FileNotFoundError: for a folder without the net or its tokenizer.
        ValueError: for `threads` below 1, a net that `export_onnx` did not write, or that a newer version wrote.
    """

    def __init__(self, folder: str | Path, *, file: str = "model.onnx", threads: int | None = None):
        for name in (file, "tokenizer.json"):
            if not Path(folder, name).is_file():
                raise FileNotFoundError(f"No {name!r} in {str(folder)!r}; give a folder that `export_onnx` wrote.")
        if threads is not None and threads < 1:
            raise ValueError(f"`threads` is {threads}; it must be at least 1, or None for one a core.")
        options = SessionOptions()
        options.intra_op_num_threads = 1
        self._threads = ThreadPoolExecutor(threads or os.cpu_count())
        path = str(Path(folder, file))
        self._session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        facts = read_facts(self._session.get_modelmeta().custom_metadata_map, path)
        self.labels: list[str] = facts["labels"]
        self.thresholds: list[float] = facts["thresholds"]
        self._pad_token_id: int = facts["pad_token_id"]
        self._tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
        self._truncation: Any = self._tokenizer.truncation
        # Where it cuts is part of a tokenizer's state, which other threads may be using.
        self._tokenizer_that_cuts_at = lru_cache(maxsize=4)(self._copy_tokenizer)
        self._has_warned_of_truncation = False

    def __call__(
        self,
        texts: Any,
        threshold: float | dict[str, float] | None = None,
        top_k: int | None = None,
        at_least_one: bool = False,
        batch_size: int = 64,
        max_length: int | None = None,
    ) -> Any:
        """Tag a text or many.

        Args:
            texts: a string, a sequence of strings, or an iterator of strings, which is read as its tags are.
            threshold: a number for all labels, or numbers by label name for some; None: the model's own. It is
                compared in float32, as the scores are.
            top_k: at most so many tags; None: all that reach their threshold.
            at_least_one: whether a text without any gets its best label, by the score's distance from the threshold.
            batch_size: number of texts, of alike length, in a run of the net.
            max_length: number of tokens at which a text is cut; None: the tokenizer's `model_max_length`, and the
                first time a warning is logged.

        Returns:
            for a text a list of `{"label": name, "score": probability}`, for a sequence a list of those in its order,
            for an iterator an iterator of those.

        Raises:
            ValueError: for a text that is no string, an unknown label in `threshold`, a threshold outside [0, 1], or
                a `top_k`, `batch_size` or `max_length` below 1.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"`top_k` is {top_k}; it must be at least 1, or None for all.")
        _check_sizes(batch_size, max_length)
        limits = choose_limits(threshold, self.labels, self.thresholds)

        def tag(texts: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
            for window in windows(texts, WINDOW_BATCHES * batch_size):
                scores = sigmoid(self._run(window, batch_size, max_length))  # (texts, labels)
                yield from choose_tags(scores, limits, self.labels, top_k, at_least_one)

        if isinstance(texts, Iterator):
            return tag(texts)
        if isinstance(texts, Sequence) and not isinstance(texts, str | bytes):
            return list(tag(texts))
        return next(tag([texts]))

    def logits(self, texts: Iterable[str], batch_size: int = 64, max_length: int | None = None) -> np.ndarray:
        """The net's logits; a score is the sigmoid of one.

        Args:
            texts, batch_size, max_length: as in a call, many texts.

        Returns:
            (texts, labels) float32.

        Raises:
            ValueError: for a text that is no string, or a `batch_size` or `max_length` below 1.
        """
        _check_sizes(batch_size, max_length)
        found = [self._run(window, batch_size, max_length) for window in windows(texts, WINDOW_BATCHES * batch_size)]
        return np.concatenate([np.empty((0, len(self.labels)), dtype=np.float32), *found])

    def _run(self, texts: list[str], batch_size: int, max_length: int | None) -> np.ndarray:
        tokenizer = self._tokenizer if max_length is None else self._tokenizer_that_cuts_at(max_length)
        encodings = tokenizer.encode_batch_fast(texts)
        if max_length is None:
            self._warn_of_truncation(texts, encodings)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        order = lengths.argsort(kind="stable")
        logits = np.empty((len(texts), len(self.labels)), dtype=np.float32)

        def run_batch(start: int) -> None:
            rows = order[start : start + batch_size]
            # A batch of empty texts has one step too, which is padding.
            mask = np.arange(max(lengths[rows[-1]], 1)) < lengths[rows, None]  # (batch, time)
            ids = np.full(mask.shape, self._pad_token_id)
            ids[mask] = np.fromiter(chain.from_iterable(encodings[row].ids for row in rows), np.int64)
            inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
            logits[rows] = self._session.run(["logits"], inputs)[0]

        if len(texts) <= batch_size:
            run_batch(0)  # here, since another thread would have to be woken first
        else:
            for _ in self._threads.map(run_batch, range(0, len(texts), batch_size)):
                pass  # an error of a batch is raised here
        return logits

    def _copy_tokenizer(self, max_length: int) -> Tokenizer:
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.enable_truncation(**self._truncation | {"max_length": max_length})
        return tokenizer

    def _warn_of_truncation(self, texts: list[str], encodings: list[Encoding]) -> None:
        if self._has_warned_of_truncation:
            return
        cut = next((text for text, encoding in zip(texts, encodings, strict=True) if encoding.overflowing), None)
        if cut is not None:
            self._has_warned_of_truncation = True
            logger.warning(
                f"A text of {len(cut):,} characters has more tokens than the tokenizer's `model_max_length` of "
                f"{self._truncation['max_length']:,}; it and others like it are cut. Give `max_length` to "
                "agree, or to read more."
            )


def read_facts(metadata: dict[str, str], path: str) -> dict[str, Any]:
    """What `export_onnx` wrote into the metadata of a net.

    Raises:
        ValueError: if it wrote none, or in a newer format.
    """
    if not metadata.get("made_by", "").startswith(f'"{MAKER} '):
        raise ValueError(f"{path!r} has no labels in its metadata; give a net that `export_onnx` wrote.")
    version = json.loads(metadata["format_version"])
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path!r} has format {version}, made by {json.loads(metadata['made_by'])}, and this tagger reads formats "
            f"up to {FORMAT_VERSION}; take the tagger.py beside the net, or a newer `hf_rnn_multilabel`."
        )
    return {name: json.loads(metadata[name]) for name in ("labels", "thresholds", "pad_token_id")}


def choose_limits(threshold: float | dict[str, float] | None, labels: list[str], own: list[float]) -> np.ndarray:
    """The thresholds of a call: those that are given, over the model's own.

    Returns:
        (labels,) float32.

    Raises:
        ValueError: for an unknown label, or a threshold outside [0, 1].
    """
    if threshold is None:
        threshold = {}
    given = threshold if isinstance(threshold, dict) else dict.fromkeys(labels, threshold)
    unknown = sorted(set(given) - set(labels))
    if unknown:
        raise ValueError(f"`threshold` names {unknown}, which the model does not know; its labels are {labels}.")
    wrong = [value for value in given.values() if not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"`threshold` is {wrong[0]}; it must be in [0, 1].")
    return np.array(list((dict(zip(labels, own, strict=True)) | given).values()), dtype=np.float32)


def choose_tags(
    scores: np.ndarray, limits: np.ndarray, labels: list[str], top_k: int | None, at_least_one: bool
) -> list[list[dict[str, Any]]]:
    """The tags of each text, highest score first, equal ones in the order of the labels.

    Args:
        scores: (texts, labels) float32.
        limits: (labels,) float32.
        labels: their names.
        top_k, at_least_one: as in a call.

    Returns:
        a list of `{"label": name, "score": probability}` for each text.
    """
    chosen = scores >= limits  # (texts, labels)
    if at_least_one:
        bare = np.flatnonzero(~chosen.any(axis=1))
        chosen[bare, (scores[bare] - limits).argmax(axis=1)] = True
    texts, columns = chosen.nonzero()  # (hits,), text by text
    order = np.lexsort((-scores[texts, columns], texts))
    texts, columns = texts[order], columns[order]
    counts = chosen.sum(axis=1)  # (texts,)
    if top_k is not None:
        ranks = np.arange(len(texts)) - (counts.cumsum() - counts)[texts]
        texts, columns, counts = texts[ranks < top_k], columns[ranks < top_k], counts.clip(max=top_k)
    hits = zip(columns.tolist(), scores[texts, columns].tolist(), strict=True)
    tags = [{"label": labels[column], "score": score} for column, score in hits]
    ends = counts.cumsum().tolist()
    return [tags[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)) in their own precision; exp may overflow to infinity, of which the inverse is 0."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits))


def windows(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """The texts in lists of at most `size`, and of few more than `WINDOW_CHARACTERS`; it reads no further than that.

    Raises:
        ValueError: for a text that is no string.
    """
    window: list[str] = []
    characters = 0
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(
                f"A text to tag is {text!r:.200}, of type {type(text).__name__}; give a string ('' for an empty text) "
                'or a list of strings: `dataset["text"]` for a dataset, `series.tolist()` for a column of a table.'
            )
        window.append(text)
        characters += len(text)
        if len(window) == size or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _check_sizes(batch_size: int, max_length: int | None) -> None:
    if batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}; it must be at least 1.")
    if max_length is not None and max_length < 1:
        raise ValueError(f"`max_length` is {max_length}; it must be at least 1, or None for the tokenizer's own.")


def main() -> None:
    tagger = OnnxTagger(Path(__file__).parent)
    for tags in tagger(line.rstrip("\n") for line in sys.stdin):
        print(json.dumps(tags, ensure_ascii=False))


if __name__ == "__main__":
    main()
