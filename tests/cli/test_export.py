"""From a trained folder to the folder that tags without torch."""

import pytest
from helpers import WORDS, run, write_jsonl

from hf_rnn_multilabel.data import train_tokenizer


for package in ("onnxruntime", "onnx", "onnxscript"):
    pytest.importorskip(package, reason="Exporting needs the extra `onnx`.")

import export_onnx  # noqa: E402


FILES = ["model.onnx", "model_int8.onnx", "tagger.py", "tokenizer.json"]


def test_the_script_exports_into_the_folder_of_the_model_and_compares(tmp_path, capsys, build_tagger):
    tokenizer = train_tokenizer([" ".join(WORDS)] * 2, algorithm="word", model_max_length=40)
    model = build_tagger(vocab_size=len(tokenizer), num_hidden_layers=1, bidirectional=False)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"body": " ".join(WORDS[first : first + 5])} for first in range(9)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    check = ["--check_file", tmp_path / "rows.jsonl", "--text_column", "body"]
    run(export_onnx, "--model", tmp_path / "model", "--int8", *check)
    folder = tmp_path / "model" / "onnx"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    output = capsys.readouterr().out
    for name in FILES:
        assert f"{(folder / name).stat().st_size:,}  {name}\n" in output
    assert "On the 9 texts of" in output
    assert "model.onnx: the same tags for 100.00% of the texts, logits differ by at most" in output
    assert "model_int8.onnx: the same tags for " in output


@pytest.mark.parametrize(
    ("rows", "message"),
    [('{"text": "a lamp"}\n{"text": null}\n', "Row 2 of .* no string as `text`"), ("", "no rows with a string")],
)
def test_the_script_reads_the_texts_before_it_exports(tmp_path, rows, message):
    (tmp_path / "rows.jsonl").write_text(rows)
    with pytest.raises(ValueError, match=f"{message}.*`--text_column`"):
        run(export_onnx, "--model", tmp_path, "--check_file", tmp_path / "rows.jsonl")


def test_a_model_on_the_hub_needs_a_folder_for_its_export():
    with pytest.raises(ValueError, match=r"'someone/tagger' is no folder.*`--output_dir`"):
        run(export_onnx, "--model", "someone/tagger")
