"""A tagger is loaded whole, from wherever it is, or refused in words."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, pipeline

from hf_rnn_multilabel import RnnMultilabelTaggingPipeline
from hf_rnn_multilabel.data.tokenizer_training import train_tokenizer
from hf_rnn_multilabel.inference.ensemble import TaggerEnsemble
from hf_rnn_multilabel.inference.loading import load_checkpoint, load_tagger


TEXTS = ["a folding lamp for the desk", "a wooden desk", "", "a lamp"]
LABELS = ["lighting", "office", "wood"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS * 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, build_tagger, tokenizer):
    folder = tmp_path_factory.mktemp("whole")
    build_tagger(
        vocab_size=len(tokenizer),
        cell_type="lstm",
        num_hidden_layers=1,
        id2label=dict(enumerate(LABELS)),
        thresholds={"lighting": 0.4, "office": 0.55},
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path, whole):
    """A copy to be damaged."""
    return shutil.copytree(whole, tmp_path / "tagger")


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_a_folder_is_a_pipeline_and_several_are_an_ensemble(whole):
    expected = pipeline("multi-label-tagging", model=str(whole))(TEXTS)
    for one in (load_tagger(whole), load_tagger(str(whole)), load_tagger([whole])):
        assert type(one) is RnnMultilabelTaggingPipeline
        assert one.task == "multi-label-tagging"
        assert one(TEXTS) == expected
    several = load_tagger([whole, str(whole)])
    assert type(several) is TaggerEnsemble
    assert [[tag["label"] for tag in tags] for tags in several(TEXTS)] == [
        [tag["label"] for tag in tags] for tags in expected
    ]


@pytest.mark.parametrize("number", [1, 2])
def test_the_options_are_those_of_each_call(whole, number):
    tagger = load_tagger([whole] * number, threshold={"wood": 0}, top_k=2, max_length=2)
    assert tagger.thresholds == pytest.approx({"lighting": 0.4, "office": 0.55, "wood": 0})
    assert tagger(TEXTS) == load_tagger([whole] * number)(TEXTS, threshold={"wood": 0}, top_k=2, max_length=2)


def test_an_export_is_an_onnx_tagger(tmp_path, whole):
    for package in ("onnxruntime", "onnx", "onnxscript"):
        pytest.importorskip(package, reason="Exporting needs the extra `onnx`.")
    from hf_rnn_multilabel.inference.onnx_export import export_onnx
    from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger

    export = export_onnx(*load_checkpoint(whole), tmp_path / "onnx", int8=True)
    by_file = load_tagger(export / "model_int8.onnx", threads=1)
    assert type(by_file) is OnnxTagger
    assert by_file(TEXTS, batch_size=1) == OnnxTagger(export, file="model_int8.onnx")(TEXTS, batch_size=1)
    exported = load_tagger(export, threshold=0.1)
    assert [[tag["label"] for tag in tags] for tags in exported(TEXTS)] == [
        [tag["label"] for tag in tags] for tags in load_tagger(whole)(TEXTS, threshold=0.1)
    ]
    assert type(load_tagger([export, whole])) is TaggerEnsemble


def test_a_checkpoint_is_its_model_and_its_tokenizer(whole):
    model, tokenizer = load_checkpoint(whole)
    assert not model.training
    assert model.config.label_names == LABELS
    assert len(tokenizer) == model.config.vocab_size


def test_there_is_no_such_folder(tmp_path):
    with pytest.raises(OSError, match="nothing' is neither a tagger's folder nor found on the Hub"):
        load_tagger(tmp_path / "nothing")


def test_a_model_of_another_kind_is_an_error(tmp_path):
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    BertForSequenceClassification(BertConfig(vocab_size=5, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'bert' model; give a 'rnn_multilabel' one"):
        load_tagger(tmp_path)


def test_fault_32_a_missing_tensor_is_an_error(folder):
    change_weights(folder, lambda weights: weights.pop("classifier.weight"))
    with pytest.raises(ValueError, match=r"classifier\.weight are missing"):
        load_tagger(folder)


def test_fault_32_a_layer_that_was_never_trained_is_an_error(folder):
    change_json(folder / "config.json", num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"rnn\.layers\.1\..* are missing"):
        load_tagger(folder)


def test_fault_32_a_tensor_too_many_is_an_error(folder):
    change_weights(folder, lambda weights: weights.update(other=torch.zeros(2)))
    with pytest.raises(ValueError, match="other are not parameters"):
        load_tagger(folder)


def test_fault_32_a_tensor_of_another_shape_is_an_error(folder):
    change_weights(folder, lambda weights: weights.update({"classifier.bias": torch.zeros(5)}))
    with pytest.raises(ValueError, match=r"classifier\.bias have another shape"):
        load_tagger(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_fault_32_a_weight_that_is_not_finite_is_an_error(folder, value):
    change_weights(folder, lambda weights: weights["classifier.bias"].fill_(value))
    with pytest.raises(ValueError, match=r"classifier\.bias are not finite"):
        load_tagger(folder)


def test_fault_32_a_weight_of_whole_numbers_is_an_error(folder):
    change_weights(folder, lambda weights: weights.update({"classifier.bias": torch.zeros(3, dtype=torch.int64)}))
    with pytest.raises(ValueError, match=r"classifier\.bias are no floating-point numbers"):
        load_tagger(folder)


def test_fault_32_a_flipped_bit_in_the_header_is_an_error(folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    # Not each bit tells: one in the padding, or of the metadata, changes no tensor.
    names = data.index(b'"classifier.bias"')
    for position in (0, 8, names + 1, names + 12, size):
        path.write_bytes(data[:position] + bytes([data[position] ^ 2]) + data[position + 1 :])
        with pytest.raises(ValueError, match="The weights of"):
            load_tagger(folder)


@pytest.mark.parametrize("length", [0, 5, 200, -1])
def test_fault_32_truncated_weights_are_an_error(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"The weights of .* cannot be read"):
        load_tagger(folder)


def test_fault_34_thresholds_of_unknown_labels_are_an_error(folder):
    change_json(folder / "config.json", thresholds={"garden": 0.3})
    with pytest.raises(ValueError, match=r"config\.json of (.|\n)*`thresholds` .*garden"):
        load_tagger(folder)


@pytest.mark.parametrize("texts", [["a lamp"], [*TEXTS, "many words that no text of the model holds"]])
def test_fault_34_a_tokenizer_with_other_tokens_than_the_model_is_an_error(folder, texts):
    train_tokenizer(texts * 3).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"tokenizer of .* has \d+ tokens and the model \d+"):
        load_tagger(folder)


def test_fault_34_a_tokenizer_that_truncates_to_nothing_is_an_error(folder):
    change_json(folder / "tokenizer_config.json", model_max_length=0)
    with pytest.raises(ValueError, match="`model_max_length` is 0"):
        load_tagger(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", ""),
        ("tokenizer.json", "{{"),
        ("tokenizer.json", '{"version": "1.0"}'),
        ("tokenizer.json", '{"version": "1.0", "added_tokens": null}'),
        ("tokenizer_config.json", '{"tokenizer_class": "TokenizersBackend", "model_max_length": ""}'),
        ("config.json", '{"model_type": "rnn_multilabel", "auto_map": null}'),
        ("config.json", '{"model_type": "rnn_multilabel", "id2label": []}'),
    ],
)
def test_fault_34_a_file_of_a_folder_that_is_damaged_is_told_by_name(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokenizer|config\.json"):
        load_tagger(folder)


@pytest.mark.parametrize("limit", [1.5, "512", True, float("nan")])
def test_fault_34_a_limit_that_is_no_whole_number_is_an_error(folder, limit):
    change_json(folder / "tokenizer_config.json", model_max_length=limit)
    with pytest.raises(ValueError, match=f"tokenizer of .*`model_max_length` is {limit!r}"):
        load_tagger(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_fault_34_a_broken_tokenizer_is_told_with_its_folder(folder, name, content):
    (folder / name).write_text(content)
    with pytest.raises(ValueError, match=r"The tokenizer of .* cannot be used"):
        load_tagger(folder)


@pytest.mark.parametrize("change", [{"pad_token_id": -1}, {"pad_token_id": 9999}, {"hidden_size": "6"}], ids=str)
def test_fault_34_a_configuration_that_is_wrong_is_told_with_its_folder(folder, change):
    change_json(folder / "config.json", **change)
    with pytest.raises(ValueError, match=rf"config\.json of (.|\n)*{next(iter(change))}"):
        load_tagger(folder)
