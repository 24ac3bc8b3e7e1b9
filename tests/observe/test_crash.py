"""Signals that come together do not overflow the stack that faulthandler has made for them."""

from __future__ import annotations

import subprocess
import sys

import pytest

STORM = """
import os, signal, sys
from bridgeserve.observe import crash
crash.enable(sys.stderr)
NAMES = ("USR1", "HUP", "TTIN", "TTOU", "QUIT", "USR2", "WINCH")
NUMBERS = [getattr(signal, f"SIG{name}") for name in NAMES]
for number in NUMBERS:
    signal.signal(number, lambda number, frame: None)
for _ in range(200):  # all of them wait, and are let in at once
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
    for number in NUMBERS:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
print("well")
"""


def run(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30, check=False)


def test_seven_signals_at_once() -> None:
    done = run(STORM)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the stack is made on Linux only")
def test_a_crash_is_told_all_the_same() -> None:
    done = run(
        "import ctypes, sys\nfrom bridgeserve.observe import crash\ncrash.enable(sys.stderr)\nctypes.string_at(0)\n"
    )
    assert done.returncode == -11
    assert "Fatal Python error: Segmentation fault" in done.stderr
    assert "string_at" in done.stderr
