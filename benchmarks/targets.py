"""What bridgeserve wants to reach beside others, as data, and whether a run shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Results, median, ratios

_ASGI, _INLINE = "bridgeserve-asgi", "bridgeserve-wsgi-inline"
_THREADS, _PROCESSES = "bridgeserve-threads", "bridgeserve-processes"


@dataclass(frozen=True)
class Target:
    """The figure of the best of `peers`, divided by ours, is to be `least` or more: above 1 we are cheaper."""

    ours: str
    peers: tuple[str, ...]
    workload: str
    figure: str
    least: float


TARGETS = (
    Target(_ASGI, ("granian-asgi",), "hello", "cpu_us", 1.15),
    Target(_ASGI, ("uvicorn-httptools",), "hello", "cpu_us", 2.2),
    Target(_ASGI, ("uvicorn-h11",), "hello", "cpu_us", 6.0),
    Target(_ASGI, ("hypercorn",), "hello", "cpu_us", 8.0),
    Target(_INLINE, ("bjoern",), "hello", "cpu_us", 0.9),
    Target(_THREADS, ("granian-wsgi",), "hello", "cpu_us", 1.0),
    Target(_THREADS, ("waitress",), "hello", "cpu_us", 5.0),
    Target(_THREADS, ("gunicorn-gthread",), "hello", "cpu_us", 8.0),
    Target(_THREADS, ("uvicorn-a2wsgi",), "hello", "cpu_us", 10.0),
    Target(_PROCESSES, ("gunicorn-sync",), "hello", "cpu_us", 6.0),
    Target(_PROCESSES, ("uwsgi-router", "uwsgi-socket"), "hello", "cpu_us", 1.0),
    Target(_ASGI, ("uvicorn-httptools",), "connections", "kib", 3.0),
    Target(_ASGI, ("granian-asgi",), "connections", "kib", 4.0),
    Target(_ASGI, ("hypercorn",), "connections", "kib", 5.0),
    *(
        Target(_ASGI, (peer,), workload, "cpu_us_mb", 1.0)
        for workload in ("stream-down", "upload-length", "upload-chunked")
        for peer in ("uvicorn-httptools", "granian-asgi")
    ),
    Target(_THREADS, ("waitress", "gunicorn-gthread", "granian-wsgi"), "mixed", "p99_ms", 1.0),
)


@dataclass(frozen=True)
class Verdict:
    """What a run says about a target; `ratios` is empty when it was not measured."""

    target: Target
    ratios: list[float]

    @property
    def text(self) -> str:
        """In a word or two."""
        if not self.ratios:
            return "not measured"
        return "reached" if median(self.ratios) >= self.target.least else "**missed**"


def verdicts(results: Results, targets: Sequence[Target] = TARGETS) -> list[Verdict]:
    """One for each target."""
    return [
        Verdict(target, ratios(results.get(target.workload, {}), target.figure, target.peers, target.ours))
        for target in targets
    ]


def quick_choice(targets: Sequence[Target] = TARGETS) -> dict[str, list[str]]:
    """What has to be measured for the targets: servers by workload, with the floor beside `hello`."""
    choice: dict[str, dict[str, None]] = {"hello": {"floor": None}}
    for target in targets:
        choice.setdefault(target.workload, {}).update(dict.fromkeys((target.ours, *target.peers)))
    return {workload: list(servers) for workload, servers in choice.items()}
