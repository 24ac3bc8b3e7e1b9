"""The soak: each mode serves good and bad clients and a failing app at random, and ends as it began.

    python tests/soak/run.py [--seconds S] [--seed N] [--mode MODE ...]

At its end: descriptors, threads, tasks, children and memory are what they were after the warm-up, and every request is
accounted for, alike by the clients and by the server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e.family import children
from e2e.server import environment
from faults.census import FAULT_APPS, MODES, temporary
from soak.ledger import CUT, LEFT, Clients, Server, disagreements
from soak.traffic import BAD, BODY_LIMIT, GOOD, client

MIB = 1 << 20
SETTLE = 15.0  # seconds in which all that was begun has to end
OPTIONS = (
    *("--access-log-format", "json", "--log-level", "debug", "--limit-request-body", str(BODY_LIMIT)),
    *("--body-memory", "65536", "--timeout-header", "3", "--timeout-body", "3", "--timeout-request", "4"),
    *("--timeout-keep-alive", "2"),
)
MORE = {"threads": ("--threads", "8"), "processes": ("--processes", "2", "--max-requests", "500")}


class Soaked:
    """A server under the soak: started, read, counted, stopped."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.account = Server()
        answers, theirs = os.pipe()
        self._answers = os.fdopen(answers, "rb")
        app, *options = MODES[mode]
        command = [sys.executable, str(Path(__file__).with_name("serve.py")), app, "--app-dir", str(FAULT_APPS)]
        more = {"SOAK_ANSWERS": str(theirs), "PYTHONFAULTHANDLER": ""}
        self._process = subprocess.Popen(
            [*command, *options, *OPTIONS, *MORE.get(mode, ()), "--bind", "127.0.0.1:0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs,),
            env=environment(more),
        )
        os.close(theirs)
        self._ready = threading.Event()
        self.address = ("127.0.0.1", 0)
        self.last: list[str] = []  # lines of the log, for a failure
        self._readers = [
            threading.Thread(target=self._read, args=(self._process.stdout, self.account.access), daemon=True),
            threading.Thread(target=self._read, args=(self._process.stderr, self._log), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        if not self._ready.wait(30.0):
            raise AssertionError("\n".join(self.last))

    def _read(self, pipe: IO[bytes], take: Callable[[str], None]) -> None:
        for line in pipe:
            take(line.decode("utf-8", "replace").rstrip())

    def _log(self, line: str) -> None:
        self.account.log(line)
        self.last = [*self.last[-200:], line]
        if not self._ready.is_set() and "serving on http://" in line:
            host, _, port = line.partition("http://")[2].split()[0].partition(":")
            self.address = (host, int(port))
            self._ready.set()

    def count(self) -> dict[str, Any]:
        """What it has open, and its memory with that of its children in octets."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        own = json.loads(self._answers.readline())
        pid = self._process.pid
        return {
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task")),
            "children": len(children(pid)),
            "temporary": temporary(pid),
            "tasks": own["tasks"],
            "objects": own["objects"],
            "memory": resident(pid),
        }

    def stop(self) -> int:
        """TERM; the exit code."""
        self._process.terminate()
        code = self._process.wait(40.0)
        for reader in self._readers:
            reader.join(10.0)
        return code

    def kill(self) -> None:
        """End it, whatever it does, and what is open of it."""
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(10.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr, self._answers):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


def resident(pid: int) -> int:
    """Octets of memory of the process alone: its children are replaced all the time."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Result:
    """What came out for one mode."""

    mode: str
    clients: Clients
    account: Server
    before: dict[str, Any]
    after: dict[str, Any]
    slope: float  # MiB an hour, over the second half
    code: int
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For people."""
        outcomes = self.clients.by_outcome()
        refused = self.account.refused.total()
        answered = sum(count for outcome, count in outcomes.items() if isinstance(outcome, int)) - refused
        kinds = sorted(self.clients.by_kind().items(), key=str)
        lines = [
            f"{self.mode}: {len(self.clients.seen)} requests = {answered} answered + {refused} refused"
            f" + {outcomes[CUT]} cut by the server + {outcomes[LEFT]} left by their clients",
            "  " + ", ".join(f"{kind} {outcome}: {count}" for (kind, outcome), count in kinds),
            f"  after the warm-up {self.before}",
            f"  at the end        {self.after}",
            f"  memory {(self.after['memory'] - self.before['memory']) / MIB:+.2f} MiB, slope of the second half"
            f" {self.slope:+.2f} MiB an hour; exit code {self.code}",
        ]
        return "\n".join([*lines, *(f"  FAILED: {failure}" for failure in self.failures[:20])])


async def traffic(soaked: Soaked, clients: Clients, chance: random.Random, seconds: float) -> list[tuple[float, int]]:
    """Good and bad clients for so long; the memory, once a second."""
    over = asyncio.Event()
    samples: list[tuple[float, int]] = []
    async with asyncio.TaskGroup() as group:
        for kinds, count in ((GOOD, 4), (BAD, 5)):
            for _ in range(count):
                own = random.Random(chance.random())
                group.create_task(client(soaked.address, soaked.mode, kinds, clients, own, over))
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            samples.append((passed, resident(soaked._process.pid)))
            await asyncio.sleep(min(1.0, seconds / 20))
        over.set()
    return samples


def settled(soaked: Soaked, like: dict[str, Any] | None) -> dict[str, Any]:
    """Wait until all that was begun has ended: until it looks as before, or does not change any more."""
    names = ("descriptors", "threads", "children", "temporary", "tasks")
    end = time.monotonic() + SETTLE
    last: list[dict[str, Any]] = []
    while time.monotonic() < end:
        now = soaked.count()
        same = [each for each in last[-6:] if all(each[name] == now[name] for name in names)]
        last.append(now)
        if like is not None and all(now[name] == like[name] for name in names):
            break
        if like is None and len(same) == 6:
            break
        time.sleep(0.5)  # the pace of the looks
    return last[-1]


def slope(samples: list[tuple[float, int]]) -> float:
    """MiB an hour of the least squares through the second half."""
    half = samples[len(samples) // 2 :]
    middle = sum(at for at, _ in half) / len(half)
    level = sum(memory for _, memory in half) / len(half)
    over = sum((at - middle) ** 2 for at, _ in half)
    return sum((at - middle) * (memory - level) for at, memory in half) / over / MIB * 3600 if over else 0.0


def soak(mode: str, seconds: float, seed: int, growth: int) -> Result:
    """One mode, with a warm-up of a sixth of the time.

    :param growth: octets of memory that it may have more at its end than after the warm-up.
    """
    soaked = Soaked(mode)
    try:
        chance = random.Random(f"{seed} {mode}")
        clients = Clients()
        asyncio.run(traffic(soaked, clients, chance, seconds / 6))
        before = settled(soaked, None)
        samples = asyncio.run(traffic(soaked, clients, chance, seconds * 5 / 6))
        after = settled(soaked, before)
        result = Result(mode, clients, soaked.account, before, after, slope(samples), soaked.stop())
        result.failures = disagreements(clients, soaked.account)
        for name in ("descriptors", "threads", "children", "temporary", "tasks"):
            if after[name] != before[name]:
                result.failures.append(f"{name}: {before[name]} after the warm-up, {after[name]} at the end")
        if after["memory"] - before["memory"] > growth:
            result.failures.append(f"memory: {before['memory']} after the warm-up, {after['memory']} at the end")
        if result.code != 0:
            result.failures.append("\n".join(["it did not stop cleanly", *soaked.last]))
        return result
    finally:
        soaked.kill()


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="for all modes together (600)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--mode", action="append", choices=list(MODES))
    parsed = parser.parse_args()
    modes = parsed.mode or list(MODES)
    sys.stdout.write(f"seed {parsed.seed}\n")
    failed = False
    for mode in modes:
        result = soak(mode, parsed.seconds / len(modes), parsed.seed, 16 * MIB)
        sys.stdout.write(result.text() + "\n")
        sys.stdout.flush()
        failed = failed or bool(result.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
