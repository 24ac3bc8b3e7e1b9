"""Clients that leave in the middle of something, in each mode; slow and greedy ones are in tests/e2e/test_greedy.py."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable

import pytest

from e2e.raw import RawClient
from e2e.server import ServerProcess
from faults.census import FAULT_APPS, MODES, WITHIN, Census, ask, unharmed

RESET = struct.pack("ii", 1, 0)  # SO_LINGER
SIZE = 400_000  # above --body-memory
CHURN = 1000
PARTS = (0.1, 0.5, 0.99)


@pytest.fixture(scope="module", params=list(MODES))
def server(request: pytest.FixtureRequest, start_shared: Callable[..., ServerProcess]) -> ServerProcess:
    """One that is strict with silence, and stores large bodies in files."""
    app, *options = MODES[request.param]
    strict = ("--timeout-body", "0.5", "--body-memory", "65536", "--log-level", "debug")
    found = start_shared(app, *options, *strict, app_dir=FAULT_APPS)
    for _ in range(4):
        ask(found)
    return found


def leave(raw: RawClient, reset: bool) -> None:
    """Go, by FIN or by RST."""
    if reset:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    raw.close()


def begin(raw: RawClient, chunked: bool, part: float) -> None:
    """A part of an upload."""
    octets = b"u" * int(SIZE * part)
    if chunked:
        raw.send(b"POST /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % SIZE + octets)
    else:
        raw.send(b"POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % SIZE + octets)


def errors(server: ServerProcess) -> int:
    """Lines of the log that an operator would look at, and tracebacks."""
    return len(server.err.find(r"Z (error|critical) +(?! |\[\d+\] app: )|Traceback"))


def test_leaving_in_an_upload(server: ServerProcess, before: Census) -> None:
    """An ASGI app learns of it and never takes a part for the whole; a WSGI app is not even called. The file goes."""
    known = errors(server)
    asgi = len(server.err.find("app: read error"))
    for part, chunked, reset in itertools.product(PARTS, (False, True), (False, True)):
        with RawClient(server.address) as raw:
            begin(raw, chunked, part)
            leave(raw, reset)
    unharmed(server, before)
    assert not server.err.find("app: read whole")
    if "asgi" in server.err.text:
        # A client that resets its connection at once may not have had a request by then.
        assert len(server.err.wait("app: read error", WITHIN, asgi + 6)) >= asgi + 6
    assert errors(server) == known


def test_silence_in_an_upload(server: ServerProcess, before: Census) -> None:
    clients = []
    for part, chunked in itertools.product(PARTS, (False, True)):
        clients.append(raw := RawClient(server.address))
        begin(raw, chunked, part)
    for raw in clients:
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (408, True)
        raw.close()
    unharmed(server, before)
    assert not server.err.find("app: read whole")


def test_half_a_close_in_an_upload(server: ServerProcess, before: Census) -> None:
    """The rest can never come: refused, or closed, and not taken for a whole body."""
    for part, chunked in itertools.product(PARTS, (False, True)):
        with RawClient(server.address) as raw:
            begin(raw, chunked, part)
            raw.socket.shutdown(socket.SHUT_WR)
            assert raw.read_rest()[:13] in (b"", b"HTTP/1.1 400 ")
    unharmed(server, before)
    assert not server.err.find("app: read whole")


def test_leaving_in_a_download(server: ServerProcess, before: Census) -> None:
    """Of an endless stream whose app waits for nothing else: it is closed at once, and nothing is in the log."""
    known = errors(server)
    for count, reset in enumerate((False, True) * 3, 1):
        closed = len(server.err.find("app: stream closed"))
        with RawClient(server.address) as raw:
            raw.get("/stream")
            assert raw.read_head().status == 200
            raw.read_exactly(1000)
            leave(raw, reset)
        assert server.err.wait("app: stream closed", WITHIN, closed + 1), count
    unharmed(server, before)
    assert errors(server) == known


def test_half_a_close_before_the_answer(server: ServerProcess, before: Census) -> None:
    for path, size in (("/hello", 9), ("/download", 16 * 65536)):
        with RawClient(server.address) as raw:
            raw.get(path)
            raw.socket.shutdown(socket.SHUT_WR)
            assert len(raw.read_answer().body) == size
            assert raw.ended()
    unharmed(server, before)


def test_a_stream_leaves_the_others_their_turn(server: ServerProcess, before: Census) -> None:
    """Somebody reads an endless stream as fast as he can."""
    if "(mode threads" in server.err.text or "(mode processes" in server.err.text:
        return  # an app of its own thread holds nobody up
    with RawClient(server.address) as raw:
        raw.get("/stream")
        raw.read_head()
        for _ in range(20):
            with RawClient(server.address, wait=WITHIN) as other:
                other.get("/hello")
                while not other._buffer:
                    raw.socket.recv(1 << 16)
                    other.socket.settimeout(0.001)
                    try:
                        other._more()
                    except TimeoutError:
                        continue
                other.socket.settimeout(WITHIN)
                assert other.read_answer().body == b"/hello 0\n"
    unharmed(server, before)


def test_churn_with_resets(server: ServerProcess, before: Census) -> None:
    """Connections that are gone before they are accepted, or just after."""
    known = errors(server)
    for number in range(CHURN):
        raw = socket.create_connection(server.address, WITHIN)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if number % 3 == 1:
            raw.sendall(b"GET /hello HT")
        if number % 3 == 2:
            raw.sendall(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
        raw.close()
    unharmed(server, before)
    assert errors(server) == known


def test_an_app_that_swallows_its_cancellation(start: Callable[..., ServerProcess]) -> None:
    """Its client is cut when its time is over, and the app ends in its own time."""
    server = start("fault_asgi:application", "--timeout-request", "0.3", app_dir=FAULT_APPS)
    ask(server)
    before = Census.of(server)
    for count in range(1, 21):
        with RawClient(server.address) as raw:
            raw.get("/swallow")
            assert raw.read_answer().status == 504
            raw.close()
        assert server.err.wait("app: swallowing", WITHIN, count)
    unharmed(server, before)
    assert server.stop().code == 0
