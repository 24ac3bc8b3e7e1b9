"""A real server process for a test: started on a free port, watched through its pipes, ended by its pid."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from e2e.family import children

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
APPS = Path(__file__).resolve().parent / "apps"
MIB = 1 << 20

_SERVING = re.compile(r"bridgeserve \S+ serving on (?P<addresses>.+) \(mode (?P<mode>\w+)")
_BINDS = ("--bind", "-b", "--host", "--port", "--uds", "--fd")
LOOP = os.environ.get("TEST_LOOP", "auto")  # `make test LOOP=asyncio`: for each server that is not told its loop
START = 45.0  # seconds for a start: frameworks are imported, four times, on a machine that does other things too
STOP = 15.0


@dataclass(frozen=True)
class Ended:
    """A server that has ended: its exit code and all that it wrote."""

    code: int
    out: str
    err: str
    seconds: float


class Output:
    """The lines of one pipe, gathered by a thread."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._lines: list[str] = []
        self._closed = False
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            with self._more:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._closed = True
            self._more.notify_all()

    def find(self, pattern: str | re.Pattern[str]) -> list[re.Match[str]]:
        """The matches so far, at most one a line."""
        with self._more:
            return self._matches(pattern)

    def _matches(self, pattern: str | re.Pattern[str]) -> list[re.Match[str]]:
        return [match for line in self._lines if (match := re.search(pattern, line))]

    def wait(self, pattern: str | re.Pattern[str], seconds: float, count: int = 1) -> list[re.Match[str]]:
        """Wait until `count` lines match, the pipe has ended, or the time is over; the matches."""
        with self._more:
            self._more.wait_for(lambda: self._closed or len(self._matches(pattern)) >= count, seconds)
            return self._matches(pattern)

    def close(self) -> None:
        """Wait for the end of the pipe, which the end of the process brings."""
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._pipe.close()

    @property
    def text(self) -> str:
        """Everything so far."""
        with self._more:
            return "".join(line + "\n" for line in self._lines)


class ServerProcess:
    """`python -m bridgeserve APP OPTIONS` as a child process.

    Without a bind among the options, and unless it is `bound` in another way, it listens at port 0 of 127.0.0.1.
    `app_dir` holds the app.
    """

    def __init__(
        self,
        app: str,
        *options: str,
        app_dir: Path = EXAMPLES,
        env: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
        start_new_session: bool = False,
        bound: bool = False,
    ) -> None:
        bind = () if bound or any(option.split("=")[0] in _BINDS for option in options) else ("--bind", "127.0.0.1:0")
        self._command = [sys.executable, "-m", "bridgeserve", app, "--app-dir", str(app_dir), *bind, *options]
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment({"BRIDGESERVE_LOOP": LOOP} | (env or {})),
            pass_fds=pass_fds,
            start_new_session=start_new_session,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out = Output(self._process.stdout)
        self.err = Output(self._process.stderr)
        self.addresses: list[str] = []
        self.mode = ""

    def started(self) -> Self:
        """Wait for the start-up line; fails when the process ends instead, or is too slow."""
        found = self.err.wait(_SERVING, START)
        if not found:
            self.kill()
            raise AssertionError(f"{' '.join(self._command)} did not start:\n{self.err.text}{self.out.text}")
        self.addresses = found[0]["addresses"].split(", ")
        self.mode = found[0]["mode"]
        return self

    @property
    def pid(self) -> int:
        """The process id: the supervisor's."""
        return self._process.pid

    @property
    def workers(self) -> set[int]:
        """The process ids of the workers."""
        return children(self.pid)

    @property
    def worker(self) -> int:
        """The process id of the one worker."""
        [found] = self.workers
        return found

    @property
    def url(self) -> str:
        """The first address, such as http://127.0.0.1:40123."""
        return self.addresses[0]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first address."""
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return host.strip("[]"), int(port)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = STOP) -> Ended:
        """Wait for the end; fails when it does not come in time."""
        begin = time.monotonic()
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server has not ended after {seconds} s:\n{self.err.text}") from None
        took = time.monotonic() - begin
        self._close()
        return Ended(code, self.out.text, self.err.text, took)

    def stop(self, seconds: float = STOP) -> Ended:
        """TERM, and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """End the process and its workers, whatever they do; harmless when they have ended."""
        if self._process.poll() is None:
            workers = self.workers
            self._process.kill()
            self._process.wait()
            for pid in workers:  # they would finish what they have
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._close()

    def _close(self) -> None:
        self.out.close()
        self.err.close()

    def memory(self, field: str = "VmRSS") -> int:
        """Octets of the worker's VmRSS (now) or VmHWM (the peak so far)."""
        status = Path(f"/proc/{self.worker}/status").read_text(encoding="ascii")
        return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024  # type: ignore[index]

    def forget_peak(self) -> None:
        """Let VmHWM begin again at VmRSS (proc(5), clear_refs), where the system allows it."""
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.worker}/clear_refs").write_text("5", encoding="ascii")


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Our environment without what configures a server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGESERVE_")}
    for name in ("PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET"):
        kept.pop(name, None)
    return kept | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"} | (more or {})


def run_command(
    *arguments: str, seconds: float = START, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Ended:
    """Run `python -m bridgeserve ARGUMENTS` that is expected to end by itself."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "bridgeserve", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        env=environment(env),
        cwd=cwd,
        check=False,
    )
    took = time.monotonic() - begin
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode(), took)


def eventually(question: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again, each time a request or a look at /proc, until the answer is yes or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if question():
            return True
    return question()
