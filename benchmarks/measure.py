"""Rounds over servers: what a request costs, and what an idle connection holds."""

from __future__ import annotations

import json
import random
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.client import Load, ask, connect, requests
from benchmarks.proc import tree_kib
from benchmarks.servers import ROOT, BenchmarkError, Server, cores, environment, pinned, running

FLOOR = "floor"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured. `seconds` bounds one load."""

    requests: int = 20_000
    rounds: int = 5
    connections: int = 32
    warmup: int = 2_000
    seconds: float = 60.0
    seed: int = field(default_factory=lambda: random.randrange(2**32))


Results = dict[str, list[Load]]


def measure(servers: Sequence[Server], plan: Plan, tell: Callable[[str], None]) -> Results:
    """All servers once a round, in an order shuffled anew, each freshly started.

    So that what changes on the machine meanwhile hits all of them alike. `tell` hears of each result.
    """
    order = list(servers)
    shuffle = random.Random(plan.seed).shuffle
    results: Results = {server.name: [] for server in servers}
    for number in range(1, plan.rounds + 1):
        shuffle(order)
        for server in order:
            load = measure_once(server, plan)
            results[server.name].append(load)
            tell(f"round {number}: {server.name} {load.cpu_us:.1f} µs, busy {load.busy:.0%}")
    return results


def measure_once(server: Server, plan: Plan) -> Load:
    """Start a server, load it, stop it. Raises BenchmarkError when the load fails."""
    server_core, load_core = cores()
    with running(server, server_core) as (pid, port), pinned(load_core):
        command = [sys.executable, "-m", "benchmarks.client", "--port", str(port), "--pid", str(pid)]
        command += ["--connections", str(plan.connections), "--requests", str(plan.requests)]
        command += ["--warmup", str(plan.warmup), "--seconds", str(plan.seconds)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=3 * plan.seconds, check=False
        )
        if done.returncode:
            raise BenchmarkError(done.stderr.strip())
    return Load(**json.loads(done.stdout))


def ratios(results: Results, name: str, base: str = FLOOR) -> list[float]:
    """A server's cost by that of `base`, round by round; empty when `base` was not measured."""
    return [one.cpu_us / other.cpu_us for one, other in zip(results[name], results.get(base, ()), strict=False)]


def median(values: Sequence[float]) -> float:
    """The middle of the rounds: one disturbed round does not move it."""
    return statistics.median(values)


def idle_kib(server: Server, connections: int) -> float:
    """KiB that an idle keep-alive connection costs the server's processes, each after one request.

    The kernel's own memory for sockets is not in it. Raises BenchmarkError when connections did not stay open.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server_core, load_core = cores()
    numbered = requests()
    held: list[socket.socket] = []

    def open_some(count: int) -> None:
        for _ in range(count):
            held.append(connect(port))
            ask(held[-1], next(numbered))

    with running(server, server_core) as (pid, port), pinned(load_core):
        try:
            # What a server allocates once must not be shared out among the connections.
            open_some(100)
            before = tree_kib(pid)
            open_some(connections)
            # A moment for what the server still tidies up after the last answer.
            time.sleep(0.5)
            after = tree_kib(pid)
            for connection in held[::50]:
                ask(connection, next(numbered))
        except OSError as error:
            raise BenchmarkError(str(error)) from error
        finally:
            for connection in held:
                connection.close()
    return (after - before) / connections
