"""Folders of a trained model that are damaged: refused in words, or a tagger that tags as its files say."""

import json
import shutil

import numpy as np
import pytest
from fuzzing import Refusal, attempt, damage, fuzz, values
from hypothesis import strategies as st

from hf_rnn_multilabel.inference.loading import load_tagger


TEXTS = ["a folding lamp", "desk", "", "a lamp in the garden, of wood"]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def whole(model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "tagger"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def damaged(whole, tmp_path_factory):
    """A copy, of which one file at a time is another."""
    return shutil.copytree(whole, tmp_path_factory.mktemp("damaged") / "tagger")


def tags_of(folder, name: str, data: bytes | None, whole):
    """The tags and logits of a folder with one file changed."""
    if data is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(data)
    try:
        tagger = attempt(load_tagger, folder, names=[str(folder), "`"])
        if isinstance(tagger, Refusal):
            return tagger
        return tagger(TEXTS), tagger.logits(TEXTS)
    finally:
        shutil.copyfile(whole / name, folder / name)


def header_size(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


@fuzz(40, data=st.data())
def test_weights_that_are_not_whole_are_refused(whole, damaged, data):
    weights = (whole / WEIGHTS).read_bytes()
    size = header_size(weights)
    kind = data.draw(st.sampled_from(["header", "header", "cut", "not finite"]))
    if kind == "header":
        changed = damage(weights[:size], data.draw) + weights[size:]
    elif kind == "cut":
        changed = weights[: data.draw(st.integers(0, len(weights) - 1))]
    else:
        at = size + 4 * data.draw(st.integers(0, (len(weights) - size) // 4 - 1))
        changed = weights[:at] + data.draw(st.sampled_from([b"\0\0\xc0\x7f", b"\0\0\x80\xff"])) + weights[at + 4 :]
    found = tags_of(damaged, WEIGHTS, changed, whole)
    if not isinstance(found, Refusal):
        expected = load_tagger(whole)
        assert kind == "header"
        np.testing.assert_array_equal(found[1], expected.logits(TEXTS))


@st.composite
def changed_json(draw, text: str):
    """A file of JSON with some value replaced or removed, or with damaged bytes."""
    if draw(st.booleans()):
        return damage(text.encode(), draw)
    content = json.loads(text)
    place = content
    while True:
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        key = draw(st.sampled_from(list(keys)))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(values)
        return json.dumps(content, default=str).encode()


@fuzz(60, data=st.data(), name=st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json"]))
def test_a_folder_with_changed_json_is_refused_or_tags_every_text(whole, damaged, data, name):
    if data.draw(st.integers(0, 20)) == 20:
        changed = None
    else:
        changed = data.draw(changed_json((whole / name).read_text(encoding="utf-8")))
    found = tags_of(damaged, name, changed, whole)
    if not isinstance(found, Refusal):
        tags, logits = found
        assert len(tags) == len(TEXTS) and np.isfinite(logits).all()
        assert all(0 <= tag["score"] <= 1 for each in tags for tag in each)
