"""Processes mode: WSGI in child processes, the loop in front of them.

The engine owns every connection and one queue. A request goes to a child that is free. Behind the request of another
one it waits only while that child is quick (QUICK), and is taken back unbegun when the child dies or takes long
(PATIENCE): so a child may crash, hang or be replaced and only the request in its hands knows. What a child is, says
`dispatch.child`; when it gets a successor, `dispatch.nursery`; here is who works and who waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.body import admit_whole
from bridgeserve.dispatch.call import Call
from bridgeserve.dispatch.child import PACE_AT_FIRST, Child
from bridgeserve.dispatch.nursery import Nursery
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.dispatch.waiting import Room, WaitingRoom
from bridgeserve.dispatch.watch import Watch, cut_off
from bridgeserve.groups import Admission, Children
from bridgeserve.wire import ipc

_log = logging.getLogger("bridgeserve")
EARLY = 32  # requests that a quick child may have, the one in its hands among them
QUICK = 0.002  # seconds a request: below it a child is quick
PATIENCE = 0.01  # seconds that a request in a lane waits behind one that turned out to be slow
LAST = 1.0  # seconds at the end for an application to see that its client was cut


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
        self._memory, self._buffering = body
        self._limit = admission.queue
        self._most = admission.concurrency or children.size
        self._room = self._make_room(admission)
        self._tasks = Tasks()
        self._nursery = Nursery(setup, children, self._tasks, self)
        self.crashed = crashed
        self._loop: asyncio.AbstractEventLoop
        self._free: list[Child] = []
        self._busy: set[Child] = set()  # those with a request, until it or they have ended
        self._quiet = asyncio.Event()  # set while no child is busy
        self._quiet.set()
        self._review_handle: asyncio.TimerHandle | None = None
        self._expiring: set[Call] = set()
        seconds = admission.run_timeout
        self._watch = None if seconds is None else Watch(seconds, self._running, self._expire)

    def _make_room(self, admission: Admission) -> Room:
        return WaitingRoom(admission.queue_timeout)

    async def __aenter__(self) -> Self:
        """Start the children; raises ChildFailed when one of them cannot."""
        self._loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        try:
            await self._nursery.start()
        except BaseException:
            await self._stop()
            raise
        if self._watch is not None:
            self._watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.close()
        await self.drain(LAST)
        if self._busy:
            _log.error("children that are still in the application and are killed: %d", len(self._busy))
        await self._stop()

    async def _stop(self) -> None:
        if self._watch is not None:
            self._watch.close()
        if self._review_handle is not None:
            self._review_handle.cancel()
        await self._nursery.stop()
        await self._tasks.__aexit__(None, None, None)

    async def drain(self, grace: float) -> None:
        """Let the children end what they are doing, at most `grace` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), grace)

    # --- requests ------------------------------------------------------------------------------

    def dispatch(self, exchange: Exchange) -> None:
        """Take a request; its body is read first unless it is streamed by choice."""
        request = exchange.request
        if not request.complete and self._buffering:
            self._tasks.spawn(admit_whole(exchange, self._memory, self._admit))
            return
        if len(request.body) > ipc.PIECE:  # it came with its head, and is too large to go with it
            exchange.spool = io.BytesIO(request.body)
            request.content_length = len(request.body)
        self._admit(exchange)

    def _admit(self, exchange: Exchange) -> None:
        if len(self._busy) < self._most and (child := self._spare()) is not None:
            self._give(child, exchange)
        elif not self._room and self._give_early(exchange):
            pass
        elif len(self._room) >= self._limit:
            self._room.refuse(exchange)
        else:
            self._room.enter(exchange)

    def _spare(self) -> Child | None:
        """A free child, which is free no longer; those whose end is not told yet are left out."""
        while self._free:
            child = self._free.pop()
            if child.alive:
                return child
        return None

    def _give(self, child: Child, exchange: Exchange) -> None:
        self._quiet.clear()
        self._busy.add(child)
        if not child.run(exchange, self._loop.time()):
            raise RuntimeError("an empty lane has room for every request that is legal")

    def _next(self) -> None:
        """Those who wait get the children that are free."""
        while self._room and len(self._busy) < self._most and (child := self._spare()) is not None:
            exchange = self._room.take()
            assert exchange is not None
            self._give(child, exchange)
        if not self._busy:
            self._quiet.set()

    # --- lanes ---------------------------------------------------------------------------------

    def _give_early(self, exchange: Exchange) -> bool:
        """Let it wait in the lane of the busy child that has the fewest, if that is quick; False: there is none."""
        best, fewest = None, EARLY
        for child in self._busy:
            if 0 < len(child.calls) < fewest and self._is_quick(child) and self._may_join(child, exchange):
                best, fewest = child, len(child.calls)
        return best is not None and self._run_early(best, exchange)

    def _may_join(self, child: Child, exchange: Exchange) -> bool:
        """Whether a request may wait behind those of a child."""
        return True

    def _is_quick(self, child: Child) -> bool:
        return child.pace < QUICK and child not in self._nursery.due and child.alive

    def _run_early(self, child: Child, exchange: Exchange) -> bool:
        if exchange.spool is not None or not exchange.request.complete or not child.run(exchange, self._loop.time()):
            return False
        if self._review_handle is None:
            self._review_handle = self._loop.call_later(PATIENCE, self._review)
        return True

    def _refill(self, child: Child) -> None:
        """The lane of a quick child has room again for those who wait."""
        self._refill_from(self._room, child)

    def _refill_from(self, room: Room, child: Child) -> None:
        while room and len(child.calls) < EARLY and self._is_quick(child):
            exchange = next(iter(room.requests))
            if exchange.spool is not None or not exchange.request.complete:
                return
            room.take()
            if not self._run_early(child, exchange):
                room.come_back(exchange)
                return

    def _review(self) -> None:
        """Whoever waits behind a request that turned out to be slow is taken back."""
        self._review_handle = None
        now = self._loop.time()
        early = False
        for child in list(self._busy):
            if len(child.calls) < 2:
                continue
            if now - child.calls[0].began >= PATIENCE:
                child.pace = PACE_AT_FIRST  # it has to prove itself anew
                self.returned(child.take_back())
            else:
                early = True
        if early and self._review_handle is None:
            self._review_handle = self._loop.call_later(PATIENCE, self._review)

    # --- children ------------------------------------------------------------------------------

    def joined(self, child: Child) -> None:
        """A child is ready."""
        self._free.append(child)
        self._next()

    def dismiss(self, child: Child) -> bool:
        """A child has a successor: nothing more for it."""
        if child in self._free:
            self._free.remove(child)
            return True
        self.returned(child.take_back())
        return False

    def freed(self, child: Child) -> None:
        """A request of a child has ended: the next one is in its lane already, or is given to it."""
        if child.calls:
            self._refill(child)
            return
        self._busy.discard(child)
        if self._nursery.keeps(child):
            self._free.append(child)
        self._next()

    def returned(self, calls: list[Call]) -> None:
        """Requests that no child has begun: they are the first in the queue, or go to a child that is free."""
        for call in reversed(calls):
            if self._nursery.stopping.is_set():
                self._room.refuse(call.exchange)
            else:
                self._room.come_back(call.exchange)
        self._next()

    def ended(self, child: Child) -> None:
        """The process of a child has ended."""
        if child in self._free:
            self._free.remove(child)
        child.lose_call(502)
        self._busy.discard(child)
        self._nursery.lost(child)
        self._next()

    def _running(self) -> list[tuple[Child, float]]:
        return [
            (child, child.call.began)
            for child in self._busy
            if child.call is not None and child.call not in self._expiring
        ]

    def _expire(self, child: Child) -> None:
        assert child.call is not None
        self._expiring.add(child.call)
        self._tasks.spawn(self._cut_off(child, child.call))

    async def _cut_off(self, child: Child, call: Call) -> None:
        """A request has run too long: its stack first, for the child goes with it."""
        try:
            stack = await child.stack()
        finally:
            self._expiring.discard(call)
        if child.call is call:  # it has not ended meanwhile
            assert self._watch is not None
            cut_off(call.exchange, self._watch.seconds, stack, f"; child {child.pid} is killed")
            child.give_up("timeout", 504)

    # --- numbers -------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """False while no child has the application."""
        return bool(self._nursery.ready)

    def statistics(self) -> dict[str, int]:
        """Requests that run, wait, and were refused; children, and those replaced, by what cause."""
        return {
            "running": len(self._busy),
            "waiting": len(self._room),
            "refused": self._room.refused,
            **self._nursery.statistics(),
        }
