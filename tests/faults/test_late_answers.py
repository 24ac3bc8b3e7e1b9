"""Apps whose answers come about when their time is over: each answer is that of its own request, or 504."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest

from e2e.family import children
from e2e.server import ServerProcess, eventually
from faults.census import WITHIN, Census, ask, unharmed

CLIENTS = 16
EACH = 15
LIMIT = 0.15  # seconds
PAUSES = (0.0, 0.001) * 6 + (LIMIT * 0.9, LIMIT, LIMIT * 1.1) * 2 + (LIMIT * 4,)


async def client(address: tuple[str, int], number: int, seen: Counter[int], chance: random.Random) -> None:
    """Ask on one connection as long as it is kept, with a name of its own for each request."""
    reader = writer = None
    for count in range(EACH):
        if writer is None or reader is None:
            reader, writer = await asyncio.open_connection(*address)
        path = f"/sleep/{chance.choice(PAUSES):.3f}/{number}-{count}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"chunked" in head:
            body = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        status = int(head[9:12])
        seen[status] += 1
        assert status in (200, 502, 503, 504)
        assert status != 200 or body == f"{path} 0\n".encode()
        if b"connection: close" in head:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


MANY = {"inline-asgi": (), "threads": ("--threads", "8"), "processes": ("--processes", "4")}


@pytest.mark.parametrize("mode", list(MANY))
def test_no_answer_is_that_of_another_request(begin: Callable[..., ServerProcess], mode: str) -> None:
    server = begin(mode, "--timeout-request", str(LIMIT), *MANY[mode])
    for _ in range(12):
        ask(server)
    before = Census.of(server)
    seen: Counter[int] = Counter()

    async def main() -> None:
        async with asyncio.timeout(60.0), asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(client(server.address, number, seen, random.Random(number)))

    asyncio.run(main())
    assert seen.total() == CLIENTS * EACH
    assert seen[200] > 0
    assert seen[504] > 0
    if mode == "processes":
        assert eventually(lambda: len(children(server.worker)) == before.children, WITHIN)
    unharmed(server, before)
    assert server.stop().code == 0
