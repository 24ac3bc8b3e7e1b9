"""What all connections of a worker share, and how they end together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bridgeserve.dispatch import forked
from bridgeserve.dispatch.base import Dispatcher, Endpoint
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.net.exchange import Exchange
from bridgeserve.net.proxies import Proxies
from bridgeserve.observe.records import RequestRecord
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import Preamble
from bridgeserve.wire.http1 import Http1Session

if TYPE_CHECKING:
    from bridgeserve.net.upgrade import Upgrades

Begun = tuple[Request, Endpoint, float]
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST
# A timer that fires so many seconds too late tells of a loop that was held up, by an application or a busy machine;
# what came meanwhile is still to be read then, and gets so many seconds.
HELD_UP, CATCH_UP = 0.05, 0.01
QUIET = 1.0  # seconds that an idle connection must have been quiet before a drain closes it


class Open(Protocol):
    """An open connection, whatever it speaks."""

    def drain(self, quiet: float) -> None:
        """Close as soon as nothing is lost by it."""

    def abort(self) -> None:
        """Drop the connection and what it has not sent."""

    def forked(self) -> None:
        """See `dispatch.forked`: close the copy of the socket; what is said here is not for the client."""


class Protocols:
    """Makes the session of a new connection; all that the wire needs to know."""

    __slots__ = ("_limits", "_reader", "preamble", "timeouts")

    def __init__(self, limits: Limits, timeouts: Timeouts, reader: str, preamble: Preamble) -> None:
        self._limits = limits
        self._reader = reader
        self.timeouts = timeouts
        self.preamble = preamble

    def session(self, now: float) -> Http1Session:
        """A session for a connection that was accepted at `now`."""
        return Http1Session(self._limits, self.timeouts, self._reader, self.preamble, now)


class Engine:
    """The connections of one loop. Everything here runs on that loop.

    :param sinks: called with the record of each request that has ended.
    :param exchange: what a request becomes; another one with request ids (`net.identify`).
    :param proxies: who may speak for others; nobody when it is left out.
    """

    __slots__ = (
        "__weakref__",
        "_empty",
        "_on_closed",
        "connections",
        "dispatcher",
        "draining",
        "exchange",
        "gathers",
        "loop",
        "protocols",
        "proxies",
        "requests",
        "sinks",
        "upgrades",
    )

    def __init__(
        self,
        protocols: Protocols,
        dispatcher: Dispatcher,
        sinks: tuple[Callable[[RequestRecord], None], ...],
        proxies: Proxies | None = None,
        exchange: type[Exchange] = Exchange,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        # From CPython 3.12 on, asyncio's writelines forgets the high-water mark: nobody would wait for the client.
        self.gathers = not isinstance(self.loop, asyncio.SelectorEventLoop)
        self.protocols = protocols
        self.dispatcher = dispatcher
        self.sinks = sinks
        self.exchange = exchange
        self.proxies = proxies or Proxies()
        self.connections: set[Open] = set()
        self.requests = 0
        self.draining = False
        self._empty: asyncio.Event | None = None
        self.upgrades: Upgrades | None = None  # None: whatever asks for another protocol is served by HTTP
        self._on_closed: list[Callable[[], None]] = []
        forked.watch(self)

    def now(self) -> float:
        """Monotonic seconds; the Date line is kept fresh on the way."""
        now = self.loop.time()
        preamble = self.protocols.preamble
        if now >= preamble.due:
            preamble.refresh(now, time.time())
        return now

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each connection that closes."""
        self._on_closed.append(callback)

    def opened(self, connection: Open) -> None:
        """A connection begins."""
        self.connections.add(connection)
        if self.draining:
            connection.drain(QUIET)

    def switched(self, before: Open, now: Open) -> None:
        """Another protocol has taken a connection over."""
        self.connections.discard(before)
        self.opened(now)

    def closed(self, connection: Open) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        for callback in self._on_closed:
            callback()
        if self._empty is not None and not self.connections:
            self._empty.set()

    def ended(self, exchange: Exchange, cut: bool) -> None:
        """The response of an exchange is complete, or will never be (`cut`)."""
        if self.sinks:
            begun = (exchange.request, exchange.endpoint, exchange.started)
            headers = exchange.head.headers if exchange.head else []
            record = self._record(begun, exchange.status, headers, exchange.body_octets, cut)
            exchange.tell(record)
            self._hand(record)

    def report(self, begun: Begun, status: int, headers: list[tuple[bytes, bytes]], octets: int, cut: bool) -> None:
        """Hand the record of something that has ended to the sinks.

        :param begun: the request, its endpoint, and the monotonic time of its head.
        """
        self._hand(self._record(begun, status, headers, octets, cut))

    def _record(
        self, begun: Begun, status: int, headers: list[tuple[bytes, bytes]], octets: int, cut: bool
    ) -> RequestRecord:
        request, endpoint, started = begun
        record = RequestRecord(request, endpoint.client, status, headers)
        record.body_bytes = octets
        record.app = record.duration = time.monotonic() - started
        record.wall = time.time() - record.duration
        record.cut = cut
        record.request_id = self.exchange.identity(request)
        return record

    def _hand(self, record: RequestRecord) -> None:
        for sink in self.sinks:
            sink(record)

    def forked(self) -> None:
        """See `dispatch.forked`. The loop's own descriptors are shared with the parent: it must not turn again."""
        for connection in list(self.connections):
            connection.forked()
        self.loop.call_soon(os._exit, 1)

    def in_flight(self) -> list[Exchange]:
        """The exchanges that have no complete answer yet."""
        # Of what is open only HTTP has exchanges; not a public attribute, so that the hot path has one name for it.
        found = (getattr(each, "_exchange", None) for each in self.connections)
        return [each for each in found if each is not None]

    async def drain(self, grace: float) -> int:
        """Let busy connections finish and close the idle ones; what is left after `grace` seconds is cut.

        :returns: how many were cut.
        """
        self.draining = True
        for connection in list(self.connections):
            connection.drain(QUIET)
        if self.connections:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), grace)
        return self.abort()

    def abort(self) -> int:
        """Cut every connection at once; how many there were."""
        left = list(self.connections)
        for connection in left:
            connection.abort()
        return len(left)


def close_copy(transport: asyncio.BaseTransport) -> None:
    """(in a process that the application has forked) Close the descriptor and leave the loop out of it."""
    os.close(transport.get_extra_info("socket").fileno())


def close_with_reset(transport: asyncio.Transport) -> None:
    """Let the close of a TCP connection be seen as a failure."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
