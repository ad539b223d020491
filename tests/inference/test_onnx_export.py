"""From torch to ONNX: the same logits at any batch, length and padding, and a folder that is whole or not there."""

import functools
import json
import random
import re
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from filelock import FileLock
from transformers import BertTokenizer, PreTrainedTokenizerFast

from hf_rnn_multilabel import RnnMultilabelModel
from hf_rnn_multilabel.data import train_tokenizer


for package in ("onnxruntime", "onnx", "onnxscript"):
    pytest.importorskip(package, reason="Exporting needs the extra `onnx`.")

import onnx  # noqa: E402
from onnxruntime import InferenceSession  # noqa: E402

from hf_rnn_multilabel import __version__  # noqa: E402
from hf_rnn_multilabel.hub.folder import ONNX  # noqa: E402
from hf_rnn_multilabel.inference import onnx_export as export  # noqa: E402
from hf_rnn_multilabel.inference import onnx_tagger  # noqa: E402
from hf_rnn_multilabel.inference.onnx_export import export_onnx  # noqa: E402
from hf_rnn_multilabel.inference.onnx_tagger import OnnxTagger  # noqa: E402


WORDS = [
    "a",
    "the",
    "of",
    "for",
    "and",
    "in",
    "lamp",
    "desk",
    "wood",
    "oak",
    "garden",
    "light",
    "chair",
    "blue",
    "pen",
]
LABELS = ["lighting", "Büro", "wood"]
ALL = ["last", "mean", "max", "attention", "label_attention"]
# Each pooling alone, or a pair, in the nets of one layer; all of them in those of two.
POOLINGS = {
    ("rnn", False): "last",
    ("rnn", True): "mean",
    ("gru", False): "max",
    ("gru", True): "attention",
    ("lstm", False): "label_attention",
    ("lstm", True): ["last", "max"],
}
NETS = [(cell_type, bidirectional, depth) for cell_type, bidirectional in POOLINGS for depth in (1, 2)]
FILES = ["model.onnx", "tagger.py", "tagging.py", "text_encoding.py", "tokenizer.json"]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer([" ".join(WORDS)] * 2, algorithm="word", model_max_length=40)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, build_tagger, tokenizer):
    """A net whose thresholds cut its scores in halves, and its export; the last one of `NETS` is in int8 too."""

    @functools.cache
    def make(cell_type, bidirectional, depth):
        model = build_tagger(
            vocab_size=len(tokenizer),
            cell_type=cell_type,
            bidirectional=bidirectional,
            num_hidden_layers=depth,
            pooling=POOLINGS[cell_type, bidirectional] if depth == 1 else ALL,
            id2label=dict(enumerate(LABELS)),
        )
        with torch.no_grad():
            ids = torch.randint(0, len(tokenizer), (200, 20), generator=torch.Generator().manual_seed(0))
            medians = model(ids, torch.ones_like(ids)).logits.sigmoid().median(0).values
        model.config.thresholds = dict(zip(LABELS, medians.tolist(), strict=True))
        folder = tmp_path_factory.mktemp("export") / "new" / "onnx"
        is_last = (cell_type, bidirectional, depth) == NETS[-1]
        return model, export_onnx(model, tokenizer, folder, int8=is_last)

    return make


@pytest.fixture
def no_graph(monkeypatch, exported):
    """Exports take the graph of another one, which is much faster; gives the nets that were to be written."""
    graph = exported("lstm", True, 2)[1] / "model.onnx"
    nets = []

    def write(net, path, metadata):
        nets.append(net)
        shutil.copyfile(graph, path)

    monkeypatch.setattr(export, "_write_model", write)
    return nets


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The net


def draw_masks(batch: int, time: int) -> dict[str, torch.Tensor]:
    """Masks (batch, time) of every kind; where there are several texts, the last has no valid step."""
    lengths = torch.randint(1, time + 1, (batch, 1))
    right = torch.arange(time) < lengths
    masks = {
        "none": torch.ones(batch, time),
        "right": right,
        "left": right.flip(1),
        "holes": torch.rand(batch, time) < 0.5,
    }
    for mask in masks.values():
        mask[batch - 1 :] = batch == 1
    return {name: mask.long() for name, mask in masks.items()}


@pytest.mark.parametrize(("cell_type", "bidirectional", "depth"), NETS)
def test_pain_17_the_logits_are_those_of_torch_at_any_batch_length_and_padding(
    exported, cell_type, bidirectional, depth
):
    model, folder = exported(cell_type, bidirectional, depth)
    session = InferenceSession(str(folder / "model.onnx"))
    for batch, time in [(1, 1), (1, 7), (4, 1), (2, 3), (5, 9), (3, 40)]:
        # What stands at padding is any token.
        ids = torch.randint(0, model.config.vocab_size, (batch, time))
        for kind, mask in draw_masks(batch, time).items():
            (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
            with torch.no_grad():
                expected = model(ids, mask).logits.numpy()
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=f"{kind}, {batch} x {time}")


