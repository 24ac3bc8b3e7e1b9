"""What becomes of us in a process that the application forks.

A fork (`os.fork`, `multiprocessing` with that start method) copies our sockets, our threads' work and our handlers of
signals. Left alone, a client would not see the end of its connection before the copy ends, a port would stay taken, a
SIGTERM for the copy would stop the server (both have one wake-up descriptor), and a copy that returns from the
application would answer the request a second time. So the copy has none of it.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from typing import Protocol

_SIGNALS: set[signal.Signals] = set()
_mask = threading.local()  # of the thread that forks


class Forkable(Protocol):
    """Something that a forked process must not have."""

    def forked(self) -> None:
        """(in the forked process, whose only thread this is) Let go of what belongs to the parent."""


_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(thing: Forkable) -> None:
    """Call `thing.forked()` in each process that is forked while it lives."""
    _watched.add(thing)


def restore(*signals: signal.Signals) -> None:
    """These have handlers of ours, which a forked process must not have."""
    _SIGNALS.update(signals)


def _before() -> None:
    """A signal that comes between the fork and the new handlers has to wait."""
    if _watched and _SIGNALS:
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _unblock() -> None:
    before = getattr(_mask, "before", None)
    if before is not None:
        _mask.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child() -> None:
    if not _watched:
        return
    for thing in list(_watched):
        thing.forked()
    if _SIGNALS:
        signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _unblock()


os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)
