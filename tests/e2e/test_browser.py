"""Headless Chromium and a chat page: a WebSocket and server-sent events as a browser speaks them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.server import APPS, ServerProcess

# No sandbox, for the tests may run as root in a container; nothing of the outside is asked for.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
PATIENCE = 40.0  # seconds: a browser starts slowly on a busy machine


@pytest.fixture
def chromium() -> str:
    """The program; without it CI fails."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed and this test needs it: apt-get install chromium")
        pytest.skip("chromium is not installed: apt-get install chromium")
    return program


@pytest.mark.timeout(90)
def test_a_chat_in_a_browser(start: Callable[..., ServerProcess], chromium: str, tmp_path: Path) -> None:
    server = start("chat:app", "--no-access-log", app_dir=APPS)
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path}", "--remote-debugging-port=0", server.url + "/"]
    with (tmp_path / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=tmp_path)
    try:
        found = server.err.wait(r"^app: result (?P<said>.*)$", PATIENCE)
    finally:
        browser.terminate()
        try:
            browser.wait(10.0)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
    assert found, (tmp_path / "chromium.log").read_text(encoding="utf-8", errors="replace")
    said = json.loads(found[0]["said"])
    assert said["problem"] == ""
    assert sorted(said["seen"]) == [
        "closed 4000 bye yourself true",
        "event 208",
        "octets 0 255 1",
        "open chat permessage-deflate",
        "said 208",
    ]
    assert server.stop().code == 0
