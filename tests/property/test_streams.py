"""The fuzzers of the whole connection, for some seconds and from a fixed seed; all that they ever found; and proof
that they would find something.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.net.connection import Connection
from bridgeserve.net.websocket import WebSocketConnection
from bridgeserve.wire import chunked, gate
from net.clock import run_virtual
from property import sockets, streams, turmoil
from property.fuzz import FOUND as FOLDER
from property.hunt import Hunt, hunt, keep
from property.model import read_stream
from wire.drive import CORPUS

SECONDS = 10.0
FOUND = [path for module in ("streams", "turmoil", "sockets") for path in sorted((FOLDER / module).glob("*.http"))]
REFUSED = [path for path in sorted((CORPUS / "refuse").glob("*.http")) if len(path.read_bytes()) <= 600]


def told(run: Hunt, folder: Path) -> None:
    """Fail with what was found, and save it."""
    for data, fault in run.finds:
        pytest.fail(f"saved as {keep(data, folder)}: {fault}")


def test_a_server_sees_in_a_stream_what_the_strict_model_sees() -> None:
    run = hunt(streams.rounds, 1, SECONDS)
    told(run, streams.FOUND_STREAMS)
    assert run.done > 100


def test_no_client_makes_a_connection_raise_hang_hoard_or_lose_count() -> None:
    run = hunt(turmoil.rounds, 1, SECONDS)
    told(run, turmoil.FOUND_TURMOIL)
    assert run.done > 100


def test_no_client_makes_a_websocket_raise_hang_hoard_or_lose_count() -> None:
    run = hunt(sockets.rounds, 1, SECONDS / 2)
    told(run, sockets.FOUND_SOCKETS)
    assert run.done > 100


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_was_found_stays_found(path: Path) -> None:
    data = path.read_bytes()
    found: list[str] = []

    async def main() -> None:
        found.append(await streams.again(data, 10))
        found.append(await turmoil.again(data, 20))
        found.append(await sockets.again(data, 20))

    run_virtual(main)
    assert found == [""] * 3


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_the_model_refuses_what_the_corpus_says(path: Path) -> None:
    assert int(path.stem[:3]) in read_stream(path.read_bytes(), streams.SIZES).statuses


@pytest.mark.parametrize("path", sorted((CORPUS / "accept").glob("*.http")), ids=lambda path: path.stem)
def test_the_model_takes_what_the_corpus_says(path: Path) -> None:
    verdict = read_stream(path.read_bytes(), streams.SIZES)
    assert verdict.requests and not verdict.statuses


def never(*_: Any) -> bool:
    return False


PLANTED: dict[str, tuple[Callable[[Hunt], Any], object, str, object]] = {
    "a chunk size with a prefix": (
        streams.rounds,
        chunked,
        "SIZE_LINE",
        re.compile(rb"((?:0x)?[0-9a-fA-F]{1,15})(.*)"),
    ),
    "a connection that goes on": (streams.rounds, gate, "_options", never),
    "no pause in reading": (turmoil.rounds, Connection, "_pause_reading", never),
    "no pause in reading a WebSocket": (sockets.rounds, WebSocketConnection, "_pause", never),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds, place, name, value = PLANTED[fault]
    monkeypatch.setattr(place, name, value)
    assert hunt(rounds, 2, 40.0, most=1).finds  # after 4 to 438 rounds from this seed
