"""Command lines and their files of options: what was meant, or exit code 2 with words."""

import argparse
import json
import sys
from importlib import import_module

import pytest
import yaml
from fuzzing import fuzz, strings, values, whole_strings
from hypothesis import strategies as st

from hf_rnn_multilabel.cli.main import COMMANDS, main


@pytest.fixture(scope="module")
def parsers():
    return {command: import_module(f"hf_rnn_multilabel.cli.{command}").make_parser() for command in COMMANDS}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("options") / "options.yaml"


def outcome(call, *arguments):
    """What a parser returns, or the exit code."""
    # As the command sets it, before it parses.
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        return call(*arguments)
    except SystemExit as stop:
        return stop.code


def check(found, capsys, prog: str) -> None:
    """That an exit says what is wrong, or showed the help."""
    printed = capsys.readouterr()
    if isinstance(found, dict):
        assert "json" in found
        return
    assert found in (0, 2)
    if found == 2:
        assert printed.err.startswith(prog) and "--help" in printed.err and len(printed.err) < 4000, printed.err
    else:
        assert "usage:" in printed.out


@st.composite
def command_lines(draw):
    """A command and words like those of a command line."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    options = "train_file label_column model input top_k threshold max_length json seed config help-all no output bf16"
    names = st.sampled_from(["-h", "--", "-", *("--" + name for name in f"{options} hidden_size label-list".split())])
    words = st.one_of(
        names,
        st.builds("{}={}".format, names, strings),
        strings,
        st.sampled_from(["1", "-1", "0.5", "nan", "true", "a.csv", "1e400", "9" * 5000]),
        strings.map("--".__add__),
    )
    return command, draw(st.lists(words, max_size=5))


@fuzz(100, line=command_lines())
def test_any_command_line_is_parsed_or_exits_with_words(parsers, line, capsys):
    command, argv = line
    parser = parsers[command]
    check(outcome(parser.parse, argv), capsys, parser.prog)


def kinds_of(parser) -> list[argparse.Action]:
    """The options that take a value of a line, once each."""
    others = ("config", "json", "help", "help_all", "parallelism_config")
    actions = [action for action in parser._actions if action.dest not in others]
    # Some stock ones are of a class of their own.
    actions = [each for each in actions if each.choices or any(takes(each, *pair) for pair in KINDS)]
    # What has no dashes is an argument by its position.
    return [each for each in actions if each.option_strings and not each.option_strings[0].startswith("--no_")]


# The kinds of values, as they are written.
KINDS = (("7", 7), ("0.25", 0.25), ("true", True), ("word", "word"))


def takes(action, text: str, value) -> bool:
    """Whether an option reads a text as a value."""
    try:
        found = action.type(text) if action.type else text
    except (ValueError, argparse.ArgumentTypeError, TypeError):
        return False
    return type(found) is type(value)


def value_of(action, draw):
    """A value of an option, as Python has it and as it is written."""
    if action.nargs == 0:
        return True, None
    if action.choices:
        value = draw(st.sampled_from(list(action.choices)))
    else:
        value = next(value for text, value in KINDS if takes(action, text, value))
        if isinstance(value, str):
            value = draw(whole_strings.filter(lambda text: text and text[0] != "-" and "\0" not in text))
        if type(value) is int:
            value = draw(st.integers(-5, 10**12))
        elif type(value) is float:
            value = draw(st.floats(allow_nan=False, allow_infinity=False))
    return value, value


@st.composite
def given_options(draw, parser):
    actions = kinds_of(parser)
    chosen = draw(st.lists(st.sampled_from(range(len(actions))), max_size=4, unique=True))
    return {actions[index].dest: (actions[index], *value_of(actions[index], draw)) for index in chosen}


@fuzz(100, command=st.sampled_from(sorted(COMMANDS)), data=st.data())
def test_options_that_are_given_come_back_from_a_line_and_from_a_file(parsers, file, command, data, capsys):
    parser = parsers[command]
    options = data.draw(given_options(parser))
    line, expected, in_file = [], {"json": False}, {}
    for name, (action, value, text) in options.items():
        option = next(each for each in action.option_strings if each.startswith("--"))
        written = str(text).lower() if isinstance(text, bool) else str(text)
        if action.nargs == 0:
            line.append(option)
        elif action.nargs in ("+", "*"):
            line += [option, written]
        else:
            line.append(f"{option}={written}")
        is_list = action.nargs in ("+", "*")
        expected[name] = [value] if is_list else value
        in_file[name] = [value] if is_list else value
    from_line = outcome(parser.parse, line)
    assert from_line == expected, (from_line, capsys.readouterr())
    file.write_text(yaml.safe_dump(in_file), encoding="utf-8")
    from_file = outcome(parser.parse, ["--config", str(file)])
    assert from_file == expected, (from_file, capsys.readouterr(), file.read_text(encoding="utf-8"))


any_options = st.one_of(
    st.dictionaries(
        st.one_of(
            st.sampled_from(
                ["train_file", "label_column", "max_length", "label_list", "seed", "json", "help", "config"]
            ),
            strings,
        ),
        values,
        max_size=3,
    ).map(lambda options: json.dumps(options, default=str, ensure_ascii=False)),
    strings,
    st.sampled_from(
        [
            "a: b: c",
            "- a",
            "!!python/object:os.system {}",
            "? [1]\n: 2",
            "<<: {seed: 1}",
            "&a [*a]",
            "seed: 0x1F",
            "{1: 2}",
        ]
    ),
)


@fuzz(
    100,
    text=any_options,
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    command=st.sampled_from(["train", "tag"]),
)
def test_any_file_of_options_is_read_or_exits_with_words(parsers, file, text, codec, command, capsys):
    file.write_bytes(text.encode(codec, "surrogatepass"))
    parser = parsers[command]
    check(outcome(parser.parse, [f"--config={file}"]), capsys, parser.prog)


@fuzz(60, argv=st.lists(strings, max_size=3))
def test_any_first_word_is_a_command_or_is_refused(argv, capsys):
    assert main(argv) in (0, 2)
    printed = capsys.readouterr()
    assert printed.out or printed.err
