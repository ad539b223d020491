"""Texts in, tags out, from an exported folder and without torch.

Each export holds a copy of this file as tagger.py, which needs numpy, onnxruntime and tokenizers and nothing else but
the files beside it:

    python tagger.py < texts.txt > tags.jsonl
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from tokenizers import Tokenizer

# An export has these two files beside its tagger.py.
from ..model.tagging import BATCH_SIZE, Tagger, TaggingOptions, shorten
from ..model.text_encoding import TextEncoder


FORMAT_VERSION = 1
MAKER = "hf_rnn_multilabel"
# What `export_onnx` writes into the metadata of a model, as JSON by name.
METADATA = [
    "labels",
    "thresholds",
    "model_max_length",
    "truncation_side",
    "split_special_tokens",
    "pad_token_id",
    "num_tokens",
    "format_version",
    "made_by",
]


class OnnxTagger(Tagger):
    """Tags of texts: the labels whose score reaches their threshold, highest score first, as the pipeline gives them.

    ```python
    tagger = OnnxTagger("outputs/articles/onnx")
    tagger("a folding lamp for the desk")  # [{"label": "lighting", "score": 0.93}, {"label": "office", "score": 0.81}]
    ```

    Several threads may share one tagger. A copy of it, a pickled one, and one in a forked process open the folder
    again.

    Args:
        folder: What `hf_rnn_multilabel.inference.onnx_export.export_onnx` wrote.
        file: "model.onnx", or "model_int8.onnx": about a quarter of the size; its scores are nearly the same, and
            depend a little on the other texts of the batch.
        threads: The number of batches that are run at the same time, each by one thread; by default one per core. Two
            threads on one batch measured slower than one on each of two.
        threshold: As in `TaggingOptions`, like all of the following; each may be given in a call as well.
        top_k: The largest number of tags per text.
        at_least_one: Whether a text without any tag gets its best label.
        truncation: Whether texts are truncated.
        max_length: The number of tokens at which they are.
        batch_size: The number of texts that the model reads at once.

    Raises:
        FileNotFoundError: If the folder lacks the model or its tokenizer.
        ValueError: If an argument is out of its range, `threshold` names an unknown label, the model is none that
            `export_onnx` wrote, a newer version wrote it, or model, labels and tokenizer do not fit each other.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        file: str = "model.onnx",
        threads: int | None = None,
        threshold: Mapping[str, float] | float | None = None,
        top_k: int | None = None,
        at_least_one: bool | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        batch_size: int | None = None,
    ):
        if threads is not None and threads < 1:
            raise ValueError(f"`threads` is {threads}; it must be at least 1, or None for one per core.")
        self._folder, self._file, self._threads = Path(folder).resolve(), file, threads
        self._open()
        self._set_options(TaggingOptions(threshold, top_k, at_least_one, truncation, max_length, batch_size))

    def _open(self) -> None:
        for name in (self._file, "tokenizer.json"):
            if not (self._folder / name).is_file():
                raise FileNotFoundError(
                    f"No {name!r} in {str(self._folder)!r}; give a folder that `export_onnx` wrote."
                )
        path = str(self._folder / self._file)
        session_options = SessionOptions()
        session_options.intra_op_num_threads = 1
        self._session = InferenceSession(path, session_options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        metadata = read_metadata(self._session.get_modelmeta().custom_metadata_map, path)
        check_metadata(metadata, self._session.get_outputs()[0].shape[1], tokenizer, path)
        self._labels: dict[str, float] = dict(zip(metadata["labels"], metadata["thresholds"], strict=True))
        self._pad_token_id: int = metadata["pad_token_id"]
        self._encoder = TextEncoder(
            tokenizer,
            metadata["model_max_length"],
            metadata["truncation_side"],
            metadata["split_special_tokens"],
        )
        self._pool = ThreadPoolExecutor(self._threads or os.cpu_count())
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_folder", "_file", "_threads", "_options")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @property
    def label_names(self) -> list[str]:
        """The labels, in the order of the logits."""
        return list(self._labels)

    @property
    def _own_thresholds(self) -> dict[str, float]:
        return self._labels

    def _run(self, texts: list[str], options: TaggingOptions) -> Iterator[tuple[Any, Any]]:
        if self._process != os.getpid():
            # Of a forked process's parent there are neither its threads nor those of the runtime.
            self._open()
        encodings = self._encoder(texts, options.truncation, options.max_length)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        order = (-lengths).argsort(kind="stable")
        batch_size = options.batch_size or BATCH_SIZE

        def run_batch(start: int) -> tuple[np.ndarray, np.ndarray]:
            rows = order[start : start + batch_size]
            # A batch of empty texts has one time step too, which is padding.
            mask = np.arange(max(lengths[rows[0]], 1)) < lengths[rows, None]  # (batch, time)
            ids = np.full(mask.shape, self._pad_token_id)
            ids[mask] = np.fromiter(chain.from_iterable(encodings[row].ids for row in rows), np.int64)
            inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
            return rows, self._session.run(["logits"], inputs)[0]

        if len(texts) <= batch_size:
            yield run_batch(0)  # here, since another thread would have to be woken first
        else:
            yield from self._pool.map(run_batch, range(0, len(texts), batch_size))

    def _empty_logits(self, texts: int) -> np.ndarray:
        return np.empty((texts, len(self._labels)), dtype=np.float32)


def read_metadata(metadata: Mapping[str, str], path: str) -> dict[str, Any]:
    """Read what `export_onnx` wrote into the metadata of a model.

    Args:
        metadata: The metadata, as JSON by name.
        path: Where the model is, for messages.

    Returns:
        The values by name.

    Raises:
        ValueError: If there are none of `export_onnx`, or they have a newer format.
    """
    if not metadata.get("made_by", "").startswith(f'"{MAKER} '):
        raise ValueError(f"{path!r} has no labels in its metadata; give a model that `export_onnx` wrote.")
    version = json.loads(metadata["format_version"])
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path!r} has format {version}, made by {json.loads(metadata['made_by'])}, and this tagger reads formats "
            f"up to {FORMAT_VERSION}; take the tagger.py beside the model, or a newer `hf_rnn_multilabel`."
        )
    missing = [name for name in METADATA if name not in metadata]
    if missing:
        raise ValueError(f"{path!r} lacks {shorten(missing)} in its metadata; export the model again.")
    return {name: json.loads(metadata[name]) for name in METADATA}


