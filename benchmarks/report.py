"""Results as a Markdown table and as data for JSON."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.measure import Plan, Results, median, ratios
from benchmarks.servers import SERVERS


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers, set to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def speed_table(results: Results) -> str:
    """Median µs per request, the ratio to the floor with its range over the rounds, and the budget."""
    rows = []
    for name, loads in results.items():
        found = ratios(results, name)
        ratio = f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else "-"
        costs = [load.cpu_us for load in loads]
        cost = f"{median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})"
        budget = SERVERS[name].budget
        busy = f"{median([load.busy for load in loads]):.0%}"
        rows.append([name, cost, ratio, f"{budget}" if budget else "-", busy])
    return table(["server", "CPU µs per request", "ratio to floor", "at most", "busy"], rows)


def idle_table(results: Mapping[str, float]) -> str:
    """KiB per idle connection."""
    return table(["server", "KiB per idle connection"], [[name, f"{kib:.2f}"] for name, kib in results.items()])


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def speed_data(results: Results, plan: Plan, missing: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    servers = {}
    for name, loads in results.items():
        found = ratios(results, name)
        servers[name] = {
            "version": SERVERS[name].version(),
            "cpu_us": [round(load.cpu_us, 3) for load in loads],
            "cpu_us_median": round(median([load.cpu_us for load in loads]), 3),
            "busy": [round(load.busy, 3) for load in loads],
            "ratio": [round(value, 3) for value in found],
            "ratio_median": round(median(found), 3) if found else None,
            "budget": SERVERS[name].budget,
        }
    return {"machine": machine(), "plan": asdict(plan), "servers": servers, "missing": dict(missing)}


def idle_data(results: Mapping[str, float], connections: int, missing: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Everything that was measured, for JSON."""
    servers = {
        name: {"version": SERVERS[name].version(), "kib_per_connection": round(kib, 3)} for name, kib in results.items()
    }
    return {"machine": machine(), "connections": connections, "servers": servers, "missing": dict(missing)}
