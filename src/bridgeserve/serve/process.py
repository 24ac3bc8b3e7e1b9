"""The process of a worker and our end of its line: the supervisor's hands."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bridgeserve.dispatch.spawn import interpreter
from bridgeserve.serve import link

WORKER = ("-m", "bridgeserve.serve.worker")
# Until a worker can handle them itself they wait for it: a terminal sends some of them to all processes.
HELD = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """What is started in this block starts with signals that wait."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def deafen() -> None:
    """No signal reaches Python any more: one that comes while the interpreter ends may take it down or change its exit
    code.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (*HELD, signal.SIGTERM, signal.SIGCHLD))


@contextlib.contextmanager
def hearing_again() -> Iterator[None]:
    """After this block signals are as they were, and those that came meanwhile are forgotten."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        for number in (*HELD, signal.SIGTERM):
            handler = signal.signal(number, signal.SIG_IGN)  # forgets what waits
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def safe_path(directory: str) -> tuple[str, ...]:
    """-P, so that no module of the current directory takes the place of one that we import before the application.

    Not where bridgeserve itself is found by the current directory, which `directory` is to be.
    """
    home = Path(__file__).resolve().parents[2]
    return () if home == Path(directory).resolve() else ("-P",)


class WorkerProcess:
    """A worker's process. `hear` is called for each of its messages, when `read` finds them.

    :param directory: the working directory.
    :raises OSError: it cannot be started.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        listeners: list[int],
        environ: Mapping[str, str],
        hear: Callable[[dict[str, Any]], None],
        directory: str = ".",
    ) -> None:
        self._hear = hear
        self.words = ""
        self.stats: dict[str, int] = {}
        self._end, theirs = link.pair()
        if not self.tell({**setup, "listeners": listeners}):  # before it starts: it would wait for it
            self._end.close()
            theirs.close()
            raise OSError(errno.EMSGSIZE, "the settings are too long to be told to a worker")
        command = [*interpreter(), *safe_path(directory), *WORKER, str(theirs.fileno())]
        try:
            with theirs, held_signals():
                given = (theirs.fileno(), *listeners)
                self._process = subprocess.Popen(
                    command, cwd=directory, env=dict(environ), pass_fds=given, close_fds=True
                )
        except BaseException:
            self._end.close()
            raise
        self.pid = self._process.pid

    def fileno(self) -> int:
        """What to watch for its messages."""
        return self._end.fileno()

    def tell(self, message: dict[str, Any]) -> bool:
        """Say something; False when it was not taken."""
        return link.send(self._end, message)

    def read(self) -> bool:
        """Hear what there is; False at the end of the line."""
        while True:
            try:
                message = link.receive(self._end)
            except BlockingIOError:
                return True
            if message is None:
                return False
            self._hear(message)

    def signal(self, number: int) -> None:
        """Send a signal; harmless when it has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ended(self) -> int | None:
        """The exit code once it has ended, below 0 for a signal; nothing is left of the process then."""
        if self._process.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else of this program has waited for it
                pid, status = self.pid, 0
            if not pid:
                return None
            self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def close(self) -> None:
        """Close our end."""
        self._end.close()


def adopt_orphans(ours: set[int]) -> None:
    """As process 1 we inherit what others have left behind: wait for what has ended of it, and for nothing of ours."""
    if os.getpid() != 1:
        return
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in ours:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)
