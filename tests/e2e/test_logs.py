"""The logs of a real server: rotation, readers that stop or leave, full disks, last words."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from e2e.common import client
from e2e.server import APPS, START, STOP, Output, ServerProcess, environment, eventually, run_command


def ask(server: ServerProcess, path: str = "/") -> int:
    with client(server) as http:
        return http.get(path).status_code


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_both_logs_go_on_in_new_files_after_usr1(mode: str, tmp_path: Path) -> None:
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    with Launched("--access-logfile", str(access), "--error-logfile", str(error), "--mode", mode) as server:
        server.wait_in(error, r"serving on http://127.0.0.1:(\d+)")
        assert server.get("/before") == 200
        assert eventually(lambda: "/before" in access.read_text(), 10.0)
        access.rename(tmp_path / "access.1")
        error.rename(tmp_path / "error.1")
        os.kill(server.pid, signal.SIGUSR1)
        assert eventually(lambda: access.exists() and error.exists(), 10.0)
        assert server.get("/after") == 200
        assert server.stop() == 0
    assert "/before" in (tmp_path / "access.1").read_text()
    assert "/before" not in access.read_text()
    assert "/after" in access.read_text()
    assert "last words at /after" in error.read_text()
    assert "stopped" in error.read_text()


class Launched:
    """A server whose stdout and stderr the test has in its hands, or gives away."""

    def __init__(self, *options: str, stdout: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE) -> None:
        command = [sys.executable, "-m", "bridgeserve", "logs", "--app-dir", str(APPS), "-b", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment()
        )
        self.port = 0

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_in(self, path: Path, pattern: str) -> None:
        """Wait for the start-up line in a file."""
        found: list[str] = []

        def look() -> bool:
            if path.exists() and not found:
                found.extend(re.findall(pattern, path.read_text()))
            return bool(found) or self.process.poll() is not None

        assert eventually(look, START)
        self.port = int(found[0])

    def get(self, path: str) -> int:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=20.0).status_code

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP)


def test_a_reader_of_stdout_that_has_left_costs_lines_only(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with Launched("--error-log-file", str(tmp_path / "log"), stdout=writer) as server:
        os.close(writer)
        server.wait_in(tmp_path / "log", r"serving on http://127.0.0.1:(\d+)")
        assert server.get("/") == 200
        assert os.read(reader, 10)
        os.close(reader)
        for _ in range(20):
            assert server.get("/") == 200
        assert server.stop() == 0
    text = (tmp_path / "log").read_text()
    assert 1 <= text.count("lines were dropped: stdout is closed") <= 2
    assert "Traceback" not in text


def test_readers_of_stdout_and_stderr_that_have_stopped_hold_nobody_up(tmp_path: Path) -> None:
    """Nobody reads either pipe, and both are full before the first request comes."""
    out, err = os.pipe(), os.pipe()
    with Launched(stdout=out[1], stderr=err[1]) as server:
        said = b""
        while (found := re.search(rb"serving on http://127.0.0.1:(\d+) .*\n", said)) is None:
            data = os.read(err[0], 4096)
            assert data
            said += data
        server.port = int(found[1])
        fill(err[1])
        fill(out[1])
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=20.0) as http:
            for _ in range(300):
                assert http.get("/").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP) == 0
    for end in (*out, *err):
        os.close(end)


def fill(descriptor: int) -> None:
    """Fill a pipe to its brim; it stays blocking for others."""
    os.set_blocking(descriptor, False)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(descriptor, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_costs_lines_only() -> None:
    server = ServerProcess("logs", "--access-log-file", "/dev/full", app_dir=APPS).started()
    try:
        for _ in range(5):
            assert ask(server) == 200
        assert server.stop().code == 0
    finally:
        server.kill()
    assert "lines were dropped: /dev/full cannot be written: No space left on device" in server.err.text


def test_log_files_that_cannot_be_opened_are_a_failed_start(tmp_path: Path) -> None:
    for option, name in (("--access-log-file", "access log"), ("--error-log-file", "log file")):
        path = str(tmp_path / "nowhere" / "log")
        ended = run_command("logs", "--app-dir", str(APPS), "-b", "127.0.0.1:0", option, path)
        assert ended.code == 3
        assert f"cannot open the {name} {path}: No such file or directory" in ended.err
        assert "Traceback" not in ended.err


@pytest.mark.parametrize("file", [False, True])
def test_the_last_words_before_a_crash_are_in_the_log(file: bool, tmp_path: Path) -> None:
    options = ("--error-log-file", str(tmp_path / "log")) if file else ()
    with Launched(*options) as server:
        if file:
            server.wait_in(tmp_path / "log", r"serving on http://127.0.0.1:(\d+)")
        else:
            assert server.process.stderr is not None
            errors = Output(server.process.stderr)
            server.port = int(errors.wait(r"serving on http://127.0.0.1:(\d+)", START)[0][1])
        with pytest.raises(httpx.HTTPError):
            server.get("/crash")
        ending = r"has ended \(signal SIGSEGV\) and is replaced"
        if file:
            log = tmp_path / "log"
            assert eventually(lambda: re.search(ending, log.read_text()) is not None, STOP)
            text = log.read_text()
        else:
            assert errors.wait(ending, STOP)
            text = errors.text
        server.process.terminate()
        assert server.process.wait(STOP) == 0
        if not file:
            errors.close()
    assert "Fatal Python error: Segmentation fault" in text
    assert "string_at" in text
    if not file:  # into a file goes a thread, which the crash does not wait for
        assert "last words at /crash" in text


def test_the_last_words_before_an_exit_without_clean_up_are_in_the_log() -> None:
    server = ServerProcess("logs", app_dir=APPS).started()
    try:
        with pytest.raises(httpx.HTTPError):
            ask(server, "/exit")
        assert server.err.wait(r"has ended \(exit code 7\) and is replaced", STOP)
        assert server.err.find("last words at /exit")
        assert server.stop().code == 0
    finally:
        server.kill()


TOML = """
[formatters.json]
"()" = "bridgeserve.observe.logs.JsonFormatter"

