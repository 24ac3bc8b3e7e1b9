"""What the figures depend on: the machine, the versions, the commit."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.servers import SERVERS, version

PACKAGES = ("bridgeserve", "uvloop", "httptools", "h11", "flask", "django", "fastapi", "hdrhistogram")


def processor(text: str) -> str:
    """The name in the text of `/proc/cpuinfo`, "" where there is none."""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    return match[1].strip() if match else ""


def commit() -> str:
    """The commit that is measured, with "+changes" when the tree is not clean; "" outside a repository."""
    if shutil.which("git") is None:
        return ""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    found = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return f"{found}+changes" if found and changed else found


def machine() -> dict[str, Any]:
    """Hardware, system and moment; nothing that names the machine."""
    path = Path("/proc/cpuinfo")
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": processor(path.read_text(errors="replace")) if path.exists() else "",
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "load_before": round(os.getloadavg()[0], 2),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def versions() -> dict[str, str | None]:
    """Every server's package and those that the figures depend on; None: not installed."""
    names = sorted({server.packages[0] for server in SERVERS.values()} | set(PACKAGES))
    return {name: version(name) for name in names} | {"wrk": _wrk()}


def _wrk() -> str | None:
    if shutil.which("wrk") is None:
        return None
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=20, check=False)
    match = re.search(r"^wrk (\S+)", done.stdout + done.stderr)
    return match[1] if match else "unknown"
