"""How a response is put on the wire: its head checked once, its length decided once.

`ResponseHead` is compiled from what the application said, by whoever runs the application (a pool
thread, for one); the session adds framing, Date and Server when it is sent. Content-Length is
taken out of the block because the session, which knows the request, decides it
(RFC 9112 section 6).
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.fields import TOKEN

STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
BODYLESS = frozenset({204, 304})  # RFC 9110 sections 15.3.5 and 15.4.5; 1xx never comes here

_DATE, _SERVER, _LENGTH, _CONNECTION, _DROPPED = 1, 2, 3, 4, 5
_SPECIAL = {
    b"date": _DATE,
    b"server": _SERVER,
    b"content-length": _LENGTH,
    b"connection": _CONNECTION,
    b"transfer-encoding": _DROPPED,  # the framing is ours (ASGI specification; PEP 3333 "hop-by-hop")
    b"keep-alive": _DROPPED,
}
_NAMES: dict[bytes, int] = {}
_NAMES_MAX = 2048


def _learn(name: bytes) -> int:
    """Check a field name of the application, remember its kind; bounded, an app may invent names."""
    if not TOKEN.fullmatch(name):  # TypeError for str: the caller says what it should have been
        raise ResponseError(f"bad response field name {name!r}")
    kind = _SPECIAL.get(name.lower(), 0)
    if len(_NAMES) < _NAMES_MAX:
        _NAMES[name] = kind
    return kind


class ResponseHead:
    """A checked response head.

    :param status: 200 to 999.
    :param reason: the reason phrase, b"" for the standard one.
    :param headers: pairs of bytes.
    :raises ResponseError: CR, LF or NUL anywhere, a name that is no token, a bad Content-Length, a bad status.
    """

    __slots__ = ("block", "close", "content_length", "headers", "line", "preamble", "status")

    def __init__(self, status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.line = status_line(status, reason)
        self.content_length: int | None = None
        self.close = False
        self.preamble = 3  # bit 1: our Date, bit 2: our Server
        parts: list[bytes] = []
        known = _NAMES.get
        try:
            self.headers = headers = headers if isinstance(headers, list) else list(headers)
            for name, value in headers:
                kind = known(name)
                if kind is None:
                    kind = _learn(name)
                if kind and self._special(kind, value):
                    continue
                parts += (name, b": ", value, b"\r\n")
            block = b"".join(parts)
        except (TypeError, ValueError) as error:
            if isinstance(error, ResponseError):
                raise
            raise ResponseError("response headers must be pairs of bytes") from error
        lines = len(parts) >> 2
        if block.count(b"\n") != lines or block.count(b"\r") != lines or b"\0" in block:
            raise ResponseError("CR, LF or NUL in a response header")
        self.block = block

    def _special(self, kind: int, value: bytes) -> bool:
        """Note a field that concerns the framing; True when it is left out of the block."""
        if not isinstance(value, bytes):
            raise TypeError("not bytes")
        if kind == _DATE:
            self.preamble &= ~1
        elif kind == _SERVER:
            self.preamble &= ~2
        elif kind == _LENGTH:
            if not value.isdigit() or len(value) > 18 or self.content_length not in (None, int(value)):
                raise ResponseError(f"bad or repeated Content-Length {value!r}")
            self.content_length = int(value)
            return True
        elif kind == _CONNECTION:
            self.close = self.close or b"close" in value.lower()
            return True
        else:
            return True
        return False


def status_line(status: Any, reason: bytes) -> bytes:
    """The status line (RFC 9112 section 4); raises ResponseError for what is none."""
    if not reason:
        line = STATUS_LINES.get(status)
        if line is not None and status >= 200:
            return line
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ResponseError(f"bad response status {status!r}")
    if b"\r" in reason or b"\n" in reason or b"\0" in reason:
        raise ResponseError("CR, LF or NUL in a reason phrase")
    return b"HTTP/1.1 %d %s\r\n" % (status, reason)


def informational(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An interim response such as 103 (RFC 8297); raises ResponseError for what is none, and for 101."""
    if not 100 <= status <= 199 or status == 101:
        raise ResponseError(f"bad interim status {status!r}")
    head = ResponseHead(200, b"", headers)
    phrase = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, phrase, head.block)


class Preamble:
    """Date, Server and the fixed headers, prepared once a second for all connections.

    `lines[bits]` is chosen by `ResponseHead.preamble`. The wire has no clock: the owner calls
    `refresh` with the time.
    """

    __slots__ = ("_date", "_fixed", "_server", "due", "lines")

    def __init__(self, fixed: Iterable[tuple[bytes, bytes]] = (), date: bool = True, server: bool = True) -> None:
        fixed = list(fixed)
        named = {name.lower() for name, _ in fixed}  # a fixed Date or Server takes the place of ours
        self._fixed = b"".join(b"%s: %s\r\n" % pair for pair in fixed)
        self._server = b"server: bridgeserve\r\n" if server and b"server" not in named else b""
        self._date = date and b"date" not in named
        self.lines = (b"", b"", b"", b"")
        self.due = 0.0
        self.refresh(0.0, 0.0)

    def refresh(self, now: float, wall: float) -> None:
        """Prepare the lines for the second of `wall` (unix time); `due` is the next monotonic time to call again."""
        date = f"date: {formatdate(int(wall), usegmt=True)}\r\n".encode() if self._date else b""
        fixed = self._fixed
        self.lines = (fixed, date + fixed, self._server + fixed, date + self._server + fixed)
        self.due = now + 1.0 - (wall - int(wall))


def error_response(status: int, with_body: bool) -> bytes:
    """A whole answer of our own with Connection: close; it says no more than the status does."""
    text = HTTPStatus(status).phrase.encode()
    head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(text)
    return STATUS_LINES[status] + head + b"\r\n" + (text if with_body else b"")
