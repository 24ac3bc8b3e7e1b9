"""A mutation fuzzer over the corpus: `python -m tests.property.fuzz --seconds 600 --seed 7`.

Each round joins a few messages of the corpus, mutates the octets, and plays them into both readers,
whole and split at random. What must hold (`judge`): both readers give the same transcript; the splits
change nothing but the status of a refusal (of several faults, the first that shows is named); nothing
is raised; no buffer grows. What does not hold is saved beside the corpus as a new file.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

if __package__ == "tests.property":  # as a command, from the project's folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import itertools

from bridgeserve.groups import Limits
from wire.drive import CORPUS, READERS, Entry, Play

FOUND = Path(__file__).resolve().parent / "corpus"
LIMITS = Limits(request_line=300, fields=12, field_size=200, body=5000)
BUFFER_MAX = 1200  # unread octets between two pieces: a head within LIMITS, or a chunk line
ATOMS = (
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b'"',
    b"\\",
    b"#",
    b"?",
    b"0",
    b"1",
    b"f",
    b"-",
    b"+",
    b"0x",
    b"\xff",
    b"\x7f",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"chunked",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HEAD",
    b"http://x/",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Host: y\r\n",
    b" folded\r\n",
)

Words = list[bytes]


def seeds() -> Words:
    """The messages to start from: both corpora, without the very long ones."""
    paths = [*sorted(CORPUS.glob("*/*.http")), *sorted(FOUND.glob("*.http"))]
    return [data for path in paths if len(data := path.read_bytes()) <= 600]


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One small change."""
    kind = rng.randrange(6)
    i = rng.randrange(len(data) + 1)
    j = min(len(data), i + rng.choice((1, 1, 2, 4, 16)))
    if kind == 0:
        return data[:i] + data[j:]
    if kind == 1:
        return data[:i] + rng.choice(ATOMS) + data[i:]
    if kind == 2:
        return data[:i] + rng.choice(ATOMS) + data[j:]
    if kind == 3:
        return data[:i] + bytes([rng.randrange(256)]) + data[i + 1 :]
    if kind == 4:
        return data[:i] + data[i:j] * 2 + data[j:]
    lines = data.split(b"\r\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"\r\n".join(lines)


def sample(rng: random.Random, messages: Words) -> bytes:
    """A sequence of messages, most of them good, with a few changes."""
    data = b"".join(rng.choices(messages, k=rng.choice((1, 1, 2, 3))))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        data = mutate(rng, data)
    return data


def cuts(rng: random.Random, data: bytes) -> Iterator[Words]:
    """The octets whole, one by one, and in random pieces."""
    yield [data]
    if len(data) <= 1500:
        yield [data[i : i + 1] for i in range(len(data))]
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 5)))
    ends = [0, *places, len(data)]
    yield [data[i:j] for i, j in itertools.pairwise(ends) if i < j]


def transcript(pieces: Iterable[bytes], reader: str, early: bool) -> list[Entry]:
    """The transcript; raises AssertionError when octets pile up."""
    player = Play(reader, LIMITS, early)
    for piece in pieces:
        player.feed(piece)
        assert player.over or player.session.unread <= BUFFER_MAX + len(piece), "octets pile up"
    player.end()
    return player.transcript


def outcome(found: list[Entry]) -> list[Entry]:
    """A transcript without the status of a refusal."""
    return [entry[:1] if entry[0] == "refused" else entry for entry in found]


def judge(data: bytes, rng: random.Random) -> str:
    """What is wrong with the sessions' behaviour on these octets; nothing is "" ."""
    early = rng.random() < 0.25
    expected: list[Entry] | None = None
    for pieces in cuts(rng, data):
        try:
            one, other = (transcript(pieces, reader, early) for reader in READERS)
        except Exception as error:  # any at all is a find
            return f"{type(error).__name__}: {error} on {pieces!r}"
        if one != other:
            return f"the readers disagree on {pieces!r}:\n{one}\n{other}"
        if expected is not None and outcome(one) != expected:
            return f"the split changes the meaning of {pieces!r}:\n{expected}\n{one}"
        expected = outcome(one)
    return ""


def run(seed: int, seconds: float, rounds: int) -> tuple[int, list[tuple[bytes, str]]]:
    """Fuzz until the time or the rounds are over: the rounds done, and the finds (ten at most)."""
    rng = random.Random(seed)
    messages = seeds()
    end = time.monotonic() + seconds
    finds: list[tuple[bytes, str]] = []
    done = 0
    while done < rounds and time.monotonic() < end and len(finds) < 10:
        data = sample(rng, messages)
        done += 1
        if fault := judge(data, rng):
            finds.append((data, fault))
    return done, finds


def keep(data: bytes) -> Path:
    """Save a find for ever."""
    path = FOUND / f"{hashlib.sha256(data).hexdigest()[:12]}.http"
    path.write_bytes(data)
    return path


def main() -> int:
    """The command; exit code 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1 << 62)
    given = parser.parse_args()
    done, finds = run(given.seed, given.seconds, given.rounds)
    for data, fault in finds:
        sys.stdout.write(f"{keep(data)}\n{fault}\n")
    sys.stdout.write(f"{done} rounds, {len(finds)} finds\n")
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
