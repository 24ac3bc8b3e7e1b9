"""Loads without pause: as many requests as the server can answer, one in flight on each connection."""

from __future__ import annotations

from benchmarks.figures import Figures
from benchmarks.loads import steady, wrk
from benchmarks.loads.client import Clients
from benchmarks.loads.target import Meter, Target


def figures(meter: Meter, requests: int) -> Figures:
    """Of so many requests."""
    return {
        "cpu_us": meter.cpu_ns / requests / 1000,
        "requests_s": requests / (meter.wall_ns / 1e9),
        "busy": meter.busy,
    }


def closed(target: Target) -> Figures:
    """CPU time per request and requests a second, by wrk or by the Python client; then latency at a steady rate."""
    target.verified()
    # To wrk the end of a connection that no header announced is an error.
    by_wrk = target.plan.load == "wrk" and not target.closes
    found = _by_wrk(target) if by_wrk else _by_client(target)
    if target.workload.rate and target.plan.latency_seconds:
        found.update(steady.latency(target, target.plan.latency_seconds))
    target.verified()
    return found


def _by_wrk(target: Target) -> Figures:
    port, template, count = target.running.port, target.template, target.workload.connections
    # The shortest run of wrk is a second; a shorter warm-up is the client's.
    with Clients(port, template, count, target.closes) as clients:
        clients.run(target.plan.warmup)
    with Meter(target.running.pid) as meter:
        summary = wrk.run(port, template, count, target.plan.seconds)
    found = figures(meter, summary.requests)
    # wrk takes a while to start and to end, in which nothing is sent.
    return {**found, "requests_s": summary.requests / summary.seconds, "busy": meter.cpu_ns / 1e9 / summary.seconds}


def _by_client(target: Target) -> Figures:
    with Clients(target.running.port, target.template, target.workload.connections, target.closes) as clients:
        clients.run(target.plan.warmup)
        with Meter(target.running.pid) as meter:
            requests = clients.run(target.plan.seconds)
    return figures(meter, requests)


def churn(target: Target) -> Figures:
    """A connection for each request: a fixed number, because each one holds a port of ours for a minute."""
    target.verified()
    with Clients(target.running.port, target.template, target.workload.connections, closes=True) as clients:
        clients.run(target.plan.warmup, max(target.plan.churn // 10, 1))
        with Meter(target.running.pid) as meter:
            requests = clients.run(60.0, target.plan.churn)
    return figures(meter, requests)
