"""A loop whose time jumps when there is nothing to do, so that hours pass at once, and a way to wait for a state."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any


class JumpingSelector(selectors.DefaultSelector):
    """Does not sleep: it looks at the descriptors and says how long it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise RuntimeError("the test waits for something that nothing is left to do")
        self.slept += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on a clock of its own, which begins at 1000."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.slept

    def advance(self, seconds: float) -> None:
        """Let time pass while there is something to do, as a slow call does."""
        self._jumping.slept += seconds


def run_virtual(main: Callable[[], Awaitable[Any]]) -> None:
    """Run a coroutine function in virtual time. It may not use threads or sockets that others write to."""

    async def checked() -> None:
        await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(checked())


async def turns(count: int = 5) -> None:
    """Let the loop take some turns; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` is true; for real loops, where a timeout of the test ends the wait."""
    while not condition():
        await asyncio.sleep(0)


async def moment(seconds: float) -> float:
    """(virtual time) Let time pass; the time it is then."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    await asyncio.sleep(seconds)
    return loop.time()
