"""Overload is decided in requests and not in connections: so many run, so many wait, the rest gets 503.

The gatekeeper stands in front of the modes that run on the loop; all of it happens there. Thread mode
has its crew in this place (`dispatch.crew`); the queue is the same (`dispatch.waiting`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.waiting import Room, WaitingRoom
from bridgeserve.groups import Admission


class Gatekeeper:
    """Starts requests while there is room, and keeps the others in order of arrival.

    :param start: runs an exchange; `release` must be called once when it has ended.
    """

    __slots__ = ("_capacity", "_filling", "_limit", "_start", "room", "running")

    def __init__(self, settings: Admission, start: Callable[[Exchange], None]) -> None:
        self._capacity = settings.concurrency
        self._limit = settings.queue
        self._start = start
        self._filling = False
        self.room: Room = WaitingRoom(settings.queue_timeout)
        self.running = 0

    def admit(self, exchange: Exchange) -> None:
        """Run it, let it wait, or answer 503."""
        if self._capacity is None or self.running < self._capacity:
            self.running += 1
            self._start(exchange)
        elif len(self.room) >= self._limit:
            self.room.refuse(exchange)
        else:
            self.room.enter(exchange)

    def release(self) -> None:
        """A running request has ended: the oldest waiting one takes its place."""
        self.running -= 1
        if self._filling:
            return  # a request has ended within `start`: the loop below goes on by itself, however many follow
        self._filling = True
        try:
            while (self._capacity is None or self.running < self._capacity) and (
                exchange := self.room.take()
            ) is not None:
                self.running += 1
                exchange.began = time.monotonic()
                exchange.on_disconnect = None
                self._start(exchange)
        finally:
            self._filling = False

    def close(self) -> None:
        """The server ends: nobody waits any longer."""
        self.room.close()
