"""The pace of a body: silence and the floor rate, apart."""

from __future__ import annotations

from math import inf

from bridgeserve.groups import Timeouts
from bridgeserve.wire.pace import WINDOW, Pace


def test_silence_alone() -> None:
    pace = Pace(Timeouts(body=3.0, min_body_rate=0))
    assert pace.restart(1.0) == 4.0
    assert pace.took(1, 2.0) == 5.0
    assert pace.next_window(5.0) is None


def test_before_anything() -> None:
    pace = Pace(Timeouts())
    assert pace.took(5, 1.0) == 31.0
    assert pace.next_window(31.0) is None
    assert pace.next_window(1.0) is None


def test_windows_are_apart() -> None:
    pace = Pace(Timeouts(body=inf, min_body_rate=2))
    assert pace.restart(0.0) == WINDOW
    assert pace.took(1000, 1.0) == WINDOW
    assert pace.next_window(WINDOW) == 2 * WINDOW
    assert pace.took(19, 15.0) == 2 * WINDOW
    assert pace.next_window(2 * WINDOW) is None
    assert pace.took(1, 15.0) == 2 * WINDOW
    assert pace.next_window(2 * WINDOW) == 3 * WINDOW


def test_a_late_look_starts_the_window_then() -> None:
    pace = Pace(Timeouts(body=100.0, min_body_rate=2))
    pace.restart(0.0)
    pace.took(20, 1.0)
    assert pace.next_window(12.5) == 12.5 + WINDOW
