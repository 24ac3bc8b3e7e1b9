"""The lane: requests that everybody sends are read without h11.

A head that passed the gate, with an origin-form target, HTTP/1.0 or 1.1, and no body or a body by
Content-Length needs nothing more than the gate's own split. h11 gives the same method, target,
fields and body for each of them: tests/property/ holds that.
"""

from __future__ import annotations

from bridgeserve.wire.events import Request


def takes(request: Request) -> bool:
    """True for a request of the lane."""
    return not (request.chunked or request.expect_continue or request.upgrade) and request.target[0] == 0x2F


class LengthBody:
    """Reads a body of a known length (RFC 9112 section 6.2)."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining = length

    @property
    def ended(self) -> bool:
        """True when the whole body was read."""
        return self.remaining == 0

    def feed(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """Body octets from `data` at `pos`, and the position after them."""
        piece = data[pos : pos + self.remaining]
        self.remaining -= len(piece)
        return piece, pos + len(piece)
