"""The command: `python -m benchmarks [speed|idle]`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Plan, idle_kib, measure
from benchmarks.report import idle_data, idle_table, speed_data, speed_table
from benchmarks.servers import SERVERS, BenchmarkError, Server

Missing = dict[str, list[str]]


def parser() -> argparse.ArgumentParser:
    """The options. Without a command it is `speed`."""
    found = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="speed (the default): CPU time of the server per request. idle: its memory per idle connection.",
    )
    found.add_argument("what", nargs="?", choices=("speed", "idle"), default="speed")
    found.add_argument("--requests", type=bounded(1_000_000), default=Plan.requests, help="per round and server")
    found.add_argument("--rounds", type=bounded(100), default=Plan.rounds)
    found.add_argument("--connections", type=bounded(10_000), help="32; for idle 2000")
    found.add_argument("--warmup", type=bounded(1_000_000), default=Plan.warmup, help="requests before the clock")
    found.add_argument("--servers", default=",".join(SERVERS), help="names with commas between; all: %(default)s")
    found.add_argument("--seed", type=int, help="of the order of the servers")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return found


def bounded(most: int) -> Any:
    """A number from 1 to `most`, as a type of argparse."""

    def number(text: str) -> int:
        value = int(text)
        if not 1 <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from 1 to {most}")
        return value

    return number


def choose(names: str) -> tuple[list[Server], Missing]:
    """The servers that can run, and for the others the packages that they lack. Raises BenchmarkError for no server."""
    chosen, missing = [], {}
    for name in names.split(","):
        if name not in SERVERS:
            raise BenchmarkError(f"unknown server {name!r}; there are {', '.join(SERVERS)}")
        lacks = SERVERS[name].missing()
        if lacks:
            missing[name] = lacks
        else:
            chosen.append(SERVERS[name])
    if not chosen:
        raise BenchmarkError("none of these servers is installed")
    return chosen, missing


def tell(line: str) -> None:
    """Progress goes to stderr: stdout is the table."""
    print(line, file=sys.stderr, flush=True)


def speed(given: argparse.Namespace, servers: list[Server], missing: Missing) -> tuple[str, dict[str, Any]]:
    """CPU time per request, as a table and as data."""
    sizes: dict[str, Any] = {"requests": given.requests, "rounds": given.rounds, "warmup": given.warmup}
    if given.connections is not None:
        sizes["connections"] = given.connections
    if given.seed is not None:
        sizes["seed"] = given.seed
    plan = Plan(**sizes)
    results = measure(servers, plan, tell)
    return speed_table(results), speed_data(results, plan, missing)


def idle(given: argparse.Namespace, servers: list[Server], missing: Missing) -> tuple[str, dict[str, Any]]:
    """Memory per idle connection, as a table and as data."""
    connections = given.connections or 2_000
    results = {}
    for server in servers:
        results[server.name] = idle_kib(server, connections)
        tell(f"{server.name} {results[server.name]:.2f} KiB")
    return idle_table(results), idle_data(results, connections, missing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when a server failed, 2 for a wrong option."""
    given = parser().parse_args(arguments)
    try:
        servers, missing = choose(given.servers)
        text, data = (idle if given.what == "idle" else speed)(given, servers, missing)
    except (BenchmarkError, subprocess.TimeoutExpired) as error:
        tell(str(error))
        return 1
    print(text)
    for name, lacks in missing.items():
        print(f"\n{name}: not measured, because {', '.join(lacks)} is not installed.")
    if given.json is not None:
        given.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
