"""From texts to tags."""

import csv
import gzip
import io
import json
import os
import shutil
import signal
import sys
from itertools import count, islice
from pathlib import Path
from unittest import mock

import pytest
import torch
from datasets import Dataset
from helpers import LABELS, make_rows, read_jsonl, run, write_csv, write_jsonl
from transformers import pipeline

from hf_rnn_multilabel.cli.main import main
from hf_rnn_multilabel.data import read_rows
from hf_rnn_multilabel.inference.files import tag_rows, tagging_identity
from hf_rnn_multilabel.inference.logits import sigmoid


TEXTS = ["lamp", "desk chair blue", "", "wood lamp", "pen " * 11, "desk wood desk wood", "garden"]


@pytest.fixture(scope="module")
def tagger(trained):
    return pipeline("multi-label-tagging", model=str(trained))


@pytest.fixture(scope="module")
def tags(tagger) -> list[list[str]]:
    """The labels of TEXTS, each text alone."""
    found = [[tag["label"] for tag in tagger(text)] for text in TEXTS]
    assert len(set(map(tuple, found))) > 2
    return found


def tag_file(trained: Path, path, *arguments) -> list[dict]:
    output = Path(path).parent / "tagged.jsonl"
    run("tag", "--model", trained, "--input", path, "--output", output, *arguments)
    return read_jsonl(output)


