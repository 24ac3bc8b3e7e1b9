"""Slow and greedy clients on a virtual clock, with both readers: each has its timer or limit, and nothing grows.

The same clients on real sockets: `tests/e2e/test_greedy.py`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch.base import ClientDisconnected, Exchange
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.net.connection import READ_AHEAD
from bridgeserve.wire.chunked import EXTENSIONS_MAX, LINE_MAX, TRAILERS_MAX
from bridgeserve.wire.gate import head_limit
from net.clock import moment, run_virtual, turns
from net.memory import Application, Wire, begin, ok

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
LENGTH = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
HEAD_MOST = head_limit(Limits()) + 2000

Test = Callable[[Wire], Awaitable[Any]]
Play = Callable[..., Wire]


@pytest.fixture(params=["auto", "h11"])
def play(request: pytest.FixtureRequest) -> Play:
    """Run a test on a connection whose requests are read by a reader and answered by `answer`, or kept."""

    def on_wire(test: Test, answer: Callable[[Exchange], None] | None = None, **more: Any) -> Wire:
        made: list[Wire] = []

        async def main() -> None:
            with Wire(Application(answer), reader=request.param, **more) as wire:
                made.append(wire)
                await test(wire)
                await moment(40.0)
                assert not wire.engine.connections, "the connection has no end"

        run_virtual(main)
        return made[0]

    return on_wire


def read_body(exchange: Exchange) -> None:
    """An application that reads its whole body, as slowly as it comes, and answers."""

    async def read() -> None:
        try:
            while await exchange.read():
                pass
        except ClientDisconnected:
            return
        ok(exchange)

    task = asyncio.ensure_future(read())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Task[None]] = set()


def statuses(data: bytes) -> list[bytes]:
    """The statuses in what a client has read."""
    return re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", data)


async def drip(wire: Wire, octets: Iterator[bytes], pause: float, most: float) -> float:
    """Send piece by piece until we are answered with an end; how many seconds that took."""
    began = asyncio.get_running_loop().time()
    while not wire.client.ended and not wire.client.is_closing():
        assert asyncio.get_running_loop().time() - began < most, "no end"
        wire.client.send(next(octets))
        await moment(pause)
    return asyncio.get_running_loop().time() - began


def endless(first: bytes, then: bytes) -> Iterator[bytes]:
    """Octets one by one, the second part again and again."""
    for octet in first:
        yield bytes([octet])
    while True:
        for octet in then:
            yield bytes([octet])


# --- heads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", [b"X-Field: value\r\n", b"a"], ids=["fields", "one field"])
def test_a_head_of_an_octet_a_second(play: Play, then: bytes) -> None:
    async def test(wire: Wire) -> None:
        took = await drip(wire, endless(GET[:-2] + b"X: ", then), 1.0, 12.0)
        assert 9.0 <= took <= 11.0
        assert statuses(wire.client.read()) == [b"408"]
        assert wire.engine.requests == 0

    play(test)


@pytest.mark.parametrize(
    ("first", "then", "status"),
    [
        (GET[:-2], b"X-Field: value\r\n", b"431"),
        (GET[:-2] + b"X: ", b"v" * 1000, b"431"),
        (GET[:-2], b"x" * 1000, b"431"),
        (b"GET /", b"a" * 1000, b"414"),
        (b"A", b"A" * 1000, b"414"),
    ],
    ids=["fields", "a field", "a name", "a target", "a method"],
)
def test_a_head_that_never_ends(play: Play, first: bytes, then: bytes, status: bytes) -> None:
    async def test(wire: Wire) -> None:
        sent = len(first)
        wire.client.send(first)
        while not wire.client.ended:
            wire.client.send(then)
            sent += len(then)
            assert sent <= HEAD_MOST
            assert wire.connection.session.unread <= HEAD_MOST
        for _ in range(1000):  # it goes on sending while we wait for it to read
            wire.client.send(then)
        assert statuses(wire.client.read()) == [status]
        assert wire.connection.session.unread == 0

    play(test)


# --- bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "then"),
    [
        (LENGTH, b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"fffff\r\n", b"x"),
        (CHUNKED, b"1;a=b\r\nx\r\n"),
        (CHUNKED + b"1;a=", b"b"),
        (CHUNKED + b"0\r\n", b"X-Trailer: value\r\n"),
    ],
    ids=["length", "chunks", "a chunk", "extensions", "an extension", "trailers"],
)
@pytest.mark.parametrize("answer", [read_body, None], ids=["read", "unread"])
def test_a_body_of_an_octet_a_second(play: Play, head: bytes, then: bytes, answer: Any) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(head)
        took = await drip(wire, endless(b"", then), 1.0, 25.0)
        assert 9.0 <= took <= 21.0
        assert statuses(wire.client.read()) == [b"408"]
        assert wire.app.last.lost

    play(test, answer)


@pytest.mark.parametrize(
    ("then", "status", "most"),
    [
        (b"1" + b";a=b" * 200 + b"\r\nx\r\n", b"400", EXTENSIONS_MAX + 2000),
        (b";a" * 1000, b"400", LINE_MAX + 2000),
        (b"0" * 1000, b"400", LINE_MAX + 2000),
    ],
    ids=["many extensions", "one line", "zeros"],
)
def test_chunk_lines_have_limits(play: Play, then: bytes, status: bytes, most: int) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(CHUNKED + (b"" if then.startswith(b"1") else b"1"))
        sent = 0
        while not wire.client.ended:
            wire.client.send(then)
            sent += len(then)
            assert sent <= most
        assert statuses(wire.client.read()) == [status]

    play(test, read_body)


def test_trailers_have_a_limit(play: Play) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(CHUNKED + b"1\r\nx\r\n0\r\n")
        sent = 0
        while not wire.client.ended:
            wire.client.send(b"X-Trailer: value\r\n")
            sent += 18
            assert sent <= TRAILERS_MAX + 100
        assert statuses(wire.client.read()) == [b"431"]

    play(test, read_body)


def test_a_body_that_never_ends_meets_the_limit(play: Play) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(CHUNKED)
        while not wire.client.ended:
            wire.client.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await turns()
        assert statuses(wire.client.read()) == [b"413"]

    play(test, read_body, limits=Limits(body=100_000))


def test_a_body_that_never_ends_and_is_not_read_waits_in_the_client(play: Play) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(CHUNKED)
        sent = 0
        while wire.client.reading:
            wire.client.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            sent += 0x1000
        assert sent <= READ_AHEAD + 2 * 0x1000
        await moment(3600.0)
        assert not wire.client.is_closing()
        ok(wire.app.last)  # nobody wants the rest
        while not wire.client.ended and not wire.client.is_closing():
            wire.client.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await turns()
        assert statuses(wire.client.read()) == [b"200"]

    play(test)


@pytest.mark.parametrize("silence", [5.0, 30.0])
def test_an_expectation_whose_body_never_comes(play: Play, silence: float) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(EXPECT)
        await turns()
        assert wire.client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await moment(min(silence, 10.0) - 0.1)
        assert not wire.client.ended
        await moment(0.2)
        assert statuses(wire.client.read()) == [b"408"]

    play(test, read_body, timeouts=Timeouts(body=silence))


def test_an_expectation_that_nobody_meets_ends_with_the_answer(play: Play) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(EXPECT)
        assert b"\r\nconnection: close\r\n" in wire.client.read()

    play(test, ok)


def test_an_expectation_without_a_body_is_nothing(play: Play) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET[:-2] + b"Expect: 100-continue\r\n\r\n" + GET)
        await turns()
        assert statuses(wire.client.read()) == [b"200", b"200"]
        await moment(75.0)

    play(test, ok)


# --- answers that nobody reads -----------------------------------------------------------------------


def test_a_reader_of_an_octet_a_second_is_cut(play: Play) -> None:
    """Progress alone does not keep a connection: less than --min-body-rate over --timeout-write is a stall."""

    async def test(wire: Wire) -> None:
        client = wire.client
        client.slow = True
        client.send(GET)
        begin(wire.app.last, b"x" * 100_000)
        for second in range(30):
            assert not client.aborted, second
            client.take(1)
            await moment(1.0)
        await moment(0.1)
        assert client.aborted
        # A plain close would leave what is unsent with the system, for as long as the client likes.
        assert wire.raw.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0)
        assert [record.cut for record in wire.records] == [True]

    play(test)


def test_without_a_floor_any_progress_keeps_the_connection(play: Play) -> None:
    async def test(wire: Wire) -> None:
        wire.client.slow = True
        wire.client.send(GET)
        begin(wire.app.last, b"x" * 100_000)
        for _ in range(300):
            wire.client.take(1)
            await moment(1.0)
        assert not wire.client.aborted

    play(test, timeouts=Timeouts(min_body_rate=0))


def test_a_pipelined_flood_without_reading(play: Play) -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.slow = True
        for _ in range(1000):
            client.send(GET * 100)
            assert wire.connection.session.unread <= READ_AHEAD + 100 * len(GET)
            assert len(client.unsent) <= 65536 + 20_000
            await turns(1)
        await turns(100)
        assert not client.reading
        assert wire.engine.requests < 1000
        await moment(31.0)
        assert client.aborted

    play(test, lambda exchange: ok(exchange, b"x" * 1000))


# --- the RST -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "begun", "requests"),
    [
        (b"", 0, 0),
        (GET[:9], 0, 0),
        (GET, 0, 1),
        (LENGTH, 0, 1),
        (LENGTH + b"x" * 1000, 0, 1),
        (CHUNKED + b"5\r\nhel", 0, 1),
        (EXPECT, 0, 1),
        (GET, 1, 1),
        (LENGTH + b"x" * 1000, 1, 1),
        (GET, 2, 1),
        (LENGTH + b"x" * 1000, 2, 1),
        (GET * 3, 2, 2),
        (b"bad\r\n\r\n", 0, 0),
    ],
)
def test_a_reset_at_any_moment(play: Play, sent: bytes, begun: int, requests: int) -> None:
    """`begun`: the answer is not begun, begun, or complete."""

    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(sent)
        exchange = wire.app.last if wire.app.exchanges else None
        if begun == 1:
            begin(exchange, b"x")  # type: ignore[arg-type]
        elif begun:
            ok(exchange)  # type: ignore[arg-type]
        await turns()
        client.reset()
        await turns()
        assert wire.engine.requests == requests
        assert not wire.engine.connections
        assert all(each.lost for each in wire.app.exchanges)
        assert len(wire.records) == requests
        for each in wire.app.exchanges:  # what comes too late is no error
            ok(each)
            each.abort()

    play(test)
