"""Fixtures for the wire: no loop, no clock, no sleep."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The helpers beside this file are imported as wire.drive and so on.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wire.drive import READERS


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    """Each of the readers in turn: both must pass the same suite."""
    name: str = request.param
    return name
