"""A package's docstring lists all of its files, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("handler", "models", "builder", "local")
# Of these the docstring says what they are for, and no more.
WITHOUT_MAP = {
    "builder",
    "handler",
    "handler/contract",
    "handler/contract/images",
    "handler/openapi/answers",
    "local",
    "local/api",
    "models",
    "models/tiny",
}
ALL = {
    str(path.parent.relative_to(ROOT))
    for room in ROOMS
    for path in (ROOT / room).rglob("__init__.py")
}
PACKAGES = sorted(ALL - WITHOUT_MAP)
# A line of the map: a name, or several with commas, then at least two spaces and a description.
ENTRY = re.compile(r"(\w+(?:, \w+)*)  +\S")


def listed(package: str) -> list[str]:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    entries = [entry for line in docstring.splitlines() if (entry := ENTRY.match(line))]
    return sorted(name for entry in entries for name in entry[1].split(", "))


def files(package: str) -> list[str]:
    folder = ROOT / package
    modules = (path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    packages = (path.parent.name for path in folder.glob("*/__init__.py"))
    return sorted([*modules, *packages])


@pytest.mark.parametrize("package", PACKAGES)
def test_a_map_of_a_package_lists_its_files(package):
    assert listed(package) == files(package)


def test_packages_without_a_map_are_those_named():
    assert {package for package in ALL if not listed(package)} == WITHOUT_MAP
