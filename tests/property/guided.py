"""The fuzzers of connections, guided by coverage: `python -m tests.property.guided --seconds 3600`.

atheris (libFuzzer) mutates what has reached new code, starting from the corpus; each input is judged beside the strict
model (property.streams) and in disorder (property.turmoil). It is no dependency of the tests: the extra `fuzz`, where
there is a wheel of it. What it finds is saved in the corpus; what it works with is in `.fuzz/`.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["bridgeserve"]):
    from property import streams, turmoil

from net.clock import run_virtual
from property.fuzz import ATOMS, seeds
from property.grammar import Grammar
from property.hunt import keep
from property.talk import Faults, Server, echo

WORK = Path(__file__).resolve().parents[2] / ".fuzz"
LONGEST = 4096  # octets of an input
SEQUENCES = 300  # to begin with, by the grammar


def judge(data: bytes) -> None:
    """One input: saved and raised when something is wrong with it."""
    found: list[tuple[str, Path]] = []

    async def main() -> None:
        rng = turmoil.replay(data, 0)
        with Faults() as faults:
            async with Server(echo) as server:
                if fault := await streams.judge(server, faults, data, rng):
                    found.append((fault, streams.FOUND_STREAMS))
        if fault := await turmoil.again(data, 1):
            found.append((fault, turmoil.FOUND_TURMOIL))

    run_virtual(main)
    for fault, folder in found:
        sys.stdout.write(f"{keep(data, folder)}\n{fault}\n")
        sys.stdout.flush()
        raise AssertionError(fault)


def main() -> None:
    """Hand over to libFuzzer, which prints the number of executions and ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    given = parser.parse_args()
    (WORK / "corpus").mkdir(parents=True, exist_ok=True)
    (WORK / "crashes").mkdir(exist_ok=True)
    rng = random.Random(1)
    for data in [*seeds(), *(Grammar(rng, rng.choice((0.0, 0.02))).sequence() for _ in range(SEQUENCES))]:
        (WORK / "corpus" / f"{zlib.crc32(data):08x}").write_bytes(data)
    words = WORK / "words"
    spelled = ["".join(f"\\x{octet:02x}" for octet in atom) for atom in ATOMS]
    words.write_text("".join(f'"{word}"\n' for word in spelled))
    options = [
        sys.argv[0],
        f"-max_total_time={given.seconds}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={WORK / 'crashes'}/",
        f"-dict={words}",
        "-len_control=0",
        "-timeout=60",
        "-print_final_stats=1",
        str(WORK / "corpus"),
    ]
    atheris.Setup(options, judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
