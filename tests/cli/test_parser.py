"""Options made of dataclasses: what comes out, YAML files under the command line, a help that fits a screen."""

import sys
from dataclasses import dataclass, field, fields
from typing import Literal

import pytest
import transformers

from hf_rnn_multilabel.cli import distill, evaluate, export, pretrain, push, tag, thresholds, train
from hf_rnn_multilabel.cli.parser import CommandParser


ROOMS = {"train": train, "distill": distill, "pretrain": pretrain, "tag": tag, "evaluate": evaluate}
ROOMS |= {"thresholds": thresholds, "export": export, "push": push}
SCREEN, WIDTH = 50, 100


@dataclass(frozen=True)
class Soup:
    """What is cooked."""

    name: str = field(default="leek", metadata={"help": "Of the soup."})
    salt: float = field(default=0.5, metadata={"help": "In spoons."})
    hot: bool = field(default=False, metadata={"help": "Serve it hot."})
    stirred: bool = field(default=True, metadata={"help": "Stir it."})
    vegan: bool | None = field(default=None, metadata={"help": "Default: as the spices are."})
    spices: list[str] | None = field(default=None, metadata={"help": "One or several."})
    size_of_plate: int = field(default=3, metadata={"help": "In inches."})
    kind: Literal["thin", "thick"] = field(default="thin", metadata={"help": "thin or thick."})
    hidden: int = field(default=1, metadata={"help": "No option."})
    computed: int = field(default=2, init=False)


@dataclass(frozen=True)
class Guest:
    """Who eats it."""

    name: str = field(default="Ann", metadata={"help": "Hidden by the soup's."})
    late: bool = field(default=False, metadata={"help": "Comes late."})


def make_parser() -> CommandParser:
    sections = {"Soup": ["name", "salt", "spices"]}
    return CommandParser("cook", "Cook a soup.", [Soup, Guest], sections, "cook --name leek", skipped=["hidden"])


def parse(*argv) -> dict:
    return make_parser().parse([str(each) for each in argv])


def refused(capsys, *argv) -> str:
    with pytest.raises(SystemExit) as stop:
        parse(*argv)
    captured = capsys.readouterr()
    assert stop.value.code == 2 and captured.out == "" and "Traceback" not in captured.err
    return captured.err


def helped(capsys, parser: CommandParser, *argv: str) -> str:
    with pytest.raises(SystemExit) as stop:
        parser.parse(argv)
    assert stop.value.code == 0
    return capsys.readouterr().out


# What comes out


def test_only_what_is_given_comes_out():
    assert parse() == {"json": False}
    assert parse("--salt", "0.5", "--json") == {"json": True, "salt": 0.5}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--hot"], {"hot": True}),
        (["--hot", "false"], {"hot": False}),
        (["--hot=yes"], {"hot": True}),
        (["--stirred", "false"], {"stirred": False}),
        (["--no_stirred"], {"stirred": False}),
        (["--vegan", "true"], {"vegan": True}),
        (["--spices", "a", "b c", "--salt", "1"], {"spices": ["a", "b c"], "salt": 1.0}),
        (["--size_of_plate", "9"], {"size_of_plate": 9}),
        (["--size-of-plate", "9"], {"size_of_plate": 9}),
        (["--kind", "thick", "--late"], {"kind": "thick", "late": True}),
        (["--name", "a", "--name", "b"], {"name": "b"}),
    ],
    ids=str,
)
def test_values_have_the_type_of_their_field(argv, expected):
    assert parse(*argv) == {"json": False} | expected


# What does not


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--slat", "1"], ["--slat", "salt"]),
        (["--slat=1"], ["--slat", "salt"]),
        (["--size-of-plat", "1"], ["--size-of-plat", "size_of_plate"]),
        (["--xyzzy"], ["--xyzzy", "--help-all"]),
        (["--hidden", "3"], ["--hidden"]),
        (["--sal", "1"], ["--sal", "salt"]),
        (["--salt", "much"], ["--salt", "much"]),
        (["--hot", "perhaps"], ["perhaps"]),
        (["--kind", "solid"], ["--kind", "solid", "thick"]),
        (["--salt"], ["--salt"]),
        (["leek"], ["leek"]),
    ],
    ids=str,
)
def test_a_wrong_option_is_told_with_the_nearest_ones_and_where_the_help_is(capsys, argv, words):
    err = refused(capsys, *argv)
    assert all(word in err for word in words), err
    assert err.startswith("hf-rnn-multilabel cook: ") and err.endswith("See `hf-rnn-multilabel cook --help`.\n")


# A file of options


def write(tmp_path, text: str, encoding: str = "utf-8") -> str:
    path = tmp_path / "soup.yaml"
    path.write_text(text, encoding=encoding)
    return str(path)


