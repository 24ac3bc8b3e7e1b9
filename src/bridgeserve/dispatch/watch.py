"""`--timeout-request`: who has run too long is found here, with one timer for all requests.

A timer for each request would cost more than a small request's share of the loop. One is enough: when the
watch looks, whatever begins later cannot be due before now + seconds, so the next look is due at
min(earliest start still running, now) + seconds. That is exact, but for PAUSE.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Generic, TypeVar

from bridgeserve.dispatch.base import Exchange, answer

Key = TypeVar("Key")

_log = logging.getLogger("bridgeserve.error")
# Seconds between two looks, at least: a look costs as much as there are requests, and many that began one
# after the other would be due one after the other.
PAUSE = 0.01


class Watch(Generic[Key]):
    """Finds what has run for `seconds` or longer. All of it happens on the loop.

    :param running: pairs of what runs now and when it began, in seconds of the loop's clock (time.monotonic).
    :param expire: called for each that is due, at each look while `running` names it.
    """

    __slots__ = ("_expire", "_handle", "_loop", "_running", "seconds")

    def __init__(
        self, seconds: float, running: Callable[[], Iterable[tuple[Key, float]]], expire: Callable[[Key], None]
    ) -> None:
        self.seconds = seconds
        self._running = running
        self._expire = expire
        self._loop: asyncio.AbstractEventLoop
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_at(self._loop.time() + self.seconds, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        now = earliest = self._loop.time()
        due = []
        for key, began in self._running():
            # The same sum as that of the timer, so that a timer which fires in time finds its request due.
            if began + self.seconds <= now:
                due.append(key)
            elif began < earliest:
                earliest = began
        self._handle = self._loop.call_at(max(earliest + self.seconds, now + PAUSE), self._look)
        for key in due:
            try:
                self._expire(key)
            except Exception:
                # A bug of ours in one exchange must not keep the others from their end.
                _log.exception("a request that ran too long could not be ended")


def cut_off(exchange: Exchange, seconds: float, stack: str = "", note: str = "") -> None:
    """(loop) End the exchange of a request that has run too long, and put it into the log as one record.

    :param stack: where the application is now (`thread_stack`, `task_stack`); "": it cannot be told.
    :param note: what else became of it.
    """
    if exchange.lost:
        ending = "its client had left or had its whole answer"
    elif exchange.responded:
        ending = "the connection was cut"
    else:
        ending = "answered with 504"
    # Whoever waits in a port for this client must learn of the end, and a complete answer tells nobody.
    wake = exchange.on_disconnect
    answer(exchange, 504)
    if wake is not None:
        wake(exchange)
    if not _log.isEnabledFor(logging.ERROR):
        return
    request = exchange.request
    values = (request.method.decode("ascii"), request.path.decode("latin-1"), seconds, ending + note)
    text = "%s %s ran longer than --timeout-request (%g s): %s"
    record = _log.makeRecord(_log.name, logging.ERROR, __file__, 0, text, values, None, "cut_off", None, stack or None)
    _log.handle(record)


def thread_stack(frame: FrameType | None) -> str:
    """The stack of a thread, by its innermost frame (`sys._current_frames`)."""
    return "" if frame is None else _text(traceback.extract_stack(frame))


def task_stack(task: asyncio.Task[Any]) -> str:
    """The stack of a task that waits: its coroutine and what that awaits, down to what is no code.

    `Task.get_stack` knows the outermost frame only.
    """
    frames = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        for prefix, inner in (("cr", "cr_await"), ("gi", "gi_yieldfrom")):
            frame = getattr(awaited, f"{prefix}_frame", None)
            if frame is not None:
                frames.append((frame, frame.f_lineno))
                awaited = getattr(awaited, inner)
                break
        else:
            break
    return _text(traceback.StackSummary.extract(iter(frames))) if frames else ""


def _text(stack: traceback.StackSummary) -> str:
    return "".join(["Stack (most recent call last):\n", *stack.format()]).rstrip("\n")
