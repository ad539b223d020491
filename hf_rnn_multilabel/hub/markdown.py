"""Texts of strangers in Markdown: label names, titles and citations are shown as they are and are never markup."""

import json
import math
import re
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..model.tagging import shorten


# Characters without a shape, and those that turn the direction of the text after them.
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONG_WORD = re.compile(r"(\S{59})\S{2,}")
# An underscore within a word is no markup.
MARKUP = re.compile(r"[\\`*\[\]<>&|~$#]|(?<![^\W_])_|_(?![^\W_])")


def markdown_environment() -> Environment:
    """Return the Jinja environment of the card.

    What an expression gives is escaped unless it is `Markup`. A name that is not defined is an error. The filters are
    `line`, `names`, `number`, `python`, `fenced` and `url`.
    """
    environment = Environment(
        trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, finalize=escape_markdown
    )
    environment.filters |= {
        "line": one_line,
        "names": shorten_names,
        "number": format_number,
        "python": python_literal,
        "fenced": fenced,
        "url": lambda path: Markup(quote(path)),
    }
    return environment


def one_line(text: Any, limit: int = 80) -> str:
    """Return a text in one line, truncated where it or one of its words is too long for a page."""
    line = LONG_WORD.sub(r"\1…", INVISIBLE.sub("", " ".join(str(text).split())))
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shorten_names(names: list[str], count: int = 8) -> str:
    """Return the first names, each in one line, and the number of the others."""
    return shorten([one_line(name, 40) for name in names], count)


def format_number(value: float | None, form: str) -> str:
    """Return a number in a format of Python, "n/a" for None, NaN and infinity."""
    return format(value, form) if value is not None and math.isfinite(value) else "n/a"


def escape_markdown(value: Any) -> str:
    """Return what Markdown and HTML show as the value itself, also in a cell of a table."""
    if isinstance(value, Markup):
        return value
    line = "n/a" if value is None else INVISIBLE.sub("", " ".join(str(value).split()))
    return MARKUP.sub(lambda match: f"&#{ord(match[0])};", line)


def python_literal(text: str) -> Markup:
    """Return a text as a literal of Python, which that of JSON is too."""
    return Markup(json.dumps(text, ensure_ascii=False))


def fenced(text: str) -> Markup:
    """Return a block of code that no line of the text ends before its end."""
    lines = "\n".join(INVISIBLE.sub("", line) for line in text.strip().splitlines())
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    return Markup(f"{fence}\n{lines}\n{fence}")
