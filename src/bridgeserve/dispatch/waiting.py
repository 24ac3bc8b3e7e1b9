"""The queue in front of a mode: requests wait here in order of arrival, none longer than the deadline.

A request whose client leaves while it waits is dropped and never run; one that waits too long gets
503 with Retry-After (RFC 9110 sections 15.6.4 and 10.2.3). All methods but `take` belong to the loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from bridgeserve.dispatch.base import Exchange, drop_spool, refuse

# Seconds that a request waits on whose client has closed its sending side: one that still reads has its answer in an
# unloaded server by then, and one that has left would cost a thread in a loaded one.
HALF_CLOSED = 0.1
RETRY_AFTER = [(b"retry-after", b"1")]


class Room(Protocol):
    """Where requests wait: one queue, or several (`dispatch.lines`)."""

    def __len__(self) -> int: ...

    @property
    def requests(self) -> Iterable[Exchange]:
        """Those who wait and may be taken now, the first one first; true while there is one."""

    @property
    def refused(self) -> int:
        """Requests that got 503."""

    def enter(self, exchange: Exchange) -> None:
        """Wait as the last one."""

    def come_back(self, exchange: Exchange) -> None:
        """Wait again as the first one: its turn had come, and nobody has begun it."""

    def take(self) -> Exchange | None:
        """(any thread) The first one, which waits no longer; None when nobody may start."""

    def refuse(self, exchange: Exchange) -> None:
        """Answer 503 to a request that does not wait (any longer)."""

    def close(self) -> None:
        """The server ends: nobody waits any longer."""


class WaitingRoom:
    """Requests that wait.

    :param timeout: the longest wait in seconds.
    """

    __slots__ = ("_handle", "_loop", "_timeout", "refused", "requests")

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self.refused = 0
        # Oldest first; the value is the deadline. Who removes an exchange from it owns it: each removal is
        # one atomic call, so that a pool thread may `take` while the loop drops and expires.
        self.requests: OrderedDict[Exchange, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self.requests)

    def enter(self, exchange: Exchange) -> None:
        """Wait as the last one."""
        loop = self._loop
        if loop is None:
            self._loop = loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        exchange.on_disconnect = self._leave
        self.requests[exchange] = deadline  # last: from here on a pool thread may have it
        if self._handle is None:
            self._handle = loop.call_at(deadline, self._expire)

    def take(self) -> Exchange | None:
        """(any thread) The oldest one, which waits no longer; None when nobody waits."""
        try:
            return self.requests.popitem(last=False)[0]
        except KeyError:
            return None

    def refuse(self, exchange: Exchange) -> None:
        """Answer 503 to a request that does not wait (any longer)."""
        exchange.on_disconnect = None
        self.refused += 1
        refuse(exchange, 503, RETRY_AFTER)

    def close(self) -> None:
        """The server ends: nobody waits any longer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        while (exchange := self.take()) is not None:
            self.refuse(exchange)

    def _leave(self, exchange: Exchange) -> None:
        """The client of a waiting request has left, or has only sent its last octet, which looks the same at first."""
        if exchange.lost:
            self._forget(exchange)
        elif exchange in self.requests:
            assert self._loop is not None
            self._loop.call_later(HALF_CLOSED, self._forget, exchange)

    def _forget(self, exchange: Exchange) -> None:
        """Nobody waits for the answer any more, unless it is under way by now."""
        if self.requests.pop(exchange, None) is not None:
            drop_spool(exchange)
            exchange.abort()

    def come_back(self, exchange: Exchange) -> None:
        """Wait again as the first one: its turn had come, and nobody has begun it."""
        self.enter(exchange)
        self.requests.move_to_end(exchange, last=False)

    def _expire(self) -> None:
        """Refuse those whose wait is over, and sleep until the next one's deadline."""
        self._handle = None
        assert self._loop is not None
        now = self._loop.time()
        for exchange, deadline in list(self.requests.items()):
            if deadline <= now and self.requests.pop(exchange, None) is not None:  # unless a thread was quicker
                self.refuse(exchange)
        # A copy: pool threads take from it meanwhile.
        if (waiting := list(self.requests.values())) and self._handle is None:
            self._handle = self._loop.call_at(min(waiting), self._expire)
