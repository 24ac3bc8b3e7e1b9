"""TERM under load: nobody's request is lost, and the server ends in time with 0."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from e2e.load import Load
from e2e.raw import Cut, RawClient
from e2e.server import APPS, ServerProcess

KINDS = {
    "threads": ("plain_wsgi:application", "--mode", "threads", "--threads", "4"),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", "4"),
    "inline-wsgi": ("plain_wsgi:application", "--mode", "inline"),
    "inline-asgi": ("plain_asgi:application", "--mode", "inline"),
}
ENDING = {
    "threads": ("plain_wsgi:application", "--mode", "threads"),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", "2"),
    "inline-asgi": ("plain_asgi:application",),
}
GRACE = 10.0


@pytest.fixture(params=list(KINDS))
def server(request: pytest.FixtureRequest, start: Callable[..., ServerProcess]) -> ServerProcess:
    app, *options = KINDS[request.param]
    return start(app, *options, "--timeout-graceful", str(GRACE), app_dir=APPS)


def can_announce(server: ServerProcess) -> bool:
    """A WSGI app on the loop holds the signal up until its answer is written: too late for `Connection: close`.

    The connection is then an idle one, and is closed like one.
    """
    return not server.err.find("mode inline, wsgi")


def test_no_request_fails(server: ServerProcess) -> None:
    """50 clients while TERM comes."""
    load = Load(server.address, 50, 3000, lambda: server.signal(signal.SIGTERM))
    account = asyncio.run(load.run(40.0))
    ended = server.wait(GRACE)
    assert account.failed == []
    assert account.stale == []
    assert set(account.statuses) == {200}
    assert account.refused == 50
    assert ended.code == 0
    assert ended.out.count("\n") == account.done  # the access log has every one of them


def test_the_request_in_flight_is_finished(server: ServerProcess) -> None:
    with RawClient(server.address) as raw, RawClient(server.address) as idle:
        idle.get("/idle")
        assert not idle.read_answer().closes
        raw.get("/slow")
        assert server.err.wait("app: slow", 5.0)
        server.signal(signal.SIGTERM)
        answer = raw.read_answer()
        assert (answer.status, answer.body) == (200, b"GET /slow 0\n")
        assert answer.closes is can_announce(server)
        assert raw.ended()
        assert idle.ended()
    ended = server.wait(GRACE)
    assert ended.code == 0


def test_pipelined_requests_are_answered(server: ServerProcess) -> None:
    """What was sent before TERM and is read only after it is answered too, or the close is announced before it."""
    with RawClient(server.address) as raw:
        raw.send(b"".join(b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % path for path in (b"/slow", b"/two", b"/three")))
        assert server.err.wait("app: slow", 5.0)
        server.signal(signal.SIGTERM)
        answers = [raw.read_answer()]
        while not answers[-1].closes and len(answers) < 3:
            answers.append(raw.read_answer())
        assert raw.ended()
    assert answers[-1].closes is can_announce(server)
    assert all(answer.status == 200 for answer in answers)
    assert server.wait(GRACE).code == 0


def test_an_upload_in_flight_is_finished(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        raw.send(b"POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n" + b"u" * 100_000)
        with RawClient(server.address) as other:  # its answer says that the loop has seen the upload begin
            other.get("/other")
            other.read_answer()
        server.signal(signal.SIGTERM)
        assert server.err.wait("accepts no more", 5.0)
        raw.send(b"u" * 100_000)
        answer = raw.read_answer()
        assert (answer.status, answer.body) == (200, b"POST /upload 200000\n")
        assert answer.closes
    assert server.wait(GRACE).code == 0


def test_work_after_the_response_is_finished(server: ServerProcess) -> None:
    """A background task, or the `close` of an iterable, has the grace time too, though its client has its answer."""
    with RawClient(server.address) as raw:
        raw.get("/afterwards", "Connection: close")
        assert raw.read_answer().status == 200
    assert server.err.wait("app: afterwards", 5.0)
    ended = server.stop(GRACE)
    assert ended.code == 0
    assert "app: afterwards done" in ended.err


@pytest.mark.parametrize("kind", ENDING)
def test_work_after_the_response_has_an_end(start: Callable[..., ServerProcess], kind: str) -> None:
    server = start(*ENDING[kind], "--timeout-graceful", "0.3", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/afterwards", "Connection: close")
        assert raw.read_answer().status == 200
    assert server.err.wait("app: afterwards", 5.0)
    assert server.stop(8.0).code == 0


@pytest.mark.parametrize("kind", ENDING)
def test_a_stream_is_cut_at_the_end_of_the_grace_time(start: Callable[..., ServerProcess], kind: str) -> None:
    server = start(*ENDING[kind], "--timeout-graceful", "0.5", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/events")
        raw.read_head()
        raw.read_until(b"data: tick\n\n")
        begin = time.monotonic()
        ended = server.stop(8.0)
        assert time.monotonic() - begin >= 0.4
        assert not raw.read_rest().endswith(b"0\r\n\r\n")  # the client can tell
    assert ended.code == 0
    assert ended.err.count("app: closed") == 1


@pytest.mark.parametrize("kind", ENDING)
def test_a_stuck_app_does_not_hold_the_end_up(start: Callable[..., ServerProcess], kind: str) -> None:
    server = start(*ENDING[kind], "--timeout-graceful", "0.5", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/stuck")
        assert server.err.wait("app: stuck", 5.0)
        ended = server.stop(8.0)
        with pytest.raises((Cut, ConnectionError)):
            raw.read_answer()
    assert ended.code == 0


def test_idle_connections_do_not_hold_the_end_up(server: ServerProcess) -> None:
    clients = [RawClient(server.address) for _ in range(20)]
    for number, raw in enumerate(clients):
        if number % 2:  # the others have never said a word
            raw.get("/idle")
            raw.read_answer()
    ended = server.stop(5.0)
    assert ended.code == 0
    for raw in clients:
        assert raw.ended()
        raw.close()
