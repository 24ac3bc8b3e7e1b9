"""Slow and greedy clients on real sockets. The same on a virtual clock: `tests/net/test_greedy.py`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire.gate import head_limit
from e2e.greedy import CHUNKED, DRIP, EXPECT, GET, LENGTH, Fates, Row, play
from e2e.raw import RawClient
from e2e.server import APPS, MIB, ServerProcess, eventually

NOISE = 8.0  # seconds that a busy machine may add to a timer
BODY_MAX = 200_000
SERVERS = {
    "threads": ("plain_wsgi:application", "--threads", "4"),
    "threads-h11": ("plain_wsgi:application", "--threads", "4", "--http", "h11"),
    "inline-asgi": ("plain_asgi:application",),
    "inline-asgi-h11": ("plain_asgi:application", "--http", "h11"),
}
SHORT = (
    *("--timeout-header", "2", "--timeout-body", "3", "--timeout-keep-alive", "2"),
    *("--limit-request-body", str(BODY_MAX), "--no-access-log"),
)
ROWS = {
    "nothing": Row(b"", after=2.0),
    "one request and nothing more": Row(GET, statuses=(200,), after=2.0),
    "a head by drips": Row(b"", GET[:-2] + b"X: y\r\n" * 100, DRIP, (408,), 2.0),
    "a second head by drips": Row(GET, GET[:-2], DRIP, (200, 408), 1.5),
    "endless fields": Row(GET[:-2], b"X-Field: value\r\n" * 100, statuses=(431,)),
    "an endless field": Row(GET[:-2] + b"X: ", b"v" * 1000, statuses=(431,)),
    "an endless request line": Row(b"GET /", b"a" * 1000, statuses=(414,)),
    "a body in silence": Row(LENGTH + b"x", statuses=(408,), after=3.0),
    "a body by drips": Row(LENGTH, b"x", DRIP, (408,), 9.9),
    "chunks by drips": Row(CHUNKED, b"1\r\nx\r\n", DRIP, (408,), 9.9),
    "a chunk line by drips": Row(CHUNKED + b"1;a=", b"b", DRIP, (408,), 2.9),
    "trailers by drips": Row(CHUNKED + b"0\r\n", b"X-Trailer: value\r\n", DRIP, (408,), 2.9),
    "huge extensions": Row(CHUNKED, b"1" + b";a=b" * 200 + b"\r\nx\r\n", statuses=(400,)),
    "an endless chunk line": Row(CHUNKED + b"1", b";a=b" * 200, statuses=(400,)),
    "endless trailers": Row(CHUNKED + b"0\r\n", b"X-Trailer: value\r\n" * 10, statuses=(431,)),
    "an endless body": Row(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n", statuses=(413,)),
    "a body that is not sent": Row(EXPECT, statuses=(100, 408), after=3.0),
    "an expectation without a body": Row(GET[:-2] + b"Expect: 100-continue\r\n\r\n", statuses=(200,), after=2.0),
}


@pytest.fixture(scope="module")
def servers(start_shared: Callable[..., ServerProcess]) -> dict[str, ServerProcess]:
    return {name: start_shared(*app, *SHORT, app_dir=APPS) for name, app in SERVERS.items()}


@pytest.fixture(scope="module", autouse=True)
def playing(servers: dict[str, ServerProcess]) -> Iterator[Future[Fates]]:
    """All rows at once, which takes twelve seconds, mostly of waiting: the other tests of this file run meanwhile."""
    addresses = {name: server.address for name, server in servers.items()}
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lambda: asyncio.run(play(addresses, ROWS)))


def calls(server: ServerProcess) -> int:
    """How often the app was called."""
    with RawClient(server.address) as raw:
        raw.get("/counts", "Connection: close")
        return int(json.loads(raw.read_answer().body)["calls"])


def sockets(server: ServerProcess) -> int:
    """How many sockets the process has, without those that it has within itself."""
    found = 0
    mine = set()
    for name in os.listdir(f"/proc/{server.worker}/fd"):
        with contextlib.suppress(OSError):
            mine.add(os.readlink(f"/proc/{server.worker}/fd/{name}"))
    with open(f"/proc/{server.worker}/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            found += f"socket:[{line.split()[9]}]" in mine
    return found


# --- who does not read -------------------------------------------------------------------------------

STRICT = {
    "threads": ("plain_wsgi:application", "--threads", "16"),
    "inline-asgi": ("plain_asgi:application",),
    "inline-asgi-h11": ("plain_asgi:application", "--http", "h11"),
}


@pytest.fixture(scope="module", params=STRICT)
def strict(request: pytest.FixtureRequest, start_shared: Callable[..., ServerProcess]) -> ServerProcess:
    return start_shared(*STRICT[request.param], "--timeout-write", "1", "--no-access-log", app_dir=APPS)


def reluctant(server: ServerProcess) -> socket.socket:
    """A connection whose window is as small as it can be."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    raw.settimeout(10.0)
    raw.connect(server.address)
    return raw


