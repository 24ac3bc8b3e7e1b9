"""Keep-alive clients that load a server while its processes come and go, and an account of what they got."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from e2e.load import Broken, read_answer


def get(path: str) -> bytes:
    """A GET."""
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()


def post(path: str, size: int) -> bytes:
    """A POST with so many octets."""
    return f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode() + b"b" * size


@dataclass
class Tally:
    """What came back. `cut`: an answer that had begun; `lost`: a connection that ended without a word."""

    statuses: Counter[int] = field(default_factory=Counter)
    cut: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests that did not get what they asked for."""
        return len(self.cut) + len(self.lost) + self.statuses.total() - self.statuses[200]

    def __str__(self) -> str:
        return f"{dict(self.statuses)}, {len(self.cut)} cut, {len(self.lost)} lost {self.lost[:3]}"


async def crowd(
    address: tuple[str, int], clients: int, requests: tuple[bytes, ...], until: Callable[[], Awaitable[None]]
) -> Tally:
    """So many clients ask again and again, each on its own connection, while `until` runs."""
    tally = Tally()
    over = asyncio.Event()
    async with asyncio.timeout(60.0), asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(_client(address, number, requests, tally, over))
        try:
            await until()
        finally:
            over.set()
    return tally


async def _client(
    address: tuple[str, int], number: int, requests: tuple[bytes, ...], tally: Tally, over: asyncio.Event
) -> None:
    asked = number
    while not over.is_set():
        reader, writer = await asyncio.open_connection(*address)
        try:
            closes = False
            while not closes and not over.is_set():
                asked += 1
                writer.write(requests[asked % len(requests)])
                status, closes = await read_answer(reader)
                tally.statuses[status] += 1
        except Broken as error:
            (tally.cut if error.begun else tally.lost).append(str(error))
        finally:
            writer.transport.abort()
