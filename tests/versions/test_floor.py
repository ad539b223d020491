"""Each lowest version that the package declares is one that `make test-floor` runs on."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version


tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on

ROOT = Path(__file__).parents[2]
# What only the tests and the developers need has no floor to keep.
EXTRAS = ("train", "search", "onnx")


def declared() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    requirements = [Requirement(line) for line in lines]
    return {f"{index}-{each.name}": each for index, each in enumerate(requirements) if each.name != project["name"]}


def tested() -> dict[str, Version]:
    lines = Path(__file__).with_name("floor.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {name: Version(version) for name, version in pinned.items()}


@pytest.mark.parametrize("requirement", declared().values(), ids=declared())
def test_a_declared_floor_is_the_version_that_is_tested(requirement):
    floors = [each.version for each in requirement.specifier if each.operator == ">="]
    assert len(floors) == 1
    if requirement.name == "torch":
        assert Version(floors[0]) <= tested()["torch"]
    else:
        assert Version(floors[0]) == tested()[requirement.name]


def test_each_tested_version_is_declared():
    assert set(tested()) == {requirement.name for requirement in declared().values()}


def test_the_next_major_transformers_is_not_claimed():
    specifiers = [each.specifier for each in declared().values() if each.name == "transformers"]
    assert not any(specifier.contains("6.0.0") for specifier in specifiers)
