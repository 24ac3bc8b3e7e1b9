"""Requests that differ from each other, and a reader of answers.

The fields are those of a browser behind a proxy. The id differs in each request, as ids do: a server that remembers
whole heads must not win by it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.errors import BenchmarkError

SILENCE_SECONDS = 10.0
HEAD_MAX = 65536
TAIL = 64
FIELDS = (
    b"Host: shop.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3",
    b"Accept-Encoding: gzip, deflate, br",
    b"X-Request-Id: %016x",
    b"Cookie: session=0f3a9c5be2714d68; theme=dark; consent=1",
    b"Referer: https://shop.example.com/items?page=3",
)
# What proxies, tracing and browsers add: 30 fields with the eight above.
MORE_FIELDS = (
    b"Cache-Control: max-age=0",
    b"Pragma: no-cache",
    b"DNT: 1",
    b"Sec-GPC: 1",
    b"Upgrade-Insecure-Requests: 1",
    b"Sec-Fetch-Dest: document",
    b"Sec-Fetch-Mode: navigate",
    b"Sec-Fetch-Site: same-origin",
    b"Sec-Fetch-User: ?1",
    b'Sec-CH-UA: "Chromium";v="128", "Not;A=Brand";v="24"',
    b"Sec-CH-UA-Mobile: ?0",
    b'Sec-CH-UA-Platform: "Linux"',
    b"Priority: u=0, i",
    b'If-None-Match: W/"6f3a-191c0"',
    b"If-Modified-Since: Mon, 01 Jul 2024 10:00:00 GMT",
    b"X-Forwarded-For: 203.0.113.7, 198.51.100.23",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: shop.example.com",
    b"X-Real-IP: 203.0.113.7",
    b"Via: 1.1 edge.example.net",
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"tracestate: vendor=00f067aa0ba902b7",
)

HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version: 13",
)


@dataclass(frozen=True)
class Template:
    """A request with a hole for its id."""

    prefix: bytes
    suffix: bytes

    def numbered(self) -> Iterator[bytes]:
        """Requests without end, each with its own id. The factor (odd) spreads the ids over 64 bits."""
        prefix, suffix = self.prefix, self.suffix
        return (b"%b%016x%b" % (prefix, n * 0x9E3779B97F4A7C15 % 2**64, suffix) for n in itertools.count(1))

    def one(self) -> bytes:
        """A single request."""
        return next(self.numbered())


def template(
    target: str, method: str = "GET", *, more: tuple[bytes, ...] = (), body: bytes | None = None, announce: int = 0
) -> Template:
    """A request. `announce`: a Content-Length whose body the load sends by itself."""
    fields = [*FIELDS, *more]
    if body is not None:
        fields += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    elif announce:
        fields += [b"Content-Type: application/octet-stream", b"Content-Length: %d" % announce]
    head = b"\r\n".join([f"{method} {target} HTTP/1.1".encode(), *fields, b"", b""])
    prefix, _, suffix = head.partition(b"%016x")
    return Template(prefix, suffix + (body or b""))


@dataclass(frozen=True)
class Head:
    """What an answer's head says. `length` is None where there is no Content-Length."""

    status: int
    length: int | None
    chunked: bool
    closes: bool
    size: int  # octets of the head itself

    @property
    def framing(self) -> str:
        """How the body ends."""
        if self.chunked:
            return "chunked"
        return "content-length" if self.length is not None else "close"


_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")


