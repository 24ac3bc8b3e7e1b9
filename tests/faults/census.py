"""What a server has open: it has to be the same before a fault and after it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from e2e.family import children
from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess, eventually

FAULT_APPS = Path(__file__).resolve().parent / "apps"
WITHIN = 10.0  # seconds for what takes a moment
MODES = {
    "inline-asgi": ("fault_asgi:application", "--mode", "inline"),
    "inline-wsgi": ("fault_wsgi:application", "--mode", "inline"),
    "threads": ("fault_wsgi:application", "--mode", "threads", "--threads", "2"),
    "processes": ("fault_wsgi:application", "--mode", "processes", "--processes", "2"),
}
__all__ = ["APPS", "FAULT_APPS", "MODES", "WITHIN", "Census", "ask", "temporary", "unharmed"]


@dataclass(frozen=True)
class Census:
    """Descriptors, threads and children of a process; temporary files that it holds."""

    descriptors: int
    threads: int
    children: int
    temporary: int

    @classmethod
    def of(cls, server: ServerProcess) -> Census:
        """As it is now; a connection to ask by is not among it."""
        return cls(
            len(os.listdir(f"/proc/{server.worker}/fd")),
            len(os.listdir(f"/proc/{server.worker}/task")),
            len(children(server.worker)),
            temporary(server.worker),
        )


def temporary(pid: int) -> int:
    """Temporary files, with a name or without, that a process has open."""
    found = 0
    folder = tempfile.gettempdir()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(entry).startswith(folder)
    return found


def ask(server: ServerProcess, path: str = "/hello", wait: float = WITHIN) -> bytes:
    """A request on a connection of its own, which is answered as if nothing had happened; the body."""
    with RawClient(server.address, wait=wait) as raw:
        raw.get(path, "Connection: close")
        answer = raw.read_answer()
        assert answer.status == 200, answer.head
        return answer.body


def unharmed(server: ServerProcess, before: Census) -> None:
    """It serves, and has open no more than before (where a connection may have been about to close), and no less."""
    assert ask(server) == b"/hello 0\n"
    seen: list[Census] = []

    def back() -> bool:
        seen.append(Census.of(server))
        now = seen[-1]
        same = (now.threads, now.children, now.temporary) == (before.threads, before.children, before.temporary)
        return same and now.descriptors <= before.descriptors

    assert eventually(back, WITHIN), f"{before} has become {seen[-1]}"
    assert ask(server) == b"/hello 0\n"
