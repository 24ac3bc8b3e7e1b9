"""bridgeserve in each mode, for each kind of app, with each reader. Another mode is another line of MODES."""

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

    @property
    def name(self) -> str:
        """Such as inline-asgi-auto."""
        return f"{self.mode}-{self.kind}-{self.reader}"

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command."""
        return ("--mode", self.mode, "--interface", self.kind, "--http", self.reader, "--no-access-log")


ALL = tuple(Combination(mode, kind, reader) for mode, kind in MODES for reader in READERS)


def of_kind(kind: str) -> tuple[Combination, ...]:
    """The combinations that run apps of a kind."""
    return tuple(combination for combination in ALL if combination.kind == kind)
