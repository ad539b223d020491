"""The rows that `train.py` trains on: from the Hub, from files of any format, or the bundled ones."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetGenerationError
from train_arguments import CardArguments, DataArguments

import hf_rnn_multilabel
from hf_rnn_multilabel.data import LabelEncoding, encode_labels, find_text_column, stratified_split
from hf_rnn_multilabel.hub.provenance import describe_dataset


DEMO = Path(hf_rnn_multilabel.__file__).parent / "data" / "demo"
SPLITS = ("train", "validation", "test")
# "None" and "NA" are words like any other; an empty field is a missing one.
CSV_OPTIONS = {"keep_default_na": False, "na_values": [""]}
FORMATS = {
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", CSV_OPTIONS),
    ".tsv": ("csv", CSV_OPTIONS | {"sep": "\t"}),
    ".parquet": ("parquet", {}),
}


@dataclass(frozen=True)
class Data:
    """The rows of a run.

    Attributes:
        dataset: By split, rows with a column of texts and the encoded "labels".
        text_column: The column of texts.
        encoding: The labels, and what was understood of them.
        texts: By split, the texts.
        labels: By split, (rows, labels); of train, those of its first rows, if the others are unlabelled.
        source: What the card says of the data.
    """

    dataset: DatasetDict
    text_column: str
    encoding: LabelEncoding
    texts: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    source: dict


def read_data(data_args: DataArguments, card_args: CardArguments, seed: int) -> Data:
    """Rows, labels, splits: what there is to train on, before any token."""
    dataset = load_rows(data_args)
    source = describe_source(data_args, card_args, dataset["train"])
    text_column = data_args.text_column or find_text_column(dataset["train"])
    label_column = data_args.label_column
    dataset, encoding = encode_labels(
        dataset,
        label_column[0] if label_column is not None and len(label_column) == 1 else label_column,
        label_names=label_list(data_args),
        separator=data_args.label_separator,
        unknown_labels=data_args.unknown_labels,
    )
    print(encoding)
    if "validation" not in dataset:
        parts = stratified_split(dataset["train"], data_args.validation_share, seed=seed)
        dataset["train"], dataset["validation"] = parts["train"], parts["test"]
        print(f"No validation split: {len(dataset['validation']):,} texts were split off train, stratified by label.")
    texts = {split: list(rows[text_column]) for split, rows in dataset.items()}
    labels = {split: np.asarray(rows.with_format("numpy")["labels"][:]) for split, rows in dataset.items()}
    if not (labels["validation"] == 1).any():
        raise ValueError("No validation row has a label: thresholds cannot be tuned on it. Give labelled rows.")
    return Data(dataset, text_column, encoding, texts, labels, source)


def load_rows(args: DataArguments) -> DatasetDict:
    """The raw splits: from the Hub, from files, or the bundled ones."""
    if args.dataset_name is not None:
        dataset = load_dataset(args.dataset_name, args.dataset_config_name, revision=args.dataset_revision)
    else:
        files = local_files(args)
        if "train" not in files:
            raise ValueError("A validation or test file is given, but no `--train_file`.")
        dataset = read_files(files)
    if "train" not in dataset:
        raise ValueError(f"The data set has the splits {list(dataset)}; it must have 'train'.")
    return DatasetDict({split: dataset[split] for split in SPLITS if split in dataset})


def read_files(files: dict[str, str]) -> DatasetDict:
    """The rows of each split's file, "train" among them."""
    missing = [path for path in files.values() if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(f"No file {missing[0]!r}; give the path of a json, jsonl, csv or parquet file.")
    kinds = {path: file_format(path) for path in files.values()}
    if any(FORMATS[kind] != FORMATS[kinds[files["train"]]] for kind in kinds.values()):
        raise ValueError(f"The files differ in format: {kinds}; give them all in one.")
    builder, options = FORMATS[kinds[files["train"]]]
    try:
        return load_dataset(builder, data_files=files, **options)
    except (DatasetGenerationError, StopIteration, ValueError) as error:
        reason = error.__cause__ or error
        raise ValueError(
            f"Cannot read {files} as {builder} ({reason!r}); each file must hold rows, all with the same columns."
        ) from error


def local_files(args: DataArguments) -> dict[str, str]:
    """The splits' files: those that are given, else the bundled ones."""
    given = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}
    files = {split: path for split, path in given.items() if path is not None}
    return files or {split: str(DEMO / f"{split}.jsonl") for split in SPLITS}


def file_format(path: str) -> str:
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in (".gz", ".zst", ".bz2", ".xz")]
    if not suffixes or suffixes[-1] not in FORMATS:
        raise ValueError(f"Cannot tell the format of {path!r}; its name must end in one of {list(FORMATS)}.")
    return suffixes[-1]


def label_list(args: DataArguments) -> list[str] | None:
    """The names as they are given, or the lines of the one file that is."""
    given = args.label_list
    if given is not None and len(given) == 1 and os.path.isfile(given[0]):
        return [line for line in Path(given[0]).read_text(encoding="utf-8").splitlines() if line.strip()]
    return given


def describe_source(args: DataArguments, card_args: CardArguments, train: Dataset) -> dict:
    """What the card says of the data: as `describe_dataset`, but for what the arguments know better."""
    is_demo = args.dataset_name is None and args.train_file is None
    name = "the bundled product descriptions" if is_demo else args.dataset_name or Path(str(args.train_file)).name
    source = describe_dataset(train, name, local_files(args) if args.dataset_name is None else None)
    known = {"name": card_args.dataset_title, "license": card_args.dataset_license or ("cc0-1.0" if is_demo else None)}
    return source | {key: value for key, value in known.items() if value is not None}
