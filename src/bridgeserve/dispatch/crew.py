"""The threads of thread mode: who sleeps, who is woken, and when.

Each thread takes the oldest waiting request by itself and sleeps when there is none. A wake-up costs
more than a small request, so there are as few as can be: the loop wakes one thread when the queue
stops being empty, and a thread that takes a request while others wait wakes the next one before it
runs. So a burst of quick requests is served by a thread or two, and one of slow requests (whose
threads let go of the interpreter) soon by all of them. Measured with 32 connections and 8 threads:
1.5 context switches a request when the loop woke a thread for each, 0.2 like this.

No wake-up is lost: a thread enters `idle` first and looks at the queue again before it sleeps, and
the loop puts a request into the queue first and looks at `idle` afterwards.
"""

from __future__ import annotations

import threading
import time
from _thread import LockType
from collections.abc import Callable

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.waiting import WaitingRoom


class Crew:
    """Threads that serve what waits in `room`.

    :param serve: (thread) runs one request to its end; raises nothing.
    """

    __slots__ = ("_busy", "_idle", "_room", "_serve", "_size", "_stopping", "_threads", "_waking")

    def __init__(self, size: int, room: WaitingRoom, serve: Callable[[Exchange], None]) -> None:
        self._size = size
        self._room = room
        self._serve = serve
        self._stopping = False
        self._waking = False  # a thread was woken and has not looked at the queue yet
        self._threads: list[threading.Thread] = []
        self._busy: set[LockType] = set()  # each thread stands here by its lock while it serves
        self._idle: list[LockType] = []  # the locks that sleeping threads wait for; the last to sleep wakes first

    @property
    def busy(self) -> int:
        """Threads that serve a request."""
        return len(self._busy)

    @property
    def free(self) -> int:
        """Threads that serve none, whether they have noticed what waits or not."""
        return self._size - len(self._busy)

    @property
    def alive(self) -> int:
        """Threads that have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads; they are daemons: an application that never returns must not keep the process."""
        for number in range(self._size):
            thread = threading.Thread(target=self._work, name=f"bridgeserve-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let each thread end after what it is doing and what waits."""
        self._stopping = True
        while self._idle:
            self._release()

    def join(self, timeout: float) -> None:
        """Wait for the threads, at most `timeout` seconds for all of them."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

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
        take = self._room.take
        waiting = self._room.requests
        while True:
            exchange = take()
            if exchange is None:
                self._busy.discard(asleep)
                self._idle.append(asleep)
                if waiting or self._stopping:
                    try:
                        self._idle.remove(asleep)
                    except ValueError:
                        asleep.acquire()  # woken meanwhile: the wake-up is used up
                        self._waking = False
                    if self._stopping and not waiting:
                        return
                else:
                    asleep.acquire()
                    self._waking = False
                continue
            self._busy.add(asleep)
            if waiting and self._idle:
                self.wake()
            self._serve(exchange)
