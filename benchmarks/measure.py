"""Rounds: each server once a round, freshly started, in an order that is shuffled anew.

So that what changes on the machine meanwhile hits all of them alike. A server that fails is reported as such, and
left out of the rounds that follow.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.apps import content
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Cell, Cells, Figures, Results
from benchmarks.loads import KINDS
from benchmarks.loads.connections import raise_limit
from benchmarks.loads.target import References, Target
from benchmarks.loads.transfer import FILE_MIB, MIB
from benchmarks.plan import Plan
from benchmarks.processes import cores, pinned
from benchmarks.servers import SERVERS, Server
from benchmarks.workloads import WORKLOADS, Workload

Choice = Mapping[str, Sequence[str]]  # servers by workload
Step = Callable[[str], None]


def fits(server: Server, workload: Workload) -> bool:
    """True when this server can run this workload's app."""
    return server.interface in workload.apps and (server.logs or not workload.logged)


def choose(servers: Sequence[str], workloads: Sequence[str]) -> dict[str, list[str]]:
    """For each workload the servers that fit it."""
    return {workload: [name for name in servers if fits(SERVERS[name], WORKLOADS[workload])] for workload in workloads}


def steps(choice: Choice, plan: Plan) -> int:
    """How many measurements that makes."""
    return plan.rounds * sum(len(servers) for servers in choice.values())


@contextmanager
def prepared(choice: Choice, plan: Plan) -> Iterator[None]:
    """What servers and loads need from the machine: descriptors, and the file that is sent."""
    if not {"connections", "ws-idle"}.isdisjoint(choice):
        raise_limit(2 * plan.idle + 1000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        if "file" in choice:
            path.write_bytes(content.PIECE * (FILE_MIB * MIB // len(content.PIECE)))
        before = os.environ.get(content.FILE_VARIABLE)
        os.environ[content.FILE_VARIABLE] = str(path)
        try:
            yield
        finally:
            if before is None:
                del os.environ[content.FILE_VARIABLE]
            else:
                os.environ[content.FILE_VARIABLE] = before


def measure(choice: Choice, plan: Plan, seed: int, step: Step, done: Callable[[Results], None]) -> Results:
    """All of it. `step` hears of each measurement, `done` gets the results so far after each workload."""
    shuffle = random.Random(seed).shuffle
    results: Results = {}
    with prepared(choice, plan):
        for name, servers in choice.items():
            results[name] = _workload(WORKLOADS[name], [SERVERS[server] for server in servers], plan, shuffle, step)
            done(results)
    return results


def _workload(
    workload: Workload, servers: Sequence[Server], plan: Plan, shuffle: Callable[[list[Server]], None], step: Step
) -> Cells:
    cells = {server.name: Cell() for server in servers}
    references = References()
    order = list(servers)
    for number in range(1, plan.rounds + 1):
        shuffle(order)
        for server in order:
            cell = cells[server.name]
            if not cell.error:
                try:
                    cell.rounds.append(measure_once(server, workload, plan, references))
                except (BenchmarkError, OSError, ValueError) as error:
                    cell.error = str(error) or type(error).__name__
            step(f"{workload.name}, round {number}: {server.name}{', failed' if cell.error else ''}")
    return cells


def measure_once(server: Server, workload: Workload, plan: Plan, references: References) -> Figures:
    """Start a server, check and load it, stop it. Raises BenchmarkError."""
    if lacks := server.missing():
        raise BenchmarkError(f"not installed: {', '.join(lacks)}")
    server_core, load_core = cores()
    app = workload.apps[server.interface]
    with pinned(load_core), server.running(app, workload.threads, workload.logged, server_core) as found:
        target = Target(found, workload, plan, server.interface, server.closes, references)
        return KINDS[workload.kind](target)
