"""What may be said about the rows to train on. The command line is made of these fields."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class DataArguments:
    """Where the rows are, which columns hold texts and labels, and how they are read.

    None means that `load_data` decides. Each field is an option of the command line, with the text of its help.
    """

    train_file: str | None = field(
        default=None,
        metadata={
            "help": "Rows to train on: jsonl, json, csv, tsv, txt or parquet, also compressed, or a folder of train, "
            "validation and test."
        },
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Rows to choose the epoch and the thresholds on. Default: a part of train."}
    )
    test_file: str | None = field(default=None, metadata={"help": "Rows that are evaluated once, at the end."})
    dataset_name: str | None = field(
        default=None, metadata={"help": "A data set on the Hub, or a folder, instead of files."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    dataset_revision: str | None = field(default=None, metadata={"help": "Commit, branch or tag of the data set."})
    text_column: str | None = field(
        default=None, metadata={"help": "Column with the texts. Default: found by its name and type."}
    )
    label_column: list[str] | None = field(
        default=None,
        metadata={"help": "Column with the labels, or several columns of 0 and 1. Default: found by its name."},
    )
    label_separator: str | None = field(
        default=None, metadata={"help": "Separator between the labels of one string, for example ';'."}
    )
    label_list: list[str] | None = field(
        default=None,
        metadata={
            "help": "All labels in the order of their ids, or a file with one per line. Default: those of train."
        },
    )
    unknown_labels: Literal["error", "drop"] = field(
        default="error", metadata={"help": "What to do with a label that train lacks: error or drop."}
    )
    blank_label: Literal["ignored", "absent"] = field(
        default="ignored",
        metadata={"help": "Meaning of a blank in a 0/1 column: ignored (not observed) or absent (0)."},
    )
    group_duplicates: bool = field(
        default=False,
        metadata={"help": "Merge rows with the same text into one row with the labels of all."},
    )
    validation_fraction: float = field(
        default=0.1, metadata={"help": "Fraction of train that becomes validation where none is given."}
    )
    max_length: int = field(default=256, metadata={"help": "Tokens after which a text is truncated."})
    file_format: Literal["txt", "jsonl", "json", "csv", "tsv", "parquet"] | None = field(
        default=None, metadata={"help": "Format of the files. Default: as their names say."}
    )
    delimiter: str | None = field(
        default=None, metadata={"help": "Character between the fields of csv and tsv files. Default: comma or tab."}
    )
    encoding: str | None = field(
        default=None,
        metadata={"help": "Encoding of text files, for example cp1252. Default: UTF-8, or as a byte-order mark says."},
    )

    def __post_init__(self) -> None:
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"`validation_fraction` is {self.validation_fraction}; it must be between 0 and 1.")
        if self.max_length < 1:
            raise ValueError(f"`max_length` is {self.max_length}; it must be at least 1.")
