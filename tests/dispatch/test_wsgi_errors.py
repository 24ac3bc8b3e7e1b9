"""Errors of WSGI apps, clients that leave, and close(): PEP 3333 "Error Handling" and "Specification Details"."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch import wsgi as module
from bridgeserve.dispatch.base import ClientDisconnected
from dispatch.fake_port import FakePort, make_request
from dispatch.wsgi_apps import (
    PLAIN,
    App,
    Chunks,
    Environ,
    StartResponse,
    answer,
    cut,
    failed,
    logged,
    raising,
    runner,
    serve,
)


def silent(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return [b"no head"]


def silent_and_empty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return []


def silent_generator(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    yield b"no head"


def twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)
    start_response("404 Not Found", PLAIN)
    return [b""]


def writes_text(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", PLAIN)("text")  # type: ignore[arg-type]
    return []


FAILING: dict[str, tuple[App, str]] = {
    "raises": (raising(RuntimeError("boom")), "boom"),
    "stops": (raising(StopIteration("odd")), "odd"),
    "exits": (raising(SystemExit(3)), "3"),
    "never starts": (silent, "did not call start_response"),
    "never starts, empty": (silent_and_empty, "did not call start_response"),
    "never starts, generator": (silent_generator, "did not call start_response"),
    "starts twice": (twice, "second time without exc_info"),
    "returns None": (answer(None), "not iterable"),
    "returns text": (answer("text"), "must give bytes, not str"),
    "returns bytes": (answer(b"bytes"), "must give bytes, not int"),
    "list of text": (answer(["text"]), "must give bytes, not str"),
    "list of bytearray": (answer([bytearray(b"x")]), "must give bytes, not bytearray"),
    "list that begins with text": (answer(["text", b"bytes"]), "must give bytes, not str"),
    "generator of text": (answer(iter(["text"])), "must give bytes, not str"),
    "writes text": (writes_text, "takes bytes, not str"),
    "raises before the first chunk": (answer(Chunks(b"", RuntimeError("boom"))), "boom"),
    "close raises before the first chunk": (answer(Chunks(RuntimeError("a"), closing=RuntimeError("b"))), "b"),
}


@pytest.mark.parametrize("name", FAILING)
def test_before_the_head_an_error_is_a_500(name: str, caplog: pytest.LogCaptureFixture) -> None:
    app, message = FAILING[name]
    assert failed(serve(app, FakePort(make_request(target=b"/a?b"))), caplog, message)
    assert caplog.messages[0].endswith("GET /a")


def test_the_record_of_an_error_holds_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    serve(raising(RuntimeError("boom")))
    assert "in app\n    raise error\nRuntimeError: boom" in caplog.text


STATUSES = ["", "200OK", "OK", "20 OK", "2000 OK", "\u0662\u0660\u0660 OK", "-20 OK", "200 \u20ac", "200 OK\r\nX: 1"]


@pytest.mark.parametrize("status", [*STATUSES, "200 OK\0", "100 Continue", 200, b"200 OK", None])
def test_a_bad_status_is_an_error(status: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert failed(serve(answer([b"body"], status=status)), caplog)


@pytest.mark.parametrize(
    "headers",
    [
        (("X-A", "1"),),
        {"X-A": "1"},
        None,
        [("X-A",)],
        [("X-A", "1", "2")],
        [None],
        [(b"X-A", b"1")],
        [("X-A", b"1")],
        [("X-A", 1)],
        [("X-A", None)],
        [("X-A", "\u20ac")],
        [("X-\u20ac", "1")],
        [([], "1")],
        [("X-A", "1\r\nX-B: 2")],
        [("X-A", "1\n2")],
        [("X-A", "1\r2")],
        [("X-A", "1\0")],
        [("X A", "1")],
        [("X-A:", "1")],
        [("", "1")],
        [("Content-Length", "five")],
        [("Content-Length", "-1")],
    ],
    ids=repr,
)
def test_bad_headers_are_an_error(headers: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert failed(serve(answer([b"body"], headers=headers)), caplog)


@pytest.mark.parametrize("name", [*sorted(module.HOP_BY_HOP), "Connection", "TRANSFER-ENCODING"])
def test_hop_by_hop_headers_are_an_error(name: str, caplog: pytest.LogCaptureFixture) -> None:
    app = answer([b"body"], headers=[(name, "close")])
    assert failed(serve(app), caplog, "hop-by-hop")
    caplog.clear()
    assert failed(serve(app), caplog, "hop-by-hop")  # no memo lets it through


def test_an_app_may_mend_what_start_response_refused() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            start_response("bad", PLAIN)
        except Exception:
            start_response("200 OK", PLAIN)
        return [b"mended"]

    assert serve(app).sent == b"mended"


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(0), StopIteration("odd")], ids=repr)
def test_after_the_head_an_error_is_a_cut(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)(b"half")
        raise error

    port = serve(app)
    assert (port.status, port.sent) == (200, b"half")
    assert cut(port, caplog)


@pytest.mark.parametrize("chunk", ["text", 5, None, bytearray(b"x")], ids=repr)
def test_a_later_chunk_that_is_not_bytes_is_a_cut(chunk: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert cut(serve(answer(iter([b"half", chunk]))), caplog, "must give bytes")


@pytest.mark.parametrize("error", [KeyboardInterrupt("odd"), GeneratorExit("odd"), BaseException("odd")], ids=repr)
def test_what_is_no_exception_is_the_apps_too(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """As a command we have a handler for SIGINT that raises nothing."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        assert cut(serve(answer(Chunks(b"1", error))), caplog, "odd")
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_is_real_where_pythons_own_handler_is(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody serves in a loop of his own, and Ctrl-C has come while the main thread was in the application."""
    body = Chunks(b"1", KeyboardInterrupt())
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            serve(answer(body))
    finally:
        signal.signal(signal.SIGINT, before)
    assert body.closed == 1
    assert caplog.messages == []


def test_a_runner_goes_on_after_an_error() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/bad":
            raise RuntimeError("boom")
        start_response("200 OK", PLAIN)
        return [b"hello"]

    run = runner(app)
    bad, good = FakePort(make_request(target=b"/bad")), FakePort()
    run.run(bad)
    run.run(good)
    assert (bad.status, good.status) == (500, 200)


# --- close ------------------------------------------------------------------------------------------


class Mapped(Chunks):
    """Closes, and has no __iter__ that works."""

    def __iter__(self) -> Iterator[bytes]:
        raise RuntimeError("no iterator")


class Misjudged(Chunks):
    def __len__(self) -> int:
        raise RuntimeError("no length")


@pytest.mark.parametrize(
    "body",
    [
        lambda: Chunks(b"1", b"2"),
        lambda: Chunks(),
        lambda: Chunks(b""),
        lambda: Chunks(RuntimeError("first")),
        lambda: Chunks(b"1", RuntimeError("second")),
        lambda: Chunks("text"),
        lambda: Chunks(b"1", closing=RuntimeError("close")),
        lambda: Chunks(b"1", RuntimeError("second"), closing=RuntimeError("close")),
        lambda: Chunks(b"1", SystemExit()),
        lambda: Mapped(b"1"),
        lambda: Misjudged(b"1"),
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "bad"])
def test_close_is_called_once(body: Callable[[], Chunks], status: str) -> None:
    chunks = body()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if status != "bad":
            start_response(status, PLAIN)
        return chunks

    serve(app)
    assert chunks.closed == 1


def test_close_of_a_generator_runs_its_finally() -> None:
    ended = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            start_response("200 OK", PLAIN)
            while True:
                yield b"for ever"
        finally:
            ended.append(True)

    port = FakePort()
    port.leave_after = 3
    serve(app, port)
    assert ended == [True]


def test_an_error_in_close_leaves_a_complete_response_whole(caplog: pytest.LogCaptureFixture) -> None:
    port = serve(answer(Chunks(b"1", closing=RuntimeError("close"))))
    assert (port.sent, port.complete, port.cut) == (b"1", True, False)
    assert logged(caplog, "close")


# --- the client leaves ------------------------------------------------------------------------------


@pytest.mark.parametrize("leave_after", [0, 1])
def test_a_client_that_leaves_ends_the_iteration(leave_after: int, caplog: pytest.LogCaptureFixture) -> None:
    body = Chunks(b"1", b"2", b"3", AssertionError("asked for more after the client left"))
    port = FakePort()
    port.leave_after = leave_after
    serve(answer(body), port)
    assert (body.closed, port.complete) == (1, False)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_client_that_leaves_ends_write(caplog: pytest.LogCaptureFixture) -> None:
    raised = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        try:
            while True:
                write(b"more")
        except OSError as error:
            raised.append(error)
            raise

    port = FakePort()
    port.leave_after = 2
    serve(app, port)
    assert isinstance(raised[0], ClientDisconnected)
    assert caplog.messages == []


def test_a_list_for_a_client_that_left(caplog: pytest.LogCaptureFixture) -> None:
    port = FakePort()
    port.leave()
    serve(answer([b"hello"]), port)
    assert port.status == 0
    assert caplog.messages == []


def test_an_error_for_a_client_that_left_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    port = FakePort()
    port.leave()
    serve(raising(RuntimeError("boom")), port)
    assert logged(caplog, "boom")


# --- wsgi.errors ------------------------------------------------------------------------------------


def test_a_line_that_was_begun_is_logged_at_the_end_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.errors"].write("no end of line")
        start_response("200 OK", PLAIN)
        return [b"hello"]

    assert serve(app).sent == b"hello"
    assert caplog.messages == ["no end of line"]
