"""Does a server see in a stream what the strict model sees, whichever reader and however it is cut?

`python -m tests.property.streams --seconds 600 --seed 7`. Each round makes a sequence of requests by the grammar, or
mutates one of the corpus, and plays it over whole connections (property.talk) with each reader and in several cuts.
The app must get exactly the model's requests, the answers must echo their bodies, and the end must be the model's:
open, closed, or refused with a status that one of the faults deserves.
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

if __package__ == "tests.property":  # as a command, from the project's folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bridgeserve.groups import Limits
from net.clock import turns
from property.fuzz import FOUND, mutate, seeds
from property.grammar import Grammar, splits
from property.hunt import Hunt, command, describe
from property.model import Sizes, Verdict, read_stream
from property.talk import LONG, Answer, Faults, Given, Server, answers, echo, new_wire
from wire.drive import READERS

LIMITS = Limits(request_line=300, fields=12, field_size=200, body=5000)
SIZES = Sizes(request_line=300, fields=12, field_size=200, body=5000)
FOUND_STREAMS = FOUND / "streams"


@dataclass
class Course:
    """How one connection went. `closed`: the server ended it before the client did."""

    given: list[Given]
    closed: bool
    answers: list[Answer] = field(default_factory=list)


async def play(server: Server, reader: str, pieces: list[bytes], rng: random.Random) -> Course:
    """One connection: all pieces, with turns of the loop between them or not, and the end of input."""
    with new_wire(server, reader, LIMITS) as wire:
        client = wire.client
        for piece in pieces:
            client.send(piece)
            await turns(rng.choice((0, 0, 1, 5)))
        closed = False
        if rng.random() < 0.7:  # else the end comes at once
            await asyncio.sleep(0.001)
            closed = client.ended or client.is_closing()
        client.send_eof()
        await asyncio.sleep(LONG)
        assert client.lost, f"the connection is not closed: {wire.connection.session.state}"
        assert not server.running, "a request does not end"
        assert not client.aborted, "the connection was cut"
        course = Course(server.given, closed)
        course.answers, rest = answers(client.read(), [record.request.method for record in wire.records])
        assert rest == b"", f"sent behind the last answer: {rest!r}"
        recorded = [record.request.target for record in wire.records if record.status != 421]
        assert recorded == [each.target for each in course.given], recorded
        return course


def small(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The fields, but h11 gives the name of a coding in lower case."""
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]


def check(course: Course, verdict: Verdict) -> None:
    """Compare with the model."""
    seen = [(each.method, each.target, small(each.fields), each.body) for each in verdict.requests if not each.astray]
    given = [(each.method, each.target, small(each.fields), each.body) for each in course.given]
    assert given == seen, f"the app was given {given}, the model sees {seen}"
    whole = [each for each in verdict.requests if each.astray or each.body is not None]
    good, refusals = course.answers[: len(whole)], course.answers[len(whole) :]
    for request, answer in zip(whole, good, strict=True):
        assert answer.status == (421 if request.astray else 200)
        assert request.astray or answer.body == (b"" if request.method == b"HEAD" else request.body), answer
        assert answer.interim <= request.waits
    for answer in good[:-1]:
        assert answer.fields.get(b"connection") != b"close"
    found = [answer.status for answer in refusals]
    if verdict.statuses:
        assert len(found) == 1 and found[0] in verdict.statuses, f"refused with {found}, not {verdict.statuses}"
        assert refusals[0].fields[b"connection"] == b"close"
    else:
        assert found == []
    if good:
        ends = not refusals and verdict.end == "close"
        assert (good[-1].fields.get(b"connection") == b"close") is ends, good[-1]
    assert not course.closed or verdict.end != "open", "closed although the next request may come"


async def judge(server: Server, faults: Faults, data: bytes, rng: random.Random) -> str:
    """What is wrong with this stream; nothing is ""."""
    verdict = read_stream(data, SIZES)
    for pieces in splits(rng, data):
        for reader in READERS:
            try:
                check(await play(server, reader, pieces, rng), verdict)
                assert not (found := faults.take()), found
            except Exception as error:  # any at all is a find
                faults.take()
                return f"{describe(error)}\nreader {reader}, model {verdict}, pieces {pieces!r}"
    return ""


def sample(rng: random.Random, messages: list[bytes]) -> bytes:
    """A stream to try."""
    data = b"".join(rng.choices(messages, k=rng.choice((1, 2)))) if rng.random() < 0.2 else b""
    data += Grammar(rng, rng.choice((0.0, 0.01, 0.03))).sequence()
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        data = mutate(rng, data)
    return data


async def again(data: bytes, seeds: int) -> str:
    """Judge one stream several times; the first fault."""
    with Faults() as faults:
        async with Server(echo) as server:
            for seed in range(seeds):
                if fault := await judge(server, faults, data, random.Random(seed)):
                    return fault
    return ""


async def rounds(hunt: Hunt) -> None:
    """The rounds on one loop."""
    messages = seeds() + [path.read_bytes() for path in sorted(FOUND_STREAMS.glob("*.http"))]
    with Faults() as faults:
        async with Server(echo) as server:
            for rng in hunt.batch():
                data = sample(rng, messages)
                if fault := await judge(server, faults, data, rng):
                    hunt.found(data, fault)


if __name__ == "__main__":
    sys.exit(command(__doc__, rounds, FOUND_STREAMS))
