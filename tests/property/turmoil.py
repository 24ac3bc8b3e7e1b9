"""Can anything that a client does make a connection raise, hang, hoard or lose count?

`python -m tests.property.turmoil --seconds 600 --seed 7`. Each round mutates a few messages of the corpus and plays
them over a whole connection (property.talk) whose client stalls, reads slowly, leaves or resets it at random moments,
while the server may drain; the app answers early, late, in pieces, too much, too little, or fails. What must hold:
nothing leaves the protocol's methods or reaches the loop; buffers stay bounded; the connection ends in a legal state
with no request left running; each request has one record, and each record that is not cut one whole answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

if __package__ == "tests.property":  # as a command, from the project's folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bridgeserve.net import connection
from bridgeserve.wire import cycle, http1
from bridgeserve.wire.gate import head_limit
from net.clock import turns
from net.memory import Wire
from property.fuzz import FOUND, mutate, seeds
from property.grammar import Grammar, cut
from property.hunt import Hunt, command, describe
from property.streams import FOUND_STREAMS, LIMITS
from property.talk import LONG, App, Faults, Receive, Send, Server, answer, answers, new_wire, read_body
from wire.drive import READERS

FOUND_TURMOIL = FOUND / "turmoil"
HIGH, LOW = 3000, 800  # the water marks of the client's side: low, so that they are met often
READ_AHEAD, DISCARD = 1200, 300  # the same for the server's; a chunk line must fit
WRITE_MAX = 2000  # octets that the app writes at once

Judge = Callable[[Server, Faults, bytes, random.Random], Awaitable[str]]


class Boom(Exception):
    """What the app raises."""


# --- the app: each kind of behaviour, chosen by the target and the seed -----------------------------


async def plain(receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    if body is not None:
        await answer(send, body)


async def early(receive: Receive, send: Send) -> None:
    await answer(send, b"early")
    await read_body(receive)


async def one_piece(receive: Receive, send: Send) -> None:
    await receive()
    await answer(send, b"some")


async def stream(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(12):
        await send({"type": "http.response.body", "body": b"x" * WRITE_MAX, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def both_ways(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"x/y")]})
    while (message := await receive())["type"] == "http.request":
        await send({"type": "http.response.body", "body": message["body"], "more_body": message["more_body"]})
        if not message["more_body"]:
            return


async def too_short(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"short"})


async def too_long(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"much", "more_body": True})
    await send({"type": "http.response.body", "body": b"too long"})


async def closing(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b"bye"})


async def no_content(receive: Receive, send: Send) -> None:
    await answer(send, b"none of it goes out", 204)


async def raising(receive: Receive, send: Send) -> None:
    raise Boom


async def raising_late(receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    raise Boom


async def silent(receive: Receive, send: Send) -> None:
    await read_body(receive)


async def patient(receive: Receive, send: Send) -> None:
    with contextlib.suppress(TimeoutError):  # where more is pipelined than is read ahead, the end cannot be seen
        async with asyncio.timeout(60.0):
            while (await receive())["type"] != "http.disconnect":
                pass
    await answer(send, b"too late")


async def slow(receive: Receive, send: Send) -> None:
    await asyncio.sleep(3.0)
    await plain(receive, send)
    await asyncio.sleep(3.0)  # work after the response
    await receive()


HABITS = [plain] * 6 + [
    early,
    one_piece,
    stream,
    stream,
    both_ways,
    too_short,
    too_long,
    closing,
    no_content,
    raising,
    raising_late,
    silent,
    patient,
    slow,
]


async def moody(server: Server, scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One of the habits, the same for the same place in the same stream."""
    key = b"%d %s %s" % (len(server.given), scope["raw_path"], scope["query_string"])
    await HABITS[zlib.crc32(key) % len(HABITS)](receive, send)


# --- the client -------------------------------------------------------------------------------------


class Client:
    """Does things at random with one connection."""

    def __init__(self, wire: Wire, rng: random.Random) -> None:
        self._wire = wire
        self._client = wire.client
        self._client._high, self._client._low = HIGH, LOW
        self._rng = rng
        self._largest = 0
        self.left = False

    async def say(self, pieces: list[bytes]) -> None:
        """Send all pieces and do other things between them."""
        for piece in pieces:
            self._largest = max(self._largest, len(piece))
            if self._client.is_closing():
                break
            self._client.send(piece)
            await self._between()
            if self.left:
                return

    async def _between(self) -> None:
        rng, client = self._rng, self._client
        self.bounded()
        kind = rng.randrange(40)
        if kind < 20:
            await turns(rng.choice((0, 0, 1, 5)))
        elif kind < 24:
            await asyncio.sleep(rng.choice((0.5, 3.0, 9.0, 31.0)))
        elif kind < 27:
            client.slow = not client.slow
        elif kind < 32:
            client.take(rng.choice((1, 500, 5000)))
        elif kind == 32:
            self._wire.engine.draining = True
            self._wire.connection.drain(1.0)
        elif kind == 33 and not client.lost:
            client.reset()
            self.left = True
        elif kind == 34:
            client.send_eof()
            await turns(rng.choice((0, 5)))
            self.left = True
        self.bounded()

    def bounded(self) -> None:
        """No buffer is larger than what fills it by one step beyond its mark."""
        session = self._wire.connection.session
        most = head_limit(LIMITS) if session.state is cycle.HEAD else READ_AHEAD  # a head needs the rest of it
        assert session.unread <= most + self._largest, f"{session.unread} octets unread"
        assert len(self._client.unsent) <= HIGH + 3 * WRITE_MAX, f"{len(self._client.unsent)} octets unsent"
        assert session.state in cycle.STATES.values()

    async def leave(self) -> None:
        """Read what is left, and the end."""
        if not self.left:
            self._client.send_eof()
        if self._rng.random() < 0.8:
            self._client.slow = False
            self._client.take(len(self._client.unsent))
        await asyncio.sleep(LONG)


