"""Files and data sets in: rows, labels, splits, tokenizers.

Names are imported when they are used, since reading rows to tag needs neither datasets nor scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .arguments import DataArguments
    from .encoding import LabelEncoding, encode_labels
    from .inspection import Inspection
    from .loading import TaggingData, inspect_data, load_data, load_labelled
    from .outputs import Resumption, open_output
    from .readers import read_rows, read_texts
    from .splits import label_frequencies, stratified_split
    from .tokenizer_pruning import prune_tokenizer
    from .tokenizer_training import train_tokenizer
    from .tokenizing import find_text_column, tokenize

_MODULES = {
    "DataArguments": "arguments",
    "Inspection": "inspection",
    "LabelEncoding": "encoding",
    "Resumption": "outputs",
    "TaggingData": "loading",
    "encode_labels": "encoding",
    "find_text_column": "tokenizing",
    "inspect_data": "loading",
    "label_frequencies": "splits",
    "load_data": "loading",
    "load_labelled": "loading",
    "open_output": "outputs",
    "prune_tokenizer": "tokenizer_pruning",
    "read_rows": "readers",
    "read_texts": "readers",
    "stratified_split": "splits",
    "tokenize": "tokenizing",
    "train_tokenizer": "tokenizer_training",
}
__all__ = [
    "DataArguments",
    "Inspection",
    "LabelEncoding",
    "Resumption",
    "TaggingData",
    "encode_labels",
    "find_text_column",
    "inspect_data",
    "label_frequencies",
    "load_data",
    "load_labelled",
    "open_output",
    "prune_tokenizer",
    "read_rows",
    "read_texts",
    "stratified_split",
    "tokenize",
    "train_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
