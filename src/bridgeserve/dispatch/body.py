"""Request bodies for applications that read them as a file (PEP 3333 "Input and Error Streams")."""

from __future__ import annotations

import io
import logging
import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO, cast

from bridgeserve.dispatch.base import ClientDisconnected, Exchange, answer, drop_spool

_log = logging.getLogger("bridgeserve.error")


async def collect(exchange: Exchange, memory: int) -> BinaryIO:
    """Read the whole body: in memory up to `memory` octets, in a nameless temporary file above it.

    :returns: a file at its beginning; the caller closes it.
    :raises ClientDisconnected: the client left; OSError: the temporary file cannot be written.
    """
    body: BinaryIO = io.BytesIO()
    size = 0
    spooled = False
    try:
        while data := await exchange.read():
            size += len(data)
            if size > memory and not spooled:
                spooled = True
                file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  the caller closes it
                file.write(cast(io.BytesIO, body).getbuffer())
                body = file
            body.write(data)
        exchange.request.content_length = size  # known now for a chunked body too
        body.seek(0)
    except BaseException:
        body.close()
        raise
    return body


async def spool(exchange: Exchange, memory: int) -> bool:
    """Collect the body into `exchange.spool`; False when the client left or (507) it cannot be stored."""
    try:
        exchange.spool = await collect(exchange, memory)
        exchange.arrived = time.monotonic()
    except ClientDisconnected:
        return False
    except OSError as error:
        _log.error("a request body cannot be stored: %s", error)
        answer(exchange, 507)
        return False
    if exchange.lost:  # after its last octet, before we looked
        drop_spool(exchange)
        return False
    return True


async def admit_whole(exchange: Exchange, memory: int, admit: Callable[[Exchange], None]) -> None:
    """Admit a request when its body is complete, if it comes to that."""
    if await spool(exchange, memory):
        admit(exchange)


class StreamedBody(io.RawIOBase):
    """wsgi.input of a body that is still arriving: each read waits in the thread of the application.

    :param read: blocks for the next octets, b"" at the end; raises ClientDisconnected.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._rest = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._rest and not self._ended:
            self._rest = self._read()
            self._ended = not self._rest
        piece = self._rest[: len(buffer)]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)
