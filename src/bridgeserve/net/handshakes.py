"""Handshakes in flight: how many there may be, and which has to make room.

A handshake costs memory and a descriptor before anybody has asked for anything. When as many are in flight as may be,
no more are accepted; and those that have stalled for a second are dropped, so that a crowd of clients which say
nothing keeps nobody else out for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STALLED = 1.0  # seconds


class Handshakes:
    """:param most: in flight at once."""

    __slots__ = ("_flying", "_most", "_on_room", "_timer", "dropped")

    def __init__(self, most: int) -> None:
        self._most = most
        self._flying: dict[Callable[[], object], float] = {}  # how to drop each, and when it began; oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._on_room: list[Callable[[], None]] = []
        self.dropped = 0

    def on_room(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever another one may begin after none might."""
        self._on_room.append(callback)

    @property
    def room(self) -> bool:
        """May another one begin?"""
        return len(self._flying) < self._most

    @contextmanager
    def one(self, drop: Callable[[], object]) -> Iterator[None]:
        """A handshake is in flight inside the block; `drop` ends it."""
        loop = asyncio.get_running_loop()
        self._flying[drop] = loop.time()
        if not self.room and self._timer is None:
            self._timer = loop.call_later(STALLED, self._press)
        try:
            yield
        finally:
            full = not self.room
            del self._flying[drop]
            if full:
                for callback in self._on_room:
                    callback()

    def _press(self) -> None:
        """It was full a second ago."""
        self._timer = None
        if self.room:
            return
        loop = asyncio.get_running_loop()
        stalled = [drop for drop, began in self._flying.items() if loop.time() - began >= STALLED]
        for drop in stalled:
            self.dropped += 1
            drop()
        self._timer = loop.call_later(STALLED, self._press)

    def close(self) -> None:
        """No more timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
