"""A transport in memory, with a client at its other end that reads as it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from bridgeserve.dispatch.base import Endpoint, Exchange
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.net.connection import Connection
from bridgeserve.net.engine import Engine, Protocols
from bridgeserve.net.proxies import Proxies
from bridgeserve.observe.records import RequestRecord
from bridgeserve.wire.framing import Preamble, ResponseHead

TEXT = (b"content-type", b"text/plain")


class MemoryTransport(asyncio.Transport):
    """Keeps what the client has not read in `unsent`; a client that is not `slow` reads everything at once.

    :param raw: a socket of the right family for the socket options that are set.
    """

    def __init__(self, protocol: asyncio.Protocol, raw: socket.socket) -> None:
        super().__init__({"socket": raw})
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._high, self._low = 65536, 16384
        self._paused_writing = False
        self._closing = False
        self.unsent = bytearray()
        self.received = bytearray()  # what the client has read
        self.inbox: deque[bytes] = deque()  # sent by the client, not read by the server
        self.reading = True
        self.slow = False
        self.ended = False  # the client sees the end of input
        self.aborted = False
        self.lost = False
        self.was_reset = False

    # --- the server's side ---------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def writelines(self, data: Iterable[bytes | bytearray | memoryview]) -> None:
        """As asyncio's from CPython 3.12 on: past the high-water mark without a word."""
        assert not self.ended, "written after the end"
        if not self._closing:
            self.unsent += b"".join(data)
            if not self.slow:
                self.take(len(self.unsent))

    def pause_reading(self) -> None:
        assert self.reading and not self._closing
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self._loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written after the end"
        if self._closing:
            return
        self.unsent += data
        if not self.slow:
            self.take(len(self.unsent))
        elif len(self.unsent) > self._high and not self._paused_writing:
            self._paused_writing = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.reading = False
            if not self.unsent:
                self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._closing = True
        self.reading = False
        self.aborted = True
        self.unsent.clear()
        self._loop.call_soon(self._lose, None)

    # --- the client's side ---------------------------------------------------------------------

    @property
    def protocol(self) -> asyncio.Protocol:
        """Whoever speaks on it now."""
        return self._protocol

    def send(self, data: bytes) -> None:
        """The client sends; the server gets it when it reads."""
        self.inbox.append(data)
        self._deliver()

    def send_eof(self) -> None:
        """The client has sent its last octet, but reads on."""
        self.inbox.append(b"")
        self._deliver()

    def _deliver(self) -> None:
        while self.inbox and self.reading and not self._closing:
            data = self.inbox.popleft()
            if data:
                self._protocol.data_received(data)
            elif not self._protocol.eof_received():
                self.close()

    def take(self, count: int) -> None:
        """The client reads so many octets."""
        self.received += self.unsent[:count]
        del self.unsent[:count]
        if self._paused_writing and len(self.unsent) <= self._low:
            self._paused_writing = False
            self._protocol.resume_writing()
        if self._closing and not self.unsent:
            self._loop.call_soon(self._lose, None)

    def read(self) -> bytes:
        """What the client has read since the last call."""
        data = bytes(self.received)
        self.received.clear()
        return data

    def reset(self) -> None:
        """The client is gone at once."""
        self.was_reset = not self.lost
        self._closing = True
        self.unsent.clear()
        self._lose(ConnectionResetError())

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self._protocol.connection_lost(error)


class Application:
    """A dispatcher that keeps the exchanges for the test, or answers them at once with `answer`."""

    ready = True

    def __init__(self, answer: Callable[[Exchange], None] | None = None) -> None:
        self.exchanges: list[Any] = []
        self._answer = answer

    def dispatch(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        if self._answer is not None:
            self._answer(exchange)

    @property
    def last(self) -> Any:
        return self.exchanges[-1]


def ok(exchange: Exchange, body: bytes = b"hello") -> None:
    """A whole answer."""
    exchange.respond(ResponseHead(200, b"", [TEXT]), body, True)


def begin(exchange: Exchange, body: bytes = b"", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """The head of an answer that goes on."""
    exchange.respond(ResponseHead(200, b"", [TEXT, *headers]), body, False)


class Wire:
    """An engine of one connection and the client at its other end. Closed by `with`.

    :param application: a dispatcher; one that only keeps the exchanges, if none is given.
    """

    def __init__(
        self,
        application: Any = None,
        *,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        family: int = socket.AF_INET,
        proxies: Proxies | None = None,
        reader: str = "auto",
    ) -> None:
        self.app = application or Application()
        self.records: list[RequestRecord] = []
        preamble = Preamble(date=False, server=False)
        protocols = Protocols(limits or Limits(), timeouts or Timeouts(), reader, preamble)
        self.engine = Engine(protocols, self.app, (self.records.append,), proxies)
        self.raw = socket.socket(family)
        self._endpoint = self.engine.proxies.meet(Endpoint("http", ("192.0.2.1", 1234), ("192.0.2.2", 80)))
        self.connection = Connection(self.engine, self._endpoint)
        self.client = MemoryTransport(self.connection, self.raw)
        self.connection.connection_made(self.client)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.reset()
        self.raw.close()
