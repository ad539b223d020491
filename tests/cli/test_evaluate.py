"""A tagger and a labelled file in, metrics out."""

import io
import json
import sys
from unittest import mock

import pytest
from helpers import LABELS, make_rows, run, write_csv, write_jsonl

from hf_rnn_multilabel.hub.run_info import RunInfo


def evaluate(capsys, *arguments) -> dict:
    """What `--json` prints: strict JSON, and nothing else."""
    run("evaluate", "--json", *arguments)
    return json.loads(capsys.readouterr().out, parse_constant=lambda constant: pytest.fail(constant))


def test_the_metrics_of_the_test_file_are_those_of_metrics_json(trained, files, capsys):
    found = evaluate(capsys, "--model", trained, "--input", files["test"])
    info = RunInfo.load(trained)
    assert found["metrics"] == pytest.approx(dict(info.final_row("test").metrics), abs=1e-6)
    assert found["rows"] == info.splits["test"].rows
    assert [(row["label"], row["support"], row["f1"]) for row in found["labels"]] == [
        (row.label, row.support, pytest.approx(row.f1)) for row in info.labels
    ]
    assert (found["model"], found["input"]) == ([str(trained)], files["test"])


def test_people_read_a_table_of_the_metrics_and_one_of_the_labels(trained, files, capsys):
    run("evaluate", "--model", trained, "--input", files["test"])
    out = capsys.readouterr().out
    f1 = RunInfo.load(trained).final_row("test").metrics["f1_micro"]
    assert "40 texts" in out and f"{f1:.4f}" in out and "train " not in out
    assert all(f"\n{label} " in out for label in LABELS)


def test_the_labels_may_be_one_string_or_columns_of_0_and_1(tmp_path, trained, files, capsys):
    expected = evaluate(capsys, "--model", trained, "--input", files["test"])["metrics"]
    rows = make_rows(40, seed=2)
    joined = [{"body": row["text"], "tags": "; ".join(row["labels"])} for row in rows]
    path = write_csv(tmp_path / "a.csv", joined, "|")
    options = ["--text_column", "body", "--label_column", "tags", "--label_separator", ";", "--delimiter", "|"]
    assert evaluate(capsys, "--model", trained, "--input", path, *options)["metrics"] == expected
    columns = [{"text": row["text"]} | {label: int(label in row["labels"]) for label in LABELS} for row in rows]
    path = write_csv(tmp_path / "b.csv", columns)
    assert evaluate(capsys, "--model", trained, "--input", path, "--label_column", *LABELS)["metrics"] == expected
    blanks = [{name: value or "" for name, value in row.items()} for row in columns]
    path = write_csv(tmp_path / "c.csv", blanks)
    options = ["--label_column", *LABELS, "--blank_label", "absent"]
    assert evaluate(capsys, "--model", trained, "--input", path, *options)["metrics"] == expected


def test_the_rows_may_come_from_the_standard_input(trained, files, capsys):
    expected = evaluate(capsys, "--model", trained, "--input", files["test"])["metrics"]
    lines = "".join(json.dumps(row) + "\n" for row in make_rows(40, seed=2))
    with mock.patch.object(sys, "stdin", io.StringIO(lines)):
        found = evaluate(capsys, "--model", trained, "--input", "-", "--file_format", "jsonl")
    assert found["metrics"] == expected
    with pytest.raises(ValueError, match="`file_format`"):
        run("evaluate", "--model", trained, "--input", "-")


def test_several_models_are_scored_as_one(trained, retrained, files, capsys):
    alone = evaluate(capsys, "--model", trained, "--input", files["test"])
    twice = evaluate(capsys, "--model", trained, trained, "--input", files["test"])
    assert twice["metrics"] == pytest.approx(alone["metrics"], abs=1e-6)
    both = evaluate(capsys, "--model", trained, retrained, "--input", files["test"])
    assert both["model"] == [str(trained), str(retrained)] and both["labels"] != alone["labels"]


def test_labels_that_the_tagger_does_not_have_are_an_error_or_dropped(tmp_path, trained, capsys):
    rows = [*make_rows(20, seed=4), {"text": "lamp", "labels": ["lighting", "garden"]}]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError, match="garden"):
        run("evaluate", "--model", trained, "--input", path)
    found = evaluate(capsys, "--model", trained, "--input", path, "--unknown_labels", "drop")
    assert found["rows"] == 21 and "garden" in found["description"]


def test_an_undefined_metric_is_null(tmp_path, trained, capsys):
    rows = [{"text": "lamp", "labels": ["lighting"]}] * 3
    found = evaluate(capsys, "--model", trained, "--input", write_jsonl(tmp_path / "a.jsonl", rows))
    assert None in found["metrics"].values()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "lamp"}], "label"),
        ([{"text": "lamp", "labels": []}], "has a label"),
        ([{"n": 1, "labels": ["timber"]}], "text"),
        ([], "holds no rows"),
    ],
    ids=["no_column", "no_label", "no_text", "no_row"],
)
def test_fault_06_a_file_without_labels_is_an_error(tmp_path, trained, rows, message):
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(ValueError, match=message):
        run("evaluate", "--model", trained, "--input", path)


def test_fault_11_one_row_per_text_and_label_is_warned_of_and_merged(tmp_path, trained, capsys):
    rows = [row for row in make_rows(40, seed=2) if row["labels"]]
    joined = write_jsonl(tmp_path / "joined.jsonl", rows)
    path = write_csv(
        tmp_path / "long.csv", [{"text": row["text"], "labels": label} for row in rows for label in row["labels"]]
    )
    with pytest.warns(UserWarning, match="'long.csv' repeat the text .*`group_duplicates=True`"):
        (warning,) = evaluate(capsys, "--model", trained, "--input", path)["warnings"]
    assert "'long.csv'" in warning
    expected = evaluate(capsys, "--model", trained, "--input", joined, "--group_duplicates")
    found = evaluate(capsys, "--model", trained, "--input", path, "--group_duplicates")
    assert found["metrics"] == expected["metrics"] and found["warnings"] == [] and "Merged" in found["description"]


def test_fault_06_a_file_with_hardly_a_label_is_warned_of(tmp_path, trained, capsys):
    rows = [{"text": f"lamp {i}", "labels": ["lighting"] * (i == 1)} for i in range(12)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.warns(UserWarning, match=r"11 of 12 rows of 'a.jsonl' have no label.*`label_column`"):
        run("evaluate", "--model", trained, "--input", path)
