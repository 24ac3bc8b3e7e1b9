"""Workers that are reloaded, recycled, killed and stopped under load, and what the clients notice of it.

In short, or for `TEST_FLEET_SECONDS` each, on every mode, with each kind of load by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.family import runs
from e2e.raw import RawClient
from e2e.server import APPS, START, ServerProcess, eventually
from e2e.steady import Steady, Tally

Start = Callable[..., ServerProcess]
SECONDS = float(os.environ.get("TEST_FLEET_SECONDS", "0"))
WITHIN = 40.0  # seconds for what takes a moment, on a machine that does other things too
MODES = {
    "inline-asgi": ("plain_asgi:application",),
    "inline-wsgi": ("plain_wsgi:application", "--mode", "inline"),
    "threads": ("plain_wsgi:application", "--mode", "threads", "--threads", "4"),
    "processes": ("plain_wsgi:application", "--mode", "processes", "--processes", "2"),
}
LOADS = {"keep-alive": (16, 0), "single": (0, 16), "both": (8, 8)}
# mode, workers, load
SHORT = [("inline-asgi", 1, "both"), ("threads", 2, "both"), ("processes", 1, "both"), ("inline-wsgi", 1, "both")]
LONG = [(mode, workers, load) for mode in MODES for workers in (1, 2) for load in ("keep-alive", "single")]
CASES = LONG if SECONDS else SHORT


def begin(start: Start, mode: str, workers: int, *options: str) -> ServerProcess:
    app, *more = MODES[mode]
    return start(app, *more, "--workers", str(workers), "--no-access-log", *options, app_dir=APPS)


def tell(tally: Tally, what: str) -> None:
    sys.stdout.write(f"{what}: {tally}\n")  # pytest shows it with -rP


async def wait_for(server: ServerProcess, pattern: str, count: int) -> None:
    found = await asyncio.to_thread(server.err.wait, pattern, WITHIN, count)
    assert len(found) >= count, server.err.text


async def repeatedly(server: ServerProcess, pause: float, times: int, action: Callable[[], None], sign: str) -> int:
    """Do something so many times, or for TEST_FLEET_SECONDS with pauses, and each time wait for its sign in the log, if
    it has one.
    """
    began, count = time.monotonic(), 0
    while count < times or time.monotonic() - began < SECONDS:
        due = time.monotonic() + pause
        action()
        count += 1
        if sign:
            await wait_for(server, sign, count)
        if SECONDS:
            await asyncio.sleep(max(due - time.monotonic(), 0.0))  # the pace
    return count


def whole(server: ServerProcess, workers: int) -> bool:
    return eventually(lambda: len(server.workers) == workers, WITHIN)


# --- reload --------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "workers", "load"), CASES)
def test_reload_loses_nothing(start: Start, mode: str, workers: int, load: str) -> None:
    server = begin(start, mode, workers)
    first = server.workers

    async def reload() -> None:
        count = await repeatedly(server, 3.0, 2, lambda: server.signal(signal.SIGHUP), "takes over")
        sys.stdout.write(f"{count} reloads\n")

    tally = Steady(server.address, *LOADS[load]).during(reload, 240.0)
    tell(tally, f"reload {mode} {workers} {load}")
    assert tally.failed == []
    assert set(tally.statuses) == {200}
    assert whole(server, workers)
    assert not server.workers & first
    assert server.stop().code == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["inline-asgi", "threads"] if SECONDS else ["inline-asgi"])
def test_reloads_in_a_row_with_slow_requests_in_flight(start: Start, mode: str) -> None:
    """Each HUP as soon as the one before has taken over: workers that were just ready are not wanted any more."""
    server = begin(start, mode, 2)

    async def reload() -> None:
        slow = [asyncio.get_running_loop().run_in_executor(None, ask_slowly, server) for _ in range(2)]
        for count in range(1, 21 if SECONDS else 4):
            server.signal(signal.SIGHUP)
            await wait_for(server, "takes over", count)
        assert await asyncio.gather(*slow) == [200, 200]

    tally = Steady(server.address, 8, 8).during(reload, 240.0)
    tell(tally, f"reloads in a row {mode}")
    assert tally.failed == []
    assert whole(server, 2)
    assert server.stop().code == 0


def ask_slowly(server: ServerProcess) -> int:
    with RawClient(server.address, wait=WITHIN) as raw:
        raw.get("/slow")
        return raw.read_answer().status


def test_a_broken_app_changes_nothing_and_the_mended_one_is_served(start: Start, tmp_path: Path) -> None:
    text = (
        "async def app(scope, receive, send):\n"
        "    assert scope['type'] == 'http'\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'1')]})\n"
        "    await send({'type': 'http.response.body', 'body': b'1'})\n"
    )
    file = tmp_path / "deployed.py"
    file.write_text(text)
    server = start("deployed:app", "--no-access-log", app_dir=tmp_path)

    def version() -> bytes:
        with RawClient(server.address) as raw:
            raw.get("/")
            return raw.read_answer().body

    async def deploy() -> None:
        file.write_text("import nothing_of_that_name\n" + text)
        server.signal(signal.SIGHUP)
        await wait_for(server, "RELOAD FAILED, generation 1 goes on: .*nothing_of_that_name", 1)
        assert await asyncio.to_thread(version) == b"1"
        file.write_text("raise SystemExit(0)\n" + text)
        server.signal(signal.SIGHUP)
        await wait_for(server, "RELOAD FAILED", 2)
        assert await asyncio.to_thread(version) == b"1"
        file.write_text(text.replace("b'1'}", "b'2'}"))
        server.signal(signal.SIGHUP)
        await wait_for(server, "takes over", 1)

    tally = Steady(server.address, 4, 4).during(deploy)
    assert tally.failed == []
    assert version() == b"2"
    assert server.err.find("ModuleNotFoundError: No module named 'nothing_of_that_name'")
    assert server.stop().code == 0


def test_a_reload_that_fails_leaves_the_working_directory_too(start: Start, tmp_path: Path) -> None:
    """Releases behind a symbolic link: a worker of the old one that dies is replaced by one of the old one."""
    current = tmp_path / "current"
    text = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"

    def release(name: str, source: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "deployed.py").write_text(source)
        current.unlink(missing_ok=True)
        current.symlink_to(name)

    def version_after_a_death() -> bytes:
        [worker] = server.workers
        os.kill(worker, signal.SIGKILL)
        with RawClient(server.address, wait=WITHIN) as raw:
            raw.get("/", "Connection: close")
            return raw.read_answer().body

    release("first", text % "1")
    server = start("deployed:app", "--chdir", str(current), app_dir=Path())
    release("second", "import nothing_of_that_name\n")
    server.signal(signal.SIGHUP)
    assert server.err.wait("RELOAD FAILED", WITHIN)
    assert version_after_a_death() == b"1"
    release("third", text % "3")
    server.signal(signal.SIGHUP)
    assert server.err.wait("takes over", WITHIN)
    assert whole(server, 1)
    assert version_after_a_death() == b"3"
    assert server.stop().code == 0


def test_a_reload_reads_the_configuration_again(start: Start, tmp_path: Path) -> None:
    """Workers, headers and sockets; a wrong value changes nothing."""
    file, gone, new = tmp_path / "c.toml", tmp_path / "gone", tmp_path / "new"

    def write(workers: int, word: str, *binds: str) -> None:
        file.write_text(f'workers = {workers}\nheader = ["X-Word: {word}"]\nbind = {list(binds)}\n'.replace("'", '"'))

    def word(address: tuple[str, int] | str) -> str:
        with RawClient(address) as raw:
            raw.get("/")
            return raw.read_answer().headers["x-word"]

    write(1, "one", "127.0.0.1:0", f"unix:{gone}")
    server = start("plain_asgi:application", "--config", str(file), app_dir=APPS, bound=True)
    assert word(server.address) == word(str(gone)) == "one"
    file.write_text("workers = 'many'\n")
    server.signal(signal.SIGHUP)
    assert server.err.wait("RELOAD FAILED.*workers", WITHIN)
    write(2, "two", "127.0.0.1:0", f"unix:{tmp_path}/no/such/folder")
    server.signal(signal.SIGHUP)
    assert server.err.wait("RELOAD FAILED.*no/such/folder", WITHIN)
    assert word(server.address) == word(str(gone)) == "one"
    write(2, "three", "127.0.0.1:0", f"unix:{new}?mode=600")
    server.signal(signal.SIGHUP)
    assert server.err.wait("takes over", WITHIN)
    assert eventually(lambda: word(server.address) == "three", WITHIN)  # the port that was picked at the start stays
    assert word(str(new)) == "three"
    assert not gone.exists()
    assert whole(server, 2)
    assert server.stop().code == 0
    assert not new.exists()


def test_the_older_generation_finishes_what_it_has(start: Start) -> None:
    server = begin(start, "inline-asgi", 1)
    with RawClient(server.address) as slow, RawClient(server.address) as idle:
        idle.get("/idle")
        assert not idle.read_answer().closes
        server.signal(signal.SIGHUP)
        slow.get("/slow")
        assert server.err.wait("takes over", WITHIN)
        answer = slow.read_answer()
        assert (answer.status, answer.body) == (200, b"GET /slow 0\n")
        assert idle.ended()
    assert whole(server, 1)


# --- recycling and death -------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "workers", "load"), CASES if SECONDS else [SHORT[0], SHORT[1]])
def test_recycling_loses_nothing(start: Start, mode: str, workers: int, load: str) -> None:
    server = begin(start, mode, workers, "--max-requests", "200", "--max-requests-jitter", "20")
    sign = "gets a successor: max_requests" if mode != "processes" else ""  # there the children are renewed

    async def serve() -> None:
        count = await repeatedly(server, 0.5, 3, lambda: None, sign)
        sys.stdout.write(f"{count} successors\n")

    tally = Steady(server.address, *LOADS[load]).during(serve, 240.0)
    tell(tally, f"max-requests {mode} {workers} {load}")
    assert tally.failed == []
    assert set(tally.statuses) == {200}
    assert server.stop().code == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "workers", "load"), [each for each in CASES if each[1] == 2] if SECONDS else [("inline-asgi", 2, "both")]
)
def test_a_killed_worker_costs_what_was_in_it(start: Start, mode: str, workers: int, load: str) -> None:
    server = begin(start, mode, workers)
    killed = []

    def kill() -> None:
        victim = sorted(server.workers)[len(killed) % len(server.workers)]
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    async def kill_them() -> None:
        await repeatedly(server, 2.0, 2, kill, r"worker \d+ \(pid \d+\) serves")
        assert len(server.err.find(r"has ended \(signal SIGKILL\) and is replaced")) == len(killed)

    tally = Steady(server.address, *LOADS[load]).during(kill_them, 240.0)
    tell(tally, f"{len(killed)} killed {mode} {workers} {load}")
    assert len(tally.failed) <= len(killed) * sum(LOADS[load])  # each client had one request at most in the victim
    assert not any("refused" in each for each in tally.failed)
    assert set(tally.statuses) == {200}
    assert whole(server, workers)
    assert server.stop().code == 0


def test_nobody_else_notices_a_killed_worker(start: Start) -> None:
    """Requests that wait in the other worker are answered, those in the victim end at once, a new worker is there."""
    server = begin(start, "threads", 2)
    held: list[RawClient] = []
    while len(held) < 8:
        held.append(RawClient(server.address))
        held[-1].get("/slow", "Connection: close")
    assert server.err.wait("app: slow", 5.0, 8)
    victim = min(server.workers)
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    ends = [raw.read_rest() for raw in held]
    assert time.monotonic() - began < 10.0
    assert all(end == b"" or end.endswith(b"GET /slow 0\n") for end in ends)  # nothing that only looks whole
    assert eventually(lambda: not runs(victim), WITHIN)
    assert whole(server, 2)
    with RawClient(server.address) as raw:
        raw.get("/")
        assert raw.read_answer().status == 200


@pytest.mark.parametrize("path", ["/segfault", "/abort", "/exit"])
def test_a_worker_that_crashes(start: Start, path: str) -> None:
    server = start("crashing:application", "--mode", "threads", "--workers", "2", app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get(path)
        assert raw.read_rest() == b""
    words = {"/segfault": "signal SIGSEGV", "/abort": "signal SIGABRT", "/exit": "exit code 0"}
    assert server.err.wait(rf"worker \d+ \(pid \d+\) has ended \({words[path]}\)", WITHIN)
    if path != "/exit":
        assert server.err.find("Fatal Python error")  # its last words
    assert whole(server, 2)
    with RawClient(server.address) as raw:
        raw.get("/")
        assert raw.read_answer().status == 200
    assert server.stop().code == 0


def test_a_worker_can_be_told_to_go(start: Start) -> None:
    """TERM to a worker: a successor first."""
    server = begin(start, "inline-asgi", 1)
    old = server.worker

    async def term() -> None:
        os.kill(old, signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: not runs(old), WITHIN)

    tally = Steady(server.address, 4, 4).during(term)
    assert tally.failed == []
    assert server.worker != old


def test_more_and_fewer_workers(start: Start) -> None:
    server = begin(start, "inline-asgi", 1)
    server.signal(signal.SIGTTIN)
    assert whole(server, 2)
    assert server.err.wait("app: lifespan.startup", START, 2)
    server.signal(signal.SIGTTOU)
    assert whole(server, 1)
    server.signal(signal.SIGTTOU)
    assert server.stop().code == 0


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", MODES if SECONDS else ["threads"])
def test_term_under_load_with_two_workers(start: Start, mode: str) -> None:
    """What was begun is answered: whoever is refused or left without an answer came after the end."""
    server = begin(start, mode, 2)

    async def term() -> None:
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait, 15.0)

    steady = Steady(server.address, 8, 8)
    tally = steady.during(term)
    tell(tally, f"TERM {mode}")
    assert [each for each in tally.failed if "refused" not in each.lower() and "Connect call failed" not in each] == []
    assert server.wait().code == 0


@pytest.mark.parametrize("mode", ["inline-asgi", "threads"])
def test_term_with_an_endless_stream(start: Start, mode: str) -> None:
    server = begin(start, mode, 2, "--timeout-graceful", "1")
    with RawClient(server.address) as raw:
        raw.get("/events")
        assert raw.read_head().status == 200
        ended = server.stop(8.0)
    assert ended.code == 0
    assert "were cut" in ended.err
