"""The rows that are trained on, whatever holds them: what is read, what is made of it, and what is refused."""

import gzip
import json
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import fields, replace
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, List
from helpers import LABELS, make_rows, write_csv, write_jsonl
from transformers import HfArgumentParser

from hf_rnn_multilabel.data import DataArguments, load_data, tables


@pytest.fixture(autouse=True)
def no_repeated_texts():
    """Short texts repeat; only the tests of repeated texts look at the warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*(repeat the text|stand in train too|are numbers|have no label|too few)"
        )
        yield


def distinct(number: int, seed: int = 0) -> list[dict]:
    return [row | {"text": f"{row['text']} {index}"} for index, row in enumerate(make_rows(number, seed=seed))]


def expected_labels(rows, names=LABELS) -> list[list[int]]:
    return [[int(name in row["labels"]) for name in names] for row in rows]


def write_rows(path, rows) -> str:
    """Rows of texts and lists of names in the format of the path."""
    if path.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(path)
        return str(path)
    if path.suffix in (".csv", ".tsv"):
        joined = [row | {"labels": ";".join(row["labels"])} for row in rows]
        return write_csv(path, joined, "\t" if path.suffix == ".tsv" else ",")
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return str(path)
    return write_jsonl(path, rows)


# Sources


@pytest.mark.parametrize(
    "name", ["train.jsonl", "train.json", "v1.2.jsonl.gz", "train.parquet", "train.csv", "train.tsv"]
)
def test_the_same_rows_are_the_same_data_in_every_format(tmp_path, name):
    rows = {"train": distinct(40), "validation": distinct(12, 1)}
    files = {split: write_rows(tmp_path / f"{split}-{name}", part) for split, part in rows.items()}
    options = {"label_separator": ";"} if name.endswith("sv") else {}
    data = load_data(files["train"], validation_file=files["validation"], **options)
    assert data.texts == {split: [row["text"] for row in part] for split, part in rows.items()}
    assert {split: part.tolist() for split, part in data.labels.items()} == {
        split: expected_labels(part) for split, part in rows.items()
    }
    assert data.text_column == "text" and data.encoding.label_names == LABELS
    assert data.fingerprint == load_data(DatasetDict({s: Dataset.from_list(r) for s, r in rows.items()})).fingerprint


def as_frames(rows):
    hot = pd.DataFrame(expected_labels(rows), columns=LABELS, dtype=float)
    return pd.concat([pd.DataFrame({"text": [row["text"] for row in rows]}), hot], axis=1)


@pytest.mark.parametrize(
    "source",
    [
        lambda rows: rows,
        lambda rows: {"train": rows},
        lambda rows: tuple(rows),
        lambda rows: Dataset.from_list(rows),
        lambda rows: DatasetDict({"train": Dataset.from_list(rows), "unsupervised": Dataset.from_list(rows)}),
        lambda rows: pd.DataFrame(rows),
        lambda rows: {"train": pd.DataFrame(rows)},
        lambda rows: pa.Table.from_pylist(rows),
        as_frames,
        lambda rows: as_frames(rows).to_dict("records"),
    ],
)
def test_rows_in_memory_are_taken_as_they_are(source):
    rows = distinct(30)
    given = source(rows)
    columns = LABELS if "lighting" in str(given) and "labels" not in str(given) else None
    data = load_data(given, label_column=columns)
    texts = {row["text"]: label for row, label in zip(rows, expected_labels(rows), strict=True)}
    assert sorted(data.texts["train"] + data.texts["validation"]) == sorted(texts)
    for split in ("train", "validation"):
        assert data.labels[split].tolist() == [texts[text] for text in data.texts[split]]
    assert data.source.name == "rows in memory" and data.source.id is None


def test_without_a_source_the_bundled_rows_are_read():
    data = load_data()
    assert list(data.dataset) == ["train", "validation", "test"] and len(data.encoding.label_names) == 17
    assert data.source.license == "cc0-1.0"


def test_files_may_be_named_by_split_in_a_folder_or_in_the_arguments(tmp_path):
    rows = {"train": distinct(20), "test": distinct(8, 1)}
    files = {split: write_rows(tmp_path / f"{split}.jsonl", part) for split, part in rows.items()}
    arguments = DataArguments(train_file=files["train"], test_file=files["test"])
    found = [
        load_data(files),
        load_data(tmp_path),
        load_data(arguments),
        load_data(None, arguments),
        load_data(dataset_name=str(tmp_path)),
        load_data(train_file=str(tmp_path)),
    ]
    assert len({data.fingerprint for data in found}) == 1
    assert [data.source.name for data in found[:3]] == ["train.jsonl"] * 3
    assert load_data(arguments, test_file=None).fingerprint != found[0].fingerprint


def test_a_saved_data_set_is_opened(tmp_path):
    dataset = DatasetDict({"train": Dataset.from_list(distinct(20)), "test": Dataset.from_list(distinct(5, 1))})
    dataset.save_to_disk(tmp_path)
    assert load_data(tmp_path).texts["test"] == dataset["test"]["text"][:]


def test_a_folder_says_in_its_card_which_files_are_which_splits(tmp_path):
    for split in ("a", "b", "c"):
        write_jsonl(tmp_path / f"{split}.jsonl", distinct(20, ord(split)))
    splits = {"train": "a", "test": "b", "unsupervised": "c"}
    files = "".join(f"  - {{split: {split}, path: {name}.jsonl}}\n" for split, name in splits.items())
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n")
    assert list(load_data(dataset_name=str(tmp_path)).dataset) == ["train", "validation", "test"]


def test_names_of_classes_come_out_of_a_parquet_file(tmp_path):
    rows = Dataset.from_list([{"text": f"{index}", "labels": [index % 3]} for index in range(30)])
    rows.cast_column("labels", List(ClassLabel(names=["x", "y", "z"]))).to_parquet(tmp_path / "a.parquet")
    assert load_data(tmp_path / "a.parquet").encoding.label_names == ["x", "y", "z"]


def test_rows_of_stdin_are_trained_on(tmp_path):
    code = "from hf_rnn_multilabel.data import load_data\n"
    code += "data = load_data('-', file_format='csv', label_separator=';')\n"
    code += "print(len(data.texts['train']), data.source.name)"
    path = write_rows(tmp_path / "a.csv", distinct(30))
    with open(path) as file:
        run = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, check=True, text=True)
    count, name = run.stdout.split()
    assert 20 < int(count) < 30 and name == "stdin"
    with pytest.raises(ValueError, match=r"stdin .*`file_format`"):
        load_data("-")


def test_fault_29_another_file_of_the_same_name_and_time_is_read(tmp_path):
    for name in ("train.jsonl", "train.csv", "train.parquet"):
        path = tmp_path / name
        options = {"label_separator": ";"} if name.endswith("csv") else {}
        for seed in (0, 1):
            rows = distinct(30, seed)
            write_rows(path, rows)
            os.utime(path, (1, 1))
            for source in (path, {"train": path}) + ((tmp_path,) if name == "train.jsonl" else ()):
                data = load_data(source, **options)
                assert sorted(data.texts["train"] + data.texts["validation"]) == sorted(row["text"] for row in rows)


def test_fault_29_a_folder_that_is_read_by_its_card_is_read_anew(tmp_path):
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: a.jsonl}\n---\n"
    )
    for seed in (0, 1):
        write_jsonl(tmp_path / "a.jsonl", rows := distinct(30, seed))
        os.utime(tmp_path / "a.jsonl", (1, 1))
        texts = load_data(dataset_name=str(tmp_path)).texts
        assert sorted(texts["train"] + texts["validation"]) == sorted(row["text"] for row in rows)


def test_large_files_are_mapped_and_leave_nothing_behind(tmp_path):
    rows = distinct(200)
    paths = [write_rows(tmp_path / name, rows) for name in ("a.jsonl", "a.csv", "a.parquet")]
    code = """if True:
        import os, sys, datasets
        from hf_rnn_multilabel.data import load_data, tables
        tables.MAX_MEMORY = 1000
        for path in sys.argv[1:]:
            data = load_data(path, label_separator=";" if path.endswith("csv") else None)
            folder = os.path.dirname(data.dataset["train"].cache_files[0]["filename"])
            assert folder.startswith(str(datasets.config.HF_DATASETS_CACHE)) and os.listdir(folder)
            print(data.fingerprint, folder)
    """
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    fingerprints, folders = zip(*(line.split() for line in run.stdout.splitlines()), strict=True)
    assert set(fingerprints) == {load_data(rows).fingerprint}
    assert not any(map(os.path.exists, folders))


@pytest.mark.parametrize("name", ["rows.csv", "train-0.csv", "rows.csv.gz", "rows.tsv"])
def test_fault_04_codes_in_the_csv_files_of_a_folder_stay_as_they_are(tmp_path, name):
    delimiter = "\t" if ".tsv" in name else ","
    lines = ["text label", *(f"00{number} {'0117' if number % 2 else '117'}" for number in range(20))]
    data = "".join(line.replace(" ", delimiter) + "\n" for line in lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for loaded in (load_data(tmp_path), load_data(dataset_name=str(tmp_path))):
        assert loaded.encoding.label_names == ["0117", "117"]
        assert loaded.texts["train"][0] in ("000", "001")


def test_fault_02_a_folder_of_tsv_loses_no_row_and_settings_of_its_card_are_kept_or_refused(tmp_path):
    rows = [f"a {number}|x" for number in range(20)]
    (tmp_path / "rows.tsv").write_text("\n".join(["text|tags", '"a|y', *rows, 'b"|y']) + "\n")
    card = "---\nconfigs:\n- config_name: default\n  data_files: '*.tsv'\n  sep: '|'\n{}---\n"
    (tmp_path / "README.md").write_text(card.format(""))
    assert sum(map(len, load_data(tmp_path).dataset.values())) == 22
    (tmp_path / "README.md").write_text(card.format("  skiprows: 1\n"))
    with pytest.raises(ValueError, match=r"'skiprows'.*`train_file`"):
        load_data(tmp_path)


def test_fault_09_types_that_become_clear_late_are_read(tmp_path):
    rows = [{"text": f"text {index}", "tags": []} for index in range(5000)]
    rows += [{"text": f"more {index}", "tags": ["a", "b"][: index % 3]} for index in range(20)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    for limit in (tables.MAX_MEMORY, 1000):
        with mock.patch.object(tables, "MAX_MEMORY", limit):
            data = load_data(path)
        assert data.encoding.label_names == ["a", "b"]
        assert sum(part.sum() for part in data.labels.values()) == sum(len(row["tags"]) for row in rows)


def test_fault_09_values_of_two_types_are_an_error_with_the_row(tmp_path):
    rows = [{"text": f"text {index}", "tags": ["a"], "other": 1} for index in range(2500)]
    for index, bad in {2400: {"tags": "a"}, 700: {"tags": [1]}, 1500: {"text": 5}}.items():
        path = write_jsonl(tmp_path / "a.jsonl", [*rows[:index], rows[index] | bad, *rows[index + 1 :]])
        with pytest.raises(ValueError, match=rf"Row {index + 1} of '.*a\.jsonl' has .* in column '{next(iter(bad))}'"):
            load_data(path)
    # A column that is not needed is not read.
    path = write_jsonl(tmp_path / "a.jsonl", [*rows, rows[0] | {"text": "last", "other": "x"}])
    assert load_data(path).dataset.column_names["train"] == ["text", "labels"]


def test_fault_12_halves_of_surrogate_pairs_are_replaced_in_every_source(tmp_path):
    rows = [*distinct(20), {"text": "bad \ud83d", "labels": ["timber\udc00"]}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for source in (path, rows, pd.DataFrame(rows, dtype=object)):
        data = load_data(source)
        assert "bad \ufffd" in data.texts["train"] + data.texts["validation"]
        assert "timber\ufffd" in data.encoding.label_names


# Labels


def test_fault_03_a_field_too_many_is_an_error_with_the_row(tmp_path):
    for at in (0, 15):
        lines = [f"text {index},red" for index in range(30)]
        lines[at] = "oh, sky,blue"
        (tmp_path / "a.csv").write_text("\n".join(["text,tags", *lines]) + "\n")
        with pytest.raises(ValueError, match=rf"Row {at + 1} \(line {at + 2}\) of .*a\.csv.* 3 fields"):
            load_data(tmp_path / "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_fault_04_codes_and_texts_of_delimited_files_stay_as_they_are(tmp_path, name):
    codes = ["0117", "117", "0117;2300", "250.00", "250", "1E5", "100000", "NA", "None", "01", "1"]
    rows = [{"text": f"00{index}", "codes": codes[index % len(codes)]} for index in range(66)]
    path = write_csv(tmp_path / name, rows, "\t" if name == "a.tsv" else ",")
    data = load_data(path, label_column="codes", label_separator=";")
    assert set(data.encoding.label_names) == {part for code in codes for part in code.split(";")}
    assert sorted(data.texts["train"] + data.texts["validation"]) == sorted(row["text"] for row in rows)
    names = ["1", "01", "0117", "117", "2300", "250.00", "250", "1E5", "100000", "NA", "None"]
    again = load_data(path, label_column="codes", label_separator=";", label_list=names)
    assert again.encoding.label_names == names
    assert sum(part.sum() for part in again.labels.values()) == 66 + 6


def test_fault_01_blanks_of_0_1_columns_are_told_and_can_mean_absent(tmp_path):
    rows = [{"text": f"{index}"} for index in range(60)]
    for index, row in enumerate(rows):
        row.update({name: "1" for name, every in {"edema": 2, "mass": 3}.items() if index % every == 0})
    columns = [{"text": "", "edema": "", "mass": ""} | row for row in rows]
    numbers = [{key: int(value) if key != "text" else value for key, value in row.items()} for row in rows]
    booleans = pa.Table.from_pylist([row | {name: True for name in row if name != "text"} for row in rows])
    sources = [write_csv(tmp_path / "a.csv", columns), write_jsonl(tmp_path / "a.jsonl", numbers), booleans]
    for source in sources:
        arguments = {"text_column": "text", "label_column": ["edema", "mass"]}
        with pytest.raises(ValueError, match=r"\['edema', 'mass'\].* nowhere 0 in .*blank_label=\"absent\""):
            load_data(source, **arguments)
        data = load_data(source, **arguments, blank_label="absent")
        frequencies = np.concatenate(list(data.labels.values())).mean(axis=0)
        assert frequencies.tolist() == pytest.approx([0.5, 1 / 3])
    # A file of objects may lack a column where a missing key means absent.
    test = write_jsonl(tmp_path / "test.jsonl", [{"text": "x", "mass": 1}, {"text": "y"}])
    both = {"text_column": "text", "label_column": ["edema", "mass"], "test_file": test}
    assert load_data(sources[1], **both, blank_label="absent").labels["test"].tolist() == [[0, 1], [0, 0]]
    with pytest.raises(ValueError, match=r"\['edema'\] are not in .*test\.jsonl"):
        load_data(sources[1], **both)


@pytest.mark.parametrize("column", ["spam", ["spam"]])
def test_one_column_of_0_and_1_is_one_label(tmp_path, column):
    path = write_csv(tmp_path / "a.csv", [{"text": f"text {index}", "spam": index % 2} for index in range(30)])
    data = load_data(path, label_column=column)
    assert data.encoding.label_names == ["spam"] and data.encoding.form == "columns"


def test_fault_06_a_split_without_labels_is_an_error(tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", distinct(30))
    bad = {
        r"Columns \['labels'\] are not in '.*bad\.jsonl'": [{"text": "a"}, {"text": "b"}],
        r"No row of 'bad\.jsonl' has a label": [{"text": "a", "labels": []}, {"text": "b", "labels": None}],
        r"'.*bad\.jsonl' holds no rows": [],
    }
    for split in ("validation", "test"):
        for message, rows in bad.items():
            path = write_jsonl(tmp_path / "bad.jsonl", rows)
            with pytest.raises(ValueError, match=message):
                load_data(train, **{f"{split}_file": path})
    few = [{"text": str(index), "labels": ["a"] * (index == 0)} for index in range(10)]
    with pytest.raises(ValueError, match=r"No row of split 'validation' has a label.*`validation_file`"):
        load_data(few)
    with pytest.raises(ValueError, match="No row of split 'test' has a label"):
        load_data({"train": distinct(30), "test": [{"text": "a", "labels": []}]})


@pytest.mark.parametrize("is_file", [False, True])
def test_labels_may_be_named_one_by_one_or_in_a_file(tmp_path, is_file):
    ids = [row | {"labels": [LABELS.index(name) for name in row["labels"]]} for row in distinct(40)]
    names = ["x", "y z", "w"]
    (tmp_path / "labels.txt").write_text("\n".join(names) + "\n")
    given = [str(tmp_path / "labels.txt")] if is_file else names
    assert load_data(ids, label_list=given).encoding.label_names == names


@pytest.mark.parametrize(
    "content",
    ["\ufefflighting\noffice\ntimber\n", "lighting \r\noffice\t\r\n\r\n timber", "\ufefftimber\nlighting \noffice"],
)
def test_fault_08_a_list_of_labels_is_read_as_meant(tmp_path, content):
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "labels.txt").write_bytes(content.removeprefix("\ufeff" * (encoding == "utf-16")).encode(encoding))
        data = load_data(distinct(30), label_list=[str(tmp_path / "labels.txt")])
        assert sorted(data.encoding.label_names) == LABELS


def test_fault_08_a_list_that_is_not_of_the_labels_is_shown_in_the_error(tmp_path):
    (tmp_path / "labels.txt").write_text('"lighting"\n"office"\n')
    with pytest.raises(ValueError, match=r"""`label_names`, \['"lighting"', '"office"'\]: .*'lighting'"""):
        load_data(distinct(30), label_list=[str(tmp_path / "labels.txt")])
    names = ["\ufefflighting", "office\u200b", "\u00a0timber"]
    assert load_data(distinct(30), label_list=names).encoding.label_names == LABELS


def test_a_list_of_labels_has_the_encoding_that_is_said_where_it_is_not_utf_8(tmp_path):
    (tmp_path / "labels.txt").write_bytes("café\n".encode("latin-1"))
    rows = [{"text": f"text {index}", "labels": ["café"] * (index % 3)} for index in range(30)]
    with pytest.raises(ValueError, match=r"labels\.txt.* 0xe9"):
        load_data(rows, label_list=str(tmp_path / "labels.txt"))
    names = load_data(rows, label_list=[str(tmp_path / "labels.txt")], encoding="latin-1").encoding.label_names
    assert names == ["café"]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        load_data(rows, label_list=["nowhere.txt"])


def test_a_label_that_train_lacks_is_an_error_or_dropped():
    rows = {"train": distinct(30), "test": [{"text": "lamp", "labels": ["lighting", "unheard"]}, *distinct(5, 1)]}
    with pytest.raises(ValueError, match=r"1 in 'test': \['unheard'\]"):
        load_data(rows)
    data = load_data(rows, unknown_labels="drop")
    assert data.encoding.label_names == LABELS
    assert "1 unknown labels were dropped from test" in str(data.inspection)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "lamp", "labels": []}] * 20, "holds no label at all"),
        ([*distinct(20), {"text": None, "labels": ["timber"]}], r"Row 21 of 'a\.jsonl' has None as its text"),
        ([{"words": 1, "labels": ["timber"]}] * 20, r"Which column of .*a\.jsonl.* holds the texts.*`text_column`"),
        ([{"text": "a", "kinds": ["timber"]}] * 20, r"Which column holds the labels.*`label_column`"),
        ([{"text": 1, "labels": ["timber"], "title": "a", "x": "b"}] * 20, r"Which column of .*`text_column`"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_told(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        load_data(write_jsonl(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("nowhere.jsonl", {}, FileNotFoundError, r"nowhere\.jsonl"),
        (__file__, {}, ValueError, r"format of '.*test_loading\.py'"),
        (None, {"test_file": "a.jsonl"}, ValueError, "`train_file`"),
        ({"train": "a.jsonl", "dev": "b.jsonl"}, {}, ValueError, r"\['dev'\] among them"),
        ({"test": [{"text": "a", "labels": ["x"]}]}, {}, ValueError, "must have 'train'"),
        ([{"text": "a", "labels": ["x"]}], {"train_file": "a.jsonl"}, ValueError, r"`train_file` 'a\.jsonl'"),
        ([{"text": "a", "labels": ["x"]}], {"test_file": "a.jsonl"}, ValueError, r"a\.jsonl.* beside other rows"),
        ([], {}, ValueError, "Split 'train' has no rows"),
        (["a text"], {}, ValueError, "holds 'a text'; a row must be a dict"),
        (3, {}, ValueError, "Split 'train' is a int"),
        (Dataset.from_list([{"text": "a", "labels": ["x"]}]).to_iterable_dataset(), {}, ValueError, "IterableDataset"),
        (None, {"validation_fraction": 1.5}, ValueError, r"`validation_fraction` is 1\.5"),
        (None, {"max_length": 0}, ValueError, "`max_length` is 0"),
        ([{"text": "a", "labels": ["x"]}], {"label_colum": "x"}, TypeError, r"\['label_colum'\]"),
    ],
)
def test_sources_that_are_none_are_told(source, options, error, message):
    with pytest.raises(error, match=message):
        load_data(source, **options)


# Splits


def test_fault_16_counts_are_those_after_the_split():
    rows = distinct(100)
    data = load_data(rows, validation_fraction=0.2)
    assert len(data.texts["train"]) + len(data.texts["validation"]) == 100
    assert 15 <= len(data.texts["validation"]) <= 25
    assert list(data.encoding.counts.values()) == data.labels["train"].sum(axis=0).tolist()
    assert list(data.encoding.frequencies.values()) == pytest.approx(data.labels["train"].mean(axis=0))
    assert f"{len(data.texts['validation'])} texts were split off train" in str(data.inspection)
    assert load_data(rows, seed=1).texts != load_data(rows).texts == load_data(rows).texts


def test_fault_11_repeated_texts_are_told_merged_if_asked_and_never_in_both_parts():
    rows = [{"text": f"text {index % 60}", "label": ["red", "green", "blue"][index % 7 % 3]} for index in range(140)]
    with pytest.warns(
        UserWarning,
        match=r"80 of 140 rows of .* repeat the text .* (\d+) of them with other labels.*group_duplicates",
    ):
        data = load_data(rows)
    assert not set(data.texts["train"]) & set(data.texts["validation"])
    assert len(data.texts["train"]) + len(data.texts["validation"]) == 140
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merged = load_data(rows, group_duplicates=True, validation_fraction=0.2)
    labels = {row["text"]: set() for row in rows}
    for row in rows:
        labels[row["text"]].add(row["label"])
    for split in ("train", "validation"):
        for text, hot in zip(merged.texts[split], merged.labels[split], strict=True):
            names = np.array(merged.encoding.label_names)[hot == 1]
            assert set(names) == labels.pop(text)
    assert not labels
    assert "80 rows of train were merged" in str(merged.inspection)


def test_fault_11_texts_that_differ_in_white_space_alone_are_the_same():
    rows = [{"text": f"text {' ' * (index % 3)}{index % 30}", "label": "ab"[index % 2]} for index in range(90)]
    data = load_data(rows)
    train, validation = ({" ".join(text.split()) for text in data.texts[split]} for split in ("train", "validation"))
    assert not train & validation and len(train | validation) == 30
    assert sum(map(len, load_data(rows, group_duplicates=True).texts.values())) == 30


def test_fault_11_texts_of_a_given_split_that_stand_in_train_are_told():
    few = load_data({"train": distinct(30), "test": [*distinct(1), *distinct(40, 1)[1:]]}, validation_fraction=0.4)
    assert few.inspection.splits["test"].in_train == 1 and not few.inspection.warnings
    with pytest.warns(UserWarning, match="5 of 12 texts of test stand in train too"):
        load_data({"train": distinct(30), "test": [*distinct(5), *distinct(12, 1)[5:]]})


# Arguments


def test_arguments_are_frozen_and_each_has_a_help_of_one_or_two_sentences():
    for field in fields(DataArguments):
        assert 10 < len(field.metadata["help"]) < 130 and field.metadata["help"].endswith("."), field.name
    with pytest.raises(AttributeError):
        DataArguments().max_length = 3
    assert replace(DataArguments(), max_length=3).max_length == 3


def test_a_command_line_is_made_of_the_arguments():
    (arguments,) = HfArgumentParser(DataArguments).parse_args_into_dataclasses(
        ["--train_file", "a.csv", "--label_column", "a", "b", "--blank_label", "absent", "--group_duplicates"]
    )
    expected = DataArguments(train_file="a.csv", label_column=["a", "b"], blank_label="absent", group_duplicates=True)
    assert arguments == expected


def test_one_column_is_not_both_the_texts_and_the_labels():
    rows = [{"text": "a", "tags": "red"}, {"text": "b", "tags": "blue"}] * 4
    with pytest.raises(ValueError, match="`text_column` and `label_column` are both 'tags'"):
        load_data(rows, text_column="tags", label_column="tags")


def test_fault_31_rows_of_a_pipe_are_all_read(tmp_path):
    rows = [json.dumps({"text": f"lamp {number:05}", "tags": ["red", "blue"][: number % 3]}) for number in range(9000)]
    read, written = os.pipe()

    def write():
        with open(written, "w") as pipe:
            pipe.writelines(f"{row}\n" for row in rows)

    thread = threading.Thread(target=write)
    thread.start()
    data = load_data(f"/dev/fd/{read}", file_format="jsonl")
    thread.join()
    os.close(read)
    assert sum(map(len, data.dataset.values())) == 9000


def test_fault_11_copies_up_to_white_space_in_test_are_counted(tmp_path):
    splits = {
        split: [{"text": f"copy{space}{number}", "tags": ["a", "b"][: 1 + number % 2]} for number in range(40)]
        for split, space in (("train", " "), ("test", "  "))
    }
    with pytest.warns(UserWarning, match="40 of 40 texts of test stand in train"):
        load_data(splits)
