"""Good and bad clients. Each kind is a coroutine that makes one or several requests and notes how each ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from e2e.load import Broken, read_answer
from soak.ledger import CUT, LEFT, Clients, Outcome

RESET = struct.pack("ii", 1, 0)
WAIT = 30.0  # seconds for anything: a hang is a failure
BODY_LIMIT = 400_000
ANY_5XX: tuple[Outcome, ...] = (502, 503, 504)


class Dial:
    """A connection and the account of its requests."""

    def __init__(self, clients: Clients, kind: str, chance: random.Random) -> None:
        self._clients = clients
        self.kind = kind
        self.chance = chance
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self, address: tuple[str, int]) -> None:
        """Connect."""
        self.reader, self.writer = await asyncio.open_connection(*address)

    def head(self, method: str, path: str, *fields: str) -> tuple[int, bytes]:
        """A new request's id, and its head."""
        request = self._clients.number()
        lines = [f"{method} {path}?id={request} HTTP/1.1", "Host: soak", *fields, "", ""]
        return request, "\r\n".join(lines).encode()

    def note(self, request: int, outcome: Outcome, *permitted: Outcome) -> None:
        """How a request ended."""
        self._clients.note(request, self.kind, outcome, permitted)

    async def answer(self, request: int, *permitted: Outcome) -> bool:
        """Read an answer and note it; False when the connection ends after it."""
        try:
            status, closes = await read_answer(self.reader)
        except Broken:
            self.note(request, CUT, *permitted)
            return False
        self.note(request, status, *permitted)
        return not closes

    async def send(self, data: bytes) -> None:
        """Send; a server that has answered and closed meanwhile is no fault."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    def leave(self, request: int, reset: bool) -> None:
        """Go away in the middle."""
        self.note(request, LEFT, LEFT)
        if reset:
            raw = self.writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def chunked(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """A body in chunks of random sizes."""
    at = 0
    while at < len(data):
        size = chance.randint(1, 60_000)
        piece = data[at : at + size]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
        at += size
    yield b"0\r\n\r\n"


# --- good ----------------------------------------------------------------------------------------


async def plain(dial: Dial) -> None:
    """Some requests on one connection."""
    for _ in range(dial.chance.randint(1, 8)):
        request, head = dial.head("GET", dial.chance.choice(("/hello", "/hello", "/sleep/0.01", "/download")))
        await dial.send(head)
        if not await dial.answer(request, 200, *ANY_5XX):
            return


async def upload(dial: Dial) -> None:
    data = dial.chance.randbytes(dial.chance.choice((0, 10, 5000, 70_000, 300_000)))
    if dial.chance.random() < 0.5:
        request, head = dial.head("POST", "/upload", f"Content-Length: {len(data)}")
        await dial.send(head + data)
    else:
        request, head = dial.head("POST", "/upload", "Transfer-Encoding: chunked")
        await dial.send(head)
        for piece in chunked(data, dial.chance):
            await dial.send(piece)
    await dial.answer(request, 200, *ANY_5XX)


async def pipelined(dial: Dial) -> None:
    made = [dial.head("GET", "/hello") for _ in range(dial.chance.randint(2, 40))]
    await dial.send(b"".join(head for _, head in made))
    for request, _ in made:
        if not await dial.answer(request, 200, *ANY_5XX):
            raise AssertionError("the server has closed before its last answer")


async def half_closed(dial: Dial) -> None:
    """503 and 504 are not excluded; a request that still waits for its place after a moment is given up."""
    request, head = dial.head("GET", dial.chance.choice(("/hello", "/download", "/sleep/0.05")))
    await dial.send(head)
    with contextlib.suppress(OSError):
        dial.writer.write_eof()
    await dial.answer(request, 200, CUT, *ANY_5XX)


# --- clients that go -----------------------------------------------------------------------------


async def leave_upload(dial: Dial) -> None:
    size = 300_000
    part = dial.chance.choice((0.1, 0.5, 0.99))
    if dial.chance.random() < 0.5:
        request, head = dial.head("POST", "/upload", f"Content-Length: {size}")
    else:
        request, head = dial.head("POST", "/upload", "Transfer-Encoding: chunked")
        head += b"%x\r\n" % size
    await dial.send(head + b"u" * int(size * part))
    dial.leave(request, dial.chance.random() < 0.5)


async def leave_download(dial: Dial) -> None:
    request, head = dial.head("GET", dial.chance.choice(("/stream", "/download")))
    await dial.send(head)
    with contextlib.suppress(ConnectionError):
        await dial.reader.read(1000)
    dial.leave(request, dial.chance.random() < 0.5)


async def leave_at_once(dial: Dial) -> None:
    request, head = dial.head("GET", dial.chance.choice(("/hello", "/sleep/0.05")))
    await dial.send(head)
    dial.leave(request, dial.chance.random() < 0.5)


async def no_word(dial: Dial) -> None:
    """Connects and resets."""
    raw = dial.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


# --- clients that break the rules ----------------------------------------------------------------


async def malformed(dial: Dial) -> None:
    fields = dial.chance.choice(
        (
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
            ("Host: another",),
            ("X : y",),
            ("Content-Length: +5",),
        )
    )
    request, head = dial.head("POST", "/upload", *fields)
    await dial.send(head + b"hello")
    await dial.answer(request, 400)


async def too_large(dial: Dial) -> None:
    request, head = dial.head("POST", "/upload", f"Content-Length: {BODY_LIMIT + 1}")
    await dial.send(head)
    await dial.answer(request, 413)


async def slow_head(dial: Dial) -> None:
    request, head = dial.head("GET", "/hello")
    await dial.send(head[:-2])
    await dial.answer(request, 408)


async def slow_body(dial: Dial) -> None:
    request, head = dial.head("POST", "/upload", "Content-Length: 100000")
    await dial.send(head + b"half")
    await dial.answer(request, 408)


# --- apps that fail ------------------------------------------------------------------------------


async def raises(dial: Dial) -> None:
    name = dial.chance.choice(("RuntimeError", "MemoryError", "RecursionError", "SystemExit", "KeyboardInterrupt"))
    request, head = dial.head("GET", f"/raise/{dial.chance.choice(('call', 'started'))}/{name}")
    await dial.send(head)
    await dial.answer(request, 500, *ANY_5XX)


async def raises_later(dial: Dial) -> None:
    request, head = dial.head("GET", "/raise/later/RuntimeError")
    await dial.send(head)
    await dial.answer(request, CUT, *ANY_5XX)


async def too_long(dial: Dial) -> None:
    request, head = dial.head("GET", "/sleep/5")
    await dial.send(head)
    await dial.answer(request, *ANY_5XX)


async def crashes(dial: Dial) -> None:
    request, head = dial.head("GET", dial.chance.choice(("/segfault", "/os-exit")))
    await dial.send(head)
    await dial.answer(request, 502, 503, 504)


@dataclass(frozen=True)
class Kind:
    """:param weight: how often, beside the others. `modes`: where it can be; () everywhere."""

    run: Callable[[Dial], Awaitable[None]]
    weight: int
    modes: tuple[str, ...] = ()


GOOD = (Kind(plain, 10), Kind(upload, 6), Kind(pipelined, 2), Kind(half_closed, 1))
BAD = (
    Kind(leave_upload, 6),
    Kind(leave_download, 6),
    Kind(leave_at_once, 6),
    Kind(no_word, 6),
    Kind(malformed, 6),
    Kind(too_large, 3),
    Kind(slow_head, 2),
    Kind(slow_body, 2),
    Kind(raises, 6),
    Kind(raises_later, 4),
    Kind(too_long, 1, ("inline-asgi", "threads", "processes")),  # inline WSGI holds its loop
    Kind(crashes, 1, ("processes",)),
)


async def client(
    address: tuple[str, int],
    mode: str,
    kinds: tuple[Kind, ...],
    clients: Clients,
    chance: random.Random,
    over: asyncio.Event,
) -> None:
    """One client after the other, with a pause between them, until it is over."""
    possible = [kind for kind in kinds if not kind.modes or mode in kind.modes]
    weights = [kind.weight for kind in possible]
    while not over.is_set():
        [kind] = chance.choices(possible, weights)
        dial = Dial(clients, kind.run.__name__, chance)  # type: ignore[attr-defined]
        async with asyncio.timeout(WAIT):
            await dial.open(address)
            try:
                await kind.run(dial)
            finally:
                dial.writer.close()
        await asyncio.sleep(chance.random() * 0.04)
