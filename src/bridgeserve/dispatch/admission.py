"""Overload is decided here and nowhere else, in requests and not in connections.

So many run, so many wait, none waits longer than the deadline; the rest gets 503 with Retry-After
(RFC 9110 sections 15.6.4 and 10.2.3). A request whose client leaves while it waits is dropped and
never run. All of it happens on the loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from bridgeserve.dispatch.base import Exchange, drop_spool, refuse
from bridgeserve.settings import Admission

RETRY_AFTER = [(b"retry-after", b"1")]


class Gatekeeper:
    """Starts requests while there is room, and keeps the others in order of arrival.

    :param capacity: requests that may run at once; None for no limit.
    :param start: runs an exchange; `release` must be called once when it has ended.
    :param settle: called before a request is made to wait, to collect endings not yet told.
    """

    __slots__ = (
        "_filling",
        "_handle",
        "_settings",
        "_settle",
        "_start",
        "capacity",
        "refused",
        "running",
        "waiting",
    )

    def __init__(
        self,
        settings: Admission,
        capacity: int | None,
        start: Callable[[Exchange], None],
        settle: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self.capacity = capacity
        self._start = start
        self._settle = settle
        self._handle: asyncio.TimerHandle | None = None
        self._filling = False
        self.running = 0
        self.refused = 0
        # The queue, oldest first; the value is the deadline. Who removes an exchange from it owns it: each
        # removal is one atomic call, so that a pool thread may `take` while the loop drops and expires.
        self.waiting: OrderedDict[Exchange, float] = OrderedDict()

    def admit(self, exchange: Exchange) -> None:
        """Run it, let it wait, or answer 503."""
        if self.capacity is None or self.running < self.capacity:
            self.running += 1
            self._start(exchange)
        elif len(self.waiting) >= self._settings.queue:
            self.refused += 1
            refuse(exchange, 503, RETRY_AFTER)
        else:
            self._wait(exchange)

    def _wait(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.queue_timeout
        self.waiting[exchange] = deadline
        exchange.on_disconnect = self._leave
        if self._handle is None:
            self._handle = loop.call_at(deadline, self._expire)
        if self._settle is not None:
            self._settle()

    def _leave(self, exchange: Exchange) -> None:
        """The client of a waiting request left: forget the request."""
        if self.waiting.pop(exchange, None) is not None:
            drop_spool(exchange)
            exchange.abort()

    def release(self) -> None:
        """A running request has ended: the oldest waiting one takes its place."""
        self.running -= 1
        if self._filling:
            return  # a request has ended within `start`: the loop below goes on by itself, however many follow
        self._filling = True
        try:
            while (self.capacity is None or self.running < self.capacity) and (exchange := self.take()) is not None:
                self.running += 1
                self._start(exchange)
        finally:
            self._filling = False

    def take(self) -> Exchange | None:
        """(any thread) The oldest waiting request, for a runner that goes on without `release`."""
        try:
            exchange, _deadline = self.waiting.popitem(last=False)
        except KeyError:
            return None
        return exchange

    def _expire(self) -> None:
        """Answer 503 to those whose wait is over, and sleep until the next one's deadline."""
        self._handle = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for exchange, deadline in list(self.waiting.items()):
            if deadline > now:
                self._handle = loop.call_at(deadline, self._expire)
                return
            self._refuse(exchange)

    def close(self) -> None:
        """The server ends: nobody waits any longer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        for exchange in list(self.waiting):
            self._refuse(exchange)

    def _refuse(self, exchange: Exchange) -> None:
        """503, unless a runner was quicker."""
        if self.waiting.pop(exchange, None) is not None:
            exchange.on_disconnect = None
            self.refused += 1
            refuse(exchange, 503, RETRY_AFTER)
