"""Export to ONNX: one folder with model, tokenizer and tagger that tags without torch."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxruntime import InferenceSession
from onnxruntime.quantization import quantize_dynamic
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerBase

from .. import __version__
from ..hub.partial import partial_folder, remove_partial, replace_folder, restore_folder
from ..model import tagging
from ..model.modeling_rnn_multilabel import (
    RnnMultilabelForSequenceClassification,
    RnnMultilabelModel,
    RnnMultilabelModelOutput,
)
from ..model.pipeline_rnn_multilabel import MAX_LENGTH, make_encoder
from ..model.recurrence import RnnMultilabelLayer, pad_right
from ..model.tagging import shorten
from . import onnx_tagger
from .onnx_tagger import FORMAT_VERSION, MAKER


MODEL, MODEL_INT8, TOKENIZER, TAGGER = "model.onnx", "model_int8.onnx", "tokenizer.json", "tagger.py"
# What tagger.py imports, from the files beside it.
MODULES = ("tagging", "text_encoding")
OPSET = 18
# The operators have another order of gates than torch: z, r, n in a GRU, i, o, f, g in an LSTM.
GATE_ORDER = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}
# The runtime's int8 operators: the embeddings, the recurrence, the projections.
INT8_OPERATORS = ["Gather", "LSTM", "MatMul"]


def export_onnx(
    model: RnnMultilabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    int8: bool = False,
) -> Path:
    """Write a folder that tags texts with onnxruntime alone, for `OnnxTagger`.

    It holds model.onnx (inputs `input_ids` and `attention_mask`, (batch, time) int64, any padding, time at least 1;
    output `logits`, (batch, labels) float32; in its metadata, as JSON, `onnx_tagger.METADATA`), tokenizer.json, and
    tagger.py with the files that it imports, which need none of this package.

    Args:
        model: A tagger; it stays as it is.
        tokenizer: Its tokenizer, a fast one.
        folder: Where to; an export that is there is replaced whole, and stays as it is if the new one fails.
        int8: Whether to write model_int8.onnx as well, with dynamic quantization. Compare its tags with the others.

    Returns:
        `folder`.

    Raises:
        ValueError: If the model is no tagger of this package, the tokenizer is not fast or not the model's, or the
            runtime has no int8 operator for the model's cell.
        FileExistsError: If the folder holds other files than an export's.
        BlockingIOError: If another process exports to it.
        OSError: If it cannot be written.
        RuntimeError: If the exported model does not give the logits of the model.
    """
    folder = Path(folder).resolve()
    _check(model, tokenizer, int8)
    with partial_folder(folder, doing="is exporting to") as partial:
        new, old = partial / "new", partial / "old"
        restore_folder(folder, old)
        try:
            _check_folder(folder)
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
            new.mkdir()
            exported = copy.deepcopy(model).float().cpu().eval()
            _write_model(exported, new / MODEL, _metadata(model, tokenizer))
            if int8:
                _write_int8(new)
            _copy_tokenizer(tokenizer).save(str(new / TOKENIZER))
            _write_tagger(new)
            replace_folder(new, folder, old)
        finally:
            remove_partial(partial)
    return folder


def _metadata(model: RnnMultilabelForSequenceClassification, tokenizer: PreTrainedTokenizerBase) -> dict[str, str]:
    limit = tokenizer.model_max_length
    values = {
        "labels": model.config.label_names,
        "thresholds": model.config.label_thresholds,
        "model_max_length": limit if limit <= MAX_LENGTH else None,
        "truncation_side": tokenizer.truncation_side,
        "split_special_tokens": tokenizer.split_special_tokens,
        "pad_token_id": tokenizer.pad_token_id or 0,
        "num_tokens": len(tokenizer),
        "format_version": FORMAT_VERSION,
        "made_by": f"{MAKER} {__version__}",
    }
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}


def _write_int8(folder: Path) -> None:
    proto = onnx.load(folder / MODEL)
    # Older quantizers transpose weights and leave the notes of their shapes as they were.
    proto.graph.ClearField("value_info")
    # Without VNNI a processor adds two products in 16 bits, where weights of 8 bits saturate and those of 7 bits do
    # not: the logits are then the same on both kinds of processor. With VNNI the eighth bit gave the float32 model's
    # tags to 99.15 % instead of 99.10 % of 2,000 texts, at the same speed and size.
    quantize_dynamic(
        proto, folder / MODEL_INT8, op_types_to_quantize=INT8_OPERATORS, per_channel=True, reduce_range=True
    )


def _write_tagger(folder: Path) -> None:
    for module in MODULES:
        shutil.copyfile(Path(tagging.__file__).with_name(f"{module}.py"), folder / f"{module}.py")
    source = Path(onnx_tagger.__file__).read_text(encoding="utf-8")
    for module in MODULES:
        source = source.replace(f"from ..model.{module} import", f"from {module} import")
    (folder / TAGGER).write_text(source, encoding="utf-8")


def _check(model: RnnMultilabelForSequenceClassification, tokenizer: PreTrainedTokenizerBase, int8: bool) -> None:
    # By its name: the class of a model that was loaded with the checkpoint's own code is another one.
    if type(model).__name__ != "RnnMultilabelForSequenceClassification":
        raise ValueError(f"The model is a {type(model).__name__}; give a RnnMultilabelForSequenceClassification.")
    if int8 and model.config.cell_type != "lstm":
        raise ValueError(
            f"The runtime has no int8 operator for the cell {model.config.cell_type!r}, only for 'lstm'; export "
            "without `int8`, or train an LSTM."
        )
    make_encoder(tokenizer)  # raises for one that is not fast, or truncates to nothing
    if len(tokenizer) > model.config.vocab_size:
        raise ValueError(
            f"The tokenizer has {len(tokenizer):,} tokens and the model {model.config.vocab_size:,}; give the "
            "tokenizer with which the model was trained."
        )


def _check_folder(folder: Path) -> None:
    if folder.exists():
        known = {MODEL, f"{MODEL}.data", MODEL_INT8, TOKENIZER, TAGGER, "__pycache__"}
        known |= {f"{module}.py" for module in MODULES}
        others = sorted({path.name for path in folder.iterdir()} - known) if folder.is_dir() else [folder.name]
        if others:
            raise FileExistsError(
                f"{str(folder)!r} holds {shorten(others)}, which an export would replace; give a folder of its own."
            )


def _copy_tokenizer(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The tokenizer as the pipeline uses it: truncated at the maximum length, not padded."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.enable_truncation(int(min(tokenizer.model_max_length, MAX_LENGTH)), direction=tokenizer.truncation_side)
    return backend


def _write_model(model: RnnMultilabelForSequenceClassification, path: Path, metadata: dict[str, str]) -> None:
    ids = torch.arange(21).reshape(3, 7) % model.config.vocab_size
    mask = torch.tensor([[0, 1, 1, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0, 0], [0] * 7])
    with torch.no_grad():
        expected = model(ids, mask, return_dict=True).logits
    program: Any = torch.onnx.export(
        OnnxModel(model).eval(),
        # no 1, which would be taken for a constant
        (ids[:2, :3], mask[:2, :3]),
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch", 1: "time"}, {0: "batch", 1: "time"}),
        opset_version=OPSET,
        verbose=False,
    )
    # Each node names the file and the line that it comes from.
    ClearMetadataAndDocStringPass()(program.model)
    _order_loops(program.model)
    _name_by_order(program.model)
    program.model.metadata_props.clear()
    program.model.metadata_props.update(metadata)
    program.save(path)
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    if not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
        raise RuntimeError(
            "The exported model gives logits that differ from the model's by "
            f"{np.abs(found - expected.numpy()).max()}; nothing was written. Try the versions of torch, onnx, "
            "onnxscript and onnxruntime of this package's tests."
        )


def _order_loops(model: Any) -> None:
    """Sorts what loops carry by its name: the exporter takes it from a set, whose order no two processes share."""
    loops = [node for node in model.graph.all_nodes() if node.op_type == "Loop"]
    for number, node in enumerate(loops):
        body = node.attributes["body"].as_graph()
        # A loop and its body take a length and a condition first, and the body returns the condition first.
        inputs, outputs, carried = list(node.inputs)[2:], list(node.outputs), list(body.inputs)[2:]
        order = sorted(range(len(carried)), key=lambda index: carried[index].name.rstrip("_0123456789"))
        results, uses = list(body.outputs)[1:], [list(output.uses()) for output in outputs]
        kinds = [(output.type, output.shape) for output in outputs]
        for new, old in enumerate(order):
            node.replace_input_with(2 + new, inputs[old])
            body.inputs[2 + new], body.outputs[1 + new] = carried[old], results[old]
            body.inputs[2 + new].name = f"loop_{number}_carried_{new}"
            outputs[new].type, outputs[new].shape = kinds[old]
            for use, index in uses[old]:
                use.replace_input_with(index, outputs[new])


def _name_by_order(model: Any) -> None:
    """Names nodes and values by their order: the exporter's numbers differ from process to process."""
    outputs = set(map(id, model.graph.outputs))
    values = (value for node in model.graph.all_nodes() for value in node.outputs if id(value) not in outputs)
    for number, value in enumerate(values):
        value.name = f"value_{number}"
    for number, node in enumerate(model.graph.all_nodes()):
        node.name = f"node_{number}"


