"""Threads that run longer than --timeout-request: real threads, a real loop, and timeouts that are short."""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch import crew
from bridgeserve.dispatch.threads import ThreadPool
from dispatch.fakes import FakeExchange, make_request
from dispatch.pools import LIMIT, Run, StartResponse, ended, errors, get, hello, make_pool, numbers
from net.clock import until

SHORT = 0.2  # seconds


class Stuck:
    """A WSGI app that waits for `let(path)`, except for /hello; `ended` are the requests that it has ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._events: dict[str, threading.Event] = {}

    def let(self, *paths: str) -> None:
        for path in paths:
            self._events[path].set()

    def stuck_here(self, path: str) -> None:
        event = self._events[path] = threading.Event()
        self.begun.append(path)
        assert event.wait(LIMIT)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/hello":
            return hello(environ, start_response)
        try:
            return self.respond(path, environ, start_response)
        finally:
            self.ended.append(path)

    def respond(self, path: str, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        self.stuck_here(path)
        return hello(environ, start_response)


POOLED = re.compile("bridgeserve-[0-9]+")  # not the thread that writes logs


def pool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if POOLED.fullmatch(thread.name)]


async def lost(pool: ThreadPool, count: int) -> None:
    await until(lambda: pool.statistics()["lost"] == count)


async def served(pool: ThreadPool) -> bool:
    return (await ended(get(pool, b"/hello"))).body == b"/hello"


def test_a_stuck_request_gets_504_and_its_thread_a_spare(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    app = Stuck()

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            stuck, behind = get(pool, b"/stuck?secret"), get(pool, b"/hello")
            assert (await ended(stuck)).status == 504
            assert (await ended(behind)).body == b"/hello"
            assert pool.ready
            await until(lambda: pool.statistics()["running"] == 0)
            assert pool.statistics() == {"threads": 1, "running": 0, "waiting": 0, "refused": 0, "lost": 1}
            app.let("/stuck")
            await until(lambda: app.ended)
            await lost(pool, 0)
            assert await served(pool)
            await until(lambda: len(pool_threads()) == 1)  # the one that came back has ended
        assert stuck.calls == ["respond"]
        assert pool_threads() == []

    run(main)
    [record] = caplog.records
    assert record.getMessage() == (
        f"GET /stuck ran longer than --timeout-request ({SHORT} s): answered with 504; its thread is replaced"
    )
    assert record.stack_info is not None
    assert "in stuck_here\n" in record.stack_info


def test_without_a_spare_it_is_not_ready(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    app = Stuck()

    async def main() -> None:
        async with make_pool(app, 2, run_timeout=SHORT) as pool:
            made = [get(pool, b"/%d" % number) for number in range(4)]
            for exchange in made:
                assert (await ended(exchange)).status == 504
            await lost(pool, 4)
            assert not pool.ready
            waiting = get(pool, b"/hello")
            assert pool.statistics()["waiting"] == 1
            app.let("/0")
            assert (await ended(waiting)).status == 200  # by the thread that has come back
            await lost(pool, 3)
            assert not pool.ready
            app.let("/1")
            await until(lambda: pool.ready)
            app.let("/2", "/3")
            await lost(pool, 0)
            await until(lambda: len(pool_threads()) == 2)
            assert await served(pool)

    run(main)
    assert [message.rpartition("; ")[2] for message in errors(caplog)] == [
        "its thread is replaced",
        "its thread is replaced",
        "its thread is lost and no spare is left",
        "its thread is lost and no spare is left",
    ]


def test_the_wait_for_a_thread_does_not_count(run: Run) -> None:
    app = Stuck()

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            await ended(get(pool, b"/one"))
            second = get(pool, b"/two")
            behind = get(pool, b"/hello")  # waits at least as long as the second one runs
            assert (await ended(second)).status == 504
            assert not behind.responded
            app.let("/one")
            assert (await ended(behind)).status == 200
            app.let("/two")
            await lost(pool, 0)

    run(main)


def test_the_wait_for_a_body_does_not_count(run: Run) -> None:
    app = Stuck()

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            upload = FakeExchange(make_request(b"/hello", b"POST"), arriving=True)
            pool.dispatch(upload)
            upload.feed(b"half")
            await ended(get(pool, b"/stuck"))  # which takes the whole time
            upload.feed_end()
            assert (await ended(upload)).status == 200
            app.let("/stuck")
            await lost(pool, 0)

    run(main)


# --- what a lost thread still says ----------------------------------------------------------------------


def test_late_words_reach_nobody(run: Run) -> None:
    raised: list[str] = []

    class Chatty(Stuck):
        def respond(self, path: str, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            self.stuck_here(path)
            assert environ["bridgeserve.disconnected"]()
            environ["wsgi.early_hints"]([("Link", "</style.css>")])
            write = start_response("200 OK", [])
            for _ in range(2):
                try:
                    write(b"late")
                except OSError as error:
                    raised.append(str(error))
            return hello(environ, lambda *_: write)

    app = Chatty()

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            stuck = await ended(get(pool, b"/stuck"))
            app.let("/stuck")
            await lost(pool, 0)
            assert await served(pool)
            assert (stuck.status, stuck.body, stuck.calls, stuck.informed) == (504, b"Gateway Timeout", ["respond"], [])
            assert not stuck.aborted

    run(main)
    assert raised == ["the client left"] * 2


@pytest.mark.parametrize("paused", [True, False])
def test_a_stream_is_cut_and_its_thread_comes_back(run: Run, paused: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Whether the app waits, or our port for a client that does not read."""
    never = threading.Event()
    closed: list[None] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 20_000
                if not paused:
                    never.wait(SHORT / 10)
        finally:
            closed.append(None)

    async def main() -> None:
        async with make_pool(app, 2, run_timeout=SHORT) as pool:
            exchange = FakeExchange()
            if paused:
                exchange.pause()
            pool.dispatch(exchange)
            await ended(exchange)
            assert exchange.status == 200 and exchange.aborted and not exchange.complete
            await until(lambda: closed)
            await lost(pool, 0)
            await until(lambda: len(pool_threads()) == 2)

    run(main)
    [message] = errors(caplog)
    assert message.endswith("the connection was cut; its thread is replaced")


