"""The tagger of an export gives the answers of the pipeline, and needs neither torch nor this package."""

import copy
import json
import math
import multiprocessing
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from collections import UserList
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from children import put_tags
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast, pipeline

from hf_rnn_multilabel import RnnMultilabelTaggingPipeline
from hf_rnn_multilabel.data import train_tokenizer


for package in ("onnxruntime", "onnx", "onnxscript"):
    pytest.importorskip(package, reason="Exporting needs the extra `onnx`.")

import onnx  # noqa: E402

from hf_rnn_multilabel.inference.onnx_export import export_onnx  # noqa: E402
from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger  # noqa: E402


TEXTS = ["a folding lamp for the desk", "a wooden desk", "", "a lamp", "☃ ☄", "the lamp for the wooden desk"]
LABELS = ["lighting", "office", "wood", "garden"]
MAX_LENGTH = 8
# Run where neither torch nor transformers nor the package can be imported.
ALONE = """
import importlib.abc, os, runpy, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "hf_rnn_multilabel"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = [sys.argv[1]]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS[:4] * 3, model_max_length=MAX_LENGTH)


@pytest.fixture(scope="module")
def pipe(build_tagger, tokenizer) -> RnnMultilabelTaggingPipeline:
    model = build_tagger(
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        id2label=dict(enumerate(LABELS)),
        thresholds={"lighting": 0.4, "office": 0.55, "wood": 0.3},
    )
    return pipeline("multi-label-tagging", model=model, tokenizer=tokenizer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pipe) -> Path:
    return export_onnx(pipe.model, pipe.tokenizer, tmp_path_factory.mktemp("export") / "onnx")


@pytest.fixture
def tagger(folder) -> OnnxTagger:
    return OnnxTagger(folder, threads=1)


def labels_of(tags: list[dict]) -> list[str]:
    return [tag["label"] for tag in tags]


def assert_same_tags(found: list[list[dict]], expected: list[list[dict]]) -> None:
    assert [labels_of(tags) for tags in found] == [labels_of(tags) for tags in expected]
    for tags, others in zip(found, expected, strict=True):
        assert [tag["score"] for tag in tags] == pytest.approx([tag["score"] for tag in others], abs=1e-6)


def many_texts() -> list[str]:
    words = random.Random(0).choices([*TEXTS[0].split(), "wooden", "unheard-of"], k=400)
    return [" ".join(words[i : i + i % 12]) for i in range(0, 390, 5)]


# The pipeline's answers


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": 0},
        {"threshold": 1},
        {"threshold": 0.45},
        {"threshold": np.float32(0.5)},
        {"threshold": {"wood": 0.1, "office": 1.0}},
        {"threshold": {}},
        {"threshold": 0.1, "top_k": 2},
        {"threshold": 0, "top_k": 9},
        {"threshold": 0.6, "at_least_one": True},
        {"threshold": 1, "at_least_one": True, "top_k": 1},
        {"threshold": 0, "max_length": 3},
        {"threshold": 0, "max_length": 100},
        {"threshold": 0, "truncation": False},
        {"threshold": 0, "truncation": True},
        {"batch_size": 7},
    ],
    ids=str,
)
def test_the_tags_are_those_of_the_pipeline(pipe, tagger, options):
    texts = [*TEXTS, *many_texts()]
    assert_same_tags(tagger(texts, **options), pipe(texts, **options))


texts_and_words = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from([*TEXTS[0].split(), "wooden", "Lamp,"]), max_size=12).map(" ".join)
)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(texts_and_words, max_size=6),
    threshold=st.one_of(st.none(), st.floats(0, 1), st.dictionaries(st.sampled_from(LABELS), st.floats(0, 1))),
    top_k=st.one_of(st.none(), st.integers(1, 5)),
    at_least_one=st.booleans(),
    batch_size=st.integers(1, 4),
    max_length=st.one_of(st.none(), st.integers(1, 12)),
)
def test_any_texts_with_any_options_get_the_tags_of_the_pipeline(folder, pipe, texts, batch_size, **options):
    assert_same_tags(OnnxTagger(folder)(texts, batch_size=batch_size, **options), pipe(texts, **options))


@pytest.mark.parametrize("text", TEXTS)
def test_a_string_gives_a_list_of_tags(pipe, tagger, text):
    assert_same_tags([tagger(text, threshold=0)], [pipe(text, threshold=0)])


@pytest.mark.parametrize("kind", [list, tuple, UserList])
def test_a_sequence_gives_a_list_of_lists_in_its_order(pipe, tagger, kind):
    found = tagger(kind(TEXTS))
    assert type(found) is list
    assert_same_tags(found, pipe(TEXTS))


@pytest.mark.parametrize("kind", [iter, lambda texts: (text for text in texts), lambda texts: map(str, texts)])
def test_an_iterator_gives_an_iterator(pipe, tagger, kind):
    found = tagger(kind(TEXTS))
    assert iter(found) is found
    assert_same_tags(list(found), pipe(TEXTS))


def test_no_texts_give_no_tags(tagger):
    assert tagger([]) == []
    assert list(tagger(iter([]))) == []
    assert tagger.logits([]).shape == (0, 4)


def test_empty_texts_alone_in_a_batch_are_tagged(pipe, tagger):
    assert_same_tags(tagger(["", ""], threshold=0), pipe(["", ""], threshold=0))


def test_the_logits_are_those_of_torch_in_the_order_of_the_texts(pipe, tagger):
    texts = many_texts()
    inputs = pipe.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        expected = pipe.model(**inputs).logits.numpy()
    for batch_size in (1, 5, 64):
        np.testing.assert_allclose(tagger.logits(texts, batch_size=batch_size), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tagger.logits(iter(texts)), expected, rtol=0, atol=1e-5)


# Wrong arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"threshold": {"lightning": 0.5}},
        {"threshold": 1.5},
        {"threshold": {"wood": -0.1}},
        {"threshold": math.nan},
        {"threshold": [0.5]},
        {"top_k": 0},
        {"batch_size": 0},
        {"max_length": 0},
        {"truncation": "yes"},
    ],
    ids=str,
)
def test_a_wrong_argument_is_the_pipelines_error_at_the_call(pipe, tagger, arguments):
    with pytest.raises(ValueError, match="`") as expected:
        pipe("a lamp", **arguments)
    for texts in ("a lamp", ["a lamp"], iter(["a lamp"])):
        with pytest.raises(ValueError, match=re.escape(str(expected.value))):
            tagger(texts, **arguments)


@pytest.mark.parametrize("text", [None, math.nan, 7, {"text": "a lamp"}, b"lamp"], ids=str)
def test_what_is_no_string_is_the_pipelines_error(pipe, tagger, text):
    for texts in (text, ["a lamp", text]):
        with pytest.raises(ValueError, match="to tag is") as expected:
            pipe(texts)
        for call in (tagger, tagger.logits):
            with pytest.raises(ValueError, match=re.escape(str(expected.value))):
                call(texts)


def test_a_misspelt_argument_is_an_error(tagger):
    with pytest.raises(TypeError, match="treshold"):
        tagger("a lamp", treshold=0.9)


# Long texts and many texts


@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_the_number_of_threads_does_not_change_the_tags(folder, tagger, threads):
    texts = TEXTS * 5
    assert OnnxTagger(folder, threads=threads)(texts, batch_size=2) == tagger(texts, batch_size=2)


def test_no_threads_are_a_clear_error(folder):
    with pytest.raises(ValueError, match="`threads` is 0; it must be at least 1"):
        OnnxTagger(folder, threads=0)


def test_two_threads_may_share_a_tagger(tagger):
    texts = many_texts() * 3
    lengths = [None, 2, 3, 5, 6, 7] * 4  # more than are kept

    def tag(max_length):
        return tagger(texts, threshold=0, max_length=max_length, batch_size=16)

    expected = {length: tag(length) for length in lengths}
    with ThreadPoolExecutor(2) as threads:
        for length, found in zip(lengths, threads.map(tag, lengths), strict=True):
            assert found == expected[length]


# The folder


def run_alone(path: Path, lines: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", ALONE, str(path)]
    utf8 = os.environ | {"PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=False, env=utf8)


def test_the_folder_alone_tags_where_there_is_no_torch(pipe, folder):
    texts = [*TEXTS, *many_texts()]
    ran = run_alone(folder / "tagger.py", "".join(f"{text}\n" for text in texts))
    assert ran.returncode == 0, ran.stderr
    assert_same_tags([json.loads(line) for line in ran.stdout.splitlines()], pipe(texts))


def test_what_is_absent_in_that_test_cannot_be_imported(tmp_path):
    for package in ("torch", "transformers", "hf_rnn_multilabel"):
        (tmp_path / "imports.py").write_text(f"import {package}")
        assert f"No module named '{package}'" in run_alone(tmp_path / "imports.py").stderr


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json"])
def test_a_folder_without_a_file_is_an_error(tmp_path, folder, missing):
    shutil.copytree(folder, tmp_path / "onnx")
    (tmp_path / "onnx" / missing).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"No '{missing}' in '.*onnx'; give a folder that `export_onnx` wrote"
    ):
        OnnxTagger(tmp_path / "onnx")


def test_a_net_that_was_not_written_is_an_error(folder):
    with pytest.raises(FileNotFoundError, match=r"No 'model_int8\.onnx' in"):
        OnnxTagger(folder, file="model_int8.onnx")


def test_a_foreign_net_is_an_error(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "onnx")
    value = onnx.helper.make_tensor_value_info("value", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Abs", ["value"], ["result"])
    result = onnx.helper.make_tensor_value_info("result", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "foreign", [value], [result])
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "onnx" / "model.onnx")
    with pytest.raises(
        ValueError, match=r"model\.onnx' has no labels in its metadata; give a model that `export_onnx`"
    ):
        OnnxTagger(tmp_path / "onnx")


def test_a_net_of_a_newer_format_is_an_error(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "onnx")
    net = onnx.load(folder / "model.onnx")
    for entry in net.metadata_props:
        entry.value = {"format_version": "2", "made_by": '"hf_rnn_multilabel 9.0"'}.get(entry.key, entry.value)
    onnx.save(net, tmp_path / "onnx" / "model.onnx")
    with pytest.raises(
        ValueError, match=r"has format 2, made by hf_rnn_multilabel 9\.0, and this tagger reads .* to 1"
    ):
        OnnxTagger(tmp_path / "onnx")


def test_a_broken_net_is_an_error_that_names_it(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "onnx")
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"a page that says 404")
    with pytest.raises(Exception, match=r"model\.onnx"):
        OnnxTagger(tmp_path / "onnx")


# Processes


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_fault_25_a_tagger_that_was_used_tags_in_a_child_process(tagger, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"This system does not {method}.")
    tagger = OnnxTagger(tagger._folder, threads=2)
    expected = tagger(TEXTS * 5, batch_size=2)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=put_tags, args=(queue, tagger, TEXTS * 5), kwargs={"batch_size": 2}, daemon=True)
    child.start()
    assert queue.get(timeout=120) == expected
    child.join()
    assert tagger(TEXTS * 5, batch_size=2) == expected


def test_fault_25_a_copy_and_a_pickled_one_are_the_same_tagger(folder):
    tagger = OnnxTagger(folder, threads=2, threshold=0.3, top_k=2)
    for other in (copy.copy(tagger), copy.deepcopy(tagger), pickle.loads(pickle.dumps(tagger))):
        assert other(TEXTS) == tagger(TEXTS)
        assert other.thresholds == tagger.thresholds


def test_the_options_of_the_constructor_stand_in_for_those_of_a_call(folder, tagger):
    for options in ({"threshold": 0.3}, {"threshold": 1, "at_least_one": True}, {"top_k": 1}, {"max_length": 2}):
        assert OnnxTagger(folder, **options)(TEXTS) == tagger(TEXTS, **options)


# Metadata


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", ["lighting", "office", "office", "wood"], r"labels of .*model\.onnx' name office more than once"),
        ("labels", ["lighting", "office"], "2 `labels`, 4 `thresholds` and 4 logits"),
        ("thresholds", [0.5, math.nan, 0.5, 2], r"`thresholds` .* office: nan, garden: 2;"),
        ("model_max_length", 0, "`model_max_length` of .* is 0"),
        ("num_tokens", 7, r"tokenizer\.json beside .* of 7;"),
    ],
)
def test_fault_34_metadata_that_do_not_fit_are_an_error(tmp_path, folder, name, value, message):
    shutil.copytree(folder, tmp_path / "onnx")
    model = onnx.load(folder / "model.onnx")
    for entry in model.metadata_props:
        if entry.key == name:
            entry.value = json.dumps(value)
    onnx.save(model, tmp_path / "onnx" / "model.onnx")
    with pytest.raises(ValueError, match=message):
        OnnxTagger(tmp_path / "onnx")


def test_metadata_that_lack_something_are_an_error_that_names_it(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "onnx")
    model = onnx.load(folder / "model.onnx")
    kept = [entry for entry in model.metadata_props if entry.key not in ("thresholds", "num_tokens")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "onnx" / "model.onnx")
    with pytest.raises(ValueError, match=r"model\.onnx' lacks thresholds, num_tokens in its metadata"):
        OnnxTagger(tmp_path / "onnx")


def test_fault_34_another_tokenizer_beside_the_model_is_an_error(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "onnx")
    tokenizer = train_tokenizer(["other words"] * 3)
    (tmp_path / "onnx" / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json beside .* has \d+ tokens"):
        OnnxTagger(tmp_path / "onnx")
