"""`bridgeserve.run` in a program: its sockets and its signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.raw import RawClient
from e2e.server import APPS, START, Output, environment

OBJECT = "plain_wsgi.application"
NAME = "'plain_wsgi:application', app_dir=sys.path[0]"


@contextmanager
def running(
    app: str, options: str = "", listener: socket.socket | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Output]]:
    """A program that calls run; with `listener` as the socket of a service manager."""
    source = f"import os, sys\nsys.path.insert(0, {str(APPS)!r})\n"
    if listener is not None:
        source += f"os.dup2({listener.fileno()}, 3)\nos.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
    source += f"import bridgeserve, plain_wsgi\nsys.exit(bridgeserve.run({app}, access_log=False{options}))\n"
    given = () if listener is None else (listener.fileno(),)
    program = subprocess.Popen(
        [sys.executable, "-c", source], pass_fds=given, env=environment(), stderr=subprocess.PIPE
    )
    assert program.stderr is not None
    err = Output(program.stderr)
    try:
        yield program, err
    finally:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(START)
        finally:
            program.kill()
            program.wait()
            err.close()


@pytest.mark.parametrize("app", [OBJECT, NAME])
def test_a_socket_of_the_service_manager_is_used(app: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with running(app, listener=listener) as (program, err):
            assert err.wait("serving on", START), err.text
            with RawClient(listener.getsockname(), wait=START) as raw:
                raw.get("/hello", "Connection: close")
                assert raw.read_answer().status == 200
        assert "because a bind is given" not in err.text
    assert program.returncode == 0


def test_signals_to_an_object() -> None:
    with running(OBJECT, ", bind='127.0.0.1:0'") as (program, err):
        assert err.wait("serving on", START), err.text
        program.send_signal(signal.SIGUSR2)
        assert err.wait("in flight: 0 requests", START)
        for number in (signal.SIGTTIN, signal.SIGTTOU):
            program.send_signal(number)
            assert err.wait(f"{number.name}: there are no workers here", START)
        assert program.poll() is None
    assert program.returncode == 0


@pytest.mark.parametrize("app", [OBJECT, NAME])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_as_soon_as_there_is_a_pid_file(app: str, number: signal.Signals, tmp_path: Path) -> None:
    """The file is a pipe: its writer is held between the pid file and the handlers until the signal was sent."""
    path = tmp_path / "pid"
    os.mkfifo(path)
    with running(app, f", bind='127.0.0.1:0', pid={str(path)!r}") as (program, err):
        with open(path, encoding="ascii") as pid:
            program.send_signal(number)
            assert int(pid.read()) == program.pid
        path.unlink()  # nobody waits at its end
        if number == signal.SIGINT:
            assert err.wait("SIGINT: finishing what is in flight", START), err.text
        else:
            assert err.wait("serving on", START), err.text
        assert "Aborted" not in err.text
    assert program.returncode == 0
