"""A search for access tokens of the Hub in the files of a push."""

import html
import mmap
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote


# Tokens of users and of organisations. What stands before one may be a letter, for example that of a "\n".
TOKEN = re.compile(rb"(?:hf|api_org)_[A-Za-z0-9]{30,}")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
TEXTS = {".json", ".md", ".py", ".txt", ""}


def holds_token(path: Path, tokens: Iterable[str | None] = ()) -> bool:
    """Return whether a file holds an access token of the Hub, also one that is written with escapes.

    Args:
        path: Any file. Of a safetensors file the header is searched, which has the metadata and the names, but no
            weights.
        tokens: Tokens to look for, whatever their form; None is no token.
    """
    wanted = [token.encode() for token in tokens if token]
    if path.suffix == ".safetensors":
        return _is_in(_header(path), wanted)
    if path.suffix in TEXTS:
        return _is_in(path.read_bytes(), wanted)
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return TOKEN.search(content) is not None or any(content.find(token) >= 0 for token in wanted)


def text_holds_token(text: str, tokens: Iterable[str | None] = ()) -> bool:
    """Return whether a text holds an access token, as `holds_token` does for a file."""
    return _is_in(text.encode(errors="replace"), [token.encode() for token in tokens if token])


def _is_in(content: bytes, wanted: list[bytes]) -> bool:
    text = content.decode("utf-8", errors="replace")
    unescaped = ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
    forms = [content, *(form.encode(errors="replace") for form in (unescaped, html.unescape(text), unquote(text)))]
    return any(TOKEN.search(form) or any(token in form for token in wanted) for form in forms)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return file.read(min(length, 100 * 10**6))  # the format's own limit
