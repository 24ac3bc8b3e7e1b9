"""What an idle connection costs."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator

import pytest

from e2e.server import APPS, ServerProcess

WARM = 200
IDLE = 2000
EACH = 4096  # octets
REQUEST = b"GET /idle HTTP/1.1\r\nHost: test\r\nAccept: */*\r\nUser-Agent: idle\r\n\r\n"


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for the sockets, here and in servers started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = WARM + IDLE + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.fail(f"this test needs {needed} descriptors and the hard limit is {hard}: raise it (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(server: ServerProcess, into: list[socket.socket], count: int) -> None:
    """Open connections, each of which makes one request and then is quiet."""
    for _ in range(count):
        into.append(raw := socket.create_connection(server.address, 10.0))
        raw.sendall(REQUEST)
        answer = b""
        while b"GET /idle 0\n" not in answer:
            more = raw.recv(4096)
            assert more, answer
            answer += more


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize(
    "app",
    [
        pytest.param(("plain_wsgi:application", "--mode", "threads"), id="threads"),
        pytest.param(("plain_wsgi:application", "--mode", "processes", "--processes", "2"), id="processes"),
        pytest.param(("plain_wsgi:application", "--mode", "inline"), id="inline-wsgi"),
        pytest.param(("plain_asgi:application", "--mode", "inline"), id="inline-asgi"),
    ],
)
def test_2000_idle_connections(start: Callable[..., ServerProcess], app: tuple[str, ...]) -> None:
    server = start(*app, app_dir=APPS)
    clients: list[socket.socket] = []
    try:
        connect(server, clients, WARM)
        before = server.memory()
        connect(server, clients, IDLE)
        each = (server.memory() - before) / IDLE
        assert each < EACH, f"{each:.0f} octets for each idle connection"
        connect(server, clients, 1)
        clients[0].sendall(REQUEST)
        assert clients[0].recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        for raw in clients:
            raw.close()
    ended = server.stop()
    assert ended.code == 0


def test_out_of_descriptors(start: Callable[..., ServerProcess]) -> None:
    """Connections beyond the limit of the process wait, cost no time, and are served as others go."""
    server = start("plain_wsgi:application", "--threads", "2", app_dir=APPS)
    resource.prlimit(server.worker, resource.RLIMIT_NOFILE, (64, 64))
    clients: list[socket.socket] = []
    try:
        for _ in range(100):
            clients.append(raw := socket.create_connection(server.address, 10.0))
            raw.sendall(REQUEST)
        assert server.err.wait("cannot accept", 5.0)
        for raw in clients:
            assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
            raw.close()
    finally:
        for raw in clients:
            raw.close()
    assert server.stop().code == 0
    assert len(server.err.find("cannot accept")) < 100  # it waits between two attempts
