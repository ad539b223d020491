import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hub_folder import CODE, LABELS, MODEL, make_folder, make_run_info
from safetensors.torch import load_file, save_file

from hf_rnn_multilabel import RnnMultilabelForSequenceClassification
from hf_rnn_multilabel.hub.folder import files_to_push, render_card
from hf_rnn_multilabel.hub.run_info import RunInfo


TOKEN = "hf_" + "aB3" * 12  # of no account


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("trained") / "tagger")


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "tagger"))


def change_json(path: Path, **changes) -> None:
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(values), encoding="utf-8")


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_files_of_a_tagger_go(folder):
    expected = MODEL | CODE | {"metrics.json", "plots/one.png"}
    assert files_to_push(folder) == sorted(expected)
    assert files_to_push(str(folder)) == sorted(expected)


def test_what_a_model_and_its_tokenizer_saved_is_enough(folder):
    for name in ("metrics.json", "README.md", "plots/one.png"):
        (folder / name).unlink()
    assert files_to_push(folder) == sorted(MODEL | CODE)
    assert 'model="user/tagger"' in render_card(folder, "user/tagger")


def test_fault_33_only_files_on_the_list_of_names_go(folder):
    others = ["onnx/.env", "onnx/run.sh", "onnx/a.yaml", "onnx/x.pkl", "onnx/id_rsa", "plots/a.svg", ".env", "a.pt"]
    others += ["training_args.bin", "checkpoint-3/model.safetensors", "vocab.pkl", "notes.txt", "search.json"]
    wanted = ["onnx/model.onnx", "onnx/tagger.py", "plots/[two].png", "LICENSE"]
    for name in others + wanted:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(TOKEN if name in others else "fine", encoding="utf-8")
    assert set(files_to_push(folder)) == MODEL | CODE | {"metrics.json", "plots/one.png", *wanted}


@pytest.mark.parametrize("name", ["plots/two.png", "onnx/model.onnx", "tokenizer.json", "metrics.json"])
def test_fault_33_a_symbolic_link_is_refused(folder, name, tmp_path):
    (tmp_path / "secret").write_text("a secret", encoding="utf-8")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.symlink(tmp_path / "secret", folder / name)
    with pytest.raises(ValueError, match=rf"'{name}'.*symbolic link"):
        files_to_push(folder)


def test_fault_33_a_linked_folder_and_a_linked_card_are_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.onnx").write_text("a graph")
    os.symlink(tmp_path / "elsewhere", folder / "onnx")
    with pytest.raises(ValueError, match=r"'onnx/model\.onnx'.*symbolic link"):
        files_to_push(folder)
    (folder / "README.md").rename(tmp_path / "card.md")
    os.symlink(tmp_path / "card.md", folder / "README.md")
    with pytest.raises(ValueError, match=r"'README\.md'.*symbolic link"):
        render_card(folder)


def test_fault_33_the_index_of_the_weights_names_no_file_outside(folder, tmp_path):
    (folder / "model.safetensors").rename(tmp_path / "secret.safetensors")
    index = {"metadata": {}, "weight_map": {"classifier.bias": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'\.\./secret\.safetensors'.*outside"):
        files_to_push(folder)


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "losses.py", "tokenizer.json", "plots/one.png"])
def test_fault_33_a_token_in_any_file_is_an_error_that_does_not_repeat_it(folder, name):
    text = (folder / name).read_bytes()
    note = f'"note": "\\u0068{TOKEN[1:]}",'.encode() if name.endswith("json") else f"# {TOKEN}".encode()
    (folder / name).write_bytes(text.replace(b"{", b"{" + note, 1) if name.endswith("json") else text + note)
    with pytest.raises(ValueError, match=rf"'{name}' holds an access token") as caught:
        files_to_push(folder)
    assert TOKEN not in str(caught.value)


def test_fault_33_a_token_in_the_card_is_an_error(folder):
    with open(folder / "README.md", "a", encoding="utf-8") as file:
        file.write(f"Mine: {TOKEN}\n")
    with pytest.raises(ValueError, match=r"'README\.md' holds an access token"):
        render_card(folder)


def test_weights_in_shards_go_with_their_index(folder):
    model = RnnMultilabelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1KB")
    shards = {path.name for path in folder.glob("model-*.safetensors")}
    assert len(shards) > 1
    assert set(files_to_push(folder)) >= shards | {"model.safetensors.index.json"}
    sorted(folder.glob("model-*.safetensors"))[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"model-00001-of"):
        files_to_push(folder)


