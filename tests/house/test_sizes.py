"""Sizes that keep the house readable: a file, a function, a constructor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "bridgeserve"
FILE_LINES = 400
FUNCTION_LINES = 50
CONSTRUCTOR_PARAMETERS = 6

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """All functions of a module, the inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of(function: Function) -> int:
    """The lines from `def` to the end, without the docstring. Decorators are data, so they do not count."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def parameters_of(function: Function) -> int:
    """The named parameters besides self. `*args` and `**kwargs` name nothing, so they do not count."""
    given = function.args
    return len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs) - 1


def oversized(path: Path) -> list[str]:
    """A line for everything in a file that is too large."""
    text = path.read_text(encoding="utf-8")
    found = []
    count = len(text.splitlines())
    if count > FILE_LINES:
        found.append(f"{path.name}: {count} lines, at most {FILE_LINES}")
    for function in functions(ast.parse(text, str(path))):
        place = f"{path.name}:{function.lineno} {function.name}"
        if (lines := lines_of(function)) > FUNCTION_LINES:
            found.append(f"{place}: {lines} lines, at most {FUNCTION_LINES}")
        if function.name == "__init__" and (parameters := parameters_of(function)) > CONSTRUCTOR_PARAMETERS:
            found.append(f"{place}: {parameters} parameters, at most {CONSTRUCTOR_PARAMETERS}")
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_is_too_large(path: Path) -> None:
    assert oversized(path) == []


def function_text(lines: int, docstring: bool = False) -> str:
    """A function of so many lines, with three lines of docstring on top where asked."""
    words = '    """One.\n\n    """\n' if docstring else ""
    return "def f():\n" + words + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("pass\n" * 400, 0),
        ("pass\n" * 401, 1),
        (function_text(50), 0),
        (function_text(51), 1),
        (function_text(50, docstring=True), 0),
        ("async " + function_text(51), 1),
        ("class A:\n    def __init__(self, a, b, c, /, d, *, e, f): ...\n", 0),
        ("class A:\n    def __init__(self, a, b, c, /, d, *, e, f, g): ...\n", 1),
        ("class A:\n    def __init__(self, a, *rest, b, **options): ...\n", 0),
        ("def many(a, b, c, d, e, f, g, h): ...\n", 0),
    ],
)
def test_the_measure_itself(tmp_path: Path, text: str, faults: int) -> None:
    path = tmp_path / "sample.py"
    path.write_text(text, encoding="utf-8")
    assert len(oversized(path)) == faults