class OnnxModel(nn.Module):
    """The tagger for the graph. The texts are padded right as token ids: as hidden states there is more to move."""

    def __init__(self, model: RnnMultilabelForSequenceClassification):
        super().__init__()
        self.model = model
        self.model.rnn = OnnxEncoder(model.rnn)  # type: ignore[assignment]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.bool()
        order, _ = pad_right(mask)
        valid = torch.arange(mask.shape[1]) < mask.sum(1, keepdim=True)  # (batch, time)
        return self.model(input_ids.gather(1, order), valid, return_dict=True).logits


class OnnxEncoder(nn.Module):
    """`RnnMultilabelModel` for texts that are padded right."""

    def __init__(self, rnn: RnnMultilabelModel):
        super().__init__()
        self.embed_tokens = rnn.inputs.embed_tokens
        self.layers = nn.ModuleList(OnnxLayer(layer) for layer in rnn.layers)  # type: ignore[arg-type]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, *_, **__) -> RnnMultilabelModelOutput:
        # An empty text is read to its first position, which the mask then takes away; ONNX leaves a length of 0 open.
        lengths = attention_mask.sum(1).clamp(min=1).int()
        hidden_states = self.embed_tokens(input_ids.t())  # (time, batch, embedding)
        for layer in self.layers:
            hidden_states = layer(hidden_states, lengths)  # (time, batch, features)
        hidden_states = hidden_states.transpose(0, 1).masked_fill(~attention_mask.unsqueeze(-1), 0)
        return RnnMultilabelModelOutput(last_hidden_state=hidden_states, attention_mask=attention_mask)


