"""The laws of the house: which room may import which, and what the code that travels may import.

They are read from the source, so that imports within functions and for type checkers count too.
"""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from transformers.dynamic_module_utils import get_relative_imports

import hf_rnn_multilabel
from hf_rnn_multilabel import RnnMultilabelConfig


PACKAGE = "hf_rnn_multilabel"
ROOT = Path(hf_rnn_multilabel.__file__).parent
# A room imports rooms below it alone, never one beside it.
ORDER = [["cli"], ["training"], ["inference"], ["data"], ["hub", "evaluation"], ["model"]]
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# Beside the standard library.
IMPORTED_BY_MODEL = {"torch", "transformers", "huggingface_hub"}


def module_name(path: Path) -> str:
    parts = [PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(name: str) -> Iterator[tuple[str, int]]:
    """What a module imports, by its whole name and the line: the module that is named, or the name in it."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                # A name of a package's own, as `__version__`, is the package's; one of a module, the module's.
                yield (whole if whole in MODULES else base), node.lineno


def room_of(name: str) -> str | None:
    """The room of a module; None: it is the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def own_imports(name: str) -> list[tuple[str, int]]:
    return [(other, line) for other, line in imports_of(name) if other.split(".")[0] == PACKAGE]


def test_every_module_is_in_a_room():
    assert {room_of(name) for name in MODULES} == {None, *RANKS}
    assert [name for name in MODULES if room_of(name) is None] == [PACKAGE]


def test_no_import_points_up():
    wrong = []
    for name in MODULES:
        room = room_of(name)
        for other, line in own_imports(name):
            other_room = room_of(other)
            if room in (None, other_room) or (other_room is not None and RANKS[other_room] > RANKS[room]):
                continue
            if other_room is None and imports_the_version_alone(name, line):
                continue
            wrong.append(f"{name}, line {line}, imports {other}")
    assert wrong == []


def imports_the_version_alone(name: str, line: int) -> bool:
    return MODULES[name].read_text(encoding="utf-8").splitlines()[line - 1].strip() == "from .. import __version__"


def test_imports_make_no_circles():
    graph = {name: {other for other, _ in own_imports(name) if other != PACKAGE} for name in MODULES}
    del graph[PACKAGE]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_every_import_within_the_package_is_there():
    wrong = [
        f"{name}, line {line}: {other}"
        for name in MODULES
        for other, line in own_imports(name)
        if other not in MODULES
    ]
    assert wrong == []


def test_no_module_is_called_utils():
    assert [name for name in MODULES if re.search(r"utils?$|helpers?$|common$", name)] == []


def test_the_package_imports_no_script():
    scripts = {path.stem for path in (ROOT.parent / "scripts").glob("*") if not path.name.startswith("_")}
    assert [name for name in MODULES for other, _ in imports_of(name) if other.split(".")[0] in scripts] == []


def test_only_the_package_itself_registers_anything():
    registers = re.compile(r"\bAuto\w+\.register\(|\bregister_pipeline\(")
    assert [name for name, path in MODULES.items() if registers.search(path.read_text(encoding="utf-8"))] == [PACKAGE]


MODEL_FILES = sorted((ROOT / "model").glob("*.py"))


@pytest.mark.parametrize("path", MODEL_FILES, ids=[path.stem for path in MODEL_FILES])
def test_what_travels_imports_little_and_its_siblings_by_name(path):
    allowed = IMPORTED_BY_MODEL | set(sys.stdlib_module_names)
    siblings = {file.stem for file in MODEL_FILES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module in siblings, f"line {node.lineno}: write `from .x import y`"
        elif isinstance(node, ast.ImportFrom):
            assert str(node.module).split(".")[0] in allowed


def files_of_the_configuration() -> list[str]:
    config = RnnMultilabelConfig().to_dict()
    names = [*config["auto_map"].values(), *(task["impl"] for task in config["custom_pipelines"].values())]
    return sorted({name.split(".")[0] for name in names})


def siblings_needed(stem: str) -> set[str]:
    """The modules beside one that it imports, directly or not."""
    prefix = f"{PACKAGE}.model."
    needed: set[str] = set()
    waiting = [stem]
    while waiting:
        found = {other.removeprefix(prefix) for other, _ in own_imports(prefix + waiting.pop())}
        waiting += found - needed
        needed |= found
    return needed - {stem}


@pytest.mark.parametrize("stem", files_of_the_configuration())
def test_a_file_that_a_checkpoint_names_imports_every_sibling_that_it_needs_itself(stem):
    """Transformers 5.4 to 5.x copies of a local folder only what this file names, and reads it from the raw text."""
    named = set(get_relative_imports(ROOT / "model" / f"{stem}.py"))
    assert named == siblings_needed(stem)
