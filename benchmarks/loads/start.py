"""How long a server takes from the start of its process to its first answer, and what it holds then."""

from __future__ import annotations

import time

from benchmarks.figures import Figures
from benchmarks.loads.target import Target
from benchmarks.proc import tree_kib, tree_ns


def start(target: Target) -> Figures:
    """Wall time, CPU time and memory of its processes at the first answer."""
    target.verified()
    elapsed = time.perf_counter() - target.running.started
    pid = target.running.pid
    return {"start_ms": elapsed * 1e3, "start_cpu_ms": tree_ns(pid) / 1e6, "memory_mib": tree_kib(pid) / 1024}
