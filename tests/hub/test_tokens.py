import json
import string

import pytest
import torch
from safetensors.torch import save_file

from hf_rnn_multilabel.hub.tokens import holds_token, text_holds_token


LETTERS = (string.ascii_letters * 2)[:34]
TOKEN = "hf_" + LETTERS  # of no account
ESCAPED = {
    "as it is": TOKEN,
    "after a line break of JSON": rf"\n{TOKEN}",
    "of an organisation": "api_org_" + LETTERS,
    "in JSON": r"\u0068f_" + LETTERS,
    "whole in JSON": "".join(f"\\u{ord(letter):04x}" for letter in TOKEN),
    "in Python": r"h\x66_" + LETTERS,
    "in HTML": "hf&#95;" + LETTERS,
    "in a URL": "hf%5F" + LETTERS,
}


@pytest.mark.parametrize("name", ["config.json", "README.md", "tagger.py", "vocab.txt", "LICENSE"])
@pytest.mark.parametrize("form", ESCAPED)
def test_fault_33_a_token_is_found_in_every_text_however_it_is_written(tmp_path, name, form):
    (tmp_path / name).write_text(f'{{"note": "{ESCAPED[form]}"}}\n', encoding="utf-8")
    assert holds_token(tmp_path / name)
    assert text_holds_token(f"a card with {ESCAPED[form]} in it")


@pytest.mark.parametrize("name", ["onnx/model.onnx", "plots/one.png", "tokenizer.model"])
def test_fault_33_a_token_is_found_in_a_binary_file(tmp_path, name):
    path = tmp_path / name.replace("/", "_")
    path.write_bytes(b"\x89\x00\xff" * 999 + TOKEN.encode() + b"\x00")
    assert holds_token(path)
    path.write_bytes(b"\x89\x00\xff" * 999)
    assert not holds_token(path) and holds_token(path, ["\x00"])


def test_fault_33_a_token_is_found_in_the_metadata_of_weights(tmp_path):
    weights = {"weight": torch.zeros(3)}
    save_file(weights, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert not holds_token(tmp_path / "a.safetensors")
    save_file(weights, tmp_path / "a.safetensors", metadata={"format": "pt", "by": TOKEN})
    assert holds_token(tmp_path / "a.safetensors")


def test_a_given_token_is_found_whatever_its_form(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"note": "secret-word"}), encoding="utf-8")
    assert holds_token(tmp_path / "a.json", [None, "secret-word"])
    assert not holds_token(tmp_path / "a.json", [None, ""])


@pytest.mark.parametrize("text", ["hf_rnn_multilabel", "hf_token", "the hf_ prefix", "hf_" + "a" * 20, ""])
def test_ordinary_words_are_no_tokens(tmp_path, text):
    (tmp_path / "a.md").write_text(text, encoding="utf-8")
    assert not holds_token(tmp_path / "a.md") and not text_holds_token(text)
    (tmp_path / "a.onnx").write_text(text, encoding="utf-8")
    assert not holds_token(tmp_path / "a.onnx")
