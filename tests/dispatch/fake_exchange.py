"""An exchange without a connection, for the real ports: what the loop is told, and what a client would have got."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

from bridgeserve.dispatch.base import ClientDisconnected, Endpoint, Exchange
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead


class FakeExchange:
    """An Exchange in memory; see `dispatch.base.Exchange`. The request is complete."""

    def __init__(self, request: Request, endpoint: Endpoint) -> None:
        self.request = request
        self.endpoint = endpoint
        self.disconnected = False
        self.lost = False
        self.responded = False
        self.spool: BinaryIO | None = None
        self.writable = True
        self.on_disconnect: Callable[[Exchange], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.head: ResponseHead | None = None
        self.sent = b""
        self.complete = False
        self.cut = False
        self.informed: list[bytes] = []

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        if not self.lost:
            self.head = head
            self.responded = True
            self._take(body, end)

    def write(self, data: bytes) -> None:
        self._take(data, False)

    def finish(self, data: bytes = b"") -> None:
        self._take(data, True)

    def _take(self, data: bytes, end: bool) -> None:
        if not self.lost:
            self.sent += data
            self.complete = self.lost = end

    def inform(self, payload: bytes) -> None:
        if not self.lost and not self.responded:
            self.informed.append(payload)

    def abort(self) -> None:
        if not self.lost:
            self.cut = self.lost = self.disconnected = True

    def leave(self) -> None:
        """The client goes."""
        self.lost = self.disconnected = True
        if self.on_disconnect is not None:
            self.on_disconnect(self)

    async def drain(self) -> None:
        self._check()

    async def send_file(self, file: int, offset: int, count: int) -> bool:
        self._check()
        self.sent += os.pread(file, count, offset)
        return True

    async def read(self) -> bytes:
        return b""

    async def wait_disconnect(self) -> None:
        raise NotImplementedError("no port waits for it")

    def _check(self) -> None:
        if self.lost:
            raise ClientDisconnected("the client left")
