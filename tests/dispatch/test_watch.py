"""The watch over what runs too long, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import sys
import types
from collections.abc import AsyncIterator, Generator

import pytest

from bridgeserve.dispatch.watch import PAUSE, Watch, cut_off, task_stack, thread_stack
from bridgeserve.wire.framing import ResponseHead
from dispatch.fakes import FakeExchange, make_request
from net.clock import moment, run_virtual, turns

SECONDS = 5.0


class Runs:
    """What runs, by name; `expired` has the names that were too long, with the time."""

    def __init__(self) -> None:
        self.running: dict[str, float] = {}
        self.expired: dict[str, float] = {}
        self.looks = 0
        self.watch = Watch(SECONDS, self._all, self._expire)

    def __enter__(self) -> Runs:
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.close()

    def begin(self, name: str) -> None:
        self.running[name] = asyncio.get_running_loop().time()

    def _all(self) -> list[tuple[str, float]]:
        self.looks += 1
        return list(self.running.items())

    def _expire(self, name: str) -> None:
        del self.running[name]
        self.expired[name] = asyncio.get_running_loop().time()


def test_each_ends_when_its_time_is_over() -> None:
    async def main() -> None:
        with Runs() as runs:
            begun = {}
            for number in range(20):
                name = str(number)
                runs.begin(name)
                begun[name] = await moment(0.7)
                if number % 3 == 0:
                    runs.running.pop(name, None)  # this one has ended by itself
            await moment(SECONDS)
            assert list(runs.expired) == [name for name in begun if int(name) % 3]
            for name, ended in runs.expired.items():
                assert ended == pytest.approx(begun[name] - 0.7 + SECONDS, abs=1e-6)

    run_virtual(main)


def test_what_begins_between_two_looks_is_not_late() -> None:
    async def main() -> None:
        with Runs() as runs:
            await moment(SECONDS - 0.1)
            runs.begin("just before a look")
            await moment(0.2)
            runs.begin("just after it")
            await moment(SECONDS + 1)
            assert list(runs.expired.values()) == pytest.approx([1000 + 9.9, 1000 + 10.1])

    run_virtual(main)


def test_an_idle_watch_looks_once_in_its_time() -> None:
    async def main() -> None:
        with Runs() as runs:
            await moment(10.5 * SECONDS)
            assert runs.looks == 10

    run_virtual(main)


def test_many_that_are_due_one_after_the_other_share_looks() -> None:
    async def main() -> None:
        with Runs() as runs:
            for number in range(1000):
                runs.begin(str(number))
                await moment(0.0001)
            looks = runs.looks
            await moment(SECONDS)
            assert len(runs.expired) == 1000
            assert runs.looks - looks <= 0.1 / PAUSE + 2
            for number, ended in enumerate(runs.expired.values()):
                assert ended - (1000 + number * 0.0001 + SECONDS) <= PAUSE + 1e-6

    run_virtual(main)


def test_after_the_close_nothing_is_looked_at() -> None:
    async def main() -> None:
        runs = Runs()
        runs.watch.close()  # harmless
        with runs:
            runs.begin("one")
        await moment(3 * SECONDS)
        assert (runs.looks, runs.expired) == (0, {})

    run_virtual(main)


def test_one_that_cannot_be_ended_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ended: list[str] = []

        def expire(name: str) -> None:
            if name == "broken":
                raise KeyError("a bug of ours")
            ended.append(name)

        watch = Watch(SECONDS, lambda: [("broken", 1000.0), ("good", 1000.0)], expire)
        watch.start()
        await moment(SECONDS + PAUSE / 2)
        watch.close()
        assert ended == ["good"]

    run_virtual(main)
    assert [record.getMessage() for record in caplog.records] == ["a request that ran too long could not be ended"]


# --- the end of one ---------------------------------------------------------------------------------


def test_before_the_head_it_is_504(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        exchange = FakeExchange(make_request(b"/a?b", b"PUT"))
        told: list[bool] = []
        exchange.on_disconnect = lambda exchange: told.append(exchange.lost)
        cut_off(exchange, 2.5, "Stack:\n  here", "; and so on")
        assert (exchange.status, exchange.body, exchange.complete) == (504, b"Gateway Timeout", True)
        assert told == [True]

    run_virtual(main)
    [record] = caplog.records
    assert record.getMessage() == "PUT /a ran longer than --timeout-request (2.5 s): answered with 504; and so on"
    assert (record.levelno, record.name) == (logging.ERROR, "bridgeserve.error")
    assert record.stack_info == "Stack:\n  here"


def test_after_the_head_it_is_a_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        exchange = FakeExchange()
        exchange.respond(ResponseHead(200, b"", []), b"half", False)
        cut_off(exchange, 1.0)
        assert exchange.aborted and exchange.body == b"half"

    run_virtual(main)
    assert caplog.messages == ["GET / ran longer than --timeout-request (1 s): the connection was cut"]
    assert caplog.records[0].stack_info is None


@pytest.mark.parametrize("complete", [True, False])
def test_nobody_is_told_when_nobody_waits(complete: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        exchange = FakeExchange()
        if complete:
            exchange.respond(ResponseHead(200, b"", []), b"whole", True)
        else:
            exchange.leave()
        calls = list(exchange.calls)
        cut_off(exchange, 1.0)
        assert exchange.calls == calls and not exchange.aborted

    run_virtual(main)
    assert "its client had left or had its whole answer" in caplog.text


def test_no_record_is_made_when_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "bridgeserve.error")

    async def main() -> None:
        exchange = FakeExchange()
        cut_off(exchange, 1.0)
        assert exchange.status == 504

    run_virtual(main)
    assert caplog.records == []


# --- stacks ------------------------------------------------------------------------------------------


def test_the_stack_of_a_thread() -> None:
    text = thread_stack(sys._getframe())
    assert text.startswith("Stack (most recent call last):\n  File ")
    assert text.splitlines()[-2].endswith("in test_the_stack_of_a_thread")
    assert thread_stack(None) == ""


@types.coroutine
def by_a_generator(future: asyncio.Future[None]) -> Generator[object, None, None]:
    yield from future


async def deeper(future: asyncio.Future[None]) -> None:
    await by_a_generator(future)


async def outermost(future: asyncio.Future[None]) -> None:
    await deeper(future)


def test_the_stack_of_a_task_is_that_of_all_its_coroutines() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(outermost(future))
        await turns()
        lines = task_stack(task).splitlines()
        assert [line.rpartition(" ")[2] for line in lines[1::2]] == ["outermost", "deeper", "by_a_generator"]
        future.set_result(None)
        await task
        assert task_stack(task) == ""

    run_virtual(main)


def test_the_stack_of_a_task_in_an_iteration() -> None:
    async def pieces(future: asyncio.Future[None]) -> AsyncIterator[None]:
        await future
        yield

    async def iterate(future: asyncio.Future[None]) -> None:
        async for _ in pieces(future):
            pass

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(iterate(future))
        await turns()
        assert task_stack(task).splitlines()[1].endswith("in iterate")
        future.set_result(None)
        await task

    run_virtual(main)
