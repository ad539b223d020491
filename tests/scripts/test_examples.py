"""The examples in the style of those of transformers, and the scripts that stand for the commands."""

import runpy
import sys
from unittest import mock

import pytest
from helpers import LABELS, ROOT, make_rows
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

from hf_rnn_multilabel.hub.folder import files_to_push


pytestmark = pytest.mark.usefixtures("loggers")
EXAMPLES = sorted((ROOT / "scripts" / "examples").glob("*.py"))
COMMANDS = {"train": "train", "tag": "tag", "pretrain": "pretrain", "distill": "distill"}
COMMANDS |= {"export_onnx": "export", "push_to_hub": "push"}
SHORT = ["--num_train_epochs", "1", "--per_device_train_batch_size", "16", "--use_cpu"]
SHORT += ["--report_to", "none", "--disable_tqdm", "true", "--save_strategy", "no"]


def run_script(path, *arguments) -> None:
    with mock.patch.object(sys, "argv", [path.name, *map(str, arguments)]):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            assert not stop.code


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_one_short_file_of_the_stock_trainer_and_the_public_package(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150 and " Trainer," in text
    private = ("hf_rnn_multilabel.training", "hf_rnn_multilabel.cli", "hf_rnn_multilabel.model", "import _")
    assert not [name for name in private if name in text]


def test_the_example_of_training_saves_a_tagger_with_its_thresholds(tmp_path, files):
    given = [part for split in ("train", "validation", "test") for part in (f"--{split}_file", files[split])]
    small = ["--hidden_size", "8", "--cell_type", "gru", "--pooling", "mean", "max"]
    run_script(
        ROOT / "scripts" / "examples" / "train_with_trainer.py", "--output_dir", tmp_path, *given, *small, *SHORT
    )
    tagger = pipeline("multi-label-tagging", model=str(tmp_path))
    assert list(tagger.thresholds) == LABELS and tagger.model.config.cell_type == "gru"
    assert {tag["label"] for tag in tagger("lamp wood", threshold=0.0)} == set(LABELS)
    assert (tmp_path / "test_results.json").exists()
    assert "model.safetensors" in files_to_push(tmp_path)


def test_the_example_of_training_runs_on_the_bundled_texts(tmp_path):
    path = ROOT / "scripts" / "examples" / "train_with_trainer.py"
    run_script(path, "--output_dir", tmp_path, "--hidden_size", 4, "--max_steps", 2, *SHORT)
    assert len(pipeline("multi-label-tagging", model=str(tmp_path)).thresholds) > 10


def test_the_example_of_pretraining_saves_an_encoder_that_a_tagger_starts_from(tmp_path, train_and_validation):
    (tmp_path / "texts.txt").write_text("".join(row["text"] + "\n" for row in make_rows(60)))
    path = ROOT / "scripts" / "examples" / "pretrain_with_trainer.py"
    run_script(path, "--train_file", tmp_path / "texts.txt", "--output_dir", tmp_path / "encoder", *SHORT)
    AutoModelForMaskedLM.from_pretrained(tmp_path / "encoder")
    assert AutoTokenizer.from_pretrained(tmp_path / "encoder").mask_token == "[MASK]"
    start = ["--model_name_or_path", tmp_path / "encoder", "--output_dir", tmp_path / "tagger"]
    run_script(ROOT / "scripts" / "train.py", *train_and_validation, *start, "--max_steps", 1, "--use_cpu")
    assert list(pipeline("multi-label-tagging", model=str(tmp_path / "tagger")).thresholds) == LABELS


@pytest.mark.parametrize(("name", "command"), COMMANDS.items())
def test_a_script_is_the_command_in_a_few_lines(name, command, capsys):
    path = ROOT / "scripts" / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 15
    run_script(path, "--help")
    assert capsys.readouterr().out.startswith(f"usage: hf-rnn-multilabel {command} [options]\n")
