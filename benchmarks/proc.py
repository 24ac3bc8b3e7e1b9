"""CPU time and memory of a process and its children, from Linux.

CPU time comes in nanoseconds where the system gives them: first the process's CPU clock, which also counts threads
that have ended; then `/proc/PID/task/*/schedstat`; the ticks of `/proc/PID/stat` (10 ms as a rule) last.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def stat_fields(text: str) -> list[str]:
    """The fields of `/proc/PID/stat` from the third (state) on. The name before it may hold spaces and ")"."""
    return text.rpartition(")")[2].split()


def parent_of(text: str) -> int:
    """The parent's id in the text of `/proc/PID/stat`."""
    return int(stat_fields(text)[1])


def ticks_ns(text: str) -> int:
    """utime + stime in the text of `/proc/PID/stat`, in nanoseconds."""
    fields = stat_fields(text)
    return (int(fields[11]) + int(fields[12])) * TICK_NS


def schedstat_ns(text: str) -> int:
    """Time on a CPU in the text of a `schedstat` file, in nanoseconds."""
    return int(text.split()[0])


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdecimal():
            try:
                parent = parent_of((entry / "stat").read_text(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:  # grows while we go through it
        found.extend(children.get(member, ()))
    return found


def clock_ns(pid: int) -> int:
    """The process's CPU clock in nanoseconds. Raises OSError where the system does not let us read it.

    The number of the clock is the one that clock_getcpuclockid(3) makes: the inverted id, then 2 for "scheduler time".
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def threads_ns(pid: int, proc: Path = PROC) -> int:
    """The sum over the threads that live. Raises OSError where the kernel keeps no schedstat."""
    total = 0
    for task in (proc / str(pid) / "task").iterdir():
        total += schedstat_ns((task / "schedstat").read_text())
    return total


def process_ns(pid: int) -> int:
    """CPU time of one process in nanoseconds, from the best source there is; 0 when it has ended."""
    for source in (clock_ns, threads_ns):
        try:
            return source(pid)
        except OSError:
            continue
    try:
        return ticks_ns((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def tree_ns(pid: int) -> int:
    """CPU time of a process and its living descendants in nanoseconds."""
    return sum(process_ns(member) for member in tree(pid))


def pss_kib(text: str) -> int:
    """The Pss line of `/proc/PID/smaps_rollup`: memory in KiB, pages shared by n processes counted as 1/n."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError("no Pss line")


def tree_kib(pid: int) -> int:
    """Memory of a process and its descendants in KiB."""
    return sum(pss_kib((PROC / str(member) / "smaps_rollup").read_text()) for member in tree(pid))
