"""The console command: finds the subcommand, and turns its errors into words and exit codes.

Exit codes: 0 done, 1 an error in words, 2 a wrong command line, 130 Ctrl-C, 143 SIGTERM.
"""

import ast
import importlib
import io
import logging
import os
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Sequence
from functools import cache, partial
from types import FrameType

from huggingface_hub.errors import HTTPError, StrictDataclassClassValidationError, StrictDataclassError

from .. import __version__


COMMANDS = {
    "inspect": "Show what files of labelled texts hold, and what is likely wrong with them.",
    "train": "Train a tagger on labelled texts.",
    "tag": "Tag texts with a trained tagger.",
    "evaluate": "Score a tagger on labelled texts.",
    "thresholds": "Tune a tagger's thresholds on other labelled texts.",
    "pretrain": "Pretrain an encoder on texts without labels.",
    "distill": "Train a tagger that learns from a larger model too.",
    "export": "Export a tagger to ONNX.",
    "push": "Push a trained folder to the Hub.",
}
# What the user, the data or the machine got wrong; anything else is a defect and shows where it came from.
ERRORS = (ValueError, OSError, ImportError, HTTPError, StrictDataclassError)
# The extra that installs a module; all others come with "train".
EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx", "optuna": "search"}
TRAIN = ("accelerate", "datasets", "evaluate", "iterstrat", "jinja2", "matplotlib", "pyarrow", "scipy", "sklearn")
# A setting as the messages of the package name it, also with the option that it is beside it.
SETTING = re.compile(r"`([a-z]\w*)(?:=([^`]+))?`(?: \(`--(?P<alone>\w+)`[^)]*\)|, `--(?P<beside>\w+)`)?")
# Arguments of Python that are called otherwise on the command line.
OTHERWISE = {"label_names": "label_list", "separator": "label_separator"}


class Terminated(BaseException):
    """SIGTERM came."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    name, *rest = argv
    if name not in COMMANDS:
        print(f"hf-rnn-multilabel: no command is called {name!r}; there are {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    unreadable = [argument for argument in rest if not argument.isascii() and _is_escaped(argument)]
    if unreadable:
        print(
            f"hf-rnn-multilabel {name}: {unreadable[0]!a} has characters that the encoding of this locale, "
            f"{sys.getfilesystemencoding()}, does not have; set PYTHONUTF8=1, or LC_ALL=C.UTF-8.",
            file=sys.stderr,
        )
        return 2
    _log_to_stderr(name)
    earlier = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        importlib.import_module(f".{name}", __package__).main(rest)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ERRORS as error:
        print(f"hf-rnn-multilabel {name}: {in_words(error, name)}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"\nhf-rnn-multilabel {name}: stopped. {STOPPED.get(name, 'Nothing was written.')}", file=sys.stderr)
        return 130 if isinstance(stop, KeyboardInterrupt) else 143
    finally:
        signal.signal(signal.SIGTERM, earlier)
    return 0


def _is_escaped(argument: str) -> bool:
    """Whether Python could not decode an argument of the command line, and the locale is why."""
    if sys.getfilesystemencoding().lower() in ("utf-8", "utf8"):
        return False
    return any("\udc80" <= character <= "\udcff" for character in argument)


def in_words(error: BaseException, command: str) -> str:
    """An error in one line; what is not installed, with the command that installs it; settings as options."""
    module = (getattr(error, "name", None) or "").split(".")[0]
    if isinstance(error, ImportError) and module in (*EXTRAS, *TRAIN):
        extra = EXTRAS.get(module, "train")
        return f'the package of {module} is not installed; run `pip install "hf-rnn-multilabel[{extra}]"`.'
    if isinstance(error, StrictDataclassClassValidationError) and error.__cause__ is not None:
        error = error.__cause__  # what the configuration says, without the name of its method
    return as_options(" ".join(str(error).split()) or type(error).__name__, command)


def as_options(text: str, command: str) -> str:
    """A message with the settings that it names as the options of a command."""
    return SETTING.sub(partial(_as_option, options=_options_of(command)), text)


@cache
def _options_of(command: str) -> set[str]:
    """The names of a command's options; none if it cannot be imported."""
    try:
        parser = importlib.import_module(f".{command}", __package__).make_parser()
    except ImportError:
        return set()
    return {action.dest for action in parser._actions}


def _as_option(match: re.Match[str], options: set[str]) -> str:
    """What Python calls `delimiter=';'` is `--delimiter ';'` here."""
    name, value = match.group(1, 2)
    option = next((each for each in (name, OTHERWISE.get(name)) if each in options), None)
    return match[0] if option is None else f"`--{option}{'' if value is None else f' {_in_shell(value)}'}`"


def _in_shell(value: str) -> str:
    """A value of Python, or a list of values, as a shell takes it."""
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    parts = literal if isinstance(literal, list | tuple) else [literal]
    return " ".join(map(_quoted, map(str, parts)))


def _quoted(text: str) -> str:
    """A string as a shell takes it, a tab or another character that cannot be seen as an escape."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + text.encode("unicode_escape").decode("ascii").replace("'", "\\'") + "'"


_RESUMES = "The same command resumes from the last checkpoint, if there is one."
STOPPED = {
    "train": _RESUMES,
    "distill": _RESUMES,
    "pretrain": _RESUMES,
    "tag": "An output file that was there is as it was.",
    "push": "Look at the Hub before you repeat it.",
}


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated


class _Formatter(logging.Formatter):
    """Messages alone, with settings as the options of a command."""

    def __init__(self, command: str):
        super().__init__("%(message)s")
        self.command = command

    def format(self, record: logging.LogRecord) -> str:
        return as_options(super().format(record), self.command)


def _log_to_stderr(command: str) -> None:
    """Show what the package reports on the error stream; the output stream is for results."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding shows what it lacks as an escape.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(command))
    logger = logging.getLogger("hf_rnn_multilabel")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    # Without the line of code that warns.
    warnings.formatwarning = lambda message, *args, **kwargs: f"Warning: {as_options(str(message), command)}\n"


def _help() -> str:
    lines = [f"  {name:12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hf-rnn-multilabel COMMAND [options]",
            "",
            "Recurrent multi-label taggers as ordinary Hugging Face models.",
            "",
            *lines,
            "",
            "`hf-rnn-multilabel COMMAND --help` shows the options of a command, `--version` the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
