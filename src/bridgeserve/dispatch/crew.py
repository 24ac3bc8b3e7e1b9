"""The threads of thread mode: who sleeps, who is woken, and when.

Each thread takes the oldest waiting request by itself and sleeps when there is none. A wake-up costs
more than a small request, and a thread that is awake too early takes the interpreter away from the
loop, so there are few wake-ups, and late ones:

- the loop wakes one thread, at the end of the turn in which the queue stopped being empty;
- a thread that takes a request while others wait wakes the next one before it runs, unless the
  latest request was quick (`QUICK`): those behind it are served sooner by the thread that is awake;
- the loop looks again each `PATIENCE` while requests wait, and wakes one more thread when none was
  taken meanwhile: a request that is not as quick as those before it holds up nobody for longer.

So a burst of quick requests is served by one thread, and one of slow requests (whose threads let go
of the interpreter) soon by all of them. Measured with 32 connections and 8 threads on one core:
1.5 context switches and 33 microseconds a request when the loop woke a thread at once and each thread
the next, 0.35 and 26 like this.

No wake-up is lost: a thread enters `idle` first and looks at the queue again before it sleeps, and
the loop puts a request into the queue first and looks at `idle` afterwards.

A thread that the loop has given up (`lose`) is lost until it comes back from the application, and a spare
takes its place; there are at most as many spares as the crew is large. Who removes a request from `busy`
decides: the thread when it has served it, or the loop when it gives the thread up; each removal is one atomic call.
A lost thread that comes back ends, or takes its place again where no spare could.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from _thread import LockType
from collections.abc import Callable, Iterable

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.waiting import Room

_log = logging.getLogger("bridgeserve.error")
QUICK = 0.0001  # seconds of a request after which the next one is better served by the same thread
PATIENCE = 0.001  # seconds that a request waits for a thread that is held up by another one
LOOK_AGAIN = 0.1  # seconds after which `join` notices that the thread it waits for was given up


class Crew:
    """Threads that serve what waits in `room`.

    :param serve: (thread) runs one request to its end; raises nothing.
    """

    __slots__ = (
        "_busy",
        "_copied",
        "_expecting",
        "_guard",
        "_hired",
        "_idle",
        "_look_again",
        "_loop",
        "_lost",
        "_quick",
        "_room",
        "_serve",
        "_size",
        "_stopping",
        "_threads",
        "_took",
        "_usable",
        "_waking",
    )

    def __init__(self, size: int, room: Room, serve: Callable[[Exchange], None]) -> None:
        self._size = size
        self._room = room
        self._serve = serve
        self._stopping = False
        self._copied = False  # we are in a process that the application has forked
        self._loop: asyncio.AbstractEventLoop  # known from the start
        self._quick = False  # the request that ended last was
        self._took = 0.0  # when a thread has last taken one, in time.monotonic() seconds
        self._expecting = False  # the loop will wake a thread at the end of this turn
        self._look_again: asyncio.TimerHandle | None = None
        self._waking = False  # a thread was woken and has not looked at the queue yet
        self._threads: list[threading.Thread] = []
        self._hired = 0  # threads that were ever started
        # What is served now: since when, in time.monotonic() seconds, and by which thread.
        self._busy: dict[Exchange, tuple[float, int]] = {}
        self._guard = threading.Lock()  # for the next two, which change when a thread is lost or comes back
        self._usable = 0  # threads that are not lost
        self._lost: set[int] = set()
        self._idle: list[LockType] = []  # the locks that sleeping threads wait for; the last to sleep wakes first

    @property
    def busy(self) -> int:
        """Threads that serve a request; lost ones are not among them."""
        return len(self._busy)

    @property
    def usable(self) -> int:
        """Threads that are not lost."""
        return self._usable

    @property
    def free(self) -> int:
        """Threads that serve none, whether they have noticed what waits or not."""
        return self._usable - len(self._busy)

    @property
    def lost(self) -> int:
        """Threads that were given up and have not come back."""
        return len(self._lost)

    @property
    def full(self) -> bool:
        """True while every lost thread has a spare in its place."""
        return self._usable >= self._size

    @property
    def alive(self) -> int:
        """Threads that have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """(loop) Start the threads; they are daemons: an application that never returns must not keep the process."""
        self._loop = asyncio.get_running_loop()
        for _ in range(self._size):
            self._hire()

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"bridgeserve-{self._hired}", daemon=True)
        thread.start()
        self._hired += 1
        self._usable += 1
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]

    def running(self) -> Iterable[tuple[Exchange, float]]:
        """(loop) What is served now, and since when."""
        # The copy is one atomic call, an iteration would not be.
        return [(exchange, began) for exchange, (began, _) in self._busy.copy().items()]

    def lose(self, exchange: Exchange) -> int | None:
        """(loop) Give up the thread that serves `exchange`, and start a spare in its place if there is one left.

        :returns: the thread's identifier; None: it has served the request meanwhile, and is not lost.
        """
        with self._guard:  # the thread may come back as soon as it is given up, and waits here until that is done
            found = self._busy.pop(exchange, None)
            if found is None:
                return None
            self._lost.add(found[1])
            self._usable -= 1
            if self._usable + len(self._lost) < 2 * self._size:
                try:
                    self._hire()
                except RuntimeError as error:  # the system has no thread to give
                    _log.error("no spare thread can be started: %s", error)
        return found[1]

    def _come_back(self) -> bool:
        """(lost thread) Whether there is a place for it."""
        with self._guard:
            self._lost.discard(threading.get_ident())
            if self._usable >= self._size:
                return False
            self._usable += 1
            return True

    def stop(self) -> None:
        """Let each thread end after what it is doing and what waits."""
        self._stopping = True
        if self._look_again is not None:
            self._look_again.cancel()
        while self._idle:
            self._release()

    def forked(self) -> None:
        """(in a process that the application has forked) The thread that did it ends the process when it comes back."""
        self._copied = True
        self._stopping = True

    def join(self, timeout: float) -> None:
        """Wait for the threads that are not lost, at most `timeout` seconds for all of them."""
        deadline = time.monotonic() + timeout
        while left := [each for each in self._threads if each.is_alive() and each.ident not in self._lost]:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                return
            left[0].join(min(seconds, LOOK_AGAIN))

    def expect(self) -> None:
        """(loop) A request has come into the empty queue: a thread is woken when all that came with it is there."""
        if not self._expecting:
            self._expecting = True
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._expecting = False
        if self._room.requests:
            self.wake()
            if self._look_again is None:
                self._watch_what_waits()

    def _watch_what_waits(self) -> None:
        """(loop) Look once more while a thread sleeps; those that are awake look by themselves when they have ended."""
        self._look_again = self._loop.call_later(PATIENCE, self._look) if self._idle else None

    def _look(self) -> None:
        """(loop) Wake one more thread when those that are awake have taken nothing for a while."""
        self._look_again = None
        if self._room.requests and not self._stopping:
            if time.monotonic() - self._took >= PATIENCE:
                self.wake()
            self._watch_what_waits()

    def wake(self) -> None:
        """(any thread) See to it that one more thread looks at the queue, if one sleeps."""
        if not self._waking:
            self._release()

    def _release(self) -> None:
        try:
            lock = self._idle.pop()
        except IndexError:
            return
        self._waking = True
        lock.release()

    def _work(self) -> None:
        """(pool thread) Serve until told to stop."""
        asleep = threading.Lock()
        asleep.acquire()
        me = threading.get_ident()
        take = self._room.take
        waiting = self._room.requests
        busy = self._busy
        now = time.monotonic
        while True:
            exchange = take()
            if exchange is None:
                self._idle.append(asleep)
                if waiting or self._stopping:
                    try:
                        self._idle.remove(asleep)
                    except ValueError:
                        asleep.acquire()  # woken meanwhile: the wake-up is used up
                        self._waking = False
                    if self._stopping and not waiting:
                        if self._copied:
                            os._exit(0)
                        return
                else:
                    asleep.acquire()
                    self._waking = False
                continue
            self._took = exchange.began = began = now()
            busy[exchange] = (began, me)
            if waiting and self._idle and not self._quick:
                self.wake()
            self._serve(exchange)
            self._quick = now() - began < QUICK
            try:
                del busy[exchange]
            except KeyError:
                if not self._come_back():
                    return
