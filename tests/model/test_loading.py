"""A checkpoint loads anywhere: its code travels with it, through every save, and needs no package."""

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

import hf_rnn_multilabel.model
from hf_rnn_multilabel import (
    RnnMultilabelConfig,
    RnnMultilabelForMaskedLM,
    RnnMultilabelForSequenceClassification,
    RnnMultilabelModel,
)
from hf_rnn_multilabel.data import train_tokenizer


TEXTS = ["a folding lamp for the desk", "a wooden desk", ""]
CODE = {path.name for path in Path(hf_rnn_multilabel.model.__file__).parent.glob("[!_]*.py")}
CELLS = ["rnn", "gru", "lstm"]
POOLINGS = ["last", "mean", "max", "attention", "label_attention", ["attention", "max", "label_attention"]]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3)


def tiny_model(tokenizer, **arguments) -> RnnMultilabelForSequenceClassification:
    config = RnnMultilabelConfig(
        vocab_size=len(tokenizer),
        embedding_size=4,
        hidden_size=3,
        id2label={0: "lighting", 1: "office", 2: "wood"},
        thresholds={"lighting": 0.4, "wood": 0.6},
        **arguments,
    )
    return RnnMultilabelForSequenceClassification(config).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tokenizer) -> Path:
    """Checkpoints of all kinds, saved with the package, and the logits that they gave before."""
    root = tmp_path_factory.mktemp("saved")
    models = {
        f"{cell_type}_{index}": tiny_model(tokenizer, cell_type=cell_type, pooling=pooling)
        for cell_type, (index, pooling) in product(CELLS, enumerate(POOLINGS))
    }
    models["tagger"] = tiny_model(tokenizer, num_hidden_layers=2)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    logits = {}
    for name, model in models.items():
        for parameter in model.parameters():  # nothing may be what an initialisation gives
            torch.nn.init.normal_(parameter)
        model.save_pretrained(root / "checkpoints" / name)
        tokenizer.save_pretrained(root / "checkpoints" / name)
        with torch.no_grad():
            logits[name] = model(**inputs).logits
    masked_lm = RnnMultilabelForMaskedLM(models["tagger"].config).eval()
    torch.nn.init.normal_(masked_lm.decoder.bias)
    masked_lm.save_pretrained(root / "masked_lm")
    with torch.no_grad():
        token_logits = masked_lm(**inputs).logits
    torch.save({"texts": TEXTS, "logits": logits, "token_logits": token_logits}, root / "expected.pt")

    # The cache of the Hub, as a download leaves it.
    repository = root / "home" / "hub" / "models--someone--tagger"
    shutil.copytree(root / "checkpoints" / "tagger", repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    return root


@pytest.fixture(scope="module")
def elsewhere(saved) -> dict:
    """What a process without the package finds."""
    script = Path(__file__).parents[1] / "support" / "loading_without_the_package.py"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHONPATH"))}
    environment |= {"HF_HOME": str(saved / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, script, saved], cwd=saved, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"stderr": done.stderr}


def test_the_other_process_cannot_import_the_package(elsewhere):
    assert elsewhere["package_is_absent"]
    assert elsewhere["module"].startswith("transformers_modules.")


def test_pain_01_weights_are_bit_equal_with_trust_remote_code(elsewhere):
    assert elsewhere["different_logits"] == []


@pytest.mark.parametrize("cell_type", CELLS)
@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_pain_01_weights_are_bit_equal_with_the_package(tmp_path, tokenizer, cell_type, pooling):
    model = tiny_model(tokenizer, cell_type=cell_type, pooling=pooling)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    model.save_pretrained(tmp_path)

    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert isinstance(loaded, RnnMultilabelForSequenceClassification)
    assert_same_state(loaded, model)
    base = AutoModel.from_pretrained(tmp_path)
    assert isinstance(base, RnnMultilabelModel)
    assert_same_state(base, model.rnn)


def assert_same_state(model: torch.nn.Module, expected: torch.nn.Module) -> None:
    state, expected_state = model.state_dict(), expected.state_dict()
    assert state.keys() == expected_state.keys()
    assert [name for name in state if not torch.equal(state[name], expected_state[name])] == []


def test_pain_03_a_checkpoint_keeps_its_code_through_every_save(elsewhere):
    assert set(elsewhere["files"]) == {"second", "third", "base", "trained", "trained_again", "checkpoint"}
    for name, files in elsewhere["files"].items():
        assert set(files) >= CODE | {"config.json", "model.safetensors", "tokenizer.json"}, name
    assert elsewhere["resaved_logits_are_equal"] == {"second": True, "third": True}


def test_pain_03_a_checkpoint_trained_elsewhere_still_tags(elsewhere):
    assert elsewhere["trained_tags"] == {"trained": 3, "trained_again": 3, "checkpoint": 3}
    assert elsewhere["trained_logits_moved"] == {"trained": True, "trained_again": True, "checkpoint": True}


def test_pain_03_a_masked_language_model_is_itself_elsewhere_with_its_weights_tied(elsewhere):
    assert elsewhere["masked_lm"] == {
        name: {"class": "RnnMultilabelForMaskedLM", "is_tied": True, "is_equal": True}
        for name in ("masked_lm", "masked_lm_again")
    }
    assert set(elsewhere["masked_lm_files"]) == CODE | {"config.json", "model.safetensors"}


def test_pain_02_a_head_on_a_base_checkpoint_is_finite_elsewhere(elsewhere):
    assert elsewhere["head_on_base_is_finite"]


def test_pain_04_a_saved_folder_opens_with_every_auto_class(elsewhere):
    names = ["RnnMultilabelConfig", "RnnMultilabelModel", "RnnMultilabelForSequenceClassification"]
    assert elsewhere["classes"] == [*names, PreTrainedTokenizerFast.__name__]


@pytest.mark.parametrize("save", ["head", "base", "trainer"])
def test_pain_04_every_kind_of_save_writes_the_whole_auto_map_and_all_code(tmp_path, tokenizer, save):
    model = tiny_model(tokenizer)
    if save == "trainer":
        Trainer(model, TrainingArguments(tmp_path, report_to="none", use_cpu=True)).save_model()
    else:
        (model if save == "head" else model.rnn).save_pretrained(tmp_path)

    config = json.loads((tmp_path / "config.json").read_text())
    heads = {"AutoModelForMaskedLM", "AutoModelForSequenceClassification"}
    assert config["auto_map"].keys() == {"AutoConfig", "AutoModel"} | heads
    assert config["custom_pipelines"].keys() == {"multi-label-tagging"}
    assert {path.name for path in tmp_path.glob("*.py")} == CODE


def test_a_checkpoint_holds_no_pickle(saved):
    files = {path.name for path in (saved / "checkpoints" / "tagger").iterdir()}
    assert files == CODE | {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_pain_05_the_stock_pipeline_takes_a_remote_model_without_an_error_line(elsewhere, saved):
    logits = torch.load(saved / "expected.pt", weights_only=True)["logits"]["tagger"]
    for scores, expected in zip(elsewhere["stock_scores"], logits.sigmoid(), strict=True):
        by_name = {score["label"]: score["score"] for score in scores}
        assert [by_name[name] for name in ("lighting", "office", "wood")] == pytest.approx(expected.tolist(), abs=1e-6)
    assert "not supported" not in elsewhere["stderr"]


def test_the_task_is_inferred_elsewhere_and_the_thresholds_travel(elsewhere, saved):
    logits = torch.load(saved / "expected.pt", weights_only=True)["logits"]["tagger"]
    thresholds = torch.tensor([0.4, 0.5, 0.6])
    assert elsewhere["inferred_task"] == "multi-label-tagging"
    for tags, chosen in zip(elsewhere["tags"], logits.sigmoid() >= thresholds, strict=True):
        names = [name for name, is_tag in zip(("lighting", "office", "wood"), chosen, strict=True) if is_tag]
        assert sorted(tag["label"] for tag in tags) == names
    assert elsewhere["inferred_tags"] == elsewhere["hub_tags"] == elsewhere["tags"]
