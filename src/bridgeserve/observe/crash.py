"""The stacks of a process that crashes, by faulthandler, and room for signals that come together.

CPython runs all handlers of signals on the alternate stack that faulthandler makes, once it is enabled. That has
16 KiB, and the frame of one signal takes 3 to 11 KiB, as the processor has it: five signals that come at once overflow
it, and the process dies of SIGSEGV. So it gets a larger one.
"""

from __future__ import annotations

import ctypes
import faulthandler
import sys
import threading
from typing import Any

SIZE = 256 * 1024  # octets; only what is used takes memory


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("ss_sp", ctypes.c_void_p), ("ss_flags", ctypes.c_int), ("ss_size", ctypes.c_size_t))


_kept: list[Any] = []  # the memory, for as long as the process lives


def enable(file: Any) -> None:
    """Write the stacks of all threads to `file` (or a descriptor) when the process crashes."""
    faulthandler.enable(file)
    if sys.platform != "linux" or _kept or threading.current_thread() is not threading.main_thread():
        return
    memory = ctypes.create_string_buffer(SIZE)
    stack = _Stack(ctypes.cast(memory, ctypes.c_void_p), 0, SIZE)
    if ctypes.CDLL(None, use_errno=True).sigaltstack(ctypes.byref(stack), None) == 0:
        _kept.append(memory)
