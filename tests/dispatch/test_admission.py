"""Overload: who runs, who waits, who is refused. In virtual time."""

from __future__ import annotations

import asyncio
import io

import pytest

from bridgeserve.dispatch.admission import Gatekeeper
from bridgeserve.dispatch.base import Exchange
from bridgeserve.groups import Admission
from bridgeserve.wire.framing import ResponseHead
from dispatch.fakes import FakeExchange
from net.clock import moment, run_virtual, turns


class Mode:
    """What runs the admitted requests: it keeps them in order, until `end`."""

    def __init__(self, capacity: int | None, queue: int = 10, queue_timeout: float = 30.0) -> None:
        self.started: list[Exchange] = []
        settings = Admission(concurrency=capacity, queue=queue, queue_timeout=queue_timeout)
        self.gate = Gatekeeper(settings, self.started.append)

    def admit(self, count: int = 1) -> list[FakeExchange]:
        made = [FakeExchange() for _ in range(count)]
        for exchange in made:
            self.gate.admit(exchange)
        return made


def refused(exchange: FakeExchange) -> bool:
    """Whether it got the one answer that we have for those who do not run."""
    if exchange.status is None:
        return False
    assert exchange.head is not None
    assert (exchange.status, exchange.complete) == (503, True)
    assert (b"retry-after", b"1") in exchange.head.headers
    return True


def test_without_a_limit_all_run() -> None:
    async def main() -> None:
        mode = Mode(None, queue=0)
        made = mode.admit(100)
        assert mode.started == made
        assert (mode.gate.running, len(mode.gate.room)) == (100, 0)
        mode.gate.release()
        assert mode.gate.running == 99

    run_virtual(main)


def test_those_beyond_the_capacity_run_in_order_of_arrival() -> None:
    async def main() -> None:
        mode = Mode(2)
        made = mode.admit(6)
        assert mode.started == made[:2]
        assert (mode.gate.running, len(mode.gate.room)) == (2, 4)
        for count in (3, 4, 5, 6):
            mode.gate.release()
            assert mode.started == made[:count]
            assert mode.gate.running == 2
        mode.gate.release()
        mode.gate.release()
        assert mode.gate.running == 0
        assert mode.admit() == mode.started[6:]
        assert not any(map(refused, made))
        await moment(60.0)  # the deadlines of those that waited mean nothing any more
        assert not any(map(refused, made))

    run_virtual(main)


@pytest.mark.parametrize("queue", [0, 3])
def test_beyond_the_queue_the_answer_is_503(queue: int) -> None:
    async def main() -> None:
        mode = Mode(1, queue)
        made = mode.admit(queue + 3)
        late = made[queue + 1 :]
        assert [refused(exchange) for exchange in made] == [False] * (queue + 1) + [True, True]
        assert mode.gate.room.refused == len(late) == 2
        assert len(mode.gate.room) == queue
        mode.gate.release()
        mode.admit()
        assert mode.gate.room.refused == 2  # there was room again
        mode.gate.close()

    run_virtual(main)


def test_nobody_waits_longer_than_the_deadline() -> None:
    async def main() -> None:
        mode = Mode(1, queue_timeout=10.0)
        first, early = mode.admit(2)
        await moment(6.0)
        [late] = mode.admit()
        await moment(3.9)
        assert not refused(early)
        await moment(0.2)
        assert refused(early)
        assert not refused(late)
        await moment(5.8)
        assert not refused(late)
        await moment(0.2)
        assert refused(late)
        assert mode.started == [first]
        assert (mode.gate.room.refused, len(mode.gate.room)) == (2, 0)
        mode.gate.release()
        assert mode.started == [first]
        [again] = mode.admit()
        [waiter] = mode.admit()
        assert mode.started == [first, again]
        await moment(10.1)
        assert refused(waiter)  # the timer was set anew

    run_virtual(main)


def test_one_that_has_begun_to_run_does_not_expire() -> None:
    async def main() -> None:
        mode = Mode(1, queue_timeout=10.0)
        _, second, third = mode.admit(3)
        await moment(5.0)
        mode.gate.release()
        await moment(10.0)
        assert not refused(second)
        assert refused(third)

    run_virtual(main)


