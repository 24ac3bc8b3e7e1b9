"""The options of the interpreter (-O, -X, -W) are those of every process that runs the app."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.raw import RawClient, listens
from e2e.server import START, environment, eventually

APP = """
import sys
def app(environ, start_response):
    start_response('200 OK', [])
    return [f'{sys.flags.optimize} {sys.flags.dev_mode} {sys._xoptions.get("word")} {sys.warnoptions}'.encode()]
"""


@pytest.mark.parametrize("mode", [("threads",), ("processes",), ("processes", "--preload")])
def test_the_options_of_the_interpreter(tmp_path: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "flags.py").write_text(APP)
    path = str(tmp_path / "socket")
    flags = ("-OO", "-X", "dev", "-Xword=42", "-W", "ignore::ImportWarning")
    options = ("--app-dir", str(tmp_path), "--uds", path, "--processes", "1", "--mode", *mode)
    server = subprocess.Popen(
        [sys.executable, *flags, "-m", "bridgeserve", "flags:app", *options],
        env=environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: listens(path), START)
        with RawClient(path, wait=START) as raw:
            raw.get("/")
            body = raw.read_answer().body
        server.send_signal(signal.SIGTERM)
        assert server.wait(START) == 0
    finally:
        server.kill()
        server.wait()
    assert body.startswith(b"2 True 42 [")
    assert b"'ignore::ImportWarning'" in body