def was_cut(raw: socket.socket, seconds: float) -> bool:
    """Wait for the RST, without reading."""
    poll = select.poll()
    poll.register(raw, 0)  # errors are always told
    return bool(poll.poll(seconds * 1000))


@pytest.mark.parametrize("octets", [0, 1])
def test_who_reads_nothing_or_an_octet_now_and_then_is_cut(strict: ServerProcess, octets: int) -> None:
    before = len(strict.err.find("app: closed"))
    with reluctant(strict) as raw:
        raw.sendall(GET.replace(b"/greedy", b"/flood"))
        end = time.monotonic() + 15.0
        while not was_cut(raw, 0.2):
            assert time.monotonic() < end
            if octets:
                raw.recv(octets)
        assert len(strict.err.wait("app: closed", 5.0, count=before + 1)) > before  # the app has learnt of it


def test_a_pipelined_flood_without_reading(strict: ServerProcess) -> None:
    """100,000 requests: the server stops to read, its memory stays, others are served, and then it is cut."""
    flood = GET * 1000
    with reluctant(strict) as raw:
        begun, before = calls(strict), strict.memory()
        raw.setblocking(False)
        left = 100_000 * len(GET)
        end = time.monotonic() + 20.0
        while left and not was_cut(raw, 0) and time.monotonic() < end:
            if select.select([], [raw], [], 0.2)[1]:
                with contextlib.suppress(ConnectionError):
                    left -= raw.send(flood[: left % len(flood) or len(flood)])
            with RawClient(strict.address, wait=5.0) as other:
                other.get("/other", "Connection: close")
                assert other.read_answer().status == 200
        assert was_cut(raw, 10.0)
        assert strict.memory() - before < 8 * MIB
        assert calls(strict) - begun < 99_000  # the system took what it has room for, and we did not ask for more


# --- the RST -----------------------------------------------------------------------------------------

RESETS = {
    "before the head": (b"", b""),
    "in the head": (GET[:20], b""),
    "after the head": (GET, b""),
    "after the head of a body": (LENGTH, b""),
    "in the body": (LENGTH + b"x" * 500, b""),
    "in a chunk": (CHUNKED + b"5\r\nhel", b""),
    "before the 100": (EXPECT, b"HTTP/1.1 100 "),
    "while the app runs": (GET.replace(b"/greedy", b"/slow"), b""),
    "in the answer": (GET.replace(b"/greedy", b"/events"), b"data: tick"),
    "in a flood": (GET.replace(b"/greedy", b"/flood"), b"xxxx"),
    "on an idle connection": (GET, b"GET /greedy 0\n"),
    "among pipelined ones": (GET * 50, b"HTTP/1.1 200"),
    "after a refusal": (b"bad\r\n\r\n", b"HTTP/1.1 400 "),
}


