"""bridgeserve in each mode, for each kind of app, with each reader, and on both loops.

Another mode is another line of MODES.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

APPS = Path(__file__).resolve().parent / "apps"

MODES: tuple[tuple[str, str], ...] = (
    ("inline", "asgi"),
    ("inline", "wsgi"),
    ("threads", "wsgi"),
    ("processes", "wsgi"),
)
READERS = ("auto", "h11")


@dataclass(frozen=True)
class Combination:
    """One way to run bridgeserve."""

    mode: str
    kind: str
    reader: str
    loop: str = ""  # empty: the one that `make test LOOP=…` says, which is uvloop where it is not said

    @property
    def name(self) -> str:
        """Such as inline-asgi-auto, or inline-asgi-auto-asyncio."""
        return "-".join(filter(None, (self.mode, self.kind, self.reader, self.loop)))

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command."""
        loop = ("--loop", self.loop) if self.loop else ()
        return ("--mode", self.mode, "--interface", self.kind, "--http", self.reader, *loop, "--no-access-log")


ALL = tuple(Combination(mode, kind, reader) for mode, kind in MODES for reader in READERS)
# The transports of asyncio are others than those of uvloop: each mode once on them too.
PLAIN = tuple(Combination(mode, kind, "auto", "asyncio") for mode, kind in MODES)


def of_kind(kind: str) -> tuple[Combination, ...]:
    """The combinations that run apps of a kind."""
    return tuple(combination for combination in (*ALL, *PLAIN) if combination.kind == kind)
