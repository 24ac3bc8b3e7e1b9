"""A connection on a transport in memory and a clock that jumps."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from bridgeserve.dispatch.base import ClientDisconnected, Exchange
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.net.connection import BURST, READ_AHEAD
from bridgeserve.wire.framing import ResponseHead
from net.clock import VirtualLoop, moment, run_virtual, turns
from net.memory import Application, Wire, begin, ok

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
CLOSE = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
HELLO_CLOSE = HELLO.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")

Test = Callable[[Wire], Awaitable[Any]]


def post(length: int, extra: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n%s\r\n" % (length, extra)


def on_wire(test: Test, answer: Callable[[Exchange], None] | None = None, **more: Any) -> Wire:
    """Run `test` on a new connection, whose requests are answered by `answer` or kept."""
    made: list[Wire] = []

    async def main() -> None:
        with Wire(Application(answer), **more) as wire:
            made.append(wire)
            await test(wire)

    run_virtual(main)
    return made[0]


# --- requests and answers --------------------------------------------------------------------------


def test_one_request_after_the_other() -> None:
    async def test(wire: Wire) -> None:
        for _ in range(3):
            wire.client.send(GET)
            assert wire.client.read() == HELLO
        assert not wire.client.is_closing()
        assert wire.engine.requests == 3

    on_wire(test, ok)


def test_a_request_in_pieces() -> None:
    async def test(wire: Wire) -> None:
        for octet in GET:
            assert not wire.app.exchanges
            wire.client.send(bytes([octet]))
        assert wire.client.read() == HELLO

    on_wire(test, ok)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET * 3)
        assert len(wire.app.exchanges) == 1
        for number in range(1, 4):
            assert len(wire.app.exchanges) == number
            body = b"%d%d%d%d%d" % ((number,) * 5)
            ok(wire.app.last, body)
            assert wire.client.read() == HELLO.replace(b"hello", body)
            await turns()

    on_wire(test)


def test_a_burst_of_pipelined_requests_leaves_others_their_turn() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET * 50)
        assert wire.engine.requests == BURST
        await asyncio.sleep(0)
        assert wire.engine.requests == 2 * BURST
        await turns()
        assert wire.engine.requests == 50
        assert wire.client.read() == HELLO * 50

    on_wire(test, ok)


def test_a_busy_connection_reads_ahead_within_bounds() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(GET)
        while client.reading:
            client.send(GET * 100)
        assert READ_AHEAD < wire.connection.session.unread <= READ_AHEAD + 100 * len(GET)
        client.send(GET * 100)
        assert client.inbox
        total = 1
        while wire.app.exchanges:
            exchange = wire.app.exchanges.pop()
            ok(exchange)
            total += 1
            await turns()
        assert client.reading and not client.inbox
        assert client.read() == HELLO * (total - 1)
        assert wire.engine.requests == total - 1

    on_wire(test)


@pytest.mark.parametrize("busy", [False, True])
def test_a_head_may_be_larger_than_what_is_read_ahead(busy: bool) -> None:
    """Also one that has come, in part, behind a request that takes its time."""
    large = GET[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"v" * 8000) for number in range(9)) + b"\r\n"
    assert len(large) > READ_AHEAD

    async def test(wire: Wire) -> None:
        if busy:
            wire.client.send(GET)
        for start in range(0, len(large), 1000):
            wire.client.send(large[start : start + 1000])
        if busy:
            assert not wire.client.reading
            ok(wire.app.last)
        await turns()
        assert len(wire.app.last.request.headers) == 10
        ok(wire.app.last)
        assert wire.client.read() == HELLO * (1 + busy)

    on_wire(test)


def test_no_request_begins_while_the_client_does_not_read() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.slow = True
        client.send(GET * 40)
        await turns()
        assert wire.engine.requests == 4  # the transport is above its mark
        client.take(10**6)
        await turns()
        assert wire.engine.requests == 8
        client.slow = False
        while client.unsent:
            client.take(10**6)
            await turns(10)
        assert wire.engine.requests == 40

    on_wire(test, lambda exchange: ok(exchange, b"x" * 20000))


def test_connection_close_is_kept() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(CLOSE)
        assert wire.client.read() == HELLO_CLOSE
        await turns()
        assert wire.client.lost and not wire.client.aborted
        assert not wire.engine.connections

    on_wire(test, ok)


def test_what_is_pipelined_behind_a_close_is_not_served() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(CLOSE + GET)
        await turns()
        assert wire.client.read() == HELLO_CLOSE
        assert wire.engine.requests == 1
        assert wire.client.ended

    on_wire(test, ok)


# --- timers ----------------------------------------------------------------------------------------


async def closes_after(wire: Wire, seconds: float) -> None:
    """The connection is closed by us after so many seconds, and not before."""
    await moment(seconds - 0.1)
    assert not wire.client.is_closing() and not wire.client.ended
    await moment(0.2)
    assert wire.client.is_closing() or wire.client.ended


def test_a_client_that_says_nothing_after_the_connect() -> None:
    async def test(wire: Wire) -> None:
        await closes_after(wire, 10.0)
        assert wire.client.read() == b""
        await moment(5.0)
        assert wire.client.lost

    on_wire(test)


def test_what_came_while_the_loop_was_held_up_is_read_first() -> None:
    """Its deadline has passed because nobody has looked; who has sent nothing is closed all the same."""

    async def test(wire: Wire) -> None:
        loop = cast(VirtualLoop, asyncio.get_running_loop())
        loop.advance(20.0)
        loop.call_later(0.005, wire.client.send, GET)
        await moment(0.02)
        assert wire.client.read() == HELLO
        loop.advance(100.0)
        loop.call_later(0.005, wire.client.send, GET)
        await moment(0.02)
        assert wire.client.read() == HELLO
        loop.advance(100.0)
        await moment(0.02)
        assert wire.client.is_closing() or wire.client.ended

    on_wire(test, ok)


def test_a_head_that_drips_has_an_absolute_deadline() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        wire.client.read()
        await moment(50.0)
        for octet in GET[:11]:
            wire.client.send(bytes([octet]))
            assert wire.client.read() == b""
            await moment(0.9)
        await moment(0.2)
        assert wire.client.read().startswith(b"HTTP/1.1 408 ")
        assert wire.client.ended
        assert wire.engine.requests == 1

    on_wire(test, ok)


def test_an_idle_connection_is_kept_for_its_time() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        await moment(74.0)
        wire.client.send(GET)
        assert wire.client.read() == HELLO * 2
        await closes_after(wire, 75.0)
        assert wire.client.read() == b""

    on_wire(test, ok)


def test_an_application_may_take_its_time() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        await moment(10_000.0)
        ok(wire.app.last)
        assert wire.client.read() == HELLO
        wire.client.send(GET)
        begin(wire.app.last)
        await moment(10_000.0)
        wire.app.last.finish(b"late")
        assert wire.client.read().endswith(b"4\r\nlate\r\n0\r\n\r\n")

    on_wire(test)


@pytest.mark.parametrize("sent", [0, 1, 700])
def test_silence_inside_a_body(sent: int) -> None:
    timeouts = Timeouts(min_body_rate=0)

    async def test(wire: Wire) -> None:
        wire.client.send(post(5000) + b"x" * sent)
        await closes_after(wire, 30.0)
        assert wire.client.read().startswith(b"HTTP/1.1 408 ")
        assert wire.app.last.lost

    on_wire(test, timeouts=timeouts)


def test_a_body_below_the_floor_rate() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(post(50_000))
        for _ in range(60):  # 80 octets a second for a minute
            await moment(1.0)
            wire.client.send(b"x" * 80)
        assert wire.client.read() == b""
        for _ in range(25):  # 50 octets a second
            if wire.client.ended:
                break
            await moment(1.0)
            wire.client.send(b"x" * 50)
        assert wire.client.read().startswith(b"HTTP/1.1 408 ")

    on_wire(test)


def test_a_body_that_we_do_not_read_is_not_slow() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(post(10**6))
        while client.reading:
            client.send(b"x" * 10_000)
        await moment(1000.0)  # the application does something else
        assert client.read() == b""
        exchange = wire.app.last
        assert len(await exchange.read()) > READ_AHEAD
        assert client.reading
        await moment(9.0)
        assert client.read() == b""
        await moment(2.0)  # now it is the client that is slow
        assert client.read().startswith(b"HTTP/1.1 408 ")
        with pytest.raises(ClientDisconnected):
            await exchange.read()

    on_wire(test)


def test_a_peer_that_waits_for_100_is_not_slow() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(post(2000, b"Expect: 100-continue\r\n"))
        await moment(1000.0)
        assert client.read() == b""
        reading = asyncio.ensure_future(wire.app.last.read())
        await turns()
        assert client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await moment(9.0)
        assert client.read() == b""
        client.send(b"x" * 2000)
        assert await reading == b"x" * 2000
        assert await wire.app.last.read() == b""
        ok(wire.app.last)
        assert client.read() == HELLO
        client.send(post(2000, b"Expect: 100-continue\r\n"))
        reading = asyncio.ensure_future(wire.app.last.read())
        await moment(11.0)
        assert client.read().startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408 ")
        with pytest.raises(ClientDisconnected):
            await reading

    on_wire(test)


# --- writing ---------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_is_cut() -> None:
    async def test(wire: Wire) -> None:
        wire.client.slow = True
        wire.client.send(GET)
        exchange = wire.app.last
        begin(exchange, b"x" * 100_000)
        assert not exchange.writable
        waiting = asyncio.ensure_future(exchange.drain())
        await moment(29.9)
        assert not wire.client.aborted
        await moment(0.2)
        assert wire.client.aborted
        with pytest.raises(ClientDisconnected):
            await waiting
        assert [record.cut for record in wire.records] == [True]

    on_wire(test)


def test_who_waits_learns_of_a_cut_at_once() -> None:
    """The client does not read what was sent before it, so the connection lives on for a while."""

    async def test(wire: Wire) -> None:
        wire.client.slow = True
        wire.client.send(post(5))
        exchange = wire.app.last
        begin(exchange, b"x" * 100_000)
        waits = [asyncio.ensure_future(wait()) for wait in (exchange.drain, exchange.read, exchange.wait_disconnect)]
        await turns()
        exchange.abort()
        await turns()
        assert [type(wait.exception()) for wait in waits] == [ClientDisconnected, ClientDisconnected, type(None)]
        assert not wire.client.lost
        await moment(30.1)
        assert wire.client.aborted

    on_wire(test)


@pytest.mark.parametrize("ahead", [0, 50_000])
def test_slow_progress_keeps_the_connection(ahead: int) -> None:
    """Also where more is written meanwhile than the client reads, as a thread does that is ahead."""

    async def test(wire: Wire) -> None:
        client = wire.client
        client.slow = True
        client.send(GET)
        exchange = wire.app.last
        begin(exchange, b"x" * 100_000)
        exchange.write(b"y" * ahead)
        for _ in range(40):
            client.take(2000)
            await moment(29.0)
        assert not client.aborted
        client.take(10**6)
        assert exchange.writable
        await exchange.drain()
        await moment(1000.0)  # nothing is unsent: no deadline
        exchange.finish()
        client.take(10**6)
        assert not client.is_closing()

    on_wire(test)


def test_writable_comes_back_once() -> None:
    async def test(wire: Wire) -> None:
        told: list[bool] = []
        wire.client.slow = True
        wire.client.send(GET)
        exchange = wire.app.last
        begin(exchange, b"x" * 100_000)
        exchange.on_writable = lambda: told.append(True)
        wire.client.take(10_000)
        assert told == []
        wire.client.take(80_000)
        assert told == [True] and exchange.writable
        exchange.write(b"x" * 100_000)
        exchange.on_writable = lambda: told.append(False)
        wire.client.reset()
        assert told == [True, False]

    on_wire(test)


def test_a_whole_answer_that_nobody_reads() -> None:
    async def test(wire: Wire) -> None:
        wire.client.slow = True
        wire.client.send(CLOSE)
        assert wire.client.is_closing() and not wire.client.lost
        await moment(20.0)
        wire.client.take(2000)
        await moment(20.0)
        assert not wire.client.aborted
        await moment(31.0)
        assert wire.client.aborted

    on_wire(test, lambda exchange: ok(exchange, b"x" * 5000))


# --- refusals and lingering ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"\0", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"505"),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b"405"),
        (b"GET /" + b"a" * 9000, b"414"),
        (post(1000), b"413"),
    ],
)
def test_a_refusal_is_answered_and_lingers(octets: bytes, status: bytes) -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(octets)
        answer = client.read()
        assert answer.startswith(b"HTTP/1.1 %s " % status) and b"connection: close\r\n" in answer
        assert client.ended and not client.is_closing()  # half closed: it may read its answer in peace
        client.send(b"more " * 1000)  # and what it still sends is thrown away
        client.send(GET)
        assert wire.connection.session.unread == 0
        await moment(1.9)
        assert not client.is_closing()
        await moment(0.2)
        assert client.lost and not client.aborted
        assert client.read() == b""

    wire = on_wire(test, ok, limits=Limits(body=100))
    assert wire.engine.requests == 0


def test_lingering_ends_when_the_client_closes() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(b"\0")
        wire.client.send_eof()
        await turns()
        assert wire.client.lost and not wire.client.aborted

    on_wire(test)


def test_a_body_above_the_limit_while_the_application_runs() -> None:
    left: list[bool] = []

    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        exchange = wire.app.last
        exchange.on_disconnect = lambda exchange: left.append(exchange.lost)
        client.send(b"C8\r\n" + b"x" * 200 + b"\r\n")
        assert client.read().startswith(b"HTTP/1.1 413 ")
        assert exchange.lost and left == [True]
        ok(exchange)
        exchange.abort()
        assert client.read() == b"" and not client.aborted
        [record] = wire.records
        assert (record.status, record.body_bytes) == (413, 0)

    on_wire(test, limits=Limits(body=100))


def test_bad_octets_inside_an_answer_cut_it() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        begin(wire.app.last, b"half")
        wire.client.send(b"no chunk\r\n")
        assert wire.client.aborted
        assert wire.app.last.lost
        wire.app.last.write(b"an application that has not heard of it")
        wire.app.last.finish()
        await turns()
        assert [(record.cut, record.status) for record in wire.records] == [(True, 200)]

    on_wire(test)


def test_an_answer_of_http10_whose_request_ends_too_early_does_not_look_whole() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nab")
        begin(wire.app.last, b"half")
        wire.client.send_eof()
        assert wire.client.aborted and was_reset(wire)

    on_wire(test)


# --- the end of input ------------------------------------------------------------------------------


def test_half_a_close_after_the_request_gets_a_whole_answer() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        wire.client.send_eof()
        exchange = wire.app.last
        assert exchange.disconnected and not exchange.lost
        await exchange.wait_disconnect()
        assert not wire.client.is_closing()
        begin(exchange, b"one")
        await moment(100.0)
        exchange.finish(b"two")
        await turns()
        assert wire.client.read().endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        assert wire.client.lost and not wire.client.aborted
        assert [record.cut for record in wire.records] == [False]

    on_wire(test)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("count", [2, 100])
def test_half_a_close_after_pipelined_requests_gets_all_answers(count: int, at_once: bool) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET * count)
        wire.client.send_eof()
        for _ in range(count):
            if not at_once:
                ok(wire.app.last)
            await turns()
        assert wire.client.read() == HELLO * count
        assert wire.client.lost and not wire.client.aborted
        assert wire.app.last.disconnected or (at_once and count == 2)  # those two were answered before

    on_wire(test, ok if at_once else None)


def test_half_a_close_while_the_client_does_not_read() -> None:
    async def test(wire: Wire) -> None:
        wire.client.slow = True
        wire.client.send(GET)
        wire.client.send_eof()
        ok(wire.app.last, b"x" * 100_000)
        await turns()
        assert not wire.client.lost
        wire.client.take(10**6)
        await turns()
        assert wire.client.lost and not wire.client.aborted

    on_wire(test)


def test_the_end_of_input_comes_after_the_answer_that_nobody_reads() -> None:
    async def test(wire: Wire) -> None:
        wire.client.slow = True
        wire.client.send(GET)
        ok(wire.app.last, b"x" * 100_000)
        wire.client.send_eof()
        wire.client.take(10**6)
        await turns()
        assert wire.client.lost and not wire.client.aborted

    on_wire(test)


@pytest.mark.parametrize("sent", [b"", GET, GET + b"\r\n"], ids=["new", "idle", "empty line"])
def test_the_end_of_input_on_an_idle_connection_closes_it(sent: bytes) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(sent)
        wire.client.read()
        wire.client.send_eof()
        await turns()
        assert wire.client.lost and not wire.client.aborted
        assert wire.client.read() == b""

    on_wire(test, ok)


def test_the_end_of_input_inside_a_head() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET[:10])
        wire.client.send_eof()
        assert wire.client.read().startswith(b"HTTP/1.1 400 ")
        await turns()
        assert wire.client.lost

    on_wire(test)


@pytest.mark.parametrize("begun", [True, False])
def test_the_end_of_input_inside_a_body(begun: bool) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(post(100) + b"half")
        exchange = wire.app.last
        assert await exchange.read() == b"half"
        if begun:
            begin(exchange, b"x")
            wire.client.read()
        reading = asyncio.ensure_future(exchange.read())
        await turns()
        wire.client.send_eof()
        with pytest.raises(ClientDisconnected):
            await reading
        assert wire.client.read().startswith(b"HTTP/1.1 400 ") is not begun
        assert wire.client.aborted is begun
        await turns()
        assert wire.client.lost
        assert len(wire.records) == 1

    on_wire(test)


def test_the_client_is_gone() -> None:
    async def test(wire: Wire) -> None:
        left: list[Any] = []
        wire.client.send(post(100))
        exchange = wire.app.last
        exchange.on_disconnect = left.append
        waits = [asyncio.ensure_future(wait()) for wait in (exchange.read, exchange.wait_disconnect)]
        await turns()
        wire.client.reset()
        await turns()
        assert left == [exchange] and exchange.lost and exchange.disconnected
        assert isinstance(waits[0].exception(), ClientDisconnected)
        assert waits[1].result() is None
        with pytest.raises(ClientDisconnected):
            await exchange.drain()
        ok(exchange)
        exchange.write(b"x")
        exchange.finish()
        exchange.abort()
        assert not wire.engine.connections
        assert [(record.status, record.cut) for record in wire.records] == [(0, True)]

    on_wire(test)


# --- abort -----------------------------------------------------------------------------------------


def was_reset(wire: Wire) -> bool:
    """Whether the socket was told to close with RST."""
    option = wire.raw.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    return struct.unpack("ii", option) == (1, 0)


@pytest.mark.parametrize(
    ("request_head", "length", "reset"),
    [(GET, False, False), (GET, True, False), (OLD, False, True), (OLD, True, True)],
)
def test_a_response_that_is_cut_does_not_look_like_a_whole_one(request_head: bytes, length: bool, reset: bool) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(request_head)
        exchange = wire.app.last
        begin(exchange, b"half", ((b"content-length", b"8"),) if length else ())
        exchange.abort()
        assert exchange.lost and exchange.disconnected
        assert wire.client.aborted is reset
        assert was_reset(wire) is reset
        await turns()
        assert wire.client.lost
        answer = wire.client.read()
        assert b"half" in answer and not answer.endswith(b"0\r\n\r\n")
        assert [(record.cut, record.status) for record in wire.records] == [(True, 200)]

    on_wire(test)


def test_an_abort_before_the_head_is_a_plain_close() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(OLD)
        wire.app.last.abort()
        await turns()
        assert wire.client.lost and not wire.client.aborted
        assert not was_reset(wire)

    on_wire(test)


def test_an_abort_after_the_whole_answer_does_nothing() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        first = wire.app.last
        ok(first)
        first.abort()
        wire.client.send(GET)
        first.abort()
        ok(wire.app.last)
        assert wire.client.read() == HELLO * 2
        assert not wire.client.is_closing()

    on_wire(test)


def test_an_http_1_0_answer_ends_with_the_connection() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(OLD)
        begin(wire.app.last, b"one")
        wire.app.last.inform(b"never")
        wire.app.last.finish(b"two")
        await turns()
        assert wire.client.read().endswith(b"connection: close\r\n\r\nonetwo")
        assert wire.client.lost and not wire.client.aborted
        assert not was_reset(wire)

    on_wire(test)


def test_an_answer_shorter_than_its_length_closes(caplog: pytest.LogCaptureFixture) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        begin(wire.app.last, b"half", ((b"content-length", b"8"),))
        wire.app.last.finish()
        await turns()
        assert wire.client.lost
        assert "shorter than its Content-Length" in caplog.text

    on_wire(test)


# --- the body --------------------------------------------------------------------------------------


def test_a_body_is_read_with_back_pressure() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        total = 500_000
        client.send(post(total))
        for _ in range(50):
            client.send(b"x" * 10_000)
        assert not client.reading
        exchange = wire.app.last
        got = io.BytesIO()
        while data := await exchange.read():
            assert len(data) <= READ_AHEAD + 10_000
            got.write(data)
            await turns()
        assert len(got.getvalue()) == total
        ok(exchange)
        client.send(GET)
        ok(wire.app.last)
        assert client.read() == HELLO * 2

    on_wire(test)


def test_reading_a_body_does_not_let_in_more_behind_it() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(post(10) + b"12345")
        client.send(b"67890" + GET * (READ_AHEAD // len(GET) + 1))
        assert not client.reading
        assert await wire.app.last.read() == b"1234567890"
        assert not client.reading
        assert await wire.app.last.read() == b""
        ok(wire.app.last)
        while len(wire.app.exchanges) < 20:
            await turns()
            ok(wire.app.last)
        assert client.reading

    on_wire(test)


def test_the_body_behind_a_very_large_head_is_read() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(GET)
        client.send(post(5)[:-2] + b"".join(b"X-%d: %b\r\n" % (i, b"x" * 8000) for i in range(9)) + b"\r\n")
        assert not client.reading  # more than may wait in front of a busy session
        ok(wire.app.last)
        await turns()
        assert wire.engine.requests == 2
        client.send(b"hello")
        assert await wire.app.last.read() == b"hello"

    on_wire(test)


def test_no_request_is_begun_after_the_close() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(chunked * (BURST + 5))
        assert wire.engine.requests == BURST  # the last of them is answered, but its body not read
        wire.connection.drain(1.0)
        client.send_eof()
        await turns()
        assert wire.engine.requests == BURST
        assert client.read() == HELLO * BURST

    on_wire(test, ok)


@pytest.mark.parametrize("busy", [False, True])
def test_a_very_large_head_comes_in_pieces(busy: bool) -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        if busy:
            client.send(GET)
        fields = b"".join(b"X-%d: %b\r\n" % (i, b"x" * 8000) for i in range(9))
        client.send((GET[:-2] + fields)[: READ_AHEAD + 1000])
        if busy:
            ok(wire.app.last)
        await turns()
        client.send((GET[:-2] + fields + b"\r\n")[READ_AHEAD + 1000 :])
        assert wire.engine.requests == 1 + busy
        ok(wire.app.last)
        assert client.read() == HELLO * (1 + busy)

    on_wire(test)


def test_who_gets_no_100_because_it_has_sent_something_is_not_waited_for_without_end() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5")
        reading = asyncio.ensure_future(wire.app.last.read())
        await asyncio.sleep(60.0)
        assert reading.done() and isinstance(reading.exception(), ClientDisconnected)
        assert client.read().startswith(b"HTTP/1.1 408 ")

    on_wire(test)


def test_who_waits_for_100_may_wait_however_large_its_head_is() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(GET)
        fields = b"".join(b"X-%d: %b\r\n" % (i, b"x" * 8000) for i in range(9))
        client.send(post(5)[:-2] + b"Expect: 100-continue\r\n" + fields + b"\r\n")
        ok(wire.app.last)
        await asyncio.sleep(60.0)
        assert client.read() == HELLO and wire.engine.requests == 2

    on_wire(test)


def test_a_body_that_nobody_wants_is_thrown_away() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(post(200_000))
        for _ in range(10):
            client.send(b"x" * 10_000)
        assert not client.reading
        ok(wire.app.last)
        await turns()
        assert client.reading
        client.send(b"x" * 100_000 + GET)
        await turns()
        assert wire.engine.requests == 2
        ok(wire.app.last)
        assert client.read() == HELLO * 2

    on_wire(test)


def test_a_body_that_is_too_large_to_throw_away_closes_the_connection() -> None:
    async def test(wire: Wire) -> None:
        client = wire.client
        client.send(post(10**7) + b"x" * 1000)
        ok(wire.app.last)
        assert client.read() == HELLO_CLOSE
        assert client.ended and not client.is_closing()
        for _ in range(100):
            client.send(b"x" * 1000)
        assert client.read() == b""
        await moment(2.1)
        assert client.lost and not client.aborted

    on_wire(test)


# --- records ---------------------------------------------------------------------------------------


def test_the_record_of_a_request() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(b"GET /a?b HTTP/1.1\r\nHost: test\r\nX-Y: z\r\n\r\n")
        begin(wire.app.last, b"one")
        wire.app.last.write(b"two")
        assert wire.records == []
        wire.app.last.finish(b"three")
        [record] = wire.records
        assert (record.request.method, record.request.target, record.request.version) == (b"GET", b"/a?b", "1.1")
        assert record.request.headers == [(b"host", b"test"), (b"x-y", b"z")]
        assert record.client == ("192.0.2.1", 1234)
        assert (record.status, record.body_bytes, record.cut) == (200, 11, False)
        assert record.headers == [(b"content-type", b"text/plain")]
        assert record.wall > 1_600_000_000 and 0 <= record.duration < 10

    on_wire(test)


@pytest.mark.parametrize(
    ("method", "head", "octets"),
    [
        (b"HEAD", ResponseHead(200, b"", []), 0),
        (b"GET", ResponseHead(204, b"", []), 0),
        (b"GET", ResponseHead(304, b"", []), 0),
        (b"GET", ResponseHead(200, b"", [(b"content-length", b"3")]), 3),
        (b"GET", ResponseHead(200, b"", []), 5),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_the_record_counts_the_octets_that_were_sent(
    method: bytes, head: ResponseHead, octets: int, whole: bool
) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(method + GET[3:])
        wire.app.last.respond(head, b"hello", whole)
        if not whole:
            wire.app.last.finish()
        assert [record.body_bytes for record in wire.records] == [octets]

    on_wire(test)


# --- draining --------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [True, False])
def test_a_drain_closes_an_idle_connection_after_a_quiet_second(served: bool) -> None:
    async def test(wire: Wire) -> None:
        if served:
            wire.client.send(GET)
        draining = asyncio.ensure_future(wire.engine.drain(30.0))
        await closes_after(wire, 1.0)
        assert await draining == 0

    on_wire(test, ok)


def test_a_request_within_the_quiet_second_is_served() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        draining = asyncio.ensure_future(wire.engine.drain(30.0))
        await moment(0.9)
        wire.client.send(GET)
        assert wire.client.read() == HELLO + HELLO_CLOSE
        assert await draining == 0
        assert not wire.client.aborted

    on_wire(test, ok)


def test_a_busy_connection_finishes_with_connection_close() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        draining = asyncio.ensure_future(wire.engine.drain(30.0))
        await moment(20.0)
        ok(wire.app.last)
        assert wire.client.read() == HELLO_CLOSE
        assert await draining == 0
        assert not wire.client.aborted

    on_wire(test)


def test_a_stream_that_has_begun_closes_after_its_end() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        begin(wire.app.last, b"x")
        draining = asyncio.ensure_future(wire.engine.drain(30.0))
        await moment(20.0)
        wire.app.last.finish()
        assert await draining == 0
        assert wire.client.read().endswith(b"0\r\n\r\n")

    on_wire(test)


@pytest.mark.parametrize("grace", [0.0, 5.0])
def test_what_is_left_after_the_grace_time_is_cut(grace: float) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(GET)
        begin(wire.app.last, b"x")
        assert await wire.engine.drain(grace) == 1
        assert wire.client.aborted
        await turns()
        assert wire.app.last.lost

    on_wire(test)


def test_a_connection_that_comes_during_a_drain() -> None:
    async def test(wire: Wire) -> None:
        wire.engine.draining = True
        wire.engine.opened(wire.connection)
        wire.client.send(GET)
        assert wire.client.read() == HELLO_CLOSE

    on_wire(test, ok)
