"""What systemd asks of a service, with a socket in its place: readiness, reload, watchdog, inherited sockets."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.raw import RawClient
from e2e.server import APPS, START, ServerProcess, environment, eventually

Start = Callable[..., ServerProcess]
ASGI = "plain_asgi:application"
WITHIN = 40.0  # seconds for what takes a moment, on a machine that does other things too


class Manager:
    """The socket of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._socket.recv(4096):
            self.heard.append(data.decode())

    def hears(self, text: str, count: int = 1) -> bool:
        return eventually(lambda: sum(text in each for each in self.heard) >= count, WITHIN)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.path)
        self._thread.join()
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def states(manager: Manager) -> list[str]:
    return [each.split("\n")[0] for each in manager.heard if not each.startswith(("STATUS", "WATCHDOG"))]


def test_readiness_and_reload(start: Start, manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
    server = start(ASGI, "--workers", "2", app_dir=APPS, env=env)
    assert manager.hears("READY=1")
    assert manager.hears("STATUS=serving: 2 of 2 workers serve, generation 1")
    assert manager.hears("WATCHDOG=1", 3)
    server.signal(signal.SIGHUP)
    assert manager.hears("MONOTONIC_USEC=")
    assert manager.hears("READY=1", 2)
    assert manager.hears("2 of 2 workers serve, generation 2")
    assert server.stop().code == 0
    assert manager.hears("STOPPING=1")
    assert states(manager) == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_a_reload_that_fails_is_ready_again(start: Start, manager: Manager, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("workers = 1\n")
    server = start(ASGI, "--config", str(file), app_dir=APPS, env={"NOTIFY_SOCKET": manager.path})
    file.write_text("workers = 0\n")
    server.signal(signal.SIGHUP)
    assert manager.hears("READY=1", 2)
    assert states(manager) == ["READY=1", "RELOADING=1", "READY=1"]


def test_it_is_not_ready_before_the_app(manager: Manager) -> None:
    server = ServerProcess("hanging:at_start", app_dir=APPS, env={"NOTIFY_SOCKET": manager.path})
    try:
        assert server.err.wait("app: hanging", START)
        server.signal(signal.SIGTERM)
        assert server.wait().code == 0
    finally:
        server.kill()
    assert states(manager) == ["STOPPING=1"]


def test_what_is_for_us_is_not_for_the_app(start: Start, manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "environ.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [' '.join(sorted(os.environ)).encode()]\n"
    )
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000", "MINE": "yes"}
    server = start("environ:app", app_dir=tmp_path, env=env)
    with RawClient(server.address) as raw:
        raw.get("/")
        names = raw.read_answer().body.split()
    assert b"MINE" in names
    assert not {b"NOTIFY_SOCKET", b"WATCHDOG_USEC"} & set(names)


# As systemd does it: the sockets from 3 on, LISTEN_PID the process itself.
ACTIVATE = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'bridgeserve', *sys.argv[2:]])\n"
)


def activated(listener: socket.socket, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", ACTIVATE, str(listener.fileno()), ASGI, "--app-dir", str(APPS), *options],
        pass_fds=(listener.fileno(),),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def end(server: subprocess.Popen[bytes]) -> None:
    """End it whatever it does; harmless when it has ended."""
    server.kill()
    server.wait()
    assert server.stderr is not None
    server.stderr.close()


def test_sockets_from_the_service_manager_live_on_over_a_restart() -> None:
    """A client that comes between two servers waits and is served: nobody is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        for _ in range(2):
            with RawClient(address, wait=WITHIN) as early:  # nobody is there yet
                early.get("/hello", "Connection: close")
                server = activated(listener, "--workers", "2")
                try:
                    answer = early.read_answer()
                    assert (answer.status, answer.body) == (200, b"GET /hello 0\n")
                    server.send_signal(signal.SIGTERM)
                    server.communicate(timeout=WITHIN)
                finally:
                    end(server)
            assert server.returncode == 0


def test_a_bind_that_is_given_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = activated(listener, "--bind", "127.0.0.1:0")
        try:
            assert server.stderr is not None
            first = server.stderr.readline() + server.stderr.readline()
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=WITHIN)
        finally:
            end(server)
    assert b"LISTEN_FDS that are not used" in first
    assert server.returncode == 0


def test_a_wrong_number_is_3() -> None:
    env = environment({"LISTEN_FDS": "many"})
    command = f"import os, sys\nos.environ['LISTEN_PID'] = str(os.getpid())\n{ACTIVATE.splitlines()[-1]}\n"
    ended = subprocess.run(
        [sys.executable, "-c", command, "-", ASGI, "--app-dir", str(APPS)],
        env=env,
        capture_output=True,
        timeout=WITHIN,
        check=False,
    )
    assert ended.returncode == 3
    assert b"LISTEN_FDS" in ended.stderr
