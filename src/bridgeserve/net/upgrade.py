"""From HTTP to WebSocket: who asks for it, who may have it, and the change of hands of the transport."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from bridgeserve.dispatch.base import ClientDisconnected, answer
from bridgeserve.dispatch.websocket import WebSocket
from bridgeserve.groups import WebSocketLimits
from bridgeserve.net.exchange import Exchange
from bridgeserve.wire import handshake
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.handshake import Handshake

if TYPE_CHECKING:
    from bridgeserve.net.websocket import WebSocketConnection
    from bridgeserve.wire.deflate import Deflate

_log = logging.getLogger("bridgeserve")
_wire_log = logging.getLogger("bridgeserve.wire")
_CLOSE = (b"connection", b"close")  # what comes behind a handshake is no HTTP


class Upgrades:
    """WebSocket for the connections of an engine.

    :param connect: calls the application for a handshake.
    """

    __slots__ = ("_connect", "_library", "_told", "limits")

    def __init__(self, limits: WebSocketLimits, connect: Callable[[WebSocket], None]) -> None:
        self.limits = limits
        self._connect = connect
        self._library = _load("bridgeserve.net.websocket")
        self._told = False

    def take(self, exchange: Exchange) -> bool:
        """Take the exchange if it asks for WebSocket: answer a bad handshake, call the application for a good one."""
        request = exchange.request
        if not handshake.asks(request):
            return False
        try:
            asked = handshake.read_handshake(request)
            if self._library is None:
                self._missing(exchange)
                return True
            deflate = _negotiate(asked, self.limits)
        except WireError as error:
            _wire_log.debug("WebSocket handshake refused with %d: %s", error.status, error.reason)
            fields = [_CLOSE, (b"sec-websocket-version", handshake.VERSION)]
            if error.status == 426:
                fields.append((b"upgrade", b"websocket"))  # RFC 9110 section 15.5.22
            answer(exchange, error.status, fields)
            return True
        self._connect(Upgrade(exchange, asked, deflate, self.limits))
        return True

    def _missing(self, exchange: Exchange) -> None:
        """501, and one line that says what to install."""
        if not self._told:
            self._told = True
            _log.error(
                "a client asked for a WebSocket and the package websockets is not installed: answered with 501;"
                " install bridgeserve[websockets]"
            )
        answer(exchange, 501, [_CLOSE])


def _load(name: str) -> ModuleType | None:
    """A module of ours that needs `websockets`; None without that package."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "websockets":
            raise
        return None


def _negotiate(asked: Handshake, limits: WebSocketLimits) -> Deflate | None:
    from bridgeserve.wire.deflate import negotiate

    try:
        return negotiate(asked.extensions, limits)
    except ValueError as error:
        raise WireError(400, "bad Sec-WebSocket-Extensions") from error


class Upgrade:
    """See `dispatch.websocket.WebSocket`: a handshake that waits for the application's word."""

    __slots__ = ("_deflate", "_handshake", "_limits", "exchange", "subprotocols")

    def __init__(self, exchange: Exchange, asked: Handshake, deflate: Deflate | None, limits: WebSocketLimits) -> None:
        self.exchange = exchange
        self.subprotocols = asked.subprotocols
        self._handshake = asked
        self._deflate = deflate
        self._limits = limits

    def accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> WebSocketConnection:
        """Send the 101 and take the transport; see `dispatch.websocket.WebSocket.accept`."""
        from bridgeserve.net.websocket import WebSocketConnection
        from bridgeserve.wire.websocket import WebSocketSession

        exchange = self.exchange
        if exchange.lost or exchange.disconnected:
            raise ClientDisconnected("the client left")
        http = exchange.connection
        engine = http.engine
        now = engine.now()
        extension = "" if self._deflate is None else self._deflate.response
        head = handshake.switching(self._handshake, subprotocol, headers, extension, engine.protocols.preamble)
        descriptor, rest = http.switch()
        exchange.leave(lost=True)  # a task that already waits for the first message learns that there is a WebSocket
        session = WebSocketSession(self._limits, self._deflate, now)
        begun = (exchange.request, exchange.endpoint, exchange.started)
        socket = WebSocketConnection(engine, begun, http.transport, descriptor, session)
        http.transport.set_protocol(socket)
        http.transport.write(head)
        engine.switched(http, socket)
        socket.begin(rest)
        return socket
