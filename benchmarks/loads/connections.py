"""Many idle connections beside a few busy ones: what each of the idle ones holds, and what they cost the others."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Callable

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.loads.client import Clients
from benchmarks.loads.target import Meter, Target
from benchmarks.messages import ask, connect
from benchmarks.proc import tree_kib

SETTLE_SECONDS = 0.5
FIRST = 100  # what a server allocates once must not be shared out among the connections


def raise_limit(wanted: int) -> None:
    """Let this process and the servers that it starts open so many descriptors. Raises BenchmarkError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchmarkError(f"{wanted} descriptors are needed and the system allows {hard}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def hold(target: Target, open_one: Callable[[], socket.socket]) -> tuple[float, list[socket.socket]]:
    """Open idle connections: KiB of the server's processes for each, and the connections. Raises BenchmarkError."""

    def open_some(number: int) -> list[socket.socket]:
        opened: list[socket.socket] = []
        for _ in range(number):
            try:
                opened.append(open_one())
            except OSError as error:
                raise BenchmarkError(f"no more connections after {len(opened)}: {error}") from None
        return opened

    open_some(FIRST)
    before = tree_kib(target.running.pid)
    opened = open_some(target.plan.idle)
    # A moment for what the server still tidies up after the last answer.
    time.sleep(SETTLE_SECONDS)
    return (tree_kib(target.running.pid) - before) / target.plan.idle, opened


def idle(target: Target) -> Figures:
    """KiB of the server's processes per idle keep-alive connection, each after one request; the kernel's own memory
    for sockets is not in it. Then CPU time per request of the busy ones. Raises BenchmarkError when connections did
    not stay open.
    """
    if target.closes:
        raise BenchmarkError("it closes each connection after one answer, so none is ever idle")
    target.verified()
    numbered = target.template.numbered()
    count = target.plan.idle
    with contextlib.ExitStack() as held:

        def open_one() -> socket.socket:
            connection = held.enter_context(connect(target.running.port))
            ask(connection, next(numbered))
            return connection

        kib, opened = hold(target, open_one)
        with Clients(target.running.port, target.template, target.workload.connections) as clients:
            clients.run(target.plan.warmup)
            with Meter(target.running.pid) as meter:
                requests = clients.run(target.plan.seconds)
        for connection in opened[:: max(count // 100, 1)]:
            ask(connection, next(numbered))
    return {"kib": kib, "cpu_us": meter.cpu_ns / requests / 1000}