def poison(weights: dict) -> None:
    weights["classifier.bias"][0] = torch.nan


WEIGHTS = {
    "missing": (lambda weights: weights.pop("classifier.bias"), r"missing keys \(classifier\.bias\)"),
    "unexpected": (lambda weights: weights.update(extra=torch.zeros(1)), r"unexpected keys \(extra\)"),
    "not finite": (poison, r"not finite \(classifier\.bias\)"),
    "whole numbers": (
        lambda weights: weights.update({"classifier.bias": weights["classifier.bias"].to(torch.int32)}),
        r"no floating-point numbers \(classifier\.bias\)",
    ),
    "another shape": (
        lambda weights: weights.update({"classifier.bias": torch.zeros(7)}),
        "broken or not those of the configuration",
    ),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_fault_32_weights_that_are_not_those_of_the_model_are_refused(folder, damage):
    change, words = WEIGHTS[damage]
    change_weights(folder, change)
    with pytest.raises(ValueError, match=words):
        files_to_push(folder)


def test_fault_32_a_configuration_of_more_layers_is_refused(folder):
    change_json(folder / "config.json", num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"missing keys"):
        files_to_push(folder)


@pytest.mark.parametrize("content", [b"", b"no weights", "flipped", "truncated"])
def test_fault_32_a_broken_file_of_weights_is_refused(folder, content):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    damaged = {"flipped": whole[:9] + bytes([whole[9] ^ 1]) + whole[10:], "truncated": whole[:-5]}
    path.write_bytes(damaged.get(content, content) if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"weights in .*(broken|keys)"):
        files_to_push(folder)


FOLDERS = {
    "no configuration": ("config.json", None, FileNotFoundError, r"config\.json"),
    "a broken configuration": ("config.json", "{", ValueError, r"config\.json.*no JSON"),
    "a configuration that is a list": ("config.json", "[]", ValueError, r"config\.json.*list"),
    "another type": ("config.json", '{"model_type": "bert"}', ValueError, "'bert'"),
    "no weights": ("model.safetensors", None, FileNotFoundError, r"model\.safetensors"),
    "no code": ("losses.py", None, FileNotFoundError, "code"),
    "no tokenizer": ("tokenizer.json", None, FileNotFoundError, "tokenizer"),
}


@pytest.mark.parametrize("damage", FOLDERS)
def test_a_folder_that_is_no_trained_tagger_is_refused(folder, damage):
    name, content, error, words = FOLDERS[damage]
    (folder / "tokenizer_config.json").unlink()
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content, encoding="utf-8")
    with pytest.raises(error, match=words):
        files_to_push(folder)


def test_a_configuration_that_names_no_code_is_refused(folder):
    change_json(folder / "config.json", auto_map={}, custom_pipelines={})
    with pytest.raises(FileNotFoundError, match=r"config\.json.*no code"):
        files_to_push(folder)


def test_the_card_is_sent_with_the_name_of_the_repository(folder):
    local = (folder / "README.md").read_text(encoding="utf-8")
    assert render_card(folder) == local and 'model="tagger"' in local
    sent = render_card(folder, "user/lamps")
    assert sent == local.replace('"tagger"', '"user/lamps"').replace("# tagger", "# user/lamps").replace(
        "name: tagger", "name: user/lamps"
    )
    assert (folder / "README.md").read_text(encoding="utf-8") == local


def test_an_edited_card_is_sent_as_it_is(folder):
    (folder / "README.md").write_text("---\ntags: [hf_rnn_multilabel]\n---\nAn edited card.\n", encoding="utf-8")
    assert "An edited card." in render_card(folder, "user/lamps")


def test_without_a_card_one_is_made_of_the_run_information(folder):
    (folder / "README.md").unlink()
    assert "## Training procedure" in render_card(folder, "user/lamps")
    dataclasses.replace(make_run_info(LABELS), training=None).save(folder)
    assert "## Training procedure" not in render_card(folder, "user/lamps")


def test_a_broken_metrics_file_is_named(folder):
    (folder / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"metrics\.json.*not the information of a run"):
        render_card(folder)
    assert RunInfo(name="x").save(folder)
    render_card(folder)
