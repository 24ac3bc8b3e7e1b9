"""An app that holds the loop up: what has come meanwhile was in time, however late it is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.raw import RawClient
from e2e.server import ServerProcess
from faults.census import Census, ask, unharmed

TIMES = ("--timeout-header", "0.6", "--timeout-keep-alive", "0.6", "--timeout-body", "0.6")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_requests_that_come_while_the_loop_is_held_up(begin: Callable[..., ServerProcess], loop: str) -> None:
    """All their deadlines have passed when it turns again. Some have connected in the turn that was held up: their time
    began to run when it did.
    """
    server = begin("inline-wsgi", "--loop", loop, *TIMES)
    ask(server)
    before = Census.of(server)
    idle, head, body = (
        [RawClient(server.address) for _ in range(5)],
        RawClient(server.address),
        RawClient(server.address),
    )
    for raw in idle:
        raw.get("/hello")
        assert raw.read_answer().status == 200
    head.send(b"GET /hello HTTP/1.1\r\n")
    body.send(b"POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhello")
    with RawClient(server.address) as first, RawClient(server.address) as busy:
        busy.get("/hello")
        assert busy.read_answer().status == 200
        first.get("/sleep/0.5")
        busy.get("/sleep/1.5")
        fresh = [RawClient(server.address) for _ in range(5)]
        for raw in (*idle, *fresh):
            raw.get("/hello")
        head.send(b"Host: t\r\n\r\n")
        body.send(b"hello")
        assert busy.read_answer().status == 200
    for raw in (*idle, *fresh, head):
        assert raw.read_answer().body == b"/hello 0\n"
    assert body.read_answer().body == b"/up 10\n"
    for raw in (*idle, *fresh, head, body):
        raw.close()
    unharmed(server, before)
    with RawClient(server.address) as raw:  # who is silent still has his end
        raw.send(b"GET /hello HTTP/1.1\r\n")
        assert raw.read_answer().status == 408
