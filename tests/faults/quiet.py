"""A server whose outputs nobody gathers: the test says where they go. It listens at a unix socket."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e.raw import Answer, RawClient, listens
from e2e.server import START, environment, eventually
from faults.census import FAULT_APPS, MODES, WITHIN


class QuietServer:
    """:param folder: for its socket. `out` and `err` are descriptors or files, which the caller closes."""

    def __init__(self, mode: str, folder: Path, out: int, err: int, *options: str) -> None:
        self.path = str(folder / "socket")
        app, *first = MODES[mode]
        command = [sys.executable, "-m", "bridgeserve", app, *first, "--app-dir", str(FAULT_APPS), *options]
        self.process = subprocess.Popen(
            [*command, "--bind", f"unix:{self.path}"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment(),
        )
        assert eventually(lambda: listens(self.path), START), "it does not listen"

    def get(self, path: str) -> Answer:
        """One request, which must be answered soon."""
        with RawClient(self.path, wait=WITHIN) as raw:
            raw.get(path, "Connection: close")
            return raw.read_answer()

    def stop(self) -> int:
        """TERM; the exit code."""
        self.process.terminate()
        return self.process.wait(WITHIN)


@contextlib.contextmanager
def quiet(mode: str, folder: Path, out: int, err: int, *options: str) -> Iterator[QuietServer]:
    """A server for the time of a block."""
    server = QuietServer(mode, folder, out, err, *options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@contextlib.contextmanager
def pipe() -> Iterator[list[int]]:
    """The two ends of a pipe; whoever closes one of them writes -1 in its place."""
    ends = list(os.pipe())
    try:
        yield ends
    finally:
        for end in ends:
            if end >= 0:
                os.close(end)
