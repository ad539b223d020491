"""From texts to tags."""

import gzip
import io
import json
import shutil
import sys
from itertools import count, islice
from pathlib import Path
from unittest import mock

import pytest
import tag
import torch
from datasets import Dataset
from helpers import LABELS, make_rows, read_jsonl, run, write_csv, write_jsonl
from transformers import pipeline


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
    run(tag, "--model", trained, "--input", path, "--output", output, *arguments)
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
    read = tag.read_rows(str(write_rows(tmp_path / name, rows)), "text")
    tagged = tag.tag_rows(tagger, read, tag.Arguments(model=[]))
    assert list(tagged) == [row | {"predicted_labels": found} for row, found in zip(rows, tags, strict=True)]


def test_a_file_is_tagged_into_a_file(tmp_path, trained, tags):
    rows = [{"body": text, "né": "漢", "n": None, "list": [1, 2.5]} for text in TEXTS]
    path = write_jsonl(tmp_path / "in.jsonl", rows)
    tagged = tag_file(trained, path, "--text_column", "body", "--tags_column", "tags", "--batch_size", 3)
    assert tagged == [row | {"tags": found} for row, found in zip(rows, tags, strict=True)]


def test_lines_of_the_standard_input_are_tagged_to_the_standard_output(trained, tags, capsys):
    with mock.patch.object(sys, "stdin", io.StringIO("\n".join(TEXTS))):
        run(tag, "--model", trained)
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
    run(tag, "--model", trained, retrained, "--input", path, "--output", output, "--threshold", 0, "--scores")
    taggers = [pipeline("multi-label-tagging", model=str(folder)) for folder in (trained, retrained)]
    mean = (sum(each.logits(TEXTS) for each in taggers) / 2).sigmoid().tolist()
    for row, scores in zip(read_jsonl(output), mean, strict=True):
        found = {tag["label"]: tag["score"] for tag in row["predicted_labels"]}
        assert found == pytest.approx(dict(zip(LABELS, scores, strict=True)), abs=1e-6)
    run(tag, "--model", trained, trained, "--input", path, "--output", output)
    assert [row["predicted_labels"] for row in read_jsonl(output)] == tags


def test_models_with_other_labels_do_not_tag_as_one(tmp_path, trained):
    shutil.copytree(trained, tmp_path / "other")
    config = json.loads((trained / "config.json").read_text())
    names = ["lighting", "garden", "timber"]
    config |= {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    path = write_rows(tmp_path / "in.txt", [{"text": "lamp"}])
    with pytest.raises(
        ValueError, match=r"other' are not those of .*trained': it lacks \['office'\] and adds \['garden'"
    ):
        run(tag, "--model", trained, tmp_path / "other", "--input", path)


def test_the_number_of_threads_can_be_set(tmp_path, trained):
    path = write_jsonl(tmp_path / "rows.jsonl", make_rows(3))
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            run(
                tag,
                "--model",
                trained,
                "--input",
                path,
                "--output",
                tmp_path / f"{threads}.jsonl",
                "--threads",
                threads,
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="`--threads` is 0; it must be at least 1"):
        run(tag, "--model", trained, "--input", path, "--threads", 0)


@pytest.mark.parametrize("window", [1, 2, len(TEXTS)])
def test_windows_change_nothing(tagger, tags, window):
    rows = [{"text": text} for text in TEXTS]
    tagged = tag.tag_rows(tagger, rows, tag.Arguments(model=[], window=window, batch_size=2))
    assert [row["predicted_labels"] for row in tagged] == tags


def test_no_more_rows_are_read_than_a_window_holds(tagger):
    taken = count()
    endless = ({"text": "lamp", "n": next(taken)} for _ in count())
    tagged = tag.tag_rows(tagger, endless, tag.Arguments(model=[], window=4))
    assert [row["n"] for row in islice(tagged, 5)] == [0, 1, 2, 3, 4]
    assert next(taken) == 8


@pytest.mark.parametrize(("name", "bad"), [("a.jsonl", b"{"), ("a.csv", b"x,y,z\n"), ("a.txt", b"\xff\n")])
def test_a_file_is_read_as_it_is_needed(tmp_path, name, bad):
    path = write_rows(tmp_path / name, [{"text": "lamp"}] * 50_000)
    path.write_bytes(path.read_bytes() + bad)
    rows = tag.read_rows(str(path), "text")
    assert list(islice(rows, 40_000)) == [{"text": "lamp"}] * 40_000
    with pytest.raises(ValueError):
        list(rows)


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
    tagged = tag.tag_rows(tagger, rows, tag.Arguments(model=[], window=4))
    assert len(list(islice(tagged, 4))) == 4
    with pytest.raises(ValueError, match=r"Row 6 has None as `text`.*\['body'\].*`--text_column`"):
        next(tagged)
    with pytest.raises(ValueError, match=r"Row 1 has a column 'text' already; give another `--tags_column`"):
        list(tag.tag_rows(tagger, rows, tag.Arguments(model=[], tags_column="text")))


def test_files_of_other_programs_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufefftext,n\r\nlamp,1\r\n".encode())
    assert list(tag.read_rows(str(tmp_path / "a.csv"), "text")) == [{"text": "lamp", "n": "1"}]
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "lamp"}\r\n\r\n{"text": "desk"}\n\n')
    assert list(tag.read_rows(str(tmp_path / "a.jsonl"), "text")) == [{"text": "lamp"}, {"text": "desk"}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"text": "lamp"}\n{"text"\n', "Line 2 of .* is no JSON"),
        ("a.jsonl", '["lamp"]\n', "Line 1 of .* must be a JSON object"),
        ("a.csv", "text,n\nlamp,1\nlamp, oak,2\n", "Row 2 of .* has more fields than the header, .*in quotes"),
        ("a.doc", "lamp", "Cannot tell the format"),
        ("a", "lamp", "Cannot tell the format"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        list(tag.read_rows(str(tmp_path / name), "text"))


def test_the_input_is_never_overwritten(tmp_path, trained):
    path = Path(write_jsonl(tmp_path / "tagged.jsonl", [{"text": "lamp"}]))
    with pytest.raises(ValueError, match=r"is the input, .*; give another file"):
        tag_file(trained, path)
    assert read_jsonl(path) == [{"text": "lamp"}]
    with pytest.raises(FileNotFoundError, match=r"No file '.*nowhere.txt' to tag"):
        tag_file(trained, tmp_path / "nowhere.txt")
    with pytest.raises(ValueError, match="`--window` is 0; it must be at least 1"):
        tag_file(trained, write_rows(tmp_path / "a.txt", [{"text": "lamp"}]), "--window", 0)
