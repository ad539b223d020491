"""Files of rows in, the same rows with their tags out: every row in its place, in flat memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers.utils import cached_file

from ..hub.fingerprint import digest_files
from ..model.tagging import shorten


# Rows in memory at once, whose texts are sorted by length into batches.
WINDOW = 4096
# What decides the scores of a model.
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "*.safetensors", "*.onnx", "*.onnx.data")
PACKAGES = ("hf-rnn-multilabel", "torch", "transformers", "tokenizers", "onnxruntime")


def tag_rows(
    tagger: Any,
    rows: Iterable[Mapping[str, Any]],
    *,
    text_column: str = "text",
    tags_column: str = "predicted_labels",
    scores: bool = False,
    tags_separator: str | None = None,
    window: int = WINDOW,
    num_done: int = 0,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Give each row the tags of its text.

    Args:
        tagger: a pipeline, an ensemble or an `OnnxTagger`.
        rows: dicts, read as their tags are asked for.
        text_column: where a row's text is.
        tags_column: where its tags go: a list of labels.
        scores: whether the tags are `{"label": name, "score": probability}`.
        tags_separator: joins the labels of a row to one string; None: they are a list.
        window: rows that are in memory at once.
        num_done: rows that come before these, for the numbers of rows in errors.
        options: of the tagger's call, for example `threshold`.

    Yields:
        the rows in their order, with one column more.

    Raises:
        ValueError: for a label that holds the separator, or scores beside it; for a row whose text is missing or no
            string, or that has the column already, with its number, counted from 1.
    """
    if window < 1:
        raise ValueError(f"`window` is {window}; it must be at least 1.")
    if tags_separator is not None:
        _check_separator(tags_separator, tagger.label_names, scores)
    rows = iter(rows)
    while part := list(islice(rows, window)):
        for number, row in enumerate(part, num_done + 1):
            if text_column not in row:
                raise ValueError(f"Row {number} has no column {text_column!r} (`text_column`); it has {list(row)}.")
            if not isinstance(row[text_column], str):
                raise ValueError(
                    f"Row {number} has {row.get(text_column)!r:.200} as `{text_column}`; it must be a string. Its "
                    f"columns are {list(row)}; name the text's with `text_column`."
                )
            if tags_column in row:
                raise ValueError(f"Row {number} has a column {tags_column!r} already; give another `tags_column`.")
        for row, tags in zip(part, tagger([row[text_column] for row in part], **options), strict=True):
            yield {**row, tags_column: _written(tags, scores, tags_separator)}
        num_done += len(part)


def tagging_identity(models: Sequence[str | Path], revision: str | None = None, **settings: Any) -> dict[str, Any]:
    """Describe what decides the tags of rows, so that a tagging that was stopped resumes as the same; JSON values.

    Args:
        models: folders, ".onnx" files or names on the Hub.
        revision: the branch, tag or commit on the Hub.
        settings: by name.
    """
    return {
        "models": [_model_digest(Path(model), revision) for model in models],
        "settings": settings | {"threads": torch.get_num_threads()},
        "versions": {each.name: each.version for name in PACKAGES for each in distributions(name=name)},
    }


def _model_digest(model: Path, revision: str | None) -> str:
    if not model.exists():
        # Of its snapshot, whose name is the commit.
        model = Path(str(cached_file(str(model), "config.json", revision=revision))).parent
    if model.is_file():
        return digest_files([model, *_found(model.parent, MODEL_FILES[:3])])
    return digest_files(_found(model, MODEL_FILES))


def _found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _written(tags: list[dict[str, Any]], scores: bool, separator: str | None) -> Any:
    """The tags of a text as they stand in a row."""
    if scores:
        return tags
    labels = [tag["label"] for tag in tags]
    return labels if separator is None else separator.join(labels)


def _check_separator(separator: str, label_names: list[str], scores: bool) -> None:
    if scores:
        raise ValueError(f"`scores` are asked for, so the tags cannot be joined by `tags_separator` {separator!r}.")
    wrong = [name for name in label_names if separator in name]
    if wrong or not separator:
        raise ValueError(
            f"`tags_separator` is {separator!r}, which stands in the labels {shorten(wrong)}; give another."
        )
