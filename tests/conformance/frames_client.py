"""A WebSocket client that believes nothing, on a blocking socket; the frames are those of tests/wire/frames.py."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from typing import Self

from wire.frames import Frames, read

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPTED = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def handshake(path: str, *lines: str, version: str = "13") -> bytes:
    """A handshake for a path."""
    fields = [
        f"GET {path} HTTP/1.1",
        "Host: t",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {KEY.decode()}",
        *([f"Sec-WebSocket-Version: {version}"] if version else []),
        *lines,
    ]
    return "\r\n".join([*fields, "", ""]).encode("latin-1")


class Socket:
    """One connection, closed by `with`. After `open`: its `status`, its `fields` by lower-case name, and frames."""

    def __init__(self, address: tuple[str, int], patience: float = 10.0) -> None:
        self.socket = socket.create_connection(address, patience)
        self._buffer = b""
        self.status = 0
        self.fields: dict[str, str] = {}
        self.frames: Frames = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send octets."""
        self.socket.sendall(data)

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)

    def open(self, path: str, *lines: str, version: str = "13", then: bytes = b"") -> Self:
        """Send a handshake, and `then` right behind it; read the answer."""
        self.send(handshake(path, *lines, version=version) + then)
        while b"\r\n\r\n" not in self._buffer:
            assert self._more(), f"no answer, but {self._buffer!r}"
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        if self.status == 101:
            assert self.fields["sec-websocket-accept"] == ACCEPTED
        return self

    def frame(self) -> tuple[int, bytes]:
        """The next frame as (first octet, payload)."""
        while not self.frames:
            found, self._buffer = read(self._buffer)
            self.frames += found
            if not found:
                assert self._more(), "the connection has ended"
        return self.frames.pop(0)

    def until_close(self) -> Frames:
        """All frames up to the close frame."""
        got = [self.frame()]
        while got[-1][0] != 0x88:
            got.append(self.frame())
        return got

    def body(self) -> bytes:
        """What comes until the end of the connection."""
        while self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    def reset(self) -> None:
        """Leave without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
