"""The law: h11 reads whatever is not of the lane, one fresh connection object per request.

h11 sees nothing that the gates did not check, and exactly the octets of one message, so that what
follows on the connection can never be read as part of it.
"""

from __future__ import annotations

import h11

from bridgeserve.wire.chunked import ChunkGate
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.gate import override_host

_INCOMPLETE_MAX = 1 << 24  # the gate bounds the head long before this; h11 must not be the one that refuses


def read_head(head: bytes, request: Request) -> ReferenceBody:
    """Let h11 read a head that passed the gate; its method, target and fields replace the gate's.

    :returns: the reader of the body.
    :raises WireError: 400 when h11 refuses.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_INCOMPLETE_MAX)
    try:
        connection.receive_data(head + b"\r\n\r\n")
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise WireError(400, "h11 refuses the head") from error
    assert isinstance(event, h11.Request)  # the head is whole: h11 reads it or refuses it
    request.method = event.method
    request.target = event.target
    request.headers = list(event.headers)
    override_host(request)
    return ReferenceBody(connection, request)


class ReferenceBody:
    """Reads the body of one request with h11, fed only with what is known to belong to it."""

    __slots__ = ("_connection", "_gate", "_left", "ended")

    def __init__(self, connection: h11.Connection, request: Request) -> None:
        self._connection = connection
        self._gate = ChunkGate() if request.chunked else None
        self._left = request.content_length or 0
        self.ended = request.complete

    @property
    def remaining(self) -> int:
        """Octets still to come as far as is known: 0 for a chunked body."""
        return self._left

    def feed(self, data: bytes, pos: int) -> tuple[bytes, int]:
        """Body octets from `data` at `pos`, and the position after what was used.

        :raises WireError: 400 or 431, by the chunk gate or by h11.
        """
        if self._gate is not None:
            checked, pos = self._gate.feed(data, pos)
            ended = self._gate.ended
        else:
            piece = data[pos : pos + self._left]
            checked, pos = [piece], pos + len(piece)
            self._left -= len(piece)
            ended = self._left == 0
        return self._read(b"".join(checked), ended), pos

    def _read(self, octets: bytes, ended: bool) -> bytes:
        pieces: list[bytes] = []
        try:
            if octets:
                self._connection.receive_data(octets)
            while True:
                event = self._connection.next_event()
                if isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self.ended = True
                    break
                else:
                    break
        except h11.RemoteProtocolError as error:
            raise WireError(400, "h11 refuses the body") from error
        if self.ended is not ended:
            raise WireError(400, "the chunk gate and h11 disagree on the end of the body")
        return b"".join(pieces)
