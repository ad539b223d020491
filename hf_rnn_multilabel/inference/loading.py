"""From a folder or a name on the Hub to a tagger that is whole, or an error in words."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from ..hub.folder import integer_tensors
from ..model.pipeline_rnn_multilabel import RnnMultilabelTaggingPipeline, make_encoder
from ..model.tagging import Tagger, shorten
from .ensemble import TaggerEnsemble


ONNX_MODEL = "model.onnx"


def load_tagger(
    model: str | Path | Sequence[str | Path],
    *,
    revision: str | None = None,
    device: str | int | torch.device | None = None,
    threads: int | None = None,
    threshold: Mapping[str, float] | float | None = None,
    top_k: int | None = None,
    at_least_one: bool | None = None,
    truncation: bool | None = None,
    max_length: int | None = None,
    batch_size: int | None = None,
) -> Tagger:
    """Load a tagger, and refuse one that is not whole.

    Args:
        model: A folder of a trained model, a name on the Hub, a folder that `export_onnx` wrote or a ".onnx" file in
            one; or several of these, which tag as an ensemble.
        revision: The branch, tag or commit of models on the Hub.
        device: Where a model that is not exported runs; by default on a GPU where there is one.
        threads: The number of threads of an exported model.
        threshold: As in `TaggingOptions`, like all of the following.
        top_k: The largest number of tags per text.
        at_least_one: Whether a text without any tag gets its best label.
        truncation: Whether texts are truncated.
        max_length: The number of tokens at which they are.
        batch_size: The number of texts that the model reads at once.

    Returns:
        A `RnnMultilabelTaggingPipeline`, an `OnnxTagger` or a `TaggerEnsemble`, which are called alike.

    Raises:
        OSError: If there is no such folder or name.
        ValueError: As for `load_checkpoint`, `OnnxTagger` and `TaggerEnsemble`.
    """
    options: dict[str, Any] = {
        "threshold": threshold,
        "top_k": top_k,
        "at_least_one": at_least_one,
        "truncation": truncation,
        "max_length": max_length,
        "batch_size": batch_size,
    }
    if not isinstance(model, str | Path):
        if len(model) == 1:
            return load_tagger(model[0], revision=revision, device=device, threads=threads, **options)
        taggers = [load_tagger(one, revision=revision, device=device, threads=threads) for one in model]
        return TaggerEnsemble(taggers, **options)
    path = Path(model)
    if path.suffix == ".onnx" or ((path / ONNX_MODEL).is_file() and not (path / "config.json").exists()):
        # Its packages come with the extra `onnx`.
        from .onnx_tagger import OnnxTagger

        folder, file = (path.parent, path.name) if path.suffix == ".onnx" else (path, ONNX_MODEL)
        return OnnxTagger(folder, file=file, threads=threads, **options)
    checkpoint, tokenizer = load_checkpoint(model, revision=revision)
    return RnnMultilabelTaggingPipeline(
        model=checkpoint, tokenizer=tokenizer, task="multi-label-tagging", device=device, **options
    )


def load_checkpoint(
    name_or_path: str | Path, *, revision: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and its tokenizer, and refuse what is damaged or does not fit together.

    Args:
        name_or_path: A folder, or a name on the Hub.
        revision: The branch, tag or commit on the Hub.

    Returns:
        The model, in evaluation mode, and the tokenizer.

    Raises:
        OSError: If there is no such folder or name.
        ValueError: If it is no tagger of this package; its configuration is wrong, for example with thresholds of
            unknown labels; its weights cannot be read, lack a parameter, have one too many or one of another shape, or
            are not finite; or its tokenizer is not fast, has other tokens than the model or truncates to nothing.
    """
    try:
        config = AutoConfig.from_pretrained(name_or_path, revision=revision)
    except OSError as error:
        raise OSError(f"{str(name_or_path)!r} is neither a tagger's folder nor found on the Hub: {error}") from error
    except Exception as error:  # of any kind, where a value has another type than transformers takes for granted
        raise ValueError(f"The config.json of {name_or_path} is wrong: {_in_words(error)}") from error
    if config.model_type != "rnn_multilabel":
        raise ValueError(f"{name_or_path} is a {config.model_type!r} model; give a 'rnn_multilabel' one.")
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name_or_path, revision=revision, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except OSError as error:
        raise OSError(f"No weights of {name_or_path} can be read: {error}") from error
    except Exception as error:  # of safetensors, of torch, and of what transformers takes for granted
        raise ValueError(
            f"The weights of {name_or_path} cannot be read: {_in_words(error)}. Copy or download them again."
        ) from error
    _check_weights(model, report | {"integers": _integers(name_or_path, revision)}, name_or_path)
    tokenizer = _load_tokenizer(name_or_path, revision)
    _check_tokenizer(tokenizer, config, name_or_path)
    return model, tokenizer


def _load_tokenizer(name_or_path: str | Path, revision: str | None) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, revision=revision)
        make_encoder(tokenizer)
    except OSError as error:
        raise OSError(f"No tokenizer of {name_or_path} can be read: {error}") from error
    except Exception as error:  # `tokenizers` raises it as it is
        raise ValueError(
            f"The tokenizer of {name_or_path} cannot be used: {_in_words(error)}. Copy or download its tokenizer.json "
            "and tokenizer_config.json again."
        ) from error
    return tokenizer


def _in_words(error: Exception) -> str:
    """What an error of a library says, in one line that is not too long; its kind, where that says more."""
    words = " ".join(str(error).split())[:500]
    return words if isinstance(error, ValueError | StrictDataclassError) else f"{type(error).__name__}: {words}"


def _integers(name: str | Path, revision: str | None) -> list[str]:
    """The tensors on the disk that are no floating-point numbers, and would be read as if they were."""
    options: dict[str, Any] = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
    file = cached_file(name, SAFE_WEIGHTS_NAME, **options)
    if file is not None:
        return integer_tensors(file)
    index = cached_file(name, SAFE_WEIGHTS_INDEX_NAME, **options)
    if index is None:
        return []
    shards = set(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values())
    return [key for shard in sorted(shards) for key in integer_tensors(str(cached_file(name, shard, **options)))]


def _check_weights(model: PreTrainedModel, report: Mapping[str, Any], name: str | Path) -> None:
    floats = {key: tensor for key, tensor in model.state_dict().items() if tensor.is_floating_point()}
    problems = {
        "are missing": report["missing_keys"],
        "are not parameters of its architecture": report["unexpected_keys"],
        "are no floating-point numbers": report["integers"],
        "have another shape than its config.json says": [key for key, *_ in report["mismatched_keys"]],
        "are not finite": [key for key, tensor in floats.items() if not tensor.isfinite().all()],
    }
    found = [f"{shorten(sorted(keys))} {problem}" for problem, keys in problems.items() if keys]
    if found:
        raise ValueError(
            f"The weights of {name} are not those of its config.json: {'; '.join(found)}. Copy or download the "
            "checkpoint again, or train it again."
        )


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, name: str | Path) -> None:
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    if tokens != config.vocab_size:
        raise ValueError(
            f"The tokenizer of {name} has {tokens:,} tokens and the model {config.vocab_size:,}; put the tokenizer "
            "beside it with which it was trained."
        )
