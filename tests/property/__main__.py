"""All fuzzers in turn: `python -m tests.property --seconds 3600`, which is `make fuzz FUZZ_SECONDS=3600`.

Each gets a slice of the time with a seed of its own. Finds are printed and saved in the corpus at once; the number of
executions comes at the end. A slice that hangs ends the run with the place where it hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from property import fuzz, sockets, streams, turmoil
from property.hunt import hunt, keep

SLICE = 20.0
HANG = 300.0
Slice = Callable[[int, float], tuple[int, list[tuple[bytes, str]]]]


def session(seed: int, seconds: float) -> tuple[int, list[tuple[bytes, str]]]:
    """The session alone, with both readers."""
    return fuzz.run(seed, seconds, 1 << 62)


def stream(seed: int, seconds: float) -> tuple[int, list[tuple[bytes, str]]]:
    """A connection beside the strict model."""
    run = hunt(streams.rounds, seed, seconds)
    return run.done, run.finds


def disorder(seed: int, seconds: float) -> tuple[int, list[tuple[bytes, str]]]:
    """A connection whose client does what it likes."""
    run = hunt(turmoil.rounds, seed, seconds)
    return run.done, run.finds


def frames(seed: int, seconds: float) -> tuple[int, list[tuple[bytes, str]]]:
    """The same with a WebSocket."""
    run = hunt(sockets.rounds, seed, seconds)
    return run.done, run.finds


FUZZERS: dict[str, tuple[Slice, Path]] = {
    "session": (session, fuzz.FOUND),
    "streams": (stream, streams.FOUND_STREAMS),
    "turmoil": (disorder, turmoil.FOUND_TURMOIL),
    "sockets": (frames, sockets.FOUND_SOCKETS),
}


def main() -> int:
    """Run until the time is over; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None, help="a new one each time, if none is given")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    rng = random.Random(seed)
    end = time.monotonic() + given.seconds
    done: Counter[str] = Counter()
    finds = 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):  # what was done until then is told all the same
        while (left := end - time.monotonic()) > 0:
            for name, (run, folder) in FUZZERS.items():
                faulthandler.dump_traceback_later(SLICE + HANG, exit=True)
                count, found = run(rng.randrange(1 << 32), min(SLICE, left / len(FUZZERS)))
                done[name] += count
                finds += len(found)
                for data, fault in found:
                    sys.stdout.write(f"{name}: {keep(data, folder)}\n{fault}\n")
                    sys.stdout.flush()
    faulthandler.cancel_dump_traceback_later()
    counts = ", ".join(f"{name} {count:,}" for name, count in done.items())
    sys.stdout.write(f"{sum(done.values()):,} executions from the seed {seed} ({counts}), {finds} finds\n")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
