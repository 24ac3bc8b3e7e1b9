"""ASGI by its specification: each sentence that a server can break, in each mode that runs ASGI, with each reader."""

from __future__ import annotations

import pytest

from conformance.asgi3 import CASES
from conformance.case import Case
from conformance.check import PATIENCE, check
from conformance.client import Wire
from conformance.conftest import Running, Servers
from conformance.pep3333 import get
from conformance.servers import Combination, of_kind


@pytest.fixture(params=of_kind("asgi"), ids=lambda combination: combination.name)
def running(servers: Servers, request: pytest.FixtureRequest) -> Running:
    """The server of each combination that runs ASGI apps."""
    combination: Combination = request.param
    return servers("asgi3_app:application", combination)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_asgi(running: Running, case: Case) -> None:
    check(*running, case)


def test_a_client_that_leaves(running: Running) -> None:
    """ASGI: http.disconnect is received, and send raises a subclass of OSError (since version 2.4)."""
    server, _ = running
    words = ("the client: http.disconnect", "send raised OSError")
    before = [len(server.err.find(word)) for word in words]
    wire = Wire(server.address, PATIENCE)
    wire.send(get("/waits-for-the-client"))
    assert wire.socket.recv(1)
    wire.reset()
    for word, count in zip(words, before, strict=True):
        assert server.err.wait(word, PATIENCE, count + 1), word
