"""Fixtures for the wire: no loop, no clock, no sleep."""

from __future__ import annotations

import pytest

from wire.drive import READERS


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest) -> str:
    """Each of the readers in turn: both must pass the same suite."""
    name: str = request.param
    return name
