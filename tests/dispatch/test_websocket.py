"""ASGI over WebSocket, with a handshake and a connection in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.base import ClientDisconnected, Endpoint
from bridgeserve.dispatch.websocket import TABLE, WebSocketClosed, WebSocketCycle, WebSocketRunner
from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.events import Request
from dispatch.fake_exchange import FakeExchange

App = Callable[[Any, Any, Any], Awaitable[Any]]
ACCEPT = {"type": "websocket.accept"}
HEADERS = [(b"host", b"a"), (b"sec-websocket-protocol", b"chat")]


class FakeLive:
    """An accepted WebSocket: messages that wait, and what was sent."""

    def __init__(self, messages: Iterable[str | bytes] = (), end: tuple[int, str] = (1000, "")) -> None:
        self.messages = deque(messages)
        self.end = end
        self.sent: list[str | bytes] = []
        self.closed: list[tuple[int, str]] = []
        self.lost = False

    def next_message(self) -> str | bytes | None:
        return None

    async def receive(self) -> str | bytes:
        if not self.messages:
            raise WebSocketClosed(*self.end)
        return self.messages.popleft()

    async def send(self, data: str | bytes) -> None:
        if self.lost:
            raise ClientDisconnected("gone")
        self.sent.append(data)

    def close(self, code: int, reason: str) -> None:
        if code < 1000:
            raise ValueError("no code")
        self.closed.append((code, reason))


class FakeExchangeThatWaits(FakeExchange):
    """Its client leaves when it is told to."""

    def __init__(self) -> None:
        request = Request(b"GET", b"/chat/%C3%A9?q", "1.1", HEADERS)
        request.path, request.query = b"/chat/%C3%A9", b"q"
        super().__init__(request, Endpoint("http", ("192.0.2.1", 1), ("192.0.2.2", 80)))
        self.left = asyncio.Event()

    async def wait_disconnect(self) -> None:
        await self.left.wait()

    async def drain(self) -> None:
        self.writable = True


class FakeSocket:
    """A handshake; `live` is what it becomes."""

    def __init__(self, live: FakeLive | None = None) -> None:
        self.exchange: Any = FakeExchangeThatWaits()
        self.subprotocols = ["chat"]
        self.live = live or FakeLive()
        self.accepted: list[tuple[str | None, list[tuple[bytes, bytes]]]] = []

    def accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> Any:
        if subprotocol == "bad":
            raise ResponseError("not offered")
        self.accepted.append((subprotocol, list(headers)))
        self.exchange.lost = True
        return self.live


def run(app: App, socket: FakeSocket | None = None, state: dict[str, Any] | None = None) -> FakeSocket:
    """Run the app to its end."""
    ends = []

    async def main() -> FakeSocket:
        used = socket or FakeSocket()
        await WebSocketRunner(AsgiRunner(app, "/root", state)).run(used, lambda: ends.append(1))
        return used

    used = asyncio.run(main())
    assert ends == [1]
    return used


def test_the_scope() -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        assert await receive() == {"type": "websocket.connect"}
        await send(ACCEPT)

    state = {"a": 1}
    run(app, state=state)
    assert seen.pop("state") == state
    assert seen == {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/root/chat/é",
        "raw_path": b"/chat/%C3%A9",
        "query_string": b"q",
        "root_path": "/root",
        "headers": HEADERS,
        "client": ("192.0.2.1", 1),
        "server": ("192.0.2.2", 80),
        "subprotocols": ["chat"],
        "extensions": {"websocket.http.response": {}},
    }


def test_a_conversation() -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({**ACCEPT, "subprotocol": "chat", "headers": [(b"x", b"y")]})
        got.extend([await receive() for _ in range(4)])
        await send({"type": "websocket.send", "text": "t", "bytes": None})
        await send({"type": "websocket.send", "bytes": b"b"})
        await send({"type": "websocket.send", "bytes": bytearray(b"c")})
        await send({"type": "websocket.close", "code": 4000, "reason": "done"})

    live = FakeLive(["one", b"two"], (1001, "bye"))
    socket = run(app, FakeSocket(live))
    end = {"type": "websocket.disconnect", "code": 1001, "reason": "bye"}
    assert got == [
        {"type": "websocket.receive", "text": "one"},
        {"type": "websocket.receive", "bytes": b"two"},
        end,
        end,
    ]
    assert socket.accepted == [("chat", [(b"x", b"y")])]
    assert live.sent == ["t", b"b", b"c"]
    assert live.closed == [(4000, "done")]


def test_refused_by_close() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})

    socket = run(app)
    assert (socket.exchange.head.status, socket.exchange.complete) == (403, True)


def test_denied_by_a_response_of_the_app() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x", b"y")]})
        await send({"type": "websocket.http.response.body", "body": b"go ", "more_body": True})
        socket.exchange.writable = False
        await send({"type": "websocket.http.response.body", "body": b"away ", "more_body": True})
        assert socket.exchange.writable
        await send({"type": "websocket.http.response.body", "body": b"now"})

    socket = None  # type: ignore[assignment]

    async def main() -> None:
        nonlocal socket
        socket = FakeSocket()
        await WebSocketRunner(AsgiRunner(app)).run(socket, lambda: None)

    socket: FakeSocket
    asyncio.run(main())
    assert socket.exchange.head.status == 401
    assert socket.exchange.head.close
    assert socket.exchange.head.headers[0] == (b"x", b"y")
    assert (socket.exchange.sent, socket.exchange.complete) == (b"go away now", True)


MESSAGES: dict[str, dict[str, Any]] = {
    "websocket.accept": {},
    "websocket.close": {},
    "websocket.send": {"text": "x"},
    "websocket.http.response.start": {"status": 401},
    "websocket.http.response.body": {},
    "http.response.start": {"status": 200},
}
WAYS = {
    "CONNECTING": (),
    "DENYING": ("websocket.http.response.start",),
    "OPEN": ("websocket.accept",),
    "CLOSED": ("websocket.close",),
}


@pytest.mark.parametrize("kind", MESSAGES)
@pytest.mark.parametrize("state", TABLE)
def test_the_order_of_messages(state: str, kind: str) -> None:
    async def main() -> None:
        cycle = WebSocketCycle(FakeSocket())
        for way in WAYS[state]:
            await cycle.send({"type": way, **MESSAGES[way]})
        assert cycle.state == state
        message = {"type": kind, **MESSAGES[kind]}
        if kind in TABLE[state]:
            await cycle.send(message)
            assert cycle.state == TABLE[state][kind]
        else:
            with pytest.raises(RuntimeError, match="expected .*got " + repr(kind)) as error:
                await cycle.send(message)
            for expected in TABLE[state]:
                assert expected in str(error.value)
            assert cycle.state == state

    asyncio.run(main())


@pytest.mark.parametrize(
    ("before", "message", "error", "words"),
    [
        ((), {}, KeyError, "type"),
        ((), {"type": "websocket.accept", "subprotocol": b"chat"}, TypeError, "must be a str"),
        ((), {"type": "websocket.accept", "subprotocol": "bad"}, ValueError, "not offered"),
        ((), {"type": "websocket.http.response.start"}, KeyError, "status"),
        ((), {"type": "websocket.http.response.start", "status": 700000}, ValueError, "status"),
        ((ACCEPT,), {"type": "websocket.send"}, ValueError, "either text or bytes"),
        ((ACCEPT,), {"type": "websocket.send", "text": "x", "bytes": b"x"}, ValueError, "either text or bytes"),
        ((ACCEPT,), {"type": "websocket.send", "text": None, "bytes": None}, ValueError, "either text or bytes"),
        ((ACCEPT,), {"type": "websocket.send", "text": b"x"}, TypeError, "text .* must be a str, not bytes"),
        ((ACCEPT,), {"type": "websocket.send", "bytes": "x"}, TypeError, "must be bytes, not str"),
        ((ACCEPT,), {"type": "websocket.close", "code": "1000"}, TypeError, "must be an int"),
        ((ACCEPT,), {"type": "websocket.close", "reason": b"x"}, TypeError, "must be a str"),
        ((ACCEPT,), {"type": "websocket.close", "code": 5}, ValueError, "no code"),
        (
            ({"type": "websocket.http.response.start", "status": 403},),
            {"type": "websocket.http.response.body", "body": "x"},
            TypeError,
            "must be bytes, not str",
        ),
    ],
)
def test_what_cannot_be_sent(
    before: tuple[dict[str, Any], ...], message: dict[str, Any], error: type[Exception], words: str
) -> None:
    async def main() -> None:
        cycle = WebSocketCycle(FakeSocket())
        for earlier in before:
            await cycle.send(earlier)
        state = cycle.state
        with pytest.raises(error, match=words):
            await cycle.send(message)
        assert cycle.state == state  # the next message is taken

    asyncio.run(main())


def test_a_text_of_another_class() -> None:
    class Text(str):
        __slots__ = ()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": Text("x")})

    assert run(app).live.sent == ["x"]


@pytest.mark.parametrize("accepts", [True, False])
def test_an_app_that_raises(accepts: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if accepts:
            await send(ACCEPT)
        raise ValueError("secret of the app")

    socket = run(app)
    assert "raised an exception" in caplog.text
    if accepts:
        assert socket.live.closed == [(1011, "")]
    else:
        assert socket.exchange.head.status == 500


def test_an_app_that_raises_after_its_close(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.close"})
        raise ValueError

    assert run(app).live.closed == [(1000, "")]
    assert "raised an exception" in caplog.text


def test_an_app_that_returns(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)

    assert run(app).live.closed == [(1000, "")]
    assert not caplog.records


@pytest.mark.parametrize("deny", [True, False])
def test_an_app_that_returns_too_early(deny: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> int:
        if deny:
            await send({"type": "websocket.http.response.start", "status": 401})
        return 5

    assert run(app).exchange.head.status == 500
    assert "without an answer to the WebSocket handshake" in caplog.text
    assert "returned int" in caplog.text


def test_a_client_that_leaves_before_it_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        socket.exchange.leave()
        socket.exchange.left.set()
        got.append(await receive())
        await send(ACCEPT)

    socket: FakeSocket

    async def main() -> None:
        nonlocal socket
        socket = FakeSocket()
        await WebSocketRunner(AsgiRunner(app)).run(socket, lambda: None)

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert got == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]
    assert not caplog.records


def test_a_client_that_leaves_while_the_app_sends(caplog: pytest.LogCaptureFixture) -> None:
    live = FakeLive()
    live.lost = True

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        with pytest.raises(OSError, match="gone"):
            await send({"type": "websocket.send", "text": "x"})
        await send({"type": "websocket.close"})  # harmless
        try:
            await send({"type": "websocket.send", "text": "x"})
        except RuntimeError as error:
            raise ClientDisconnected from error

    with caplog.at_level(logging.INFO):
        run(app, FakeSocket(live))
    assert not caplog.records


def test_an_exception_made_of_our_own_is_no_fault_of_the_app(caplog: pytest.LogCaptureFixture) -> None:
    live = FakeLive()
    live.lost = True

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        try:
            await send({"type": "websocket.send", "text": "x"})
        except OSError as error:
            raise ValueError("a framework's own") from error

    with caplog.at_level(logging.INFO):
        run(app, FakeSocket(live))
    assert not caplog.records


def test_a_cancelled_app_is_told_to_the_client() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        await asyncio.Event().wait()

    socket: FakeSocket

    async def main() -> None:
        nonlocal socket
        socket = FakeSocket()
        task = asyncio.ensure_future(WebSocketRunner(AsgiRunner(app)).run(socket, lambda: None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert socket.live.closed == [(1011, "")]