@pytest.mark.parametrize("lost", [True, False])
def test_a_leaver_is_forgotten_and_its_body_goes(lost: bool) -> None:
    async def main() -> None:
        mode = Mode(1, queue=2)
        first, leaver, stayer = mode.admit(3)
        spool = leaver.spool = io.BytesIO(b"body")
        leaver.leave(lost)
        if not lost:  # it may read on: it has a moment for its turn to come
            assert leaver in mode.gate.room.requests
            await moment(0.2)
        assert spool.closed and leaver.spool is None
        assert leaver.status is None
        assert list(mode.gate.room.requests) == [stayer]
        [newcomer] = mode.admit()  # the place in the queue is free again
        assert not refused(newcomer)
        mode.gate.release()
        assert mode.started == [first, stayer]
        mode.gate.close()
        await turns()
        assert leaver.lost

    run_virtual(main)


def test_one_who_has_only_sent_its_last_octet_has_its_turn() -> None:
    async def main() -> None:
        mode = Mode(1, queue=2)
        first, half = mode.admit(2)
        half.leave(lost=False)
        mode.gate.release()
        assert mode.started == [first, half]
        await moment(0.2)
        assert not half.aborted

    run_virtual(main)


def test_the_body_of_one_who_is_refused_goes() -> None:
    async def main() -> None:
        mode = Mode(1, queue=1, queue_timeout=10.0)
        mode.admit()
        waiter, beyond = FakeExchange(), FakeExchange()
        spools = []
        for exchange in (waiter, beyond):
            exchange.spool = io.BytesIO(b"body")
            spools.append(exchange.spool)
            mode.gate.admit(exchange)
        assert [spool.closed for spool in spools] == [False, True]
        await moment(11.0)
        assert spools[0].closed
        assert refused(waiter) and refused(beyond)

    run_virtual(main)


def test_a_runner_that_takes_the_next_one_itself() -> None:
    async def main() -> None:
        mode = Mode(1, queue_timeout=10.0)
        _, second, third = mode.admit(3)
        assert mode.gate.room.take() is second
        assert mode.gate.running == 1
        await moment(11.0)
        assert not refused(second)
        assert refused(third)
        assert mode.gate.room.take() is None

    run_virtual(main)


def test_close_refuses_all_that_wait() -> None:
    async def main() -> None:
        mode = Mode(1)
        first, *rest = mode.admit(4)
        mode.gate.close()
        assert not refused(first)
        assert all(map(refused, rest))
        mode.gate.release()
        assert mode.started == [first]
        mode.gate.close()
        await moment(60.0)

    run_virtual(main)


def test_a_long_queue_of_requests_that_end_at_once() -> None:
    """Each is released within its start; that may not nest."""

    async def main() -> None:
        ran: list[Exchange] = []

        def start(exchange: Exchange) -> None:
            ran.append(exchange)
            if len(ran) > 1:
                exchange.respond(ResponseHead(200, b"", []), b"", True)
                gate.release()

        gate = Gatekeeper(Admission(concurrency=1, queue=5000), start)
        made = [FakeExchange() for _ in range(5001)]
        for exchange in made:
            gate.admit(exchange)
        assert ran == made[:1]
        gate.release()
        assert ran == made
        assert (gate.running, len(gate.room)) == (0, 0)
        gate.close()

    run_virtual(main)


def test_a_start_that_fails_does_not_close_the_gate() -> None:
    async def main() -> None:
        ran: list[Exchange] = []

        def start(exchange: Exchange) -> None:
            ran.append(exchange)
            if len(ran) == 2:
                raise KeyboardInterrupt

        gate = Gatekeeper(Admission(concurrency=1), start)
        made = [FakeExchange() for _ in range(3)]
        for exchange in made:
            gate.admit(exchange)
        with pytest.raises(KeyboardInterrupt):
            gate.release()
        gate.release()
        assert ran == made
        gate.close()

    run_virtual(main)


def test_a_waiter_that_is_answered_by_someone_else_is_left_alone() -> None:
    async def main() -> None:
        mode = Mode(1, queue_timeout=1.0)
        _, second = mode.admit(2)
        assert mode.gate.room.take() is second
        second.leave()  # the gate's listener is still there
        await asyncio.sleep(2.0)
        assert second.status is None
        assert not second.aborted

    run_virtual(main)
