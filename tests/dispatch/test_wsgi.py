"""The runner, sentence by sentence of PEP 3333. Apps that are legal run inside `wsgiref.validate` too."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from bridgeserve.dispatch import wsgi as module
from dispatch.fake_port import FakePort, make_request
from dispatch.wsgi_apps import PLAIN, App, Chunks, Environ, StartResponse, answer, cut, runner, serve, steps

# --- legal apps, inside the validator ---------------------------------------------------------------


def echo(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [*PLAIN, ("Content-Length", str(len(body)))])
    return [body]


def generated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", list(PLAIN))
    return iter([b"", b"he", b"", b"llo"])


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", list(PLAIN))
    write(b"he")
    write(b"l")
    return [b"lo"]


def empty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def replaced(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/html")])
    try:
        raise RuntimeError("late")
    except RuntimeError:
        start_response("503 Busy", list(PLAIN), sys.exc_info())
    return [b"hello"]


@pytest.mark.parametrize("wrap", [lambda app: app, validator], ids=["plain", "validated"])
@pytest.mark.parametrize(
    ("app", "status", "reason"),
    [
        (echo, 200, b"OK"),
        (generated, 200, b"OK"),
        (written, 200, b"OK"),
        (replaced, 503, b"Busy"),
        (empty, 204, b"No Content"),
    ],
)
def test_legal_apps(
    app: App, status: int, reason: bytes, wrap: Callable[[App], App], caplog: pytest.LogCaptureFixture
) -> None:
    port = serve(wrap(app), FakePort(make_request(b"POST", b"/a%20b?c", body=b"hello")))
    assert (port.status, port.reason, port.complete, port.cut) == (status, reason, True, False)
    assert port.sent == (b"" if app is empty else b"hello")
    assert port.headers[:1] == ([] if app is empty else [(b"Content-Type", b"text/plain")])
    assert caplog.messages == []


# --- what goes to the port, and when ----------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [[b"hello"], (b"hello",), [b"he", b"", b"llo"], (b"h", b"ello"), [b"", b"hello"]], ids=repr
)
def test_a_small_list_or_tuple_is_one_call(body: Any) -> None:
    headers = [(b"Content-Type", b"text/plain")]
    assert serve(answer(body)).calls == [("respond", 200, b"OK", headers, b"hello", True)]


@pytest.mark.parametrize(
    "body", [[], (), [b""], iter([]), iter([b"", b""])], ids=["list", "tuple", "empty", "iterator", "empty iterated"]
)
def test_an_empty_iterable_is_an_empty_body(body: Any) -> None:
    port = serve(answer(body))
    assert port.calls == [("respond", 200, b"OK", [(b"Content-Type", b"text/plain")], b"", True)]


def test_a_long_chunk_alone_is_one_call() -> None:
    port = serve(answer([b"x" * (module.JOIN_MAX + 1)]))
    assert port.names == ["respond"] and port.complete


def test_a_long_list_is_not_copied_together() -> None:
    half = b"x" * (module.JOIN_MAX // 2)
    assert serve(answer([half, half])).names == ["respond"]
    port = serve(answer([half, half, b"y"]))
    assert port.names == ["respond", "write", "write", "finish"]
    assert port.sent == half + half + b"y"


@pytest.mark.parametrize("chunk", [b"hello", b""])
def test_a_length_of_one_is_relied_on(chunk: bytes) -> None:
    class One(Chunks):
        def __len__(self) -> int:
            return 1

    body = One(chunk)
    port = serve(answer(body))
    assert port.names == ["respond"] and port.complete and port.sent == chunk
    assert body.closed == 1


def test_the_head_waits_for_the_first_chunk_that_is_not_empty() -> None:
    seen = []
    port = FakePort()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        yield b""
        seen.append(list(port.names))
        yield b"a"
        seen.append(list(port.names))

    serve(app, port)
    assert seen == [[], ["respond"]]


def test_a_chunk_is_sent_before_the_next_one_is_asked_for() -> None:
    port = FakePort()
    seen = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        for digit in (b"1", b"2", b"3"):
            yield digit
            seen.append(port.sent)

    serve(app, port)
    assert seen == [b"1", b"12", b"123"]


@pytest.mark.parametrize(
    ("method", "status", "headers", "sent"),
    [
        (b"GET", "200 OK", [("Content-Length", "5")], b"abcabc"),  # the session cuts it, and logs that there was more
        (b"HEAD", "200 OK", [("Content-Length", "5")], b"abc"),
        (b"HEAD", "200 OK", [], b"abc"),
        (b"GET", "204 No Content", [], b"abc"),
        (b"GET", "205 Reset Content", [], b"abc"),
        (b"GET", "304 Not Modified", [], b"abc"),
    ],
)
def test_an_iterable_without_end_ends_with_what_the_client_can_get(
    method: bytes, status: str, headers: list[tuple[str, str]], sent: bytes
) -> None:
    closed = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, headers)
        try:
            while True:
                yield b"abc"
        finally:
            closed.append(True)

    port = serve(app, FakePort(make_request(method)))
    assert port.complete and not port.cut
    assert port.sent == sent
    assert closed == [True]


def test_an_iterable_of_its_content_length_is_asked_for_its_end() -> None:
    ends = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*PLAIN, ("Content-Length", "6")])
        yield b"abc"
        yield b"abc"
        ends.append(True)

    assert serve(app).sent == b"abcabc"
    assert ends == [True]


def test_write_sends_at_once_and_comes_before_the_iterable() -> None:
    port = FakePort()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"")
        assert port.names == []
        write(b"1")
        assert port.sent == b"1"
        write(b"2")
        return [b"3", b"4"]

    assert serve(app, port).names == ["respond", "write", "finish"]
    assert (port.sent, port.complete) == (b"1234", True)


def test_write_alone_is_a_body() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)(b"all")
        return []

    port = serve(app)
    assert (port.sent, port.complete) == (b"all", True)


def test_start_response_may_be_called_by_the_first_iteration() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("404 Not Here", [("X-Late", "yes")])
        yield b"hello"

    port = serve(app)
    assert (port.status, port.reason, port.headers, port.sent) == (404, b"Not Here", [(b"X-Late", b"yes")], b"hello")


def test_headers_go_as_they_are_with_repetitions() -> None:
    pairs = [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-Latin", "caf\u00e9"), ("X-Empty", "")]
    expected = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    assert serve(answer([b""], headers=pairs)).headers == expected


def test_a_header_list_belongs_to_the_server_from_the_call_on() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        headers = list(PLAIN)
        start_response("200 OK", headers)
        headers.append(("X-Late", "1"))
        return [b""]

    assert serve(app).headers == [(b"Content-Type", b"text/plain")]


def test_the_memo_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NAMES", {})
    monkeypatch.setattr(module, "_NAMES_MAX", 1)
    for _ in range(2):
        assert serve(answer([b""], headers=[("X-A", "1"), ("X-B", "2")])).headers == [(b"X-A", b"1"), (b"X-B", b"2")]
    assert module._NAMES == {"X-A": b"X-A"}


def test_early_hints() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", PLAIN)
        return [b"hello"]

    port = serve(app)
    assert port.calls[0] == ("inform", 103, [(b"Link", b"</a.css>; rel=preload")])
    assert port.names == ["inform", "respond"]


def test_a_callable_object_and_a_class_are_apps() -> None:
    class App:
        def __init__(self, environ: Environ, start_response: StartResponse) -> None:
            self._start = start_response

        def __iter__(self) -> Iterator[bytes]:
            self._start("200 OK", PLAIN)
            yield b"hello"

    assert serve(App).sent == b"hello"


# --- steps ------------------------------------------------------------------------------------------


def test_steps_pause_after_each_chunk_that_is_not_the_last() -> None:
    port = FakePort()
    body = Chunks(b"1", b"2")
    seen = [(port.sent, port.complete, body.closed) for _ in steps(answer(body), port)]
    assert seen == [(b"1", False, 0), (b"12", False, 0)]
    assert (port.complete, body.closed) == (True, 1)


def test_steps_of_a_list_do_not_pause() -> None:
    assert list(steps(answer([b"hello"]), FakePort())) == []


def test_closing_the_steps_closes_the_iterable() -> None:
    body = Chunks(b"1", b"2")
    port = FakePort()
    paused = steps(answer(body), port)
    next(paused)
    paused.close()
    assert (body.closed, port.complete) == (1, False)


def test_an_error_of_closing_early_is_logged_and_the_response_cut(caplog: pytest.LogCaptureFixture) -> None:
    class Body(Chunks):
        def close(self) -> None:
            raise KeyError("at the end")

    port = FakePort()
    paused = steps(answer(Body(b"1", b"2")), port)
    next(paused)
    paused.close()
    assert port.cut
    assert "the WSGI application failed" in caplog.text


# --- the context ------------------------------------------------------------------------------------

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="outside")


def test_a_request_has_one_context_from_call_to_close() -> None:
    seen: list[str] = []

    class Body(Chunks):
        def __next__(self) -> bytes:
            seen.append(VARIABLE.get())
            VARIABLE.set("iteration")
            return super().__next__()

        def close(self) -> None:
            seen.append(VARIABLE.get())

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        seen.append(VARIABLE.get())
        VARIABLE.set("call")
        start_response("200 OK", PLAIN)
        return Body(b"1")

    run = runner(app)
    run.run(FakePort())
    run.run(FakePort())
    assert seen == ["outside", "call", "iteration", "iteration"] * 2
    assert VARIABLE.get() == "outside"


def test_requests_whose_steps_alternate_do_not_share_a_context() -> None:
    seen: list[tuple[str, str]] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        VARIABLE.set(environ["PATH_INFO"])
        start_response("200 OK", PLAIN)
        return body(environ["PATH_INFO"])

    def body(path: str) -> Iterator[bytes]:
        for _ in range(2):
            seen.append((path, VARIABLE.get()))
            yield b"x"

    for _ in zip(*(steps(app, FakePort(make_request(target=path))) for path in (b"/a", b"/b")), strict=True):
        assert VARIABLE.get() == "outside"
    assert seen == [("/a", "/a"), ("/b", "/b")] * 2


# --- exc_info ---------------------------------------------------------------------------------------


def test_exc_info_before_the_head_replaces_status_and_headers() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-First", "1")])
        yield b""
        try:
            raise RuntimeError("late")
        except RuntimeError:
            start_response("500 Broken", [("X-Second", "2")], sys.exc_info())
        yield b"sorry"

    port = serve(app)
    assert (port.status, port.reason, port.headers) == (500, b"Broken", [(b"X-Second", b"2")])
    assert (port.sent, port.complete) == (b"sorry", True)


def test_exc_info_in_the_first_call() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            raise RuntimeError("early")
        except RuntimeError:
            start_response("500 Broken", PLAIN, sys.exc_info())
        return [b"sorry"]

    assert serve(app).status == 500


@pytest.mark.parametrize("by_write", [True, False])
def test_exc_info_after_the_head_is_raised_again(by_write: bool, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        if by_write:
            write(b"half")
        else:
            yield b"half"
        try:
            raise RuntimeError("too late")
        except RuntimeError:
            start_response("500 Broken", PLAIN, sys.exc_info())
        yield b"never"

    port = serve(app)
    assert (port.status, port.sent) == (200, b"half")
    assert cut(port, caplog, "too late")
