"""What other servers' advisories are about, sent to ours in each mode. `docs/advisories.md` has the list."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.case import Case
from conformance.check import check
from conformance.client import Wire
from conformance.conftest import Servers
from conformance.servers import ALL, Combination
from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess, eventually
from security.cases import BEHIND, CASES

READ_BY_THE_LANE = [combination for combination in ALL if combination.reader == "auto"]
LEAVERS = 300
UPGRADE = b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("combination", ALL, ids=lambda combination: combination.name)
def test_case(servers: Servers, combination: Combination, case: Case) -> None:
    check(*servers(f"mirror_{combination.kind}:application", combination), case)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(UPGRADE + KEY + b"Content-Length: %d\r\n\r\n" % len(BEHIND) + BEHIND, id="length"),
        pytest.param(
            UPGRADE + KEY + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BEHIND), BEHIND),
            id="chunked",
        ),
    ],
)
@pytest.mark.parametrize("combination", READ_BY_THE_LANE, ids=lambda combination: combination.name)
def test_the_body_of_an_upgrade_is_no_request(servers: Servers, combination: Combination, head: bytes) -> None:
    """Whether the upgrade is followed, ignored or refused."""
    server, journal = servers(f"mirror_{combination.kind}:application", combination)
    journal.news(None)
    with RawClient(server.address) as raw:
        raw.send(head)
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.read_rest()
    assert [record["path"] for record in journal.news(None) if record["path"] != "/a"] == []


@pytest.mark.parametrize("combination", READ_BY_THE_LANE, ids=lambda combination: combination.name)
def test_octets_above_127_in_a_handshake_harm_nobody(servers: Servers, combination: Combination) -> None:
    server, _ = servers(f"mirror_{combination.kind}:application", combination)
    with RawClient(server.address) as raw, RawClient(server.address) as other:
        raw.send(UPGRADE + KEY + b"Sec-WebSocket-Protocol: caf\xc3\xa9\xff\r\n\r\n")
        assert raw.read_answer().status in (101, 200, 400, 403, 500)
        other.get("/after")
        assert other.read_answer().status == 200


def descriptors(server: ServerProcess) -> int:
    """Open descriptors of a server."""
    return len(os.listdir(f"/proc/{server.worker}/fd"))


def ticks(server: ServerProcess) -> float:
    """Seconds of CPU that a server has used (proc(5), stat)."""
    fields = Path(f"/proc/{server.worker}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_clients_that_are_gone_at_once_leave_nothing(start: Callable[..., ServerProcess], loop: str) -> None:
    """Resets before, inside and behind a request: no descriptor stays, and no loop turns for them."""
    server = start("plain_wsgi:application", "--mode", "threads", "--loop", loop, app_dir=APPS)
    with RawClient(server.address) as quiet:
        quiet.get("/hello")
        assert quiet.read_answer().status == 200
        before = descriptors(server)
        for number in range(LEAVERS):
            leaver = Wire(server.address, 10.0)
            leaver.send((b"", b"GET /hello HTTP/1.1\r\nHo", b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")[number % 3])
            leaver.reset()
        assert eventually(lambda: descriptors(server) <= before, 10.0)
        used = ticks(server)
        quiet.socket.settimeout(0.5)  # seconds during which nobody asks for anything
        with pytest.raises(TimeoutError):
            quiet.socket.recv(1)
        quiet.socket.settimeout(10.0)
        assert ticks(server) - used < 0.25
        quiet.get("/hello")
        assert quiet.read_answer().status == 200
