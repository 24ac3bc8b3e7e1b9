"""Clients of a WebSocket that mean harm: memory and time stay bounded, the close has the right code, others are served.

The figures in the comments are those of one run on a core of two; the bounds leave room for a busy machine.
"""

from __future__ import annotations

import contextlib
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.frames_client import Socket
from e2e.common import Peak
from e2e.server import MIB, ServerProcess
from wire.frames import BINARY, CONT, PING, TEXT, close, code_of, frame

HERE = Path(__file__).resolve().parent
ECHO = HERE.parent / "autobahn"
APPS = HERE.parent / "conformance" / "apps"
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture(scope="module")
def server(start_shared: Callable[..., ServerProcess]) -> Iterator[ServerProcess]:
    """An app that echoes, warm."""
    started = start_shared("echo:application", "--no-access-log", "--timeout-write", "2", app_dir=ECHO)
    with Socket(started.address) as ws:
        ws.open("/", DEFLATE)
        ws.send(frame(TEXT, b"x" * 100))
        ws.frame()
    yield started
    with Socket(started.address) as ws:  # whatever came before: it serves
        ws.open("/")
        ws.send(frame(TEXT, b"still here"))
        assert ws.frame() == (0x81, b"still here")


def bomb(size: int) -> bytes:
    """The payload of a compressed message of so many MiB of zeros: about a thousandth of that."""
    squeeze = zlib.compressobj(9, wbits=-12)
    zeros = bytes(MIB)
    first, again = (squeeze.compress(zeros) + squeeze.flush(zlib.Z_SYNC_FLUSH) for _ in range(2))
    return (first + again * (size - 1))[:-4]


def push(ws: Socket, data: bytes, seconds: float) -> int:
    """Send as long as the server takes it, at most so many seconds; read nothing. The octets that went out."""
    ws.socket.settimeout(0.5)
    end = time.monotonic() + seconds
    sent = 0
    with contextlib.suppress(TimeoutError, ConnectionError):
        while time.monotonic() < end:
            sent += ws.socket.send(data[sent % len(data) :])
    ws.socket.settimeout(10.0)
    return sent


@pytest.mark.parametrize("fragments", [1, 16])
def test_a_deflate_bomb(server: ServerProcess, fragments: int) -> None:
    """1 GiB in 1 MiB: 1009 after at most 16 MiB of it are inflated; 33 MiB and 0.1 s."""
    data = bomb(1024)
    assert len(data) < 1.2 * MIB
    size = -(-len(data) // fragments)
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    frames = [
        frame(CONT if number else BINARY, part, fin=part is parts[-1], rsv=0 if number else 4)
        for number, part in enumerate(parts)
    ]
    began = time.monotonic()
    with Socket(server.address) as ws, Peak(server) as peak:
        ws.open("/", DEFLATE)
        with contextlib.suppress(ConnectionError):
            ws.send(b"".join(frames))
        assert code_of(ws.until_close()) == 1009
    assert peak.rise < 64 * MIB, peak
    assert time.monotonic() - began < 10.0


def test_a_flood_of_small_messages(server: ServerProcess) -> None:
    """100,000 messages of one octet to a client that reads the echoes: no memory, and others are served meanwhile."""
    flood = frame(BINARY, b"x") * 10_000
    slowest = 0.0
    with Socket(server.address) as ws, Socket(server.address) as other, Peak(server) as peak:
        ws.open("/")
        other.open("/")
        for _ in range(10):
            ws.send(flood)
            began = time.monotonic()
            other.send(frame(TEXT, b"me too"))
            assert other.frame() == (0x81, b"me too")
            slowest = max(slowest, time.monotonic() - began)
            assert [ws.frame() for _ in range(10_000)] == [(0x82, b"x")] * 10_000
    assert peak.rise < 16 * MIB, peak
    assert slowest < 2.0  # 0.02 s on a quiet machine


def test_a_flood_of_small_messages_whose_echoes_nobody_reads(server: ServerProcess) -> None:
    """The server stops reading when its app waits in `send`, and cuts the client after --timeout-write."""
    with Socket(server.address) as ws, Peak(server) as peak:
        ws.open("/")
        ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = push(ws, frame(BINARY, b"x" * 100) * 1000, 20.0)
    assert sent < 64 * MIB
    assert peak.rise < 16 * MIB, peak


def test_an_endless_message(start: Callable[..., ServerProcess]) -> None:
    """Fragments of one octet: 1009 when they are more than --ws-max-size together."""
    server = start("echo:application", "--no-access-log", "--ws-max-size", "100000", app_dir=ECHO)
    with Socket(server.address) as ws, Peak(server) as peak:
        ws.open("/")
        ws.send(frame(TEXT, b"x", fin=False))
        part = frame(CONT, b"x", fin=False) * 10_000
        with contextlib.suppress(ConnectionError):
            for _ in range(11):
                ws.send(part)
        assert code_of(ws.until_close()) == 1009
    assert peak.rise < 16 * MIB, peak


def test_a_flood_of_pings(server: ServerProcess) -> None:
    """Pongs that nobody reads: only the last one is kept, and the client is cut after --timeout-write."""
    with Socket(server.address) as ws, Peak(server) as peak:
        ws.open("/")
        ws.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        push(ws, frame(PING, b"p" * 100) * 1000, 20.0)
    assert peak.rise < 16 * MIB, peak


def test_a_flood_of_pings_whose_answers_are_read(server: ServerProcess) -> None:
    with Socket(server.address) as ws, Peak(server) as peak:
        ws.open("/")
        for _ in range(20):
            ws.send(frame(PING, b"p") * 2000)
            assert [ws.frame() for _ in range(2000)] == [(0x8A, b"p")] * 2000
        ws.send(close(1000))
        assert code_of(ws.until_close()) == 1000
    assert peak.rise < 8 * MIB, peak


def test_a_client_that_never_answers_the_close(start: Callable[..., ServerProcess]) -> None:
    """It gets 5 s; then the connection ends."""
    server = start("asgi3_websocket:application", "--no-access-log", app_dir=APPS)
    began = time.monotonic()
    with Socket(server.address, 20.0) as ws:
        ws.open("/closes")
        assert code_of(ws.until_close()) == 1000
        ws.send(frame(TEXT, b"no"))
        assert ws.body() == b""
    assert 4.5 < time.monotonic() - began < 15.0
