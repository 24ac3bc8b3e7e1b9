"""WebSocket connections on a transport in memory, on a clock that jumps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest

from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.dispatch.websocket import WebSocketClosed, WebSocketCycle
from bridgeserve.groups import Timeouts, WebSocketLimits
from bridgeserve.net import upgrade
from bridgeserve.net.upgrade import Upgrade, Upgrades
from bridgeserve.net.websocket import LINGER, QUEUE, READ_AHEAD, WebSocketConnection
from net.clock import VirtualLoop, moment, run_virtual, turns
from net.memory import Wire
from wire.frames import BINARY, PING, PONG, TEXT, Frames, close, code_of, frame, read

ASK = (
    b"GET /chat?x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
GOOD = ASK + b"Sec-WebSocket-Version: 13\r\n\r\n"
LIMITS = WebSocketLimits(max_size=1 << 20)


class SocketWire(Wire):
    """A connection whose client asks for WebSocket; the handshakes are kept."""

    def __init__(self, limits: WebSocketLimits = LIMITS, **more: Any) -> None:
        super().__init__(**more)
        self.asked: list[Any] = []
        self.engine.upgrades = Upgrades(limits, self.asked.append)

    def open(self, rest: bytes = b"") -> WebSocketConnection:
        """Ask, and accept; what is read starts behind the 101."""
        self.client.send(GOOD + rest)
        live: WebSocketConnection = self.asked[0].accept(None, [])
        head, _, frames = self.client.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        self.client.received[:0] = frames
        return live

    def frames(self) -> Frames:
        """What the server has sent since the last call."""
        found, rest = read(self.client.read())
        assert not rest
        return found


async def the_end(live: WebSocketConnection, code: int) -> None:
    """The application is told the end, as often as it asks."""
    for _ in range(2):
        with pytest.raises(WebSocketClosed) as closed:
            await live.receive()
        assert closed.value.code == code


# --- the handshake


@pytest.mark.parametrize(
    ("lines", "status", "fields"),
    [
        (b"", b"400", (b"sec-websocket-version: 13",)),
        (b"Sec-WebSocket-Version: 8\r\n", b"426", (b"sec-websocket-version: 13", b"upgrade: websocket")),
        (b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: ;\r\n", b"400", (b"sec-websocket-version: 13",)),
    ],
)
def test_a_bad_handshake_reaches_nobody(lines: bytes, status: bytes, fields: tuple[bytes, ...]) -> None:
    async def main() -> None:
        with SocketWire() as wire:
            wire.client.send(ASK + lines + b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await turns()
            answer = wire.client.read()
            assert answer.split(b" ", 2)[1] == status
            assert answer.count(b"HTTP/1.1 ") == 1
            for field in (*fields, b"connection: close"):
                assert field in answer
            assert not wire.asked
            assert not wire.app.exchanges
            assert [record.status for record in wire.records] == [int(status)]

    run_virtual(main)


def test_what_is_no_handshake_is_served() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            wire.client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
            assert len(wire.app.exchanges) == 1
        with Wire() as wire:  # nobody here speaks WebSocket: the application answers by HTTP
            wire.client.send(GOOD)
            assert len(wire.app.exchanges) == 1

    run_virtual(main)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def missing(name: str) -> None:
            raise ModuleNotFoundError(f"No module named {name}", name="websockets.frames")

        monkeypatch.setattr(upgrade.importlib, "import_module", missing)
        for _ in range(2):
            with SocketWire() as wire, caplog.at_level(logging.ERROR, "bridgeserve"):
                upgrades = wire.engine.upgrades
                wire.client.send(GOOD)
                assert wire.client.read().startswith(b"HTTP/1.1 501 Not Implemented\r\n")
                assert not wire.asked
                wire.client.reset()
                wire.raw.close()
            with Wire() as again:
                again.engine.upgrades = upgrades
                again.client.send(GOOD)
        assert [record.message for record in caplog.records if "bridgeserve[websockets]" in record.message] != []
        assert len(caplog.records) == 2  # once for each server

    run_virtual(main)


def test_another_missing_module_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr(upgrade.importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        Upgrades(LIMITS, lambda socket: None)


def test_a_client_that_left_cannot_be_accepted() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            wire.client.send(GOOD)
            wire.client.send_eof()
            socket: Upgrade = wire.asked[0]
            await socket.exchange.wait_disconnect()
            with pytest.raises(ClientDisconnected):
                socket.accept(None, [])

    run_virtual(main)


def test_who_receives_before_it_accepts_gets_the_messages() -> None:
    """As Quart does: one task receives, another one accepts."""

    async def main() -> None:
        with SocketWire() as wire:
            wire.client.send(GOOD)
            cycle = WebSocketCycle(wire.asked[0])
            assert (await cycle.receive())["type"] == "websocket.connect"
            receiving = asyncio.ensure_future(cycle.receive())
            await turns()
            await cycle.send({"type": "websocket.accept"})
            wire.client.send(frame(TEXT, b"x"))
            assert await receiving == {"type": "websocket.receive", "text": "x"}

    run_virtual(main)


def test_frames_behind_the_handshake_are_not_lost() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open(frame(TEXT, b"early") + frame(PING, b"p"))
            assert live.next_message() == "early"
            assert wire.frames() == [(0x8A, b"p")]

    run_virtual(main)


def test_many_octets_behind_the_handshake() -> None:
    """The HTTP side has stopped reading; the WebSocket goes on."""

    async def main() -> None:
        with SocketWire() as wire:
            wire.client.send(GOOD)
            for number in range(6):
                wire.client.send(frame(BINARY, bytes([number]) * 40_000))
            assert not wire.client.reading
            live = wire.asked[0].accept(None, [])
            for number in range(6):
                assert await live.receive() == bytes([number]) * 40_000

    run_virtual(main)


# --- messages


def test_messages_both_ways() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            receiving = asyncio.ensure_future(live.receive())
            await turns()
            wire.client.send(frame(TEXT, b"one") + frame(BINARY, b"two"))
            assert await receiving == "one"
            assert await live.receive() == b"two"
            await live.send("three")
            await live.send(b"f" * 70_000)
            assert wire.frames() == [(0x81, b"three"), (0x82, b"f" * 70_000)]

    run_virtual(main)


def test_a_receive_that_is_cancelled_leaves_nothing_behind() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(live.receive(), 1.0)
            assert live._waiters == []
            wire.client.send(frame(TEXT, b"late"))
            assert await live.receive() == "late"

    run_virtual(main)


def test_a_slow_application_stops_the_reading() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            sent = 0
            while wire.client.reading and sent < 1000:
                wire.client.send(frame(TEXT, b"%d" % sent))
                sent += 1
            assert sent == QUEUE
            for _ in range(50):
                wire.client.send(frame(TEXT, b"%d" % sent))
                sent += 1
            assert len(wire.client.inbox) == 50
            await moment(1000.0)  # who is not read is not pinged either
            assert wire.frames() == []
            assert [await live.receive() for _ in range(sent)] == [str(number) for number in range(sent)]
            assert wire.client.reading
            await moment(25.0)
            assert wire.frames() == [(0x89, b"")]

    run_virtual(main)


def test_a_close_that_waits_behind_messages_ends_the_connection_at_once() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.send(frame(TEXT, b"x") * (QUEUE + 4) + close(1000))
            assert not wire.client.reading
            live.close(1000, "")
            assert wire.client.ended and wire.client.reading
            began = await moment(0)
            wire.client.send_eof()
            await turns()
            assert wire.client.lost and not wire.client.aborted and await moment(0) == began

    run_virtual(main)


def test_large_messages_stop_the_reading_too() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            for _ in range(4):
                wire.client.send(frame(BINARY, b"x" * 100_000))
            assert len(wire.client.inbox) == 2
            for _ in range(4):
                assert await live.receive() == b"x" * 100_000

    run_virtual(main)


def test_many_small_frames_leave_turns_to_others() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.send(frame(PONG) * 2000 + frame(TEXT, b"x"))
            assert live.next_message() is None
            await turns(20)
            assert live.next_message() == "x"

    run_virtual(main)


def test_a_flood_of_control_frames_does_not_pile_up() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            for _ in range(20):
                wire.client.send(frame(PING, b"p" * 100) * 300)
            assert not wire.client.reading
            assert live._session.unread < READ_AHEAD + 300 * 106
            await turns(100)
            assert wire.client.reading
            assert len(wire.frames()) == 6_000

    run_virtual(main)


def test_a_slow_client_stops_send() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.slow = True
            sending = asyncio.ensure_future(live.send(b"x" * 100_000))
            await turns()
            assert not sending.done()
            wire.client.send(frame(PING, b"1") + frame(PING, b"2"))
            wire.client.take(1 << 20)
            await sending
            wire.client.slow = False
            await turns()
            wire.client.take(1 << 20)
            assert wire.frames() == [(0x82, b"x" * 100_000), (0x8A, b"2")]

    run_virtual(main)


def test_many_small_answers_to_a_client_that_does_not_read() -> None:
    """Whatever the messages are made of, and who has asked for them: what waits for the client has its bound."""

    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.slow = True
            for _ in range(200):
                wire.client.send(frame(PING, b"x" * 125) * 50)
            assert len(wire.client.unsent) < 150_000
            assert not live._writable
        with SocketWire() as wire:
            live = wire.open()
            wire.client.slow = True
            for _ in range(3):
                sending = asyncio.ensure_future(live.send(b"x" * 30_000))
                await turns()
            assert not sending.done()
            sending.cancel()

    run_virtual(main)


def test_a_client_that_does_not_read_is_cut() -> None:
    async def main() -> None:
        with SocketWire(timeouts=Timeouts(write=30.0)) as wire:
            live = wire.open()
            wire.client.slow = True
            with pytest.raises(ClientDisconnected):
                await live.send(b"x" * 100_000)
            assert wire.client.aborted
            assert await moment(0) <= 1031.0
            await the_end(live, 1006)

    run_virtual(main)


def test_a_client_that_reads_slowly_is_not() -> None:
    async def main() -> None:
        with SocketWire(timeouts=Timeouts(write=30.0)) as wire:
            live = wire.open()
            wire.client.slow = True
            sending = asyncio.ensure_future(live.send(b"x" * 100_000))
            for _ in range(8):
                await moment(20.0)
                wire.client.take(10_000)
                wire.client.send(frame(PONG))
            assert not wire.client.aborted
            wire.client.take(1 << 20)
            await sending

    run_virtual(main)


# --- the end


def test_the_client_closes() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.send(frame(TEXT, b"last") + close(1001, "bye"))
            assert await live.receive() == "last"
            await live.send("echo")
            await the_end(live, 1001)
            assert wire.frames() == [(0x81, b"echo"), (0x88, b"\x03\xe9bye")]
            assert wire.client.ended
            with pytest.raises(ClientDisconnected):
                await live.send("more")
            live.close(1000, "")
            wire.client.send(b"x" * 100)  # is read and thrown away
            wire.client.send_eof()
            await turns()
            assert wire.client.lost
            assert [(record.status, record.cut) for record in wire.records] == [(101, False)]
            assert not wire.engine.connections

    run_virtual(main)


def test_a_close_is_answered_even_if_the_application_never_receives() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.send(close(1000))
            await live.send("tick")
            await moment(1.0)
            assert wire.frames() == [(0x81, b"tick"), (0x88, b"\x03\xe8")]
            with pytest.raises(ClientDisconnected):
                await live.send("tick")

    run_virtual(main)


def test_a_fault_is_answered_and_the_client_may_read_why() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            wire.client.send(frame(TEXT, b"\xff") + b"x" * 100)
            await the_end(live, 1006)
            assert code_of(wire.frames()) == 1007
            assert wire.client.ended
            assert not wire.client.lost
            await moment(LINGER + 0.1)
            assert wire.client.lost

    run_virtual(main)


def test_the_application_closes() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            live.close(4001, "because")
            assert wire.frames() == [(0x88, b"\x0f\xa1because")]
            wire.client.send(frame(TEXT, b"late") + close(4001))
            await the_end(live, 4001)
            assert wire.client.ended

    run_virtual(main)


def test_the_application_closes_while_messages_wait() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            for _ in range(QUEUE + 20):
                wire.client.send(frame(TEXT, b"x"))
            assert not wire.client.reading
            live.close(1000, "")
            wire.client.send(close(1000))
            await turns()
            assert wire.client.ended
            assert [await live.receive() for _ in range(QUEUE)] == ["x"] * QUEUE
            await the_end(live, 1000)

    run_virtual(main)


def test_a_client_that_never_answers_a_close() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            live.close(1000, "")
            began = await moment(0)
            await the_end(live, 1006)
            assert await moment(0) - began == LIMITS.close_timeout
            await moment(LINGER + 0.1)
            assert wire.client.aborted or wire.client.lost

    run_virtual(main)


@pytest.mark.parametrize("reset", [True, False])
def test_the_client_vanishes(reset: bool) -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            receiving = asyncio.ensure_future(the_end(live, 1006))
            await turns()
            if reset:
                wire.client.reset()
            else:
                wire.client.send_eof()
            await receiving
            await turns()
            assert wire.client.lost
            assert [record.cut for record in wire.records] == [True]
            assert live._timer is None

    run_virtual(main)


def test_a_dead_client_is_found() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            began = await moment(0)
            await the_end(live, 1006)
            assert await moment(0) - began == LIMITS.ping_interval + LIMITS.ping_timeout
            assert [first for first, _ in wire.frames()] == [0x89, 0x88]

    run_virtual(main)


def test_what_came_while_the_loop_was_held_up_is_read_first() -> None:
    """A pong that came in time counts, however late it is read; who has sent none is dead all the same."""

    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            loop = cast(VirtualLoop, asyncio.get_running_loop())
            await moment(LIMITS.ping_interval + 1.0)
            assert [first for first, _ in wire.frames()] == [0x89]
            loop.advance(LIMITS.ping_timeout + 5.0)
            loop.call_later(0.005, wire.client.send, frame(PONG))
            await moment(0.02)
            assert live._end is None
            await moment(LIMITS.ping_interval + 1.0)
            loop.advance(LIMITS.ping_timeout + 5.0)
            await moment(0.02)
            await the_end(live, 1006)

    run_virtual(main)


def test_a_drain_says_1012() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            draining = asyncio.ensure_future(wire.engine.drain(30.0))
            await turns()
            assert wire.frames() == [(0x88, b"\x03\xf4")]
            await the_end(live, 1012)
            wire.client.send(close(1012))
            wire.client.send_eof()
            assert await draining == 0

    run_virtual(main)


def test_a_drain_catches_those_who_are_accepted_late() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            wire.client.send(GOOD)
            draining = asyncio.ensure_future(wire.engine.drain(3.0))
            await turns()
            live = wire.asked[0].accept(None, [])
            await the_end(live, 1012)
            assert wire.client.read().endswith(b"\r\n\r\n\x88\x02\x03\xf4")
            assert await draining == 1  # it did not answer

    run_virtual(main)


def test_an_abort() -> None:
    async def main() -> None:
        with SocketWire() as wire:
            live = wire.open()
            assert wire.engine.abort() == 1
            await the_end(live, 1006)
            live.close(1000, "")

    run_virtual(main)


@pytest.fixture(autouse=True)
def loop_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """asyncio logs what goes wrong in a callback and goes on: here it is a failure."""
    yield
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelno >= logging.ERROR]
