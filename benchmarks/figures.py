"""Figures: what they are called, which way is good, and how rounds become one of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

Figures = dict[str, float]  # of one round, by the names of FIGURES
LONGEST_US = 120_000_000


@dataclass(frozen=True)
class Figure:
    """A kind of figure. `less`: less is better."""

    title: str
    digits: int = 1
    less: bool = True


FIGURES: dict[str, Figure] = {
    "cpu_us": Figure("CPU µs per request"),
    "cpu_us_mb": Figure("CPU µs per MiB", 0),
    "kib": Figure("KiB per idle connection", 2),
    "start_ms": Figure("ms to the first answer", 0),
    "start_cpu_ms": Figure("CPU ms to the first answer", 0),
    "memory_mib": Figure("MiB of memory"),
    "requests_s": Figure("requests/s", 0, less=False),
    "mb_s": Figure("MiB/s", 0, less=False),
    "p50_ms": Figure("p50 ms", 2),
    "p99_ms": Figure("p99 ms", 2),
    "p999_ms": Figure("p99.9 ms", 2),
    "busy": Figure("busy", 2, less=False),
    "late_ms": Figure("load late by ms (p99)", 2),
}


@dataclass
class Cell:
    """A server under a workload: its rounds, or why there are none (or no more)."""

    rounds: list[Figures] = field(default_factory=list)
    error: str = ""

    def values(self, figure: str) -> list[float]:
        """One figure in each round; empty when it was not measured in all of them."""
        found = [one[figure] for one in self.rounds if figure in one]
        return found if len(found) == len(self.rounds) else []


Cells = dict[str, Cell]  # by server
Results = dict[str, Cells]  # by workload


def median(values: Sequence[float]) -> float:
    """The middle of the rounds: one disturbed round does not move it."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int) -> str:
    """The median with the lowest and the highest."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def ratios(cells: Mapping[str, Cell], figure: str, names: Iterable[str], base: str) -> list[float]:
    """The figure of the best of `names` by that of `base`, round by round; empty when one side was not measured.

    In one round the same load and the same noise met both sides, more than in two figures of different minutes.
    """
    others = [cells[name].values(figure) for name in names if name in cells and not cells[name].error]
    others = [values for values in others if values]
    ours = cells[base].values(figure) if base in cells and not cells[base].error else []
    if not others or not ours:
        return []
    best = min if FIGURES[figure].less else max
    rounds = [best(values) for values in zip(*others, strict=False)]
    return [other / own for other, own in zip(rounds, ours, strict=False) if own > 0]


def histogram(seconds: Iterable[float]) -> Any:
    """An HdrHistogram of latencies in microseconds, exact to three digits."""
    from hdrh.histogram import HdrHistogram

    found = HdrHistogram(1, LONGEST_US, 3)
    for value in seconds:
        found.record_value(min(max(round(value * 1e6), 1), LONGEST_US))
    return found


@lru_cache(maxsize=1)
def has_histogram() -> bool:
    """True where the package hdrhistogram is installed."""
    try:
        histogram([0.001])
    except ImportError:
        return False
    return True


def percentiles(seconds: Sequence[float]) -> Figures:
    """p50, p99 and p99.9 in milliseconds. Without the package they are taken from the sorted values."""
    if not seconds:
        return {}
    names = {"p50_ms": 50.0, "p99_ms": 99.0, "p999_ms": 99.9}
    if has_histogram():
        found = histogram(seconds)
        return {name: found.get_value_at_percentile(share) / 1000 for name, share in names.items()}
    ordered = sorted(seconds)
    return {
        name: ordered[min(int(len(ordered) * share / 100), len(ordered) - 1)] * 1e3 for name, share in names.items()
    }
