"""Texts to tokens: which column they are in, whether each row has one, and the tokens of each."""

from collections.abc import Iterable
from functools import partial

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, List, Value
from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import LARGE_INTEGER

from ..model.tagging import shorten
from ..model.text_encoding import TextEncoder
from .columns import Origin, arrow_column, kind, require_columns, splits_of
from .files import quoted
from .readers import TEXT_COLUMNS, columns_called, is_clear
from .text_facts import refuse_texts


def find_text_column(dataset: Dataset | DatasetDict, others: Iterable[str] = ()) -> str:
    """Finds the column with the texts: the first of `TEXT_COLUMNS`, else the only one of strings.

    Args:
        dataset: Rows or splits.
        others: Columns that hold something else, for example the labels.

    Returns:
        The column's name.

    Raises:
        ValueError: No column or several columns fit.
    """
    features = next(iter(splits_of(dataset, train=False).values())).features
    strings = [name for name, feature in features.items() if kind(feature) == "string" and name not in set(others)]
    named = columns_called(strings, TEXT_COLUMNS)
    if named and not is_clear(named):
        raise ValueError(f"Columns {quoted(named[:2])} differ in capitals alone; pass one as `text_column`.")
    if not named and len(strings) != 1:
        raise ValueError(
            f"Which column holds the texts? Of those with strings, {quoted(strings)}, none is called one of "
            f"{', '.join(TEXT_COLUMNS)}; pass `text_column`. All columns: "
            f"{shorten(f'{name!r} ({feature})' for name, feature in features.items())}."
        )
    return (named or strings)[0]


def check_texts(rows: Dataset, split: str, column: str, origin: Origin | None = None) -> None:
    """Raises a ValueError where a text is missing or no string.

    Args:
        rows: The rows.
        split: Their split.
        column: The column with the texts.
        origin: Where the rows are, for the error.
    """
    missing = np.flatnonzero(arrow_column(rows, column).is_null())
    first = int(missing[0]) if len(missing) else 0
    refuse_texts(rows.features[column], len(missing), first, split, column, origin or Origin())


def tokenize(
    dataset: Dataset | DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    text_column: str = "text",
    *,
    max_length: int | None = None,
) -> tuple[Dataset | DatasetDict, dict[str, int]]:
    """Turns texts into "input_ids" and "attention_mask", truncated and not padded.

    Args:
        dataset: Rows or splits with a column of strings; a text may be empty.
        tokenizer: A fast tokenizer.
        text_column: The column, which is removed; all others are kept.
        max_length: Tokens per text at most, special tokens included; None for the tokenizer's `model_max_length`,
            or for no limit where it has none.

    Returns:
        The dataset, and by split ("train" for a single `Dataset`) how many texts were truncated.

    Raises:
        ValueError: The column is missing or does not hold strings, a text is None, there is no row, the tokenizer
            is not a fast one, or `max_length` leaves no room for a token.
    """
    splits = splits_of(dataset, train=False)
    require_columns(splits, [text_column])
    encoder = make_encoder(tokenizer, max_length)
    tokenized, truncated = DatasetDict(), {}
    for split, rows in splits.items():
        check_texts(rows, split, text_column)
        others = {name: feature for name, feature in rows.features.items() if name != text_column}
        tokens = {"input_ids": List(Value("int32")), "attention_mask": List(Value("int8"))}
        mapped = rows.with_format(None).map(
            partial(_tokenize_batch, encoder=encoder),
            batched=True,
            input_columns=[text_column],
            remove_columns=[text_column],
            features=Features({**others, **tokens, "__truncated__": Value("bool")}),
            desc=f"Tokenizing {split}",
        )
        # A column, since a counter in the function would stay at 0 when the rows come from the cache.
        truncated[split] = pc.sum(arrow_column(mapped, "__truncated__")).as_py()
        tokenized[split] = mapped.remove_columns("__truncated__")
    return (tokenized if isinstance(dataset, DatasetDict) else tokenized["train"]), truncated


def make_encoder(tokenizer: PreTrainedTokenizerBase, max_length: int | None = None) -> TextEncoder:
    """What turns texts into tokens as `tokenize` does; its arguments and errors are the same."""
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} is not a fast tokenizer; pass a `PreTrainedTokenizerFast`.")
    limit = tokenizer.model_max_length if max_length is None else max_length
    special = tokenizer.num_special_tokens_to_add()
    if limit <= special:
        raise ValueError(f"`max_length` {limit} leaves no room besides {special} special tokens; raise it.")
    # It reads no more of a long text than the tokens that are kept need.
    return TextEncoder(
        tokenizer.backend_tokenizer,
        limit if limit < LARGE_INTEGER else None,
        tokenizer.truncation_side,
        tokenizer.split_special_tokens,
    )


def _tokenize_batch(texts: list[str], encoder: TextEncoder) -> dict[str, list]:
    encodings = encoder(texts, truncation=encoder.model_max_length is not None)
    return {
        "input_ids": [encoding.ids for encoding in encodings],
        "attention_mask": [encoding.attention_mask for encoding in encodings],
        "__truncated__": [bool(encoding.overflowing) for encoding in encodings],
    }
