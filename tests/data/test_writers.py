"""An output file has the format of its name."""

import csv
import datetime
import gzip
import io
import json
import os
import sys
from unittest import mock

import numpy as np
import pytest

from hf_rnn_multilabel.data import files, open_output, read_rows


NAN = float("nan")
ROWS = [
    {"text": 'a "b", c\nd\te', "n": 1, "x": NAN, "tags": ["é", "b"], "none": None},
    {"text": "", "n": -2, "x": 0.5, "tags": [], "none": "\u2028"},
]


def write(path, rows=ROWS, **options):
    with open_output(path, **options) as output:
        for row in rows:
            output.write(row)
    return output.rows


def strict(text: str):
    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


# Formats


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL.gz", "a.json", "a.json.bz2", "a.ndjson.xz"])
def test_fault_13_json_is_strict_in_the_format_of_the_name(tmp_path, name):
    assert write(tmp_path / name) == 2
    expected = [ROWS[0] | {"x": None}, ROWS[1]]
    assert list(read_rows(tmp_path / name)) == expected
    with files.open_text(tmp_path / name, files.resolve_format(name)[1]) as file:
        text = file.read()
    found = (
        strict(text)
        if ".json" in name.lower() and "jsonl" not in name.lower()
        else list(map(strict, text.splitlines()))
    )
    assert found == expected


def test_fault_13_what_json_lacks_is_null_or_what_stands_for_it(tmp_path):
    values = {
        "inf": float("-inf"),
        "deep": [{"a": (NAN, 1)}],
        "array": np.array([1.0, NAN]),
        "scalar": np.float32(0.5),
        "day": datetime.date(2026, 1, 2),
        3: True,
    }
    write(tmp_path / "a.jsonl", [values, {"array": np.arange(2)}])
    assert [strict(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"inf": None, "deep": [{"a": [None, 1]}], "array": [1.0, None], "scalar": 0.5, "day": "2026-01-02", "3": True},
        {"array": [0, 1]},
    ]


def test_fault_40_a_gz_is_a_gz_and_a_csv_is_a_csv(tmp_path):
    write(tmp_path / "a.jsonl.gz")
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).decode().count("\n") == 2
    write(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0] == {"text": ROWS[0]["text"], "n": "1", "x": "", "tags": '["é", "b"]', "none": ""}
    assert [row["text"] for row in read_rows(tmp_path / "a.csv")] == [row["text"] for row in ROWS]
    write(tmp_path / "a.tsv", [{"text": '"a', "tags": ["b"]}, {"text": "c"}])
    assert (tmp_path / "a.tsv").read_text() == 'text\ttags\n"a\t["b"]\nc\t\n'
    write(tmp_path / "a.parquet", [{"text": "a", "tags": []}, {"text": "b", "tags": ["c"], "n": 1}] * 1500)
    assert list(read_rows(tmp_path / "a.parquet"))[-2:] == [
        {"text": "a", "tags": [], "n": None},
        {"text": "b", "tags": ["c"], "n": 1},
    ]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.txt", {}, r"'.*a\.txt' would be txt"),
        ("a.parquet.gz", {}, r"parquet\.gz"),
        ("a.xlsx", {}, r"format of '.*a\.xlsx'"),
        ("a", {}, "format of '.*a'"),
        ("a.csv", {"file_format": "xlsx"}, "`file_format` is 'xlsx'"),
        ("-", {"file_format": "txt"}, "'-' would be txt"),
    ],
)
def test_fault_40_a_format_that_is_not_written_is_refused(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        write(name if name == "-" else tmp_path / name, **options)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("a.csv", [{"a": 1}, {"a": 1, "b": 2}], r"Row 2 of the output .*\['b'\]"),
        ("a.tsv", [{"a": 1}, {"a": "x\ty"}], r"Row 2 of the output .*'x\\ty'"),
        ("a.tsv", [{"a": "x\ry"}], r"Row 1 of the output .*'x\\ry'"),
        ("a.parquet", [{"a": 1}, {"a": "x"}], "Row 2 of the output has 'x' in column 'a'"),
    ],
)
def test_a_row_that_does_not_fit_is_told_and_nothing_is_written(tmp_path, name, rows, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / name, rows)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.csv.gz"])
def test_no_rows_give_a_file_without_rows(tmp_path, name):
    assert write(tmp_path / name, []) == 0
    assert list(read_rows(tmp_path / name)) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.json", "a.parquet"])
def test_fault_12_halves_of_surrogate_pairs_are_replaced(tmp_path, name):
    write(tmp_path / name, [{"text": "\ud83d!", "other": "😀"}, {"text": "x", "other": "\udc00"}])
    assert list(read_rows(tmp_path / name)) == [{"text": "\ufffd!", "other": "😀"}, {"text": "x", "other": "\ufffd"}]


def test_rows_go_to_stdout_as_utf_8_whatever_the_locale(capsysbinary):
    write("-", [{"text": "ü 漢\ud83d"}])
    write("-", [{"text": "ü", "n": 1}], file_format="csv")
    assert capsysbinary.readouterr().out.decode() == '{"text": "ü 漢\ufffd"}\ntext,n\nü,1\n'
    with mock.patch.object(sys, "stdout", io.StringIO()) as stdout:
        write("-", [{"text": "ü"}])
        print("more")
    assert stdout.getvalue() == '{"text": "ü"}\nmore\n'


@pytest.mark.parametrize("field", ["\r", "a\rb", "a\r", "\r\n", "\n\r"])
def test_fault_02_a_csv_field_with_any_line_break_is_read_again_as_one(tmp_path, field):
    path = tmp_path / "rows.csv"
    rows = [{"text": field, "more": "x"}, {"text": "b", "more": field}]
    write(path, rows)
    assert list(read_rows(path)) == rows