def test_the_net_says_what_goes_in_and_what_comes_out(exported):
    _, folder = exported("gru", True, 2)
    session = InferenceSession(str(folder / "model.onnx"))
    inputs = [(value.name, value.type, value.shape) for value in session.get_inputs()]
    shape = ["batch", "time"]
    assert inputs == [("input_ids", "tensor(int64)", shape), ("attention_mask", "tensor(int64)", shape)]
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape) == ("logits", "tensor(float)", ["batch", 3])


def test_the_labels_and_all_that_tagging_needs_are_in_the_metadata(exported, tokenizer):
    model, folder = exported("gru", True, 2)
    metadata = InferenceSession(str(folder / "model.onnx")).get_modelmeta().custom_metadata_map
    assert {name: json.loads(value) for name, value in metadata.items()} == {
        "labels": LABELS,
        "thresholds": model.config.label_thresholds,
        "model_max_length": 40,
        "truncation_side": "right",
        "split_special_tokens": False,
        "num_tokens": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "format_version": 1,
        "made_by": f"hf_rnn_multilabel {__version__}",
    }


@pytest.mark.parametrize(("cell_type", "bidirectional"), [("rnn", True), ("gru", False), ("lstm", True)])
def test_each_layer_is_one_operator_on_constant_weights(exported, cell_type, bidirectional):
    _, folder = exported(cell_type, bidirectional, 2)
    graph = onnx.load(folder / "model.onnx").graph
    constants = {constant.name for constant in graph.initializer}
    layers = [node for node in graph.node if node.op_type == cell_type.upper()]
    assert len(layers) == 2
    for layer in layers:
        assert set(layer.input[1:4]) <= constants


def test_the_file_names_no_path_of_the_machine_that_made_it(exported):
    written = (exported("lstm", True, 2)[1] / "model.onnx").read_bytes()
    assert b".py" not in written
    assert b"stack_trace" not in written


def test_a_net_that_comes_out_wrong_is_not_written(tmp_path, monkeypatch, build_tagger, tokenizer):
    monkeypatch.setitem(export.GATE_ORDER, "gru", [0, 1, 2])
    model = build_tagger(vocab_size=len(tokenizer), cell_type="gru", num_hidden_layers=1, pooling="mean")
    with pytest.raises(RuntimeError, match=r"differ from the model's by 0\.\d+; nothing was written"):
        export_onnx(model, tokenizer, tmp_path / "onnx")
    assert names_in(tmp_path) == []


# The tags


