"""Overload: three times as many requests as a server can run, in the open model. Only our own modes are asked.

LANES requests run at once and each sleeps for `content.NAP_SECONDS`: no server can answer more than LANES / NAP_SECONDS
a second, and three times that are sent. What a server can do on this machine is measured before, by as many
clients as have a place, each of which waits for its answer. QUEUE requests may wait; the rest is to be refused at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.figures import median, percentiles
from benchmarks.loads.steady import CONNECTIONS_MAX, Steady, _Connection, schedule
from benchmarks.messages import template
from benchmarks.processes import cores, free_port, running

LANES = 8
QUEUE = 24
DEADLINE = 0.1  # seconds: longer than QUEUE takes, so that it is the queue that refuses
TIMES = 3.0
CALM = 0.25  # of the capacity, for the latency of the unloaded server
LIMITS = ("--limit-queue", str(QUEUE), "--timeout-queue", str(DEADLINE), "--no-access-log")
PAGE_MARKS = ("<!-- overload -->", "<!-- /overload -->")
MODES = {
    "threads": ("benchmarks.apps.wsgi:nap", "--mode", "threads", "--threads", str(LANES)),
    "processes": ("benchmarks.apps.wsgi:nap", "--mode", "processes", "--processes", str(LANES)),
    "inline ASGI": ("benchmarks.apps.asgi:nap", "--limit-concurrency", str(LANES)),
}


class Crowd(Steady):
    """The open model that expects refusals: 503 with Retry-After."""

    def __init__(self, port: int, limit: int = CONNECTIONS_MAX) -> None:
        requests = template("/nap").numbered()
        super().__init__(port, lambda number: next(requests), limit)
        self.refused: list[float] = []
        self.accepted_at: list[float] = []  # seconds from the start to the answer
        self.last = 0.0
        self.begin = time.perf_counter()

    def _take(self, connection: _Connection, data: bytes) -> None:
        before = connection.received
        super()._take(connection, data)
        answer = (before + data).lower()
        if connection.number < 0 and answer.startswith(b"http/1.1 503 ") and b"\r\nretry-after: " not in answer:
            self._outcome.errors.append("503 without Retry-After")

    def _settle(self, number: int, error: str) -> None:
        now = time.perf_counter()
        self.last = now - self.begin
        if error == "status 503":
            self.refused.append(now - self._due[number])
            self._open -= 1
            return
        if not error:
            self.accepted_at.append(self.last)
        super()._settle(number, error)


@dataclass
class Account:
    """What became of one load. Times are seconds."""

    sent: int
    seconds: float
    accepted: list[float]
    refused: list[float]
    goodput: float  # answers of the app a second while the load lasted
    over: float  # from the last request to the last answer
    late: float  # how late the load itself sent (p99)
    latest: float  # ... at worst
    others: Counter[str] = field(default_factory=Counter)


def load(port: int, rate: float, seconds: float) -> Account:
    """Send at a rate, like independent clients, and wait for all the answers."""
    crowd = Crowd(port)
    offsets = schedule(rate, seconds)
    outcome = crowd.run(offsets)
    begin = crowd._due[0] - offsets[0]
    end = crowd.begin + crowd.last
    within = sum(crowd.begin + moment <= begin + seconds for moment in crowd.accepted_at)
    return Account(
        sent=len(offsets),
        seconds=seconds,
        accepted=outcome.of(lambda number: True),
        refused=crowd.refused,
        goodput=within / seconds,
        over=max(end - crowd._due[-1], 0.0),
        late=percentiles(outcome.late).get("p99_ms", 0.0) / 1000,
        latest=max(outcome.late, default=0.0),
        others=Counter(outcome.errors),
    )


def capacity(port: int, most: float, seconds: float) -> float:
    """Requests a second that a server answers when all its lanes are busy and nobody waits long.

    Raises BenchmarkError when it fails.
    """
    count = int(most * seconds)
    crowd = Crowd(port, limit=LANES + 4)
    outcome = crowd.run([0.0] * count)
    if outcome.errors:
        raise BenchmarkError(f"a server that was just busy failed: {Counter(outcome.errors)}")
    return len(crowd.accepted_at) / (crowd.begin + crowd.last - crowd._due[0])


@dataclass
class Round:
    """A server before, under and after three times its capacity."""

    capacity: float
    calm: Account
    crowd: Account
    after: Account


def measure(port: int, most: float, seconds: float) -> Round:
    """One round against a running server. Raises BenchmarkError when the unloaded server fails."""
    load(port, most * CALM, 0.5)  # warm
    found = Round(
        capacity=capacity(port, most, seconds),
        calm=load(port, most * CALM, seconds),
        crowd=load(port, most * TIMES, seconds),
        after=load(port, most * CALM, 1.0),
    )
    if found.calm.others:
        raise BenchmarkError(f"the unloaded server failed: {found.calm.others}")
    return found


def rounds(mode: str, count: int, seconds: float) -> list[Round]:
    """Rounds of one mode, each with a fresh server on a core of its own."""
    found = []
    for _ in range(count):
        port = free_port()
        arguments = ["bridgeserve", *MODES[mode], *LIMITS, "--bind", f"127.0.0.1:{port}"]
        server, _ = cores()
        with running(arguments, port, server) as process:
            found.append(measure(process.port, LANES / content.NAP_SECONDS, seconds))
    return found


def _ms(values: Sequence[float], digits: int = 0) -> str:
    return f"{median(values) * 1000:,.{digits}f}"


def _share(accounts: Sequence[Account], name: str, which: str) -> list[float]:
    return [percentiles(getattr(account, name)).get(which, 0.0) / 1000 for account in accounts]


def table(found: dict[str, list[Round]]) -> str:
    """The figures as Markdown: medians over the rounds."""
    lines = [
        "| mode | capacity | unloaded p50, p99 ms | accepted p50, p99 ms | goodput | refused p50, p99 ms | refused"
        " | neither | over after ms | a second later p99 ms | load late ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for mode, each in found.items():
        calm, crowd, after = ([getattr(one, name) for one in each] for name in ("calm", "crowd", "after"))
        goodput = median([one.goodput for one in crowd])
        share = median([one.crowd.goodput / one.capacity for one in each])
        refused = median([len(one.refused) / one.sent for one in crowd])
        cells = [
            mode,
            f"{median([one.capacity for one in each]):,.0f}/s",
            ", ".join(_ms(_share(calm, "accepted", which), 1) for which in ("p50_ms", "p99_ms")),
            ", ".join(_ms(_share(crowd, "accepted", which), 1) for which in ("p50_ms", "p99_ms")),
            f"{goodput:,.0f}/s, {share:.0%}",
            ", ".join(_ms(_share(crowd, "refused", which), 1) for which in ("p50_ms", "p99_ms")),
            f"{refused:.0%}",
            f"{sum(sum(one.others.values()) for one in crowd + after)}",
            _ms([one.over for one in crowd]),
            _ms(_share(after, "accepted", "p99_ms"), 1),
            _ms([one.late for one in crowd], 1),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
