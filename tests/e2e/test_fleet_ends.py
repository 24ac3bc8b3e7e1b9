"""How a supervisor and its workers end, start again and again, stand still, and are asked what they do."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.family import children, runs
from e2e.raw import RawClient, listens
from e2e.server import APPS, START, ServerProcess, environment, eventually, run_command
from e2e.steady import Steady

Start = Callable[..., ServerProcess]
WITHIN = 40.0  # seconds for what takes a moment, on a machine that does other things too
SECONDS = float(os.environ.get("TEST_FLEET_SECONDS", "0"))
ASGI = "plain_asgi:application"
WSGI = "plain_wsgi:application"


def status(address: tuple[str, int], path: str = "/") -> int:
    with RawClient(address, wait=WITHIN) as raw:
        raw.get(path, "Connection: close")
        return raw.read_answer().status


# --- the supervisor dies -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inline-asgi", "processes"])
def test_workers_end_with_their_supervisor(start: Start, mode: str) -> None:
    """Killed while a request runs: that is answered, the idle worker is gone at once, and the port is free."""
    options = (ASGI,) if mode == "inline-asgi" else (WSGI, "--mode", "processes", "--processes", "1")
    server = start(*options, "--workers", "2", app_dir=APPS)
    workers = server.workers
    family = workers | {each for worker in workers for each in children(worker)}
    with RawClient(server.address) as raw:
        raw.get("/slow")
        assert server.err.wait("app: slow", WITHIN)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: sum(map(runs, workers)) <= 1, 2.0)
        host, port = server.address
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (200, True)
    assert eventually(lambda: not any(map(runs, family)), 10.0)
    assert time.monotonic() - began < 12.0
    assert server.err.find("the supervisor is gone")
    again = start(ASGI, "--bind", f"{host}:{port}", app_dir=APPS)
    assert status(again.address) == 200


def test_a_worker_that_starts_ends_with_its_supervisor(tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(
        "import sys, threading\nsys.stderr.write('app: importing\\n')\nsys.stderr.flush()\nthreading.Event().wait(60)\n"
    )
    server = ServerProcess("slow_import:app", app_dir=tmp_path)
    try:
        assert server.err.wait("app: importing", START)
        worker = server.worker
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: not runs(worker), 2.0)
    finally:
        server.kill()


# --- starts that fail ----------------------------------------------------------------------------


def test_a_first_start_that_fails_says_why_once(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise LookupError('no colour')\n")
    ended = run_command("broken:app", "--app-dir", str(tmp_path), "--bind", "127.0.0.1:0", "--workers", "3")
    assert ended.code == 3
    assert ended.err.count("LookupError: no colour\n") == 2  # the traceback, and the one line
    assert ended.err.count("Traceback") == 1


def test_a_worker_that_dies_at_the_start_is_3(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    ended = run_command("dying:app", "--app-dir", str(tmp_path), "--bind", "127.0.0.1:0")
    assert ended.code == 3
    assert "SIGKILL" in ended.err
    assert ended.err.count("\n") == 1


def test_a_start_that_takes_too_long_is_3() -> None:
    ended = run_command("hanging:at_start", "--app-dir", str(APPS), "--bind", "127.0.0.1:0", "--timeout-start", "2")
    assert ended.code == 3
    assert "--timeout-start" in ended.err


@pytest.mark.timeout(120)
def test_a_crash_loop_ends_with_4_after_its_pauses(start: Start, tmp_path: Path) -> None:
    """In short the first pauses; with TEST_FLEET_SECONDS until the end, and what it costs."""
    file = tmp_path / "looping.py"
    good = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []\n"
    file.write_text(good)
    server = start("looping:app", app_dir=tmp_path)
    file.write_text("import os\nos._exit(1)\n")
    began = time.monotonic()
    os.kill(server.worker, signal.SIGKILL)
    assert server.err.wait("cannot be started \\(attempt 2\\)", WITHIN)
    assert time.monotonic() - began >= 1.0
    if SECONDS:
        ended = server.wait(100.0)
        assert ended.code == 4
        assert "no worker can be started any more" in ended.err
        assert time.monotonic() - began >= 31.0
    else:  # it gets well again by itself
        file.write_text(good)
        assert server.err.wait(r"worker \d+ \(pid \d+\) serves", WITHIN)
        assert status(server.address) == 200
        assert server.stop().code == 0


def test_a_crash_at_each_first_request_is_no_reason_to_leave(start: Start) -> None:
    server = start("crashing:application", app_dir=APPS)
    for count in range(1, 4):
        with contextlib.suppress(ConnectionError), RawClient(server.address, wait=WITHIN) as raw:
            raw.get("/abort")
            assert raw.read_rest() == b""
        assert len(server.err.wait(r"has ended \(signal SIGABRT\) and is replaced", WITHIN, count)) == count
    assert status(server.address) == 200
    assert server.stop().code == 0


def test_a_memory_error_is_a_500(start: Start) -> None:
    server = start("crashing:application", app_dir=APPS)
    worker = server.worker
    assert status(server.address, "/memory") == 500
    assert server.worker == worker


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--fd", "99"), "fd://99"),
        (("--uds", "/no/such/folder/socket"), "/no/such/folder/socket"),
        (("--bind", "127.0.0.1:0", "--pid", "/no/such/folder/pid"), "/no/such/folder/pid"),
    ],
)
def test_what_cannot_be_opened_is_3_and_one_line(options: tuple[str, ...], words: str) -> None:
    ended = run_command(WSGI, "--app-dir", str(APPS), *options)
    assert ended.code == 3
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_second_server_at_the_same_port_is_3_and_the_first_does_not_notice(start: Start) -> None:
    server = start(ASGI, app_dir=APPS)
    host, port = server.address
    ended = run_command(ASGI, "--app-dir", str(APPS), "--bind", f"{host}:{port}", "--workers", "2")
    assert ended.code == 3
    assert "in use" in ended.err
    assert status(server.address) == 200


def test_two_servers_share_a_port_by_choice(start: Start) -> None:
    server = start(ASGI, "--reuse-port", app_dir=APPS)
    host, port = server.address
    other = start(ASGI, "--reuse-port", "--bind", f"{host}:{port}", app_dir=APPS)
    assert other.address == server.address
    assert server.stop().code == 0
    assert status(other.address) == 200


# --- standing still ------------------------------------------------------------------------------


@pytest.mark.timeout(90)
def test_a_worker_that_is_stopped_is_replaced_and_never_serves_again(start: Start) -> None:
    server = start(ASGI, "--timeout-worker", "2", app_dir=APPS)
    worker = server.worker
    os.kill(worker, signal.SIGSTOP)
    try:
        with RawClient(server.address, wait=WITHIN) as raw:
            raw.get("/hello")  # it waits in the backlog, and the successor takes it
            assert raw.read_answer().status == 200
        assert server.err.find(rf"worker 1 \(pid {worker}\) has a loop that stands still since 2 s")
        assert eventually(lambda: not runs(worker), WITHIN)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGCONT)
    assert server.worker != worker
    assert server.stop().code == 0


@pytest.mark.timeout(90)
def test_a_worker_whose_app_holds_the_loop_is_replaced_only_where_it_may_not(start: Start, tmp_path: Path) -> None:
    """A WSGI app on the loop is busy; an ASGI app that holds it stands still."""
    (tmp_path / "holding.py").write_text(
        "import time\n"
        "def wsgi(environ, start_response):\n"
        "    time.sleep(4)\n"
        "    start_response('200 OK', [])\n"
        "    return [b'held']\n"
        "async def asgi(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    time.sleep(60)\n"
    )
    busy = start("holding:wsgi", "--mode", "inline", "--timeout-worker", "1", app_dir=tmp_path)
    stuck = start("holding:asgi", "--timeout-worker", "1", app_dir=tmp_path)
    worker = busy.worker
    with RawClient(busy.address) as long, RawClient(stuck.address) as cut:
        cut.get("/")
        long.get("/")
        assert stuck.err.wait("stands still", WITHIN)
        assert stuck.err.wait(r"worker 2 \(pid \d+\) serves", WITHIN)
        assert stuck.err.find(r"in asgi$")  # where it stood
        assert cut.read_rest() == b""
        assert long.read_answer().body == b"held"
    assert busy.worker == worker
    assert not busy.err.find("stands still")


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.timeout(90)
def test_a_storm_of_signals(start: Start) -> None:
    """During the start, while serving and at the end: one clean state at the end of each."""
    server = ServerProcess(ASGI, "--workers", "2", "--no-access-log", app_dir=APPS)
    try:
        names = ("HUP", "USR1", "CHLD", "TTIN", "TTOU")
        server.started()
        choose = random.Random(7)
        for _ in range(1000 if SECONDS else 300):
            server.signal(getattr(signal, f"SIG{choose.choice(names)}"))
        assert server.err.wait("takes over", WITHIN)
        server.signal(signal.SIGHUP)  # the size is that of the configuration again
        known = len(server.err.find("takes over"))
        assert server.err.wait("takes over", WITHIN, known + 1)
        assert eventually(lambda: len(server.workers) == 2, WITHIN)
        assert status(server.address) == 200
        server.signal(signal.SIGTERM)
        for _ in range(200):
            server.signal(getattr(signal, f"SIG{choose.choice((*names, 'TERM'))}"))
        ended = server.wait()
    finally:
        server.kill()
    assert ended.code == 0
    assert "Traceback" not in ended.err


def test_what_is_in_flight(start: Start) -> None:
    server = start(WSGI, "--mode", "threads", "--workers", "2", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/stuck?secret")
        assert server.err.wait("app: stuck", WITHIN)
        server.signal(signal.SIGUSR2)
        assert len(server.err.wait(r"in flight: \d requests", WITHIN, 2)) == 2
        assert server.err.wait(r"\d\.\d{3} s  GET /stuck  \(no answer yet\)", WITHIN)
        assert server.err.wait("in stuck_here", WITHIN)  # the stack of its thread
    server.signal(signal.SIGQUIT)
    assert server.wait().code == 0


def test_term_with_a_stuck_app(start: Start) -> None:
    server = start(WSGI, "--mode", "threads", "--timeout-graceful", "1", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/stuck")
        assert server.err.wait("app: stuck", WITHIN)
        ended = server.stop(10.0)
    assert ended.code == 0
    assert ended.seconds < 8.0


# --- process 1 -----------------------------------------------------------------------------------

IN_NAMESPACE = """
import os, sys, time
for code in range(50):  # orphans: their parent ends at once, and process 1 inherits them
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.2)
            os._exit(code)
        os._exit(0)
    os.wait()
