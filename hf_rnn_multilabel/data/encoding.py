"""Rows to model inputs: labels to float multi-hot, texts to tokens, one part to two alike ones."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, List, Value
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from transformers import PreTrainedTokenizerBase
from transformers.tokenization_utils_base import LARGE_INTEGER

from .label_columns import UNDERSTOOD, UNKNOWN, Entries, Form, arrow_column, find_label_column, kind, read_labels


TEXT_COLUMNS = ("text", "sentence", "content", "description", "abstract", "body")


@dataclass(frozen=True)
class LabelEncoding:
    """What `encode_labels` understood; printed, it is one sentence.

    Attributes:
        label_names: The labels in the order of their indices.
        form: The shape in which the labels came.
        counts: Train rows that carry each label.
        frequencies: Share of train rows that carry each label, among the rows where it is known.
        dropped: By split, the rows that carried each label that was left out.
    """

    label_names: list[str]
    form: Form
    counts: dict[str, int]
    frequencies: dict[str, float]
    dropped: dict[str, dict[str, int]]

    def __str__(self) -> str:
        shown = ", ".join(self.label_names[:5]) + (", ..." if len(self.label_names) > 5 else "")
        sentence = f"{len(self.label_names)} labels ({shown}), read from {UNDERSTOOD[self.form]}; "
        sentence += f"a train row carries {sum(self.frequencies.values()):.2f} on average"
        for split, labels in self.dropped.items():
            sentence += f", {len(labels)} unknown labels were dropped from {split} ({sum(labels.values())} times)"
        return sentence + "."


def encode_labels(
    dataset: Dataset | DatasetDict,
    label_column: str | list[str] | None = None,
    *,
    label_names: list[str] | None = None,
    separator: str | None = None,
    unknown_labels: Literal["error", "drop"] = "error",
) -> tuple[Dataset | DatasetDict, LabelEncoding]:
    """Turns labels of any shape into the column "labels", a float multi-hot that `Trainer` takes as it is.

    A label column may hold:

    - lists of names;
    - lists of ids. `ClassLabel` gives their names; plain integers index `label_names`, and without them a label is
      named by its id, so that index and id differ where train skips an id;
    - multi-hot lists of booleans, floats or integers, named by `label_names`, else LABEL_0, LABEL_1, ... A None
      or -100 among them is an unknown label. Integers are multi-hot where all lists that are not empty, of all
      splits, have one length above 1 and hold only 0 and 1 (None, -100); they are ids otherwise, as [0] and [1] are;
    - strings that `separator` splits;
    - one name, `ClassLabel` or id per row, where each row has one label. Strings that may hold several labels and
      integers that may be one 0/1 label are errors, not guesses.

    A list as `label_column` means one 0/1 column per label, None or -100 where unknown. A row of None, an empty list
    or an empty string has no label. The label column is removed, all others are kept.

    Args:
        dataset: Rows, or splits of which one is "train"; a single `Dataset` counts as "train".
        label_column: The column; or the columns, one per label; or None for the one of
            `label_columns.LABEL_COLUMNS` that is there.
        label_names: All labels in the order of their indices. Without them, the `ClassLabel`'s names, the columns'
            names, or the sorted labels of the train split.
        separator: What stands between the labels of a string; white space round a label does not count.
        unknown_labels: What to do with a label that is in a row and not in the vocabulary.

    Returns:
        The dataset with "labels", `List(Value("float32"), length=labels)` of 0, 1 and -100 (unknown), and what was
        understood.

    Raises:
        ValueError: A column is missing, ambiguous or of no shape above, a value is not a label, a label is unknown,
            or there is no row or no label. Rows are counted from 0.
    """
    splits = _splits(dataset)
    if unknown_labels not in ("error", "drop"):
        raise ValueError(f'`unknown_labels` is {unknown_labels!r}; it must be "error" or "drop".')
    if label_column is None:
        label_column = find_label_column(splits["train"])
    columns = [label_column] if isinstance(label_column, str) else list(label_column)
    if not columns or len(set(columns)) < len(columns):
        raise ValueError(f"`label_column` is {label_column}; it must name at least one column, and each once.")
    _require_columns(splits, columns)
    for split, rows in splits.items():
        rivals = {"labels", "label", "label_ids"}.intersection(rows.column_names).difference(columns)
        if rivals:
            raise ValueError(
                f"Split {split!r} has {sorted(rivals)} besides {columns}, which would overwrite the encoded labels in "
                "training; rename or remove it, or pass it as `label_column`."
            )

    form, names, entries, dropped = read_labels(splits, label_column, label_names, separator)
    if dropped and unknown_labels == "error":
        raise ValueError(_unknown_message(dropped, given=label_names is not None))

    encoded = DatasetDict()
    for split, rows in splits.items():
        kept = {name: feature for name, feature in rows.features.items() if name not in columns}
        mapped = rows.with_format("arrow").map(
            partial(_replace_columns, columns=columns, entries=entries[split], num_labels=len(names)),
            batched=True,
            with_indices=True,
            features=Features({**kept, "labels": List(Value("float32"), length=len(names))}),
            desc=f"Encoding the labels of {split}",
        )
        encoded[split] = mapped.with_format(None)
    positives, known = _tally(encoded["train"])
    counts = dict(zip(names, positives.tolist(), strict=True))
    frequencies = dict(zip(names, (positives / np.maximum(known, 1)).tolist(), strict=True))
    encoding = LabelEncoding(list(names), form, counts, frequencies, dropped)
    return (encoded if isinstance(dataset, DatasetDict) else encoded["train"]), encoding


def stratified_split(dataset: Dataset, test_size: float | int, *, seed: int = 0) -> DatasetDict:
    """Splits encoded rows in two parts with alike label shares, each in the order of `dataset`.

    A label too rare for even one of its rows to be due to the smaller part is left to chance: no split can share it
    in proportion, and thousands of such labels would pull all their rows into the larger part.

    Args:
        dataset: Rows with the column "labels" of `encode_labels`; an unknown label counts as absent.
        test_size: Share of the rows (float between 0 and 1) or their number (int) in "test"; the part comes out up
            to a few percent larger or smaller, since the label shares go first.
        seed: Breaks the ties.

    Returns:
        "train" and "test", disjoint and complete; `label_shares` reports how alike they are.

    Raises:
        ValueError: Either part would be empty, or the labels are not encoded.

    Source:
        Sechidis, Tsoumakas, Vlahavas (2011), On the Stratification of Multi-Label Data.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(f'`dataset` is a {type(dataset).__name__}; pass one split, such as `dataset["train"]`.')
    total = len(dataset)
    test_rows = test_size if isinstance(test_size, int | np.integer) else math.ceil(test_size * total)
    if not 0 < test_rows < total:
        raise ValueError(
            f"`test_size` {test_size} leaves {test_rows} of {total} rows for test and {total - test_rows} for train; "
            "each part needs at least one."
        )
    positives = np.concatenate([batch == 1 for batch in _label_batches(dataset)])  # (rows, labels)
    smaller_share = min(test_rows, total - test_rows) / total
    splittable = positives[:, positives.sum(axis=0) * smaller_share >= 1]
    # The stratifier refuses fewer than two labels; two that no row carries change nothing.
    targets = np.pad(splittable, ((0, 0), (0, 2)))
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=test_rows, random_state=seed)
    train, test = next(splitter.split(targets, targets))
    if not len(train) or not len(test):
        raise ValueError(f"{total} rows are too few to stratify with `test_size` {test_size}; pass more rows.")
    return DatasetDict({"train": dataset.select(train), "test": dataset.select(test)})


