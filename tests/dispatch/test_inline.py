"""Inline mode: ASGI as tasks, WSGI called on the loop. In virtual time."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.inline import InlineAsgi, InlinePort, InlineWsgi
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.groups import Admission
from dispatch.fakes import FakeExchange, make_request
from net.clock import run_virtual, turns

StartResponse = Callable[..., Callable[[bytes], None]]


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- ASGI ------------------------------------------------------------------------------------------


class Held:
    """An ASGI app whose requests wait until `go`."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.paths: list[str] = []
        self.cancelled = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.paths.append(scope["path"])
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["path"].encode()})


def requests(count: int) -> list[FakeExchange]:
    return [FakeExchange(make_request(b"/%d" % number)) for number in range(count)]


def inline_asgi(app: Any, **admission: Any) -> InlineAsgi:
    return InlineAsgi(AsgiRunner(app), Admission(**admission))


def test_asgi_requests_run_side_by_side() -> None:
    async def main() -> None:
        app = Held()
        async with inline_asgi(app) as mode:
            made = requests(50)
            for exchange in made:
                mode.dispatch(exchange)
            await turns()
            assert len(app.paths) == 50
            assert mode.statistics() == {"running": 50, "waiting": 0, "refused": 0}
            app.go.set()
            await turns()
            assert [exchange.body for exchange in made] == [b"/%d" % number for number in range(50)]
            assert mode.statistics()["running"] == 0

    run_virtual(main)


def test_asgi_with_a_limit() -> None:
    async def main() -> None:
        app = Held()
        async with inline_asgi(app, concurrency=2, queue=2) as mode:
            made = requests(5)
            for exchange in made:
                mode.dispatch(exchange)
            await turns()
            assert app.paths == ["/0", "/1"]
            assert mode.statistics() == {"running": 2, "waiting": 2, "refused": 1}
            assert made[4].status == 503
            made[2].leave()
            app.go.set()
            await turns(10)
            assert app.paths == ["/0", "/1", "/3"]
            assert mode.statistics() == {"running": 0, "waiting": 0, "refused": 1}

    run_virtual(main)


def test_asgi_tasks_are_cancelled_and_awaited_at_the_end() -> None:
    async def main() -> None:
        app = Held()
        async with inline_asgi(app, concurrency=2) as mode:
            made = requests(3)
            for exchange in made:
                mode.dispatch(exchange)
            await turns()
        assert app.cancelled == 2
        assert [exchange.status for exchange in made] == [500, 500, 503]
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


# --- WSGI ------------------------------------------------------------------------------------------


def inline_wsgi(app: Any, memory: int = 1000, **admission: Any) -> InlineWsgi:
    runner = WsgiRunner(app, multithread=False, multiprocess=False)
    return InlineWsgi(runner, Admission(**admission), memory)


