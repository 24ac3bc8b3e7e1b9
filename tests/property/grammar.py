"""Sequences of requests by the grammar of RFC 9112, most of them good, from a generator of random numbers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

METHODS = [b"GET"] * 6 + [b"POST"] * 6 + [b"HEAD", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"get", b"M-SEARCH"]
TARGETS = [b"/", b"/a", b"/a?b=c", b"/%41//../x?", b"/a;b=c:@!$&'()*+,"] * 3 + [
    b"http://h.example/x",
    b"HTTPS://h:80",
    b"http://[::1]:8000?q",
]
BAD_STARTS = [
    b"GET /#a HTTP/1.1",
    b"GET  / HTTP/1.1",
    b"GET / HTTP/1.1 ",
    b"GET\t/\tHTTP/1.1",
    b"GET /",
    b"GET * HTTP/1.1",
    b"G:T / HTTP/1.1",
    b"GET / HTTP/2.0",
    b"GET / http/1.1",
    b"GET / HTTP/1.10",
    b"CONNECT h:80 HTTP/1.1",
    b"GET http://u@h/ HTTP/1.1",
    b"GET ftp://h/ HTTP/1.1",
    b"GET /\xe9 HTTP/1.1",
    b"GET /" + b"a" * 400 + b" HTTP/1.1",
    b" GET / HTTP/1.1",
]
VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2"]
HOSTS = [b"h", b"h.example:80", b"[::1]:8000", b"127.0.0.1", b""]
BAD_HOSTS = [b"a b", b"u@h", b"h,h", b"h:x", b"%4", b"h/", b"[::1"]
FIELDS = [
    b"Accept: */*",
    b"Cookie: a=b; c=d",
    b"X-Empty:",
    b"x-8bit:\t\xe9\xff ",
    b"User-Agent: Mozilla/5.0 (X)",
    b"TE: trailers",
    b"Upgrade: websocket",
    b"Keep-Alive: timeout=5",
    b"Content_Length: 40",
    b"Transfer_Encoding: chunked",
]
BAD_FIELDS = [
    b"X : y",
    b"X\t: y",
    b" folded",
    b"\tfolded",
    b"nothing",
    b": y",
    b"X: a\0b",
    b"X: a\rb",
    b"X: a\nb",
    b"X\xe9: y",
    b"Host: h",
    b"X: " + b"y" * 300,
    b"Expect: something",
    b"Content-Length : 5",
    b"Transfer-Encoding\v: chunked",
]
CONNECTIONS = [
    b"Connection: close",
    b"Connection: keep-alive",
    b"connection: Upgrade, Keep-Alive",
    b"Connection: x, Close",
    b"Connection: ,",
    b"Connection: Content-Length, Transfer-Encoding",
]
LENGTHS = [b"%d"] * 12 + [b"0%d", b" %d \t"]
BAD_LENGTHS = [
    b"+%d",
    b"-%d",
    b"0x%d",
    b"%d, %d",
    b"%d,",
    b"%d.0",
    b"",
    b"%d 1",
    b"\v%d",
    b"\xb9%d",
    b"9" * 19,
    b"1_%d",
]
CODINGS = [b"chunked"] * 8 + [b"Chunked", b" \tCHUNKED \t"]
BAD_CODINGS = [
    b"xchunked",
    b"chunked, identity",
    b"identity, chunked",
    b"identity",
    b"gzip, chunked",
    b"chunked, chunked",
    b"chunked,",
    b",chunked",
    b"\vchunked",
    b"chunked;q=1",
    b"",
    b'"chunked"',
    b"chunked\xa0",
]
EXTENSIONS = [b""] * 8 + [b";a", b";a=b;c", b" ; a\t= b", b';q="\\" ;x"', b"\t;a"]
BAD_EXTENSIONS = [b";", b" ", b";a=", b';q="', b";a\nb", b";a\rb", b";\0", b"h", b";a b", b"," + b"x" * 1024]
TRAILERS = [b"", b"", b"A: b\r\n", b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", b"Host: other\r\n"]
BAD_TRAILERS = [b"A\r\n", b" A: b\r\n", b"A : b\r\n", b"A: b\n", b"A: \0\r\n", b"GET /smuggled HTTP/1.1\r\n"]
BODIES = [
    b"",
    b"a",
    b"hello",
    b"0\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    bytes(range(256)),
    b"x" * 700,
]


class Grammar:
    """Makes sequences of requests.

    :param badness: how often a place that may hold something bad does, from 0 to 1. A request has about ten such places.
    """

    def __init__(self, rng: random.Random, badness: float) -> None:
        self._rng = rng
        self._badness = badness

    def sequence(self) -> bytes:
        """Some requests, one behind the other; sometimes the end is missing."""
        rng = self._rng
        parts: list[bytes] = []
        for _ in range(rng.choice((1, 1, 2, 3, 4, 6))):
            parts.append(self.like(parts[-1]) if parts and rng.random() < 0.4 else self.request())
        data = b"".join(parts)
        if rng.random() < self._badness * 3:
            data = data[: rng.randrange(len(data))]
        return data

    def request(self) -> bytes:
        """One request with its body."""
        rng = self._rng
        start = b" ".join((rng.choice(METHODS), rng.choice(TARGETS), rng.choice(VERSIONS)))
        start = self._pick([start], BAD_STARTS)
        lines = [b"Host: " + self._pick(HOSTS, BAD_HOSTS)]
        lines += rng.sample(FIELDS, rng.choice((0, 0, 1, 3)))
        if self._bad():
            lines.append(rng.choice(BAD_FIELDS))
        if self._bad():
            lines.pop(0)
        if rng.random() < 0.25:
            lines.append(rng.choice(CONNECTIONS))
        if rng.random() < 0.15:
            lines.append(rng.choice((b"Expect: 100-continue", b"expect:100-Continue,", b"Expect:")))
        framing, body = self._body()
        lines += framing
        rng.shuffle(lines)
        if self._bad():
            lines *= 8  # too many
        head = b"\r\n".join([start, *lines]) + b"\r\n\r\n"
        if self._bad():
            head = head.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\r\n\r\n")), rng.choice((1, -1)))
        return rng.choice((b"", b"", b"", b"\r\n")) + head + body

    def like(self, request: bytes) -> bytes:
        """A request that repeats most of another one's lines, as those of one client do."""
        rng = self._rng
        head, mark, body = request.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        at = rng.randrange(len(lines))
        kind = rng.randrange(6)
        if kind == 1 and at:
            lines[at] = rng.choice(FIELDS)
        elif kind == 2:
            lines.insert(at + 1, rng.choice(FIELDS))
        elif kind == 3 and at:
            lines[at] += rng.choice((b" ", b"x", b"\t", b", y"))
        elif kind == 4:
            lines[0] = b" ".join((rng.choice(METHODS), rng.choice(TARGETS), rng.choice(VERSIONS)))
        elif kind == 5 and len(lines) > 2:
            lines[-1], lines[-2] = lines[-2], lines[-1]
        return b"\r\n".join(lines) + mark + body

    def _bad(self) -> bool:
        return self._rng.random() < self._badness

    def _pick(self, good: Sequence[bytes], bad: Sequence[bytes]) -> bytes:
        return self._rng.choice(bad if self._bad() else good)

    def _body(self) -> tuple[list[bytes], bytes]:
        rng = self._rng
        kind = rng.random()
        content = rng.choice(BODIES)
        if kind < 0.4:
            return [], b""
        if kind < 0.7:
            size = len(content)
            spelt = self._pick(LENGTHS, BAD_LENGTHS).replace(b"%d", b"%d" % size)
            lines = [rng.choice((b"Content-Length: ", b"content-length:", b"CONTENT-LENGTH:\t")) + spelt]
            if self._bad():
                lines.append(rng.choice((lines[0], b"Content-Length: 0", b"Transfer-Encoding: chunked")))
            return lines, content
        lines = [rng.choice((b"Transfer-Encoding: ", b"transfer-encoding:")) + self._pick(CODINGS, BAD_CODINGS)]
        if self._bad():
            lines.append(rng.choice((lines[0], b"Content-Length: 5", b"Content-Length: 0")))
        return lines, self._chunks(content)

    def _chunks(self, content: bytes) -> bytes:
        rng = self._rng
        parts = []
        for piece in cut(rng, content, rng.randrange(3)):
            size = self._pick(
                (b"%x", b"%x", b"%X", b"000%x"), (b"+%x", b"0x%x", b" %x", b"-%x", b"%x_0", b"g", b"", b"f" * 16)
            )
            if b"%" in size:
                size = size % len(piece)
            end = self._pick((b"\r\n",), (b"\n", b"\r", b"", b"x\r\n", b"\r\n\r\n"))
            parts.append(
                size + self._pick(EXTENSIONS, BAD_EXTENSIONS) + self._pick((b"\r\n",), (b"\n", b"\r")) + piece + end
            )
        last = self._pick((b"0", b"0", b"000"), (b"", b"+0", b"0x0", b"-0"))
        parts.append(last + self._pick(EXTENSIONS, BAD_EXTENSIONS) + b"\r\n" + self._pick(TRAILERS, BAD_TRAILERS))
        return b"".join(parts) + self._pick((b"\r\n",), (b"\n", b"\r", b""))


def cut(rng: random.Random, data: bytes, count: int) -> list[bytes]:
    """The octets in at most `count` + 1 pieces, none empty."""
    ends = [0, *sorted(rng.randrange(len(data) + 1) for _ in range(count)), len(data)]
    return [data[i:j] for i, j in itertools.pairwise(ends) if i < j]


def splits(rng: random.Random, data: bytes) -> Iterator[list[bytes]]:
    """The octets whole, in random pieces, and by line or octet by octet."""
    yield cut(rng, data, 0)
    yield cut(rng, data, rng.randrange(1, 7))
    if len(data) <= 600 and rng.random() < 0.3:
        yield [data[i : i + 1] for i in range(len(data))]
    else:
        yield data.splitlines(keepends=True)
