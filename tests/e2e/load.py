"""Keep-alive clients that load a server while it stops, and a strict account of what happened to each request."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

REQUESTS = (
    b"GET /small HTTP/1.1\r\nHost: test\r\n\r\n",
    b"POST /post HTTP/1.1\r\nHost: test\r\nContent-Length: 10000\r\n\r\n" + b"b" * 10000,
    b"POST /chunked HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
)
ALONE = b"GET /alone HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


@dataclass
class Account:
    """What happened. `failed` and `stale` hold one line for each request."""

    done: int = 0
    announced: int = 0  # connections that ended after `Connection: close`
    rested: int = 0  # idle connections that the server closed before the next request
    refused: int = 0
    failed: list[str] = field(default_factory=list)
    # Written onto a used connection that was closed at that instant without an octet of answer.
    stale: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


class Broken(Exception):
    """An answer did not come whole; `begun`: some of it came."""

    def __init__(self, reason: str, begun: bool) -> None:
        super().__init__(reason)
        self.begun = begun


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Read one answer with a Content-Length or in chunks: its status, and whether the server closes after it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Broken("the end instead of a head", bool(error.partial)) from None
    except ConnectionError as error:
        raise Broken(f"{type(error).__name__} instead of a head", False) from None
    lower = head.lower()
    try:
        if b"transfer-encoding: chunked" in lower:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        else:
            length = lower.split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise Broken(f"{type(error).__name__} inside a body", True) from None
    return int(head[9:12]), b"connection: close" in lower


class Load:
    """`clients` clients at `address` until the listener is closed. Most never pause; of ten, one thinks for a
    while between two requests, and one makes a connection for each of them.

    `ready` is called once, when `enough` answers have come: the moment to stop the server.
    """

    def __init__(self, address: tuple[str, int], clients: int, enough: int, ready: Callable[[], None]) -> None:
        self._address = address
        self._clients = clients
        self._enough = enough
        self._ready = ready
        self.account = Account()

    async def run(self, seconds: float) -> Account:
        """Load the server until every client has been refused."""
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for number in range(self._clients):
                group.create_task(self._client(number))
        return self.account

    async def _client(self, number: int) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except ConnectionRefusedError:
                self.account.refused += 1
                return
            try:
                await self._connection(number, reader, writer)
            finally:
                writer.transport.abort()

    async def _connection(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        account = self.account
        used = 0
        while True:
            writer.write(ALONE if number % 10 == 1 else REQUESTS[(number + used) % len(REQUESTS)])
            try:
                status, closes = await read_answer(reader)
            except Broken as error:
                line = f"client {number}, request {used + 1} on its connection: {error}"
                (account.failed if error.begun or not used else account.stale).append(line)
                return
            used += 1
            account.done += 1
            account.statuses[status] += 1
            if account.done == self._enough:
                self._ready()
            if closes:
                account.announced += 1
                return
            if number % 10 == 0 and await self._rest(reader, 0.04 * (number + 1)):
                account.rested += 1
                return

    async def _rest(self, reader: asyncio.StreamReader, seconds: float) -> bool:
        """Think for a while; True when the server has closed the idle connection meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                return await reader.read(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True
