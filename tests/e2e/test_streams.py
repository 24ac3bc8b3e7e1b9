"""Clients that leave an endless stream: whoever comes next is served at once, and the app learns of every one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess

THREADS = 4  # or processes
WITHIN = 1.0  # seconds for the next request

KINDS = {
    "threads": ("plain_wsgi:application", "--mode", "threads", "--threads", str(THREADS)),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", str(THREADS)),
    "inline-wsgi": ("plain_wsgi:application", "--mode", "inline"),
    "inline-asgi": ("plain_asgi:application", "--mode", "inline"),
}
ONE = {
    "thread": ("--mode", "threads", "--threads", "1"),
    "process": ("--mode", "processes", "--processes", "1"),
}


@pytest.fixture
def server(request: pytest.FixtureRequest, start: Callable[..., ServerProcess]) -> ServerProcess:
    app, *options = KINDS[request.param]
    return start(app, *options, app_dir=APPS)


def kinds(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("server", names, indirect=True)


def next_request(server: ServerProcess) -> float:
    """Seconds until a new client has its answer; the socket's own deadline is the limit."""
    begin = time.monotonic()
    with RawClient(server.address, wait=WITHIN) as raw:
        raw.get("/next", "Connection: close")
        assert raw.read_answer().status == 200
    return time.monotonic() - begin


def listen(server: ServerProcess, path: str, events: int = 1) -> RawClient:
    """A client that has read the first events of a stream."""
    raw = RawClient(server.address)
    raw.get(path)
    assert raw.read_head().status == 200
    for _ in range(events):
        raw.read_until(b"data: tick\n\n" if path != "/flood" else b"x" * 1024)
    return raw


def assert_all_closed(server: ServerProcess, least: int) -> None:
    """Every stream that the app has opened is closed again, and those were `least` or more.

    The app counts by its lines in the log, for each process has its own memory.
    """
    server.err.wait(r"app: closed", 5.0, count=least)
    with RawClient(server.address) as raw:  # behind whoever waits still
        raw.get("/last", "Connection: close")
        assert raw.read_answer().status == 200
    opened = len(server.err.wait(r"app: opened", 5.0, count=least))
    assert opened >= least
    assert len(server.err.wait(r"app: closed", 5.0, count=opened)) == opened
    assert len(server.err.find(r"app: opened")) == opened


@kinds("threads", "processes", "inline-asgi")
def test_all_leave_at_once(server: ServerProcess) -> None:
    """With threads, 4 of the 10 have one and 6 wait for one; the next request is behind them all."""
    clients = [RawClient(server.address) for _ in range(10)]
    for raw in clients:
        raw.get("/events")
    running = clients if server.mode == "inline" else clients[:THREADS]
    for raw in running:
        assert raw.read_head().status == 200
        raw.read_until(b"data: tick\n\n")
    for raw in clients:
        raw.close()
    took = next_request(server)
    assert took < WITHIN
    assert_all_closed(server, len(running))


@kinds("threads", "processes", "inline-asgi")
@pytest.mark.parametrize("path", ["/events", "/watchful"])
def test_one_after_another(server: ServerProcess, path: str) -> None:
    """More leavers than threads: each of them has its thread and its event before it leaves."""
    for _ in range(3 * THREADS):
        listen(server, path).close()
    assert next_request(server) < WITHIN
    assert_all_closed(server, 3 * THREADS)


@kinds("threads", "processes", "inline-asgi")
def test_the_waiting_get_the_place_of_those_who_left(server: ServerProcess) -> None:
    gone = [listen(server, "/events") for _ in range(THREADS)]
    with RawClient(server.address, wait=5.0) as waiting:
        waiting.get("/waiting")
        for raw in gone:
            raw.close()
        assert waiting.read_answer().body.startswith(b"GET /waiting")
    assert_all_closed(server, THREADS)


@kinds("threads", "processes", "inline-wsgi", "inline-asgi")
def test_leaving_a_flood(server: ServerProcess) -> None:
    """An app that never pauses, and clients that stop reading long before they leave."""
    limit = 10 if server.mode == "inline" else THREADS
    clients = [listen(server, "/flood") for _ in range(limit)]
    for raw in clients:
        raw.close()
    assert next_request(server) < WITHIN
    assert_all_closed(server, limit)


@kinds("inline-wsgi", "inline-asgi")
def test_a_flood_leaves_room_for_others(server: ServerProcess) -> None:
    """Clients that do not read a flood hold nobody else up, and the server's memory stays where it is."""
    before = server.memory()
    clients = [listen(server, "/flood") for _ in range(10)]
    for _ in range(20):
        assert next_request(server) < WITHIN
    assert server.memory() - before < 8 << 20
    for raw in clients:
        raw.close()
    assert_all_closed(server, 10)


@pytest.mark.parametrize("one", ONE.values(), ids=ONE)
def test_a_stalled_reader_loses_its_thread(start: Callable[..., ServerProcess], one: tuple[str, ...]) -> None:
    """A client that stays but does not read is cut by --timeout-write, and its thread or process is free again."""
    strict = start("plain_wsgi:application", *one, "--timeout-write", "0.5", app_dir=APPS)
    with listen(strict, "/flood"):
        assert strict.err.wait(r"app: closed 1", 10.0)
        assert next_request(strict) < WITHIN


@pytest.mark.parametrize("one", ONE.values(), ids=ONE)
def test_slow_uploads_hold_no_thread(start: Callable[..., ServerProcess], one: tuple[str, ...]) -> None:
    """More uploads than threads or processes, none complete: others are served, and then the uploads are."""
    server = start("plain_wsgi:application", *one, app_dir=APPS)
    clients = [RawClient(server.address) for _ in range(6)]
    for raw in clients[:3]:
        raw.send(b"POST /slow-upload HTTP/1.1\r\nHost: t\r\nContent-Length: 300000\r\n\r\n" + b"u" * 150_000)
    for raw in clients[3:]:
        raw.send(
            b"POST /slow-upload HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + b"u" * 150_000
        )
    for _ in range(5):
        assert next_request(server) < WITHIN
    for raw in clients[:3]:
        raw.send(b"u" * 150_000)
    for raw in clients[3:]:
        raw.send(b"u" * 150_000 + b"\r\n0\r\n\r\n")
    for raw in clients:
        assert raw.read_answer().body == b"POST /slow-upload 300000\n"


@pytest.mark.parametrize("one", ONE.values(), ids=ONE)
def test_who_leaves_while_waiting_is_never_run(start: Callable[..., ServerProcess], one: tuple[str, ...]) -> None:
    server = start("plain_wsgi:application", *one, app_dir=APPS)
    with RawClient(server.address) as busy:
        busy.get("/slow")
        assert server.err.wait("app: slow", 5.0)
        leavers = [RawClient(server.address) for _ in range(5)]
        for raw in leavers:
            raw.get("/left")
        for raw in leavers:
            raw.close()
        assert busy.read_answer().status == 200
    with RawClient(server.address) as raw:
        raw.get("/counts")
        assert json.loads(raw.read_answer().body)["calls"] == 1
