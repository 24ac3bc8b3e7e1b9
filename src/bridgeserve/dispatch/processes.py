"""Processes mode: WSGI in child processes, the loop in front of them.

The engine owns every connection and one queue. A request goes to a child that is free, never behind another one, so a
child may crash, hang or be replaced and only the request in its hands knows. What a child is, says `dispatch.child`;
here is who works, who waits, and when a child is replaced.

    missing       size - (ready + starting): started at once, after a failed start with a growing pause
    due           has served its requests, its time or its memory: one at a time gets a successor, and leaves when
                  that is ready and its own request has ended
    given up      broke the frames or ran too long: killed, and missing from then on
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.call import Call
from bridgeserve.dispatch.child import Child, ChildFailed
from bridgeserve.dispatch.inline import spool
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.dispatch.waiting import WaitingRoom
from bridgeserve.dispatch.watch import Watch, cut_off
from bridgeserve.settings import Admission, Children
from bridgeserve.wire import ipc

_log = logging.getLogger("bridgeserve")
LAST = 1.0  # seconds at the end for an application to see that its client was cut
LOOK = 1.0  # seconds between two looks at age and memory
PAUSE_MAX = 30.0  # seconds between two attempts to start a child
FAILURES_MAX = 8  # attempts in a row that fail while no child is left: it is a crash loop
PAGE = os.sysconf("SC_PAGE_SIZE")


def pause(failures: int) -> float:
    """Seconds to wait after so many starts in a row have failed: none after the first, then 0.1, 0.2, 0.4 …"""
    return 0.0 if failures <= 1 else min(0.1 * 2.0 ** (failures - 2), PAUSE_MAX)


class ProcessPool:
    """WSGI in child processes.

    :param setup: what a child has to know of the application.
    :param body: octets of a body that are kept in memory, and whether it is collected before a child is taken.
    :param crashed: called once when no child can be started any more.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        children: Children,
        admission: Admission,
        body: tuple[int, bool],
        crashed: Callable[[], None],
    ) -> None:
        self._setup = setup
        self._settings = children
        self._memory, self._buffering = body
        self._limit = admission.queue
        self._most = admission.concurrency or children.size
        self._room = WaitingRoom(admission.queue_timeout)
        self._tasks = Tasks()
        self._crashed = crashed
        self._loop: asyncio.AbstractEventLoop
        self._ready: dict[Child, int] = {}  # children that have the application; the requests after which each is due
        self._free: list[Child] = []
        self._starting = 0
        self._failures = 0
        self._due: dict[Child, str] = {}  # to be replaced, and why
        self._leaving: set[Child] = set()  # replaced already
        self._gone: set[Child] = set()  # ... and free, so that they end; they count no more
        self._replaced: Counter[str] = Counter()
        self._stopping = asyncio.Event()
        self._quiet = asyncio.Event()  # set while no child is busy
        self._quiet.set()
        self._timer: asyncio.TimerHandle | None = None
        self._expiring: set[Call] = set()
        seconds = admission.run_timeout
        self._watch = None if seconds is None else Watch(seconds, self._running, self._expire)

    async def __aenter__(self) -> Self:
        """Start the children; raises ChildFailed when one of them cannot."""
        self._loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        try:
            made = await asyncio.gather(*(self._make() for _ in range(self._settings.size)), return_exceptions=True)
            children = [child for child in made if isinstance(child, Child)]
            for failure in made:
                if isinstance(failure, BaseException):
                    for child in children:
                        child.retire("stop")
                    raise failure
            for child in children:
                self._join(child)
            self._fill()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        if self._watch is not None:
            self._watch.start()
        if self._settings.max_lifetime is not None or self._settings.max_rss is not None:
            self._timer = self._loop.call_later(LOOK, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._room.close()
        if self._watch is not None:
            self._watch.close()
        if self._timer is not None:
            self._timer.cancel()
        await self.drain(LAST)
        if self._busy:
            _log.error("children that are still in the application and are killed: %d", self._busy)
        for child in list(self._ready):
            if child.call is None:
                child.retire("stop")
            else:
                child.give_up("stop", 503)
        await self._tasks.drain(1.0)
        for child in list(self._ready):
            child.kill()
        await self._tasks.drain(1.0)
        await self._tasks.__aexit__(kind, value, trace)

    async def drain(self, grace: float) -> None:
        """Let the children end what they are doing, at most `grace` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), grace)

    # --- requests ------------------------------------------------------------------------------

    def dispatch(self, exchange: Exchange) -> None:
        """Take a request; its body is read first unless it is streamed by choice."""
        request = exchange.request
        if not request.complete and self._buffering:
            self._tasks.spawn(self._collect(exchange))
            return
        if len(request.body) > ipc.PIECE:  # it came with its head, and is too large to go with it
            exchange.spool = io.BytesIO(request.body)
        self._admit(exchange)

    async def _collect(self, exchange: Exchange) -> None:
        if await spool(exchange, self._memory):
            self._admit(exchange)

    def _admit(self, exchange: Exchange) -> None:
        if self._free and self._busy < self._most:
            self._give(self._free.pop(), exchange)
        elif len(self._room) >= self._limit:
            self._room.refuse(exchange)
        else:
            self._room.enter(exchange)

    def _give(self, child: Child, exchange: Exchange) -> None:
        self._quiet.clear()
        child.run(exchange, self._loop.time())

    @property
    def _busy(self) -> int:
        return len(self._ready) - len(self._free) - len(self._gone)

    def _freed(self, child: Child) -> None:
        """A child has no request (any more)."""
        if child in self._leaving:
            self._let_go(child)
        else:
            if child.served >= self._ready[child]:
                self._renew(child, "max_requests")
            self._free.append(child)
        self._next()

    def _next(self) -> None:
        """One child less is busy, or one more is there: who waits may come."""
        while self._free and self._busy < self._most and (exchange := self._room.take()) is not None:
            self._give(self._free.pop(), exchange)
        if not self._busy:
            self._quiet.set()

    def _let_go(self, child: Child) -> None:
        """A free child that is replaced ends."""
        self._gone.add(child)
        child.retire(self._due[child])

    # --- children ------------------------------------------------------------------------------

    async def _make(self) -> Child:
        self._starting += 1
        try:
            child = Child(self._setup, self._tasks, self._freed, self._ended)
            await child.start()
            return child
        finally:
            self._starting -= 1

    def _join(self, child: Child) -> None:
        """A child has the application: it works from now on, and one that was due may go."""
        settings = self._settings
        if not child.alive:
            return  # it has ended since it was ready
        most = float("inf") if settings.max_requests is None else settings.max_requests
        self._ready[child] = int(min(most, 1 << 62)) + random.randint(0, settings.max_requests_jitter)
        for old in self._due:
            if old not in self._leaving and len(self._ready) - len(self._leaving) > settings.size:
                self._leaving.add(old)
                if old in self._free:
                    self._free.remove(old)
                    self._let_go(old)
                break
        self._freed(child)

    def _ended(self, child: Child) -> None:
        """The process of a child has ended."""
        child.lose_call(502)
        if self._ready.pop(child, None) is None:
            return  # it ended before it had joined: who started it knows
        self._leaving.discard(child)
        self._gone.discard(child)
        self._due.pop(child, None)
        if child in self._free:
            self._free.remove(child)
        self._next()
        if self._stopping.is_set():
            return
        cause = child.cause
        known = cause in ("timeout", "garbage", "max_requests", "lifetime", "rss")
        self._replaced[cause if known else "crash"] += 1
        if not known:
            _log.error("child %d has ended (%s) and is replaced", child.pid, cause)
        self._fill()

    def _renew(self, child: Child, cause: str) -> None:
        if child not in self._due:
            self._due[child] = cause
            self._fill()

    def _fill(self) -> None:
        """Start what is missing, and a successor for one that is due."""
        if self._stopping.is_set():
            return
        waiting = any(child not in self._leaving for child in self._due)
        wanted = self._settings.size + waiting
        while len(self._ready) - len(self._leaving) + self._starting < wanted:
            self._starting += 1  # from now on, not from the first turn of the task
            self._tasks.spawn(self._start())

    async def _start(self) -> None:
        """Start one child, however often it takes."""
        self._starting -= 1
        while not self._stopping.is_set():
            try:
                child = await self._make()
            except (ChildFailed, OSError) as failure:
                self._failures += 1
                _log.error("a child cannot be started (attempt %d): %s\n%s", self._failures, failure, _trace(failure))
                if self._failures >= FAILURES_MAX and not self._ready:
                    self._stopping.set()
                    self._crashed()
                    return
                self._starting += 1
                await asyncio.sleep(pause(self._failures))
                self._starting -= 1
            else:
                self._failures = 0
                if self._stopping.is_set():
                    child.retire("stop")
                else:
                    self._join(child)
                    self._fill()
                return

    # --- time and memory -----------------------------------------------------------------------

    def _look(self) -> None:
        """Find the children that are too old or too large."""
        self._timer = self._loop.call_later(LOOK, self._look)
        now = self._loop.time()
        settings = self._settings
        for child in list(self._ready):
            if settings.max_lifetime is not None and now - child.ready_at >= settings.max_lifetime:
                self._renew(child, "lifetime")
            elif settings.max_rss is not None and resident(child.pid) > settings.max_rss:
                self._renew(child, "rss")

    def _running(self) -> list[tuple[Child, float]]:
        return [
            (child, child.call.began)
            for child in self._ready
            if child.call is not None and child.call not in self._expiring
        ]

    def _expire(self, child: Child) -> None:
        assert child.call is not None
        self._expiring.add(child.call)
        self._tasks.spawn(self._cut_off(child, child.call))

    async def _cut_off(self, child: Child, call: Call) -> None:
        """A request has run too long: its stack first, for the child goes with it."""
        stack = await child.stack()
        self._expiring.discard(call)
        if child.call is call:  # it has not ended meanwhile
            assert self._watch is not None
            cut_off(call.exchange, self._watch.seconds, stack, f"; child {child.pid} is killed")
            child.give_up("timeout", 504)

    # --- numbers -------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """False while no child has the application."""
        return bool(self._ready)

    def statistics(self) -> dict[str, int]:
        """Children, requests that run, wait, and were refused, and children replaced, by what cause."""
        causes = ("crash", "timeout", "garbage", "max_requests", "lifetime", "rss")
        return {
            "children": len(self._ready),
            "running": self._busy,
            "waiting": len(self._room),
            "refused": self._room.refused,
            "replaced": self._replaced.total(),
            **{f"replaced_{cause}": self._replaced[cause] for cause in causes},
        }


def resident(pid: int) -> int:
    """Octets of memory that a process has resident; 0 when it has ended, or where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE
    except OSError:
        return 0


def _trace(failure: Exception) -> str:
    return failure.trace if isinstance(failure, ChildFailed) else ""
