"""PEP 3333, once: calls an application and brings its response to a port.

The same code serves every mode. `WsgiCall.step` comes back after each chunk that is not the last, so
that a caller on the loop can wait for the client; `WsgiRunner.run` is for a caller that may block.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from math import inf
from types import TracebackType
from typing import Any, cast

from bridgeserve.dispatch.base import ClientDisconnected, from_outside
from bridgeserve.dispatch.environ import Environs
from bridgeserve.dispatch.files import FileWrapper
from bridgeserve.dispatch.port import Port
from bridgeserve.wire.framing import BODYLESS, ResponseHead

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_log = logging.getLogger("bridgeserve.error")
NO_CONTENT = BODYLESS | {205}  # RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5
JOIN_MAX = 65536  # octets of a list that are sent in one piece
ERROR_HEADERS = [(b"content-type", b"text/plain; charset=utf-8")]
HOP_BY_HOP = frozenset(  # PEP 3333 "Other HTTP Features": an application may not use them
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Heads that say nothing private, by what the application gave: most applications say the same again and again.
# Bounded by `ResponseHead.keep`. A head costs 2.1 microseconds to make and 0.3 to find.
_HEADS: dict[tuple[Any, ...], ResponseHead] = {}
# Response field names seen in order, with their octets. Bounded: an application may invent names.
_NAMES: dict[str, bytes] = {}
_NAMES_MAX = 1024


class ApplicationError(Exception):
    """The application broke PEP 3333; the message says how."""


class WsgiRunner:
    """Runs one application for many requests.

    :param root_path: SCRIPT_NAME.
    :param multithread: the truth about `wsgi.multithread`; `multiprocess` likewise.
    """

    __slots__ = ("_app", "_environs")

    def __init__(self, app: Any, *, root_path: str = "", multithread: bool, multiprocess: bool) -> None:
        self._app: WsgiApp = app
        self._environs = Environs(root_path, multithread, multiprocess)

    def run(self, port: Port) -> None:
        """Serve one request to its end. Errors of the application are logged and answered, not raised."""
        call = WsgiCall(self._app, port, self._environs)
        call.context.run(call.run)

    def begin(self, port: Port) -> WsgiCall:
        """A call of the application that is made step by step: see `WsgiCall.step`."""
        return WsgiCall(self._app, port, self._environs)


class WsgiCall:
    """One call of an application: start_response, write, the iterable.

    Everything of the application runs in one context of its own, which is `context`.
    """

    __slots__ = ("_app", "_close", "_environs", "_head", "_iterator", "_left", "_port", "_sent", "_single", "context")

    def __init__(self, app: WsgiApp, port: Port, environs: Environs) -> None:
        self._app = app
        self._port = port
        self._environs = environs
        self._head: ResponseHead | None = None
        self._sent = False  # the head is out
        self._iterator: Iterator[bytes] | None = None
        self._left: float = inf  # octets that the client can still get of a response in pieces
        self._single = False  # the iterable says that it has one chunk
        self._close: Callable[[], object] | None = None  # the iterable's; owed once
        self.context = contextvars.copy_context()

    def run(self) -> None:
        """(in the context) Serve the request to its end."""
        while self._advance():
            pass

    def step(self) -> bool:
        """Call the application, or send its next chunk; False when the request has ended.

        Errors of the application are logged and answered, not raised.
        """
        return self.context.run(self._advance)

    def end(self) -> None:
        """Give up what is left of the response: the application's iterable is closed. Its errors are logged."""
        self.context.run(self._abandon)

    def _abandon(self) -> None:
        try:
            self._finish()
        except BaseException as error:  # as in `_advance`
            if from_outside(error):
                raise
            self._fail()

    def _advance(self) -> bool:
        more = False
        try:
            try:
                more = self._next_chunk() if self._iterator is not None else self._begin()
            finally:
                if not more:
                    self._finish()
        except ClientDisconnected:
            _log.debug("the client left before its response was complete")
            self._port.abort()
        except BaseException as error:
            # Whatever an application raises is its own affair, SystemExit and KeyboardInterrupt too: logged once,
            # answered with 500 or a cut. It does not end the server.
            if from_outside(error):
                raise
            self._fail()
            return False
        return more

    def _finish(self) -> None:
        """The only place that closes the iterable: so it happens once, whatever ended the response."""
        close, self._close = self._close, None
        try:
            if close is not None:
                self._port.flush()
                close()
        finally:
            errors = self._environs.errors
            if errors.begun:
                errors.flush()

    def _begin(self) -> bool:
        """Call the application; True when its iterable has chunks to ask for."""
        environ = self._environs.make(self._port)
        environ["wsgi.early_hints"] = self.early_hints
        result = self._app(environ, self.start_response)
        kind = result.__class__
        if (kind is list or kind is tuple) and self._whole(result):
            return False
        self._close = getattr(result, "close", None)
        if isinstance(result, FileWrapper) and self._send_file(result):
            return False
        # PEP 3333 "Handling the Content-Length Header": a length of 1 may be relied on.
        self._single = hasattr(kind, "__len__") and len(cast(Sized, result)) == 1
        self._iterator = iter(result)
        return self._next_chunk()

    def _whole(self, chunks: Any) -> bool:
        """A list or tuple: in one piece where that copies little; False: it has to be iterated."""
        if len(chunks) == 1:
            body = chunks[0]
        elif all(isinstance(chunk, bytes) for chunk in chunks) and sum(map(len, chunks)) <= JOIN_MAX:
            body = b"".join(chunks)
        else:
            return False
        if not isinstance(body, bytes):
            raise ApplicationError(f"the iterable must give bytes, not {type(body).__name__}")
        self._end(body)
        return True

    def _next_chunk(self) -> bool:
        """Send the next chunk; False when the response is complete."""
        assert self._iterator is not None
        for chunk in self._iterator:
            if not isinstance(chunk, bytes):
                raise ApplicationError(f"the iterable must give bytes, not {type(chunk).__name__}")
            if self._single:
                self._end(chunk)
                return False
            if chunk:
                self._send(chunk)
                if self._left < 0:
                    break  # PEP 3333 "Handling the Content-Length Header": enough was sent; it may never end by itself
                return True
        self._end(b"")
        return False

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333 "The start_response() Callable"."""
        if exc_info is not None:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through the traceback
        elif self._head is not None:
            raise ApplicationError("start_response was called a second time without exc_info")
        self._head = _head(status, headers)
        return self.write

    def early_hints(self, headers: list[tuple[str, str]]) -> None:
        """environ["wsgi.early_hints"]: send 103 with these headers (RFC 8297)."""
        self._port.inform(103, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])

    def write(self, data: bytes) -> None:
        """PEP 3333 "The write() Callable"."""
        if not isinstance(data, bytes):
            raise ApplicationError(f"write() takes bytes, not {type(data).__name__}")
        if data:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self._sent:
            self._port.write(data)
        else:
            self._respond(data, False)
            self._left = self._room()
        self._left -= len(data)

    def _room(self) -> float:
        """Octets that the client can get of a response in pieces: what is more need not be asked for."""
        assert self._head is not None
        if self._port.request.method == b"HEAD" or self._head.status in NO_CONTENT:
            return 0
        return inf if self._head.content_length is None else self._head.content_length

    def _end(self, data: bytes) -> None:
        if self._sent:
            self._port.finish(data)
        else:
            self._respond(data, True)

    def _respond(self, body: bytes, end: bool) -> None:
        if self._head is None:
            raise ApplicationError("the application did not call start_response")
        self._port.respond(self._head, body, end)
        self._sent = True

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Hand a regular file to the port; False when it has to be read instead."""
        extent = wrapper.extent()
        if extent is None or self._head is None or self._sent:
            return False
        descriptor, offset, count = extent
        if self._head.content_length is None:
            self._head = self._head.with_length(count)
        else:
            count = min(count, self._head.content_length)
        if self._port.request.method == b"HEAD":
            self._respond(b"", True)  # the file need not be read to be left out
            return True
        self._respond(b"", False)
        if not self._port.send_file(descriptor, offset, count):
            return False
        self._port.finish()
        return True

    def _fail(self) -> None:
        """The exception being handled is the application's: log it, answer 500 or cut."""
        request = self._port.request
        path = request.path.decode("latin-1")
        _log.error("the WSGI application failed: %s %s", request.method.decode("ascii"), path, exc_info=sys.exc_info())
        try:
            if self._sent:
                self._port.abort()
            else:
                self._port.respond(ResponseHead(500, b"", ERROR_HEADERS), b"Internal Server Error", True)
        except ClientDisconnected:
            _log.debug("the client left before it could be told")


