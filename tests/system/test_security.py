"""SECURITY.md names tests that exist, and all tests of attacks."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
TEXT = (ROOT / "SECURITY.md").read_text()


def functions(path: str) -> set[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.exists() else ast.Module([], [])
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_each_test_that_is_named_exists():
    named = NAMED.findall(TEXT)
    assert len(named) > 50
    assert not [f"{path}::{name}" for path, name in named if name not in functions(path)]


def test_each_row_of_attacks_names_a_test():
    _, _, table = TEXT.partition("| attack | tests |")
    rows = [line for line in table.splitlines()[2:] if line.startswith("|")]
    assert rows
    assert not [row for row in rows if not NAMED.search(row)]


def test_each_test_of_an_attack_is_named():
    path = "tests/system/test_attacks.py"
    tests = {name for name in functions(path) if name.startswith("test_")}
    assert tests == {name for file, name in NAMED.findall(TEXT) if file == path}
