"""Fixtures for tests that need an event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvloop

# Helpers that several test files share are imported by the folder they are in: net.clock, dispatch.fakes.
sys.path.insert(0, str(Path(__file__).resolve().parent))

Run = Callable[[Callable[[], Awaitable[None]]], None]
LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """The command blocks signals for the end of its process. One that a test has called leaves none blocked for the
    next test: a loop without SIGCHLD would wait for its children for ever.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine function on a real loop, for 20 seconds at most; once for each kind of loop."""

    def run_limited(main: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(20.0):
                await main()

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(limited())

    return run_limited