def torch_scores(model, tokenizer, texts: list[str]) -> torch.Tensor:
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    scores = torch.empty(len(texts), model.config.num_labels)
    for start in range(0, len(texts), 500):
        rows = order[start : start + 500]
        inputs = tokenizer([texts[row] for row in rows], padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            scores[rows] = model(inputs["input_ids"].long(), inputs["attention_mask"].long()).logits.sigmoid()
    return scores


@pytest.mark.parametrize(("cell_type", "bidirectional"), [("rnn", True), ("gru", True), ("lstm", True)])
def test_pain_18_the_tags_of_ten_thousand_texts_are_those_of_torch(exported, tokenizer, cell_type, bidirectional):
    chance = random.Random(0)
    texts = [" ".join(chance.choices([*WORDS, "unheard-of"], k=chance.randrange(50))) for _ in range(10_000)]
    model, folder = exported(cell_type, bidirectional, 2)
    found = [{tag["label"]: tag["score"] for tag in tags} for tags in OnnxTagger(folder)(texts)]
    scores = torch_scores(model, tokenizer, texts)
    limits = torch.tensor([model.config.thresholds[name] for name in LABELS])
    # Two sums in another order may fall on either side of a threshold that both all but meet.
    doubtful = ((scores - limits).abs() < 1e-6).any(1)
    assert doubtful.sum() <= 2
    reached = scores >= limits
    shares = reached.float().mean(0)
    assert shares.min() > 0.1
    assert shares.max() < 0.9
    for tags, own, chosen, in_doubt in zip(found, scores.tolist(), reached.tolist(), doubtful.tolist(), strict=True):
        expected = {name: score for name, score, is_tag in zip(LABELS, own, chosen, strict=True) if is_tag}
        assert in_doubt or tags == pytest.approx(expected, abs=1e-5)


def test_int8_nearly_gives_the_tags_of_float32(exported):
    _, folder = exported("lstm", True, 2)
    assert names_in(folder) == sorted([*FILES, "model_int8.onnx"])
    operators = [node.op_type for node in onnx.load(folder / "model_int8.onnx").graph.node]
    assert operators.count("DynamicQuantizeLSTM") == 2
    assert "LSTM" not in operators
    texts = [" ".join(WORDS[first:last]) for first in range(15) for last in range(first, 15)]
    exact, near = OnnxTagger(folder), OnnxTagger(folder, file="model_int8.onnx")
    difference = np.abs(exact.logits(texts) - near.logits(texts)).max()
    assert 0 < difference < 0.2
    assert np.mean([a == b for a, b in zip(labels_of(exact(texts)), labels_of(near(texts)), strict=True)]) > 0.85


def test_int8_weights_cannot_saturate_where_two_products_are_added_in_16_bits(exported):
    _, folder = exported("lstm", True, 2)
    graph = onnx.load(folder / "model_int8.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [
        tensors[name] for node in graph.node if node.op_type == "DynamicQuantizeLSTM" for name in node.input[1:3]
    ]
    assert len(weights) == 4
    for weight in weights:
        assert weight.dtype == np.int8
        assert 2 * 255 * np.abs(weight.astype(int)).max() < 2**15


def labels_of(tags: list[list[dict]]) -> list[list[str]]:
    return [[tag["label"] for tag in found] for found in tags]


# The folder


def test_a_folder_holds_the_net_the_tokenizer_and_the_tagger(exported):
    _, folder = exported("gru", False, 1)
    assert names_in(folder) == FILES
    written = (folder / "tagger.py").read_text(encoding="utf-8")
    assert written.splitlines()[-20:] == Path(onnx_tagger.__file__).read_text(encoding="utf-8").splitlines()[-20:]
    assert "from ." not in written
    assert names_in(folder.parent) == ["onnx"]


def test_a_push_takes_all_files_of_an_export(exported):
    _, folder = exported("lstm", True, 2)
    assert set(names_in(folder)) <= set(ONNX)


def test_an_export_that_is_there_is_replaced_whole(tmp_path, no_graph, exported, tokenizer):
    model, folder = exported("lstm", True, 2)
    shutil.copytree(folder, tmp_path / "onnx")
    (tmp_path / "onnx" / "__pycache__").mkdir()
    (tmp_path / "onnx" / "tagger.py").write_text("an older one")
    assert export_onnx(model, tokenizer, tmp_path / "onnx") == tmp_path / "onnx"
    assert names_in(tmp_path / "onnx") == FILES
    assert "an older one" not in (tmp_path / "onnx" / "tagger.py").read_text()
    assert names_in(tmp_path) == ["onnx"]


def test_a_failure_leaves_the_export_that_is_there_as_it_was(tmp_path, monkeypatch, exported, tokenizer):
    def fail(*_):
        raise OSError("no space left")

    model, folder = exported("gru", False, 1)
    shutil.copytree(folder, tmp_path / "onnx")
    monkeypatch.setattr(export.shutil, "copyfile", fail)
    monkeypatch.setattr(export, "_write_model", lambda net, path, metadata: path.write_bytes(b"new"))
    for target in ("onnx", "nothing there"):
        with pytest.raises(OSError, match="no space left"):
            export_onnx(model, tokenizer, tmp_path / target)
    assert names_in(tmp_path) == ["onnx"]
    for name in FILES:
        assert (tmp_path / "onnx" / name).read_bytes() == (folder / name).read_bytes()


def test_fault_41_what_killed_exports_left_is_removed_and_the_export_that_was_there_is_kept(
    tmp_path, no_graph, monkeypatch, exported, tokenizer
):
    model, folder = exported("lstm", True, 2)
    (tmp_path / "onnx.partial" / "new").mkdir(parents=True)
    (tmp_path / "onnx.partial" / "lock").touch()
    shutil.copytree(folder, tmp_path / "onnx.partial" / "old")  # killed between the moves
    monkeypatch.setattr(export, "_copy_tokenizer", mock.Mock(side_effect=ValueError("no such tokenizer")))
    with pytest.raises(ValueError, match="no such tokenizer"):
        export_onnx(model, tokenizer, tmp_path / "onnx")
    assert names_in(tmp_path) == ["onnx"]
    assert (tmp_path / "onnx" / "model.onnx").read_bytes() == (folder / "model.onnx").read_bytes()


def test_fault_41_an_export_that_is_under_way_is_left_alone(tmp_path, no_graph, exported, tokenizer):
    model, _ = exported("lstm", True, 2)
    (tmp_path / "onnx.partial").mkdir()
    with (
        FileLock(tmp_path / "onnx.partial" / "lock"),
        pytest.raises(BlockingIOError, match=r"Another run is exporting to '.*onnx'"),
    ):
        export_onnx(model, tokenizer, tmp_path / "onnx")
    assert names_in(tmp_path) == ["onnx.partial"]


def test_names_and_orders_in_the_graph_are_the_same_in_every_process(exported):
    graph = onnx.load(exported("lstm", True, 2)[1] / "model.onnx").graph
    assert [node.name for node in graph.node if not re.fullmatch(r"node_\d+", node.name)] == []
    computed = [name for node in graph.node for name in node.output if name not in ("logits", "")]
    assert [name for name in computed if not re.fullmatch(r"value_\d+", name)] == []
    (loop,) = (node for node in graph.node if node.op_type == "Loop")
    body = next(attribute.g for attribute in loop.attribute if attribute.name == "body")
    assert [value.name for value in body.input[2:]] == ["loop_0_carried_0", "loop_0_carried_1"]
    # An index, and the sequence of what was summed.
    (insert,) = (node for node in body.node if node.op_type == "SequenceInsert")
    assert insert.input[0] == "loop_0_carried_1" and insert.output[0] == body.output[2].name


def test_a_folder_with_anything_else_in_it_is_not_touched(tmp_path, exported, tokenizer):
    model, _ = exported("gru", False, 1)
    (tmp_path / "config.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(FileExistsError, match=r"holds config.json, .*give a folder of its own"):
            export_onnx(model, tokenizer, folder)
    assert names_in(tmp_path) == ["config.json"]


def test_the_model_stays_as_it_is_and_its_copy_is_exported_in_float32(tmp_path, no_graph, build_tagger, tokenizer):
    model = build_tagger(vocab_size=len(tokenizer), num_hidden_layers=1).bfloat16().train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    export_onnx(model, tokenizer, tmp_path / "onnx")
    (net,) = no_graph
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    assert not any(module.training for module in net.modules())
    assert all(module.training for module in model.modules())
    assert type(model.rnn) is RnnMultilabelModel
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("cell_type", ["rnn", "gru"])
def test_int8_of_a_cell_without_an_operator_is_an_error_before_anything_is_written(
    tmp_path, build_tagger, tokenizer, cell_type
):
    model = build_tagger(vocab_size=len(tokenizer), cell_type=cell_type)
    with pytest.raises(ValueError, match=f"no int8 operator for the cell '{cell_type}'.*without `int8`, or train an"):
        export_onnx(model, tokenizer, tmp_path / "a" / "onnx", int8=True)
    assert names_in(tmp_path) == []


def test_a_model_or_a_tokenizer_of_another_kind_is_an_error(tmp_path, build_tagger, tokenizer):
    model = build_tagger(vocab_size=len(tokenizer))
    with pytest.raises(ValueError, match="is a RnnMultilabelModel; give a RnnMultilabelForSequenceClassification"):
        export_onnx(model.rnn, tokenizer, tmp_path / "onnx")
    with pytest.raises(ValueError, match=f"has {len(tokenizer)} tokens and the model 5; give the tokenizer"):
        export_onnx(build_tagger(vocab_size=5), tokenizer, tmp_path / "onnx")
    assert names_in(tmp_path) == []


# The tokenizer


def cut_ids(tokenizer, folder: Path, text: str) -> list[list[int]]:
    """The ids of a text by the tokenizer itself and by that of an export."""
    tokenizer_of_export = onnx_tagger.Tokenizer.from_file(str(folder / "tokenizer.json"))
    (encoding,) = tokenizer_of_export.encode_batch_fast([text])
    return [tokenizer(text, truncation=True)["input_ids"], encoding.ids]


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_exported_tokenizer_cuts_where_the_tokenizer_does_and_pads_nothing(tmp_path, no_graph, build_tagger, side):
    vocabulary = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=6, truncation_side=side)
    # Its last call is not what counts.
    tokenizer(["a lamp", "a"], padding="max_length", max_length=3, truncation=True)
    folder = export_onnx(build_tagger(vocab_size=len(tokenizer)), tokenizer, tmp_path / "onnx")
    for text in ("a lamp", "", " ".join(WORDS)):
        own, of_export = cut_ids(tokenizer, folder, text)
        assert own == of_export
    assert len(own) == 6
    assert own[0] == 2
    assert own[-1] == 3


def test_a_tokenizer_without_a_maximum_length_cuts_nothing(tmp_path, no_graph, build_tagger, tokenizer):
    endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, unk_token="[UNK]")
    folder = export_onnx(build_tagger(vocab_size=len(tokenizer)), endless, tmp_path / "onnx")
    own, of_export = cut_ids(endless, folder, "lamp " * 1000)
    assert own == of_export
    assert len(own) == 1000
