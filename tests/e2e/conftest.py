"""Fixtures for tests against real server processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The helpers beside this file are imported as e2e.server, e2e.raw and so on.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# The open model of the benchmarks is the load of some tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from e2e import raw
from e2e.server import ServerProcess

Start = Callable[..., ServerProcess]


def _starter() -> Iterator[Start]:
    """A function that starts servers; whatever it started is gone at the end."""
    servers: list[ServerProcess] = []

    def start(app: str, *options: str, **more: Any) -> ServerProcess:
        server = ServerProcess(app, *options, **more)
        servers.append(server)
        return server.started()

    yield start
    for server in servers:
        server.kill()
        sys.stderr.write(server.err.text)  # pytest shows it beside a failure


@pytest.fixture(autouse=True)
def no_socket_left() -> Iterator[None]:
    """The sockets of a test that fails are closed."""
    yield
    raw.close_all()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start servers for one test."""
    yield from _starter()


@pytest.fixture(scope="module")
def start_shared() -> Iterator[Start]:
    """Start servers for all tests of a file."""
    yield from _starter()


@pytest.fixture(scope="session")
def curl() -> Callable[..., str]:
    """Run curl with a time limit and return what it wrote to stdout; any failure of curl is an error."""
    program = shutil.which("curl")
    if program is None:
        pytest.fail("curl is not installed and these tests need it: apt-get install curl")

    def run(*arguments: str, data: bytes | None = None) -> str:
        command = [program, "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments]
        done = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)
        assert done.returncode == 0, f"curl {' '.join(arguments)}: {done.returncode} {done.stderr.decode()}"
        return done.stdout.decode()

    return run
