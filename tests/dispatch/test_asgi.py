"""ASGI over an exchange: the scope, the order of the messages, and who is told what when it goes wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.base import ClientDisconnected, Endpoint
from dispatch.fakes import FakeExchange, make_request
from net.clock import run_virtual, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Script = Callable[[Receive, Send], Awaitable[object]]

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-one", b"1")]}


def piece(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def call(script: Script, exchange: FakeExchange) -> int:
    """Run `script` as the application; how often the end was told."""
    ended: list[None] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> object:
        return await script(receive, send)

    await AsgiRunner(app).run(exchange, lambda: ended.append(None))
    return len(ended)


def serve(script: Script, exchange: FakeExchange | None = None) -> FakeExchange:
    """The exchange after `script` was the application for it."""
    exchange = exchange or FakeExchange()

    async def main() -> None:
        assert await call(script, exchange) == 1

    run_virtual(main)
    return exchange


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- the scope -------------------------------------------------------------------------------------


def scope_of(exchange: FakeExchange, root_path: str = "", state: dict[str, Any] | None = None) -> dict[str, Any]:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None: ...

    return AsgiRunner(app, root_path, state).scope(exchange)


def test_the_scope_of_a_plain_request() -> None:
    request = make_request(b"/a/b?c=d&e=%20", headers=((b"accept", b"*/*"), (b"x-two", b"\xff")))
    assert scope_of(FakeExchange(request)) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a/b",
        "raw_path": b"/a/b",
        "query_string": b"c=d&e=%20",
        "root_path": "",
        "headers": [(b"host", b"test"), (b"accept", b"*/*"), (b"x-two", b"\xff")],
        "client": ("192.0.2.1", 1234),
        "server": ("192.0.2.2", 80),
        "extensions": {
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.trailers": {},
            "http.response.zerocopysend": {},
        },
    }


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/caf%C3%A9", "/caf\u00e9"),
        (b"/a%2Fb", "/a/b"),
        (b"/%25", "/%"),
        (b"/%zz%", "/%zz%"),
        (b"/%ff", "/\ufffd"),
        (b"/a+b", "/a+b"),
    ],
)
def test_the_path_is_decoded_and_the_raw_path_is_not(raw: bytes, path: str) -> None:
    scope = scope_of(FakeExchange(make_request(raw + b"?q=%C3%A9")))
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw, b"q=%C3%A9")


@pytest.mark.parametrize(
    ("root", "raw", "path"),
    [
        ("/api", b"/api/users", "/api/users"),
        ("/api", b"/users", "/api/users"),
        ("/api", b"/api", "/api"),
        ("/api", b"/apiary", "/api/apiary"),
        ("/api/", b"/users", "/api/users"),
        ("/", b"/users", "/users"),
    ],
)
def test_the_path_holds_the_root_path(root: str, raw: bytes, path: str) -> None:
    scope = scope_of(FakeExchange(make_request(raw)), root)
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == (path, raw, root.rstrip("/"))


def test_what_a_proxy_says() -> None:
    endpoint = Endpoint("https", ("203.0.113.9", 0), ("example.org", 443))
    endpoint.root = "/api"
    scope = scope_of(FakeExchange(make_request(b"/x"), endpoint=endpoint), "/own")
    assert (scope["path"], scope["raw_path"], scope["root_path"]) == ("/api/x", b"/x", "/api")
    assert (scope["scheme"], scope["client"], scope["server"]) == ("https", endpoint.client, endpoint.server)
    assert "tls" not in scope["extensions"]
    endpoint.tls = {"tls_version": 0x0304}
    extension = scope_of(FakeExchange(make_request(b"/x"), endpoint=endpoint))["extensions"]["tls"]
    assert extension == endpoint.tls
    assert extension is not endpoint.tls  # an application may change what it got


def test_methods_and_versions() -> None:
    assert scope_of(FakeExchange(make_request(method=b"PROPFIND")))["method"] == "PROPFIND"
    assert scope_of(FakeExchange(make_request(method=b"get")))["method"] == "GET"
    assert scope_of(FakeExchange(make_request(version="1.0")))["http_version"] == "1.0"


def test_a_unix_socket_has_no_client() -> None:
    scope = scope_of(FakeExchange(endpoint=Endpoint("http", None, ("/run/app.sock", None))))
    assert (scope["client"], scope["server"]) == (None, ("/run/app.sock", None))


def test_the_state_is_copied_for_each_request() -> None:
    shared: list[int] = []
    state = {"pool": shared}
    first, second = (scope_of(FakeExchange(), state=state)["state"] for _ in range(2))
    first["mine"] = 1
    assert first["pool"] is second["pool"] is shared
    assert "mine" not in second and "mine" not in state
    assert "state" not in scope_of(FakeExchange())


# --- the answer ------------------------------------------------------------------------------------


def test_a_whole_answer_is_one_call() -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"hello"))

    exchange = serve(app)
    assert (exchange.calls, exchange.status, exchange.body, exchange.complete) == (["respond"], 200, b"hello", True)
    assert exchange.head is not None and exchange.head.headers == [(b"x-one", b"1")]


def test_the_head_is_held_until_the_first_body_message() -> None:
    exchange = FakeExchange()

    async def app(receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})
        assert not exchange.responded
        await send({"type": "http.response.body"})

    serve(app, exchange)
    assert (exchange.status, exchange.body, exchange.complete) == (204, b"", True)


def test_a_streamed_answer() -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": iter([(b"a", b"b")])})
        await send(piece(b"", more=True))
        await send(piece(b"one", more=True))
        await send(piece(bytearray(b"two"), more=True))  # type: ignore[arg-type]
        await send(piece(memoryview(b"three")))  # type: ignore[arg-type]

    exchange = serve(app)
    assert exchange.calls == ["respond", "write", "write", "finish"]
    assert (exchange.body, exchange.complete) == (b"onetwothree", True)


def test_send_waits_for_a_slow_client() -> None:
    exchange = FakeExchange()
    sent: list[int] = []

    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        for number in range(3):
            await send(piece(b"x", more=True))
            sent.append(number)
        await send(piece(b""))

    async def main() -> None:
        task = asyncio.ensure_future(call(app, exchange))
        exchange.pause()
        await turns()
        assert (sent, exchange.body) == ([], b"x")
        exchange.resume()
        await task

    run_virtual(main)
    assert sent == [0, 1, 2]


@pytest.mark.parametrize("answered", [False, True])
def test_work_goes_on_in_the_background_after_the_answer(answered: bool) -> None:
    exchange = FakeExchange()
    done: list[bool] = []

    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"hello"))
        assert exchange.complete
        if answered:
            assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
            assert await receive() == {"type": "http.disconnect"}
        await asyncio.sleep(3600.0)
        done.append(True)

    serve(app, exchange)
    assert done == [True]
    assert not exchange.aborted


# --- the order of the messages ---------------------------------------------------------------------

DISORDER: dict[str, list[dict[str, Any]]] = {
    "body first": [piece(b"x")],
    "two heads": [START, START],
    "unknown": [{"type": "http.response.trailers"}],
    "websocket": [{"type": "websocket.accept"}],
}


@pytest.mark.parametrize("messages", DISORDER.values(), ids=DISORDER)
def test_disorder_raises_into_the_application(messages: list[dict[str, Any]]) -> None:
    seen: list[str] = []

    async def app(receive: Receive, send: Send) -> None:
        for message in messages[:-1]:
            await send(message)
        with pytest.raises(RuntimeError, match=r"http\.response") as caught:
            await send(messages[-1])
        seen.append(str(caught.value))

    serve(app)
    assert len(seen) == 1


@pytest.mark.parametrize("late", [piece(b"y"), piece(b"y", more=True), START, {"type": "http.response.trailers"}])
def test_what_is_said_after_the_end_is_ignored(late: dict[str, Any]) -> None:
    async def app(receive: Receive, send: Send) -> None:
        for message in (START, piece(b"x"), late, late):
            await send(message)

    exchange = serve(app)
    assert (exchange.body, exchange.complete, exchange.aborted) == (b"x", True, False)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({**START, "headers": [(b"a", b"b\r\nc: d")]}, ValueError),
        ({**START, "headers": [(b"a b", b"c")]}, ValueError),
        ({**START, "headers": [("a", "b")]}, ValueError),
        ({**START, "status": "200"}, ValueError),
        ({**START, "status": 99}, ValueError),
        ({"type": "http.response.start"}, KeyError),
        ({}, KeyError),
    ],
)
def test_what_cannot_be_sent_raises_and_may_be_mended(message: dict[str, Any], error: type[Exception]) -> None:
    async def app(receive: Receive, send: Send) -> None:
        with pytest.raises(error):
            await send(message)
        await send(START)
        with pytest.raises(TypeError, match="must be bytes, not str"):
            await send({"type": "http.response.body", "body": "text"})
        await send(piece(b"mended"))

    exchange = serve(app)
    assert (exchange.status, exchange.body, exchange.complete) == (200, b"mended", True)


# --- the request body ------------------------------------------------------------------------------


def test_a_body_that_came_whole() -> None:
    async def app(receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"abc", "more_body": False}
        await send(START)
        await send(piece(b""))

    exchange = serve(app, FakeExchange(make_request(method=b"POST", body=b"abc")))
    assert exchange.reads == 0


def test_a_body_that_arrives() -> None:
    exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
    got: list[dict[str, Any]] = []

    async def app(receive: Receive, send: Send) -> None:
        while not got or got[-1]["more_body"]:
            got.append(await receive())
        await send(START)
        await send(piece(b""))

    async def main() -> None:
        task = asyncio.ensure_future(call(app, exchange))
        for octets in (b"one", b"two"):
            exchange.feed(octets)
            await turns()
        exchange.feed_end()
        await task

    run_virtual(main)
    assert [(message["body"], message["more_body"]) for message in got] == [
        (b"one", True),
        (b"two", True),
        (b"", False),
    ]
    assert exchange.complete


# --- the client leaves -----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [True, False])
def test_receive_tells_that_the_client_left(lost: bool) -> None:
    exchange = FakeExchange()

    async def app(receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert await receive() == {"type": "http.disconnect"}
        assert await receive() == {"type": "http.disconnect"}
        if not lost:  # it has sent its last octet, and reads on
            await send(START)
            await send(piece(b"still there"))

    async def main() -> None:
        task = asyncio.ensure_future(call(app, exchange))
        await turns()
        assert not task.done()
        exchange.leave(lost)
        await task

    run_virtual(main)
    assert exchange.complete is not lost
    assert not exchange.aborted


def test_the_client_leaves_inside_its_body(caplog: pytest.LogCaptureFixture) -> None:
    exchange = FakeExchange(arriving=True)

    async def app(receive: Receive, send: Send) -> None:
        assert (await receive())["body"] == b"half"
        assert await receive() == {"type": "http.disconnect"}
        assert await receive() == {"type": "http.disconnect"}

    async def main() -> None:
        task = asyncio.ensure_future(call(app, exchange))
        exchange.feed(b"half")
        await turns()
        exchange.leave()
        await task

    run_virtual(main)
    assert errors(caplog) == []


@pytest.mark.parametrize("caught", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_send_raises_oserror_after_the_client_left(begun: bool, caught: bool, caplog: pytest.LogCaptureFixture) -> None:
    exchange = FakeExchange()
    raised: list[OSError] = []

    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        if begun:
            await send(piece(b"x", more=True))
        exchange.leave()
        try:
            await send(piece(b"y", more=True))
        except OSError as error:
            raised.append(error)
            if not caught:
                raise

    serve(app, exchange)
    assert [type(error) for error in raised] == [ClientDisconnected]
    assert exchange.body == (b"x" if begun else b"")
    assert errors(caplog) == []  # a client that leaves is no error of the application


def test_a_send_that_waits_ends_when_the_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    exchange = FakeExchange()

    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        exchange.pause()
        with pytest.raises(OSError, match="left"):
            await send(piece(b"x", more=True))
        raise ClientDisconnected

    async def main() -> None:
        task = asyncio.ensure_future(call(app, exchange))
        await turns()
        exchange.leave()
        await task

    run_virtual(main)
    assert errors(caplog) == []


class FrameworkError(Exception):
    """What a framework makes of our OSError."""


def _from_oserror(error: OSError) -> Exception:
    made = FrameworkError()
    made.__cause__ = error
    return made


@pytest.mark.parametrize(
    "wrap", [_from_oserror, lambda error: ExceptionGroup("tasks", [error])], ids=["cause", "group"]
)
def test_the_leaving_in_other_words_is_no_error_of_the_application(
    wrap: Callable[[OSError], Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette raises its own exception from our OSError; a task group wraps it."""
    exchange = FakeExchange()

    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        exchange.leave()
        try:
            await send(piece(b"y"))
        except OSError as error:
            raise wrap(error) from error.__cause__

    async def unrelated(receive: Receive, send: Send) -> None:
        await send(START)
        exchange.leave()
        raise wrap(OSError("disk full"))

    serve(app, exchange)
    assert errors(caplog) == []
    serve(unrelated, exchange)
    assert len(errors(caplog)) == 1


