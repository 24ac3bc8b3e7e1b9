"""Malformed and ambiguous requests, and apps that fail: the right status, a closed connection, nothing passed on."""

from __future__ import annotations

import json
import select
from collections.abc import Callable

import pytest

from e2e.raw import Answer, Cut, RawClient
from e2e.server import APPS, ServerProcess

BODY_LIMIT = 1000

SERVERS = {
    "threads": ("plain_wsgi:application", "--mode", "threads"),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", "1"),  # one: the app counts
    "inline-wsgi": ("plain_wsgi:application", "--mode", "inline"),
    "inline-asgi": ("plain_asgi:application", "--mode", "inline"),
    "asgi-h11": ("plain_asgi:application", "--http", "h11"),
}

REFUSED = {
    "both lengths": (
        400,
        b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "two lengths": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "two equal lengths": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    "list of lengths": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 5\r\n\r\nhello"),
    "length with a sign": (400, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +5\r\n\r\nhello"),
    "unknown coding": (501, b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    "bad host": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: t\n\n"),
    "bare LF after a field": (400, b"GET / HTTP/1.1\r\nHost: t\nX: y\r\n\r\n"),
    "bare CR": (400, b"GET / HTTP/1.1\r\nHost: t\rX: y\r\n\r\n"),
    "NUL": (400, b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x00b\r\n\r\n"),
    "folded line": (400, b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n"),
    "space before the colon": (400, b"GET / HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\nHost: t\r\nnonsense\r\n\r\n"),
    "no version": (400, b"GET /\r\nHost: t\r\n\r\n"),
    "another protocol": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: t\r\n\r\n"),
    "HTTP/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "CONNECT": (405, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"),
    "long request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"),
    "endless request line": (414, b"GET /" + b"a" * 200_000),
    "many fields": (431, b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
    "long field": (431, b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"y" * 9000 + b"\r\n\r\n"),
    "endless fields": (431, b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 100_000),
    "long body": (413, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n"),
    "long chunked body": (
        413,
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n",
    ),
    "chunk size with a prefix": (
        400,
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    ),
    "chunk with a bare LF": (
        400,
        b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    ),
}
# An ASGI app is called when the head is complete, so what is wrong in a chunk comes after that.
IN_THE_BODY = {"long chunked body", "chunk size with a prefix", "chunk with a bare LF"}


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest, start_shared: Callable[..., ServerProcess]) -> ServerProcess:
    app, *options = SERVERS[request.param]
    return start_shared(app, *options, "--limit-request-body", str(BODY_LIMIT), app_dir=APPS)


def calls(server: ServerProcess) -> int:
    """How often the app was called."""
    with RawClient(server.address) as raw:
        raw.get("/counts")
        return int(json.loads(raw.read_answer().body)["calls"])


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused_and_closed(server: ServerProcess, name: str) -> None:
    status, request = REFUSED[name]
    before = calls(server)
    with RawClient(server.address) as raw:
        # What is smuggled behind must not be taken for a request.
        raw.send(request + b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = raw.read_answer()
        assert answer.status == status
        assert answer.closes
        assert raw.ended()
    in_the_body = name in IN_THE_BODY and b"asgi" in server.err.text.encode().split(b"serving on")[1]
    assert calls(server) - before <= int(in_the_body)
    if not in_the_body:
        assert calls(server) == before


def test_a_body_of_the_limit_is_taken(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        answer = raw.exchange(b"POST /b HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n" + b"b" * BODY_LIMIT)
    assert (answer.status, answer.body) == (200, b"POST /b 1000\n")


def test_an_app_that_raises_before_its_head(server: ServerProcess) -> None:
    known = len(server.err.find("RuntimeError: secret detail"))
    with RawClient(server.address) as raw:
        raw.get("/raise-before")
        answer = raw.read_answer()
        assert answer.status == 500
        assert b"secret" not in answer.head + answer.body
        assert b"Traceback" not in answer.body
    assert server.err.wait("RuntimeError: secret detail", 5.0, known + 1)
    assert calls(server) > 0
    assert len(server.err.find("RuntimeError: secret detail")) == known + 1


def test_an_app_that_raises_after_its_head(server: ServerProcess) -> None:
    known = len(server.err.find("RuntimeError: secret detail"))
    with RawClient(server.address) as raw:
        raw.get("/raise-after")
        with pytest.raises(Cut) as cut:
            raw.read_answer()
        assert b"secret" not in cut.value.read
    assert len(server.err.wait("RuntimeError: secret detail", 5.0, known + 1)) == known + 1


def test_an_app_that_raises_after_its_head_for_http_1_0(server: ServerProcess) -> None:
    """Without a length and without chunks only a reset tells a whole body from a cut one."""
    with RawClient(server.address) as raw:
        raw.send(b"GET /raise-after HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while raw.socket.recv(65536):
                pass


def test_an_app_that_sends_less_than_it_said(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        raw.get("/short")
        assert Answer(raw.read_until(b"\r\n\r\n")).headers["content-length"] == "100"
        assert raw.read_rest() == b"not that long"


def test_a_slow_head_is_refused(start: Callable[..., ServerProcess]) -> None:
    server = start("plain_wsgi:application", "--timeout-header", "0.3", app_dir=APPS)
    with RawClient(server.address, wait=5.0) as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: t\r\n")
        assert b" 408 " in raw.read_rest()[:20]


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_a_slow_body_is_refused(start: Callable[..., ServerProcess], mode: str) -> None:
    server = start("plain_wsgi:application", "--mode", mode, f"--{mode}", "1", "--timeout-body", "0.3", app_dir=APPS)
    with RawClient(server.address, wait=5.0) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhel")
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (408, True)
    assert calls(server) == 0


@pytest.mark.parametrize(
    "options",
    [
        ("plain_wsgi:application", "--mode", "threads", "--threads", "2"),
        ("plain_wsgi:application", "--mode", "processes", "--processes", "2"),
        ("plain_asgi:application", "--limit-concurrency", "2"),
    ],
)
def test_a_health_request_is_answered_while_all_others_wait(
    start: Callable[..., ServerProcess], options: tuple[str, ...]
) -> None:
    server = start(*options, "--reserve", "/health*:1", "--limit-queue", "1", app_dir=APPS)
    with RawClient(server.address) as first, RawClient(server.address) as second, RawClient(server.address) as third:
        first.get("/stuck")  # for a minute
        assert server.err.wait("app: stuck", 5.0)
        for raw in (second, third):
            raw.get("/ordinary")
        refused = select.select([second.socket, third.socket], [], [], 5.0)[0]
        assert [b" 503 " in socket.recv(100) for socket in refused] == [True]
        with RawClient(server.address) as health:
            for _ in range(3):
                health.get("/healthz")
                assert health.read_answer().body == b"GET /healthz 0\n"


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_overload_is_told(start: Callable[..., ServerProcess], mode: str) -> None:
    server = start("plain_wsgi:application", "--mode", mode, f"--{mode}", "1", "--limit-queue", "1", app_dir=APPS)
    with RawClient(server.address) as first, RawClient(server.address) as second, RawClient(server.address) as third:
        first.get("/slow")
        assert server.err.wait("app: slow", 5.0)
        second.get("/second")
        third.get("/third")
        answers = sorted((raw.read_answer() for raw in (second, third)), key=lambda answer: answer.status)
        assert [answer.status for answer in answers] == [200, 503]
        assert int(answers[1].headers["retry-after"]) > 0
        assert first.read_answer().status == 200
