"""docs/promises.md: the defaults that it says are those that there are, and each limit names a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridgeserve.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "promises.md"
ROW = re.compile(r"^\| [^|]+ \| (?P<default>[^|]+) \| `--(?P<option>[a-z-]+)` \| (?P<by>[^|]+) \|$", re.M)
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}
NUMBER = re.compile(r"(?P<number>\d[\d,.]*)(?: (?P<unit>[KM]iB))?")
ROWS = {row["option"]: row for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))}
LIMITS = [
    name for name in Settings.__dataclass_fields__ if re.match(r"limit_|timeout_|min_body|body_memory|reserve", name)
]


def said(text: str) -> float | None:
    """The number that a cell begins with, in octets, seconds or a count; None: no limit."""
    match = NUMBER.match(text)
    return None if match is None else float(match["number"].replace(",", "")) * UNITS.get(match["unit"], 1)


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_is_there_with_its_default_and_its_test(name: str) -> None:
    row = ROWS[name.replace("_", "-")]
    default = getattr(Settings, name, None) or None
    assert said(row["default"]) == default
    assert default is not None or row["default"].startswith(("no limit", "none"))
    assert re.search(r"`tests/[\w/]+\.py::\w+`", row["by"])


@pytest.mark.parametrize(("text", "number"), [("1,024", 1024), ("64 KiB, then", 65536), ("30 s", 30), ("none", None)])
def test_the_reading_itself(text: str, number: float | None) -> None:
    assert said(text) == number
