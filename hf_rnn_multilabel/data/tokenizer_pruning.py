"""Stock fast tokenizers, pruned to the tokens that the texts use."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .tokenizer_training import check_texts


BYTE = re.compile("<0x[0-9A-F]{2}>")
BATCH_SIZE = 10_000


def prune_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Drops the tokens that `texts` do not use; the texts are split as before.

    Special tokens stay, and so do single characters and bytes, of which unseen words are made, and the tokens through
    which BPE reaches the used ones. Truncation and padding that a tokenizer.json brought along are cleared.

    Args:
        tokenizer: Any fast tokenizer (WordPiece, BPE, unigram or word-level) with a pad token.
        texts: The training texts.

    Returns:
        The pruned tokenizer, and the old id of each of its ids.

    Raises:
        ValueError: The tokenizer is not a fast one or has no pad token, a text is no string, or all are empty.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, and no other can be pruned; load one with "
            "`AutoTokenizer.from_pretrained(name)`, or train one with `train_tokenizer(texts)`."
        )
    if "pad_token" not in tokenizer.special_tokens_map:
        raise ValueError("The tokenizer has no pad token; set one, as in `tokenizer.pad_token = tokenizer.eos_token`.")
    state = json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
    backend = Tokenizer.from_str(json.dumps(state))
    backend.encode_special_tokens = tokenizer.split_special_tokens
    model, old_ids = state["model"], backend.get_vocab()

    kept = _used_tokens(backend, check_texts(texts))
    if model["type"] == "BPE":
        kept |= _intermediate_tokens(model, kept)
    kept.update(_building_blocks(model), tokenizer.all_special_tokens)
    kept.update(token["content"] for token in state["added_tokens"] if token["special"])
    kept.update(token for processor in _processors(state) for token in _processor_tokens(processor))

    # Tokens outside the model's own vocabulary come after it: loading numbers them so.
    own = dict(model["vocab"])
    tokens = sorted(kept & old_ids.keys(), key=lambda token: (token not in own, old_ids[token]))
    _renumber(state, {token: new_id for new_id, token in enumerate(tokens)})
    pruned = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        **tokenizer.special_tokens_map,
        extra_special_tokens=tokenizer.extra_special_tokens,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        split_special_tokens=tokenizer.split_special_tokens,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
    )
    return pruned, [old_ids[token] for token in tokens]


def _used_tokens(backend: Tokenizer, texts: list[str]) -> set[str]:
    used: set[int] = set()
    for start in range(0, len(texts), BATCH_SIZE):
        for encoding in backend.encode_batch_fast(texts[start : start + BATCH_SIZE]):
            used.update(encoding.ids)
    return {token for token, token_id in backend.get_vocab().items() if token_id in used}


def _building_blocks(model: dict[str, Any]) -> Iterator[str]:
    """The tokens that every word can fall back on: characters, bytes, the unknown token."""
    prefix, suffix = _affixes(model)
    for token in dict(model["vocab"]):
        if len(token.removeprefix(prefix).removesuffix(suffix)) == 1 or BYTE.fullmatch(token):
            yield token
    if model["type"] == "Unigram":
        # The score of an unknown character is set below the lowest of the vocabulary.
        yield min(model["vocab"], key=lambda entry: entry[1])[0]
    if (unk_token := _unk_token(model)) is not None:
        yield unk_token


def _intermediate_tokens(model: dict[str, Any], tokens: Iterable[str]) -> set[str]:
    """The tokens through which BPE reaches `tokens`, found by merging each of them alone.

    What is merged within a token is the same in every word, since none of these merges reaches across its ends.
    """
    prefix, suffix = _affixes(model)
    ranks = {(left, right): rank for rank, (left, right) in enumerate(model["merges"])}
    intermediate = set()
    for token in tokens:
        stem = token.removesuffix(suffix)
        parts = [prefix + character for character in stem.removeprefix(prefix)]
        if parts and not stem.startswith(prefix):
            parts[0] = parts[0].removeprefix(prefix)
        if parts and stem != token:
            parts[-1] += suffix
        while mergeable := [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]:
            _, at = min(mergeable)
            parts[at : at + 2] = [parts[at] + parts[at + 1].removeprefix(prefix)]
            intermediate.add(parts[at])
    return intermediate


def _affixes(model: dict[str, Any]) -> tuple[str, str]:
    return model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""


def _unk_token(model: dict[str, Any]) -> str | None:
    if model["type"] != "Unigram":
        return model["unk_token"]
    return None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]


def _processors(state: dict[str, Any]) -> list[dict[str, Any]]:
    processor = state["post_processor"]
    if processor is None:
        return []
    return processor["processors"] if processor["type"] == "Sequence" else [processor]


def _processor_tokens(processor: dict[str, Any]) -> list[str]:
    templates = [token for entry in processor.get("special_tokens", {}).values() for token in entry["tokens"]]
    return templates + [processor[end][0] for end in ("cls", "sep") if end in processor]


def _renumber(state: dict[str, Any], new_ids: dict[str, int]) -> None:
    """Leaves in a tokenizer.json the tokens of `new_ids`, which is in the order of the ids."""
    model = state["model"]
    if model["type"] == "Unigram":
        unk_token, scores = _unk_token(model), dict(model["vocab"])
        model["vocab"] = [(token, scores[token]) for token in new_ids if token in scores]
        model["unk_id"] = None if unk_token is None else new_ids[unk_token]
    else:
        model["vocab"] = {token: new_id for token, new_id in new_ids.items() if token in model["vocab"]}
    if model["type"] == "BPE":
        prefix, _ = _affixes(model)
        model["merges"] = [
            (left, right)
            for left, right in model["merges"]
            if {left, right, left + right.removeprefix(prefix)} <= new_ids.keys()
        ]
    state["added_tokens"] = [
        token | {"id": new_ids[token["content"]]} for token in state["added_tokens"] if token["content"] in new_ids
    ]
    for processor in _processors(state):
        for entry in processor.get("special_tokens", {}).values():
            entry["ids"] = [new_ids[token] for token in entry["tokens"]]
        for end in ("cls", "sep"):
            if end in processor:
                processor[end][1] = new_ids[processor[end][0]]
