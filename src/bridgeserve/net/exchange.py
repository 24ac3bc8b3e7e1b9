"""One request and its response on a connection: the real `dispatch.base.Exchange`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from bridgeserve.dispatch.base import ClientDisconnected, Endpoint
from bridgeserve.dispatch.base import Exchange as DispatchExchange
from bridgeserve.net import sendfile
from bridgeserve.observe.records import RequestRecord
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import BODYLESS, ResponseHead

if TYPE_CHECKING:
    from bridgeserve.net.connection import Connection


class Exchange:
    """See `dispatch.base.Exchange` for the contract. Everything here runs on the loop."""

    __slots__ = (
        "_chunks",
        "_ended",
        "_waiters",
        "arrived",
        "began",
        "connection",
        "disconnected",
        "endpoint",
        "head",
        "lost",
        "on_disconnect",
        "on_writable",
        "received",
        "request",
        "responded",
        "sent",
        "spool",
        "started",
        "status",
        "unread",
        "writable",
    )

    # Set when there is something to say; see `tell`.
    arrived: float
    began: float
    received: int

    def __init__(self, connection: Connection, request: Request, endpoint: Endpoint, now: float) -> None:
        self.connection = connection
        self.request = request
        self.endpoint = endpoint
        self.started = now
        self.status = 0
        self.sent = 0
        self.head: ResponseHead | None = None
        self.disconnected = False
        self.lost = False
        self.responded = False
        self.writable = True
        self.on_disconnect: Callable[[DispatchExchange], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.spool: BinaryIO | None = None
        self._chunks: deque[bytes] | None = None  # made when a body arrives in pieces
        self.unread = 0  # octets of the body that nobody has read yet
        self._ended = request.complete
        self._waiters: list[asyncio.Future[None]] | None = None

    # --- the response --------------------------------------------------------------------------

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """Send the head with the first octets of the body; `end`: the whole of it."""
        if self.lost:
            return
        connection = self.connection
        now = connection.engine.now()
        self.responded = True
        self.head = head
        self.status = head.status
        self.sent = len(body)
        connection.send(connection.session.respond(head, body, end))
        if end:
            self._end(now)

    def write(self, data: bytes) -> None:
        """Send more of the body."""
        if self.lost or not data:
            return
        self.sent += len(data)
        buffers = self.connection.session.write(data)
        if buffers:
            self._write_more(buffers)

    def finish(self, data: bytes = b"", trailers: bytes = b"") -> None:
        """Send the last octets."""
        if self.lost:
            return
        self.sent += len(data)
        buffers = self.connection.session.finish(data, trailers)
        if buffers:
            self._write_more(buffers)
        self._end(self.connection.engine.now())

    def _write_more(self, buffers: list[bytes]) -> None:
        if not self.writable:
            self.connection.wrote_ahead(sum(map(len, buffers)))
        self.connection.send(buffers)

    @property
    def body_octets(self) -> int:
        """Octets of the body that went out: none for HEAD, 204 and 304, never more than Content-Length."""
        head = self.head
        if head is None or self.request.method == b"HEAD" or head.status in BODYLESS:
            return 0
        return self.sent if head.content_length is None else min(self.sent, head.content_length)

    @staticmethod
    def identity(request: Request) -> str:
        """The id of a request, "" where requests have none."""
        return ""

    def tell(self, record: RequestRecord) -> None:
        """Fill in where its time went, and what has arrived of the request's body."""
        started = self.started
        arrived = getattr(self, "arrived", started)
        # Without a wait the application is called at once. A coarse clock may say that it was before.
        end = started + record.duration
        began = min(max(getattr(self, "began", arrived), arrived), end)
        record.queue = began - arrived
        record.app = end - began
        record.body_in += getattr(self, "received", 0)

    def _end(self, now: float) -> None:
        self.lost = True  # whoever still holds the exchange can no longer reach the connection
        self.on_disconnect = None
        writable = self.on_writable
        self.on_writable = None
        self.connection.ended(self, now)
        if writable is not None:
            writable()
        if self._waiters:
            self._wake()

    def inform(self, payload: bytes) -> None:
        """Send an interim response; HTTP/1.0 knows none (RFC 9110 section 15.2)."""
        if not self.lost and not self.responded and self.request.version != "1.0":
            self.connection.transport.write(payload)

    def abort(self, reset: bool = False) -> None:
        """Cut the connection so that the client can tell that the response is not whole."""
        if not self.lost and self.connection.owns(self):
            self.lost = self.disconnected = True
            self.connection.cut(reset or (self.responded and self.request.version == "1.0"))
            self._wake()  # a client that does not read would keep the connection, and who waits for it, a while longer

    async def drain(self) -> None:
        """Return when the client can take more; raises ClientDisconnected."""
        while True:
            if self.lost:
                raise ClientDisconnected("the client left")
            if self.writable:
                return
            await self._wait()

    async def send_file(self, file: int, offset: int, count: int) -> bool:
        """See `net.sendfile`."""
        return await sendfile.send_file(self, file, offset, count)

    # --- the request body ----------------------------------------------------------------------

    async def read(self) -> bytes:
        """The next octets of the request body, b"" at its end; raises ClientDisconnected."""
        while not self._chunks:
            if self._ended:
                return b""
            if self.lost:
                raise ClientDisconnected("the client left before its body was complete")
            self.connection.want_body()
            await self._wait()
        data = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        self._chunks.clear()
        self.unread = 0
        if not self.lost:
            self.connection.resume_reading()
        return data

    def feed(self, data: bytes) -> int:
        """Octets have arrived; the number that nobody has read yet."""
        if self._chunks is None:
            self._chunks = deque()
            self.received = 0
        self._chunks.append(data)
        self.unread += len(data)
        self.received += len(data)
        self._wake()
        return self.unread

    def feed_end(self) -> None:
        """The body is complete."""
        self._ended = True
        self._wake()

    # --- the client ----------------------------------------------------------------------------

    async def wait_disconnect(self) -> None:
        """Return when the client has left or the response is complete."""
        while not self.disconnected and self.connection.owns(self):
            await self._wait()

    def leave(self, lost: bool) -> None:
        """The client sent its last octet, or (`lost`) the connection is gone."""
        self.disconnected = True
        self.lost = self.lost or lost
        if self.on_disconnect is not None:
            self.on_disconnect(self)
        if lost and self.on_writable is not None:
            self.resume()
        self._wake()

    def resume(self) -> None:
        """The client can take more."""
        self.writable = True
        writable = self.on_writable
        self.on_writable = None
        if writable is not None:
            writable()
        self._wake()

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
