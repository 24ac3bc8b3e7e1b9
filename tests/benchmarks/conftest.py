"""The benchmarks are no part of the installed package, so their folder is put in reach here; and a toy server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

for folder in (Path(__file__).resolve().parents[2], Path(__file__).resolve().parent):
    sys.path.insert(0, str(folder))

from toy import Respond, ToyServer  # noqa: E402


@pytest.fixture
def toy() -> Iterator[Callable[[Respond], ToyServer]]:
    """Start toy servers; they are gone at the end."""
    started: list[ToyServer] = []

    def start(respond: Respond) -> ToyServer:
        started.append(ToyServer(respond))
        return started[-1]

    yield start
    for server in started:
        server.close()
