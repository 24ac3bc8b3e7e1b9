"""Clients that never pause and never try a request again, while something happens to the server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from e2e.load import ALONE, REQUESTS, Broken, read_answer


@dataclass
class Tally:
    """What happened. `failed` has a line for each request without a whole answer, and each refused connection."""

    done: int = 0
    announced: int = 0  # connections that ended after `Connection: close`
    slowest: float = 0.0
    failed: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.done} answers, {len(self.failed)} failed, {self.announced} closes announced,"
            f" slowest {self.slowest:.3f} s, {dict(self.statuses)}"
        )


class Steady:
    """`keeping` clients that keep their connection as long as the server does, and `single` ones with a connection for
    each request.
    """

    def __init__(self, address: tuple[str, int], keeping: int, single: int) -> None:
        self._address = address
        self._keeping = keeping
        self._single = single
        self._over = False
        self.tally = Tally()

    def during(self, happening: Callable[[], Awaitable[None]], seconds: float = 120.0) -> Tally:
        """Load the server until `happening` has ended."""
        asyncio.run(self._run(happening, seconds))
        return self.tally

    async def _run(self, happening: Callable[[], Awaitable[None]], seconds: float) -> None:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for number in range(self._keeping + self._single):
                group.create_task(self._client(number, number >= self._keeping))
            try:
                await happening()
            finally:
                self._over = True

    async def _client(self, number: int, single: bool) -> None:
        while not self._over:
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except OSError as error:
                self.tally.failed.append(f"client {number}: {error}")
                await asyncio.sleep(0.1)  # not to fill the account with one closed door
                continue
            try:
                await self._connection(number, single, reader, writer)
            finally:
                writer.transport.abort()

    async def _connection(
        self, number: int, single: bool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        used = 0
        while not self._over:
            began = time.monotonic()
            writer.write(ALONE if single else REQUESTS[(number + used) % len(REQUESTS)])
            try:
                status, closes = await read_answer(reader)
            except Broken as error:
                self.tally.failed.append(f"client {number}, request {used + 1} on its connection: {error}")
                return
            used += 1
            self.tally.done += 1
            self.tally.statuses[status] += 1
            self.tally.slowest = max(self.tally.slowest, time.monotonic() - began)
            if closes:
                self.tally.announced += 1
                return
