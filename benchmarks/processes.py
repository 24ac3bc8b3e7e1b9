"""A server as a process on one core: started, found ready, stopped by its id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.errors import BenchmarkError
from benchmarks.proc import tree

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Running:
    """A server that accepts connections: the id of its first process, its port, and when it was started."""

    pid: int
    port: int
    started: float  # time.perf_counter()


def cores() -> tuple[int, int]:
    """The cores of the server and of the load: two different ones where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Run on one core within the block. Processes started there stay on it, with all their threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Our own environment, with this package in reach of every server."""
    inherited = os.environ.get("PYTHONPATH")
    path = f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)
    return {**os.environ, "PYTHONPATH": path, **more}


def free_port() -> int:
    """A port of the loopback that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(module: Sequence[str], port: int, core: int, more: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`python -m module...` on one core. BenchmarkErrors get what it said added."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        with pinned(core):
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=environment(more or {}),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,  # its own group: stopped whole, and untouched by our ^C
            )
        try:
            _wait_until_open(process, port)
            yield Running(process.pid, port, started)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}\n{_tail(said)}".strip()) from error
        finally:
            _stop(process)


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.002)
    raise BenchmarkError(f"did not start, exit {process.poll()}")


def _tail(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(said.tell() - 2000, 0))
    return said.read().decode(errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """TERM to the first process; what is left of its tree after a while is killed, each by its id."""
    members = tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in members:
        if _belongs(member, process.pid):
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _belongs(pid: int, session: int) -> bool:
    """True while a process lives in the session that the server was started in: an id may have a new owner."""
    try:
        return os.getsid(pid) == session
    except ProcessLookupError:
        return False
