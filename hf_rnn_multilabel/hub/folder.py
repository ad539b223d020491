"""The folder of a trained tagger: whether it is whole, and which of its files go to the Hub."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_token
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..model.configuration_rnn_multilabel import RnnMultilabelConfig
from ..model.modeling_rnn_multilabel import RnnMultilabelForSequenceClassification
from ..model.tagging import shorten
from .model_card import CARD_NAME, build_card
from .run_info import METRICS_NAME, RunInfo
from .tokens import holds_token, text_holds_token


TOKENIZER = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
]
ONNX = ["model.onnx", "model.onnx.data", "model_int8.onnx", "tokenizer.json"]
ONNX += ["tagger.py", "tagging.py", "text_encoding.py"]
# What the data types of weights begin with: F64, F32, F16, F8_E4M3, BF16, ...
FLOATS = ("F", "BF")
TOKEN_FOUND = "{!r} holds an access token of the Hub; take it out, and revoke it if it was public."
EXTRAS = [METRICS_NAME, "LICENSE", "plots/*.png", *(f"onnx/{name}" for name in ONNX)]


def files_to_push(folder: str | Path, token: str | None = None) -> list[str]:
    """Check that a folder is a trained tagger that opens anywhere.

    Args:
        folder: What a training saved, or what a model and its tokenizer saved.
        token: A token of the Hub that must not be in any file, beside all that look like one.

    Returns:
        The names of the files that may go to the Hub, sorted, without the card. Checkpoints of the training and files
        of other names are not among them.

    Raises:
        FileNotFoundError: If configuration, weights, code or tokenizer are missing.
        ValueError: For another type of model, weights that are missing, unexpected or not finite, a file that is a
            symbolic link or outside the folder, and a file that holds an access token of the Hub.
    """
    folder = Path(folder)
    config = read_config(folder)
    tokenizer = [name for name in TOKENIZER if (folder / name).is_file()]
    if not tokenizer:
        raise FileNotFoundError(
            f"No tokenizer in {str(folder)!r}; save it there: `tokenizer.save_pretrained(folder)`."
        )
    extras = [path.relative_to(folder).as_posix() for name in EXTRAS for path in folder.glob(name) if path.is_file()]
    names = sorted({CONFIG_NAME, *_weights(folder), *_code(folder), *tokenizer, *extras})
    for name in names:
        _check_file(folder, name, token)
    _check_weights(folder, config)
    return names


def read_config(folder: str | Path) -> RnnMultilabelConfig:
    """Read the configuration of a tagger's folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is broken or that of another type of model.
    """
    config = _read_json(Path(folder), CONFIG_NAME)
    model_type = config.get("model_type")
    if model_type != RnnMultilabelConfig.model_type:
        raise ValueError(
            f"{str(folder)!r} holds a {model_type!r} model, not a {RnnMultilabelConfig.model_type!r} one."
        )
    return RnnMultilabelConfig.from_dict(config)


def render_card(folder: str | Path, repo_id: str | None = None, token: str | None = None) -> str:
    """Return the card of a folder as a push sends it.

    Args:
        folder: It may hold a README.md, a metrics.json, both or neither.
        repo_id: The name under which the card shows how to use the model. A card that was edited stays as it is.
        token: A token of the Hub that must not be in the card.

    Raises:
        ValueError: If metrics.json is not that of a run, or the card holds an access token of the Hub.
    """
    folder = Path(folder)
    config = read_config(folder)
    run_info = RunInfo(name=folder.resolve().name)
    if (folder / METRICS_NAME).is_file():
        run_info = RunInfo.load(folder)
    generated = str(build_card(config, run_info))
    card = generated
    if (folder / CARD_NAME).is_file():
        _check_file(folder, CARD_NAME, token)
        card = (folder / CARD_NAME).read_text(encoding="utf-8")
    if card == generated and repo_id is not None:
        card = str(build_card(config, dataclasses.replace(run_info, name=repo_id)))
    if text_holds_token(card, (token, get_token())):
        raise ValueError(TOKEN_FOUND.format(CARD_NAME))
    return card


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"No {name} in {str(folder)!r}; give the folder of a trained tagger.")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no JSON ({error}); save the model again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{str(path)!r} holds a {type(values).__name__}, not an object; save the model again.")
    return values


def _weights(folder: Path) -> list[str]:
    """The names of the weight files: one, or an index and its shards."""
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        return [SAFE_WEIGHTS_NAME]
    if not (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        raise FileNotFoundError(
            f"No {SAFE_WEIGHTS_NAME} in {str(folder)!r}; save the model there: `model.save_pretrained(folder)`."
        )
    shards = _read_json(folder, SAFE_WEIGHTS_INDEX_NAME).get("weight_map", {})
    return [SAFE_WEIGHTS_INDEX_NAME, *sorted(set(shards.values()))]


def _code(folder: Path) -> list[str]:
    """The names of the Python files that a load without the package executes."""
    config = _read_json(folder, CONFIG_NAME)
    pipelines = [pipeline["impl"] for pipeline in config.get("custom_pipelines", {}).values()]
    modules = {name.split(".")[0] for name in [*config.get("auto_map", {}).values(), *pipelines]}
    if not modules:
        raise FileNotFoundError(
            f"{CONFIG_NAME} in {str(folder)!r} names no code; load and save the model with this package."
        )
    files = [folder / f"{module}.py" for module in sorted(modules)]
    try:
        files += [Path(name) for file in files for name in get_relative_import_files(file)]
    except OSError as error:
        raise FileNotFoundError(
            f"The code that travels with the model is not whole in {str(folder)!r} ({error}); load the model with "
            "this package and save it again."
        ) from error
    return [file.relative_to(folder).as_posix() for file in files]


def _check_file(folder: Path, name: str, token: str | None) -> None:
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        raise ValueError(f"{name!r} in {str(folder)!r} is a symbolic link or outside the folder; put the file there.")
    if not path.is_file():
        raise FileNotFoundError(f"No file {name!r} in {str(folder)!r}; save the model again.")
    if holds_token(path, (token, get_token())):
        raise ValueError(TOKEN_FOUND.format(name))


def integer_tensors(path: str | Path) -> list[str]:
    """The names of the tensors of a safetensors file that are no floating-point numbers, which no weight is."""
    with safe_open(path, "pt") as file:
        return [name for name in file.keys() if not file.get_slice(name).get_dtype().startswith(FLOATS)]  # noqa: SIM118


def _check_weights(folder: Path, config: RnnMultilabelConfig) -> None:
    """An error unless the weights are those of a tagger of this configuration, and numbers."""
    try:
        loaded: Any = RnnMultilabelForSequenceClassification.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True
        )
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(
            f"The weights in {str(folder)!r} are broken or not those of the configuration ({error}); save the model "
            "again."
        ) from error
    model, loading = loaded
    for problem in ("missing_keys", "unexpected_keys"):
        if loading[problem]:
            raise ValueError(
                f"The weights in {str(folder)!r} have {problem.replace('_', ' ')} "
                f"({shorten(sorted(loading[problem]))}); save a trained "
                "`RnnMultilabelForSequenceClassification` there."
            )
    integers = [
        name for file in _weights(folder) if file.endswith(".safetensors") for name in integer_tensors(folder / file)
    ]
    if integers:
        raise ValueError(
            f"The weights in {str(folder)!r} are no floating-point numbers ({shorten(integers)}); save the model "
            "again."
        )
    broken = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise ValueError(
            f"The weights in {str(folder)!r} are not finite ({shorten(broken)}); train again with a lower "
            "learning rate."
        )
