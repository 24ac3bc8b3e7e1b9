"""`--reserve`: lanes that ordinary requests never take. The same for threads and for children; on the loop below."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.lines import Lines
from bridgeserve.dispatch.processes import ProcessPool
from bridgeserve.dispatch.reserved import ReservedInlineAsgi, ReservedInlineWsgi, ReservedProcesses, ReservedThreads
from bridgeserve.dispatch.threads import ThreadPool
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.groups import Admission, Children, Reserve
from dispatch import process_app
from dispatch.fakes import FakeExchange, make_request
from net.clock import moment, run_virtual, turns

Run = Callable[[Callable[[], Awaitable[None]]], None]
Pool = ThreadPool | ProcessPool
Make = Callable[..., Pool]
HEALTH = (Reserve("/health*", 1),)


def threads(size: int, **admission: Any) -> Pool:
    runner = WsgiRunner(process_app.app, multithread=True, multiprocess=False)
    return ReservedThreads(runner, size, Admission(reserve=HEALTH, **admission), 1000, True)


def processes(size: int, **admission: Any) -> Pool:
    setup = {
        "app": "process_app:app",
        "factory": False,
        "app_dir": str(Path(__file__).resolve().parent),
        "interface": "auto",
        "root_path": "",
        "path": sys.path,
        "log_level": logging.INFO,
        "parent": os.getpid(),
    }
    limits = Admission(reserve=HEALTH, **admission)
    return ReservedProcesses(setup, Children(size=size), limits, (1000, True), lambda: None)


@pytest.fixture
def run() -> Run:
    """Run on asyncio's loop: nothing here is a matter of the loop, and children are slow to start twice."""

    def run_limited(main: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(20.0):
                await main()

        asyncio.run(limited())

    return run_limited


@pytest.fixture(params=[threads, processes])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` is true. Threads and processes need the processor meanwhile."""
    while not condition():  # noqa: ASYNC110  others change it
        await asyncio.sleep(0.002)


class Calls:
    """Requests whose app waits until it may go on; the test says when."""

    def __init__(self, pool: Pool, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._pool = pool
        self._folder = folder
        self._numbers = itertools.count()
        self._files: dict[FakeExchange, Path] = {}

    def send(self, path: str = "/wait") -> FakeExchange:
        """A request; nothing more is waited for."""
        file = self._folder / str(next(self._numbers))
        exchange = self.plain(f"{path}?{file}")
        self._files[exchange] = file
        return exchange

    def plain(self, target: str) -> FakeExchange:
        """A request that the app answers at once."""
        request = make_request(target.encode())
        request.raw = b"GET %b HTTP/1.1\r\nhost: test" % target.encode()
        exchange = FakeExchange(request)
        self._pool.dispatch(exchange)
        return exchange

    def begun(self, exchange: FakeExchange) -> bool:
        """Whether the app has it."""
        return Path(f"{self._files[exchange]}.here").exists()

    async def running(self, path: str = "/wait") -> FakeExchange:
        """A request that the app has."""
        exchange = self.send(path)
        await until(lambda: self.begun(exchange))
        return exchange

    def let_go(self, exchange: FakeExchange) -> None:
        """The app may answer this one."""
        self._files[exchange].touch()

    async def end(self, *exchanges: FakeExchange) -> None:
        """Let these go on, to their end."""
        for exchange in exchanges:
            self.let_go(exchange)
        for exchange in exchanges:
            await answered(exchange)

    def numbers(self) -> tuple[int, int, int]:
        """Requests that run, wait, and were refused."""
        found = self._pool.statistics()
        return found["running"], found["waiting"], found["refused"]


async def answered(exchange: FakeExchange) -> None:
    await until(lambda: exchange.lost)
    assert (exchange.status, exchange.complete) == (200, True)


def test_a_health_request_is_answered_while_all_others_wait(run: Run, make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make(3, queue=2) as pool:
            calls = Calls(pool, tmp_path)
            busy = [await calls.running(), await calls.running()]
            waiting = [calls.send(), calls.send()]
            beyond = calls.send()
            assert (beyond.status, calls.numbers()) == (503, (2, 2, 1))  # a lane is free, and not for them
            for path in ("/health", "/healthz/live", "/%68ealth"):
                await answered(calls.plain(path))
            assert not any(map(calls.begun, waiting))
            await calls.end(busy[0])
            await until(lambda: calls.begun(waiting[0]))
            await answered(calls.plain("/health"))
            assert not calls.begun(waiting[1])
            await calls.end(busy[1], *waiting)
            await until(lambda: calls.numbers() == (0, 0, 1))

    run(main)


def test_health_requests_may_have_all_lanes_and_go_first(run: Run, make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make(2, queue=1) as pool:
            calls = Calls(pool, tmp_path)
            ordinary = await calls.running()
            health = await calls.running("/health/wait")
            waiting = calls.send()
            urgent = calls.send("/health/wait")
            assert calls.send().status == calls.send("/health/wait").status == 503  # each line has its own bound
            assert calls.numbers() == (2, 2, 2)
            await calls.end(ordinary)
            await until(lambda: calls.begun(urgent))
            assert not calls.begun(waiting)
            await calls.end(health)
            await until(lambda: calls.begun(waiting))  # `urgent` has the one lane that is kept: the other is free
            await calls.end(urgent, waiting)
            await until(lambda: calls.numbers() == (0, 0, 2))

    run(main)


def test_quick_ordinary_requests_leave_the_lane_free(run: Run, make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make(2) as pool:
            calls = Calls(pool, tmp_path)
            for _ in range(30):  # so that a child is known to be quick
                await answered(calls.plain("/quick"))
            many = [calls.plain("/quick") for _ in range(200)]
            held = await calls.running("/health/wait")
            for each in many:
                await answered(each)
            await calls.end(held)
            await until(lambda: calls.numbers() == (0, 0, 0))

    run(main)


def test_those_that_leave_their_line_cost_nothing(run: Run, make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make(2) as pool:
            calls = Calls(pool, tmp_path)
            busy = [await calls.running(), await calls.running("/health/wait")]
            leavers = [calls.send(), calls.send("/health/wait")]
            stayers = [calls.send(), calls.send("/health/wait")]
            for each in leavers:
                each.leave()
            assert calls.numbers() == (2, 2, 0)
            await calls.end(*busy)
            await calls.end(*stayers)
            await until(lambda: calls.numbers() == (0, 0, 0))
            assert not any(map(calls.begun, leavers))

    run(main)


def test_waits_end_with_the_deadline_and_with_the_pool(run: Run, make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make(2, queue_timeout=0.05) as pool:
            calls = Calls(pool, tmp_path)
            busy = [await calls.running(), await calls.running("/health/wait")]
            late = [calls.send(), calls.send("/health/wait")]
            await until(lambda: [each.status for each in late] == [503, 503])
            await calls.end(*busy)
        async with make(2) as pool:
            calls = Calls(pool, tmp_path / "again")
            busy = [await calls.running(), await calls.running("/health/wait")]
            left = [calls.send(), calls.send("/health/wait")]
            for each in busy:
                calls.let_go(each)
        assert [each.status for each in left] == [503, 503]

    run(main)


def test_a_lane_that_was_lost_comes_back(run: Run, make: Make, tmp_path: Path) -> None:
    """A run that is too long costs its thread or its child; the next one has the rights of the one before."""

    async def main() -> None:
        async with make(2, run_timeout=0.2) as pool:
            calls = Calls(pool, tmp_path)
            for _ in range(2):
                stuck = await calls.running()
                waiting = calls.plain("/")
                await answered(calls.plain("/health"))
                await until(lambda each=stuck: each.lost)  # type: ignore[misc]
                assert stuck.status == 504
                await answered(waiting)
                calls.let_go(stuck)  # the lost thread comes back
            await until(lambda: calls.numbers() == (0, 0, 0))
            assert pool._room.held == 0  # type: ignore[attr-defined]

    run(main)


def test_a_child_that_crashes_gives_its_lane_back(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with processes(2) as pool:
            calls = Calls(pool, tmp_path)
            for _ in range(3):
                crashed, waiting = calls.plain("/crash"), calls.plain("/")
                await answered(calls.plain("/health"))
                await until(lambda each=crashed: each.lost)  # type: ignore[misc]
                assert crashed.status == 502
                await answered(waiting)
            await until(lambda: calls.numbers() == (0, 0, 0))
            assert pool._room.held == 0  # type: ignore[attr-defined]

    run(main)


class Census:
    """A WSGI app that knows how many are in it at once, ordinary ones and all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = [0, 0]
        self.most = [0, 0]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ordinary = not environ["PATH_INFO"].startswith("/health")
        self._count(1, ordinary)
        time.sleep(0.0005 * (hash(environ["QUERY_STRING"]) % 5))
        self._count(-1, ordinary)
        start_response("200 OK", [])
        return [b""]

    def _count(self, change: int, ordinary: bool) -> None:
        with self._lock:
            self._inside[0] += change * ordinary
            self._inside[1] += change
            self.most = list(map(max, self.most, self._inside))


def test_a_crowd_of_both_kinds(run: Run) -> None:
    """Nobody is forgotten by a thread that goes to sleep, and at no moment are there too many ordinary ones."""
    app = Census()

    async def main() -> None:
        runner = WsgiRunner(app, multithread=True, multiprocess=False)
        chance = random.Random(5)
        admission = Admission(queue=1500, reserve=(Reserve("/health*", 2),))
        async with ReservedThreads(runner, 6, admission, 1000, True) as pool:
            made: list[FakeExchange] = []
            for number in range(1500):
                path = b"/health" if chance.random() < 0.3 else b"/"
                made.append(FakeExchange(make_request(path + b"?%d" % number)))
                pool.dispatch(made[-1])
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random() * 0.01)
            for each in made:
                await answered(each)
            assert app.most[0] <= 4 and app.most[1] <= 6
            await until(lambda: pool._room.held == 0)  # type: ignore[attr-defined]

    run(main)


# --- on the loop -----------------------------------------------------------------------------------


class Paused:
    """An app of either kind that keeps each request until `go`, and knows their paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.go: dict[str, asyncio.Event] = {}

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        self.go[scope["path"]] = asyncio.Event()
        await self.go[scope["path"]].wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    def mode(self, **admission: Any) -> ReservedInlineAsgi:
        return ReservedInlineAsgi(AsgiRunner(self.asgi), Admission(reserve=HEALTH, **admission))


@pytest.mark.parametrize("run_timeout", [None, 1000.0])
def test_on_the_loop_places_are_kept_of_the_limit(run_timeout: float | None) -> None:
    app = Paused()

    async def main() -> None:
        async with app.mode(concurrency=3, queue=1, run_timeout=run_timeout) as mode:
            made = {
                path: FakeExchange(make_request(path.encode()))
                for path in ["/1", "/2", "/3", "/4", "/health", "/healthz"]
            }
            for exchange in made.values():
                mode.dispatch(exchange)
            await turns()
            assert app.paths == ["/1", "/2", "/health"]
            assert made["/4"].status == 503
            app.go["/1"].set()
            await turns()
            assert app.paths[3:] == ["/healthz"]
            app.go["/health"].set()
            await turns()
            assert app.paths[4:] == ["/3"]
            for event in app.go.values():
                event.set()
            await turns()
            assert all(exchange.complete for exchange in made.values())
            assert mode.statistics() == {"running": 0, "waiting": 0, "refused": 1}
            assert mode._lines.held == 0

    run_virtual(main)


def test_on_the_loop_a_run_that_is_too_long_gives_its_place_back() -> None:
    app = Paused()

    async def main() -> None:
        async with app.mode(concurrency=2, run_timeout=5.0) as mode:
            first, second = (FakeExchange(make_request(path)) for path in (b"/1", b"/2"))
            mode.dispatch(first)
            mode.dispatch(second)
            await moment(7.0)
            assert (first.status, app.paths) == (504, ["/1", "/2"])
            app.go["/2"].set()
            await turns()
            assert mode._lines.held == 0

    run_virtual(main)


def test_streams_of_wsgi_on_the_loop() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return (b"x" for _ in range(3))

    async def main() -> None:
        runner = WsgiRunner(app, multithread=False, multiprocess=False)
        async with ReservedInlineWsgi(runner, Admission(concurrency=2, reserve=HEALTH), 1000) as mode:
            made = [FakeExchange(make_request(path)) for path in (b"/1", b"/2", b"/health", b"/health")]
            for exchange in made[:2]:
                exchange.pause()
            for exchange in made:
                mode.dispatch(exchange)
            await turns(20)
            assert [exchange.complete for exchange in made] == [False, False, True, True]
            assert made[1].calls == []
            made[0].resume()
            made[1].resume()
            await turns(20)
            assert all(exchange.complete for exchange in made)
            assert mode._lines.held == 0

    run_virtual(main)


# --- the rule ----------------------------------------------------------------------------------------


def test_several_reserves() -> None:
    """Each line may have what the others do not have coming to them."""
    size, held = 6, 0
    lines = Lines((Reserve("/a", 1), Reserve("/b*", 2)), 30.0, lambda: size - held)

    def hold(number: int, line: int) -> None:
        nonlocal held
        held += 1
        lines.begin(number, line)

    assert [lines.line_of(FakeExchange(make_request(path))) for path in (b"/a", b"/a/b", b"/b/c", b"/")] == [0, 2, 1, 2]
    assert [lines.open(line) for line in range(3)] == [4, 5, 3]
    for number in range(3):
        hold(number, 2)
    assert [lines.open(line) for line in range(3)] == [1, 2, 0]
    hold(3, 1)
    assert [lines.open(line) for line in range(3)] == [1, 1, 0]
    hold(4, 1)
    assert [lines.open(line) for line in range(3)] == [1, 0, 0]
    lines.end(0)
    lines.end(0)
    held -= 1
    assert [lines.open(line) for line in range(3)] == [2, 1, 1]
