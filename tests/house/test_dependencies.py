"""The dependencies: their bounds, the page that gives their reasons, and how the audit reads what it is told."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


AUDIT = script("audit")
LOWEST = script("lowest")


def test_each_dependency_has_its_lower_bound_and_its_reason() -> None:
    extras = PROJECT["optional-dependencies"]
    pins = LOWEST.lowest(PROJECT["dependencies"] + extras["websockets"] + extras["reload"])
    reasons = set(re.findall(r"^\| ([a-z0-9-]+) \|", PAGE.partition("Not used:")[0], re.M)) - {"package"}
    assert {pin.partition("==")[0] for pin in pins} == reasons


@pytest.mark.parametrize("dependency", ["h11", "h11<1", "h11>=0.16,<1", "h11==0.16"])
def test_a_dependency_has_a_lower_bound_and_no_other(dependency: str) -> None:
    with pytest.raises(ValueError, match="lower bound"):
        LOWEST.lowest([dependency])


def test_what_is_audited_is_what_runs() -> None:
    needed = AUDIT.needed()
    assert {"anyio", "click", "h11", "uvloop"} <= set(needed)
    assert not {"django", "flask", "gunicorn", "pytest", "bridgeserve"} & set(needed)


def test_a_report_is_read() -> None:
    report = {
        "dependencies": [
            {"name": "h11", "version": "0.14.0", "vulns": [{"id": "CVE-2025-43859"}]},
            {"name": "click", "version": "8.1.0", "vulns": []},
            {"name": "anyio", "skip_reason": "it was not found"},
            {"name": "Typing_Extensions", "version": "4.0", "vulns": []},
            {"name": "nobody-asked", "skip_reason": "it was not found"},
        ]
    }
    found = AUDIT.read(json.dumps(report), ["h11", "click", "anyio", "typing-extensions", "uvloop"])
    assert found.vulnerable == {"h11": ["CVE-2025-43859"]}
    assert found.unknown == ["anyio", "uvloop"]


@pytest.mark.parametrize("report", ["", "no connection", "{}", "[]", "null"])
def test_a_service_that_could_not_be_asked_says_nothing_of_any(report: str) -> None:
    found = AUDIT.read(report, ["h11", "click"])
    assert (found.vulnerable, found.unknown) == ({}, ["h11", "click"])
