"""The extensions of ASGI's HTTP: early hints, trailers, and files by name or descriptor.

What `AsgiCycle.send` does not know itself comes here, so that the common messages pay nothing for it. TABLE is the
order of events of a response; `AsgiCycle` holds its first and its common steps.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from bridgeserve.dispatch.base import ClientDisconnected, Exchange
from bridgeserve.wire.framing import BODYLESS, ResponseHead, informational

if TYPE_CHECKING:
    from bridgeserve.dispatch.asgi import AsgiCycle, Message

START, BODY = "http.response.start", "http.response.body"
HINT, DEBUG = "http.response.early_hint", "http.response.debug"
PATH, FILE, TRAILERS = "http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"
COPY = 65536  # octets in one step where the socket cannot take the file itself

# What the scope says. `http.response.debug` is for test clients, who say so themselves: here it would only cost.
SCOPE: dict[str, dict[str, Any]] = {HINT: {}, PATH: {}, FILE: {}, TRAILERS: {}}

# What an application may send in each state of its response. After its end everything is ignored (ASGI, "more_body").
TABLE: dict[str, tuple[str, ...]] = {
    "not started": (START, HINT, DEBUG),
    "started": (BODY, PATH, FILE),
    "in its body": (BODY, FILE),
    "before its trailers": (TRAILERS,),
}


class Trailing:
    """The trailers that an application has promised: the response ends with them, not with its body.

    They are sent to a client that asked for them (`TE: trailers`, RFC 9110 section 10.1.4) and gets chunks; to
    nobody else can they be sent.
    """

    __slots__ = ("body_ended", "fields")

    def __init__(self) -> None:
        self.body_ended = False
        self.fields: list[bytes] = []

    def body(self, more: bool) -> bool:
        """Note the end of the body; the response goes on."""
        if self.body_ended:
            raise RuntimeError(f"expected {TRAILERS!r} after the body, got {BODY!r}")
        self.body_ended = not more
        return True


async def send(cycle: AsgiCycle, message: Message, kind: str) -> None:
    """Take a message of an extension; see `AsgiCycle.send` for the errors."""
    if cycle.complete:
        return
    state = cycle.state
    if kind not in TABLE[state] or kind not in _TAKERS:
        raise RuntimeError(unexpected(state, kind))
    await _TAKERS[kind](cycle, message)


def unexpected(state: str, kind: object) -> str:
    """What an application is told that sends a message in the wrong order."""
    expected = [word for word in TABLE[state] if word != DEBUG]
    return f"the response is {state}: expected {' or '.join(map(repr, expected))}, got {kind!r}"


async def _early_hint(cycle: AsgiCycle, message: Message) -> None:
    """103 (RFC 8297)."""
    links = message.get("links", ())
    cycle.exchange.inform(informational(103, [(b"link", _octets(link, "a link", HINT)) for link in links]))


async def _debug(cycle: AsgiCycle, message: Message) -> None:
    """For test clients; nobody is told here."""


async def _trailers(cycle: AsgiCycle, message: Message) -> None:
    trailing = cycle.trailing
    assert trailing is not None
    trailing.fields.append(ResponseHead(200, b"", message.get("headers", ())).block)
    if message.get("more_trailers", False):
        return
    exchange = cycle.exchange
    cycle.complete = True
    if exchange.lost:
        raise ClientDisconnected("the client left")
    asked = [value for name, value in exchange.request.headers if name == b"te"]
    wanted = b"trailers" in {member.strip(b" \t").lower() for member in b",".join(asked).split(b",")}
    exchange.finish(b"", b"".join(trailing.fields) if wanted else b"")


async def _pathsend(cycle: AsgiCycle, message: Message) -> None:
    """A whole file by its name, as the whole body."""
    path = message["path"]
    if not isinstance(path, str | os.PathLike) or not os.path.isabs(path):
        raise ValueError(f"the path of {PATH!r} must be absolute, not {path!r}")
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"the path of {PATH!r} must be that of a file: {path!r}")
        head = cycle.take_head()
        assert head is not None
        length = status.st_size if head.content_length is None else min(head.content_length, status.st_size)
        await _send_file(cycle, head, file, (0, length), False)
    finally:
        os.close(file)


async def _zerocopysend(cycle: AsgiCycle, message: Message) -> None:
    """A piece of an open file."""
    given = message["file"]
    file = given if isinstance(given, int) else given.fileno()
    offset, count = message.get("offset"), message.get("count")
    for word, value in (("offset", offset), ("count", count)):
        if value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"the {word} of {FILE!r} must be a number of octets, not {value!r}")
    start = os.lseek(file, 0, os.SEEK_CUR) if offset is None else offset
    left = max(os.fstat(file).st_size - start, 0)
    count = left if count is None else min(count, left)
    await _send_file(cycle, cycle.take_head(), file, (start, count), bool(message.get("more_body", False)))
    if offset is None:
        os.lseek(file, start + count, os.SEEK_SET)


async def _send_file(
    cycle: AsgiCycle, head: ResponseHead | None, file: int, piece: tuple[int, int], more: bool
) -> None:
    """Send octets of a file, by sendfile(2) where the body has a known length and the connection can."""
    exchange = cycle.exchange
    offset, count = piece
    if cycle.trailing is not None:
        more = cycle.trailing.body(more)
    if exchange.lost:
        cycle.complete = not more
        raise ClientDisconnected("the client left")
    if head is not None:
        if not more and head.content_length is None:
            head = head.with_length(count)
        if exchange.request.method == b"HEAD" or head.status in BODYLESS:
            count = 0
        exchange.respond(head, b"", False)
    if count and not await exchange.send_file(file, offset, count):
        await _copy(exchange, file, offset, count)
    if not more:
        cycle.complete = True
        exchange.finish()


async def _copy(exchange: Exchange, file: int, offset: int, count: int) -> None:
    while count and (data := os.pread(file, min(COPY, count), offset)):
        exchange.write(data)
        offset += len(data)
        count -= len(data)
        await exchange.drain()


def _octets(value: Any, what: str, kind: str) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"{what} of {kind!r} must be bytes, not {type(value).__name__}")


_TAKERS: dict[str, Callable[[AsgiCycle, Message], Awaitable[None]]] = {
    HINT: _early_hint,
    DEBUG: _debug,
    PATH: _pathsend,
    FILE: _zerocopysend,
    TRAILERS: _trailers,
}
