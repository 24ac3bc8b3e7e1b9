"""The modes with `--reserve`: who runs and who waits is decided by `dispatch.lines`.

Each is the mode without it, whose requests so pay nothing for what they do not use.
"""

from __future__ import annotations

from collections.abc import Callable

from bridgeserve.dispatch.admission import Gatekeeper
from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.child import Child
from bridgeserve.dispatch.inline import InlineAsgi, InlineWsgi
from bridgeserve.dispatch.lines import Lines
from bridgeserve.dispatch.processes import ProcessPool
from bridgeserve.dispatch.threads import ThreadPool
from bridgeserve.groups import Admission


class ReservedThreads(ThreadPool):
    """WSGI in threads, some of them kept for the requests of the reserves."""

    def _make_room(self, admission: Admission) -> Lines:
        self._lines = lines = Lines(admission.reserve, admission.queue_timeout, lambda: self._crew.usable - lines.held)
        return lines

    def _admit(self, exchange: Exchange) -> None:
        lines = self._lines
        if lines.admit(exchange, lines.line_of(exchange), self._limit) and lines.requests:
            self._crew.expect()

    def _serve(self, exchange: Exchange) -> None:
        super()._serve(exchange)
        self._lines.end(exchange)

    def _expire(self, exchange: Exchange) -> None:
        super()._expire(exchange)
        self._lines.end(exchange)  # its thread is lost, or has served it meanwhile
        if self._lines.requests:
            self._crew.expect()


class ReservedProcesses(ProcessPool):
    """WSGI in child processes, some of them kept for the requests of the reserves."""

    def _make_room(self, admission: Admission) -> Lines:
        self._lines = lines = Lines(admission.reserve, admission.queue_timeout, self._lanes)
        return lines

    def _lanes(self) -> int:
        return min(self._most - len(self._busy), sum(child.alive for child in self._free))

    def _admit(self, exchange: Exchange) -> None:
        lines = self._lines
        line = lines.line_of(exchange)
        if lines.open(line) > 0 and (child := self._spare()) is not None:
            self._give(child, exchange)
        elif any(lines.rooms[: line + 1]) or not self._give_early(exchange):
            lines.admit(exchange, line, self._limit)

    def _give(self, child: Child, exchange: Exchange) -> None:
        self._lines.begin(child, self._lines.line_of(exchange))
        super()._give(child, exchange)

    def _next(self) -> None:
        while (exchange := self._lines.pop()) is not None:
            child = self._spare()
            assert child is not None, "a lane that is open has a child"
            self._give(child, exchange)
        if not self._busy:
            self._quiet.set()

    def _may_join(self, child: Child, exchange: Exchange) -> bool:
        """Those in the lane of a child are of one line: they run on what is held for it."""
        return self._lines.line_held(child) == self._lines.line_of(exchange)

    def _refill(self, child: Child) -> None:
        line = self._lines.line_held(child)
        assert line is not None
        if not any(self._lines.rooms[:line]):  # else it is better free, for a line that comes first
            self._refill_from(self._lines.rooms[line], child)

    def freed(self, child: Child) -> None:
        """A request of a child has ended, and with the last one its hold of the lane."""
        if not child.calls:
            self._lines.end(child)
        super().freed(child)

    def ended(self, child: Child) -> None:
        """The process of a child has ended."""
        self._lines.end(child)
        super().ended(child)


class ReservedGate(Gatekeeper):
    """The gatekeeper of the modes on the loop, with lanes for the requests of the reserves.

    When a request ends, `lines.end` comes before `release`.
    """

    __slots__ = ("lines",)

    def __init__(self, admission: Admission, start: Callable[[Exchange], None]) -> None:
        super().__init__(admission, start)
        capacity = admission.concurrency
        assert capacity is not None, "nothing can be reserved of what has no limit; refused at the start"
        self.room = self.lines = Lines(admission.reserve, admission.queue_timeout, lambda: capacity - self.running)

    def admit(self, exchange: Exchange) -> None:
        """Run it, let it wait, or answer 503."""
        lines = self.lines
        line = lines.line_of(exchange)
        if lines.open(line) > 0:
            lines.begin(exchange, line)
            self.running += 1
            self._start(exchange)
        else:
            lines.admit(exchange, line, self._limit)


class ReservedInlineAsgi(InlineAsgi):
    """ASGI on the loop, some of `--limit-concurrency` kept for the requests of the reserves."""

    def _make_gate(self, admission: Admission, start: Callable[[Exchange], None]) -> Gatekeeper:
        gate = ReservedGate(admission, start)
        self._lines = gate.lines
        return gate

    def _start(self, exchange: Exchange) -> None:
        def release() -> None:
            self._lines.end(exchange)
            self._release()

        self._tasks.start(self._runner.run(exchange, release))

    def _release_of(self, exchange: Exchange) -> Callable[[], None]:
        def release() -> None:
            self._lines.end(exchange)
            self._release_timed()

        return release


class ReservedInlineWsgi(InlineWsgi):
    """WSGI on the loop, some of `--limit-concurrency` kept for the requests of the reserves."""

    def _make_gate(self, admission: Admission) -> Gatekeeper:
        gate = ReservedGate(admission, self._start)
        self._lines = gate.lines
        return gate

    def _end(self, exchange: Exchange) -> None:
        self._lines.end(exchange)
        super()._end(exchange)
