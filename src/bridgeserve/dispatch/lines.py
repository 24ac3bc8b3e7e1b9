"""`--reserve`: several queues in front of a mode, and lanes kept free for some of them.

A lane is what runs one request at a time: a thread, a child, or one of `--limit-concurrency` on the loop. Each
reserve is a line of its own: requests whose path matches its pattern wait there, before all others, and have N lanes
that nobody else takes. A request of any line may start when a lane is free beyond those that the *other* lines still
have coming to them: N less what they have at that moment. So ordinary requests never have more than size - N lanes,
and a line that needs more than its N takes part in the others.

Lanes are counted by who holds them. A pool thread takes and gives back by itself, so there is a lock; nothing blocks
while it is held.
"""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote_to_bytes

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.waiting import WaitingRoom
from bridgeserve.groups import Reserve


class Lines:
    """A `waiting.Room` for each reserve, in their order, and the last one for all other requests.

    :param timeout: the longest wait in seconds.
    :param free: (any thread) how many lanes are free, counting those of `held` as taken.
    """

    def __init__(self, reserves: Iterable[Reserve], timeout: float, free: Callable[[], int]) -> None:
        reserves = tuple(reserves)
        self._patterns = [re.compile(fnmatch.translate(each.pattern)) for each in reserves]
        self._lanes = [*(each.lanes for each in reserves), 0]
        self._counts = [0] * len(self._lanes)
        self._free = free
        self._guard = threading.RLock()  # for the counts and `_held`
        self._held: dict[object, int] = {}
        self.rooms = [WaitingRoom(timeout) for _ in self._lanes]
        self.requests = _Ready(self)

    def __len__(self) -> int:
        return sum(map(len, self.rooms))

    @property
    def refused(self) -> int:
        """Requests that got 503."""
        return sum(room.refused for room in self.rooms)

    @property
    def held(self) -> int:
        """Lanes that are held."""
        return len(self._held)

    def line_of(self, exchange: Exchange) -> int:
        """The number of the line in which a request waits; patterns see its path as an application does, decoded."""
        raw = exchange.request.path
        path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode("utf-8", "replace")
        for number, pattern in enumerate(self._patterns):
            if pattern.match(path) is not None:
                return number
        return len(self._patterns)

    def line_held(self, holder: object) -> int | None:
        """The line of the request for which a lane is held."""
        return self._held.get(holder)

    def open(self, line: int) -> int:
        """Lanes that requests of this line may take now; less than one: none."""
        with self._guard:
            owed = sum(
                lanes - count
                for number, (lanes, count) in enumerate(zip(self._lanes, self._counts, strict=True))
                if number != line and lanes > count
            )
            return self._free() - owed

    # --- lanes -----------------------------------------------------------------------------------

    def begin(self, holder: object, line: int) -> None:
        """A lane is held for a request of this line."""
        with self._guard:
            self._held[holder] = line
            self._counts[line] += 1

    def end(self, holder: object) -> None:
        """The lane is free; harmless when it is already."""
        with self._guard:
            line = self._held.pop(holder, None)
            if line is not None:
                self._counts[line] -= 1

    # --- waiting ---------------------------------------------------------------------------------

    def admit(self, exchange: Exchange, line: int, limit: int) -> bool:
        """Let a request wait as the last one of its line; False: it is full, and the request got its 503.

        Those that a free lane is about to take do not count.
        """
        room = self.rooms[line]
        if len(room) >= limit + max(self.open(line), 0):
            room.refuse(exchange)
            return False
        room.enter(exchange)
        return True

    def pop(self) -> Exchange | None:
        """(any thread) The first one that may start; None when nobody may."""
        for line, room in enumerate(self.rooms):
            if room.requests and self.open(line) > 0 and (exchange := room.take()) is not None:
                return exchange
        return None

    def take(self) -> Exchange | None:
        """(any thread) The first one that may start, which holds a lane from now on."""
        with self._guard:
            exchange = self.pop()
            if exchange is not None:
                self.begin(exchange, self.line_of(exchange))
            return exchange

    def enter(self, exchange: Exchange) -> None:
        """Wait as the last one of its line."""
        self.rooms[self.line_of(exchange)].enter(exchange)

    def come_back(self, exchange: Exchange) -> None:
        """Wait again as the first one of its line."""
        self.rooms[self.line_of(exchange)].come_back(exchange)

    def refuse(self, exchange: Exchange) -> None:
        """Answer 503 to a request that does not wait (any longer)."""
        self.rooms[-1].refuse(exchange)

    def close(self) -> None:
        """The server ends: nobody waits any longer."""
        for room in self.rooms:
            room.close()


class _Ready:
    """Those who wait and may start now: true while there is one."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[Exchange]:
        for line, room in enumerate(self._lines.rooms):
            if self._lines.open(line) > 0:
                yield from list(room.requests)

    def __bool__(self) -> bool:
        return any(room.requests and self._lines.open(line) > 0 for line, room in enumerate(self._lines.rooms))
