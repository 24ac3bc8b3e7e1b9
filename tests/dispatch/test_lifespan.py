"""The lifespan of an ASGI application, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from bridgeserve.dispatch.lifespan import Lifespan, LifespanFailed
from net.clock import VirtualLoop, run_virtual, turns

TIMEOUT = 30.0
COMPLETE = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


class Application:
    """Start-up and shutdown as the specification tells them; what happened is in `events`."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scope = scope
        scope["state"]["pool"] = self.events
        self.events.append((await receive())["type"])
        await send(COMPLETE)
        self.events.append((await receive())["type"])
        await send(STOPPED)
        self.events.append("returned")


async def ignorant(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """As an application that knows only HTTP."""
    assert scope["type"] == "http", "only http"


async def silent(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Returns without a word."""


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_start_and_stop(mode: str) -> None:
    app = Application()

    async def main() -> None:
        async with Lifespan(app, mode, TIMEOUT) as lifespan:
            assert app.events == ["lifespan.startup"]
            assert lifespan.state == {"pool": app.events}
            await turns()
            assert app.events == ["lifespan.startup"]

    run_virtual(main)
    assert app.events == ["lifespan.startup", "lifespan.shutdown", "returned"]
    assert app.scope["type"] == "lifespan"
    assert app.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}


def test_off_does_not_call_the_application() -> None:
    app = Application()

    async def main() -> None:
        async with Lifespan(app, "off", TIMEOUT) as lifespan:
            assert lifespan.state is None

    run_virtual(main)
    assert app.events == []


@pytest.mark.parametrize("app", [ignorant, silent])
def test_auto_serves_an_application_without_lifespan(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Lifespan(app, "auto", TIMEOUT) as lifespan:
            assert lifespan.state is None

    run_virtual(main)
    assert errors(caplog) == []


@pytest.mark.parametrize(("app", "cause"), [(ignorant, AssertionError), (silent, None)])
def test_on_refuses_an_application_without_lifespan(app: Any, cause: type[Exception] | None) -> None:
    async def main() -> None:
        with pytest.raises(LifespanFailed, match="does not support lifespan") as caught:
            await Lifespan(app, "on", TIMEOUT).__aenter__()
        assert type(caught.value.__cause__) is (cause or type(None))

    run_virtual(main)


@pytest.mark.parametrize("mode", ["auto", "on"])
@pytest.mark.parametrize("then", ["return", "raise", "hang"])
@pytest.mark.parametrize("message", ["no database", ""])
def test_a_failed_start_up_is_told_with_its_reason(mode: str, then: str, message: str) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": message})
        if then == "raise":
            raise KeyError("boom")
        if then == "hang":
            await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(LifespanFailed, match=message or "lifespan start-up failed") as caught:
            await Lifespan(app, mode, TIMEOUT).__aenter__()
        assert isinstance(caught.value.__cause__, KeyError) is (then == "raise")
        await turns()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


def test_a_start_up_that_is_cancelled_leaves_no_task() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await Lifespan(app, "auto", TIMEOUT).__aenter__()
        await turns()
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)


def stop(app: Any) -> float:
    """Start and stop `app`; the seconds that the stop took."""
    took: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        lifespan = await Lifespan(app, "auto", TIMEOUT).__aenter__()
        await turns()
        begin = loop.time()
        await lifespan.__aexit__(None, None, None)
        took.append(loop.time() - begin)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main)
    return took[0]


def test_a_shutdown_that_hangs_is_cancelled_after_its_time(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        await asyncio.Event().wait()

    assert stop(app) == TIMEOUT
    assert "longer than 30 s" in errors(caplog)[0].getMessage()


def test_waiting_for_messages_after_the_shutdown_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})

    assert stop(app) == 1.0
    assert errors(caplog) == []


def test_a_failed_shutdown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no farewell"})

    assert stop(app) == 0.0
    assert "no farewell" in errors(caplog)[0].getMessage()


@pytest.mark.parametrize("when", ["serving", "shutdown", "after it"])
def test_an_exception_after_the_start_is_logged_at_the_end(when: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send(COMPLETE)
        if when != "serving":
            await receive()
        if when == "after it":
            await send(STOPPED)
            await asyncio.sleep(0)
        raise KeyError("boom")

    assert stop(app) == 0.0
    [record] = errors(caplog)
    assert record.exc_info is not None and isinstance(record.exc_info[1], KeyError)


@pytest.mark.parametrize("kind", ["lifespan.shutdown.complete", "lifespan.shutdown.failed", "http.response.start"])
def test_a_message_out_of_order_raises(kind: str) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        with pytest.raises(RuntimeError, match=kind):
            await send({"type": kind})
        await send(COMPLETE)
        with pytest.raises(RuntimeError, match=r"startup\.complete"):
            await send(COMPLETE)
        await receive()
        await receive()

    assert stop(app) == 0.0
