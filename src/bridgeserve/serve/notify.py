"""What a service manager and we tell each other: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).

The first half is pure: environments in, values out. `Notifier` sends datagrams and never waits; a service manager that
does not listen is no reason to fail.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

FIRST = 3  # SD_LISTEN_FDS_START
FDS_MAX = 1024
# What is meant for us and not for the processes that we start.
VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def listen_fds(environ: Mapping[str, str], pid: int) -> tuple[int, ...]:
    """The descriptors of the sockets that were opened for the process `pid`; none when they are not for it.

    :raises ValueError: for a LISTEN_FDS that is no number.
    """
    count = environ.get("LISTEN_FDS", "")
    if not count or environ.get("LISTEN_PID") != str(pid):
        return ()
    if not (count.isascii() and count.isdecimal()) or int(count) > FDS_MAX:
        raise ValueError(f"environment: LISTEN_FDS={count!r} is not allowed; allowed: a number up to {FDS_MAX}")
    return tuple(range(FIRST, FIRST + int(count)))


def notify_address(environ: Mapping[str, str]) -> str:
    """The socket address of NOTIFY_SOCKET, "" for none; @ stands for the abstract name space."""
    name = environ.get("NOTIFY_SOCKET", "")
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else ""


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life, None for none: half of WATCHDOG_USEC, as sd_watchdog_enabled(3) has it."""
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not (text.isascii() and text.isdecimal()) or not int(text):
        return None
    return int(text) / 1e6 / 2


def message(*assignments: str, status: str = "") -> bytes:
    """The text of a datagram: one assignment a line. A status is one line."""
    lines = [*assignments]
    if status:
        lines.append("STATUS=" + " ".join(status.split()))
    return "\n".join(lines).encode()


def reloading(monotonic: float) -> str:
    """RELOADING=1 needs the time at which it began, of CLOCK_MONOTONIC in microseconds (Type=notify-reload)."""
    return f"RELOADING=1\nMONOTONIC_USEC={int(monotonic * 1e6)}"


class Notifier:
    """Sends to the service manager, where there is one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = notify_address(environ)
        self.watchdog = watchdog_interval(environ, os.getpid()) if self._address else None

    def _send(self, data: bytes) -> None:
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(data, self._address)

    def state(self, state: str) -> None:
        """We are "ready", "reloading" or "stopping"."""
        words = {"ready": "READY=1", "reloading": reloading(time.monotonic()), "stopping": "STOPPING=1"}
        self._send(message(words[state]))

    def status(self, status: str) -> None:
        """A line for `systemctl status`."""
        self._send(message(status=status))

    def alive(self) -> None:
        """A sign of life."""
        self._send(message("WATCHDOG=1"))
