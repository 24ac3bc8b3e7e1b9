"""ASGI 3 over HTTP: one application call for one exchange.

Order of events (ASGI specification, HTTP connection scope): `http.response.start` once, then
`http.response.body` until one without `more_body`; with the extensions it is the table of `dispatch.extensions`.
Anything else raises into the application; what it says after a complete response is ignored.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from bridgeserve.dispatch import extensions
from bridgeserve.dispatch.base import ClientDisconnected, Exchange, answer, from_outside
from bridgeserve.dispatch.tasks import cancelled
from bridgeserve.wire.framing import ResponseHead
from bridgeserve.wire.gate import KNOWN_METHODS

Message = MutableMapping[str, Any]
AsgiApp = Callable[[dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

_log = logging.getLogger("bridgeserve.error")
STREAK_MAX = 65536  # octets of a stream in one turn of the loop
MESSAGE_COST = 1024  # octets that a message counts for, however small its body is
METHODS = {method: method.decode() for method in KNOWN_METHODS}
VERSIONS = {"version": "3.0", "spec_version": "2.5"}


class AsgiRunner:
    """Calls `app` for exchanges.

    :param state: what the lifespan put there; each request gets its own shallow copy. None: no lifespan.
    """

    __slots__ = ("_root_path", "app", "state")

    def __init__(self, app: AsgiApp, root_path: str = "", state: dict[str, Any] | None = None) -> None:
        self.app = app
        self._root_path = root_path.rstrip("/")
        self.state = state

    def scope(self, exchange: Exchange) -> dict[str, Any]:
        """The connection scope; `path` holds the root path, whether or not a proxy has stripped it."""
        request = exchange.request
        endpoint = exchange.endpoint
        raw = request.path
        path = raw.decode("ascii") if b"%" not in raw else unquote(raw.decode("ascii"))
        root = self._root_path if endpoint.root is None else endpoint.root
        if root and path != root and not path.startswith(root + "/"):
            path = root + path
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": VERSIONS,
            "http_version": request.version,
            "method": METHODS.get(request.method) or request.method.decode("ascii").upper(),
            "scheme": endpoint.scheme,
            "path": path,
            "raw_path": raw,
            "query_string": request.query,
            "root_path": root,
            "headers": request.headers,
            "client": endpoint.client,
            "server": endpoint.server,
            "extensions": extensions.SCOPE.copy(),
        }
        if endpoint.tls is not None:
            scope["extensions"]["tls"] = endpoint.tls.copy()
        if self.state is not None:
            scope["state"] = self.state.copy()
        return scope

    async def run(self, exchange: Exchange, ended: Callable[[], None], cycle: AsgiCycle | None = None) -> None:
        """Call the application and see to it that the exchange ends; `ended` is called last, whatever happens.

        `cycle` is that of the exchange, from a caller that wants to know whether the response is complete.
        """
        if cycle is None:
            cycle = AsgiCycle(exchange)
        try:
            result = await self.app(self.scope(exchange), cycle.receive, cycle.send)
        except ClientDisconnected:
            _log.debug("the application ended because its client left")
            exchange.abort()
        except BaseException as error:
            # Whatever an application raises is its own affair, SystemExit and KeyboardInterrupt too: logged once, and
            # the client gets a 500 or a cut. It does not end the server.
            if cancelled(error) or from_outside(error):
                cycle.fail()  # the client must be able to tell
                raise
            if exchange.lost and from_leaving(error):
                _log.debug("the application ended because its client left")
            else:
                _log.exception("the ASGI application raised an exception")
            cycle.fail()
        else:
            if result is not None:
                _log.error("the ASGI application returned %s instead of None", type(result).__name__)
            if not cycle.complete and not exchange.lost:
                _log.error("the ASGI application returned without completing its response")
                cycle.fail()
        finally:
            ended()


class AsgiCycle:
    """`receive` and `send` of one exchange."""

    __slots__ = ("_body_read", "_head", "_started", "_streak", "complete", "exchange", "trailing")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._body_read = False
        self._head: ResponseHead | None = None  # held until the first body message
        self._started = False
        self._streak = 0
        self.trailing: extensions.Trailing | None = None  # the trailers that were promised
        self.complete = False

    async def receive(self) -> Message:
        """The next piece of the request body; `http.disconnect` after the response or when the client left."""
        exchange = self.exchange
        if not self._body_read:
            if exchange.request.complete:
                self._body_read = True
                return {"type": "http.request", "body": exchange.request.body, "more_body": False}
            try:
                data = await exchange.read()
            except ClientDisconnected:
                self._body_read = True
                return {"type": "http.disconnect"}
            self._body_read = not data
            return {"type": "http.request", "body": data, "more_body": bool(data)}
        if not self.complete:
            await exchange.wait_disconnect()
        await asyncio.sleep(0)  # an application that asks again and again must not keep the loop from turning
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the application; after a complete response there is nothing to do (ASGI, "more_body").

        :raises ClientDisconnected: (an OSError) the client has left.
        :raises RuntimeError: a message in the wrong order; TypeError, ValueError: one that cannot be sent.
        """
        kind = message["type"]
        exchange = self.exchange
        if kind == "http.response.body":
            if not self._started:
                raise RuntimeError(extensions.unexpected(self.state, kind))
            if self.complete:
                return
            body = message.get("body", b"")
            if body.__class__ is not bytes:
                body = _octets(body)
            more = message.get("more_body", False)
            if self.trailing is not None:
                more = self.trailing.body(more)
            if exchange.lost:
                self.complete = not more
                raise ClientDisconnected("the client left")
            if self._head is not None:
                head, self._head = self._head, None
                self.complete = not more
                exchange.respond(head, body, not more)
            elif more:
                exchange.write(body)
            else:
                self.complete = True
                exchange.finish(body)
            if more:
                if not exchange.writable:
                    await exchange.drain()
                self._streak += len(body) + MESSAGE_COST
                if self._streak > STREAK_MAX:
                    # Nothing else may ever wait: the loop would not turn, nor learn that this client has left.
                    self._streak = 0
                    await asyncio.sleep(0)
        elif kind == "http.response.start":
            if self.complete:
                return
            if self._started:
                raise RuntimeError(extensions.unexpected(self.state, kind))
            self._head = ResponseHead.of(message["status"], message.get("headers", ()))
            self._started = True
            if message.get("trailers", False):
                self.trailing = extensions.Trailing()
        else:
            await extensions.send(self, message, kind)

    @property
    def state(self) -> str:
        """The state of the response, as a row of `extensions.TABLE`; for what is not common, and for errors."""
        if not self._started:
            return "not started"
        if self._head is not None:
            return "started"
        return "before its trailers" if self.trailing is not None and self.trailing.body_ended else "in its body"

    def take_head(self) -> ResponseHead | None:
        """The head, if it is not sent yet: who takes it sends it."""
        head, self._head = self._head, None
        return head

    def fail(self) -> None:
        """End an exchange that the application did not: 500 before the head, a cut connection after it."""
        if not self.complete and not self.exchange.lost:
            self.complete = True
            answer(self.exchange, 500)


def from_leaving(error: BaseException | None) -> bool:
    """True when our ClientDisconnected was made into another exception, as frameworks and task groups do."""
    seen: set[int] = set()  # `raise first from second` may close a circle, where second came from first
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ClientDisconnected):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(map(from_leaving, error.exceptions))
        error = error.__cause__ or error.__context__
    return False


def _octets(body: Any) -> bytes:
    if isinstance(body, (bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"the body of 'http.response.body' must be bytes, not {type(body).__name__}")
