"""The servers that are measured, as data, and how one is started and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 10.0
THREADS = "8"
ASGI = "benchmarks.apps:asgi_app"
WSGI = "benchmarks.apps:wsgi_app"


class BenchmarkError(Exception):
    """The measurement cannot be made or must not be trusted."""


@dataclass(frozen=True)
class Server:
    """One row of the table.

    `arguments` makes what follows `python -m` out of a port; `packages` are the distributions that it needs;
    `budget` is the most that it may cost, as a ratio to the floor.
    """

    name: str
    packages: tuple[str, ...]
    arguments: Callable[[int], list[str]]
    budget: float | None = None

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if _version(name) is None]

    def version(self) -> str:
        """Name and version of the first package."""
        return f"{self.packages[0]} {_version(self.packages[0])}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _bridgeserve(app: str, *mode: str) -> Callable[[int], list[str]]:
    quiet = ["--no-access-log", "--log-level", "warning"]
    return lambda port: ["bridgeserve", app, "--mode", *mode, "--bind", f"127.0.0.1:{port}", *quiet]


def _uvicorn(http: str, app: str, *more: str) -> Callable[[int], list[str]]:
    common = ["--loop", "uvloop", "--http", http, "--no-access-log", "--log-level", "warning"]
    # 75 s as in the others: idle connections must outlive the measurement of their memory.
    common += ["--timeout-keep-alive", "75", *more]
    return lambda port: ["uvicorn", app, "--host", "127.0.0.1", "--port", str(port), *common]


def _granian(interface: str, app: str, *more: str) -> Callable[[int], list[str]]:
    # It accepts as many connections as its backlog is long.
    common = ["--interface", interface, "--no-access-log", "--log-level", "warning", "--backlog", "4096", *more]
    return lambda port: ["granian", app, "--host", "127.0.0.1", "--port", str(port), *common]


def _waitress(port: int) -> list[str]:
    # select(2), its default, ends at 1,024 descriptors.
    poll = ["--asyncore-use-poll"]
    return ["waitress", f"--listen=127.0.0.1:{port}", f"--threads={THREADS}", "--connection-limit=4000", *poll, WSGI]


def _gunicorn(port: int) -> list[str]:
    pool = ["-k", "gthread", "--threads", THREADS, "--keep-alive", "75", "--worker-connections", "4000"]
    return ["gunicorn", "-b", f"127.0.0.1:{port}", "--log-level", "warning", *pool, WSGI]


_TABLE = (
    Server("floor", ("uvloop",), lambda port: ["benchmarks.floor", str(port)]),
    Server("bridgeserve-asgi", ("bridgeserve",), _bridgeserve(ASGI, "inline"), 2.6),
    Server("bridgeserve-wsgi-inline", ("bridgeserve",), _bridgeserve(WSGI, "inline")),
    Server("bridgeserve-threads", ("bridgeserve",), _bridgeserve(WSGI, "threads", "--threads", THREADS), 3.3),
    Server("uvicorn-httptools", ("uvicorn", "httptools", "uvloop"), _uvicorn("httptools", ASGI)),
    Server("uvicorn-h11", ("uvicorn", "h11", "uvloop"), _uvicorn("h11", ASGI)),
    Server(
        "uvicorn-a2wsgi",
        ("uvicorn", "a2wsgi", "httptools", "uvloop"),
        _uvicorn("httptools", "benchmarks.apps:a2wsgi_app", "--factory"),
    ),
    Server("granian-asgi", ("granian",), _granian("asgi", ASGI)),
    Server("granian-wsgi", ("granian",), _granian("wsgi", WSGI, "--blocking-threads", THREADS)),
    Server("waitress", ("waitress",), _waitress),
    Server("gunicorn-gthread", ("gunicorn",), _gunicorn),
)
SERVERS: dict[str, Server] = {server.name: server for server in _TABLE}


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


def environment() -> dict[str, str]:
    """Our own environment, with this package in reach of every server."""
    inherited = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(server: Server, core: int) -> Iterator[tuple[int, int]]:
    """The server on one core: (id of its first process, port). BenchmarkErrors get what it said added."""
    port = _free_port()
    with tempfile.TemporaryFile() as errors:
        with pinned(core):
            process = subprocess.Popen(
                [sys.executable, "-m", *server.arguments(port)],
                cwd=ROOT,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # its own group: stopped whole, and untouched by our ^C
            )
        try:
            _wait_until_open(process, port)
            yield process.pid, port
        except BenchmarkError as error:
            raise BenchmarkError(f"{server.name}: {error}\n{_tail(errors)}") from error
        finally:
            _stop(process)


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise BenchmarkError(f"did not start, exit {process.poll()}")


def _tail(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read()[-2000:].decode(errors="replace")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