def check_metadata(metadata: Mapping[str, Any], num_labels: int, tokenizer: Tokenizer, path: str) -> None:
    """Check that a model, its metadata and its tokenizer fit each other.

    Args:
        metadata: What `read_metadata` returned.
        num_labels: The number of logits per text.
        tokenizer: The tokenizer beside the model.
        path: Where the model is, for messages.

    Raises:
        ValueError: If they do not.
    """
    labels, thresholds, limit = metadata["labels"], metadata["thresholds"], metadata["model_max_length"]
    remedy = "export the model again"
    duplicates = [label for label, count in Counter(labels).items() if count > 1]
    if duplicates:
        raise ValueError(f"The labels of {path!r} name {shorten(duplicates)} more than once; {remedy}.")
    if not len(labels) == len(thresholds) == num_labels:
        raise ValueError(
            f"{path!r} has {len(labels):,} `labels`, {len(thresholds):,} `thresholds` and {num_labels:,} logits; "
            f"{remedy}."
        )
    wrong = [f"{label}: {value}" for label, value in zip(labels, thresholds, strict=True) if not 0 <= value <= 1]
    if wrong:
        raise ValueError(f"{path!r} has `thresholds` that are not in [0, 1]: {shorten(wrong)}; {remedy}.")
    if limit is not None and limit < 1:
        raise ValueError(f"The `model_max_length` of {path!r} is {limit}; it must be at least 1: {remedy}.")
    if tokenizer.get_vocab_size() != metadata["num_tokens"]:
        raise ValueError(
            f"The tokenizer.json beside {path!r} has {tokenizer.get_vocab_size():,} tokens, and the model was "
            f"exported with one of {metadata['num_tokens']:,}; {remedy}."
        )


def main() -> None:
    if len(sys.argv) > 1:
        print(__doc__)
        return
    """Tag the lines of the standard input, a line of JSON each."""
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    tagger = OnnxTagger(Path(__file__).parent)
    for tags in tagger((line.rstrip("\n") for line in sys.stdin), batch_size=BATCH_SIZE):
        print(json.dumps(tags, ensure_ascii=False))


if __name__ == "__main__":
    main()
