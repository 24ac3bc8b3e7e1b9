"""Slow and greedy clients on real sockets, all at the same time: what each of them does and what it got.

A row is what a client sends, piece by piece. It reads everything meanwhile, up to the end of its connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

GET = b"GET /greedy HTTP/1.1\r\nHost: test\r\n\r\n"
LENGTH = b"POST /greedy HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"POST /greedy HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = b"POST /greedy HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
DRIP = 0.25  # seconds between two octets
LONGEST = 40.0


@dataclass(frozen=True)
class Row:
    """One client.

    `first` is sent at once, then the pieces of `then` again and again with `pause` seconds between them (b"" alone:
    nothing more), until the server ends the connection. `statuses`: what it has to get; `after`: not before so many
    seconds.
    """

    first: bytes
    then: bytes = b""
    pause: float = 0.0
    statuses: tuple[int, ...] = ()
    after: float = 0.0

    def pieces(self) -> Iterator[bytes]:
        """What follows `first`: octets one by one where there is a pause."""
        split: Iterable[bytes] = [bytes([octet]) for octet in self.then] if self.pause else [self.then]
        return itertools.cycle(split)


@dataclass(frozen=True)
class Fate:
    """What became of a client: all that it read, and when its connection ended."""

    read: bytes
    seconds: float
    ended: bool

    @property
    def statuses(self) -> tuple[int, ...]:
        """Of all answers, interim ones too."""
        return tuple(map(int, re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.read)))


async def _client(address: tuple[str, int], row: Row) -> Fate:
    reader, writer = await asyncio.open_connection(*address)
    began = time.monotonic()
    read = bytearray()

    async def send() -> None:
        writer.write(row.first)
        if row.then:
            for piece in row.pieces():
                await asyncio.sleep(row.pause)
                writer.write(piece)
                await writer.drain()

    sending = asyncio.ensure_future(send())
    ended = False
    try:
        async with asyncio.timeout(LONGEST):
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(65536):
                    read += data
        ended = True
    except TimeoutError:
        pass
    finally:
        seconds = time.monotonic() - began
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await sending
        writer.transport.abort()
    return Fate(bytes(read), seconds, ended)


Fates = dict[tuple[str, str], Fate]  # by server and row


async def play(addresses: Mapping[str, tuple[str, int]], rows: Mapping[str, Row]) -> Fates:
    """Every row at every server, all at once."""
    pairs = list(itertools.product(addresses, rows))
    fates = await asyncio.gather(*(_client(addresses[server], rows[row]) for server, row in pairs))
    return dict(zip(pairs, fates, strict=True))
