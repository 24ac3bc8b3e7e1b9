"""A whole connection in memory and in virtual time: a client that says what it is told to, a server with an ASGI app.

The server's side is all real: connection, session, exchange, the dispatcher of inline mode. What comes back is read
by a small strict reader of responses of its own.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.inline import InlineAsgi
from bridgeserve.dispatch.websocket import WebSocket
from bridgeserve.groups import Admission, Limits
from net.memory import Wire

LONG = 400.0  # seconds, longer than every timer: then a connection has to be gone
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[["Server", dict[str, Any], Receive, Send], Awaitable[None]]


@dataclass
class Given:
    """A request that reached the app; `body` is None until it is complete."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes | None = None


@dataclass
class Answer:
    """A whole response; `interim` is the number of 1xx before it."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes
    interim: int


class Server:
    """A dispatcher for one connection at a time, and what it was given.

    :param app: an ASGI app with this object in front of its arguments.
    """

    ready = True

    def __init__(self, app: App) -> None:
        self._app = app
        self._inline = InlineAsgi(AsgiRunner(self._call), Admission())
        self.given: list[Given] = []

    async def _call(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await self._app(self, scope, receive, send)

    def dispatch(self, exchange: Exchange) -> None:
        request = exchange.request
        self.given.append(Given(request.method, request.target, list(request.headers)))
        self._inline.dispatch(exchange)

    def connect(self, socket: WebSocket) -> None:
        """Take a handshake."""
        self._inline.connect(socket)

    @property
    def running(self) -> int:
        """Requests that have not ended."""
        return self._inline.statistics()["running"]

    async def __aenter__(self) -> Server:
        await self._inline.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._inline.__aexit__(*error)


async def read_body(receive: Receive) -> bytes | None:
    """The body; None when it is never complete."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            return body
    return None


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    """A whole response."""
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def echo(server: Server, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Reads the whole body and sends it back."""
    given = server.given[-1]
    given.body = await read_body(receive)
    if given.body is not None:
        await answer(send, given.body)


class Faults(logging.Handler):
    """Gathers what the loop and the server complain about inside a `with` block.

    :param expected: exceptions that the app raises by itself.
    """

    def __init__(self, expected: tuple[type[BaseException], ...] = ()) -> None:
        super().__init__(logging.WARNING)
        self._expected = expected
        self._log = logging.getLogger("bridgeserve")
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None and self._expected:
            return  # an app that does what it likes is told so
        if error is None or not isinstance(error, self._expected):
            where = "".join(traceback.format_tb(error.__traceback__)[-6:]) if error else ""
            self.found.append(f"logged: {record.getMessage()} {error!r}\n{where}")

    def __enter__(self) -> Faults:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self.found.append(f"on the loop: {context}"))
        self._log.addHandler(self)
        self._log.propagate = False
        return self

    def __exit__(self, *error: object) -> None:
        self._log.propagate = True
        self._log.removeHandler(self)

    def take(self) -> list[str]:
        """What was found since the last call."""
        found, self.found = self.found, []
        return found


def answers(data: bytes, methods: list[bytes]) -> tuple[list[Answer], bytes]:
    """The whole responses in `data`, and what is left over.

    :param methods: of the requests that reached the app, for a response to HEAD has no body.
    """
    found: list[Answer] = []
    interim = 0
    while data:
        head, mark, rest = data.partition(b"\r\n\r\n")
        if not mark:
            break
        line, *lines = head.split(b"\r\n")
        assert line[:9] == b"HTTP/1.1 " and line[9:12].isdigit() and line[12:13] == b" ", line
        status = int(line[9:12])
        fields = {}
        for each in lines:
            name, colon, value = each.partition(b":")
            assert colon and name.lower() not in fields, each
            fields[name.lower()] = value.strip(b" ")
        if status < 200:
            interim += 1
            data = rest
            continue
        bodyless = status in (204, 304) or (len(found) < len(methods) and methods[len(found)] == b"HEAD")
        body = b"" if bodyless else framed(rest, fields)
        if body is None:
            break
        data = rest if bodyless else rest[framed_size(rest, fields) :]
        found.append(Answer(status, fields, body, interim))
        interim = 0
    return found, data


def framed(rest: bytes, fields: dict[bytes, bytes]) -> bytes | None:
    """The body at the front of `rest`; None when it is not whole."""
    if b"transfer-encoding" in fields:
        assert fields[b"transfer-encoding"] == b"chunked" and b"content-length" not in fields
        body = b""
        while True:
            size, mark, rest = rest.partition(b"\r\n")
            if not mark or len(rest) < int(size, 16) + 2:
                return None
            count = int(size, 16)
            assert rest[count : count + 2] == b"\r\n"
            body += rest[:count]
            rest = rest[count + 2 :]
            if count == 0:
                return body
    if b"content-length" in fields:
        count = int(fields[b"content-length"])
        return rest[:count] if len(rest) >= count else None
    return rest  # up to the end of the connection


def framed_size(rest: bytes, fields: dict[bytes, bytes]) -> int:
    """Octets that the whole body at the front of `rest` takes, framing included."""
    if b"transfer-encoding" in fields:
        pos = 0
        while True:
            end = rest.index(b"\r\n", pos)
            count = int(rest[pos:end], 16)
            pos = end + count + 4
            if count == 0:
                return pos
    return int(fields.get(b"content-length", len(rest)))


def new_wire(server: Server, reader: str, limits: Limits) -> Wire:
    """A new connection to the server, which forgets what it was given."""
    server.given = []
    return Wire(server, limits=limits, reader=reader)
