"""What the system knows of a client and no transport tells."""

from __future__ import annotations

import asyncio
import fcntl
import select
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridgeserve.net.exchange import Exchange

LOOK = 2.0  # seconds between two looks for the end of a client from which nothing is read


def untaken(transport: asyncio.Transport) -> int:
    """Octets that the client has not taken: those in the transport, and those in the system (TIOCOUTQ, tcp(7)).

    Without the latter a client would seem to take nothing until a third of a buffer of megabytes is free.
    """
    size = transport.get_write_buffer_size()
    raw = transport.get_extra_info("socket")
    try:
        (waiting,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:  # a system that does not tell
        return size
    return size + int(waiting)


def look_for_end(transport: asyncio.Transport, exchange: Exchange | None) -> None:
    """Tell an exchange that its client has left although nothing is read: the end is behind what waits unread.

    Linux tells it (POLLRDHUP, poll(2)); elsewhere it is found when reading or writing.
    """
    event = getattr(select, "POLLRDHUP", 0)
    raw = transport.get_extra_info("socket")
    if event and raw is not None:
        look = select.poll()
        look.register(raw.fileno(), event)
        found = look.poll(0)
        if found and found[0][1] & event:
            if found[0][1] & (select.POLLERR | select.POLLHUP):  # both sides have ended
                transport.abort()
            elif exchange is not None and not exchange.disconnected:
                exchange.leave(lost=False)


def waits(transport: asyncio.BaseTransport) -> bool:
    """The peer has sent what the loop has not read yet. Asked when a time is over, not for each request."""
    raw = transport.get_extra_info("socket")
    try:
        return any(fcntl.ioctl(raw.fileno(), termios.FIONREAD, bytes(4)))
    except OSError:  # it is no stream that can tell
        return False
