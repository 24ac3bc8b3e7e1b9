"""The opening handshake of WebSocket (RFC 6455 section 4.2), for a request that the gate and a reader took.

The gate has checked what HTTP wants. Here is what RFC 6455 wants besides; nothing of it needs the
library that reads frames, so that a server without it can tell what it was asked for.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha1

from bridgeserve.wire.errors import ResponseError, WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.fields import TOKEN
from bridgeserve.wire.framing import Preamble, ResponseHead

VERSION = b"13"
OFFERED_MAX = 64  # subprotocols or extensions that one client may offer
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
# Fields of the answer that are the server's (RFC 6455 section 4.2.2); the application names a subprotocol apart.
_OURS = frozenset({b"sec-websocket-accept", b"sec-websocket-extensions", b"sec-websocket-protocol", b"upgrade"})


class Handshake:
    """What a client asks for: `key` as it came, `subprotocols` in its order, `extensions` as one raw list or ""."""

    __slots__ = ("extensions", "key", "subprotocols")

    def __init__(self, key: bytes, subprotocols: list[str], extensions: str) -> None:
        self.key = key
        self.subprotocols = subprotocols
        self.extensions = extensions


def asks(request: Request) -> bool:
    """True for an upgrade to WebSocket (RFC 9110 section 7.8); `request.upgrade` says that it is an upgrade at all."""
    return b"websocket" in (member.lower() for member in _members(request, b"upgrade"))


def read_handshake(request: Request) -> Handshake:
    """Check the client's side (RFC 6455 section 4.2.1).

    :raises WireError: 426 for another version, which the answer must name (section 4.4), 400 for anything else.
    """
    if request.method != b"GET" or not request.complete or request.body:
        raise WireError(400, "a WebSocket handshake is a GET without a body")
    versions = [value for name, value in request.headers if name == b"sec-websocket-version"]
    if versions != [VERSION]:
        raise WireError(426 if versions else 400, "no WebSocket version, or another one than 13")
    keys = [value for name, value in request.headers if name == b"sec-websocket-key"]
    if len(keys) != 1 or not _good_key(keys[0]):
        raise WireError(400, "not one Sec-WebSocket-Key of 16 octets")
    subprotocols = _members(request, b"sec-websocket-protocol")
    if len(subprotocols) > OFFERED_MAX or len(set(subprotocols)) < len(subprotocols):
        raise WireError(400, "too many subprotocols, or one twice")
    if not all(map(TOKEN.fullmatch, subprotocols)):
        raise WireError(400, "a subprotocol that is no token")
    offers = [value for name, value in request.headers if name == b"sec-websocket-extensions"]
    extensions = b", ".join(offers)
    if extensions.count(b",") >= OFFERED_MAX:
        raise WireError(400, "too many extensions")
    return Handshake(keys[0], [name.decode("ascii") for name in subprotocols], extensions.decode("latin-1"))


def _good_key(key: bytes) -> bool:
    if not _KEY.fullmatch(key):
        return False
    try:
        return len(b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _members(request: Request, name: bytes) -> list[bytes]:
    """The elements of a list field (RFC 9110 section 5.6.1); empty ones count for nothing."""
    values = b",".join([value for field, value in request.headers if field == name])
    return [member for part in values.split(b",") if (member := part.strip(b" \t"))]


def accept_key(key: bytes) -> bytes:
    """Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def switching(
    handshake: Handshake,
    subprotocol: str | None,
    headers: Iterable[tuple[bytes, bytes]],
    extension: str,
    preamble: Preamble,
) -> bytes:
    """The 101 (RFC 6455 section 4.2.2).

    :param subprotocol: one that the client offered, or None.
    :param headers: of the application.
    :param extension: the value of Sec-WebSocket-Extensions, "" for none.
    :raises ResponseError: a field that cannot be sent, or one that is the server's; a subprotocol nobody offered.
    """
    if subprotocol is not None and subprotocol not in handshake.subprotocols:
        raise ResponseError(f"the subprotocol {subprotocol!r} is none of those that the client offers")
    head = ResponseHead(200, b"", headers)
    for name, _ in head.headers:
        if name.lower() in _OURS:
            raise ResponseError(f"{name!r} is the server's own in the answer to a WebSocket handshake")
    fields = b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %s\r\n" % accept_key(handshake.key)
    if subprotocol is not None:
        fields += b"sec-websocket-protocol: %s\r\n" % subprotocol.encode("ascii")
    if extension:
        fields += b"sec-websocket-extensions: %s\r\n" % extension.encode("ascii")
    lines = preamble.lines[head.preamble]
    return b"".join((b"HTTP/1.1 101 Switching Protocols\r\n", lines, fields, head.block, b"\r\n"))
