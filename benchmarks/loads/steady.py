"""An open model: requests leave at times that were fixed beforehand, however slow the answers are.

Latency counts from the intended time, so a stall is felt by all who would have come meanwhile. Tools that wait for an
answer before they send the next request (wrk and most others) miss just that.
"""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures, percentiles
from benchmarks.loads.target import Meter, Target
from benchmarks.messages import SILENCE_SECONDS, Head, parse_head, template

CONNECTIONS_MAX = 1000
SLOW_EVERY = 100
SPIN_SECONDS = 0.0015  # epoll sleeps in whole milliseconds: the last stretch before a request is spun away
SEED = 7


def schedule(rate: float, seconds: float, seed: int | None = SEED) -> list[float]:
    """When requests leave, in seconds from the start: like independent clients (Poisson), or evenly without a seed.

    The same seed gives the same times to every server.
    """
    count = int(rate * seconds)
    if seed is None:
        return [number / rate for number in range(count)]
    chance = random.Random(seed)
    return sorted(chance.uniform(0.0, seconds) for _ in range(count))


@dataclass
class Outcome:
    """What came of a schedule: latencies by request (None: no right answer), and how late the load itself sent."""

    latencies: list[float | None]
    late: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    opened: int = 0

    def of(self, chosen: Callable[[int], bool]) -> list[float]:
        """The latencies of some requests, by number."""
        return [value for number, value in enumerate(self.latencies) if value is not None and chosen(number)]


@dataclass(eq=False)
class _Connection:
    socket: socket.socket
    number: int = -1  # the request in flight; -1: none
    unsent: bytes = b""
    received: bytes = b""
    head: Head | None = None
    used: bool = False  # it has carried an answer already


