"""What a load is aimed at, the check before it, and the meter around it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.errors import BenchmarkError
from benchmarks.messages import Answer, Template, ask, connect
from benchmarks.plan import Plan
from benchmarks.proc import tree_ns
from benchmarks.processes import Running
from benchmarks.workloads import Workload


@dataclass
class References:
    """The answers that servers must give, where the first one sets the standard."""

    answers: dict[str, Answer] = field(default_factory=dict)

    def check(self, name: str, found: Answer, wanted: Answer | None = None) -> None:
        """Raises BenchmarkError for an answer that is not as wanted, or not like the first of that name."""
        reference = wanted or self.answers.setdefault(name, found)
        difference = found.like(reference)
        if difference:
            raise BenchmarkError(difference)
        if found.framing != "content-length":
            raise BenchmarkError(f"the app's Content-Length did not arrive: {found.framing}")


@dataclass(frozen=True)
class Target:
    """A running server under a workload. `closes`: it is known to end a connection after each answer."""

    running: Running
    workload: Workload
    plan: Plan
    interface: str
    closes: bool
    references: References

    @property
    def template(self) -> Template:
        """What is asked."""
        return self.workload.requests[self.interface]

    def verified(self) -> Answer:
        """One answer, equal to what every server has to give. Raises BenchmarkError."""
        with connect(self.running.port) as connection:
            answer = ask(connection, self.template.one())
        self.references.check(self.workload.name, answer, self.workload.answer)
        if answer.closes and not self.closes and self.workload.kind != "churn":
            raise BenchmarkError("the server closes the connection after an answer")
        return answer


class Meter:
    """CPU time of a server's processes and wall time, in nanoseconds, within a `with` block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.cpu_ns = 0
        self.wall_ns = 0

    def __enter__(self) -> Meter:
        self._cpu = tree_ns(self._pid)
        self._wall = time.perf_counter_ns()
        return self

    def __exit__(self, *exc: object) -> None:
        # In this order: reading the tree takes a while, which is not the load's.
        self.wall_ns = max(time.perf_counter_ns() - self._wall, 1)
        self.cpu_ns = tree_ns(self._pid) - self._cpu

    @property
    def busy(self) -> float:
        """CPU time by wall time: 1.0 is a server that never waited for the load."""
        return self.cpu_ns / self.wall_ns
