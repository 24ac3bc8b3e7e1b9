"""How slow a request body may be: no silence above a limit, and a floor rate over windows of ten seconds."""

from __future__ import annotations

from math import inf

from bridgeserve.groups import Timeouts

WINDOW = 10.0  # seconds over which the floor rate is taken


class Pace:
    """The deadline of a body that is being received. Times are monotonic seconds."""

    __slots__ = ("_end", "_octets", "_rate", "_silence", "_silence_end")

    def __init__(self, timeouts: Timeouts) -> None:
        self._silence = timeouts.body
        self._rate = timeouts.min_body_rate
        self._silence_end = inf
        self._octets = 0
        self._end = inf

    def restart(self, now: float) -> float:
        """Reading begins (again); the deadline."""
        self._octets = 0
        self._end = now + WINDOW if self._rate else inf
        self._silence_end = now + self._silence
        return min(self._silence_end, self._end)

    def took(self, octets: int, now: float) -> float:
        """Octets have arrived; the deadline."""
        self._octets += octets
        self._silence_end = now + self._silence
        return min(self._silence_end, self._end)

    def next_window(self, now: float) -> float | None:
        """The deadline has come: the next one, or None when the peer was too slow."""
        if now >= self._silence_end or now < self._end or self._octets < self._rate * WINDOW:
            return None
        self._octets = 0
        self._end = now + WINDOW
        return min(self._silence_end, self._end)
