"""The frame of a fuzzer: how long it runs, what it counts, and where it keeps what it finds."""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from net.clock import run_virtual

FINDS_MAX = 10
BATCH = 100  # rounds on one loop: its clock runs fast, and a float of many digits cannot hold the small waits any more
Rounds = Callable[["Hunt"], Awaitable[None]]


class Hunt:
    """One run from one seed, which ends after `most` finds."""

    def __init__(self, seed: int, seconds: float, most: int) -> None:
        self._most = most
        self.rng = random.Random(seed)
        self.done = 0
        self.finds: list[tuple[bytes, str]] = []
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """No more rounds."""
        return time.monotonic() >= self._end or len(self.finds) >= self._most

    def batch(self) -> Iterator[random.Random]:
        """The rounds on one loop; each gets the generator of random numbers."""
        for _ in range(BATCH):
            if self.over:
                break
            self.done += 1
            yield self.rng

    def found(self, data: bytes, fault: str) -> None:
        """Something is wrong with this input."""
        self.finds.append((data, fault))


def hunt(rounds: Rounds, seed: int, seconds: float, most: int = FINDS_MAX) -> Hunt:
    """Run it in virtual time, which costs none: `seconds` are real ones."""
    run = Hunt(seed, seconds, most)
    while not run.over:
        run_virtual(lambda: rounds(run))
    return run


def keep(data: bytes, folder: Path) -> Path:
    """Save a find for ever."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:12]}.http"
    path.write_bytes(data)
    return path


def describe(error: Exception) -> str:
    """What was raised, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno} {last.line})"


def command(doc: str | None, rounds: Rounds, folder: Path) -> int:
    """The command of a fuzzer; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None, help="a new one each time, if none is given")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    run = hunt(rounds, seed, given.seconds)
    for data, fault in run.finds:
        sys.stdout.write(f"{keep(data, folder)}\n{fault}\n")
    sys.stdout.write(f"{folder.name}: {run.done} rounds from the seed {seed}, {len(run.finds)} finds\n")
    return 1 if run.finds else 0