def test_a_reset_at_any_moment(strict: ServerProcess) -> None:
    for _ in range(5):
        for sent, until in RESETS.values():
            raw = RawClient(strict.address)
            raw.send(sent)
            if until:
                raw.read_until(until)
            raw.reset()
    with RawClient(strict.address, wait=5.0) as raw:
        raw.get("/after", "Connection: close")
        assert raw.read_answer().status == 200
    assert eventually(lambda: sockets(strict) <= 2, 10.0), sockets(strict)
    opened = len(strict.err.find("app: opened"))
    assert len(strict.err.wait("app: closed", 5.0, count=opened)) == opened
    assert "Traceback" not in strict.err.text
    assert " error " not in strict.err.text


# --- connections -------------------------------------------------------------------------------------

SILENT = 5000


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for the sockets, here and in servers started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SILENT + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.fail(f"this test needs {needed} descriptors and the hard limit is {hard}: raise it (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_5000_connections_that_say_nothing(start: Callable[..., ServerProcess]) -> None:
    server = start("plain_wsgi:application", "--threads", "2", "--timeout-header", "3", app_dir=APPS)
    silent: list[socket.socket] = []
    try:
        for number in range(SILENT):
            silent.append(socket.create_connection(server.address, 10.0))
            if number % 500 == 0:
                with RawClient(server.address, wait=5.0) as raw:
                    raw.get("/other", "Connection: close")
                    assert raw.read_answer().status == 200
        for raw_socket in silent:
            raw_socket.settimeout(20.0)
            assert raw_socket.recv(1) == b""  # not a word
    finally:
        for raw_socket in silent:
            raw_socket.close()
    assert eventually(lambda: sockets(server) <= 2, 10.0)
    assert server.stop().code == 0


@pytest.mark.parametrize("app", ["plain_wsgi:application", "plain_asgi:application"])
def test_the_limit_of_connections(start: Callable[..., ServerProcess], app: str) -> None:
    """Beyond it, connections wait in the system, and are served when others close, by whoever's wish."""
    server = start(app, "--limit-connections", "3", "--timeout-header", "1", app_dir=APPS)
    with contextlib.ExitStack() as stack:
        first = [stack.enter_context(RawClient(server.address)) for _ in range(3)]
        for raw in first[:2]:
            raw.get("/first")
            assert raw.read_answer().status == 200
        waiting = [stack.enter_context(RawClient(server.address)) for _ in range(2)]
        for raw in waiting:
            raw.get("/waiting")
        assert not select.select([raw.socket for raw in waiting], [], [], 0.3)[0]
        first[0].close()
        assert waiting[0].read_answer().status == 200
        assert first[2].ended()  # it has said nothing for a second
        assert waiting[1].read_answer().status == 200
        first[1].get("/first")  # one that has its place keeps it
        assert first[1].read_answer().status == 200


# --- the rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("server", SERVERS)
def test_each_has_its_end(playing: Future[Fates], server: str, row: str) -> None:
    wanted, found = ROWS[row], playing.result(60.0)[server, row]
    assert found.ended
    assert found.statuses == wanted.statuses
    assert found.seconds > wanted.after - 0.1
    assert found.seconds < wanted.after + (2 * wanted.after if wanted.after > 9 else 0) + NOISE
    for status in (408, 413, 414, 431):
        if status in wanted.statuses:
            assert b"connection: close" in found.read.lower()


@pytest.mark.parametrize("name", SERVERS)
def test_nothing_of_them_is_left(playing: Future[Fates], servers: dict[str, ServerProcess], name: str) -> None:
    playing.result(60.0)
    server = servers[name]
    # Served: the requests without a body. An ASGI app is called at the head of the others too.
    assert calls(server) == 3 if server.mode == "threads" else calls(server) > 3
    assert eventually(lambda: sockets(server) <= 2, 10.0), sockets(server)  # the listener, and one of the loop's own
    assert "Traceback" not in server.err.text
    assert "error" not in server.err.text


def test_the_limit_of_a_head_is_where_the_page_says() -> None:
    assert head_limit(Limits()) == 8190 + 65536