def label_shares(dataset: Dataset | DatasetDict) -> dict[str, list[float]]:
    """Reports the share of rows that carry each label, among the rows where it is known.

    Args:
        dataset: Rows or splits with the column "labels" of `encode_labels`; a single `Dataset` counts as "train".

    Returns:
        By split, the shares in the order of the label indices; 0 where a label is known nowhere.

    Raises:
        ValueError: The labels are not encoded, or a split has no rows.
    """
    tallies = {split: _tally(rows) for split, rows in _splits(dataset, train=False).items()}
    return {split: (positives / np.maximum(known, 1)).tolist() for split, (positives, known) in tallies.items()}


def find_text_column(dataset: Dataset | DatasetDict) -> str:
    """Finds the column with the texts: the first of `TEXT_COLUMNS` that holds strings, else the only one that does.

    Args:
        dataset: Rows or splits.

    Returns:
        The column's name.

    Raises:
        ValueError: No column or several columns fit.
    """
    features = next(iter(_splits(dataset, train=False).values())).features
    strings = [name for name, feature in features.items() if kind(feature) == "string"]
    found = [name for name in TEXT_COLUMNS if name in strings]
    if not found and len(strings) != 1:
        raise ValueError(
            f"Which column holds the texts? Of those with strings, {strings}, none is called one of {TEXT_COLUMNS}; "
            f"pass its name. The columns: {dict(features)}."
        )
    return (found or strings)[0]


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
    splits = _splits(dataset, train=False)
    _require_columns(splits, [text_column])
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} is not a fast tokenizer; pass a `PreTrainedTokenizerFast`.")
    limit = tokenizer.model_max_length if max_length is None else max_length
    special = tokenizer.num_special_tokens_to_add()
    if limit <= special:
        raise ValueError(f"`max_length` {limit} leaves no room besides {special} special tokens; raise it.")
    options = {"truncation": True, "max_length": limit} if limit < LARGE_INTEGER else {"truncation": False}

    tokenized, truncated = DatasetDict(), {}
    for split, rows in splits.items():
        _check_texts(rows, split, text_column)
        kept = {name: feature for name, feature in rows.features.items() if name != text_column}
        tokens = {"input_ids": List(Value("int32")), "attention_mask": List(Value("int8"))}
        mapped = rows.with_format(None).map(
            partial(_tokenize_batch, tokenizer=tokenizer, options=options),
            batched=True,
            input_columns=[text_column],
            remove_columns=[text_column],
            features=Features({**kept, **tokens, "__truncated__": Value("bool")}),
            desc=f"Tokenizing {split}",
        )
        # A column, since a counter in the function would stay at 0 when the rows come from the cache.
        truncated[split] = pc.sum(arrow_column(mapped, "__truncated__")).as_py()
        tokenized[split] = mapped.remove_columns("__truncated__")
    return (tokenized if isinstance(dataset, DatasetDict) else tokenized["train"]), truncated