def write_rows(path: Path, rows: list[dict]) -> Path:
    """In the format that the name says."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    if plain.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(plain)
    elif plain.suffix == ".jsonl":
        write_jsonl(plain, rows)
    elif plain.suffix == ".txt":
        plain.write_text("".join(row["text"] + "\n" for row in rows))
    else:
        write_csv(plain, rows, "\t" if plain.suffix == ".tsv" else ",")
    if path != plain:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "a.txt", "a.txt.gz", "a.parquet"]
)
def test_rows_of_every_format_keep_their_order_and_their_columns(tmp_path, tagger, tags, name):
    rows = [{"id": str(index), "text": text, "né": "ü, 漢"} for index, text in enumerate(TEXTS)]
    if ".txt" in name:
        rows = [{"text": row["text"]} for row in rows]
    tagged = tag_rows(tagger, read_rows(write_rows(tmp_path / name, rows)))
    assert list(tagged) == [row | {"predicted_labels": found} for row, found in zip(rows, tags, strict=True)]


def test_a_file_is_tagged_into_a_file(tmp_path, trained, tags):
    rows = [{"body": text, "né": "漢", "n": None, "list": [1, 2.5]} for text in TEXTS]
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    tagged = tag_file(trained, path, "--text_column", "body", "--tags_column", "tags", "--batch_size", 3)
    assert tagged == [row | {"tags": found} for row, found in zip(rows, tags, strict=True)]


def test_lines_of_the_standard_input_are_tagged_to_the_standard_output(trained, tags, capsys):
    with mock.patch.object(sys, "stdin", io.StringIO("\n".join(TEXTS))):
        run("tag", "--model", trained)
    output = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert output == [{"text": text, "predicted_labels": found} for text, found in zip(TEXTS, tags, strict=True)]


@pytest.mark.parametrize(
    "options",
    [{"scores": True}, {"threshold": 0.0}, {"threshold": 1.0, "at_least_one": True}, {"threshold": 0.0, "top_k": 2}],
    ids=str,
)
def test_options_reach_the_pipeline(tmp_path, trained, tagger, options):
    path = write_rows(tmp_path / "in.txt", [{"text": text} for text in TEXTS])
    flags = [part for name, value in options.items() for part in [f"--{name}"] + [value] * (value is not True)]
    found = [row["predicted_labels"] for row in tag_file(trained, path, *flags)]
    with_scores = options.pop("scores", False)
    expected = [tagger(text, **options) for text in TEXTS]
    if with_scores:
        assert [[tag["label"] for tag in row] for row in found] == [[tag["label"] for tag in row] for row in expected]
        scores = [[tag["score"] for row in rows for tag in row] for rows in (found, expected)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    else:
        assert found == [[tag["label"] for tag in row] for row in expected]


def test_several_models_tag_as_one(tmp_path, trained, retrained, tags):
    path = write_rows(tmp_path / "in.txt", [{"text": text} for text in TEXTS])
    output = tmp_path / "out.jsonl"
    run("tag", "--model", trained, retrained, "--input", path, "--output", output, "--threshold", 0, "--scores")
    taggers = [pipeline("multi-label-tagging", model=str(folder)) for folder in (trained, retrained)]
    mean = sigmoid(sum(each.logits(TEXTS) for each in taggers) / 2).tolist()
    for row, scores in zip(read_jsonl(output), mean, strict=True):
        found = {tag["label"]: tag["score"] for tag in row["predicted_labels"]}
        assert found == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-6)
    run("tag", "--model", trained, trained, "--input", path, "--output", output)
    assert [row["predicted_labels"] for row in read_jsonl(output)] == tags


def test_models_with_other_labels_do_not_tag_as_one(tmp_path, trained):
    shutil.copytree(trained, tmp_path / "other")
    config = json.loads((trained / "config.json").read_text())
    names = ["lighting", "garden", "timber"]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    del config["label_frequencies"]
    config["thresholds"] = dict.fromkeys(names, 0.5)
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    path = write_rows(tmp_path / "in.txt", [{"text": "lamp"}])
    with pytest.raises(ValueError, match=r"office.*garden"):
        run("tag", "--model", trained, tmp_path / "other", "--input", path)


def test_the_number_of_threads_can_be_set(tmp_path, trained):
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows(3))
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            output = tmp_path / f"{threads}.jsonl"
            run("tag", "--model", trained, "--input", path, "--output", output, "--threads", threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="`--threads` is 0; it must be at least 1"):
        run("tag", "--model", trained, "--input", path, "--threads", 0)


@pytest.mark.parametrize("window", [1, 2, len(TEXTS)])
def test_windows_change_nothing(tagger, tags, window):
    rows = [{"text": text} for text in TEXTS]
    tagged = tag_rows(tagger, rows, window=window, batch_size=2)
    assert [row["predicted_labels"] for row in tagged] == tags


def test_no_more_rows_are_read_than_a_window_holds(tagger):
    taken = count()
    endless = ({"text": "lamp", "n": next(taken)} for _ in count())
    tagged = tag_rows(tagger, endless, window=4)
    assert [row["n"] for row in islice(tagged, 5)] == [0, 1, 2, 3, 4]
    assert next(taken) == 8


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.csv.gz", "a.parquet"])
def test_an_empty_file_gives_an_empty_file(tmp_path, trained, name):
    path = tmp_path / name
    if name == "a.parquet":
        Dataset.from_dict({"text": []}).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(b"text\n") if name.endswith("gz") else b"")
    assert tag_file(trained, path) == []


def test_a_row_without_a_text_is_told_with_its_number(tagger):
    rows = [{"text": "lamp"}] * 5 + [{"body": "desk"}]
    tagged = tag_rows(tagger, rows, window=4)
    assert len(list(islice(tagged, 4))) == 4
    with pytest.raises(ValueError, match=r"Row 6 has no column 'text' \(`text_column`\); it has \['body'\]"):
        next(tagged)
    with pytest.raises(ValueError, match="Row 16 has no column 'text'"):
        list(tag_rows(tagger, rows[5:], num_done=15))
    with pytest.raises(ValueError, match=r"Row 1 has a column 'text' already; give another `tags_column`"):
        list(tag_rows(tagger, rows, tags_column="text"))


def test_the_input_is_never_overwritten(tmp_path, trained):
    path = Path(write_jsonl(tmp_path / "tagged.jsonl", [{"text": "lamp"}]))
    with pytest.raises(ValueError, match=r"tagged.jsonl' is the input .*give another file"):
        tag_file(trained, path)
    assert read_jsonl(path) == [{"text": "lamp"}]
    with pytest.raises(FileNotFoundError, match=r"nowhere.txt'"):
        tag_file(trained, tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="`window` is 0; it must be at least 1"):
        tag_file(trained, write_rows(tmp_path / "a.txt", [{"text": "lamp"}]), "--window", 0)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.json", "out.csv", "out.tsv", "out.parquet"])
def test_fault_40_the_output_has_the_format_that_its_name_says(tmp_path, trained, tags, name):
    rows = [{"id": str(index), "text": text} for index, text in enumerate(TEXTS)]
    path = write_rows(tmp_path / "in.jsonl", rows)
    run("tag", "--model", trained, "--input", path, "--output", tmp_path / name)
    found = list(read_rows(tmp_path / name))
    assert [row["text"] for row in found] == TEXTS
    of_rows = [row["predicted_labels"] for row in found]
    assert [json.loads(each) if isinstance(each, str) else each for each in of_rows] == tags


def test_fault_31_a_bad_row_leaves_the_earlier_output_as_it_was_and_its_correction_resumes(tmp_path, trained, caplog):
    (tmp_path / "tagged.jsonl").write_text("of yesterday\n")
    rows = make_rows(55, seed=3)
    path = write_jsonl(tmp_path / "in.jsonl", [*rows[:50], rows[50] | {"text": None}, *rows[51:]])
    options = ["--window", 10, "--scores", "--threshold", 0]
    with pytest.raises(ValueError, match="Row 51 has None as `text`"):
        tag_file(trained, path, *options)
    assert (tmp_path / "tagged.jsonl").read_text() == "of yesterday\n"
    with pytest.raises(ValueError, match="Row 51 has None as `text`"):
        tag_file(trained, path, *options, "--resume")
    write_jsonl(tmp_path / "in.jsonl", rows)
    with pytest.raises(ValueError, match=r"settings.threshold was 0.0, is 0.5; settings.window was 10, is 4096"):
        tag_file(trained, path, "--scores", "--threshold", 0.5, "--resume")
    tag_file(trained, path, *options, "--resume")
    assert "Resuming" in caplog.text and "after 50 rows" in caplog.text
    resumed = (tmp_path / "tagged.jsonl").read_bytes()
    tag_file(trained, path, *options)
    assert (tmp_path / "tagged.jsonl").read_bytes() == resumed
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.jsonl", "tagged.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
@pytest.mark.usefixtures("loggers")
def test_fault_42_a_tagging_that_is_stopped_says_what_is_left_and_resumes(tmp_path, trained, capsys, number):
    texts = [row["text"] for row in make_rows(30)]
    path = write_rows(tmp_path / "in.txt", [{"text": text} for text in texts])

    def stopped(*args, **kwargs):
        yield from islice(read_rows(path), 25)
        os.kill(os.getpid(), number)

    command = ["tag", "--model", trained, "--input", path, "--output", tmp_path / "out.csv", "--window", 10]
    command = list(map(str, command))
    with mock.patch("hf_rnn_multilabel.cli.tag.read_rows", stopped):
        assert main(command) == (130 if number == signal.SIGINT else 143)
    err = capsys.readouterr().err
    assert "The first 20 rows are done" in err and "with `--resume`" in err and "stopped" in err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.txt", "out.csv.partial"]
    assert main([*command, "--resume"]) == 0
    assert [row["text"] for row in read_rows(tmp_path / "out.csv")] == texts


def test_a_tagging_is_known_by_its_models_and_settings(tmp_path, trained):
    shutil.copytree(trained, tmp_path / "copy")
    known = tagging_identity([trained], window=10)
    assert tagging_identity([tmp_path / "copy"], window=10) == known != tagging_identity([trained], window=11)
    (tmp_path / "copy" / "README.md").write_text("another card")
    assert tagging_identity([tmp_path / "copy"], window=10) == known
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config | {"thresholds": 0.4}))
    assert tagging_identity([tmp_path / "copy"], window=10) != known


def test_a_semicolon_file_in_another_encoding_is_tagged(tmp_path, trained, tags):
    lines = "".join(f'"{text}";é\n' for text in TEXTS)
    (tmp_path / "in.csv").write_text("text;n\n" + lines, encoding="latin-1")
    tagged = tag_file(trained, tmp_path / "in.csv", "--delimiter", ";", "--encoding", "latin-1")
    assert [(row["n"], row["predicted_labels"]) for row in tagged] == [("é", found) for found in tags]


def test_a_format_can_be_given_for_the_standard_input(tmp_path, trained, capsys):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    with mock.patch.object(sys, "stdin", io.StringIO(rows)):
        run("tag", "--model", trained, "--file_format", "jsonl", "--json")
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == TEXTS


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--threshold", "1.5"], "`threshold` is 1.5"),
        (["--top_k", "0"], "`top_k` is 0"),
        (["--batch_size", "-1"], "`batch_size` is -1"),
        (["--max_length", "0"], "`max_length` is 0"),
    ],
)
def test_fault_39_wrong_options_are_told(tmp_path, trained, option, message):
    path = write_rows(tmp_path / "in.txt", [{"text": "lamp"}])
    with pytest.raises(ValueError, match=message):
        tag_file(trained, path, *option)


def test_tags_are_joined_to_a_string_that_trains_again(tmp_path, trained, tags):
    path = write_rows(tmp_path / "in.csv", [{"text": text} for text in TEXTS])
    run("tag", "--model", trained, "--input", path, "--output", tmp_path / "out.csv", "--tags_separator", ";")
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        joined = [row["predicted_labels"] for row in csv.DictReader(file)]
    assert joined == [";".join(of_text) for of_text in tags]
    for wrong in (["--tags_separator", "i"], ["--tags_separator", ";", "--scores"]):
        with pytest.raises(ValueError, match="tags_separator"):
            run("tag", "--model", trained, "--input", path, "--output", tmp_path / "no.csv", *wrong)
    assert not (tmp_path / "no.csv").exists()


def test_a_tagging_says_what_it_did(tmp_path, trained, capsys):
    path = write_rows(tmp_path / "in.txt", [{"text": text} for text in TEXTS])
    run("tag", "--model", trained, "--input", path, "--output", tmp_path / "out.jsonl", "--json")
    assert json.loads(capsys.readouterr().out) == {"rows": len(TEXTS), "output": str(tmp_path / "out.jsonl")}
    run("tag", "--model", trained, "--input", path, "--output", tmp_path / "out.jsonl")
    captured = capsys.readouterr()
    assert captured.out == "" and f"Tagged {len(TEXTS)} rows. Saved in" in captured.err
