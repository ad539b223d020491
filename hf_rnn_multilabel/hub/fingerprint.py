"""Fingerprints by which one run is told from another, and what differs between two of them."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


MAX_SHOWN = 60  # characters of a value


def differences(earlier: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two values of JSON, in words."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = sorted(earlier.keys() | now.keys())
        return [
            each for key in keys for each in differences(earlier.get(key), now.get(key), f"{name}.{key}".strip("."))
        ]
    if earlier == now:
        return []
    if isinstance(earlier, list) and isinstance(now, list) and len(_text(earlier)) + len(_text(now)) > MAX_SHOWN:
        return [f"{name} {_changes(earlier, now)}"]
    return [f"{name} was {_short(earlier)}, is {_short(now)}"]


def _changes(earlier: list, now: list) -> str:
    """What went out of a list that is too long to be shown, and what came into it."""
    before, after = ({_text(each): each for each in values} for values in (earlier, now))
    changes = {
        "lost": [each for text, each in before.items() if text not in after],
        "gained": [each for text, each in after.items() if text not in before],
    }
    words = [f"{word} {len(values):,}, {_short(values)}" for word, values in changes.items() if values]
    return " and ".join(words) or "has another order"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(value: Any) -> str:
    text = _text(value)
    # Paths differ at their ends.
    return text if len(text) <= MAX_SHOWN else f"{text[:20]}...{text[-37:]}"


def digest(parts: Iterable[bytes]) -> str:
    """The beginning of a SHA-256 of some parts, each with its length."""
    result = hashlib.sha256()
    for part in parts:
        result.update(len(part).to_bytes(8, "little") + part)
    return result.hexdigest()[:16]


def digest_files(paths: Iterable[Path], with_names: bool = True) -> str:
    """The digest of the contents of files, with their names or without."""
    return digest(_contents(paths, with_names))


def _contents(paths: Iterable[Path], with_names: bool) -> Iterator[bytes]:
    for path in paths:
        yield path.name.encode("utf-8", "surrogatepass") if with_names else b""
        with open(path, "rb") as content:
            yield from iter(lambda: content.read(1 << 20), b"")