def _splits(dataset: Dataset | DatasetDict, train: bool = True) -> dict[str, Dataset]:
    if not isinstance(dataset, Dataset | DatasetDict):
        raise ValueError(
            f"`dataset` is a {type(dataset).__name__}; pass a `Dataset` or `DatasetDict`, loaded without streaming."
        )
    splits = (
        {"train": dataset} if isinstance(dataset, Dataset) else {str(name): rows for name, rows in dataset.items()}
    )
    if not splits or (train and "train" not in splits):
        raise ValueError(f'The splits are {list(splits)}; call one "train", or pass a single split as a `Dataset`.')
    for split, rows in splits.items():
        if not len(rows):
            raise ValueError(f"Split {split!r} has no rows; fill it or remove it.")
    return splits


def _require_columns(splits: dict[str, Dataset], columns: list[str]) -> None:
    for split, rows in splits.items():
        missing = [column for column in columns if column not in rows.column_names]
        if missing:
            raise ValueError(f"Columns {missing} are not in split {split!r}, which has {rows.column_names}.")


def _unknown_message(unknown: dict[str, dict[str, int]], given: bool) -> str:
    found = "; ".join(
        f"{len(labels)} in {split!r}: {list(labels)[:5]}{' and more' if len(labels) > 5 else ''}"
        for split, labels in unknown.items()
    )
    where = "`label_names`" if given else "the train split"
    return (
        f"Labels are not in {where}, {found}. Pass all labels as `label_names`, or leave these out with "
        '`unknown_labels="drop"`.'
    )


def _replace_columns(
    table: pa.Table, indices: list[int], columns: list[str], entries: Entries, num_labels: int
) -> pa.Table:
    rows, labels, values = entries
    here = slice(*np.searchsorted(rows, [indices[0], indices[-1] + 1]))
    matrix = np.zeros((len(indices), num_labels), np.float32)  # (rows, labels)
    matrix[rows[here] - indices[0], labels[here]] = values[here]
    encoded = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), num_labels)
    return table.drop_columns(columns).append_column("labels", encoded)


def _label_batches(rows: Dataset):
    """Yields the encoded labels of 1,000 rows at a time, (rows, labels)."""
    feature = rows.features.get("labels")
    if not isinstance(feature, List) or feature.length < 1 or kind(feature.feature) != "float":
        raise ValueError(f'Column "labels" is {feature}, not a float multi-hot; call `encode_labels` first.')
    for table in rows.select_columns(["labels"]).with_format("arrow").iter(1000):
        yield pc.list_flatten(table["labels"]).to_numpy().reshape(-1, feature.length)


def _tally(rows: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The rows that carry each label, and those where it is known: (labels,) each."""
    tallies = [((batch == 1).sum(axis=0), (batch != UNKNOWN).sum(axis=0)) for batch in _label_batches(rows)]
    return sum(positives for positives, _ in tallies), sum(known for _, known in tallies)


def _check_texts(rows: Dataset, split: str, column: str) -> None:
    feature = rows.features[column]
    if kind(feature) not in ("string", "null"):
        raise ValueError(f"Column {column!r} of split {split!r} holds {feature}, not strings; convert it first.")
    missing = np.flatnonzero(arrow_column(rows, column).is_null())
    if len(missing):
        raise ValueError(
            f"Row {missing[0]} of split {split!r} has None as its text in column {column!r} ({len(missing)} rows do); "
            'remove such rows, or make the text "".'
        )


def _tokenize_batch(texts: list[str], tokenizer: PreTrainedTokenizerBase, options: dict) -> dict[str, list]:
    tokens = tokenizer(texts, padding=False, return_attention_mask=True, **options)
    return {
        "input_ids": tokens["input_ids"],
        "attention_mask": tokens["attention_mask"],
        "__truncated__": [bool(encoding.overflowing) for encoding in tokens.encodings],
    }
