"""Inline mode and --timeout-request, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.inline import InlineAsgi, InlineWsgi
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.groups import Admission
from dispatch.fakes import FakeExchange, make_request
from net.clock import VirtualLoop, moment, run_virtual, turns

Script = Callable[[Any, Any], Awaitable[None]]
StartResponse = Callable[..., Callable[[bytes], None]]
SECONDS = 5.0
START = {"type": "http.response.start", "status": 200}


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def inline_asgi(script: Script, **admission: Any) -> InlineAsgi:
    """A mode whose application is `script(receive, send)`."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await script(receive, send)

    return InlineAsgi(AsgiRunner(app), Admission(run_timeout=SECONDS, **admission))


async def serve(mode: InlineAsgi | InlineWsgi, exchange: FakeExchange | None = None) -> FakeExchange:
    exchange = exchange or FakeExchange(make_request(b"/path"))
    mode.dispatch(exchange)
    await turns()
    return exchange


async def stuck_here(receive: Any, send: Any) -> None:
    await asyncio.sleep(1000)


def test_asgi_gets_504_and_its_task_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    cancelled: list[float] = []

    async def script(receive: Any, send: Any) -> None:
        await send(START)  # which is held until there is a body, so 504 can take its place
        try:
            await stuck_here(receive, send)
        except asyncio.CancelledError:
            cancelled.append(asyncio.get_running_loop().time())
            raise

    async def main() -> None:
        async with inline_asgi(script) as mode:
            await moment(SECONDS / 2)
            exchange = await serve(mode)
            await moment(SECONDS - 0.001)
            assert exchange.calls == []
            await moment(0.002)
            assert (exchange.status, exchange.complete) == (504, True)
            assert mode.statistics() == {"running": 0, "waiting": 0, "refused": 0}
            assert mode.ready

    run_virtual(main)
    assert cancelled == pytest.approx([1000 + 1.5 * SECONDS])
    [record] = caplog.records
    assert record.getMessage() == (
        "GET /path ran longer than --timeout-request (5 s): answered with 504; its task is cancelled"
    )
    assert record.stack_info is not None
    assert [line.rpartition(" ")[2] for line in record.stack_info.splitlines() if "line" in line][-3:] == [
        "script",
        "stuck_here",
        "sleep",
    ]


def test_asgi_that_is_quick_enough_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def script(receive: Any, send: Any) -> None:
        await asyncio.sleep(SECONDS - 0.1)
        await send(START)
        await send(body(b"whole"))

    async def main() -> None:
        async with inline_asgi(script) as mode:
            exchanges = []
            for _ in range(10):
                exchanges.append(await serve(mode))
                await moment(1.0)
            await moment(SECONDS)
            assert {exchange.body for exchange in exchanges} == {b"whole"}

    run_virtual(main)
    assert errors(caplog) == []


def test_asgi_that_streams_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async def script(receive: Any, send: Any) -> None:
        await send(START)
        while True:
            await send(body(b"tick ", True))
            await asyncio.sleep(2.0)

    async def main() -> None:
        async with inline_asgi(script) as mode:
            exchange = await serve(mode)
            await moment(SECONDS + 1)
            assert exchange.body == b"tick " * 3
            assert exchange.aborted
            assert mode.statistics()["running"] == 0

    run_virtual(main)
    assert errors(caplog) == [
        "GET /path ran longer than --timeout-request (5 s): the connection was cut; its task is cancelled"
    ]


@pytest.mark.parametrize("half_closed", [False, True])
def test_asgi_work_after_the_response_is_left_alone(half_closed: bool, caplog: pytest.LogCaptureFixture) -> None:
    done: list[bool] = []

    async def script(receive: Any, send: Any) -> None:
        await asyncio.sleep(1.0)
        await send(START)
        await send(body(b"whole"))
        await asyncio.sleep(3 * SECONDS)
        done.append(True)

    async def main() -> None:
        async with inline_asgi(script) as mode:
            exchange = await serve(mode)
            if half_closed:
                exchange.leave(lost=False)
            await moment(4 * SECONDS)
            assert exchange.body == b"whole"

    run_virtual(main)
    assert done == [True]
    assert errors(caplog) == []


