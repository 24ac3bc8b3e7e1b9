"""WSGI by PEP 3333: each sentence that a server can break, in each mode that runs WSGI, with each reader."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.case import Answer, Case, answered
from conformance.check import PATIENCE, check
from conformance.client import Wire
from conformance.conftest import Running, Servers
from conformance.pep3333 import CASES, get, says
from conformance.servers import Combination, of_kind

APP = "pep3333_app:application"
# wsgi.multithread, wsgi.multiprocess, wsgi.run_once: the truth about each mode.
FLAGS = {
    "inline": "[False, False, False]",
    "threads": "[True, False, False]",
    "processes": "[False, True, False]",
}


@pytest.fixture(params=of_kind("wsgi"), ids=lambda combination: combination.name)
def combination(request: pytest.FixtureRequest) -> Combination:
    """Each combination that runs WSGI apps."""
    found: Combination = request.param
    return found


@pytest.fixture
def running(servers: Servers, combination: Combination) -> Iterator[Running]:
    """Its server."""
    yield servers(APP, combination)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name != "a body whose client leaves"], ids=lambda case: case.name
)
def test_pep3333(running: Running, case: Case) -> None:
    check(*running, case)


def test_the_flags_tell_the_truth(running: Running, combination: Combination) -> None:
    why = "wsgi.multithread, wsgi.multiprocess and wsgi.run_once should evaluate true if that is so"
    check(*running, says("/flags", "environ Variables", why, FLAGS[combination.mode]))


def test_the_port_is_a_string(running: Running) -> None:
    port = running[0].address[1]
    why = "SERVER_PORT is a string, like all CGI variables"
    check(*running, says("/port-is-ours", "environ Variables", why, "True", f"X-Port: {port}"))


def test_a_body_whose_client_leaves(running: Running) -> None:
    """PEP 3333: close() must be called after an early disconnect of the browser."""
    server, _ = running
    before = len(server.err.find("closed for a leaver"))
    wire = Wire(server.address, PATIENCE)
    wire.send(get("/closes-for-a-leaver"))
    assert wire.socket.recv(1)
    wire.close()
    assert server.err.wait("closed for a leaver", PATIENCE, before + 1)


def test_each_chunk_is_sent_before_the_next_is_asked_for(running: Running) -> None:
    """PEP 3333 "Buffering and Streaming": a server must transmit the yielded bytestrings in an unbuffered fashion."""
    server, journal = running
    wire = Wire(server.address, PATIENCE)
    wire.send(get("/unbuffered"))
    seen = b""
    while b"first" not in seen:
        seen += wire.socket.recv(65536)
    assert b"too late" not in seen
    check(server, journal, Case("release", "", "", get("/release"), answered(Answer(200, body=b"released"))))
    while not seen.endswith(b"0\r\n\r\n"):
        seen += wire.socket.recv(65536)
    assert b"released" in seen
    wire.close()
