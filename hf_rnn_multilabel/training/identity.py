"""What a run is a run of: digests of its rows, its settings and the versions that it ran with."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..hub.fingerprint import digest, digest_files
from ..hub.provenance import shown_name
from .recipe import OF_THE_PUSH, EncoderRecipe


PACKAGES = ("hf-rnn-multilabel", "torch", "transformers", "datasets")
# The settings that may name a file or a folder, beside those of the rows.
PATHS = {"embeddings_from", "model_name_or_path", "tokenizer_name", "teacher", "teacher_from", "unlabelled_file"}
# What may differ between a run and its resumption.
INCIDENTAL = {"disable_tqdm", "report_to", "log_level", *OF_THE_PUSH}


def identity(
    texts: Mapping[str, Sequence[str]],
    recipe: EncoderRecipe,
    labels: Mapping[str, np.ndarray] | None = None,
    label_names: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Describe a run so that another one can be told from it; see `RunFolder.identify`.

    Args:
        texts: by split.
        recipe: as it was given.
        labels: by split, (rows, labels).
        label_names: in the order of the columns.
        more: values of JSON, by name.
    """
    settings = {name: value for name, value in vars(recipe).items() if name != "training_arguments"}
    stock = {name: str(value) for name, value in recipe.training_arguments.items() if name not in INCIDENTAL}
    return {
        "texts": {
            split: digest(text.encode("utf-8", "surrogatepass") for text in part) for split, part in texts.items()
        },
        "labels": {split: digest([np.ascontiguousarray(part).tobytes()]) for split, part in (labels or {}).items()},
        "label_names": digest(name.encode("utf-8", "surrogatepass") for name in label_names),
        "settings": settings | stock,
        "files": contents({**settings, **more}),
        "versions": versions(),
    } | more


def contents(settings: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files and folders that settings name: another one may lie at the same path by then.

    Args:
        settings: by name; of those in `PATHS`, what is no path that exists is a name on the Hub, and left out.
    """
    digests: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            digests |= {f"{name}.{part}": digest for part, digest in contents(value).items()}
        for path in value if isinstance(value, list | tuple) else [value]:
            if name in PATHS and isinstance(path, str) and os.path.exists(path):
                key = name if name not in digests else f"{name}, {shown_name(path)}"
                digests[key] = _digest_at(Path(path))
    return digests


def _digest_at(path: Path) -> str:
    """The digest of a file, or of the names and contents of a folder's files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return digest_files([file for file in files if file.is_file()], with_names=path.is_dir())


def without_folders(value: Any) -> Any:
    """An identity for the run information, which is public: of each path that exists the last part alone."""
    if isinstance(value, Mapping):
        return {name: without_folders(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    return shown_name(value) if isinstance(value, str) else value


def versions() -> dict[str, str]:
    """The versions of the packages that decide what a training gives."""
    return {name: version(name) for name in PACKAGES}
