"""A bounded buffer of lines with a thread that writes them, so that neither a slow disk nor a reader that has
stopped holds up who logs.

What does not fit is dropped and counted, and that is told once a second at most. Nothing here raises: a server without
its log goes on serving.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from bridgeserve.observe.output import Output, OutputGone

Item = TypeVar("Item")

CAPACITY = 8192  # items; at 10 000 requests a second almost a second of a writer that is held up
TEXT_MAX = 1 << 20  # octets of lines that are ready and cannot be written
BATCH = 256  # items made into lines at once: short enough not to hold the interpreter from the loop
GATHER = 0.02  # seconds in which a batch may grow, so that the thread does not wake for every item
STEP = 0.1  # seconds of a wait for room
PAUSE = 1.0  # seconds between two tries at what fails (a full disk), and between two words about drops
CLOSE = 2.0  # seconds that close() waits for an output that is stuck

_log = logging.getLogger("bridgeserve")
_writers: weakref.WeakSet[Writer] = weakref.WeakSet()  # type: ignore[type-arg]


class Writer(Generic[Item]):
    """Call it with an item; it never blocks.

    :param line: makes an item into a line without its end, in the writer's thread.
    :param label: what the log is called where its drops are told.
    """

    def __init__(self, output: Output, line: Callable[[Item], str], label: str) -> None:
        self._output = output
        self._line = line
        self._label = label
        self._deadline = 0.0
        self._reopen = False
        self._quiet = False  # nobody will read it
        self._refused = 0  # counted by who logs
        self._lost = 0  # counted by the thread
        self._told = 0
        self._tell_at = 0.0
        self._reason = ""
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        self._pending: deque[Item] = deque()
        self._unsent = bytearray()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._settled = threading.Condition()
        self._writing = threading.Lock()  # held by who writes
        self._idle = False
        self._thread: threading.Thread | None = None

    @property
    def dropped(self) -> int:
        """Items that were not written and never will be."""
        return self._refused + self._lost

    def start(self) -> None:
        """Start the thread; a daemon, for an output that is stuck must not keep the process."""
        self._thread = threading.Thread(target=self._run, name=f"bridgeserve-{self._label}", daemon=True)
        self._thread.start()

    # Any thread, in practice the loop's.

    def __call__(self, item: Item) -> None:
        """Take one item."""
        if self._quiet or len(self._pending) >= CAPACITY:
            if not self._closing.is_set():
                self._refused += 1
            return
        self._pending.append(item)
        # Setting an event costs more than all the rest, and a busy writer looks again by itself.
        if self._idle:
            self._wake.set()

    def reopen(self) -> None:
        """Go on in a new file of the same name, soon."""
        self._reopen = True
        self._wake.set()

    def flush(self, seconds: float) -> None:
        """Wait until all is written, `seconds` at most."""
        if self._thread is None or not self._thread.is_alive():
            return
        self._wake.set()
        with self._settled:
            self._settled.wait_for(lambda: not self._pending and not self._unsent, seconds)

    def close(self, seconds: float = CLOSE) -> None:
        """Write what is pending and stop; gives up after `seconds` when the output is stuck. May be called twice."""
        if self._closing.is_set():
            return
        self._deadline = time.monotonic() + seconds
        self._closing.set()
        self._wake.set()
        stuck = False
        if self._thread is not None:
            self._thread.join(seconds + 2 * STEP)
            stuck = self._thread.is_alive()
        _writers.discard(self)
        self._quiet = True
        if self.dropped > self._told:
            self._tell(self.dropped - self._told)
        if not stuck:  # else the thread still has it
            self._push()
            self._output.close()

    def _tell(self, lines: int) -> None:
        self._told += lines
        _log.warning("%s: %d lines were dropped: %s", self._label, lines, self._reason or "too many at once")

    # The writer's thread.

    def _run(self) -> None:
        while True:
            with self._writing:
                if self._reopen:
                    self._open_again()
                self._gather()
                pause = self._push()
            with self._settled:
                self._settled.notify_all()
            self._report()
            if self._closing.is_set() and (pause or time.monotonic() >= self._deadline):
                self._give_up()
                return
            if pause:
                self._closing.wait(pause)
            elif self._unsent or self._pending:
                continue
            elif self._closing.is_set():
                return
            else:
                self._sleep()

    def _sleep(self) -> None:
        self._wake.clear()
        self._idle = True
        # What was appended before `_idle` was set has woken nobody: look once more before waiting.
        if not (self._pending or self._unsent or self._reopen or self._closing.is_set()):
            self._wake.wait()
        self._idle = False
        self._closing.wait(GATHER)

    def _give_up(self) -> None:
        self._lost += len(self._pending) + self._unsent.count(b"\n")
        self._pending.clear()
        self._unsent.clear()

    def _gather(self) -> None:
        """Make pending items into lines; those that no room is left for are dropped, not kept with what they hold."""
        pending = self._pending
        made = 0
        while pending and made < BATCH:
            item = pending.popleft()
            if self._quiet or len(self._unsent) >= TEXT_MAX:
                self._lost += 1
                continue
            made += 1
            try:
                self._unsent += (self._line(item) + "\n").encode("utf-8", "backslashreplace")
            except Exception:  # one strange record must not end the log of all others
                _log.exception("%s: a line could not be made", self._label)

    def _push(self, seconds: float = STEP) -> float:
        """Write lines, waiting for room so long; seconds to wait before the next try (0: none)."""
        unsent = self._unsent
        while unsent:
            try:
                sent = self._output.write(unsent, seconds)
            except OutputGone as error:
                self._quiet = True
                self._reason = f"{self._output.name} is closed ({error})"
                self._give_up()
                return 0.0
            except OSError as error:
                self._reason = f"{self._output.name} cannot be written: {error.strerror}"
                return PAUSE
            if not sent:
                self._reason = f"{self._output.name} is not read fast enough"
                return 0.0
            del unsent[:sent]
        return 0.0

    def _report(self) -> None:
        """Say what was dropped, once a second at most; of one that is closed once, and then at its end."""
        if self.dropped == self._told or (self._quiet and self._told):
            return
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + PAUSE
            self._tell(self.dropped - self._told)
            if not self._unsent:
                self._reason = ""

    def _open_again(self) -> None:
        self._reopen = False
        try:
            self._output.reopen()
        except OSError as error:
            _log.error("%s: %s cannot be opened again: %s", self._label, self._output.name, error.strerror)
        else:
            self._quiet = False

    # Around a fork.

    def after_fork(self) -> None:
        """(child) What the parent has pending is the parent's, and its thread is not here."""
        running = self._thread is not None and not self._closing.is_set()
        self._begin()
        if running:
            self.start()


def reopen_all() -> None:
    """Every log file of ours is opened again, soon."""
    for writer in list(_writers):
        writer.reopen()


def _after_fork() -> None:
    for writer in list(_writers):
        writer.after_fork()


os.register_at_fork(after_in_child=_after_fork)
