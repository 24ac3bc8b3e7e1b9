"""Logs that cannot be written in each mode, and a disk that has room again; more is in tests/e2e/test_logs.py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from e2e.server import eventually
from faults.census import WITHIN
from faults.quiet import pipe, quiet

NULL = subprocess.DEVNULL
SMALL_DISK = 64 << 10
KINDS = pytest.mark.parametrize("mode", ["inline-asgi", "threads", "processes"])
STUCK = 90  # records of about a kilobyte: more than a pipe takes
TRACE = "RuntimeError: a fault"


@KINDS
def test_a_stderr_that_is_not_read(tmp_path: Path, mode: str) -> None:
    """No request waits for it; what waits is written when somebody reads again."""
    with pipe() as ends, quiet(mode, tmp_path, NULL, ends[1], "--no-access-log") as server:
        for _ in range(STUCK):
            assert server.get("/raise/call/RuntimeError").status == 500
        assert server.get("/hello").body == b"/hello 0\n"
        text = b""

        def whole() -> bool:
            nonlocal text
            text += os.read(ends[0], 1 << 20)
            return text.count(TRACE.encode()) == STUCK

        assert eventually(whole, WITHIN)
        assert b"dropped" not in text
        for _ in range(STUCK):
            assert server.get("/raise/call/RuntimeError").status == 500
        assert server.stop() == 0  # though nobody reads


@KINDS
def test_outputs_whose_reader_is_gone(tmp_path: Path, mode: str) -> None:
    """As after `| head -1`."""
    with pipe() as out, pipe() as err, quiet(mode, tmp_path, out[1], err[1]) as server:
        for ends in (out, err):
            for number in (0, 1):
                os.close(ends[number])
                ends[number] = -1
        for _ in range(20):
            assert server.get("/raise/call/RuntimeError").status == 500
            assert server.get("/hello").status == 200
        assert server.stop() == 0


def test_a_disk_that_has_room_again(tmp_path: Path, small_disk: Path) -> None:
    """Both logs go on where they stopped; no line is torn."""
    ballast, out, err = small_disk / "ballast", small_disk / "out", small_disk / "err"
    with (
        out.open("ab") as standard,
        err.open("ab") as error,
        quiet("threads", tmp_path, standard.fileno(), error.fileno()) as server,
    ):
        assert server.get("/first").status == 200
        assert eventually(lambda: "/first" in out.read_text(), WITHIN)
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(b"b" * 4096)
        for _ in range(20):
            assert server.get("/raise/call/RuntimeError").status == 500
        ballast.unlink()
        assert server.get("/last").status == 200
        assert eventually(lambda: "/last" in out.read_text(), WITHIN)
        assert eventually(lambda: err.read_text().count(TRACE) == 20, WITHIN)
        assert server.stop() == 0
        assert out.read_text().count(" 500 ") == 20
        assert all("HTTP/1.1" in line for line in out.read_text().splitlines())
