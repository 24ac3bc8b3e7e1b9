"""An exchange without a connection: it records what a dispatcher does, and its client does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import BinaryIO

from bridgeserve.dispatch.base import ClientDisconnected, Endpoint, Exchange
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead

ENDPOINT = Endpoint("http", ("192.0.2.1", 1234), ("192.0.2.2", 80))


def make_request(
    target: bytes = b"/",
    method: bytes = b"GET",
    body: bytes | None = None,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    version: str = "1.1",
) -> Request:
    """A request as the wire makes it."""
    request = Request(method, target, version, [(b"host", b"test"), *headers])
    request.path, _, request.query = target.partition(b"?")
    if body is not None:
        request.body = body
        request.content_length = len(body)
        request.headers.append((b"content-length", b"%d" % len(body)))
    return request


class FakeExchange:
    """`dispatch.base.Exchange`, kept to its contract; to be used on one loop as the real one is.

    The client's side: `feed`, `feed_end`, `pause`, `resume`, `leave`. What came out: `calls`, `status`, `body`,
    `complete`, `aborted`.
    """

    def __init__(
        self, request: Request | None = None, *, arriving: bool = False, endpoint: Endpoint = ENDPOINT
    ) -> None:
        self.request = request or make_request()
        self.request.complete = not arriving
        self.endpoint = endpoint
        self.disconnected = False
        self.lost = False
        self.responded = False
        self.spool: BinaryIO | None = None
        self.writable = True
        self.on_disconnect: Callable[[Exchange], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.calls: list[str] = []
        self.head: ResponseHead | None = None
        self.body = b""
        self.trailers = b""
        self.complete = False
        self.aborted = False
        self.informed: list[bytes] = []
        self.reads = 0
        self._chunks: list[bytes] = []
        self._ended = not arriving
        self._loop = asyncio._get_running_loop()
        self._changed: list[asyncio.Future[None]] = []

    @property
    def status(self) -> int | None:
        """Of the answer, None before it."""
        return self.head.status if self.head is not None else None

    # --- for the dispatcher --------------------------------------------------------------------

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        if self.lost:
            return
        assert not self.responded, "a second head"
        self.calls.append("respond")
        self.responded = True
        self.head = head
        self._take(body, end)

    def write(self, data: bytes) -> None:
        if not self.lost:
            assert self.responded, "octets before the head"
            self.calls.append("write")
            self._take(data, False)

    def finish(self, data: bytes = b"", trailers: bytes = b"") -> None:
        if not self.lost:
            assert self.responded, "the end before the head"
            self.calls.append("finish")
            self.trailers = trailers
            self._take(data, True)

    def _take(self, data: bytes, end: bool) -> None:
        assert isinstance(data, bytes)
        self.body += data
        if end:
            self.complete = self.lost = True
            self.on_disconnect = None
            self._writable()
            self._wake()

    def inform(self, payload: bytes) -> None:
        if not self.lost and not self.responded:
            self.informed.append(payload)

    def abort(self) -> None:
        if not self.lost:
            self.aborted = True
            self.lost = self.disconnected = True
            # A WSGI app that runs on the loop does not see it.
            (self._loop or asyncio.get_running_loop()).call_soon(self.leave)

    async def drain(self) -> None:
        while not self.lost:
            if self.writable:
                return
            await self._change()
        raise ClientDisconnected("the client left")

    async def send_file(self, file: int, offset: int, count: int) -> bool:
        return False

    async def read(self) -> bytes:
        self.reads += 1
        while not self._chunks:
            if self._ended:
                return b""
            if self.lost:
                raise ClientDisconnected("the client left")
            await self._change()
        data = b"".join(self._chunks)
        self._chunks.clear()
        return data

    async def wait_disconnect(self) -> None:
        while not self.disconnected and not self.complete:
            await self._change()

    # --- for the test --------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """The client sends some of its body."""
        self._chunks.append(data)
        self._wake()

    def feed_end(self) -> None:
        """The client has sent its whole body."""
        self._ended = True
        self._wake()

    def pause(self) -> None:
        """The client does not keep up."""
        self.writable = False

    def resume(self) -> None:
        """The client has caught up."""
        self.writable = True
        self._writable()
        self._wake()

    def leave(self, lost: bool = True) -> None:
        """The client is gone, or has only sent its last octet."""
        self.disconnected = True
        self.lost = self.lost or lost
        if self.on_disconnect is not None:
            self.on_disconnect(self)
        if lost:
            self._writable()
        self._wake()

    def _writable(self) -> None:
        writable, self.on_writable = self.on_writable, None
        if writable is not None:
            writable()

    async def _change(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        await future

    def _wake(self) -> None:
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)