class OnnxLayer(nn.Module):
    """A recurrent layer as one operator, which reads each text within its own length, in one or both directions."""

    weight_ih: torch.Tensor  # (directions, gates * hidden, features)
    weight_hh: torch.Tensor  # (directions, gates * hidden, hidden)
    bias: torch.Tensor  # (directions, 2 * gates * hidden)

    def __init__(self, layer: RnnMultilabelLayer):
        super().__init__()
        directions = [layer.forward_direction]
        if layer.backward_direction is not None:
            directions.append(layer.backward_direction)
        self.cell_type = directions[0].cell_type
        order = GATE_ORDER[self.cell_type]

        def constant(name: str) -> torch.Tensor:
            gates = [getattr(direction, name).detach().chunk(len(order)) for direction in directions]
            return torch.stack([torch.cat([chunks[gate] for gate in order]) for chunks in gates])

        # If the graph put them together, the runtime would quantize nothing.
        self.register_buffer("weight_ih", constant("weight_ih"))
        self.register_buffer("weight_hh", constant("weight_hh"))
        self.register_buffer("bias", torch.cat([constant("bias_ih"), constant("bias_hh")], dim=1))

    def forward(self, hidden_states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Run the layer.

        Args:
            hidden_states: (time, batch, features).
            lengths: (batch,) int32, at least 1.

        Returns:
            (time, batch, directions * hidden).
        """
        time, batch, _ = hidden_states.shape
        directions, _, hidden = self.weight_hh.shape
        direction = "bidirectional" if directions == 2 else "forward"
        attributes: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        if self.cell_type == "gru":
            attributes["linear_before_reset"] = 1
        outputs = torch.onnx.ops.symbolic(
            self.cell_type.upper(),
            (hidden_states, self.weight_ih, self.weight_hh, self.bias, lengths),
            attributes,
            dtype=hidden_states.dtype,
            shape=[time, directions, batch, hidden],
            version=OPSET,
        )
        return outputs.transpose(1, 2).flatten(2)