def _head(status: str, headers: list[tuple[str, str]]) -> ResponseHead:
    """The checked head of what was given to start_response; raises ApplicationError, ResponseError."""
    key: tuple[Any, ...] = ()
    if headers.__class__ is list:
        try:
            key = (status, *headers)
            known = _HEADS.get(key)
        except TypeError:  # a pair that is a list: seldom, and made anew each time
            key, known = (), None
        if known is not None:
            return known
    head = ResponseHead(*_status(status), _headers(headers))
    if key:
        head.keep(_HEADS, key)
    return head


def _status(status: Any) -> tuple[int, bytes]:
    """'200 OK' as number and reason; PEP 3333: a str of a code, a space and a reason."""
    if status.__class__ is not str:
        raise ApplicationError(f"the status must be a str, not {type(status).__name__}")
    code, _, reason = status.partition(" ")
    if len(code) != 3 or not code.isascii() or not code.isdigit():
        raise ApplicationError(f"the status must be like '200 OK', not {status!r}")
    return int(code), reason.encode("latin-1")


def _headers(headers: Any) -> list[tuple[bytes, bytes]]:
    """Response headers as bytes; PEP 3333: a list of (str, str), no hop-by-hop fields."""
    if not isinstance(headers, list):
        raise ApplicationError(f"the headers must be a list, not {type(headers).__name__}")
    made: list[tuple[bytes, bytes]] = []
    for item in headers:
        try:
            name, value = item
            octets = _NAMES.get(name)
            if octets is None:
                octets = _name(name)
            made.append((octets, value.encode("latin-1")))
        except (AttributeError, TypeError, ValueError) as error:
            raise ApplicationError(f"a header must be a pair of latin-1 str, not {item!r}") from error
    return made


def _name(name: str) -> bytes:
    if name.lower() in HOP_BY_HOP:
        raise ApplicationError(f"{name!r} is a hop-by-hop header, which only the server may send")
    octets = name.encode("latin-1")
    if len(_NAMES) < _NAMES_MAX:
        _NAMES[name] = octets
    return octets
