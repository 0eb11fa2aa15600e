"""A package's docstring that lists its files lists all of them, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("handler", "models", "builder", "local")
PACKAGES = sorted(path.parent for room in ROOMS for path in (ROOT / room).rglob("__init__.py"))
# A line of the map: a name, or several with commas, then at least two spaces and a description.
ENTRY = re.compile(r"(\w+(?:, \w+)*)  +\S")


def listed(package: Path) -> list[str]:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    entries = [entry for line in docstring.splitlines() if (entry := ENTRY.match(line))]
    return sorted(name for entry in entries for name in entry[1].split(", "))


def files(package: Path) -> list[str]:
    modules = (path.stem for path in package.glob("*.py") if path.stem != "__init__")
    packages = (path.parent.name for path in package.glob("*/__init__.py"))
    return sorted([*modules, *packages])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_lists_all_of_its_files_or_none(package):
    assert listed(package) in ([], files(package))
