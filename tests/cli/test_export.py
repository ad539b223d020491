"""From a trained folder to the folder that tags without torch."""

import json

import pytest
from helpers import WORDS, make_rows, run, write_csv, write_jsonl

from hf_rnn_multilabel.data import train_tokenizer
from hf_rnn_multilabel.hub.folder import files_to_push
from hf_rnn_multilabel.inference.loading import load_tagger


for package in ("onnxruntime", "onnx", "onnxscript"):
    pytest.importorskip(package, reason="Exporting needs the extra `onnx`.")

FILES = ["model.onnx", "model_int8.onnx", "tagger.py", "tagging.py", "text_encoding.py", "tokenizer.json"]


@pytest.fixture
def model(tmp_path, build_tagger):
    tokenizer = train_tokenizer([" ".join(WORDS)] * 2, algorithm="word", model_max_length=40)
    model = build_tagger(vocab_size=len(tokenizer), num_hidden_layers=1, bidirectional=False)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_command_exports_into_the_folder_of_the_model_and_compares(tmp_path, capsys, model):
    rows = [{"body": " ".join(WORDS[first : first + 5])} for first in range(9)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    run("export", "--model", model, "--int8", "--input", path, "--text_column", "body")
    folder = model / "onnx"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    output = capsys.readouterr().out
    for name in FILES:
        assert f"{(folder / name).stat().st_size:,}  {name}\n" in output
    assert "model.onnx: the same tags for 100.00% of 9 texts" in output
    assert "model_int8.onnx: the same tags for " in output


def test_json_holds_the_folder_the_sizes_and_the_checks(tmp_path, capsys, model):
    path = write_csv(tmp_path / "rows.csv", [{"n": "1", "body": row["text"]} for row in make_rows(5)])
    run("export", "--model", model, "--output_dir", tmp_path / "out" / "onnx", "--input", path, "--json")
    found = json.loads(capsys.readouterr().out)
    files = sorted((tmp_path / "out" / "onnx").iterdir())
    assert found["folder"] == str(tmp_path / "out" / "onnx")
    assert found["bytes"] == {path.name: path.stat().st_size for path in files}
    (check,) = found["checks"]
    assert (check["file"], check["same_tags"]) == ("model.onnx", 1.0) and check["max_logit_difference"] < 1e-4


def test_an_export_tags_as_its_model_by_the_command(tmp_path, capsys, trained):
    run("export", "--model", trained, "--output_dir", tmp_path / "onnx")
    rows = make_rows(20, seed=5)
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    for name, folder in {"exported": tmp_path / "onnx", "model": trained}.items():
        run("tag", "--model", folder, "--input", path, "--output", tmp_path / f"{name}.jsonl", "--threads", 1)
    assert (tmp_path / "exported.jsonl").read_bytes() == (tmp_path / "model.jsonl").read_bytes()
    assert load_tagger(tmp_path / "onnx").thresholds == load_tagger(trained).thresholds


def test_an_export_in_the_folder_of_its_model_is_pushed_whole(model):
    run("export", "--model", model)
    names = {f"onnx/{path.name}" for path in (model / "onnx").iterdir()}
    assert names <= set(files_to_push(model)) and "onnx/tagger.py" in names


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"text": "a lamp"}\n{"text": null}\n', "Row 2 of .*rows.jsonl' has None as `text`"),
        ("", "rows.jsonl' holds no texts"),
    ],
)
def test_the_texts_are_read_before_anything_is_exported(tmp_path, rows, message):
    (tmp_path / "rows.jsonl").write_text(rows)
    with pytest.raises(ValueError, match=message):
        run("export", "--model", tmp_path, "--input", tmp_path / "rows.jsonl", "--text_column", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_model_on_the_hub_needs_a_folder_for_its_export():
    with pytest.raises(ValueError, match=r"'someone/tagger' is no folder.*`--output_dir`"):
        run("export", "--model", "someone/tagger")
