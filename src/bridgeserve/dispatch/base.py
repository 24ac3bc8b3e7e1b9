"""The interfaces of this floor: what a dispatcher sees of one request, and what a dispatcher is."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterable
from math import inf
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead


class ClientDisconnected(OSError):
    """The client left, or stalled longer than its deadline: there is nobody to read from or to write to."""


class EngineGone(BaseException):
    """The engine has ended: a child has nobody to work for. It goes through the application, whatever that catches."""


def from_outside(error: BaseException) -> bool:
    """Whether what came out of an application was not raised by it: the end of the engine, or a real Ctrl-C.

    As a command we have a handler for SIGINT that raises nothing. Inside somebody's own loop Python's handler is there,
    or that of `asyncio.Runner`, and both raise KeyboardInterrupt wherever the main thread is.
    """
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGINT)
        return handler is signal.default_int_handler or isinstance(handler, functools.partial)
    return isinstance(error, EngineGone)


class Endpoint:
    """Facts about a connection that every request on it shares, or what a trusted proxy says of one request.

    `client` and `server` are (host, port), with a port of 0 where a proxy did not tell it; on a unix socket client is
    None and server (path, None). `root`, where it is not None, takes the place of the root path, and `host` that of the
    Host field. `trusted`: the peer may speak for others. Under TLS, `tls` is the ASGI extension of this name and `ssl`
    are the SSL_* variables. `cgi` and `facts` are room for what is made of all this for the first WSGI request.
    """

    __slots__ = ("cgi", "client", "facts", "host", "root", "scheme", "server", "ssl", "tls", "trusted")

    def __init__(self, scheme: str, client: tuple[str, int] | None, server: tuple[str, int | None] | None) -> None:
        self.scheme = scheme
        self.client = client
        self.server = server
        self.trusted = False
        self.root: str | None = None
        self.host: bytes | None = None
        self.tls: dict[str, Any] | None = None
        self.ssl: dict[str, str] | None = None
        self.cgi: dict[str, str] | None = None
        self.facts = b""


class Exchange(Protocol):
    """One request and its response, seen from the loop. Nothing here blocks; nothing here knows a mode.

    After the client left, writes are silently dropped (a dispatcher learns of it by `disconnected`,
    `on_disconnect`, or the exception of an await).
    """

    request: Request
    endpoint: Endpoint
    disconnected: bool  # the client sent its last octet or is gone
    lost: bool  # nothing can be written: the connection is gone, or the response is complete
    responded: bool  # the head is out
    spool: BinaryIO | None  # the body, where a dispatcher collected it; closed by who runs or refuses the request
    writable: bool  # False above the high-water mark of the transport
    on_disconnect: Callable[[Exchange], None] | None  # on the loop, at the last octet and at the loss
    on_writable: Callable[[], None] | None  # called once when `writable` comes back
    # In time.monotonic() seconds, for the record only, and not there before they are set: when a collected body was
    # complete, and when the application was called after a wait (inf: never).
    arrived: float
    began: float

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """Send the head with the first octets of the body; `end`: the whole of it."""

    def write(self, data: bytes) -> None:
        """Send more of the body."""

    def finish(self, data: bytes = b"", trailers: bytes = b"") -> None:
        """Send the last octets; `trailers` are field lines, dropped where no chunks are sent."""

    def inform(self, payload: bytes) -> None:
        """Send an interim response (`wire.framing.informational`); dropped for HTTP/1.0."""

    def abort(self) -> None:
        """Cut the connection so that the client can tell; nothing happens after a complete response."""

    async def drain(self) -> None:
        """Return when the client can take more; raises ClientDisconnected."""

    async def send_file(self, file: int, offset: int, count: int) -> bool:
        """Send octets of a descriptor as the body; False: nothing sent, not possible. Raises ClientDisconnected."""

    async def read(self) -> bytes:
        """The next octets of the request body, b"" at its end; raises ClientDisconnected."""

    async def wait_disconnect(self) -> None:
        """Return when the client has left or the response is complete."""


class Dispatcher(Protocol):
    """A mode at work. Entered before the listeners open, left after the last exchange."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def dispatch(self, exchange: Exchange) -> None:
        """Take a request. Returns at once; the response comes through the exchange."""

    async def drain(self, grace: float) -> None:
        """Wait until what runs has ended, work after a response included, at most `grace` seconds."""

    @property
    def ready(self) -> bool:
        """False while fewer requests can run than should: send new ones elsewhere."""

    def statistics(self) -> dict[str, int]:
        """Numbers for `Server.stats()`."""


def refuse(exchange: Exchange, status: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer a request that will not run; what was collected for it goes."""
    exchange.began = inf
    drop_spool(exchange)
    answer(exchange, status, extra)


def drop_spool(exchange: Exchange) -> None:
    """Close the collected body, if there is one."""
    if exchange.spool is not None:
        close_input(exchange.spool)
        exchange.spool = None


def close_input(file: BinaryIO) -> None:
    """Close wsgi.input, whatever the application did to it: it may be detached, or its disk full."""
    with contextlib.suppress(OSError, ValueError):
        file.close()


def answer(exchange: Exchange, status: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer with a plain status page of our own, or cut what was begun already."""
    if exchange.responded:
        exchange.abort()
        return
    head = ResponseHead(status, b"", [(b"content-type", b"text/plain; charset=utf-8"), *extra])
    exchange.respond(head, head.line[13:-2], True)
