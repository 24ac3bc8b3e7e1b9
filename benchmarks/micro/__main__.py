"""Time each part with pyperf: `python -m benchmarks.micro [--fast] [-o FILE]`, all options are pyperf's."""

from __future__ import annotations

import time

import pyperf

from benchmarks.micro.cases import CASES, Case


def timed(loops: int, case: Case) -> float:
    """Seconds that so many turns take."""
    # What a case prepares is the same for any number of turns, and small beside the many that pyperf asks for.
    start = time.perf_counter()
    case(loops)
    return time.perf_counter() - start


def main() -> None:
    """Run pyperf, which starts this module again in processes of its own."""
    runner = pyperf.Runner(program_args=("-m", "benchmarks.micro"))
    runner.metadata["description"] = "parts of bridgeserve alone"
    for name, case in CASES.items():
        runner.bench_time_func(name, timed, case)


if __name__ == "__main__":
    main()
