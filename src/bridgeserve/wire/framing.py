"""How a response is put on the wire: its head checked once, its length decided once.

`ResponseHead` is compiled from what the application said, by whoever runs the application (a pool
thread, for one); the session adds framing, Date and Server when it is sent. Content-Length is
taken out of the block because the session, which knows the request, decides it
(RFC 9112 section 6).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, ClassVar

from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.fields import TOKEN

STATUS_LINES = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
FINAL_LINES = {status: line for status, line in STATUS_LINES.items() if status >= 200}
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
# By field name: the beginning of its line, or the kind of a special one. Bounded: an application may invent names.
_NAMES: dict[bytes, bytes | int] = {}
_NAMES_MAX = 2048
_SHARED = frozenset(
    b"allow cache-control content-language content-length content-type cross-origin-opener-policy date referrer-policy"
    b" server vary x-content-type-options x-frame-options".split()
)
_SHARED_MAX = 512  # octets
_VISIBLE = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])  # RFC 9110 section 5.5, RFC 9112 section 4
# The lines as `ResponseHead` makes them (RFC 9112 sections 4 and 5), without the fields that are the session's.
_FINAL_LINE = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2}) [\t -~\x80-\xff]*\r\n")
_FIELD = (
    rb"(?!(?i:content-length|transfer-encoding|connection|keep-alive):)"
    rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++: [\t -~\x80-\xff]*+\r\n"
)
_FIELDS = re.compile(rb"(?:%b)*+" % _FIELD)
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)[0-9]{2} [\t -~\x80-\xff]*\r\n(?:%b)*+\r\n" % _FIELD)


def _learn(name: bytes) -> bytes | int:
    """Check a field name of the application and give the beginning of its line, or the kind of a special one."""
    if not TOKEN.fullmatch(name):  # TypeError for str: the caller says what it should have been
        raise ResponseError(f"bad response field name {name!r}")
    prefix = _SPECIAL.get(name.lower()) or name + b": "
    if len(_NAMES) < _NAMES_MAX:
        _NAMES[name] = prefix
    return prefix


class ResponseHead:
    """A checked response head.

    :param status: 200 to 999.
    :param reason: the reason phrase, b"" for the standard one.
    :param headers: pairs of bytes.
    :raises ResponseError: a control octet anywhere, a name that is no token, a bad Content-Length, a bad status.
    """

    __slots__ = ("block", "close", "content_length", "headers", "line", "preamble", "status")

    _KNOWN: ClassVar[dict[tuple[Any, ...], ResponseHead]] = {}
    KNOWN_MAX = 512

    @classmethod
    def of(cls, status: int, headers: Any) -> ResponseHead:
        """The head with the standard reason, from memory where it was made before and says nothing private.

        Bounded: the memory starts afresh when it is full. A head costs 1.2 microseconds to make and 0.3 to find.
        """
        if headers.__class__ is not list or status.__class__ is not int:
            return cls(status, b"", headers)
        try:
            key = (status, *headers)
            known = cls._KNOWN.get(key)
        except TypeError:  # a pair that is a list: made anew each time
            return cls(status, b"", headers)
        if known is None:
            known = cls(status, b"", headers)
            known.keep(cls._KNOWN, key)
        return known

    def keep(self, memory: dict[tuple[Any, ...], ResponseHead], key: tuple[Any, ...]) -> None:
        """Remember it, unless it may say something private. A memory that is full starts afresh."""
        if self.shared:
            if len(memory) >= self.KNOWN_MAX:
                memory.clear()
            memory[key] = self

    @classmethod
    def compiled(cls, status: int, line: bytes, block: bytes) -> ResponseHead:
        """A head from lines that another process has made of an application's words; they are checked again.

        :raises ResponseError: what `ResponseHead` would not have made.
        """
        if FINAL_LINES.get(status) != line:
            found = _FINAL_LINE.fullmatch(line)
            if found is None or int(found[1]) != status:
                raise ResponseError("a status line that is none")
        if not _FIELDS.fullmatch(block):
            raise ResponseError("a line of a response head that is no field, or concerns the framing")
        head = object.__new__(CompiledHead)
        head.status = status
        head.line = line
        head.block = block
        head.content_length = None
        head.close = False
        head.preamble = 3
        return head

    @property
    def shared(self) -> bool:
        """True when it is small and holds only fields that say nothing private."""
        return len(self.block) <= _SHARED_MAX and all(name.lower() in _SHARED for name, _ in self.headers)

    def with_field(self, name: bytes, value: bytes) -> ResponseHead:
        """A copy with one more field, whose name and value are known to be fit."""
        copy = object.__new__(type(self))
        for slot in ResponseHead.__slots__:
            if slot != "headers":
                setattr(copy, slot, getattr(self, slot))
        if type(self) is ResponseHead:
            copy.headers = [*self.headers, (name, value)]
        copy.block += b"%s: %s\r\n" % (name, value)
        return copy

    def with_length(self, length: int) -> ResponseHead:
        """A copy with this Content-Length."""
        copy = object.__new__(ResponseHead)
        for name in ResponseHead.__slots__:
            setattr(copy, name, getattr(self, name))
        copy.content_length = length
        copy.headers = [*self.headers, (b"content-length", b"%d" % length)]
        return copy

    def __init__(self, status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.status = status
        self.line = status_line(status, reason)
        self.content_length: int | None = None
        self.close = False
        self.preamble = 3  # bit 1: our Date, bit 2: our Server
        parts: list[bytes] = []
        known = _NAMES.get
        try:
            self.headers = headers = headers if headers.__class__ is list else list(headers)
            for name, value in headers:
                prefix = known(name)
                if prefix is None:
                    prefix = _learn(name)
                if isinstance(prefix, int):
                    if self._special(prefix, value):
                        continue
                    prefix = name + b": "
                parts += (prefix, value, b"\r\n")
            block = b"".join(parts)
        except (TypeError, ValueError) as error:
            if isinstance(error, ResponseError):
                raise
            raise ResponseError("response headers must be pairs of bytes") from error
        # The line ends of ours, and no other control octet: it could end a line, or a string.
        if block.translate(None, _VISIBLE) != b"\r\n" * (len(parts) // 3):
            raise ResponseError("a control octet in a response header")
        self.block = block

    def _special(self, kind: int, value: bytes) -> bool:
        """Note a field that concerns the framing; True when it is left out of the block."""
        if not isinstance(value, bytes):
            raise TypeError("not bytes")
        if kind == _LENGTH:
            length = int(value) if value.isdigit() and len(value) <= 18 else -1
            if length < 0 or (self.content_length is not None and self.content_length != length):
                raise ResponseError(f"bad or repeated Content-Length {value!r}")
            self.content_length = length
        elif kind in (_DATE, _SERVER):
            self.preamble &= ~kind
            return False
        elif kind == _CONNECTION:
            self.close = self.close or b"close" in [each.strip() for each in value.lower().split(b",")]
        return True


class CompiledHead(ResponseHead):
    """A head whose lines came ready; its fields are read from them when somebody asks."""

    __slots__ = ()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        """The fields as pairs, that of the length with them."""
        pairs = [line.partition(b": ")[::2] for line in self.block.split(b"\r\n")[:-1]]
        if self.content_length is not None:
            pairs.append((b"content-length", b"%d" % self.content_length))
        return pairs


def status_line(status: Any, reason: bytes) -> bytes:
    """The status line (RFC 9112 section 4); raises ResponseError for what is none."""
    if not reason and (line := FINAL_LINES.get(status)) is not None:
        return line
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ResponseError(f"bad response status {status!r}")
    if reason.translate(None, _VISIBLE):
        raise ResponseError("a control octet in a reason phrase")
    return b"HTTP/1.1 %d %s\r\n" % (status, reason)


def body_length(status: int, size: int, end: bool, bodyless: bool) -> int | None:
    """The Content-Length that the application does not name, or not rightly (RFC 9110 section 8.6); None: none is sent.

    :param size: octets of the body so far; `end`: these are all.
    :param bodyless: nothing of them is sent, for the request is a HEAD or the status has no body.
    """
    if status == 205:
        return 0  # framed like any other response, but never with content (RFC 9110 section 15.3.6)
    if status == 204 or not end or (bodyless and (not size or status == 304)):
        return None
    return size


def informational(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An interim response such as 103 (RFC 8297); raises ResponseError for what is none, and for 101."""
    if not 100 <= status <= 199 or status == 101:
        raise ResponseError(f"bad interim status {status!r}")
    head = ResponseHead(200, b"", headers)
    phrase = HTTPStatus(status).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s\r\n" % (status, phrase, head.block)


def is_informational(payload: bytes) -> bool:
    """True for what `informational` could have made."""
    return _INTERIM.fullmatch(payload) is not None


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


def error_response(status: int, with_body: bool, lines: bytes = b"", text: bytes = b"") -> bytes:
    """A whole answer of our own with Connection: close; it says no more than the status does, or `text`.

    :param lines: of the preamble; RFC 9110 section 6.6.1 wants a Date in every 4xx.
    """
    text = text or HTTPStatus(status).phrase.encode()
    if status == 405:
        lines += b"allow:\r\n"  # RFC 9110 section 15.5.6 wants the field; no method is good for what was asked
    head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(text)
    return STATUS_LINES[status] + lines + head + b"\r\n" + (text if with_body else b"")