def hello(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def upper(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["wsgi.input"].read().upper()]


class Stream:
    """A WSGI app that streams `count` pieces; it remembers what became of its iterables."""

    def __init__(self, count: int = 1 << 30) -> None:
        self.count = count
        self.given = 0
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self.pieces()

    def pieces(self) -> Iterator[bytes]:
        try:
            for _ in range(self.count):
                self.given += 1
                yield b"x" * 1000
        finally:
            self.closed += 1


def test_wsgi_is_answered_within_dispatch() -> None:
    async def main() -> None:
        async with inline_wsgi(hello) as mode:
            exchange = FakeExchange()
            mode.dispatch(exchange)
            assert (exchange.calls, exchange.body, exchange.complete) == (["respond"], b"hello", True)
            assert mode.statistics() == {"running": 0, "waiting": 0, "refused": 0}

    run_virtual(main)


def test_wsgi_does_not_see_the_loop() -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        def check() -> bytes:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            return b"x"

        start_response("200 OK", [])
        yield check()
        yield check()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange()
            mode.dispatch(exchange)
            assert asyncio.get_running_loop() is loop
            await turns(10)
            assert (exchange.body, exchange.complete) == (b"xx", True)

    run_virtual(main)


def test_wsgi_streams_as_the_client_reads() -> None:
    async def main() -> None:
        app = Stream(5)
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange()
            exchange.pause()
            mode.dispatch(exchange)
            await turns(20)
            assert app.given == 1
            exchange.resume()
            await turns(20)
            assert (app.given, app.closed) == (5, 1)
            assert (exchange.body, exchange.complete) == (b"x" * 5000, True)
            assert mode.statistics()["running"] == 0

    run_virtual(main)


@pytest.mark.parametrize("paused", [True, False])
def test_wsgi_closes_the_iterable_of_a_client_that_left(paused: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        app = Stream()
        async with inline_wsgi(app, concurrency=1) as mode:
            for number in range(1, 20):  # many leave, one after the other: each gives its place back
                exchange = FakeExchange()
                mode.dispatch(exchange)
                await turns()
                if paused:
                    exchange.pause()
                    await turns()
                assert mode.statistics()["running"] == 1
                exchange.leave()
                await turns()
                assert app.closed == number
                assert mode.statistics()["running"] == 0

    run_virtual(main)
    assert errors(caplog) == []


def test_wsgi_streams_are_closed_at_the_end() -> None:
    async def main() -> None:
        app = Stream()
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange()
            mode.dispatch(exchange)
            await turns()
        assert app.closed == 1
        assert exchange.aborted

    run_virtual(main)


def test_wsgi_waits_for_the_body() -> None:
    async def main() -> None:
        async with inline_wsgi(upper, concurrency=1) as mode:
            exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
            mode.dispatch(exchange)
            exchange.feed(b"a" * 1500)
            await turns()
            assert mode.statistics()["running"] == 0  # a slow upload takes no place
            exchange.feed(b"b")
            exchange.feed_end()
            await turns()
            assert exchange.body == b"A" * 1500 + b"B"
            assert exchange.spool is None

    run_virtual(main)


def test_wsgi_with_a_client_that_leaves_inside_its_body() -> None:
    async def main() -> None:
        async with inline_wsgi(upper) as mode:
            exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
            mode.dispatch(exchange)
            exchange.feed(b"a")
            await turns()
            exchange.leave()
            await turns()
            assert exchange.calls == []
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


def test_wsgi_with_a_long_queue_of_short_requests() -> None:
    """They all run when the stream in front of them ends; the stack may not grow with them."""

    async def main() -> None:
        count = sys.getrecursionlimit() * 2
        stream = Stream(3)

        def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            return (stream if environ["PATH_INFO"] == "/stream" else hello)(environ, start_response)

        async with inline_wsgi(app, concurrency=1, queue=count) as mode:
            first = FakeExchange(make_request(b"/stream"))
            mode.dispatch(first)
            rest = requests(count)
            for exchange in rest:
                mode.dispatch(exchange)
            assert mode.statistics() == {"running": 1, "waiting": count, "refused": 0}
            await turns(20)
            assert first.complete
            assert all(exchange.complete for exchange in rest)
            assert mode.statistics() == {"running": 0, "waiting": 0, "refused": 0}

    run_virtual(main)


def test_wsgi_write_beyond_all_bounds_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """write() cannot wait on the loop: what a slow client leaves unread is bounded."""
    monkeypatch.setattr(InlinePort, "BACKLOG_MAX", 5000)
    raised: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [])
        try:
            for _ in range(100):
                write(b"x" * 1000)
        except OSError as error:
            raised.append(error)
            raise
        return []

    async def main() -> None:
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange()
            exchange.pause()
            mode.dispatch(exchange)
            assert len(exchange.body) == 5000
            assert exchange.aborted
            assert len(raised) == 1
            quick = FakeExchange()
            mode.dispatch(quick)
            assert (len(quick.body), quick.complete) == (100_000, True)

    run_virtual(main)


def test_wsgi_failure_inside_a_stream(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"half"
        raise KeyError("boom")

    async def main() -> None:
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange()
            mode.dispatch(exchange)
            await turns(10)
            assert exchange.aborted
            assert mode.statistics()["running"] == 0

    run_virtual(main)
    assert len(errors(caplog)) == 1


def test_wsgi_early_hints_and_disconnected() -> None:
    seen: list[bool] = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        seen.append(environ["bridgeserve.disconnected"]())
        environ["wsgi.input"].detach()
        start_response("200 OK", [])
        return [b"ok"]

    async def main() -> None:
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange()
            exchange.spool = io.BufferedReader(io.BytesIO(b""))  # type: ignore[arg-type]
            exchange.leave(lost=False)
            mode.dispatch(exchange)
            assert exchange.informed[0].startswith(b"HTTP/1.1 103 ")
            assert exchange.body == b"ok"

    run_virtual(main)
    assert seen == [True]
