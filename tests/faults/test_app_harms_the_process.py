"""An app that forks, closes descriptors that are not its own, or takes all there are."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.family import children, runs
from e2e.raw import RawClient
from e2e.server import ServerProcess, eventually
from faults.census import MODES, WITHIN, Census, ask, unharmed

Begin = Callable[..., ServerProcess]
ALL = pytest.mark.parametrize("mode", list(MODES))


# --- forks ---------------------------------------------------------------------------------------


def forked(server: ServerProcess) -> list[int]:
    """Processes that the app has forked."""
    return [int(match[1]) for match in server.err.find(r"app: forked (\d+)")]


@pytest.fixture
def nobody_left(begin: Begin) -> Iterator[Callable[[ServerProcess], None]]:
    """End what the app has left behind."""
    servers: list[ServerProcess] = []
    yield servers.append
    for server in servers:
        for pid in forked(server):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


def sockets(pid: int) -> set[str]:
    """The sockets that a process has open, by their inode."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        name = os.readlink(entry)
        if name.startswith("socket:"):
            found.add(name)
    return found


def tcp(*ports: int) -> set[str]:
    """The sockets of these local ports, by their inode (proc(5), /proc/net/tcp)."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return {f"socket:[{line[9]}]" for line in lines if int(line[1].rpartition(":")[2], 16) in ports}


@ALL
def test_a_forked_process_holds_no_socket_of_ours(
    begin: Begin, nobody_left: Callable[[ServerProcess], None], mode: str
) -> None:
    """Clients see the end of their connections, and the port is free, while it lives on."""
    server = begin(mode)
    nobody_left(server)
    with RawClient(server.address) as idle:
        idle.get("/hello")
        assert idle.read_answer().status == 200
        with RawClient(server.address) as raw:
            raw.get("/fork-and-stay", "Connection: close")
            assert raw.read_answer().status == 200
            assert raw.ended()
        assert server.err.wait(r"app: forked \d+", WITHIN)
        [pid] = forked(server)
        assert runs(pid)
        # The app speaks before its copy has done anything.
        assert eventually(lambda: not sockets(pid) & tcp(server.address[1]), WITHIN)
        idle.get("/hello")
        assert idle.read_answer().status == 200
        server.signal(signal.SIGTERM)
        assert idle.ended()
    assert eventually(lambda: not runs(server.pid), WITHIN)
    assert runs(pid)
    with pytest.raises(ConnectionRefusedError):
        RawClient(server.address)
    os.kill(pid, signal.SIGKILL)  # it holds the server's outputs
    assert server.wait().code == 0


@ALL
def test_a_forked_process_that_comes_back_does_not_serve(
    begin: Begin, nobody_left: Callable[[ServerProcess], None], mode: str
) -> None:
    """One answer, and the copy ends."""
    server = begin(mode)
    nobody_left(server)
    before = {pid: sockets(pid) for pid in children(server.worker)}
    for count in range(1, 4):
        with RawClient(server.address) as raw:
            raw.get("/fork-and-return")
            assert raw.read_answer().body == b"/fork-and-return 0\n"
            raw.get("/hello")
            assert raw.read_answer().body == b"/hello 0\n"
        assert len(server.err.wait(r"app: forked \d+", WITHIN, count)) == count
    assert eventually(lambda: not any(map(runs, forked(server))), WITHIN)
    assert set(before) == children(server.worker) - set(forked(server))
    assert ask(server) == b"/hello 0\n"
    ended = server.stop()
    assert ended.code == 0
    assert "is replaced" not in ended.err


@ALL
def test_a_signal_for_a_forked_process_is_not_for_us(begin: Begin, mode: str) -> None:
    """`terminate()` of multiprocessing ends the copy at once, and does not stop the server."""
    server = begin(mode)
    for _ in range(3):
        assert ask(server, "/fork-and-terminate") == b"/fork-and-terminate 0\n"
    assert not server.err.find("SIGTERM")
    assert server.stop().code == 0


def test_children_hold_no_socket_of_a_client(begin: Begin) -> None:
    """Also those that are started while clients are there."""
    server = begin("processes")
    clients = [RawClient(server.address) for _ in range(20)]
    for raw in clients:
        raw.get("/hello")
        assert raw.read_answer().status == 200
    first = children(server.worker)
    os.kill(min(first), signal.SIGKILL)
    assert eventually(lambda: len(children(server.worker)) == 2 and children(server.worker) != first, WITHIN)
    ours = tcp(server.address[1])
    assert len(ours) > 20
    for pid in children(server.worker):
        assert not sockets(pid) & ours


# --- descriptors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inline-asgi", "inline-wsgi", "threads"])
def test_an_app_that_closes_0_1_and_2(begin: Begin, mode: str) -> None:
    """The log is lost, as it has no place; what the app prints goes to no client."""
    server = begin(mode)
    assert ask(server, "/close-standard") == b"/close-standard 0\n"
    clients = [RawClient(server.address) for _ in range(8)]
    for raw in clients:
        raw.get("/speak")
        assert raw.read_answer().body == b"/speak 0\n"
    for raw in clients:
        raw.get("/hello", "Connection: close")
        assert raw.read_answer().body == b"/hello 0\n"
        assert raw.ended()
        raw.close()
    for _ in range(3):
        with RawClient(server.address) as raw:
            raw.get("/raise/call/RuntimeError")
            assert raw.read_answer().status == 500
    server.signal(signal.SIGTERM)
    assert server.wait().code == 0


@ALL
def test_an_app_that_closes_the_streams_of_python(begin: Begin, mode: str) -> None:
    server = begin(mode)
    for _ in range(3):
        assert ask(server, "/hello") == b"/hello 0\n"
    assert ask(server, "/close-streams") == b"/close-streams 0\n"
    for _ in range(4):
        with RawClient(server.address) as raw:
            raw.get("/raise/call/RuntimeError")
            assert raw.read_answer().status == 500
    assert ask(server) == b"/hello 0\n"
    assert server.stop().code == 0


@ALL
def test_an_app_that_opens_all_there_are(begin: Begin, mode: str) -> None:
    """EMFILE in the app is its own affair; connections that come meanwhile wait."""
    server = begin(mode)
    for pid in (server.worker, *children(server.worker)):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
    for _ in range(4):
        ask(server)
    before = Census.of(server)
    for _ in range(5):
        assert ask(server, "/open-many") == b"/open-many 0\n"
    assert server.err.wait("app: errno 24 after", WITHIN)
    unharmed(server, before)
    assert server.stop().code == 0


@ALL
def test_connections_beyond_the_limit_of_descriptors(begin: Begin, mode: str) -> None:
    """They wait in the backlog, cost no time and one line a second, and are served as others go."""
    server = begin(mode, "--no-access-log")
    for _ in range(4):
        ask(server)
    before = Census.of(server)
    resource.prlimit(server.worker, resource.RLIMIT_NOFILE, (64, 64))
    clients = [RawClient(server.address, wait=WITHIN) for _ in range(100)]
    for raw in clients:
        raw.get("/hello")
    assert server.err.wait("cannot accept connections", WITHIN)
    used = cpu(server)
    for raw in clients:  # they go one by one, and each leaves room for one that waits
        assert raw.read_answer().body == b"/hello 0\n"
        raw.close()
    assert cpu(server) - used < 2.0
    unharmed(server, before)
    ended = server.stop()
    assert ended.code == 0
    assert len(server.err.find("cannot accept")) < 12


def cpu(server: ServerProcess) -> float:
    """Seconds of the processor that a server has used."""
    facts = Path(f"/proc/{server.worker}/stat").read_text("ascii").rpartition(") ")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")
