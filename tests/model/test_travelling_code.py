"""The files that travel with a checkpoint: what they import, and that each names all that it needs."""

import ast
import re
import sys
from pathlib import Path

import pytest

import hf_rnn_multilabel.model
from hf_rnn_multilabel import RnnMultilabelConfig


FOLDER = Path(hf_rnn_multilabel.model.__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
LIBRARIES = {"torch", "transformers", "huggingface_hub"}


def source_of(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def siblings_of(name: str) -> set[str]:
    """What the file names itself, as transformers reads it, wherever in the file."""
    return set(re.findall(r"^\s*from\s+\.(\w+)\s+import", source_of(name), re.MULTILINE))


def entry_files() -> list[str]:
    written = RnnMultilabelConfig().to_dict()
    names = [*written["auto_map"].values(), *(pipeline["impl"] for pipeline in written["custom_pipelines"].values())]
    return sorted({name.split(".")[0] for name in names})


def test_the_files_that_a_configuration_names_are_there():
    assert len(entry_files()) == 3 and set(entry_files()) < set(FILES)


@pytest.mark.parametrize("entry", entry_files())
def test_a_file_that_a_configuration_names_imports_all_that_it_needs_itself(entry):
    """Older versions of transformers copy the files that the named one imports, and not what those import."""
    needed, more = set(), siblings_of(entry)
    while more - needed:
        needed |= more
        more = {sibling for name in needed for sibling in siblings_of(name)}
    assert needed - {entry} <= siblings_of(entry)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_travels_imports_libraries_that_are_there_and_its_siblings(name):
    for node in ast.walk(ast.parse(source_of(name))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module in FILES, ast.unparse(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            tops = {module.split(".")[0] for module in modules}
            assert tops <= LIBRARIES | sys.stdlib_module_names, ast.unparse(node)


def test_every_file_travels_with_the_model():
    assert siblings_of("modeling_rnn_multilabel") | {"modeling_rnn_multilabel"} == set(FILES)
