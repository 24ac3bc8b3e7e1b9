"""How many children there are, and which of them gets a successor. All of it runs on the loop.

missing       size - (ready + starting): started at once, after a failed start with a growing pause
due           has served its requests, its time or its memory: one at a time gets a successor, and leaves when
              that is ready and its own requests have ended
given up      broke the frames or ran too long: killed, and missing from then on
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from bridgeserve.dispatch.child import Child, Owner
from bridgeserve.dispatch.spawn import ChildFailed, Fresh, Spawner, Template
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.groups import Children

_log = logging.getLogger("bridgeserve")
LOOK = 1.0  # seconds between two looks at age and memory
PAUSE_MAX = 30.0  # seconds between two attempts to start a child
FAILURES_MAX = 8  # attempts in a row that fail while no child is left: it is a crash loop
PAGE = os.sysconf("SC_PAGE_SIZE")
CAUSES = ("crash", "timeout", "garbage", "max_requests", "lifetime", "rss")


class Pool(Owner, Protocol):
    """Who gives the children their work."""

    def joined(self, child: Child) -> None:
        """A child is ready for requests."""

    def dismiss(self, child: Child) -> bool:
        """Give it nothing more; True when it has no request, else `Nursery.keeps` is asked when it has none."""

    def crashed(self) -> None:
        """No child can be started any more. Called once."""


def pause(failures: int) -> float:
    """Seconds to wait after so many starts in a row have failed: none after the first, then 0.1, 0.2, 0.4 …"""
    return 0.0 if failures <= 1 else min(0.1 * 2.0 ** min(failures - 2, 20), PAUSE_MAX)


class Nursery:
    """:param setup: what a child has to know of the application."""

    def __init__(self, setup: dict[str, Any], settings: Children, tasks: Tasks, pool: Pool) -> None:
        self._setup = setup
        self._settings = settings
        self._tasks = tasks
        self._pool = pool
        self._spawner: Spawner = Template(setup) if settings.preload else Fresh()
        self._starting = 0
        self._failures = 0
        self._leaving: set[Child] = set()  # replaced already
        self._timer: asyncio.TimerHandle | None = None
        self.ready: dict[Child, float] = {}  # the children that have the application; the requests that each may serve
        self.due: dict[Child, str] = {}  # to be replaced, and why
        self.replaced: Counter[str] = Counter()
        self.stopping = asyncio.Event()

    async def start(self) -> None:
        """Start all children; raises ChildFailed when one of them cannot, OSError."""
        await self._spawner.__aenter__()
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
        if self._settings.max_lifetime is not None or self._settings.max_rss is not None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    async def stop(self) -> None:
        """End all children: those that are busy are killed."""
        self.stopping.set()
        if self._timer is not None:
            self._timer.cancel()
        for child in list(self.ready):
            if child.call is None:
                child.retire("stop")
            else:
                child.give_up("stop", 503)
        await self._tasks.drain(1.0)
        for child in list(self.ready):
            child.kill()
        await self._tasks.drain(1.0)
        await self._spawner.__aexit__()

    # --- start ---------------------------------------------------------------------------------

    async def _make(self) -> Child:
        self._starting += 1
        try:
            child = Child(self._setup, self._spawner, self._tasks, self._pool)
            await child.start(self._settings.start)
            return child
        finally:
            self._starting -= 1

    def _join(self, child: Child) -> None:
        """A child has the application: it works from now on, and one that was due may go."""
        if not child.alive:
            return  # it has ended since it was ready
        settings = self._settings
        most = float("inf") if settings.max_requests is None else settings.max_requests
        self.ready[child] = most + random.randint(0, settings.max_requests_jitter)
        if len(self.ready) - len(self._leaving) > settings.size:
            old = next((each for each in self.due if each not in self._leaving), None)
            if old is not None:
                self._leaving.add(old)
                if self._pool.dismiss(old):
                    old.retire(self.due[old])
        self._pool.joined(child)

    def _fill(self) -> None:
        """Start what is missing, and a successor for one that is due."""
        if self.stopping.is_set():
            return
        wanted = self._settings.size + any(child not in self._leaving for child in self.due)
        while len(self.ready) - len(self._leaving) + self._starting < wanted:
            self._starting += 1  # from now on, not from the first turn of the task
            self._tasks.spawn(self._start())

    async def _start(self) -> None:
        """Start one child, however often it takes."""
        self._starting -= 1
        while not self.stopping.is_set():
            try:
                child = await self._make()
            except (ChildFailed, OSError) as failure:
                if self.stopping.is_set():
                    return
                self._failures += 1
                trace = failure.trace if isinstance(failure, ChildFailed) else ""
                _log.error("a child cannot be started (attempt %d): %s\n%s", self._failures, failure, trace)
                if self._failures >= FAILURES_MAX and not self.ready:
                    self.stopping.set()
                    self._pool.crashed()
                    return
                self._starting += 1
                await asyncio.sleep(pause(self._failures))
                self._starting -= 1
            else:
                self._failures = 0
                if self.stopping.is_set():
                    child.retire("stop")
                else:
                    self._join(child)
                    self._fill()
                return

    # --- end -----------------------------------------------------------------------------------

    def keeps(self, child: Child) -> bool:
        """A child has no request: whether it gets another one. One that is replaced ends."""
        if child in self._leaving:
            child.retire(self.due[child])
            return False
        if child.served >= self.ready[child]:
            self._renew(child, "max_requests")
        return True

    def lost(self, child: Child) -> None:
        """The process of a child has ended."""
        if self.ready.pop(child, None) is None:
            return  # it ended before it had joined: who started it knows
        self._leaving.discard(child)
        self.due.pop(child, None)
        if self.stopping.is_set():
            return
        cause = child.cause if child.cause in CAUSES else "crash"
        self.replaced[cause] += 1
        if cause == "crash":
            _log.error("child %d has ended (%s) and is replaced", child.pid, child.cause)
        self._fill()

    def _renew(self, child: Child, cause: str) -> None:
        if child not in self.due:
            self.due[child] = cause
            self._fill()

    def _look(self) -> None:
        """Find the children that are too old or too large."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK, self._look)
        now = loop.time()
        settings = self._settings
        for child in list(self.ready):
            if settings.max_lifetime is not None and now - child.ready_at >= settings.max_lifetime:
                self._renew(child, "lifetime")
            elif settings.max_rss is not None and resident(child.pid) > settings.max_rss:
                self._renew(child, "rss")

    def statistics(self) -> dict[str, int]:
        """Children, and how many were replaced, by what cause."""
        return {
            "children": len(self.ready),
            "replaced": self.replaced.total(),
            **{f"replaced_{cause}": self.replaced[cause] for cause in CAUSES},
        }


def resident(pid: int) -> int:
    """Octets of memory that a process has resident; 0 when it has ended, or where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE
    except OSError:
        return 0