class Steady:
    """Sends a schedule over as many connections as it takes.

    :param request: makes the request of a number.
    :param limit: connections at most; when all are busy, requests wait, and their wait counts.
    """

    def __init__(self, port: int, request: Callable[[int], bytes], limit: int = CONNECTIONS_MAX) -> None:
        self._port = port
        self._request = request
        self._limit = limit
        self._idle: list[_Connection] = []
        self._all: dict[int, _Connection] = {}
        self._waiting: deque[int] = deque()
        self._epoll = select.epoll()
        self._open = 0  # requests without an outcome
        self._due: list[float] = []
        self._outcome = Outcome([])

    def run(self, offsets: Sequence[float]) -> Outcome:
        """Send all and wait for the answers, the last of them for 10 s. Errors are counted and not raised."""
        self._outcome = outcome = Outcome([None] * len(offsets))
        start = time.perf_counter() + 0.01
        self._due = due = [start + offset for offset in offsets]
        end = (due[-1] if due else start) + SILENCE_SECONDS
        following, self._open = 0, len(due)
        try:
            while self._open and (now := time.perf_counter()) < end:
                while following < len(due) and due[following] <= now:
                    outcome.late.append(now - due[following])
                    self._dispatch(following)
                    following += 1
                wait = (due[following] if following < len(due) else end) - time.perf_counter()
                for number, events in self._epoll.poll(0 if wait < SPIN_SECONDS else wait - SPIN_SECONDS / 2):
                    self._ready(self._all[number], events)
        finally:
            self._epoll.close()
            for connection in self._all.values():
                connection.socket.close()
        outcome.errors += ["no answer in time"] * self._open
        return outcome

    def _dispatch(self, number: int) -> None:
        if self._idle:
            self._send(self._idle.pop(), number)
        elif len(self._all) < self._limit:
            self._connect(number)
        else:
            self._waiting.append(number)

    def _connect(self, number: int) -> None:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = made.connect_ex(("127.0.0.1", self._port))
        if failed not in (0, errno.EINPROGRESS):
            made.close()
            self._settle(number, f"cannot connect: {errno.errorcode.get(failed, failed)}")
            return
        self._outcome.opened += 1
        connection = _Connection(made)
        self._all[made.fileno()] = connection
        self._epoll.register(made.fileno(), select.EPOLLIN | select.EPOLLOUT)
        connection.number, connection.unsent = number, self._request(number)

    def _send(self, connection: _Connection, number: int) -> None:
        connection.number, connection.received, connection.head = number, b"", None
        data = self._request(number)
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost(connection, "lost while sending")
            return
        connection.unsent = data[sent:]
        if connection.unsent:
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _ready(self, connection: _Connection, events: int) -> None:
        try:
            if events & select.EPOLLOUT and connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
                if not connection.unsent:
                    self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                data = connection.socket.recv(262144)
                if not data:
                    self._lost(connection, "closed without a whole answer")
                    return
                self._take(connection, data)
        except BlockingIOError:
            return
        except (OSError, BenchmarkError) as error:
            self._lost(connection, str(error), again=False)

    def _take(self, connection: _Connection, data: bytes) -> None:
        connection.received += data
        if connection.number < 0:
            raise BenchmarkError(f"an answer without a request: {data[:80]!r}")
        if connection.head is None:
            connection.head = parse_head(connection.received)
        head = connection.head
        if head is None or len(connection.received) < head.size + (head.length or 0):
            return
        number, connection.number, connection.used = connection.number, -1, True
        self._settle(number, "" if head.status == 200 else f"status {head.status}")
        if head.closes:
            self._drop(connection)
        else:
            self._idle.append(connection)
        if self._waiting:
            self._dispatch(self._waiting.popleft())

    def _lost(self, connection: _Connection, reason: str, again: bool = True) -> None:
        """A connection ended. An idle one may; a request that met the end of one goes out again, as browsers do."""
        number = connection.number
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        fresh = again and connection.used and not connection.received
        self._drop(connection)
        if number >= 0:
            if fresh:
                self._dispatch(number)
            else:
                self._settle(number, reason)
        if self._waiting and len(self._all) < self._limit:
            self._dispatch(self._waiting.popleft())

    def _drop(self, connection: _Connection) -> None:
        del self._all[connection.socket.fileno()]
        connection.socket.close()

    def _settle(self, number: int, error: str) -> None:
        self._open -= 1
        if error:
            self._outcome.errors.append(error)
        else:
            self._outcome.latencies[number] = time.perf_counter() - self._due[number]


def _run(target: Target, offsets: Sequence[float], slow: Callable[[int], bool]) -> Outcome:
    quick, lazy = target.template.numbered(), template(content.SLOW_PATH).numbered()
    outcome = Steady(target.running.port, lambda number: next(lazy if slow(number) else quick)).run(offsets)
    if outcome.errors:
        raise BenchmarkError(f"{len(outcome.errors)} of {len(offsets)} requests failed: {outcome.errors[0]}")
    return outcome


def _figures(outcome: Outcome, chosen: Callable[[int], bool]) -> Figures:
    late = percentiles(outcome.late).get("p99_ms", 0.0)
    return {**percentiles(outcome.of(chosen)), "late_ms": late}


def latency(target: Target, seconds: float) -> Figures:
    """Percentiles at the workload's rate."""
    outcome = _run(target, schedule(target.workload.rate, seconds), lambda number: False)
    return _figures(outcome, lambda number: True)


def mixed(target: Target) -> Figures:
    """Percentiles of the quick requests while every hundredth is slow, and CPU time of all."""
    target.verified()
    _run(target, schedule(target.workload.rate, target.plan.warmup), lambda number: False)
    offsets = schedule(target.workload.rate, target.plan.mixed_seconds)

    def slow(number: int) -> bool:
        return number % SLOW_EVERY == SLOW_EVERY // 2

    with Meter(target.running.pid) as meter:
        outcome = _run(target, offsets, slow)
    figures = _figures(outcome, lambda number: not slow(number))
    return {**figures, "cpu_us": meter.cpu_ns / len(offsets) / 1000}