@contextmanager
def small_marks() -> Iterator[None]:
    """The server's own marks so low that short streams meet them."""
    before = connection.READ_AHEAD, connection.BURST, http1.DISCARD_MAX
    connection.READ_AHEAD, connection.BURST, http1.DISCARD_MAX = READ_AHEAD, 2, DISCARD
    try:
        yield
    finally:
        connection.READ_AHEAD, connection.BURST, http1.DISCARD_MAX = before


async def play(server: Server, reader: str, data: bytes, rng: random.Random) -> None:
    """One connection from its beginning to its end."""
    with new_wire(server, reader, LIMITS) as wire:
        client = Client(wire, rng)
        await client.say(cut(rng, data, rng.choice((0, 1, 5, 30))))
        await client.leave()
        assert wire.client.lost, f"the connection is not closed: {wire.connection.session.state}"
        assert not wire.engine.connections
        assert not server.running, "a request does not end"
        client.bounded()
        account(server, wire, wire.client.aborted or wire.client.was_reset)


def account(server: Server, wire: Wire, cut_off: bool) -> None:
    """Requests, records and answers, one for one."""
    recorded = [record.request.target for record in wire.records if record.status != 421]  # that is not the app's
    assert recorded == [each.target for each in server.given], f"{server.given}, but records of {recorded}"
    assert not any(record.cut for record in wire.records[:-1]), "a request behind one that was cut"
    whole = sum(not record.cut for record in wire.records)
    found, rest = answers(bytes(wire.client.received), [record.request.method for record in wire.records])
    ours = [each.status for each in found if each.status >= 400 and each.status not in (421, 500)]
    assert len(ours) <= 1 and (not ours or found[-1].status == ours[0])
    answered = len(found) - len(ours)
    if wire.records and wire.records[-1].cut and answered == len(wire.records):
        last = wire.records[-1].request  # cut, but the client cannot tell by the octets alone
        assert last.method == b"HEAD" or last.version == "1.0", last
        answered -= 1
    assert answered <= whole, f"{whole} records, {answered} answers"
    if not cut_off and not wire.client.unsent:
        assert answered == whole or short_of_length(wire, rest), f"{whole} records, {answered} answers"


def short_of_length(wire: Wire, rest: bytes) -> bool:
    """The last answer is the app's that was shorter than it said: a complete record, but the client sees the cut."""
    return rest.endswith(b"short") and not wire.records[-1].cut


async def judge(server: Server, faults: Faults, data: bytes, rng: random.Random) -> str:
    """What is wrong with this input; nothing is ""."""
    for reader in READERS:
        try:
            await play(server, reader, data, rng)
            assert not (found := faults.take()), found
        except Exception as error:  # any at all is a find
            faults.take()
            return f"{describe(error)}\nreader {reader} on {data!r}"
    return ""


def sample(rng: random.Random, messages: list[bytes]) -> bytes:
    """A stream to try: much of it good, or the app would never see it."""
    data = b"".join(rng.choices(messages, k=rng.choice((0, 1, 2))))
    data = Grammar(rng, rng.choice((0.0, 0.0, 0.02))).sequence() + data
    for _ in range(rng.choice((0, 1, 2, 4))):
        data = mutate(rng, data)
    if rng.random() < 0.2:  # spliced with itself
        at = rng.randrange(len(data) + 1)
        data = data[:at] + data[rng.randrange(len(data) + 1) :]
    return data


def replay(data: bytes, seed: int) -> random.Random:
    """The generator of random numbers for one input: what is kept in a file can be played again."""
    return random.Random(zlib.crc32(data) ^ seed)


@asynccontextmanager
async def stage(app: App) -> AsyncIterator[tuple[Server, Faults]]:
    """Where an input is played: an app that may raise, and marks that are reached soon."""
    with Faults((Boom,)) as faults, small_marks():
        async with Server(app) as server:
            yield server, faults


async def replayed(judge: Judge, app: App, data: bytes, seeds: int) -> str:
    """Judge one input several times, the course that it was found with first; the first fault."""
    async with stage(app) as (server, faults):
        for seed in range(seeds):
            if fault := await judge(server, faults, data, replay(data, seed)):
                return fault
    return ""


async def played(judge: Judge, app: App, sample: Callable[[random.Random], bytes], hunt: Hunt) -> None:
    """The rounds on one loop."""
    async with stage(app) as (server, faults):
        for rng in hunt.batch():
            data = sample(rng)
            if fault := await judge(server, faults, data, replay(data, 0)):
                hunt.found(data, fault)


async def again(data: bytes, seeds: int) -> str:
    """See `replayed`."""
    return await replayed(judge, moody, data, seeds)


async def rounds(hunt: Hunt) -> None:
    """See `played`."""
    messages = seeds() + [path.read_bytes() for path in sorted(FOUND_STREAMS.glob("*.http"))]
    await played(judge, moody, lambda rng: sample(rng, messages), hunt)


if __name__ == "__main__":
    sys.exit(command(__doc__, rounds, FOUND_TURMOIL))
