"""docs/advisories.md: each row has an identifier of its own and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformance.http1.tables import TOPICS
from security.cases import CASES

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"^\| (?P<id>(?:CVE|GHSA)-\S+(?: \(\S+\))?) \| (?P<product>[^|]+) \| (?P<what>[^|]+) \| (?P<by>[^|]+) \|$", re.M
)
IDENTIFIER = re.compile(r"CVE-\d{4}-\d{4,7}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")
TEXT = (ROOT / "docs" / "advisories.md").read_text(encoding="utf-8")
ROWS = list(ROW.finditer(TEXT))
NAMES = {f"{topic}: {case.name}" for topic, cases in TOPICS.items() for case in cases}
NAMES |= {f"Advisories: {case.name}" for case in CASES}


def exists(name: str) -> bool:
    """True if the name is that of a case, or looks like one of a test: whether those exist asks test_docs.py."""
    return name in NAMES or re.fullmatch(r"tests/[\w/]+\.py::\w+", name) is not None


def test_every_line_of_the_tables_is_read() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| advisory |")]
    assert len(ROWS) == len(lines) >= 40


def test_no_advisory_is_there_twice() -> None:
    found = IDENTIFIER.findall(" ".join(row["id"] for row in ROWS))
    assert len(found) >= len(ROWS)
    assert sorted({identifier for identifier in found if found.count(identifier) > 1}) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_the_tests_that_are_named_exist(row: re.Match[str]) -> None:
    named = re.findall(r"`([^`]+)`", row["by"])
    assert named
    assert [name for name in named if not exists(name)] == []


def test_every_case_of_ours_belongs_to_an_advisory() -> None:
    named = set(re.findall(r"`(Advisories: [^`]+)`", TEXT))
    lines = {"FF", "FS", "GS"}  # of the same advisory as VT and RS
    assert sorted({f"Advisories: {case.name}" for case in CASES if case.name.split()[0] not in lines} - named) == []
