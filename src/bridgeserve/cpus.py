"""How many CPUs this process may use, told by the scheduler and by the control group."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_FILE = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def _quota(text: str) -> float | None:
    """The CPUs that a cgroup v2 `cpu.max` file grants (`QUOTA PERIOD`), or None when it sets no limit."""
    quota, _, period = text.strip().partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)


def cgroup_cpus(listing: Path = _CGROUP_FILE, root: Path = _CGROUP_ROOT) -> float | None:
    """The smallest CPU quota of our cgroup v2 and of its ancestors, in CPUs; None without a quota.

    `listing` is the file in the form of /proc/self/cgroup; `root` is where the hierarchy is mounted.
    """
    try:
        lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    parts: tuple[str, ...] = ()
    for line in lines:
        if line.startswith("0::"):  # the entry of the unified hierarchy
            parts = tuple(part for part in line[3:].split("/") if part not in ("", ".."))
    found: list[float] = []
    # An ancestor may be tighter than the group itself, so all of them count.
    for depth in range(len(parts), -1, -1):
        try:
            limit = _quota(root.joinpath(*parts[:depth], "cpu.max").read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            continue
        if limit is not None:
            found.append(limit)
    return min(found, default=None)


def available_cpus() -> int:
    """The number of CPUs this process may keep busy, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cgroup_cpus()
    if quota is not None:
        count = min(count, math.ceil(quota))
    return max(1, count)


def default_threads() -> int:
    """The size of a thread pool that nobody has chosen: min(32, CPUs + 4)."""
    return min(32, available_cpus() + 4)
