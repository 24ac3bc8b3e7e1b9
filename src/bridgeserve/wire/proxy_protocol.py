"""The PROXY protocol, versions 1 and 2: the first octets of a connection say who is at its other end.

Source: "The PROXY protocol" of HAProxy's documentation (doc/proxy-protocol.txt), sections 2.1 and 2.2. A receiver
never guesses whether a header is there: where it is expected and does not come, the connection ends.
"""

from __future__ import annotations

import re
import struct
from ipaddress import ip_address

from bridgeserve.wire.trust import normal

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
WORD = b"PROXY "
LINE_MAX = 107  # octets of a version 1 header with its CRLF
TAIL_MAX = 16384  # octets behind the fixed part of a version 2 header: addresses and TLVs

_FIXED = struct.Struct("!12sBBH")
_LINE = re.compile(
    rb"PROXY (?:(?P<family>TCP[46]) (?P<ends>[0-9A-Fa-f:.]+ [0-9A-Fa-f:.]+) (?P<ports>[0-9]+ [0-9]+)|UNKNOWN.*)\r\n"
)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC = 0x00
_FORMS = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH"), 0x31: struct.Struct("108s108s")}

Address = tuple[str, int]


class ProxyError(Exception):
    """The connection does not begin with a PROXY header."""


class Ends:
    """Both ends of the connection that was accepted by the proxy.

    `local`: the proxy speaks for itself (a health check), or does not know: the ends are those of the connection.
    With a unix socket there `client` is None and `path` is what the client has connected to.
    """

    __slots__ = ("client", "local", "path", "server")

    def __init__(self, client: Address | None = None, server: Address | None = None, path: bytes | None = None) -> None:
        self.client = client
        self.server = server
        self.path = path
        self.local = client is None and path is None


class ProxyReader:
    """Takes the header from the beginning of a stream and nothing behind it."""

    __slots__ = ("_taken", "ends")

    def __init__(self) -> None:
        self._taken = b""
        self.ends: Ends | None = None  # once the header is complete

    def feed(self, data: bytes) -> int:
        """How many octets of `data` belong to the header.

        :raises ProxyError: it is none.
        """
        before = len(self._taken)
        seen = self._taken + data
        if seen[:12] == SIGNATURE[: len(seen)]:
            size = _size(seen)
        elif seen[:6] == WORD[: len(seen)]:
            size = _line_size(seen)
        else:
            raise ProxyError("no PROXY header")
        if size is None or size > len(seen):
            self._taken = seen
            return len(data)
        self._taken = seen[:size]
        self.ends = _read_binary(self._taken) if self._taken[:1] == b"\r" else _read_line(self._taken)
        return size - before


def _line_size(seen: bytes) -> int | None:
    end = seen.find(b"\n", 0, LINE_MAX)
    if end < 0 and len(seen) >= LINE_MAX:
        raise ProxyError("a PROXY line that is too long")
    return None if end < 0 else end + 1


def _size(seen: bytes) -> int | None:
    if len(seen) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(seen)
    if command not in (_LOCAL, _PROXY):
        raise ProxyError("a version or command of PROXY that does not exist")
    if length > TAIL_MAX:
        raise ProxyError("a PROXY header that is too long")
    if command == _PROXY and family != _UNSPEC and (family not in _FORMS or length < _FORMS[family].size):
        raise ProxyError("a PROXY header with another family of addresses")
    return _FIXED.size + int(length)


def _read_line(line: bytes) -> Ends:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProxyError("a bad PROXY line")
    if match["family"] is None:
        return Ends()
    ends = []
    for host, port in zip(match["ends"].decode().split(), match["ports"].decode().split(), strict=True):
        try:
            address = ip_address(host)
        except ValueError:
            raise ProxyError("a bad address in a PROXY line") from None
        if not _NUMBER.fullmatch(port) or int(port) > 65535 or address.version != int(match["family"][3:]):
            raise ProxyError("a bad port or family in a PROXY line")
        ends.append((str(normal(address)), int(port)))
    return Ends(ends[0], ends[1])


def _read_binary(header: bytes) -> Ends:
    _, command, family, _ = _FIXED.unpack_from(header)
    if command == _LOCAL or family == _UNSPEC:
        return Ends()
    parts = _FORMS[family].unpack_from(header, _FIXED.size)  # what follows are TLVs, which nobody here needs
    if family == 0x31:
        return Ends(path=parts[1].partition(b"\0")[0])
    source, target, source_port, target_port = parts
    return Ends((str(normal(ip_address(source))), source_port), (str(normal(ip_address(target))), target_port))
