"""ASGI lifespan (specification version 2.0), sentence by sentence, each with a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conformance.case import Answer, Case, answered
from conformance.check import PATIENCE
from conformance.client import play
from conformance.pep3333 import get
from conformance.servers import APPS
from e2e.server import Ended, ServerProcess, run_command

Start = Callable[..., ServerProcess]
BIND = ("--bind", "127.0.0.1:0")


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server with one of the apps."""
    running: list[ServerProcess] = []

    def begin(app: str, *options: str) -> ServerProcess:
        server = ServerProcess(f"lifespans:{app}", "--mode", "inline", *options, app_dir=APPS)
        running.append(server)
        return server.started()

    yield begin
    for server in running:
        server.kill()


def refused(app: str, *options: str) -> Ended:
    """A start that fails."""
    return run_command(f"lifespans:{app}", "--app-dir", str(APPS), "--mode", "inline", *BIND, *options)


def served(server: ServerProcess, text: str) -> None:
    """A request is answered."""
    case = Case("", "", "", (get("/", "Connection: close"),), answered(Answer(200), stays=False))
    observed, _ = play(case, server.address, PATIENCE)
    assert [(answer.status, answer.body) for answer in observed.answers] == [(200, text.encode())]


def said(ended: Ended) -> list[str]:
    """What the app has told."""
    return [line.partition("app: ")[2] for line in ended.err.splitlines() if "app: " in line]


@pytest.mark.parametrize("app", ["raises_for_lifespan", "raises_after_receive", "returns_at_once"])
def test_an_app_that_does_not_know_lifespan_is_served(start: Start, app: str) -> None:
    """If an exception is raised for a scope of type lifespan, the server must continue but not send any events."""
    server = start(app)
    served(server, "served")
    ended = server.stop()
    assert ended.code == 0
    assert "Traceback" not in ended.err


def test_the_order_of_a_life(start: Start) -> None:
    """Startup before any request, shutdown after the last; the state is there for each request."""
    server = start("tells")
    served(server, "at the start")
    ended = server.stop()
    scope = "scope ['asgi', 'state', 'type'] {} 3.0 ['spec_version', 'version']"
    assert said(ended) == [scope, "lifespan.startup", "a request ended", "lifespan.shutdown"]
    assert ended.code == 0


def test_startup_comes_before_the_server_listens(start: Start) -> None:
    """lifespan.startup: sent when ready to start up, but before it has started to accept connections."""
    ended = start("tells").stop()
    lines = ended.err.splitlines()
    startup = next(number for number, line in enumerate(lines) if "lifespan.startup" in line)
    serving = next(number for number, line in enumerate(lines) if "serving on" in line)
    assert startup < serving


def test_a_start_that_fails() -> None:
    """lifespan.startup.failed: the server should log the message and exit."""
    ended = refused("start_fails")
    assert ended.code == 3
    assert "no database today" in ended.err
    assert "serving on" not in ended.err
    assert "Traceback" not in ended.err


def test_a_start_that_fails_without_a_word() -> None:
    """message: optional, if missing an empty string."""
    ended = refused("start_fails_without_a_word")
    assert ended.code == 3
    assert "serving on" not in ended.err


def test_lifespan_that_must_be_there() -> None:
    """--lifespan on: an app without it is an error of the start."""
    ended = refused("raises_for_lifespan", "--lifespan", "on")
    assert ended.code == 3
    assert "only http here" in ended.err


def test_a_stop_that_fails(start: Start) -> None:
    """lifespan.shutdown.failed: the server should log the message and then terminate."""
    ended = start("stop_fails").stop()
    assert "cannot flush" in ended.err


def test_lifespan_off(start: Start) -> None:
    """--lifespan off: no such scope is made."""
    ended = start("raises_for_lifespan", "--lifespan", "off").stop()
    assert said(ended) == []
    assert ended.code == 0
