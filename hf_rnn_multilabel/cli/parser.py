"""The parser of every subcommand: options made of dataclasses, a YAML file below them, a help that fits a screen."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from ..data.near_names import near_names


PROGRAM = "hf-rnn-multilabel"
INDENT, MAX_WIDTH = 34, 110
MAX_MESSAGE = 1000  # characters of an error, which repeats what was given
# Stock arguments that mean less here than in the stock `Trainer`, or whose help is long.
HELP = {
    "output_dir": "A new folder for the result.",
    "push_to_hub": "Push the finished folder to the Hub.",
    "hub_model_id": "user/name on the Hub. Default: the folder's name.",
    "bf16": "Train in bfloat16 where that is faster.",
    "fp16": "Train in float16 where that is faster.",
}


class CommandParser(HfArgumentParser):
    """The options of a subcommand; only those that are given come out, so that defaults are those of Python.

    Args:
        command: its name.
        description: one sentence.
        kinds: dataclasses; an option is made of each field, and the first one of a name counts.
        sections: what `--help` shows, by title: names of options in their order. None: all of them.
        examples: command lines that the help ends with.
        skipped: names of fields that get no option.
    """

    def __init__(
        self,
        command: str,
        description: str,
        kinds: Sequence[type],
        sections: Mapping[str, Sequence[str]] | None = None,
        examples: str = "",
        skipped: Sequence[str] = (),
    ):
        self.sections, self.examples = sections, examples
        seen, parts = set(skipped), []
        for kind in kinds:
            kept = [each for each in fields(kind) if each.init and each.name not in seen]
            seen |= {each.name for each in kept}
            parts.append(make_dataclass(kind.__name__, [(each.name, each.type, each) for each in kept], kw_only=True))
        self.kinds = [
            (kind.__name__, {each.name for each in fields(part)}) for kind, part in zip(kinds, parts, strict=True)
        ]
        super().__init__(
            parts,  # type: ignore[arg-type]
            prog=f"{PROGRAM} {command}",
            description=description,
            add_help=False,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        for action in self._actions:
            action.default = argparse.SUPPRESS
            action.help = HELP.get(action.dest, action.help)
        self.add_argument("--config", metavar="FILE", help="A YAML file of options; the command line goes over it.")
        self.add_argument("--json", action="store_true", help="Print the result as JSON.")
        self.add_argument("-h", "--help", action="store_true", help="Show this help.")
        self.add_argument("--help-all", "--help_all", action="store_true", help="Show all options.")

    def parse(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the options that are given, by name, and "json"; print a help and exit if it is asked for."""
        # Apart, since an option of several values at the end of the file would take an argument without a name.
        given = vars(self.parse_args(argv, self.parse_args(self._from_config(argv))))
        given.pop("config", None)
        if given.pop("help", False) or given.get("help_all", False):
            print(self.format_help(show_all=given.get("help_all", False)))
            sys.exit(0)
        return {"json": False} | given

    def _from_config(self, argv: Sequence[str]) -> list[str]:
        """The options of the file in `--config`, as a command line."""
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--config", nargs="?")  # without a file, the whole parser says what is wrong
        path = first.parse_known_args(list(argv))[0].config
        if path is None:
            return []
        try:
            text = Path(path).read_text(encoding="utf-8")
            # As it is written: YAML's own types would make 79 of the label 0117, and false of the label no.
            options, typed = yaml.load(text, yaml.BaseLoader), yaml.safe_load(text)
        except (OSError, ValueError, yaml.YAMLError) as error:
            self.error(f"cannot read --config {path}: {error}")
        if not isinstance(options, dict):
            self.error(f"--config {path} holds no options by name, for example `train_file: articles.csv`")
        line = []
        for name, value in options.items():
            action = self._action(str(name))
            if action is None:
                self.error(f"--config {path} holds {name!r}; {self._hint(str(name))}")
            if typed[name] is None:
                continue
            values = value if isinstance(value, list) else [value]
            if action.nargs == 0:
                line += [f"--{name}"] * bool(typed[name])
            elif action.nargs in ("+", "*"):
                if not all(isinstance(each, str) for each in values):
                    self.error(f"--config {path} holds {value!r:.80} as {name!r}; give a value or a list of values")
                line += [f"--{name}", *values]
            else:
                # In one, since a value may begin with a dash.
                line.append(f"--{name}={value if isinstance(value, str) else json.dumps(typed[name])}")
        return line

    def _action(self, name: str) -> argparse.Action | None:
        return next((each for each in self._actions if f"--{name}" in each.option_strings), None)

    def _hint(self, name: str) -> str:
        names = [action.dest for action in self._actions]
        everything = "--help" if self.sections is None else "--help-all"
        near = [f"--{each}" for each in near_names(name.lstrip("-").replace("-", "_"), names)]
        return f"did you mean {' or '.join(near)}?" if near else f"no option is called so; see {everything}"

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where the help is, and exit with 2."""
        if message.startswith("unrecognized arguments: --"):
            name = message.split()[2].partition("=")[0]
            message = f"unknown option {name}; {self._hint(name)}"
        message = message if len(message) < MAX_MESSAGE else f"{message[:MAX_MESSAGE]} ..."
        self.exit(2, f"{self.prog}: {message}\nSee `{self.prog} --help`.\n")

    def format_help(self, show_all: bool = False) -> str:
        """The help: the options of `sections`, or all, one or two lines each."""
        arguments = "".join(f"[{action.metavar}] " for action in self._get_positional_actions())
        lines = [f"usage: {self.prog} {arguments}[options]", "", str(self.description), ""]
        common = ["config", "json", "help", "help_all"]
        sections = self.sections
        if sections is None:
            sections = {"Options": [name for _, names in self.kinds for name in self._ordered(names)]}
            common = [name for name in common if name != "help_all"]
        elif show_all:
            sections = {title: self._ordered(names) for title, names in self.kinds}
        for title, names in [*sections.items(), ("Other", common)]:
            lines += [f"{title}:", *(line for name in names for line in self._lines(name)), ""]
        if self.examples:
            lines += ["Examples:", textwrap.indent(self.examples.strip(), "  "), ""]
        return "\n".join(lines).rstrip()

    def _ordered(self, names: set[str]) -> list[str]:
        return list(dict.fromkeys(action.dest for action in self._actions if action.dest in names))

    def _lines(self, name: str) -> list[str]:
        action = next(action for action in self._actions if action.dest == name)
        option = next(text for text in action.option_strings if text.startswith("--"))
        values = "" if action.nargs in (0, "?") else " " + _kind_of(action)
        width = min(shutil.get_terminal_size((MAX_WIDTH, 40)).columns, MAX_WIDTH)
        start = f"  {option}{values}"
        wrapped = textwrap.wrap(" ".join(str(action.help or "").split()), max(width - INDENT, 30)) or [""]
        if len(start) >= INDENT:
            return [start, *(" " * INDENT + line for line in wrapped)]
        return [start.ljust(INDENT) + wrapped[0], *(" " * INDENT + line for line in wrapped[1:])]


def _kind_of(action: argparse.Action) -> str:
    kind = {int: "N", float: "X", string_to_bool: "BOOL"}.get(action.type, "VALUE")  # type: ignore[call-overload]
    return f"{kind} ..." if action.nargs in ("+", "*") else kind
