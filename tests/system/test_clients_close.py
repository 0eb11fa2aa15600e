"""The tests close their clients, or a later test fails for a socket that is none of its own."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import ROOT

CLIENTS = {
    "Anthropic", "AsyncAnthropic", "AsyncClient", "AsyncOpenAI", "ChatOpenAI", "Client",
    "ClientSession", "OpenAI", "Session",
}  # fmt: skip
# Programs of their own, which end with their clients.
PROGRAMS = ROOT / "tests" / "clients"
FILES = [path for path in (ROOT / "tests").rglob("*.py") if PROGRAMS not in path.parents]


def made(call: ast.AST) -> bool:
    """Is it a client with connections of its own?"""
    if not isinstance(call, ast.Call):
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    return name in CLIENTS and not any(word.arg == "http_client" for word in call.keywords)


def closes(node: ast.AST) -> bool:
    """Is it a class with a ``close``, or a function that leaves closing to its caller?"""
    return isinstance(node, ast.ClassDef) and any(
        isinstance(part, ast.FunctionDef) and part.name == "close" for part in node.body
    )


def left_open(tree: ast.AST) -> list[int]:
    """Return the lines of the clients that nothing closes."""
    closed = set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith):
            closed.update(item.context_expr for item in node.items)
        elif isinstance(node, ast.Return) and node.value is not None:
            closed.add(node.value)
        elif closes(node):
            closed.update(ast.walk(node))
    return [node.lineno for node in ast.walk(tree) if made(node) and node not in closed]


def test_each_client_is_closed():
    lines = {str(path.relative_to(ROOT)): left_open(ast.parse(path.read_text())) for path in FILES}
    assert len(lines) > 150
    assert {path: numbers for path, numbers in lines.items() if numbers} == {}


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("client = openai.OpenAI(base_url=url)", [1]),
        ("chat = ChatOpenAI(model='m')", [1]),
        ("with openai.OpenAI(base_url=url) as client: pass", []),
        ("client = openai.OpenAI(http_client=http)", []),
        ("def http(): return httpx.Client()", []),
        ("class Worker:\n    def __init__(self): self.http = httpx.Client()", [2]),
    ],
)
def test_a_client_that_nothing_closes_is_found(code: str, lines: list[int]):
    assert left_open(ast.parse(code)) == lines
