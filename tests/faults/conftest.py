"""Servers for the tests of faults."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from e2e.conftest import no_socket_left, start, start_shared
from e2e.server import ServerProcess
from faults.census import FAULT_APPS, MODES, Census, ask

__all__ = ["no_socket_left", "start", "start_shared"]
Begin = Callable[..., ServerProcess]


@pytest.fixture
def begin(start: Callable[..., ServerProcess]) -> Begin:
    """Start a server in a mode of MODES and ask it once, so that what is made at the first request is there."""

    def run(mode: str, *options: str, **more: object) -> ServerProcess:
        app, *first = MODES[mode]
        return start(app, *first, *options, app_dir=FAULT_APPS, **more)

    return run


@pytest.fixture(scope="module", params=list(MODES))
def server(request: pytest.FixtureRequest, start_shared: Callable[..., ServerProcess]) -> ServerProcess:
    """One for all tests of a file, in each mode."""
    app, *options = MODES[request.param]
    found = start_shared(app, *options, app_dir=FAULT_APPS)
    for _ in range(4):  # both threads, both children
        ask(found)
    return found


@pytest.fixture
def before(server: ServerProcess) -> Census:
    """What the server has open."""
    return Census.of(server)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of SMALL_DISK octets, which the test's file says."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={request.module.SMALL_DISK}"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=False)
    if done.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