def test_a_file_of_options_stands_under_the_command_line(tmp_path):
    path = write(tmp_path, "name: Kürbis\nsalt: 0.1\nspices: [a, b]\nhot: true\nstirred: false\njson: true\n")
    of_file = {"name": "Kürbis", "salt": 0.1, "spices": ["a", "b"], "hot": True, "stirred": False, "json": True}
    assert parse("--config", path) == of_file
    over = {"salt": 2.0, "spices": ["c"], "hot": False}
    assert parse("--salt", 2, "--spices", "c", "--config", path, "--hot", "false") == of_file | over


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("size-of-plate: 9", {"size_of_plate": 9}),
        ("salt: 1e-4", {"salt": 1e-4}),
        ("name: -x", {"name": "-x"}),
        ("name: null", {}),
        ("name: {a: 1}", {"name": '{"a": 1}'}),
        ("name: 7", {"name": "7"}),
        ("spices: mace", {"spices": ["mace"]}),
        ("json: false", {}),
        ("vegan: no", {"vegan": False}),
        # As they are written, not as YAML reads them: Norway, and a code.
        ("spices: [mace, no]", {"spices": ["mace", "no"]}),
        ("name: yes", {"name": "yes"}),
        ("spices: [0117, 12:30, 1_0]", {"spices": ["0117", "12:30", "1_0"]}),
        ("spices: null", {}),
    ],
    ids=str,
)
def test_values_of_yaml_are_read_as_on_the_command_line(tmp_path, text, expected):
    assert parse("--config", write(tmp_path, text)) == {"json": False} | expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slat: 1", ["slat", "salt"]),
        ("hidden: 1", ["hidden"]),
        ("salt: much", ["--salt", "much"]),
        ("salt: [1, 2]", ["--salt", "[1, 2]"]),
        ("- salt", ["no options by name"]),
        ("", ["no options by name"]),
        ("salt: [1", ["soup.yaml"]),
    ],
    ids=str,
)
def test_a_wrong_file_of_options_is_told(capsys, tmp_path, text, words):
    err = refused(capsys, "--config", write(tmp_path, text))
    assert all(word in err for word in words), err


def test_a_file_of_options_that_cannot_be_read_is_told(capsys, tmp_path):
    assert "nowhere.yaml" in refused(capsys, "--config", tmp_path / "nowhere.yaml")
    assert "soup.yaml" in refused(capsys, "--config", write(tmp_path, "name: Kürbis", "latin-1"))


# The help


def test_the_help_shows_its_sections_and_help_all_shows_every_option(capsys):
    short, whole = helped(capsys, make_parser(), "--help"), helped(capsys, make_parser(), "--help-all")
    assert helped(capsys, make_parser(), "--help_all") == whole and helped(capsys, make_parser(), "-h") == short
    for name in ("name", "salt", "spices"):
        assert f"  --{name} " in short and f"  --{name} " in whole
    for name in ("size_of_plate", "late", "kind"):
        assert f"  --{name}" not in short and f"  --{name}" in whole
    assert "hidden" not in whole.replace("Hidden", "") and "computed" not in whole
    assert whole.count("--name ") == 2 and "Of the soup." in whole  # in the example too


@pytest.mark.parametrize("name", ["train", "distill", "pretrain"])
def test_the_help_of_a_training_fits_on_two_screens(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    lines = helped(capsys, ROOMS[name].make_parser(), "--help").splitlines()
    examples = lines.index("Examples:")
    assert len(lines) <= 2 * SCREEN and max(map(len, lines[:examples])) <= WIDTH


@pytest.mark.parametrize("name", ["train", "distill", "pretrain"])
def test_help_all_lists_every_stock_argument(capsys, name):
    module = ROOMS[name]
    out = helped(capsys, module.make_parser(), "--help-all")
    stock = {each.name for each in fields(transformers.TrainingArguments) if each.init} - set(train.SKIPPED)
    assert not [each for each in stock if f"  --{each}" not in out]


@pytest.mark.parametrize("name", ROOMS)
def test_every_option_that_a_help_shows_says_what_it_is(name):
    parser = ROOMS[name].make_parser()
    shown = [option for names in (parser.sections or dict(parser.kinds)).values() for option in names]
    helps = {action.dest: action.help for action in parser._actions}
    assert not [option for option in shown if not helps[option]]


def test_the_defaults_of_the_command_are_those_of_python():
    # Nothing that is not said is handed on, so that there is one place with defaults.
    assert all(module.make_parser().parse([]) == {"json": False} for module in ROOMS.values())


def test_a_config_without_a_file_is_told_as_any_wrong_option_is(capsys):
    with pytest.raises(SystemExit):
        tag.make_parser().parse(["--config"])
    assert capsys.readouterr().err.startswith("hf-rnn-multilabel tag: argument --config")


def test_fault_39_an_error_does_not_repeat_all_of_a_long_command_line(capsys):
    with pytest.raises(SystemExit):
        tag.make_parser().parse(["9" * 100_000])
    assert len(capsys.readouterr().err) < 2000


@pytest.mark.parametrize("value", ["[[a]]", "[[[]]]", "{a: null}"])
def test_a_list_within_a_list_of_a_config_is_refused(tmp_path, capsys, value):
    path = tmp_path / "options.yaml"
    path.write_text(f"label_column: {value}", encoding="utf-8")
    with pytest.raises(SystemExit):
        train.make_parser().parse(["--config", str(path)])
    assert "as 'label_column'; give a value" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["\0", "\ud800", "no-such.yaml"], ids=ascii)
def test_a_config_that_cannot_be_opened_is_told(capsys, path):
    sys.stderr.reconfigure(errors="backslashreplace")
    with pytest.raises(SystemExit):
        tag.make_parser().parse([f"--config={path}"])
    assert "cannot read --config" in capsys.readouterr().err
