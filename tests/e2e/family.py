"""Processes and their children, as /proc shows them (proc(5))."""

from __future__ import annotations

import contextlib
from pathlib import Path


def _stat(pid: int | str) -> list[str]:
    """Its state, its parent and so on; nothing when there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    return []


def children(pid: int) -> set[int]:
    """The processes that have `pid` as parent and have not ended."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            facts = _stat(entry.name)
            if facts and facts[0] not in "ZX" and int(facts[1]) == pid:
                found.add(int(entry.name))
    return found


def runs(pid: int) -> bool:
    """False when it has ended, waited for or not."""
    facts = _stat(pid)
    return bool(facts) and facts[0] not in "ZX"