[handlers.error]
class = "logging.FileHandler"
filename = "{folder}/error.log"
formatter = "json"

[handlers.access]
class = "logging.FileHandler"
filename = "{folder}/access.log"

[loggers.bridgeserve]
handlers = ["error"]
level = "INFO"

[loggers."bridgeserve.access"]
handlers = ["access"]
level = "INFO"
propagate = false
"""


def test_a_log_config_sends_both_logs_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "log.toml").write_text(TOML.format(folder=tmp_path))
    out = tmp_path / "out"
    with out.open("wb") as stdout, Launched(
        "--log-config", str(tmp_path / "log.toml"), stdout=stdout.fileno(), stderr=stdout.fileno()
    ) as server:  # fmt: skip
        server.wait_in(tmp_path / "error.log", r"serving on http://127.0.0.1:(\d+)")
        assert server.get("/x") == 200
        assert server.stop() == 0
    assert out.read_bytes() == b""
    assert '"GET /x HTTP/1.1" 200 2' in (tmp_path / "access.log").read_text()
    lines = [json.loads(line) for line in (tmp_path / "error.log").read_text().splitlines()]
    assert lines[-1]["message"] == "stopped"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.ini", "", "allowed: a file named *.toml or *.json"),
        ("log.toml", "x =", "log.toml: Invalid value"),
        ("log.json", "[]", "allowed: one table"),
        ("log.json", "{", "log.json: Expecting"),
        ("log.toml", "[handlers.x]\nclass = 'nope.Nope'\n", "Unable to configure handler 'x'"),
        ("log.toml", "version = 2", "Unsupported version: 2"),
        ("gone.toml", None, "cannot be read"),
    ],
)
def test_a_wrong_log_config_ends_with_2(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    ended = run_command("logs", "--app-dir", str(APPS), "-b", "127.0.0.1:0", "--log-config", str(tmp_path / name))
    assert ended.code == 2
    assert said in ended.err
    assert f"--log-config {tmp_path / name}" in ended.err
    assert "Traceback" not in ended.err
