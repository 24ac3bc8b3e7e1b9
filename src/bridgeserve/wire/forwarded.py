"""What a trusted proxy says of its client: X-Forwarded-* and Forwarded (RFC 7239).

Every octet here may be the client's own. A proxy appends what it knows at the right end of what it was given, so the
chain is read from the right, as long as those who speak are trusted; the right-most that is not is the client. Only
the fields that the operator has named are read, for an ordinary proxy sets two or three of them and passes the others
on as the client sent them.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from bridgeserve.wire.errors import WireError
from bridgeserve.wire.fields import HOST, Field
from bridgeserve.wire.trust import IpAddress, Trust, normal

X_FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")
ALLOWED = f"{', '.join(X_FIELDS)}, or forwarded alone"
CHAIN_MAX = 32  # entries of a list that are looked at, from the right
HOST_MAX = 262  # octets: a name of 255, a colon, a port
PREFIX_MAX = 1024
_KNOWN_MAX = 1024
_KEPT = 512  # octets of values that are remembered

_NODE = re.compile(  # RFC 7239 section 6, and bare IPv6 addresses as X-Forwarded-For has them
    rb"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<four>[0-9.]{7,15}))(?::(?:(?P<port>[0-9]{1,5})|_[\w.-]{1,32}))?"
    rb"|(?P<bare>[0-9A-Fa-f:.]{2,45})"
)
_PAIR = re.compile(  # RFC 7239 section 4; values that forget their quotes are forgiven where they are not ambiguous
    rb"[ \t]*(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;=\\]+))[ \t]*)?"
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_PORT = re.compile(rb"[0-9]{1,5}")
# Segments without a dot segment, an empty one (//host would be another host) or a percent sign (nobody agrees who
# decodes it); a comma separates prefixes.
_PREFIX = re.compile(rb"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9\-._~!$&'()*+;=:@]+)*/?")
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}


class Told:
    """What was said and can be believed; None where nothing was. A port of 0 is not known."""

    __slots__ = ("client", "host", "port", "prefix", "scheme")

    def __init__(self) -> None:
        self.client: tuple[str, int] | None = None
        self.scheme: str | None = None
        self.host: bytes | None = None
        self.port: int | None = None
        self.prefix: str | None = None


def read_names(text: str) -> frozenset[bytes]:
    """The value of `--forwarded-headers`: lower-case field names, with commas or white space between.

    :raises ValueError: an unknown name, or `forwarded` beside others: where both say who the client is, one may be the
        client's own.
    """
    names = frozenset(text.lower().replace(",", " ").split())
    if names - {*X_FIELDS, "forwarded"} or ("forwarded" in names and len(names) > 1):
        raise ValueError(f"{text!r} is not allowed; allowed: {ALLOWED}")
    return frozenset(name.encode() for name in names)


class ForwardedReader:
    """Reads the fields of requests that come from trusted peers.

    :param names: of the fields that are believed, from `read_names`.
    """

    __slots__ = ("_known", "_names", "_trust")

    def __init__(self, trust: Trust, names: frozenset[bytes]) -> None:
        self._trust = trust
        self._names = names
        self._known: dict[tuple[Field, ...], Told] = {}  # a client's requests all say the same

    def read(self, headers: list[Field]) -> Told:
        """What they say; not to be changed, for it may be told again.

        :raises WireError: 400, a Forwarded that cannot be read: the proxy's own words may be hidden in it.
        """
        names = self._names
        fields = tuple([field for field in headers if field[0] in names])
        told = self._known.get(fields)
        if told is None:
            told = self._read(fields)
            if sum(len(value) for _, value in fields) <= _KEPT:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[fields] = told
        return told

    def _read(self, fields: tuple[Field, ...]) -> Told:
        told = Told()
        lines: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            lines.setdefault(name, []).append(value)
        if b"forwarded" in lines:
            self._forwarded(lines[b"forwarded"], told)
        elif lines:
            self._x_forwarded(lines, told)
        return told

    def _x_forwarded(self, lines: dict[bytes, list[bytes]], told: Told) -> None:
        told.client, depth = self._walk(_entries(lines.get(b"x-forwarded-for")))

        def said(name: bytes) -> bytes:
            """The entry of the proxy that spoke of the client; of the furthest one where fewer say something."""
            entries = _entries(lines.get(name))
            return entries[min(depth, len(entries)) - 1] if entries else b""

        told.scheme = _SCHEMES.get(said(b"x-forwarded-proto").lower())
        told.host = _host(said(b"x-forwarded-host"))
        told.port = _port(said(b"x-forwarded-port"))
        told.prefix = _prefix(said(b"x-forwarded-prefix"))

    def _forwarded(self, lines: list[bytes], told: Told) -> None:
        elements = [element for line in lines for element in _elements(line)][-CHAIN_MAX:][::-1]
        if not elements:
            return
        told.client, depth = self._walk([element.get(b"for", b"") for element in elements])
        element = elements[min(depth, len(elements)) - 1]
        told.scheme = _SCHEMES.get(element.get(b"proto", b"").lower())
        told.host = _host(element.get(b"host", b""))

    def _walk(self, entries: list[bytes]) -> tuple[tuple[str, int] | None, int]:
        """The client of a chain whose nearest entry is first, and how many proxies have spoken (at least 1).

        An entry that is no address ends the walk: who is behind it is not known, so the nearest known one is told.
        """
        hops = self._trust.hops
        if hops is not None:
            node = read_node(entries[min(hops, len(entries)) - 1]) if entries else None
            return (None if node is None else (str(node[0]), node[1])), hops
        client = None
        depth = 0
        for depth, entry in enumerate(entries, 1):  # noqa: B007 (how far it came is the second result)
            node = read_node(entry)
            if node is None:
                break
            client = (str(node[0]), node[1])
            if not self._trust.address(node[0]):
                break
        return client, max(depth, 1)


def read_node(entry: bytes) -> tuple[IpAddress, int] | None:
    """Address and port (0: not told) of an entry; None for what is no address, such as `unknown` or `_hidden`."""
    match = _NODE.fullmatch(entry)
    if match is None:
        return None
    port = int(match["port"] or 0)
    try:
        address = ip_address((match["six"] or match["four"] or match["bare"]).decode("ascii"))
    except ValueError:
        return None
    if port > 65535 or (match["six"] and address.version == 4):
        return None
    return normal(address), port


def _entries(lines: list[bytes] | None) -> list[bytes]:
    """The members of a list (RFC 9110 section 5.6.1), nearest first. Several lines are one list (section 5.3)."""
    if not lines:
        return []
    entries = b",".join(lines).rsplit(b",", CHAIN_MAX)[-CHAIN_MAX:]
    stripped = [entry.strip(b" \t") for entry in reversed(entries)]
    return [entry for entry in stripped if entry]


def _elements(line: bytes) -> list[dict[bytes, bytes]]:
    """The elements of one line of Forwarded, in order.

    :raises WireError: 400.
    """
    elements: list[dict[bytes, bytes]] = []
    element: dict[bytes, bytes] = {}
    pos = 0
    while True:
        match = _PAIR.match(line, pos)
        assert match is not None  # every part of it is optional
        pos = match.end()
        if match[1]:
            name = match[1].lower()
            if name in element:
                raise WireError(400, "a parameter of Forwarded twice")
            element[name] = _ESCAPED.sub(rb"\1", match[2]) if match[2] is not None else match[3]
        following = line[pos : pos + 1]
        if following != b";" and element:
            elements.append(element)
            element = {}
        if not following:
            return elements
        if following not in b",;":
            raise WireError(400, "a Forwarded that cannot be read")
        pos += 1


def _host(value: bytes) -> bytes | None:
    return value if value and len(value) <= HOST_MAX and HOST.fullmatch(value) and value[:1] != b":" else None


def _port(value: bytes) -> int | None:
    port = int(value) if _PORT.fullmatch(value) else 0
    return port if 0 < port < 65536 else None


def _prefix(value: bytes) -> str | None:
    if not value or len(value) > PREFIX_MAX or not _PREFIX.fullmatch(value):
        return None
    return value.decode("ascii").rstrip("/")
