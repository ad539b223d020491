"""Fingerprints by which one run is told from another, and what differs between two of them."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def differences(earlier: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two values of JSON, in words."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        keys = sorted(earlier.keys() | now.keys())
        return [
            each for key in keys for each in differences(earlier.get(key), now.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if earlier == now else [f"{name} was {_short(earlier)}, is {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Paths differ at their ends.
    return text if len(text) <= 60 else f"{text[:20]}...{text[-37:]}"


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