def test_a_thread_that_waits_for_a_body_comes_back(run: Run) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        environ["wsgi.input"].read()
        return hello(environ, start_response)

    async def main() -> None:
        async with make_pool(app, 1, buffering=False, run_timeout=SHORT) as pool:
            upload = FakeExchange(make_request(method=b"POST"), arriving=True)
            pool.dispatch(upload)
            upload.feed(b"half")
            assert (await ended(upload)).status == 504
            upload.leave()  # as a connection whose answer came before its body
            await until(lambda: len(pool_threads()) == 1)
            await lost(pool, 0)

    run(main)


def test_work_after_the_answer_leaves_the_answer_alone(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"whole"

        def close(self) -> None:
            assert go.wait(LIMIT)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/hello":
            return hello(environ, start_response)
        start_response("200 OK", [])
        return Body()

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            exchange = await ended(get(pool, b"/work"))
            await lost(pool, 1)
            assert await served(pool)  # by a spare, so that such work cannot use the pool up
            go.set()
            await lost(pool, 0)
            assert exchange.complete and exchange.body == b"whole"

    run(main)
    [message] = errors(caplog)
    assert "its client had left or had its whole answer" in message


def test_a_client_that_left_does_not_hide_its_thread(run: Run) -> None:
    app = Stuck()

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            exchange = get(pool, b"/stuck")
            await until(lambda: app.begun)
            exchange.leave()
            await lost(pool, 1)
            assert exchange.calls == []
            assert await served(pool)
            app.let("/stuck")
            await lost(pool, 0)

    run(main)


# --- the crew ---------------------------------------------------------------------------------------------


def test_requests_about_as_long_as_their_time(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Each gets one answer, whoever is quicker, and the pool is whole in the end."""
    never = threading.Event()
    seconds = random.Random(1)

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        never.wait(seconds.uniform(0.0, 2 * 0.01))
        return hello(environ, start_response)

    async def main() -> None:
        async with make_pool(app, 4, run_timeout=0.01) as pool:
            made = [get(pool, b"/%d" % number) for number in range(400)]
            for number, exchange in enumerate(made):
                await ended(exchange)
                assert exchange.calls == ["respond"]
                assert exchange.status in (200, 504)
                assert exchange.body == (b"/%d" % number if exchange.status == 200 else b"Gateway Timeout")
            assert {exchange.status for exchange in made} == {200, 504}
            await lost(pool, 0)
            await until(lambda: numbers(pool) == (4, 0, 0, 0))
            await until(lambda: len(pool_threads()) == 4)
            assert pool.ready

    run(main)


def test_a_spare_that_the_system_does_not_give(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = Stuck()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with make_pool(app, 1, run_timeout=SHORT) as pool:
            with monkeypatch.context() as patch:
                patch.setattr(crew.threading.Thread, "start", refuse)
                assert (await ended(get(pool, b"/stuck"))).status == 504
            assert not pool.ready
            app.let("/stuck")
            assert await served(pool)
            assert pool.ready
            await lost(pool, 0)

    run(main)
    assert errors(caplog)[0] == "no spare thread can be started: can't start new thread"


def test_a_drain_does_not_wait_for_lost_threads(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    app = Stuck()

    async def main() -> None:
        async with make_pool(app, 2, run_timeout=SHORT) as pool:
            before = get(pool, b"/before")
            await ended(before)
            meanwhile = get(pool, b"/meanwhile")
            await until(lambda: "/meanwhile" in app.begun)
            async with asyncio.timeout(LIMIT / 2):
                await pool.drain(LIMIT)
            assert meanwhile.status == 504

    run(main)
    assert errors(caplog)[-1] == "threads that are still in the application and are left behind: 2"
    app.let("/before", "/meanwhile")
    for thread in threading.enumerate():
        if POOLED.fullmatch(thread.name):
            thread.join(LIMIT)
            assert not thread.is_alive()
