"""A tagger and other labelled texts in, the tagger with thresholds of theirs out."""

import json

import pytest
from helpers import LABELS, make_rows, run, write_jsonl
from huggingface_hub import ModelCard

from hf_rnn_multilabel.hub.run_info import RunInfo
from hf_rnn_multilabel.inference.loading import load_tagger


@pytest.fixture
def other(tmp_path) -> str:
    return write_jsonl(tmp_path / "last_month.jsonl", make_rows(50, seed=11))


def test_the_command_writes_a_new_folder_whose_card_names_the_file(tmp_path, trained, other, capsys):
    run("thresholds", "--model", trained, "--input", other, "--output_dir", tmp_path / "new" / "tuned")
    out, folder = capsys.readouterr().out, tmp_path / "new" / "tuned"
    earlier, now = load_tagger(trained).thresholds, load_tagger(folder).thresholds
    for label in LABELS:
        (line,) = [line for line in out.splitlines() if line.startswith(f"{label} ")]
        assert line.split()[1:] == [f"{earlier[label]:.3f}", f"{now[label]:.3f}"]
    assert "50 texts" in out and str(folder) in out
    info = RunInfo.load(folder)
    assert info.tuned_on.name == "last_month.jsonl" and info.threshold_method == "shrinkage"
    results = ModelCard.load(folder / "README.md").data.eval_results
    assert {(each.dataset_name, each.dataset_revision) for each in results} == {
        ("last_month.jsonl", info.tuned_on.revisions["validation"])
    }
    text = (folder / "README.md").read_text(encoding="utf-8") + (folder / "metrics.json").read_text(encoding="utf-8")
    assert "last_month.jsonl" in text and str(tmp_path) not in text


def test_json_holds_the_thresholds_before_and_after(tmp_path, trained, other, capsys):
    more = ["--threshold_method", "global_micro", "--json"]
    run("thresholds", "--model", trained, "--input", other, "--output_dir", tmp_path / "tuned", *more)
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == str(tmp_path / "tuned")
    assert found["earlier"] == pytest.approx(load_tagger(trained).thresholds)
    assert found["thresholds"] == pytest.approx(load_tagger(tmp_path / "tuned").thresholds)
    assert len(set(found["thresholds"].values())) == 1


def test_what_is_tuned_tags_evaluates_and_is_tuned_again(tmp_path, trained, other, capsys):
    for folder, name in ((trained, "second"), (tmp_path / "second", "third")):
        run("thresholds", "--model", folder, "--input", other, "--output_dir", tmp_path / name)
    assert load_tagger(tmp_path / "third").thresholds == load_tagger(tmp_path / "second").thresholds
    capsys.readouterr()
    run("evaluate", "--model", tmp_path / "third", "--input", other, "--json")
    found = json.loads(capsys.readouterr().out)["metrics"]
    expected = RunInfo.load(tmp_path / "third").final_row("validation").metrics
    assert found["f1_micro"] == pytest.approx(expected["f1_micro"])


def test_an_output_that_is_there_and_labels_that_are_not_are_errors(tmp_path, trained, other):
    with pytest.raises(FileExistsError, match="`output_dir`"):
        run("thresholds", "--model", trained, "--input", other, "--output_dir", tmp_path)
    path = write_jsonl(tmp_path / "bad.jsonl", [{"text": "lamp", "labels": ["garden"]}])
    with pytest.raises(ValueError, match="garden"):
        run("thresholds", "--model", trained, "--input", path, "--output_dir", tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_fault_11_rows_with_the_same_text_are_warned_of_and_merged(tmp_path, trained):
    rows = [{"text": row["text"], "labels": [label]} for row in make_rows(20, seed=11) for label in row["labels"]]
    options = ["--model", trained, "--input", write_jsonl(tmp_path / "long.jsonl", rows), "--output_dir"]
    with pytest.warns(UserWarning, match="`group_duplicates=True`"):
        run("thresholds", *options, tmp_path / "a")
    run("thresholds", *options, tmp_path / "b", "--group_duplicates")
    assert RunInfo.load(tmp_path / "b").splits["validation"].rows == len({row["text"] for row in rows})