def parse_head(data: bytes) -> Head | None:
    """The head at the start of `data`; None when it is not whole. Raises BenchmarkError when it is none."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > HEAD_MAX:
            raise BenchmarkError(f"no end of head after {HEAD_MAX} octets")
        return None
    lines = data[:end].split(b"\r\n")
    match = _STATUS.fullmatch(lines[0])
    if match is None:
        raise BenchmarkError(f"not an answer: {data[:80]!r}")
    length, chunked, closes = None, False, match[1] == b"0"
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
        elif name == b"connection":
            closes = b"close" in value.lower() or (closes and b"keep-alive" not in value.lower())
    return Head(int(match[2]), length, chunked, closes, end + 4)


@dataclass(frozen=True)
class Answer:
    """A whole answer, its body as size and digest; `start` is the first of it, for messages."""

    status: int
    framing: str
    closes: bool
    size: int
    digest: str
    start: bytes
    tail: bytes  # the last octets, which a load compares
    octets: int  # of head and body

    def like(self, other: Answer) -> str:
        """What differs from another in status, framing or body; "" for nothing."""
        for name in ("status", "framing", "size", "digest"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                shown = f", body {self.start!r}" if name != "digest" else f": {self.start!r} for {other.start!r}"
                return f"the answer differs: {name} {ours} and not {theirs}{shown}"
        return ""


def expected(body: bytes, *, times: int = 1) -> Answer:
    """The answer that a workload's app gives: `body`, so many times over."""
    digest = hashlib.sha256()
    for _ in range(times):
        digest.update(body)
    return Answer(200, "content-length", False, len(body) * times, digest.hexdigest(), body[:80], body[-TAIL:], 0)


def connect(port: int, source: str = "") -> socket.socket:
    """One connection to the loopback. `source`: another of its addresses to come from."""
    address = (source, 0) if source else None
    connection = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS, source_address=address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Incoming:
    """Reads one answer from a blocking socket. Raises BenchmarkError for one that ends early."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._data = b""
        self._digest = hashlib.sha256()
        self._size = 0
        self._start = b""
        self._tail = b""

    def _more(self) -> bool:
        try:
            data = self._socket.recv(262144)
        except TimeoutError:
            raise BenchmarkError(f"silent for {SILENCE_SECONDS:g} s after {self._data[:80]!r}") from None
        except OSError as error:
            raise BenchmarkError(f"connection lost: {error}") from None
        self._data += data
        return bool(data)

    def _need(self) -> None:
        if not self._more():
            raise BenchmarkError(f"closed in the middle of an answer, after {self._data[:80]!r}")

    def _take(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)
        self._tail = data[-TAIL:] if len(data) >= TAIL else (self._tail + data)[-TAIL:]
        if len(self._start) < 80:
            self._start += data[: 80 - len(self._start)]

    def read(self) -> Answer:
        """The answer, once it is whole."""
        while (head := parse_head(self._data)) is None:
            self._need()
        self._data = self._data[head.size :]
        octets = head.size
        if head.chunked:
            self._chunks()
        elif head.length is not None:
            self._length(head.length)
        else:
            self._rest()
        octets += self._size
        closes = head.closes or head.framing == "close"
        digest = self._digest.hexdigest()
        return Answer(head.status, head.framing, closes, self._size, digest, self._start, self._tail, octets)

    def _length(self, left: int) -> None:
        while True:
            piece = self._data[:left]
            self._take(piece)
            self._data = self._data[len(piece) :]
            left -= len(piece)
            if not left:
                break
            self._need()
        if self._data:
            raise BenchmarkError(f"octets behind the answer: {self._data[:80]!r}")

    def _chunks(self) -> None:
        while True:
            while (end := self._data.find(b"\r\n")) < 0:
                self._need()
            size = int(self._data[:end].partition(b";")[0], 16)
            while len(self._data) < end + size + 4:
                self._need()
            self._take(self._data[end + 2 : end + 2 + size])
            self._data = self._data[end + size + 4 :]
            if not size:
                return

    def _rest(self) -> None:
        while True:
            self._take(self._data)
            self._data = b""
            if not self._more():
                return


def ask(connection: socket.socket, request: bytes) -> Answer:
    """One request and its whole answer. Raises BenchmarkError."""
    try:
        connection.sendall(request)
    except OSError as error:
        raise BenchmarkError(f"connection lost: {error}") from None
    return Incoming(connection).read()