def test_exceptions_that_name_each_other_as_their_cause_have_an_end(caplog: pytest.LogCaptureFixture) -> None:
    exchange = FakeExchange()

    async def app(receive: Receive, send: Send) -> None:
        exchange.leave()
        first, second = KeyError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    serve(app, exchange)
    assert len(errors(caplog)) == 1


# --- the application fails -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("boom"), SystemExit(3)], ids=["exception", "exit"])
@pytest.mark.parametrize("head", [True, False])
def test_a_failure_before_the_head_is_sent_is_a_500(
    head: bool, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(receive: Receive, send: Send) -> None:
        if head:
            await send(START)
        raise error

    exchange = serve(app)
    assert (exchange.status, exchange.body, exchange.complete) == (500, b"Internal Server Error", True)
    [record] = errors(caplog)
    assert record.exc_info is not None and record.exc_info[1] is error


def test_a_failure_inside_the_answer_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"half", more=True))
        raise KeyError("boom")

    exchange = serve(app)
    assert (exchange.status, exchange.aborted, exchange.complete) == (200, True, False)
    assert len(errors(caplog)) == 1


def test_a_failure_after_the_answer_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def app(receive: Receive, send: Send) -> None:
        await send(START)
        await send(piece(b"whole"))
        raise KeyError("boom")

    exchange = serve(app)
    assert (exchange.complete, exchange.aborted, exchange.body) == (True, False, b"whole")
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize(("messages", "status"), [([], 500), ([START], 500), ([START, piece(b"x", more=True)], 200)])
def test_returning_without_completing(
    messages: list[dict[str, Any]], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    exchange = serve(app)
    assert exchange.status == status
    assert exchange.aborted is (status == 200)
    assert "without completing" in errors(caplog)[0].getMessage()


def test_returning_something_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(receive: Receive, send: Send) -> object:
        await send(START)
        await send(piece(b"x"))
        return 1

    assert serve(app).complete
    assert "returned int" in errors(caplog)[0].getMessage()


@pytest.mark.parametrize("begun", [True, False])
def test_a_cancelled_application_is_answered_or_cut(begun: bool) -> None:
    exchange = FakeExchange()

    async def app(receive: Receive, send: Send) -> None:
        if begun:
            await send(START)
            await send(piece(b"x", more=True))
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.ensure_future(call(app, exchange))
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    assert exchange.status == (200 if begun else 500)
    assert exchange.aborted is begun
