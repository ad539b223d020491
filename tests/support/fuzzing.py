"""What the fuzzed tests share: how many inputs a target gets, which outcomes are allowed, strings of all kinds."""

import linecache
import os
import re
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st

import hf_rnn_multilabel


PACKAGE = str(Path(hf_rnn_multilabel.__file__).parent)
# What a message holds that says which value is wrong: a name or a value in quotes, or a number.
NAMED = re.compile(r"`[^`]+`|'[^']*'|\"[^\"]*\"|\d")
MAX_MESSAGE = 4000  # characters

IS_LONG = "FUZZ_EXAMPLES" in os.environ
inputs: Counter[str] = Counter()
refusals: Counter[str] = Counter()
seconds: defaultdict[str, float] = defaultdict(float)
_target = ""


class Refusal(str):
    """The message of an allowed error."""


def fuzz(examples: int, **strategies: st.SearchStrategy) -> Callable:
    """Run a test on random inputs: so many of them in CI, and FUZZ_EXAMPLES where that is set."""

    def decorate(test: Callable) -> Callable:
        name = test.__name__

        @wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            global _target
            _target, start = name, time.perf_counter()
            inputs[name] += 1
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    test(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - start

        number = int(os.environ.get("FUZZ_EXAMPLES", examples))
        profile = settings.get_profile("fuzz" if IS_LONG else "ci")
        return settings(profile, max_examples=number)(given(**strategies)(counted))

    return decorate


def attempt(call: Callable, *args: Any, names: Iterable[str] = (), **kwargs: Any) -> Any:
    """What a call returns, or the message of its error if that is allowed; any other error is a finding.

    Args:
        call: A function of the package.
        *args: Its arguments.
        names: What the message of an error must hold, one of them.
        **kwargs: Its arguments.
    """
    try:
        return call(*args, **kwargs)
    except Exception as error:
        if not allowed(error, names):
            raise
        refusals[_target] += 1
        return Refusal(error)


def allowed(error: BaseException, names: Iterable[str] = ()) -> bool:
    """Whether the package itself raised an error, and says in it what is wrong."""
    message, names = str(error), list(names)
    says_what = NAMED.search(message) is not None and 20 < len(message) < MAX_MESSAGE
    if not says_what or (names and not any(name in message for name in names)):
        return False
    if isinstance(error, StrictDataclassError):
        return True  # the documented error of a configuration, which names the field
    if type(error) not in (ValueError, TypeError) and not isinstance(error, OSError):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        return False
    return linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno).strip().startswith("raise ")


# Separators, quotation marks, white space, invisible characters, halves of pairs, accents, numbers.
SPECIAL = list(",;|\t\n\r\"'\\[]{}: /-_#01.eE\0\x1c\x85\xa0\xad\u200b\u200d\u2028\u2060\u202e\ufeff\ufffd")
SPECIAL += ["\ud800", "\udfff", "\U0001f600", "\u0301", "é", "e\u0301", "İ", "ß", "中", "\ue000", "NaN", "true", "##"]
WORDS = ["lamp", "desk", "wood", "Desk", "a", "b", "garden"]

strings = st.lists(st.one_of(st.sampled_from(WORDS), st.sampled_from(SPECIAL), st.characters()), max_size=8).map(
    "".join
)
whole_strings = strings.map(lambda text: "".join(c for c in text if not "\ud800" <= c <= "\udfff"))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, -100]),
    st.floats(),
    st.sampled_from([0.0, 1.0, 0.5, -100.0]),
    strings,
    st.binary(max_size=3),
    st.dates(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strings, inner, max_size=2)),
    max_leaves=6,
)


def damage(data: bytes, draw: st.DrawFn) -> bytes:
    """Bytes with one to three faults: cut, flipped, lines swapped or dropped, quotation marks put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(len(data), at + draw(st.integers(1, 8)))
        lines = data.splitlines(keepends=True)
        kind = draw(st.sampled_from(["cut", "flip", "delete", "repeat", "insert", "swap", "drop", "replace"]))
        if kind == "cut":
            data = data[:at]
        elif kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif kind == "replace" and data:
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        elif kind == "delete":
            data = data[:at] + data[end:]
        elif kind == "repeat":
            data = data[:end] + data[at:]
        elif kind == "insert":
            token = draw(
                st.sampled_from([b'"', b"\n", b"\r", b",", b"\t", b"\0", b"\xff", b"[", b"{", b"\\ud800", b"1e999"])
            )
            data = data[:at] + token + data[at:]
        elif kind == "swap" and len(lines) > 1:
            one, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
            lines[one], lines[other] = lines[other], lines[one]
            data = b"".join(lines)
        elif kind == "drop" and lines:
            del lines[draw(st.integers(0, len(lines) - 1))]
            data = b"".join(lines)
    return data
