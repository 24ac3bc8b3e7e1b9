"""What a server must see in a stream of octets: a slow, obvious reader, written from RFC 9112 for the tests alone.

It shares no code with the server and knows no state but a position. Where RFC 9112 leaves a choice, it takes the
one that docs/on-the-wire.md names. It looks at a whole stream, up to the end of input, and says which requests an
application must get and how the stream ends. Of a bad message it names every status that a fault in it deserves.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field

TCHAR = frozenset(b"!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode())  # RFC 9110 5.6.2
HEX = frozenset(string.hexdigits.encode())
DIGIT = frozenset(string.digits.encode())
REG_NAME = frozenset(b"-._~!$&'()*+,;=" + string.digits.encode() + string.ascii_letters.encode())  # RFC 3986 3.2.2
CHUNK_LINE, CHUNK_EXTENSIONS, TRAILERS = 1024, 4096, 8192  # octets; "Fixed" in docs/promises.md


@dataclass(frozen=True)
class Sizes:
    """The limits: octets, but `fields` is a count."""

    request_line: int
    fields: int
    field_size: int
    body: int | None


@dataclass
class Seen:
    """A request: `body` is None when it is never complete; `waits`: it expects 100-continue, for a body.

    `astray`: its target is an https one, which is answered at its head with 421, since here is no TLS (RFC 9110 7.4).
    """

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes | None
    waits: bool
    astray: bool


@dataclass
class Verdict:
    """The requests, of which only the last may be incomplete, and the end.

    `end`: "open" between two requests; "close" behind one that ends the connection; "refused" with one of `statuses`;
    "cut short" the same, but it may be known only at the end of input; "dropped" without a word, for the last answer
    was given before its body turned out to be bad.
    """

    requests: list[Seen] = field(default_factory=list)
    end: str = "open"
    statuses: set[int] = field(default_factory=set)


def read_stream(data: bytes, sizes: Sizes) -> Verdict:
    """All of a stream, with the end of input behind it."""
    verdict = Verdict()
    pos = 0
    while True:
        if data[pos : pos + 2] == b"\r\n":
            pos += 2  # RFC 9112 2.2: at least one empty line is ignored; it is one here
        if pos == len(data):
            return verdict
        end = data.find(b"\r\n\r\n", pos)
        if end < 0:
            verdict.end, verdict.statuses = "cut short", unfinished(data[pos:], sizes)
            return verdict
        head = Head(data[pos:end], sizes)
        if head.faults:
            verdict.end, verdict.statuses = "refused", head.faults
            return verdict
        pos = end + 4
        body = Body(data, pos, head, sizes.body)
        whole = not body.faults
        content = body.content if whole else None
        request = Seen(head.method, head.target, head.lines, content, head.waits, head.astray)
        verdict.requests.append(request)
        if head.astray and head.persists and not (whole or head.waits):
            verdict.end = "dropped"
            return verdict
        if not whole and not head.astray:
            verdict.end, verdict.statuses = "refused" if body.certain else "cut short", body.faults
            return verdict
        pos = body.end
        if not head.persists or (head.astray and head.waits):  # nobody knows whether the body comes after the 421
            verdict.end = "close"
            return verdict


def unfinished(head: bytes, sizes: Sizes) -> set[int]:
    """The faults of a head that does not end (RFC 9112 8): what is too long is refused before it does."""
    faults = set()
    if len(head.partition(b"\r\n")[0]) > sizes.request_line:
        faults.add(414)
    if len(head) > head_limit(sizes):
        faults.add(431)
    if bare_line_end(head) or head[0] not in TCHAR | {0x0D}:
        faults.add(400)
    return faults or {400}


def head_limit(sizes: Sizes) -> int:
    return sizes.request_line + max(8 * sizes.field_size, 64 * 1024)


def bare_line_end(octets: bytes) -> bool:
    """A CR or an LF without the other."""
    rest = octets.replace(b"\r\n", b"")
    return b"\r" in rest or b"\n" in rest


def is_token(octets: bytes) -> bool:
    return bool(octets) and set(octets) <= TCHAR


def is_line(octets: bytes) -> bool:
    """HTAB, SP, VCHAR and obs-text (RFC 9110 5.5)."""
    return all(octet == 0x09 or (octet >= 0x20 and octet != 0x7F) for octet in octets)


def members(values: list[bytes]) -> list[bytes]:
    """The elements of a list field (RFC 9110 5.6.1), empty ones too, in lower case."""
    return [member.strip(b" \t").lower() for value in values for member in value.split(b",")]


def is_host(octets: bytes) -> bool:
    """uri-host [ ":" port ] or nothing at all (RFC 9110 7.2); no userinfo."""
    if not octets:
        return True
    if octets[:1] == b"[":
        name, bracket, port = octets[1:].partition(b"]")
        if not bracket or not name or not set(name) <= HEX | frozenset(b":."):
            return False
        if port and port[:1] != b":":
            return False
        port = port[1:]
    else:
        name, _, port = octets.partition(b":")
        if not name or not is_reg_name(name):
            return False
    return len(port) <= 5 and set(port) <= DIGIT


def is_reg_name(name: bytes) -> bool:
    first, *escaped = name.split(b"%")
    return set(first) <= REG_NAME and all(
        len(part) >= 2 and set(part[:2]) <= HEX and set(part[2:]) <= REG_NAME for part in escaped
    )


class Head:
    """A complete head: what it says, or its faults."""

    def __init__(self, octets: bytes, sizes: Sizes) -> None:
        self.faults: set[int] = set()
        self.method = self.target = self.version = b""
        self.fields: dict[bytes, list[bytes]] = {}
        self.lines: list[tuple[bytes, bytes]] = []  # as an application gets them
        self.authority = b""
        self.length = 0
        self.chunked = self.waits = self.astray = False
        self.persists = True
        line, *lines = octets.split(b"\r\n")
        self._sizes(octets, line, lines, sizes)
        if not is_line(octets.replace(b"\r\n", b"")):
            self.faults.add(400)
        self._request_line(line)
        for each in lines:
            name, colon, value = each.partition(b":")
            if not colon or not is_token(name):
                self.faults.add(400)
            self.lines.append((name.lower(), value.strip(b" \t")))
            self.fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
        if self.authority:  # RFC 9112 3.2.2: it takes the place of Host
            self.lines = [(b"host", self.authority), *(line for line in self.lines if line[0] != b"host")]
        self._host()
        self._framing(sizes)
        self._expect()
        options = members(self.fields.get(b"connection", []))
        self.persists = b"close" not in options and (self.version != b"HTTP/1.0" or b"keep-alive" in options)

    def _sizes(self, octets: bytes, line: bytes, lines: list[bytes], sizes: Sizes) -> None:
        if len(line) > sizes.request_line:
            self.faults.add(414)
        if len(lines) > sizes.fields or any(len(each) > sizes.field_size for each in lines):
            self.faults.add(431)
        if len(octets) > head_limit(sizes):
            self.faults.add(431)

    def _request_line(self, line: bytes) -> None:
        parts = line.split(b" ")
        if len(parts) != 3:
            self.faults.add(400)
            if parts[0] == b"CONNECT":
                self.faults.add(405)
            return
        self.method, self.target, self.version = parts
        if not is_token(self.method):
            self.faults.add(400)
        if self.method == b"CONNECT":
            self.faults.add(405)
        version = self.version
        if (
            len(version) != 8
            or version[:5] != b"HTTP/"
            or version[6:7] != b"."
            or not {version[5], version[7]} <= DIGIT
        ):
            self.faults.add(400)
        elif version[5:6] != b"1":
            self.faults.add(505)
        if not self._target():
            self.faults.add(400)

    def _target(self) -> bool:
        target = self.target
        if not target or any(not 0x21 <= octet <= 0x7E or octet == ord("#") for octet in target):
            return False
        if target[:1] == b"/":
            return True
        if target == b"*":
            return self.method == b"OPTIONS"
        scheme, mark, rest = target.partition(b"://")
        self.astray = scheme.lower() == b"https"
        if not mark or scheme.lower() not in (b"http", b"https"):
            return False
        authority = rest.partition(b"/")[0].partition(b"?")[0]
        self.authority = authority
        return bool(authority) and is_host(authority)

    def _host(self) -> None:
        hosts = self.fields.get(b"host", [])
        if len(hosts) > 1 or (not hosts and self.version != b"HTTP/1.0") or not all(map(is_host, hosts)):
            self.faults.add(400)

    def _framing(self, sizes: Sizes) -> None:
        """RFC 9112 6.1 to 6.3."""
        lengths = self.fields.get(b"content-length", [])
        codings = self.fields.get(b"transfer-encoding", [])
        if len(lengths) > 1 or any(not 1 <= len(each) <= 18 or not set(each) <= DIGIT for each in lengths):
            self.faults.add(400)
        elif lengths:
            self.length = int(lengths[0])
            if sizes.body is not None and self.length > sizes.body:
                self.faults.add(413)
        if not codings:
            return
        if lengths or len(codings) > 1 or self.version == b"HTTP/1.0":
            self.faults.add(400)
        names = members(codings)
        if names[-1] != b"chunked" or names.count(b"chunked") > 1 or b"" in names:
            self.faults.add(400)
        elif len(names) > 1:
            self.faults.add(501)
        self.chunked = True

    def _expect(self) -> None:
        expected = set(members(self.fields.get(b"expect", []))) - {b""}
        if expected - {b"100-continue"}:
            self.faults.add(417)
        self.waits = bool(expected) and self.version != b"HTTP/1.0" and (self.chunked or self.length > 0)


class Body:
    """The body at `pos`: its content and where it ends, or its faults. `certain`: they show before the end of input."""

    def __init__(self, data: bytes, pos: int, head: Head, limit: int | None) -> None:
        self.faults: set[int] = set()
        self.certain = False
        self.content = b""
        self.end = pos
        self._data = data
        if head.chunked:
            self._limit = limit
            self._chunks()
        else:
            self.content = data[pos : pos + head.length]
            self.end += head.length
            if self.end > len(data):
                self.faults.add(400)

    def _bad(self, status: int = 400) -> bool:
        self.faults.add(status)
        self.certain = True
        return False

    def _chunks(self) -> None:
        """RFC 9112 7.1. Behind a body that is too large, what else is wrong with it may be named as well."""
        extensions = 0
        while (line := self._line()) is not None:
            size, extension = split_size(line)
            extensions += len(extension)
            if not 1 <= len(size) <= 15 or not are_extensions(extension) or extensions > CHUNK_EXTENSIONS:
                self._bad()
                return
            count = int(size, 16)
            if count == 0:
                self._trailers()
                return
            if not self._chunk(count):
                return

    def _chunk(self, count: int) -> bool:
        data = self._data[self.end : self.end + count]
        self.content += data
        self.end += len(data)
        if self._limit is not None and len(self.content) > self._limit:
            self._bad(413)
        mark = self._data[self.end : self.end + 2]
        if len(data) < count or (mark != b"\r\n" and b"\r\n".startswith(mark)):
            self.faults = self.faults or {400}  # there is no more
            return False
        self.end += 2
        return mark == b"\r\n" or self._bad()

    def _line(self) -> bytes | None:
        """The next line of the framing without its CRLF."""
        end = self._data.find(b"\n", self.end)
        if end < 0:
            if len(self._data) - self.end >= CHUNK_LINE:
                self._bad()
            self.faults = self.faults or {400}
            return None
        line = self._data[self.end : end + 1]
        self.end = end + 1
        if len(line) > CHUNK_LINE or line[-2:] != b"\r\n" or b"\r" in line[:-2]:
            self._bad()
            return None
        return line[:-2]

    def _trailers(self) -> None:
        """RFC 9112 7.1.2: fields, which are dropped."""
        total = 0
        while line := self._line():
            total += len(line) + 2
            if total > TRAILERS:
                self._bad(431)
                return
            name, colon, value = line.partition(b":")
            if not colon or not is_token(name) or not is_line(value):
                self._bad()
                return


def split_size(line: bytes) -> tuple[bytes, bytes]:
    """The hex digits, and what is behind them."""
    count = next((i for i, octet in enumerate(line) if octet not in HEX), len(line))
    return line[:count], line[count:]


def are_extensions(octets: bytes) -> bool:
    """*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ) (RFC 9112 7.1.1)."""
    rest = octets
    while rest:
        rest = rest.lstrip(b" \t")
        if rest[:1] != b";":
            return False
        rest = drop_token(rest[1:].lstrip(b" \t"))
        if rest is None:
            return False
        after = rest.lstrip(b" \t")
        if after[:1] == b"=":
            after = after[1:].lstrip(b" \t")
            rest = drop_quoted(after[1:]) if after[:1] == b'"' else drop_token(after)
            if rest is None:
                return False
    return True


def drop_token(octets: bytes) -> bytes | None:
    """What is behind a token; None if there is none."""
    count = next((i for i, octet in enumerate(octets) if octet not in TCHAR), len(octets))
    return octets[count:] if count else None


def drop_quoted(octets: bytes) -> bytes | None:
    """What is behind the rest of a quoted-string (RFC 9110 5.6.4); None if it does not end well."""
    pos = 0
    while pos < len(octets):
        octet = octets[pos]
        if octet == ord('"'):
            return octets[pos + 1 :]
        if octet == ord("\\"):
            pos += 1
        if pos >= len(octets) or not is_line(octets[pos : pos + 1]):
            return None
        pos += 1
    return None
