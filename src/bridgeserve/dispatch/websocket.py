"""ASGI 3 over WebSocket: one application call for one connection.

Order of events (ASGI specification, WebSocket): what the application may send is in TABLE; anything else raises
into it and says what was expected. It receives `websocket.connect`, then messages, then `websocket.disconnect`, as
often as it asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from bridgeserve.dispatch.asgi import VERSIONS, AsgiRunner, Message, from_leaving
from bridgeserve.dispatch.base import ClientDisconnected, Exchange, answer, from_outside
from bridgeserve.dispatch.tasks import cancelled
from bridgeserve.wire.framing import ResponseHead

_log = logging.getLogger("bridgeserve.error")
ACCEPT, CLOSE, SEND = "websocket.accept", "websocket.close", "websocket.send"
DENY, DENY_BODY = "websocket.http.response.start", "websocket.http.response.body"
_EXTENSIONS: dict[str, dict[str, Any]] = {"websocket.http.response": {}}

# What the application may send in each state, and the state after it. A body that is not the last one stays.
TABLE: dict[str, dict[str, str]] = {
    "CONNECTING": {ACCEPT: "OPEN", CLOSE: "CLOSED", DENY: "DENYING"},
    "DENYING": {DENY_BODY: "CLOSED"},
    "OPEN": {SEND: "OPEN", CLOSE: "CLOSED"},
    "CLOSED": {},
}


class WebSocketClosed(Exception):
    """There are no more messages: `code` and `reason` for `websocket.disconnect`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Live(Protocol):
    """An accepted WebSocket."""

    def next_message(self) -> str | bytes | None:
        """A message that is there already, or None."""

    async def receive(self) -> str | bytes:
        """The next message; raises WebSocketClosed."""

    async def send(self, data: str | bytes) -> None:
        """Send a message; returns when the client can take more. Raises ClientDisconnected."""

    def close(self, code: int, reason: str) -> None:
        """Close; raises ValueError for what a close frame may not hold. Nothing happens on a closed one."""


class WebSocket(Protocol):
    """A handshake that waits for the application's word."""

    subprotocols: list[str]  # that the client offers

    @property
    def exchange(self) -> Exchange:
        """The exchange of the handshake, by which it is denied."""

    def accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> Live:
        """Send the 101; raises ResponseError for what cannot be sent, ClientDisconnected."""


class WebSocketRunner:
    """Calls the application of an `AsgiRunner` for WebSockets."""

    __slots__ = ("_app", "_http")

    def __init__(self, http: AsgiRunner) -> None:
        self._app = http.app
        self._http = http

    def scope(self, socket: WebSocket) -> dict[str, Any]:
        """The connection scope: that of the handshake's request, with the subprotocols and without a method."""
        scope = self._http.scope(socket.exchange)
        del scope["method"]
        scope["type"] = "websocket"
        scope["asgi"] = VERSIONS
        scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
        scope["subprotocols"] = list(socket.subprotocols)
        spoken: dict[str, Any] = {name: {} for name in _EXTENSIONS}
        scope["extensions"] = spoken | {name: value for name, value in scope["extensions"].items() if name == "tls"}
        return scope

    async def run(self, socket: WebSocket, ended: Callable[[], None]) -> None:
        """Call the application and see to it that the connection ends; `ended` is called last, whatever happens."""
        cycle = WebSocketCycle(socket)
        scope = self.scope(socket)
        del socket  # with all that belongs to HTTP, while the connection lives
        try:
            result = await self._app(scope, cycle.receive, cycle.send)
        except ClientDisconnected:
            _log.debug("the application ended because its client left")
            cycle.end(True)
        except BaseException as error:
            # Whatever an application raises is its own affair: logged once, and the client gets a 500 or 1011.
            if cancelled(error) or from_outside(error):
                cycle.end(True)  # the client must be able to tell
                raise
            if from_leaving(error):
                _log.debug("the application ended because its client left")
            else:
                _log.exception("the ASGI application raised an exception")
            cycle.end(True)
        else:
            if result is not None:
                _log.error("the ASGI application returned %s instead of None", type(result).__name__)
            if cycle.state in ("CONNECTING", "DENYING") and not cycle.gone:
                _log.error("the ASGI application returned without an answer to the WebSocket handshake")
            cycle.end(False)
        finally:
            ended()