"""


@pytest.fixture
def first_process() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start something as process 1 of a namespace of its own."""
    unshare = shutil.which("unshare")
    probe = [unshare or "unshare", "--fork", "--pid", "--mount-proc", "true"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("unshare --pid does not work here, and CI needs it")
        pytest.skip("unshare --pid needs rights that are not here")
    begun: list[subprocess.Popen[bytes]] = []

    def run(*command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*probe[:-1], *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_as_process_1(first_process: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """Orphans are waited for and never taken for workers; TERM ends it with 0."""
    path = str(tmp_path / "socket")
    (tmp_path / "orphans.py").write_text(
        "import os, subprocess, sys\n"
        f"ORPHANS = {IN_NAMESPACE!r}\n"
        "def zombies():\n"
        "    found = [open(f'/proc/{each}/stat').read().rpartition(') ')[2].split()[:2]\n"
        "             for each in os.listdir('/proc') if each.isdigit()]\n"
        "    return sum(each == ['Z', '1'] for each in found)\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/orphans':\n"
        "        subprocess.run([sys.executable, '-c', ORPHANS], check=True)\n"
        "    start_response('200 OK', [])\n"
        "    return [f'{zombies()} {os.getppid()}'.encode()]\n"
    )
    server = first_process(
        *(sys.executable, "-m", "bridgeserve", "orphans:app", "--app-dir", str(tmp_path)),
        *("--uds", path, "--mode", "inline"),
    )

    def ask(where: str) -> bytes:
        with RawClient(path, wait=WITHIN) as raw:
            raw.get(where)
            return raw.read_answer().body

    assert eventually(lambda: listens(path), START)
    assert ask("/orphans").endswith(b" 1")  # the parent of the worker is process 1
    assert eventually(lambda: ask("/") == b"0 1", WITHIN)
    [inner] = children(server.pid)
    os.kill(inner, signal.SIGTERM)
    assert server.wait(WITHIN) == 0
    assert server.stdout is not None
    said = server.stdout.read().decode()
    assert "is replaced" not in said
    assert re.search(r"pid 1\)", said)


# --- slow, but well ------------------------------------------------------------------------------


@pytest.mark.skipif(not SECONDS, reason="takes half a minute: TEST_FLEET_SECONDS")
@pytest.mark.timeout(120)
def test_a_supervisor_that_was_stopped_calls_nobody_silent(start: Start) -> None:
    server = start(ASGI, "--workers", "2", "--timeout-worker", "2", "--no-access-log", app_dir=APPS)
    workers = server.workers
    os.kill(server.pid, signal.SIGSTOP)

    async def wake() -> None:
        import asyncio

        await asyncio.sleep(20.0)  # the time that it does not run
        os.kill(server.pid, signal.SIGCONT)
        await asyncio.sleep(5.0)

    tally = Steady(server.address, 4, 4).during(wake)
    assert tally.failed == []
    assert server.workers == workers