def test_asgi_whose_client_has_left_is_ended_too() -> None:
    async def main() -> None:
        async with inline_asgi(stuck_here, concurrency=1) as mode:
            exchange = await serve(mode)
            exchange.leave()
            await moment(SECONDS - 1)
            assert mode.statistics()["running"] == 1
            await moment(2)
            assert mode.statistics()["running"] == 0
            assert exchange.calls == []

    run_virtual(main)


def test_asgi_that_swallows_its_cancellation_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    raised: list[str] = []

    async def script(receive: Any, send: Any) -> None:
        while not raised:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(SECONDS)
                assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
                assert await receive() == {"type": "http.disconnect"}
                await send(START)
                try:
                    await send(body(b"late"))
                except OSError as error:
                    raised.append(str(error))

    async def main() -> None:
        async with inline_asgi(script) as mode:
            exchange = await serve(mode)
            await moment(SECONDS + 1)
            assert exchange.status == 504
            assert mode.statistics()["running"] == 1  # it is told once, and not again at each look
            await moment(3 * SECONDS)
            assert mode.statistics()["running"] == 0
            assert exchange.calls == ["respond"]

    run_virtual(main)
    assert raised == ["the client left"]
    assert len(errors(caplog)) == 1


def test_asgi_that_waits_for_a_place_does_not_run() -> None:
    async def main() -> None:
        async with inline_asgi(stuck_here, concurrency=1) as mode:
            first, second = await serve(mode), await serve(mode)
            await moment(SECONDS + 1)
            assert (first.status, second.status) == (504, None)
            await moment(SECONDS - 1.1)
            assert second.status is None
            await moment(0.2)
            assert second.status == 504

    run_virtual(main)


def test_asgi_that_was_held_up_before_its_first_step() -> None:
    """On uvloop timers come before what is ready. A task that is cancelled before it begins tells nobody its end."""

    async def main() -> None:
        async with inline_asgi(stuck_here, concurrency=1) as mode:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            exchange = FakeExchange()
            mode.dispatch(exchange)
            loop.advance(SECONDS)
            assert mode._watch is not None
            mode._watch._look()
            assert exchange.calls == []
            await moment(1.0)
            assert exchange.status == 504
            assert mode.statistics()["running"] == mode._gate.running == 0

    run_virtual(main)


def test_nothing_is_watched_without_a_timeout() -> None:
    async def main() -> None:
        async with InlineAsgi(AsgiRunner(lambda *_: None), Admission()):
            await turns()
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            assert loop._scheduled == []  # type: ignore[attr-defined]

    run_virtual(main)


# --- WSGI ------------------------------------------------------------------------------------------


class Ticks:
    """A WSGI app that streams, slowly for a client that reads slowly; it remembers what was closed."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self._give()

    def _give(self) -> Iterator[bytes]:
        try:
            for _ in range(self.pieces):
                yield b"tick "
        finally:
            self.closed += 1


def inline_wsgi(app: Any, **admission: Any) -> InlineWsgi:
    runner = WsgiRunner(app, multithread=False, multiprocess=False)
    return InlineWsgi(runner, Admission(run_timeout=SECONDS, **admission), 1000)


@pytest.mark.parametrize("paused", [True, False])
def test_a_wsgi_stream_is_cut_between_two_chunks(paused: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = Ticks(1 << 30)

    async def main() -> None:
        async with inline_wsgi(app) as mode:
            exchange = FakeExchange(make_request(b"/ticks"))
            exchange.pause()
            await serve(mode, exchange)
            await moment(SECONDS - 0.1)
            assert not exchange.aborted
            if not paused:
                exchange.resume()
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            begun = loop.time()
            while not exchange.aborted:
                loop.advance(0.01)
                await turns(1)
            assert loop.time() - begun <= 0.2
            await turns()
            assert app.closed == 1
            assert mode.statistics()["running"] == 0

    run_virtual(main)
    assert errors(caplog) == ["GET /ticks ran longer than --timeout-request (5 s): the connection was cut"]


def test_a_wsgi_stream_that_ends_in_time(caplog: pytest.LogCaptureFixture) -> None:
    app = Ticks(5)

    async def main() -> None:
        async with inline_wsgi(app) as mode:
            assert mode.ready
            exchange = await serve(mode)
            await moment(2 * SECONDS)
            assert exchange.complete and exchange.body == b"tick " * 5
            assert app.closed == 1

    run_virtual(main)
    assert errors(caplog) == []
