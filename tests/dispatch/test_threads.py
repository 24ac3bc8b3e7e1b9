"""Threads mode with real threads and a real loop."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch import threads
from bridgeserve.dispatch.threads import Bridge
from dispatch.fakes import FakeExchange, make_request
from dispatch.pools import LIMIT, Gate, Run, StartResponse, ended, errors, get, hello, make_pool, numbers
from net.clock import turns, until


class Stream:
    """A WSGI app that streams; it counts what it gave and what was closed."""

    def __init__(self, count: int = 1 << 30, size: int = 20_000) -> None:
        self.count = count
        self.piece = b"x" * size
        self.given = 0
        self.closed = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/hello":
            return hello(environ, start_response)
        start_response("200 OK", [])
        return self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        try:
            for _ in range(self.count):
                self.given += 1
                yield self.piece
        finally:
            with self._lock:
                self.closed += 1


def test_it_runs_in_the_pool(run: Run) -> None:
    barrier = threading.Barrier(3)
    names: set[str] = set()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        barrier.wait(LIMIT)  # all three are inside at the same time
        names.add(threading.current_thread().name)
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return hello(environ, start_response)

    async def main() -> None:
        async with make_pool(app, 3) as pool:
            made = [get(pool, b"/%d" % number) for number in range(3)]
            for exchange in made:
                await ended(exchange)
            assert [exchange.body for exchange in made] == [b"/0", b"/1", b"/2"]
            await until(lambda: numbers(pool) == (3, 0, 0, 0))
        assert names == {"bridgeserve-0", "bridgeserve-1", "bridgeserve-2"}
        assert not names & {thread.name for thread in threading.enumerate()}

    run(main)


def test_many_requests_through_a_small_pool(run: Run) -> None:
    async def main() -> None:
        async with make_pool(hello, 2) as pool:
            for _ in range(5):
                made = [get(pool, b"/%d" % number) for number in range(200)]
                for number, exchange in enumerate(made):
                    assert (await ended(exchange)).body == b"/%d" % number
            await until(lambda: numbers(pool) == (2, 0, 0, 0))

    run(main)


# --- waiting ---------------------------------------------------------------------------------------


def test_a_slow_request_after_quick_ones_holds_up_nobody(run: Run) -> None:
    other_is_served = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] == "/waits":
            assert other_is_served.wait(LIMIT)
        elif environ["PATH_INFO"] == "/other":
            other_is_served.set()
        return hello(environ, start_response)

    async def main() -> None:
        async with make_pool(app, 2) as pool:
            for _ in range(3):
                quick = [get(pool, b"/quick") for _ in range(10)]
                for exchange in quick:
                    await ended(exchange)
            # Both are there when the first thread wakes: it takes the one, and does not wake the other thread.
            for exchange in [get(pool, b"/waits"), get(pool, b"/other")]:
                await ended(exchange)

    run(main)


def test_those_that_wait_run_in_order_and_the_rest_is_refused(run: Run) -> None:
    app = Gate()

    async def main() -> None:
        async with make_pool(app, 1, queue=3) as pool:
            made = [get(pool, b"/%d" % number) for number in range(5)]
            await until(lambda: app.paths)
            assert numbers(pool) == (1, 1, 3, 1)
            assert made[4].status == 503
            app.go.release(4)
            for exchange in made[:4]:
                await ended(exchange)
            assert app.paths == ["/0", "/1", "/2", "/3"]
            await until(lambda: numbers(pool) == (1, 0, 0, 1))

    run(main)


def test_a_request_whose_client_left_is_never_run(run: Run) -> None:
    app = Gate()

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            made = [get(pool, b"/%d" % number) for number in range(4)]
            await until(lambda: app.paths)
            made[1].leave()
            made[2].leave(lost=False)
            await until(lambda: made[2].aborted)  # it had a moment for its turn to come
            app.go.release(2)
            await ended(made[3])
            assert app.paths == ["/0", "/3"]
            # Handed over to a free thread, which has not looked yet: the interpreter is held meanwhile.
            interval = sys.getswitchinterval()
            sys.setswitchinterval(LIMIT)
            try:
                late = get(pool, b"/late")
                late.leave()
            finally:
                sys.setswitchinterval(interval)
            app.go.release(2)
            assert (await ended(get(pool, b"/last"))).body == b"/last"
            assert app.paths == ["/0", "/3", "/last"]
            assert late.calls == []

    run(main)


def test_the_limit_of_requests_may_be_below_the_threads(run: Run) -> None:
    app = Gate()

    async def main() -> None:
        async with make_pool(app, 4, concurrency=1) as pool:
            made = [get(pool, b"/%d" % number) for number in range(2)]
            await until(lambda: app.paths)
            assert numbers(pool) == (4, 1, 1, 0)
            app.go.release(2)
            await ended(made[1])

    run(main)


def test_a_wait_that_is_too_long(run: Run) -> None:
    app = Gate()

    async def main() -> None:
        async with make_pool(app, 1, queue_timeout=0.05) as pool:
            first, second = get(pool), get(pool)
            assert (await ended(second)).status == 503
            app.go.release()
            assert (await ended(first)).status == 200

    run(main)


# --- streams ---------------------------------------------------------------------------------------


def test_back_pressure_blocks_the_thread_until_there_is_progress(run: Run) -> None:
    app = Stream(count=50)

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            exchange = FakeExchange()
            exchange.pause()
            pool.dispatch(exchange)
            bound = threads.WRITE_AHEAD // 20_000 + 2  # those ahead, and the one that waits
            await until(lambda: app.given >= bound)
            await turns(1000)
            assert app.given == bound
            assert len(exchange.body) <= threads.WRITE_AHEAD + 20_000
            while not exchange.complete:
                exchange.resume()
                exchange.pause()
                await turns()
            assert exchange.body == app.piece * 50
            await until(lambda: app.closed)

    run(main)


@pytest.mark.parametrize("paused", [True, False])
def test_threads_are_free_again_when_clients_leave(run: Run, paused: bool, caplog: pytest.LogCaptureFixture) -> None:
    """More clients leave than there are threads."""
    app = Stream()

    async def main() -> None:
        async with make_pool(app, 2) as pool:
            for number in range(1, 11):
                exchange = FakeExchange()
                if paused:
                    exchange.pause()
                pool.dispatch(exchange)
                await until(lambda: exchange.responded)  # noqa: B023  used within its turn of the loop
                exchange.leave()
                await until(lambda: app.closed == number)  # noqa: B023
            assert (await ended(get(pool, b"/hello"))).body == b"/hello"
            await until(lambda: pool.statistics()["running"] == 0)

    run(main)
    assert errors(caplog) == []


def test_many_leave_at_once_while_others_wait(run: Run) -> None:
    app = Stream()

    async def main() -> None:
        async with make_pool(app, 2) as pool:
            leavers = []
            for _ in range(6):
                leavers.append(exchange := FakeExchange())
                exchange.pause()
                pool.dispatch(exchange)
            waiter = get(pool, b"/hello")
            await until(lambda: all(exchange.responded for exchange in leavers[:2]))
            for exchange in reversed(leavers):
                exchange.leave()
            assert (await ended(waiter)).body == b"/hello"
            await until(lambda: app.closed == 2)
            # Four were never run.
            assert not any(exchange.responded for exchange in leavers[2:])

    run(main)


def test_half_a_close_changes_nothing_for_the_thread(run: Run) -> None:
    app = Stream(count=20)

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            exchange = FakeExchange()
            exchange.pause()
            pool.dispatch(exchange)
            await until(lambda: exchange.responded)
            exchange.leave(lost=False)
            await turns(100)
            assert app.closed == 0
            exchange.resume()
            await ended(exchange)
            assert exchange.body == app.piece * 20

    run(main)


# --- bodies ----------------------------------------------------------------------------------------


def echo(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [body]


def test_a_thread_is_taken_when_the_body_is_complete(run: Run) -> None:
    async def main() -> None:
        async with make_pool(echo, 1) as pool:
            uploads = [FakeExchange(make_request(method=b"POST"), arriving=True) for _ in range(5)]
            for exchange in uploads:
                pool.dispatch(exchange)
                exchange.feed(b"a" * 1500)
            await turns()
            assert pool.statistics()["running"] == 0
            assert (await ended(get(pool))).status == 200  # slow uploads hold nobody up
            for exchange in uploads[:4]:
                exchange.feed(b"b")
                exchange.feed_end()
            uploads[4].leave()
            for exchange in uploads[:4]:
                assert (await ended(exchange)).body == b"a" * 1500 + b"b"
            assert uploads[4].calls == []

    run(main)


def test_a_streamed_body_is_read_as_it_arrives(run: Run) -> None:
    lines: list[bytes] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        lines.extend(environ["wsgi.input"])
        return hello(environ, start_response)

    async def main() -> None:
        async with make_pool(app, 1, buffering=False) as pool:
            exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
            pool.dispatch(exchange)
            exchange.feed(b"one\ntw")
            await until(lambda: lines == [b"one\n"])
            exchange.feed(b"o\n")
            await until(lambda: lines == [b"one\n", b"two\n"])
            exchange.feed_end()
            assert (await ended(exchange)).status == 200

    run(main)


def test_a_streamed_body_whose_client_leaves(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with make_pool(echo, 1, buffering=False) as pool:
            exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
            pool.dispatch(exchange)
            exchange.feed(b"half")
            await until(lambda: exchange.reads > 1)
            exchange.leave()
            assert (await ended(get(pool))).status == 200
            assert exchange.calls == []

    run(main)
    assert errors(caplog) == []


# --- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("begun", [True, False])
def test_whatever_an_application_raises_the_thread_goes_on(
    run: Run, begun: bool, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/good":
            yield from hello(environ, start_response)
            return
        if begun:
            start_response("200 OK", [])
            yield b"half"
        raise error("boom")

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            for _ in range(3):
                bad, good = get(pool, b"/bad"), get(pool, b"/good")
                await ended(bad)
                assert not (bad.complete and bad.status == 200)
                assert bad.complete or bad.aborted
                assert (await ended(good)).body == b"/good"
            await until(lambda: pool.statistics()["running"] == 0)

    run(main)
    assert len(errors(caplog)) == 3


def test_an_input_that_was_detached_does_not_end_the_thread(run: Run) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            environ["wsgi.input"].detach()
        return hello(environ, start_response)

    async def main() -> None:
        async with make_pool(app, 1, buffering=False) as pool:
            upload = FakeExchange(make_request(method=b"POST"), arriving=True)
            pool.dispatch(upload)
            await ended(upload)
            assert (await ended(get(pool))).status == 200

    run(main)


def test_a_thread_that_never_returns_is_left_behind(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    app = Gate()
    left: list[threading.Thread] = []

    async def main() -> None:
        async with make_pool(app, 2) as pool:
            get(pool)
            await until(lambda: app.paths)
            left.extend(thread for thread in threading.enumerate() if re.fullmatch("bridgeserve-[0-9]+", thread.name))

    run(main)
    assert errors(caplog) == ["threads that are still in the application and are left behind: 1"]
    app.go.release()  # it ends now, with nobody to tell
    for thread in left:
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_those_that_wait_at_the_end_are_refused(run: Run) -> None:
    app = Gate()

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            running, waiting = get(pool), get(pool)
            await until(lambda: app.paths)
            asyncio.get_running_loop().call_soon(app.go.release)
        assert waiting.status == 503
        assert running.status == 200  # its calls were made before the pool was left

    run(main)


def test_a_call_that_fails_does_not_keep_the_others(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    made: list[int] = []

    def broken() -> None:
        raise KeyError("a bug of ours")

    async def main() -> None:
        bridge = Bridge(asyncio.get_running_loop())
        bridge.post(made.append, 1)
        bridge.post(broken)
        bridge.post(made.append, 2)
        await until(lambda: made == [1, 2])

    run(main)
    assert errors(caplog) == ["a call from a pool thread failed"]


def test_threads_that_never_stop_posting_leave_the_loop_its_turns(run: Run) -> None:
    made = 0

    async def main() -> None:
        nonlocal made
        bridge = Bridge(asyncio.get_running_loop())

        def again() -> None:
            nonlocal made
            made += 1
            if made < 100_000:
                bridge.post(again)

        bridge.post(again)
        await turns()
        assert 0 < made < 100_000
        made = 100_000  # the next one is the last

    run(main)


def test_a_long_burst_of_calls_is_made_in_order_over_several_turns(run: Run) -> None:
    made: list[int] = []
    count = 10 * threads.BURST

    async def main() -> None:
        bridge = Bridge(asyncio.get_running_loop())
        for number in range(count):
            bridge.post(made.append, number)
        await turns(2)
        assert 0 < len(made) < count
        await until(lambda: len(made) == count)
        assert made == list(range(count))

    run(main)


def test_a_stream_of_small_chunks_goes_on_when_a_slow_client_catches_up(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = 2 * sys.getrecursionlimit()
    monkeypatch.setattr(threads, "WRITE_AHEAD", ahead)
    app = Stream(count=2 * ahead, size=1)

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            exchange = FakeExchange()
            exchange.pause()
            pool.dispatch(exchange)
            await until(lambda: len(exchange.body) > ahead)  # the thread waits now
            exchange.resume()
            await until(lambda: exchange.complete and app.closed)

    run(main)
    assert errors(caplog) == []


def test_a_failure_of_ours_in_a_stream_lets_its_thread_go(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    app = Stream()

    class Broken(FakeExchange):
        def write(self, data: bytes) -> None:
            raise RuntimeError("broken")

    async def main() -> None:
        async with make_pool(app, 1) as pool:
            exchange = Broken()
            pool.dispatch(exchange)
            await until(lambda: app.closed)
            assert exchange.aborted
            assert (await ended(get(pool, b"/hello"))).body == b"/hello"

    run(main)
    assert "a call from a pool thread failed" in errors(caplog)
