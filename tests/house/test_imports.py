"""The floors of the house, as data, and the imports that they allow.

A module imports from its own floor and from those below, never from above. The sinks in `observe/` stand
outside: they see finished records, so they import the ground and one another. `wire/` says what HTTP is, and
for that needs neither I/O nor a clock.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "bridgeserve"
SOURCE = Path(__file__).resolve().parents[2] / "src" / PACKAGE

# From the top down. A name stands for a module, or for a package with all that is in it; the longest name
# that fits counts.
FLOORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "roof",
        (
            "bridgeserve",
            "api",
            "cli",
            "configfile",
            "environment",
            "health",
            "layer",
            "shell",
            "sources",
            "values",
            "__main__",
        ),
    ),
    ("serve", ("serve",)),
    ("net", ("net",)),
    ("dispatch", ("dispatch",)),
    ("wire", ("wire",)),
    (
        "ground",
        (
            "settings",
            "log_settings",
            "peer_settings",
            "reload_settings",
            "websocket_settings",
            "option",
            "groups",
            "binds",
            "cpus",
            "_version",
            "observe.records",
        ),
    ),
)
# Seen from above a sink lies below everybody; seen from a sink only the ground is below.
OBSERVE = "observe"
GROUND = len(FLOORS) - 1

# What the floor "wire" must not import from outside the house.
# fmt: off
WIRE_WITHOUT = frozenset({
    "anyio", "asyncio", "concurrent", "datetime", "io", "logging", "multiprocessing", "os", "pathlib",
    "queue", "select", "selectors", "signal", "socket", "ssl", "subprocess", "sys", "tempfile",
    "threading", "time", "uvloop",
})
# fmt: on


def floor_of(module: str) -> str:
    """The floor of a full module name; "observe" for the sinks. Raises KeyError for one without a floor."""
    inner = module.removeprefix(f"{PACKAGE}.")
    parts = inner.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        for floor, names in FLOORS:
            if name in names:
                return floor
        if name == OBSERVE:
            return OBSERVE
    raise KeyError(f"{module} stands on no floor: give it one in tests/house/test_imports.py")


def allowed(importer: str, imported: str) -> bool:
    """May the one floor import the other?"""
    if importer == OBSERVE:
        return imported in (OBSERVE, "ground")
    order = [floor for floor, _ in FLOORS]
    if imported == OBSERVE:
        # A sink is plugged in from above; the wire and the ground know of no listeners.
        return order.index(importer) < order.index("wire")
    return order.index(importer) <= order.index(imported)


def module_name(path: Path, root: Path) -> str:
    """The full name of the module in a file below `root`, the folder of the package."""
    parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Each import of a module with its line, also those within functions and under TYPE_CHECKING.

    `from bridgeserve.wire import gate` is told as `bridgeserve.wire.gate`: a module's names share its floor.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def broken_imports(root: Path) -> list[str]:
    """A line for each import below `root` that the table does not allow."""
    found = []
    for path in sorted(root.rglob("*.py")):
        module = module_name(path, root)
        floor = floor_of(module)
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for line, name in imports(tree, module, path.name == "__init__.py"):
            top = name.partition(".")[0]
            if top == PACKAGE:
                target = floor_of(_known(name))
                if not allowed(floor, target):
                    found.append(f"{module}:{line} ({floor}) imports {name} ({target})")
            elif floor == "wire" and top in WIRE_WITHOUT:
                found.append(f"{module}:{line} (wire) imports {name}")
    return found


def _known(name: str) -> str:
    """`bridgeserve.run` and the like are names in the package's own module, which stands on the roof."""
    try:
        floor_of(name)
    except KeyError:
        if name.count(".") <= 1:
            return PACKAGE
        raise
    return name


def package_of(folder: Path, module: str, text: str) -> Path:
    """A package in `folder` of one module, such as "wire/gate"."""
    path = folder / f"{module}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_imports_go_down() -> None:
    assert broken_imports(SOURCE) == []


def test_the_table_has_no_empty_entry() -> None:
    for _, names in FLOORS:
        for name in names:
            place = SOURCE if name == PACKAGE else SOURCE.joinpath(*name.split("."))
            assert place.is_dir() or place.with_suffix(".py").is_file(), f"{name} does not exist"


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("wire/gate", "import bridgeserve.net.connection"),
        ("wire/gate", "from bridgeserve.dispatch.base import Exchange"),
        ("wire/gate", "from ..net import connection"),
        ("wire/gate", "from bridgeserve import run"),
        ("wire/gate", "import time"),
        ("wire/gate", "from asyncio import sleep"),
        ("wire/gate", "from bridgeserve.observe.access import AccessLog"),
        ("dispatch/base", "def f():\n    from bridgeserve.serve import worker"),
        ("observe/access", "from bridgeserve.wire.events import Request"),
        ("observe/records", "from bridgeserve.observe.access import AccessLog"),
        ("settings", "from bridgeserve.wire import gate"),
        ("serve/worker", "from bridgeserve.cli import main"),
    ],
)
def test_an_import_from_above_is_found(tmp_path: Path, importer: str, text: str) -> None:
    assert len(broken_imports(package_of(tmp_path, importer, text))) == 1


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("wire/gate", "from bridgeserve.wire import plain\nfrom . import events\nimport re, h11"),
        ("wire/gate", "from bridgeserve.groups import Limits"),
        ("net/engine", "from bridgeserve.observe.records import RequestRecord\nimport asyncio, time"),
        ("observe/access", "from bridgeserve.observe.formats import x\nfrom .records import RequestRecord"),
        (
            "serve/server",
            "from bridgeserve.observe.access import AccessLog\nfrom bridgeserve.wire import gate",
        ),
        ("__main__", "from bridgeserve.cli import main"),
        ("__init__", "from .serve.server import Server"),
    ],
)
def test_an_import_from_below_is_no_fault(tmp_path: Path, importer: str, text: str) -> None:
    assert broken_imports(package_of(tmp_path, importer, text)) == []


def test_a_module_without_a_floor_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="attic"):
        broken_imports(package_of(tmp_path, "attic", ""))
