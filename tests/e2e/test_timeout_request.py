"""--timeout-request: an app that takes too long, seen by its client, by the others and in the log."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable

import pytest

from e2e.family import runs
from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess, eventually

Start = Callable[..., ServerProcess]
KINDS = {
    "threads": ("plain_wsgi:application", "--mode", "threads", "--threads", "1"),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", "1"),
    "inline-wsgi": ("plain_wsgi:application", "--mode", "inline"),
    "inline-asgi": ("plain_asgi:application", "--mode", "inline"),
}
LATE = r"GET %s ran longer than --timeout-request \(0\.5 s\): %s"
WITHIN = 10.0  # seconds for what takes half a second


@pytest.fixture(params=["threads", "processes", "inline-asgi"])
def server(request: pytest.FixtureRequest, start: Start) -> ServerProcess:
    app, *options = KINDS[request.param]
    return start(app, *options, "--timeout-request", "0.5", app_dir=APPS)


def get_stuck(server: ServerProcess, count: int = 1) -> RawClient:
    """A client whose request is in the app and stays there."""
    raw = RawClient(server.address)
    raw.get("/stuck")
    assert len(server.err.wait("app: stuck", WITHIN, count=count)) == count
    return raw


def assert_served(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        raw.get("/next")
        assert raw.read_answer().body == b"GET /next 0\n"


def assert_ended(server: ServerProcess, word: str) -> None:
    """What ran too long comes to its own end and says so; in a process it has none, for that is gone."""
    if server.mode == "processes":
        [killed] = server.err.wait(r"child (\d+) is killed$", WITHIN)
        assert eventually(lambda: not runs(int(killed[1])), WITHIN)
    else:
        assert server.err.wait(word, WITHIN)


def test_a_stuck_request_gets_its_504_and_others_are_served(server: ServerProcess) -> None:
    with get_stuck(server) as raw:
        assert_served(server)
        answer = raw.read_answer()
        assert (answer.status, answer.body) == (504, b"Gateway Timeout")
        assert not answer.closes
        raw.get("/next")  # the connection is as good as before
        assert raw.read_answer().body == b"GET /next 0\n"
    assert server.out.wait(r'"GET /stuck HTTP/1\.1" 504', WITHIN)


def test_the_log_says_where_it_was_stuck(server: ServerProcess) -> None:
    with get_stuck(server) as raw:
        assert raw.read_answer().status == 504
    assert len(server.err.wait(LATE % ("/stuck", "answered with 504"), WITHIN)) == 1
    assert server.err.wait(r"^    .*plain_[aw]sgi\.py\", line \d+,? in stuck_here", WITHIN)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_one_record_in_json(start: Start, kind: str) -> None:
    app, *options = KINDS[kind]
    server = start(app, *options, "--timeout", "0.5", "--log-format", "json", app_dir=APPS)
    with get_stuck(server) as raw:
        assert raw.read_answer().status == 504
    [found] = server.err.wait(r"^.*ran longer.*$", WITHIN)
    record = json.loads(found[0])
    assert record["level"] == "error"
    assert record["message"].startswith("GET /stuck ran longer")
    assert "in stuck_here\n" in record["trace"]


def test_work_that_comes_back_late_harms_nobody(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        raw.get("/late")
        assert raw.read_answer().status == 504
        for _ in range(20):
            raw.get("/next")
            assert raw.read_answer().body == b"GET /next 0\n"
        assert_ended(server, "app: late")
        for _ in range(20):
            raw.get("/next", "Connection: keep-alive")
            assert raw.read_answer().body == b"GET /next 0\n"
        raw.get("/next", "Connection: close")
        assert raw.read_answer().body == b"GET /next 0\n"
        assert raw.ended()
    assert len(server.err.find("ran longer")) == 1
    assert "Traceback" not in server.err.text


def read_to_the_end(raw: RawClient) -> bytes:
    """The last octets before the end of the connection, however many there were."""
    tail = b""
    with contextlib.suppress(ConnectionResetError):  # where the server had octets for us in its buffers
        while data := raw.socket.recv(1 << 20):
            tail = (tail + data)[-16:]
    return tail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/events", "/flood"])
def test_streams_are_cut(start: Start, kind: str, path: str) -> None:
    app, *options = KINDS[kind]
    server = start(app, *options, "--timeout-request", "0.5", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get(path)
        assert raw.read_head().status == 200
        assert not read_to_the_end(raw).endswith(b"\r\n0\r\n\r\n")
    assert len(server.err.wait(LATE % (path, "the connection was cut"), WITHIN)) == 1
    assert_ended(server, "app: closed 1")
    assert_served(server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stalled_reader_is_cut(start: Start, kind: str) -> None:
    """The app waits for a client that does not read, and learns of the end."""
    app, *options = KINDS[kind]
    server = start(app, *options, "--timeout-request", "0.5", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/flood")
        assert server.err.wait(LATE % ("/flood", "the connection was cut"), WITHIN)
        assert_ended(server, "app: closed 1")
        assert_served(server)


def test_an_upload_that_is_not_read_gets_504(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        raw.send(b"POST /stuck HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n" + b"u" * 100_000)
        assert raw.read_answer().status == 504
    assert_served(server)


def test_when_no_spare_is_left(start: Start) -> None:
    """As many spares as threads; then requests wait, and get 503, but the loop is alive."""
    app, *options = KINDS["threads"]
    server = start(app, *options, "-t", "0.5", "--timeout-queue", "0.5", app_dir=APPS)
    for count in (1, 2):
        with get_stuck(server, count) as raw:
            assert raw.read_answer().status == 504
        ending = "its thread is replaced" if count == 1 else "its thread is lost and no spare is left"
        assert server.err.wait(f"ran longer .*; {ending}", WITHIN)
    with RawClient(server.address) as raw:
        raw.get("/next")
        assert raw.read_answer().status == 503


def test_a_stop_does_not_wait_for_the_lost(server: ServerProcess) -> None:
    with get_stuck(server) as raw:
        assert raw.read_answer().status == 504
    ended = server.stop(WITHIN)
    assert ended.code == 0


def test_a_stop_while_one_is_stuck(server: ServerProcess) -> None:
    """The timeout counts during a drain too, and is shorter than the grace time."""
    with get_stuck(server) as raw:
        server.signal(signal.SIGTERM)
        assert raw.read_answer().status == 504
        assert raw.ended()
    assert server.wait(WITHIN).code == 0


def test_what_is_quick_enough_is_left_alone(start: Start) -> None:
    for app, *options in KINDS.values():
        server = start(app, *options, "--timeout-request", "30", app_dir=APPS)
        with RawClient(server.address) as raw:
            raw.get("/slow")
            assert raw.read_answer().body == b"GET /slow 0\n"
        ended = server.stop()
        assert (ended.code, "ran longer" in ended.err) == (0, False)