class WebSocketCycle:
    """`receive` and `send` of one connection."""

    __slots__ = ("_connected", "_head", "_live", "_socket", "state")

    def __init__(self, socket: WebSocket) -> None:
        self._socket: WebSocket | None = socket  # until it is accepted
        self._connected = False
        self._head: ResponseHead | None = None  # of a denial, held until its first body
        self._live: Live | None = None
        self.state = "CONNECTING"

    @property
    def gone(self) -> bool:
        """True when there is nobody left to answer the handshake to."""
        return self._live is None and self._exchange.lost

    @property
    def _exchange(self) -> Exchange:
        assert self._socket is not None
        return self._socket.exchange

    async def receive(self) -> Message:
        """`websocket.connect`, then messages, then `websocket.disconnect`."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        live = self._live
        if live is None:
            await self._exchange.wait_disconnect()
            live = self._live  # another task may have accepted meanwhile
            if live is None:
                return {"type": "websocket.disconnect", "code": 1006, "reason": ""}
        data = live.next_message()
        if data is None:
            try:
                data = await live.receive()
            except WebSocketClosed as closed:
                return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}
        if data.__class__ is str:
            return {"type": "websocket.receive", "text": data}
        return {"type": "websocket.receive", "bytes": data}

    async def send(self, message: Message) -> None:
        """Take a message of the application.

        :raises ClientDisconnected: (an OSError) the client has left.
        :raises RuntimeError: a message in the wrong order; TypeError, ValueError: one that cannot be sent.
        """
        kind = message["type"]
        then = TABLE[self.state].get(kind)
        if then is None:
            raise RuntimeError(_unexpected(self.state, kind))
        if kind == SEND:
            assert self._live is not None
            await self._live.send(_payload(message))
        elif kind == CLOSE:
            self._close(message)
            self.state = then
        elif self._live is None and self._exchange.lost:
            raise ClientDisconnected("the client left")
        elif kind == ACCEPT:
            assert self._socket is not None
            self._live = self._socket.accept(_subprotocol(message), message.get("headers") or ())
            self._socket = None
            self.state = then
        elif kind == DENY:
            self._head = ResponseHead(message["status"], b"", [*message.get("headers", ()), (b"connection", b"close")])
            self.state = then
        else:
            await self._deny(message)

    def _close(self, message: Message) -> None:
        code = message.get("code", 1000)
        reason = message.get("reason") or ""
        if not isinstance(code, int):
            raise TypeError(f"the code of {CLOSE!r} must be an int, not {type(code).__name__}")
        if not isinstance(reason, str):
            raise TypeError(f"the reason of {CLOSE!r} must be a str, not {type(reason).__name__}")
        if self._live is None:
            answer(self._exchange, 403, [(b"connection", b"close")])
        else:
            self._live.close(code, reason)

    async def _deny(self, message: Message) -> None:
        exchange = self._exchange
        body = message.get("body", b"")
        if not isinstance(body, bytes | bytearray | memoryview):
            raise TypeError(f"the body of {DENY_BODY!r} must be bytes, not {type(body).__name__}")
        more = bool(message.get("more_body", False))
        if self._head is not None:
            head, self._head = self._head, None
            exchange.respond(head, bytes(body), not more)
        elif more:
            exchange.write(bytes(body))
        else:
            exchange.finish(bytes(body))
        if not more:
            self.state = "CLOSED"
        elif not exchange.writable:
            await exchange.drain()

    def end(self, failed: bool) -> None:
        """End what the application did not: 500 before its answer, a close frame after it."""
        state, self.state = self.state, "CLOSED"
        if self._live is not None:
            if state == "OPEN":
                self._live.close(1011 if failed else 1000, "")
        elif state != "CLOSED" and not self._exchange.lost:
            answer(self._exchange, 500, [(b"connection", b"close")])


def _unexpected(state: str, kind: object) -> str:
    expected = " or ".join(map(repr, TABLE[state]))
    if not expected:
        return f"expected nothing more: the WebSocket is closed or denied; got {kind!r}"
    return f"expected {expected}, got {kind!r}"


def _payload(message: Message) -> str | bytes:
    """Exactly one of text and bytes; the other is missing or None."""
    text = message.get("text")
    data = message.get("bytes")
    if text.__class__ is str and data is None:
        return text
    if text is None and data.__class__ is bytes:
        return data
    if (text is None) == (data is None):
        raise ValueError(f"{SEND!r} must have either text or bytes")
    if isinstance(text, str):
        return str(text)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if text is not None:
        raise TypeError(f"the text of {SEND!r} must be a str, not {type(text).__name__}")
    raise TypeError(f"the bytes of {SEND!r} must be bytes, not {type(data).__name__}")


def _subprotocol(message: Message) -> str | None:
    name = message.get("subprotocol")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"the subprotocol of {ACCEPT!r} must be a str, not {type(name).__name__}")
    return name or None
