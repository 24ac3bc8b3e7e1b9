"""Process mode: children that are killed, crash, hang, are replaced and stopped, and what the others notice of it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bridgeserve
from e2e.common import ALLOWED, Peak, client, download_much, numbered, upload_much
from e2e.crowd import crowd, get, post
from e2e.family import children, runs
from e2e.load import read_answer
from e2e.raw import RawClient
from e2e.server import APPS, MIB, ServerProcess, eventually, run_command

Start = Callable[..., ServerProcess]
APP = "process_wsgi:application"
WITHIN = 10.0  # seconds for what takes a moment
SOON = 1.0  # seconds for what must not wait for a child
KILLS = int(os.environ.get("TEST_KILLS", "10"))
RENEWING = float(os.environ.get("TEST_RENEWING_SECONDS", "3"))
PIECES_100 = 1600  # of 64 KiB
MALFORMED = b"GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n"


class Pool:
    """A server in process mode, and the file that lets go what is held in its children."""

    def __init__(self, start: Start, folder: Path) -> None:
        self._start = start
        self._gate = folder / "let-go"
        self.file = folder / "file"
        self.server: ServerProcess

    def __call__(self, size: int, *options: str, app: str = APP, **more: Any) -> ServerProcess:
        first = self.file.with_name("first")
        env = {"TEST_LET_GO": str(self._gate), "TEST_FILE": str(self.file), "TEST_FIRST": str(first)}
        sized = ("--mode", "processes", "--processes", str(size))
        self.server = self._start(app, *sized, *options, app_dir=APPS, env=env, **more)
        return self.server

    def hold(self, count: int = 1) -> list[RawClient]:
        """So many requests that are in the app, each of which keeps its child."""
        self._gate.unlink(missing_ok=True)
        known = len(self.server.err.find("app: held"))
        clients = [RawClient(self.server.address) for _ in range(count)]
        for raw in clients:
            raw.get("/hold")
        assert len(self.server.err.wait("app: held", WITHIN, known + count)) == known + count
        return clients

    def let_go(self, clients: list[RawClient]) -> set[int]:
        """Let them be answered; the processes that have answered."""
        self._gate.touch()
        answers = [raw.read_answer() for raw in clients]
        assert [answer.status for answer in answers] == [200] * len(clients)
        return {json.loads(answer.body)["pid"] for answer in answers}

    def whole(self, size: int) -> bool:
        """True once there are so many children; each of them has been asked then, at the same time."""
        if not eventually(lambda: len(children(self.server.worker)) == size, WITHIN):
            return False
        return self.let_go(self.hold(size)) == children(self.server.worker)


@pytest.fixture
def pool(start: Start, tmp_path: Path) -> Pool:
    return Pool(start, tmp_path)


def ask(server: ServerProcess, path: str = "/") -> dict[str, Any]:
    """One request on its own connection."""
    with RawClient(server.address) as raw:
        raw.get(path, "Connection: close")
        answer = raw.read_answer()
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.body)
        return found


def status_of(server: ServerProcess, path: str) -> int:
    with RawClient(server.address) as raw:
        raw.get(path)
        return raw.read_answer().status


# --- crashes -------------------------------------------------------------------------------------


def test_children_killed_under_load(pool: Pool) -> None:
    """No kill costs more than the one request that the child had."""
    server = pool(4)
    killed: list[int] = []

    async def kill() -> None:
        while len(killed) < KILLS:
            await asyncio.sleep(0.2)  # the pace of the kills
            if found := children(server.worker):
                os.kill(victim := random.choice(sorted(found)), signal.SIGKILL)
                killed.append(victim)

    requests = (get("/"), get("/work"), get("/pieces"), post("/", 10_000), post("/", 300_000))
    tally = asyncio.run(crowd(server.address, 64, requests, kill))
    sys.stdout.write(f"{len(killed)} kills: {tally}\n")  # pytest shows it with -rP
    assert tally.statuses[200] > 64
    assert tally.failed <= len(killed), tally
    assert set(tally.statuses) <= {200, 502}
    assert tally.lost == []
    assert pool.whole(4)
    assert server.stop().code == 0


def test_a_segfault_in_one_of_a_hundred(pool: Pool) -> None:
    server = pool(2)
    paths = ["/work"] * 100
    paths[37] = "/segfault"

    async def ask_all(mine: list[str]) -> list[int]:
        reader, writer = await asyncio.open_connection(*server.address)
        statuses = []
        for path in mine:
            writer.write(get(path))
            status, closes = await read_answer(reader)
            assert not closes  # a child is gone, not the connection
            statuses.append(status)
        writer.transport.abort()
        return statuses

    async def main() -> list[list[int]]:
        async with asyncio.timeout(WITHIN):
            return await asyncio.gather(*(ask_all(paths[first::10]) for first in range(10)))

    statuses = Counter(itertools.chain.from_iterable(asyncio.run(main())))
    assert statuses == {200: 99, 502: 1}
    assert server.err.wait(r"child \d+ has ended \(signal SIGSEGV\) and is replaced", WITHIN)
    assert server.err.find(r"\[\d+\] Fatal Python error: Segmentation fault")
    assert pool.whole(2)


def test_a_crash_while_it_is_answered_cuts(pool: Pool) -> None:
    server = pool(1)
    with RawClient(server.address) as raw:
        raw.get("/download/100000")
        raw.read_head()
        raw.read_exactly(1000)
        [child] = children(server.worker)
        os.kill(child, signal.SIGKILL)
        assert not raw.read_rest().endswith(b"\r\n0\r\n\r\n")
    assert ask(server)["pid"] != child


@pytest.mark.parametrize(
    ("path", "status", "stays"),
    [("/os-exit", 502, False), ("/sys-exit", 500, True)],
)
def test_ways_out_of_the_app(pool: Pool, path: str, status: int, stays: bool) -> None:
    server = pool(1)
    before = ask(server)["pid"]
    assert status_of(server, path) == status
    assert (ask(server)["pid"] == before) is stays
    assert len(server.err.find("is replaced")) == (not stays)


def test_a_keyboard_interrupt_in_the_app(pool: Pool) -> None:
    """It is an error like any other, and the child goes on."""
    server = pool(1)
    before = ask(server)["pid"]
    assert status_of(server, "/interrupt") == 500
    assert server.err.wait("KeyboardInterrupt", WITHIN)
    assert ask(server)["pid"] == before


def test_a_child_that_breaks_its_sockets(pool: Pool) -> None:
    """The next body that goes over as a file finds no way: 502 for that request, and another child."""
    server = pool(1)
    before = ask(server)["pid"]
    assert ask(server, "/close-sockets")["pid"] == before
    with RawClient(server.address) as raw:
        assert raw.exchange(post("/", 2 * MIB)).status == 502
        answer = raw.exchange(post("/", 2 * MIB))
    assert json.loads(answer.body)["size"] == 2 * MIB
    assert ask(server)["pid"] != before


# --- replacement ---------------------------------------------------------------------------------


def test_max_requests_under_load(pool: Pool) -> None:
    """Children are replaced all the time and nobody notices."""
    server = pool(2, "--max-requests", "50")
    first = children(server.worker)
    seen = set(first)

    async def look() -> None:
        end = time.monotonic() + RENEWING
        while time.monotonic() < end:
            await asyncio.sleep(0.05)
            seen.update(children(server.worker))

    requests = (get("/"), post("/", 10_000), get("/pieces"), get("/work"))
    tally = asyncio.run(crowd(server.address, 16, requests, look))
    sys.stdout.write(f"{len(seen)} children: {tally}\n")
    assert tally.failed == 0, tally
    assert len(seen) > 4
    assert eventually(lambda: len(children(server.worker)) == 2, WITHIN)
    assert not children(server.worker) & first
    assert server.err.find("is replaced") == []


def test_one_child_that_is_replaced_after_each_request(pool: Pool) -> None:
    """A request that comes while the old child ends has the new one at once."""
    server = pool(1, "--max-requests", "1", "--timeout-queue", "5")
    with RawClient(server.address, wait=WITHIN) as raw:
        pids = []
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            raw.get("/")
            answer = raw.read_answer()
            assert answer.status == 200
            pids.append(json.loads(answer.body)["pid"])
    assert len(set(pids)) > 1


def test_a_child_that_does_not_leave(pool: Pool) -> None:
    """A thread of the app keeps the process: its successor works, and it is killed in the end."""
    server = pool(1, "--max-requests", "1", "--timeout-graceful", "1")
    before = ask(server, "/stay")["pid"]
    assert eventually(lambda: ask(server)["pid"] != before, WITHIN)
    assert ask(server)["pid"] != before
    assert eventually(lambda: not runs(before), WITHIN)


# --- while all are busy --------------------------------------------------------------------------


def test_while_every_child_is_busy(pool: Pool) -> None:
    server = pool(2, "--timeout-queue", "0.5")
    with RawClient(server.address) as idle, RawClient(server.address, wait=SOON) as malformed:
        idle.get("/")
        assert not idle.read_answer().closes
        held = pool.hold(2)
        answer = malformed.exchange(MALFORMED)
        assert (answer.status, answer.closes) == (400, True)
        with RawClient(server.address, wait=WITHIN) as waiting:
            waiting.get("/")
            refused = waiting.read_answer()
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
        pool.let_go(held)
        idle.get("/")  # it is still there
        assert idle.read_answer().status == 200


def test_a_client_that_leaves_is_told_to_the_app(pool: Pool) -> None:
    server = pool(1)
    with RawClient(server.address) as raw:
        raw.get("/watch")
        assert server.err.wait("app: watching", WITHIN)
    assert server.err.wait("app: gone True", WITHIN)
    ask(server)


def test_a_file_is_sent_while_its_child_works(pool: Pool) -> None:
    size = 512
    with pool.file.open("wb") as file:
        for number in range(size):
            file.write(numbered(number))
    wanted = hashlib.sha256(pool.file.read_bytes()).digest()
    server = pool(1)
    with RawClient(server.address) as raw:
        raw.get("/file")
        length = int(raw.read_head().headers["content-length"])
        assert length == pool.file.stat().st_size
        before = ask(server)["pid"]  # the only child answers while we do not read
        digest = hashlib.sha256()
        for _ in range(length // MIB):
            digest.update(raw.read_exactly(MIB))
        assert digest.digest() == wanted
        raw.get("/")
        assert json.loads(raw.read_answer().body)["pid"] == before


def test_what_the_app_is_told(pool: Pool) -> None:
    server = pool(1)
    with RawClient(server.address) as raw:
        raw.get("/facts")
        facts = json.loads(raw.read_answer().body)
        host, port = raw.socket.getsockname()
    assert facts == {
        "wsgi.multiprocess": True,
        "wsgi.multithread": False,
        "REMOTE_ADDR": host,
        "REMOTE_PORT": str(port),
        "SERVER_NAME": server.address[0],
        "SERVER_PORT": str(server.address[1]),
    }


# --- the end -------------------------------------------------------------------------------------


def test_children_die_with_their_engine(pool: Pool) -> None:
    """One is idle, one is inside a Python loop that never ends."""
    server = pool(2)
    with RawClient(server.address) as raw:
        raw.get("/spin")
        assert server.err.wait("app: spinning", WITHIN)
        found = children(server.worker)
        assert len(found) == 2
        os.kill(server.worker, signal.SIGKILL)
        assert eventually(lambda: not any(map(runs, found)), WITHIN)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group(pool: Pool, number: signal.Signals) -> None:
    """As a terminal or a service manager sends it: the request in flight is finished."""
    server = pool(2, start_new_session=True)
    held = pool.hold()
    found = children(server.worker)
    os.killpg(server.pid, number)
    assert server.err.wait(number.name, WITHIN)
    assert pool.let_go(held) <= found
    ended = server.wait()
    assert ended.code == 0
    assert "Traceback" not in ended.err
    assert not any(map(runs, found))


def left_behind(server: ServerProcess) -> Iterator[int]:
    for match in server.err.find(r"app: left (\d+)"):
        yield int(match[1])


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_grandchild_does_not_hold_the_end_up(pool: Pool, loop: str) -> None:
    """It has the pipes of its parent, which are never closed while it lives."""
    server = pool(1, "--loop", loop)
    try:
        with RawClient(server.address, wait=WITHIN) as raw:
            raw.get("/leave-behind")
            assert raw.read_answer().status == 200
            raw.socket.settimeout(SOON)
            raw.get("/crash-and-leave")
            assert raw.read_answer().status == 502
            raw.socket.settimeout(WITHIN)
            raw.get("/")
            assert raw.read_answer().status == 200
        ended = server.stop(5.0)
        assert ended.code == 0
    finally:
        for pid in left_behind(server):
            os.kill(pid, signal.SIGKILL)


# --- output --------------------------------------------------------------------------------------


def test_output_arrives_whole(pool: Pool) -> None:
    server = pool(1)
    pid = ask(server, "/speak")["pid"]
    for word, letter, level in (("out", "o", "info"), ("err", "e", "error")):
        line = rf"{level}\s.*\[{pid}\] {word} (\d+) {letter}{{200}}$"
        assert [int(match[1]) for match in server.err.wait(line, WITHIN, 300)] == list(range(300))
        assert server.err.wait(rf"{level}\s.*\[{pid}\] raw {word}$", WITHIN)
    assert "out 0" not in server.out.text  # it belongs to the access log alone


def test_the_last_words_of_a_crash(pool: Pool) -> None:
    server = pool(1)
    assert status_of(server, "/last-words") == 502
    assert server.err.wait(r"\[\d+\] last words without an end of line$", WITHIN)


# --- start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("raising:app", ["in configure", "LookupError: the colour of the bicycle shed is not set", "bridgeserve: "]),
        ("plain_asgi:application", ["ASGI", "--mode inline"]),
    ],
)
def test_apps_that_cannot_start(app: str, words: list[str]) -> None:
    options = ("--app-dir", str(APPS), "--bind", "127.0.0.1:0", "--mode", "processes", "--processes", "2")
    ended = run_command(app, *options)
    assert ended.code == 3
    assert [word for word in words if word not in ended.err] == []


def test_a_child_that_dies_before_the_others_are_ready(pool: Pool) -> None:
    server = pool(2, app="dying:application")
    assert pool.whole(2)
    assert server.stop().code == 0


def test_an_app_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        return []

    async def enter() -> None:
        async with bridgeserve.Server(app, mode="processes", bind="127.0.0.1:0"):
            pass

    with pytest.raises(bridgeserve.StartupError, match=r"'module:attribute'.*or use mode threads"):
        asyncio.run(enter())
    assert bridgeserve.run(app, mode="processes", bind="127.0.0.1:0") == 3
    assert "'module:attribute'" in capsys.readouterr().err


# --- large bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_100_mb_up_and_down(pool: Pool, buffering: str) -> None:
    server = pool(2, "--request-buffering", buffering)
    for chunked in (False, True):
        peak = upload_much(server, "/", chunked=chunked, count=PIECES_100)
        assert peak.rise < ALLOWED, f"up, chunked {chunked}: {peak}"
    if buffering == "on":
        peak = download_much(server, "/download/{}", "/", count=PIECES_100)
        assert peak.rise < ALLOWED, f"down: {peak}"


def test_100_mb_file_down(pool: Pool) -> None:
    with pool.file.open("wb") as file:
        for number in range(PIECES_100):
            file.write(numbered(number))
    server = pool(1)
    size = 0
    with client(server) as http:
        assert http.get("/").status_code == 200
        with Peak(server) as peak, http.stream("GET", "/file") as answer:
            for piece in answer.iter_raw(MIB):
                size += len(piece)
    assert size == pool.file.stat().st_size
    assert peak.rise < ALLOWED, peak


def test_no_room_for_a_body(pool: Pool) -> None:
    """Files of the engine may not grow, as on a full disk: 507 for what has to be stored, and nothing else."""
    server = pool(1)
    before = ask(server)["pid"]
    resource.prlimit(server.worker, resource.RLIMIT_FSIZE, (MIB, MIB))
    with RawClient(server.address) as other:
        with RawClient(server.address) as raw:
            assert raw.exchange(post("/", 3 * MIB)).status == 507
        assert json.loads(other.exchange(post("/", 100_000)).body) == {"pid": before, "size": 100_000}
    assert server.err.wait("a request body cannot be stored", WITHIN)
    assert server.err.find("is replaced") == []
