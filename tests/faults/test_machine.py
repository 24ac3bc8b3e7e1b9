"""A machine that has no more room, descriptors or system calls that work; a clock that jumps."""

from __future__ import annotations

import ast
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.raw import RawClient
from e2e.server import ROOT, ServerProcess, run_command
from faults.census import FAULT_APPS, MODES, WITHIN, Census, ask, unharmed

Begin = Callable[..., ServerProcess]
SPOOLING = pytest.mark.parametrize("mode", ["inline-wsgi", "threads", "processes"])
SMALL_DISK = 1 << 20
ALL = pytest.mark.parametrize("mode", list(MODES))
SOURCE = ROOT / "src" / "bridgeserve"


# --- no room for bodies --------------------------------------------------------------------------


def post(raw: RawClient, size: int) -> None:
    raw.send(b"POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size + b"u" * size)


def assert_refused(server: ServerProcess, size: int) -> None:
    """Uploads that find no room are answered 507, those that need none are served, and no app sees a part."""
    ask(server)
    with RawClient(server.address) as raw:  # where temporary files go is found out once
        post(raw, 100_000)
        assert raw.read_answer().status == 200
    before = Census.of(server)
    clients = [RawClient(server.address) for _ in range(4)]
    for raw in clients:
        post(raw, size)
    for raw in clients:
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (507, True)
        raw.close()
    with RawClient(server.address) as raw:
        post(raw, 10_000)
        assert raw.read_answer().body == b"/up 10000\n"
    unharmed(server, before)
    assert len(server.err.find("a request body cannot be stored: ")) == 4
    assert not server.err.find(f"app: read whole {size}")


@SPOOLING
def test_a_file_that_may_not_grow(begin: Begin, mode: str) -> None:
    """As with a quota, in the middle of a write."""
    server = begin(mode, "--body-memory", "65536")
    resource.prlimit(server.worker, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    assert_refused(server, 2 << 20)


@SPOOLING
def test_a_full_disk(begin: Begin, small_disk: Path, mode: str) -> None:
    """Where nothing may be mounted, `test_a_file_that_may_not_grow` is alike."""
    server = begin(mode, "--body-memory", "65536", env={"TMPDIR": str(small_disk)})
    assert_refused(server, 2 << 20)
    assert list(small_disk.iterdir()) == []
    assert os.statvfs(small_disk).f_bfree == os.statvfs(small_disk).f_blocks


@SPOOLING
def test_a_folder_that_is_gone(begin: Begin, tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    server = begin(mode, "--body-memory", "65536", env={"TMPDIR": str(folder)})
    with RawClient(server.address) as raw:
        post(raw, 1_000_000)
        assert raw.read_answer().status == 200
    folder.rmdir()
    with RawClient(server.address) as raw:
        post(raw, 1_000_000)
        assert raw.read_answer().status == 507
    assert ask(server) == b"/hello 0\n"
    folder.mkdir()
    with RawClient(server.address) as raw:
        post(raw, 1_000_000)
        assert raw.read_answer().body == b"/up 1000000\n"


@ALL
def test_a_body_beyond_the_limit(begin: Begin, mode: str) -> None:
    """1 GiB is announced, or comes in chunks: 413 at once or at the limit, which the client can read. Memory stays."""
    server = begin(mode, "--limit-request-body", str(1 << 20))
    ask(server)
    before, memory = Census.of(server), server.memory()
    with RawClient(server.address) as raw:
        raw.send(b"POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: 1073741824\r\n\r\n" + b"u" * 100_000)
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (413, True)
    with RawClient(server.address) as raw:
        raw.send(b"POST /up HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            raw.send(b"10000\r\n" + b"u" * 65536 + b"\r\n")
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (413, True)
    unharmed(server, before)
    assert server.memory() - memory < 8 << 20
    assert not server.err.find("app: read whole")


# --- system calls that fail ----------------------------------------------------------------------


@pytest.fixture
def inject(begin: Begin) -> Iterator[Callable[[ServerProcess, str], None]]:
    """Let system calls of a server fail as strace(1) says."""
    tracers: list[subprocess.Popen[bytes]] = []
    if shutil.which("strace") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("strace is not installed: apt-get install strace")
        pytest.skip("strace is not installed")

    def run(server: ServerProcess, rule: str) -> None:
        call = rule.partition(":")[0]
        tracer = subprocess.Popen(
            [
                "strace",
                "-f",
                "-e",
                f"trace={call}",
                "-e",
                f"inject={rule}",
                "-o",
                "/dev/null",
                "-p",
                str(server.worker),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        tracers.append(tracer)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if b"not permitted" in line:
            pytest.skip("ptrace is not permitted here")
        assert b"attached" in line, line

    yield run
    for tracer in tracers:
        tracer.terminate()
        tracer.wait(WITHIN)
        assert tracer.stderr is not None
        tracer.stderr.close()


RULES = (
    "accept4:error=EMFILE:when=3+5",
    "accept4:error=ENFILE:when=2+3",
    "accept4:error=ENOMEM:when=2+3",
    "accept4:error=ECONNABORTED:when=2+3",
    "setsockopt:error=EINVAL:when=2+3",
    "getsockname:error=ENOBUFS:when=2+3",
    "epoll_wait,epoll_pwait:error=EINTR:when=3+5",
)


@pytest.mark.parametrize("rule", RULES)
def test_system_calls_that_fail_now_and_then(
    begin: Begin, inject: Callable[[ServerProcess, str], None], rule: str
) -> None:
    """Connections may be lost by it, and then all at once; it neither ends nor spins."""
    server = begin("inline-asgi", "--no-access-log")
    ask(server)
    before = Census.of(server)
    inject(server, rule)
    served = 0
    for _ in range(12):
        with RawClient(server.address, wait=WITHIN) as raw:
            raw.get("/hello", "Connection: close")
            served += b" 200 " in raw.read_rest()[:20]
    assert served >= (6 if "setsockopt" in rule else 12)
    assert Census.of(server).descriptors <= before.descriptors + 1


@pytest.mark.parametrize("error", ["EINTR", "ENOBUFS", "ENOMEM", "ECONNRESET"])
def test_writes_that_fail_cost_their_connection(
    begin: Begin, inject: Callable[[ServerProcess, str], None], error: str
) -> None:
    """What has not gone out by the short way goes by the transport, or cuts the connection: never half an answer."""
    server = begin("inline-asgi", "--no-access-log", "--loop", "asyncio")
    ask(server)
    inject(server, f"sendto,sendmsg,writev:error={error}:when=2+3")
    for _ in range(12):
        with RawClient(server.address, wait=WITHIN) as raw:
            raw.get("/download", "Connection: close")
            answer = raw.read_rest()
            assert not answer.endswith(b"0\r\n\r\n") or answer.count(b"d") > 16 * 65536
    assert ask(server) == b"/hello 0\n"


# --- the clock -----------------------------------------------------------------------------------

# Who may ask what time it is, and what for.
WALL = {
    "net/engine.py": "the Date line and the time in a record",
    "observe/logs.py": "the time of a line",
}


def test_nobody_waits_by_the_clock_on_the_wall() -> None:
    """A step of that clock then moves no timeout: all of them are of the loop's clock or `time.monotonic`."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "time.time",
                "time.time_ns",
                "datetime.now",
                "datetime.datetime.now",
                "datetime.utcnow",
            ):
                found.add(str(path.relative_to(SOURCE)))
    assert found <= set(WALL)


# --- starts that fail ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pid", "/dev/full"), "cannot write the pid file /dev/full: No space left on device"),
        (("--pid", "/nowhere/pid"), "cannot write the pid file /nowhere/pid: No such file or directory"),
        (("--bind", "fd://99"), "fd://99"),
        (("--bind", "unix:/nowhere/socket"), "/nowhere/socket"),
        (("--bind", "192.0.2.1:80"), "192.0.2.1"),
    ],
)
def test_starts_that_fail(options: tuple[str, ...], said: str) -> None:
    """3, one line that says why, and no child left."""
    bind = () if "--bind" in options else ("--bind", "127.0.0.1:0")
    mode = ("--mode", "processes", "--processes", "1")
    ended = run_command("fault_wsgi:application", "--app-dir", str(FAULT_APPS), *mode, *bind, *options)
    assert ended.code == 3
    lines = [line for line in ended.err.splitlines() if line.startswith("bridgeserve: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in ended.err


def test_a_start_without_descriptors() -> None:
    """The system has room for no child: 3, and why."""
    command = f"ulimit -n 14; exec {sys.executable} -m bridgeserve fault_wsgi:application --app-dir {FAULT_APPS}"
    done = subprocess.run(
        ["bash", "-c", f"{command} --mode processes --processes 4 --bind 127.0.0.1:0"],
        capture_output=True,
        timeout=WITHIN * 2,
        check=False,
    )
    assert done.returncode == 3
    assert b"Too many open files" in done.stderr
