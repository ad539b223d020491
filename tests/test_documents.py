"""What the documents say is there: commands take their options, names can be imported, links lead to files.

The Python blocks need a trained model, and are compiled alone.
"""

import importlib
import re
import shlex
from dataclasses import fields
from functools import cache, reduce
from pathlib import Path

import benchmark
import benchmark_quality
import pytest
from transformers import HfArgumentParser

from hf_rnn_multilabel.cli.main import COMMANDS


ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "model_cards/README.md", "docs/faults.md"]
DOCUMENTS += ["scripts/benchmarks/results/benchmark_quality.md"]
WRAPPERS = {"export_onnx": "export", "push_to_hub": "push"}
SCRIPTS = {"benchmark": benchmark.Arguments, "benchmark_quality": benchmark_quality.Arguments}
# Of the program itself, and of pip.
OTHERS = {"--help", "--help-all", "--version", "--index-url"}


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(document), re.DOTALL)


def spans(document: str) -> list[str]:
    text = re.sub(r"```.*?```", "", read(document), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def commands() -> list[list[str]]:
    """Every command of this project, as words: the lines of the blocks, and what stands within a sentence."""
    found = []
    for document in DOCUMENTS:
        lines = [line for block in blocks(document, "bash") for line in block.replace("\\\n", " ").splitlines()]
        for line in [*lines, *spans(document)]:
            start = re.search(r"(^|\s)(hf-rnn-multilabel|python scripts/)", line)
            if start and "..." not in line:
                found.append(shlex.split(line[start.start() :], comments=True))
    # `hf-rnn-multilabel` alone is a name, and an option without its value stands for itself in a sentence.
    return [command for command in found if len(command) > 1 and not command[-1].startswith("--")]


def parser_of(command: str):
    return importlib.import_module(f"hf_rnn_multilabel.cli.{command}").make_parser()


@pytest.mark.parametrize("command", commands(), ids=lambda command: " ".join(command[:3]))
def test_every_command_takes_its_options(command):
    program, name, *options = command
    if program == "python":
        script = Path(name).stem
        assert (ROOT / name).is_file()
        if script in SCRIPTS:
            HfArgumentParser(SCRIPTS[script]).parse_args_into_dataclasses(options)
            return
        name = WRAPPERS.get(script, script)
    parser_of(name).parse(options)


@cache
def all_options() -> set[str]:
    options = {option for name in COMMANDS for action in parser_of(name)._actions for option in action.option_strings}
    return options | {f"--{field.name}" for kind in SCRIPTS.values() for field in fields(kind)} | OTHERS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_that_is_named_is_one_of_a_command(document):
    named = {option for span in spans(document) for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert named - all_options() == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_name_of_the_package_can_be_imported(document):
    named = set(re.findall(r"\bhf_rnn_multilabel(?:\.\w+)+", read(document)))
    for name in sorted(named):
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            try:
                module = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                continue
            reduce(getattr, parts[end:], module)
            break


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_path_leads_to_a_file(document):
    folder = (ROOT / document).parent
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", read(document))
    missing = [link for link in links if "://" not in link and not (folder / link).exists()]
    paths = re.findall(r"`((?:hf_rnn_multilabel|scripts|tests|model_cards)/[\w/.]*)`", read(document))
    missing += [path for path in paths if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_python_block_is_python(document):
    for block in blocks(document, "python"):
        compile(block, document, "exec")


# The faults

FAULTS = "docs/faults.md"
# What a library or a machine does, which is said.
SAID = {26: ("fork", "spawn"), 43: ("HF_DATASETS_CACHE", "HF_HOME")}


@cache
def fault_rows() -> dict[int, list[str]]:
    """The cells of each row, by its number."""
    lines = [line for line in read(FAULTS).splitlines() if re.match(r"\| \d+ \|", line)]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({row[0] for row in rows}) == len(rows)
    return {int(row[0]): row for row in rows}


@cache
def fault_tests() -> dict[int, set[str]]:
    """The files with tests of each fault, by its number."""
    found: dict[int, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for numbers in re.findall(r"^def test_fault((?:_\d\d)+)_", path.read_text(encoding="utf-8"), re.MULTILINE):
            for number in numbers.split("_")[1:]:
                found.setdefault(int(number), set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_each_fault_has_a_row_and_each_row_a_test():
    assert list(fault_rows()) == list(range(1, 44))
    assert all(len(row) == 6 and row[1] and row[2] and row[3] for row in fault_rows().values())
    tested = fault_tests().keys()
    assert not tested - fault_rows().keys()
    assert fault_rows().keys() - tested <= SAID.keys()


@pytest.mark.parametrize("number", range(1, 44))
def test_the_file_that_a_row_names_has_a_test_of_it(number):
    if number in SAID:
        assert all(word in read(FAULTS) for word in SAID[number])
    else:
        assert fault_rows()[number][5] in fault_tests()[number]
