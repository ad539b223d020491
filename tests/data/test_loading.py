"""The rows that are trained on: what is read, what is made of it, and what is refused before training."""

from unittest import mock

import pytest
import train
import train_data
from datasets import Dataset
from helpers import LABELS, make_rows, run_train, write_csv, write_jsonl
from train_arguments import DataArguments
from transformers import AutoConfig


# Files


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.jsonl.gz", "train.parquet", "v1.2.jsonl"])
def test_rows_are_read_from_files_with_lists(tmp_path, name):
    rows = make_rows(5)
    if name.endswith("parquet"):
        Dataset.from_list(rows).to_parquet(tmp_path / name)
    else:
        write_jsonl(tmp_path / name, rows)
    found = train_data.load_rows(DataArguments(train_file=str(tmp_path / name)))
    assert {split: part.to_list() for split, part in found.items()} == {"train": rows}


@pytest.mark.parametrize(("name", "delimiter"), [("train.csv", ","), ("train.tsv", "\t")])
def test_words_for_nothing_are_words_and_empty_fields_are_missing(tmp_path, name, delimiter):
    rows = [{"text": text, "labels": label} for text, label in [("NA", "a"), ("null", "None"), ("oak, elm", "")]]
    path = write_csv(tmp_path / name, rows, delimiter)
    found = train_data.load_rows(DataArguments(train_file=path, test_file=path))
    assert found["train"].to_list() == [*rows[:2], {"text": "oak, elm", "labels": None}] == found["test"].to_list()


def test_splits_that_have_no_part_in_it_are_left_out(tmp_path):
    for split in ("train", "test", "unsupervised"):
        (tmp_path / split).mkdir()
        write_jsonl(tmp_path / f"{split}.jsonl", make_rows(3))
    files = "".join(f"  - {{split: {split}, path: {split}.jsonl}}\n" for split in ("train", "test", "unsupervised"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    assert list(train_data.load_rows(DataArguments(dataset_name=str(tmp_path)))) == ["train", "test"]


def test_rows_that_cannot_be_read_are_told_by_file(tmp_path):
    good = write_jsonl(tmp_path / "good.jsonl", make_rows(3))
    for name, text in {"a.jsonl": "", "b.jsonl": "\n\n", "c.csv": "text,labels\n", "d.jsonl": "no json\n"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=rf"Cannot read .*{name}.* as .*; each file must hold rows"):
            train_data.load_rows(DataArguments(train_file=str(tmp_path / name)))
    wrong = {
        r"differ in format: .*; give them all in one": {"train_file": good, "test_file": str(tmp_path / "c.csv")},
        r"No file '.*nowhere.jsonl'; give the path": {"train_file": str(tmp_path / "nowhere.jsonl")},
        r"Cannot tell the format of '.*test_loading.py'; its name must end in": {"train_file": __file__},
        r"but no `--train_file`": {"test_file": good},
    }
    for message, arguments in wrong.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            train_data.load_rows(DataArguments(**arguments))


# Splits and labels


def test_without_validation_a_part_of_train_is_split_off_and_without_test_none_is_reported(tmp_path, capsys):
    rows = [{"body": row["text"], "tags": "; ".join(row["labels"])} for row in make_rows(100)]
    path = write_csv(tmp_path / "rows.csv", rows)
    facts = run_train(tmp_path / "model", "--train_file", path, "--label_separator", ";", "--validation_share", 0.2)
    size = facts["rows"]["validation"]
    assert facts["rows"] == {"train": 100 - size, "validation": size} and 15 <= size <= 25
    assert f"No validation split: {size} texts were split off train" in capsys.readouterr().out
    assert "test" not in facts and "There was no test split" in (tmp_path / "model" / "README.md").read_text()


def test_one_column_a_label_is_taken_by_naming_the_columns(tmp_path):
    rows = [{"text": row["text"]} | {name: int(name in row["labels"]) for name in LABELS} for row in make_rows(60)]
    path = write_csv(tmp_path / "rows.csv", rows)
    facts = run_train(tmp_path / "model", "--train_file", path, "--label_column", *LABELS[1:])
    assert [row["label"] for row in facts["labels"]] == LABELS[1:]


@pytest.mark.parametrize("is_file", [False, True])
def test_labels_may_be_named_one_by_one_or_in_a_file(tmp_path, is_file):
    ids = [row | {"labels": [LABELS.index(name) for name in row["labels"]]} for row in make_rows(80)]
    path = write_jsonl(tmp_path / "rows.jsonl", ids)
    names = ["x", "y z", "w"]
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
    given = [tmp_path / "labels.txt"] if is_file else names
    run_train(tmp_path / "model", "--train_file", path, "--label_list", *given)
    assert AutoConfig.from_pretrained(tmp_path / "model").label_names == names


@pytest.mark.parametrize("always", [True, False], ids=["on_every_text", "on_some"])
def test_a_single_label_is_enough(tmp_path, always):
    rows = [row | {"labels": ["lighting"] * (always or "lamp" in row["text"])} for row in make_rows(60)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    facts = run_train(tmp_path / "model", "--train_file", path, "--linear_baseline")
    assert [row["label"] for row in facts["labels"]] == ["lighting"]


def test_a_label_that_train_lacks_is_an_error_or_dropped(tmp_path, train_and_validation, capsys):
    test_rows = [{"text": "lamp", "labels": ["lighting", "unheard"]}, *make_rows(5)]
    arguments = [*train_and_validation, "--test_file", write_jsonl(tmp_path / "test.jsonl", test_rows)]
    with pytest.raises(ValueError, match=r"not in the train split, 1 in 'test': \['unheard'\]"):
        run_train(tmp_path / "model", *arguments)
    facts = run_train(tmp_path / "model", *arguments, "--unknown_labels", "drop")
    assert [row["label"] for row in facts["labels"]] == LABELS
    assert "1 unknown labels were dropped from test" in capsys.readouterr().out


def test_a_label_without_a_positive_in_validation_has_a_threshold_all_the_same(tmp_path, files):
    rows = [row | {"labels": [name for name in row["labels"] if name != "office"]} for row in make_rows(40)]
    path = write_jsonl(tmp_path / "validation.jsonl", rows)
    facts = run_train(tmp_path / "model", "--train_file", files["train"], "--validation_file", path)
    assert [(row["label"], row["support"]) for row in facts["labels"]][1] == ("office", 0)
    assert all(0 < row["threshold"] < 1 for row in facts["labels"])


NO_LABEL, NO_TEXT = {"text": "lamp", "labels": []}, {"text": None, "labels": ["lighting"]}


@pytest.mark.parametrize(
    ("split", "rows", "message"),
    [
        ("train", [NO_LABEL] * 20, "holds no label at all"),
        ("validation", [NO_LABEL] * 20, "No validation row has a label"),
        ("train", [*make_rows(20), NO_TEXT], "is None"),
        ("test", [*make_rows(20), NO_TEXT], "Row 20 of split 'test' has None as its text"),
        ("train", [{"words": 1, "labels": ["lighting"]}] * 20, "Which column holds the texts"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_told_before_training(tmp_path, files, split, rows, message):
    bad = write_jsonl(tmp_path / "bad.jsonl", rows)
    arguments = ["--train_file", files["train"], f"--{split}_file", bad]
    with mock.patch.object(train, "Trainer") as trainer, pytest.raises((ValueError, TypeError), match=message):
        run_train(tmp_path / "model", *arguments)
    assert not trainer.called
