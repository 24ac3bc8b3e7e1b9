"""Frames of WebSocket as a client writes and reads them (RFC 6455 section 5.2); tests use no library for that."""

from __future__ import annotations

import struct
import zlib

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
Frames = list[tuple[int, bytes]]
_MASK = b"\x11\x22\x33\x44"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame; `rsv` are the three bits as a number."""
    size = len(payload)
    bit = 0x80 if masked else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    stream = _MASK * (size // 4 + 1)
    mixed = int.from_bytes(payload) ^ int.from_bytes(stream[:size])
    return head + _MASK + mixed.to_bytes(size)


def close(code: int | None = None, reason: str | bytes = "") -> bytes:
    """A close frame of the client."""
    text = reason.encode() if isinstance(reason, str) else reason
    return frame(CLOSE, (b"" if code is None else struct.pack("!H", code)) + text)


def deflated(data: bytes, bits: int = 12, level: int = 9) -> bytes:
    """The payload of a compressed message (RFC 7692 section 7.2.1)."""
    squeeze = zlib.compressobj(level, wbits=-bits)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(payload: bytes, bits: int = 12) -> bytes:
    """The data of the first compressed message of a connection."""
    return zlib.decompressobj(-bits).decompress(payload + b"\x00\x00\xff\xff")


def read(data: bytes) -> tuple[Frames, bytes]:
    """The server's frames, as (first octet, payload), and the octets behind the last whole one."""
    found: Frames = []
    while len(data) >= 2:
        assert not data[1] & 0x80, "a server does not mask"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10]), 10
        if len(data) < start + size:
            break
        found.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return found, data


def frames(data: bytes) -> Frames:
    """The server's frames; nothing may be left over."""
    found, rest = read(data)
    assert not rest
    return found


def code_of(found: Frames) -> int | None:
    """The code of the close frame that comes last."""
    first, payload = found[-1]
    assert first == 0x88
    return int.from_bytes(payload[:2]) if payload else None
