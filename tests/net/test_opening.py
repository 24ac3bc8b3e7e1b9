"""What comes before HTTP, on real sockets: PROXY headers whole, in octets, late, wrong and from strangers."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.binds import parse_bind
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.net.engine import Engine, Protocols
from bridgeserve.net.listeners import Acceptor, open_listeners
from bridgeserve.net.opening import Opening
from bridgeserve.net.proxies import Proxies
from bridgeserve.wire.forwarded import read_names
from bridgeserve.wire.framing import Preamble
from bridgeserve.wire.proxy_protocol import SIGNATURE
from bridgeserve.wire.trust import Trust
from net.clock import until
from net.memory import Application, ok

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
LINE = b"PROXY TCP4 203.0.113.9 198.51.100.2 4711 443\r\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNIX = SIGNATURE + b"\x21\x31\x00\xd8" + b"/run/client".ljust(108, b"\0") + b"/run/front".ljust(108, b"\0")


class House:
    """An engine behind a proxy that speaks PROXY, and a client that is the proxy."""

    def __init__(self, bind: str, allow: str, header: float) -> None:
        self.app = Application(ok)
        protocols = Protocols(Limits(), Timeouts(header=header), "auto", Preamble())
        proxies = Proxies(Trust.parse(allow), read_names("x-forwarded-for"))
        self.engine = Engine(protocols, self.app, (), proxies)  # type: ignore[arg-type]
        [self.listener] = open_listeners((parse_bind(bind),), 16)
        self.acceptor = Acceptor(self.engine, self.listener, None, Opening(self.engine, True))
        self.acceptor.start()
        self.client = socket.socket(self.listener.family)
        self.client.setblocking(False)
        with suppress(BlockingIOError):
            self.client.connect(self.listener.getsockname())

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.client, data)

    async def read(self) -> bytes:
        """What comes until an answer is there or the connection is closed."""
        loop = asyncio.get_running_loop()
        read = b""
        with suppress(ConnectionResetError):
            while not read.endswith(b"hello") and (data := await loop.sock_recv(self.client, 65536)):
                read += data
        return read

    async def close(self) -> None:
        self.client.close()
        self.acceptor.abort()
        self.engine.abort()
        await until(lambda: not self.engine.connections)


def behind(
    test: Callable[[House], Awaitable[Any]], bind: str = "127.0.0.1:0", allow: str = "127.0.0.1", header: float = 10.0
) -> None:
    async def main() -> None:
        house = House(bind, allow, header)
        try:
            await test(house)
        finally:
            await house.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("header", "client", "server"),
    [
        (LINE, ("203.0.113.9", 4711), ("198.51.100.2", 443)),
        (b"PROXY UNKNOWN\r\n", None, None),
        (LOCAL, None, None),
        (UNIX, "unix", ("/run/front", None)),
    ],
)
def test_the_ends_are_those_that_the_proxy_tells(header: bytes, client: object, server: object) -> None:
    async def test(house: House) -> None:
        await house.send(header + GET)
        assert (await house.read()).startswith(b"HTTP/1.1 200 ")
        endpoint = house.app.last.endpoint
        own, peer = house.listener.getsockname(), house.client.getsockname()
        assert endpoint.client == (None if client == "unix" else client or peer)
        assert endpoint.server == (server or own)

    behind(test)


@pytest.mark.parametrize("header", [LINE, LOCAL, UNIX])
def test_a_header_octet_by_octet(header: bytes) -> None:
    async def test(house: House) -> None:
        house.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in header[:40]:
            await house.send(bytes([octet]))
            await asyncio.sleep(0)
        await house.send(header[40:])
        await house.send(GET)
        assert (await house.read()).startswith(b"HTTP/1.1 200 ")

    behind(test)


def test_on_a_unix_socket(tmp_path: Path) -> None:
    async def test(house: House) -> None:
        await house.send(LINE + GET)
        assert (await house.read()).startswith(b"HTTP/1.1 200 ")
        assert house.app.last.endpoint.client == ("203.0.113.9", 4711)

    behind(test, f"unix:{tmp_path}/app.sock", "unix:")


def test_the_client_that_was_told_is_a_peer_like_others() -> None:
    async def test(house: House) -> None:
        await house.send(LINE + GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"))
        await house.read()
        assert house.app.last.endpoint.client == ("203.0.113.9", 4711)

    behind(test)


def test_a_proxy_behind_the_proxy() -> None:
    async def test(house: House) -> None:
        await house.send(LINE + GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"))
        await house.read()
        assert house.app.last.endpoint.client == ("192.0.2.1", 0)

    behind(test, allow="127.0.0.1,203.0.113.0/24")


@pytest.mark.parametrize(
    "octets",
    [
        GET,
        b"PROXY TCP4 nonsense\r\n" + GET,
        b"\x16\x03\x01\x00\x05hello",
        SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12 + GET,
        b"\n",
    ],
)
def test_what_is_no_header_is_closed(octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        await house.send(octets)
        assert await house.read() == b""
        assert not house.app.exchanges

    with caplog.at_level(logging.DEBUG, "bridgeserve"):
        behind(test)
    [record] = [record for record in caplog.records if record.name.startswith("bridgeserve")]
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert "nonsense" not in record.getMessage()


def test_a_stranger_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def test(house: House) -> None:
        await house.send(LINE + GET)
        assert await house.read() == b""
        assert not house.app.exchanges

    behind(test, allow="192.0.2.1")
    assert "--forwarded-allow-ips" in caplog.text


def test_a_header_that_does_not_come_in_time() -> None:
    async def test(house: House) -> None:
        await house.send(LINE[:20])
        assert await house.read() == b""

    behind(test, header=0.1)


def test_a_peer_that_leaves_inside_its_header() -> None:
    async def test(house: House) -> None:
        await house.send(LINE[:20])
        house.client.shutdown(socket.SHUT_WR)
        assert await house.read() == b""

    behind(test)


def test_a_drain_does_not_wait_for_a_header() -> None:
    async def test(house: House) -> None:
        await house.send(LINE[:20])
        await house.acceptor.drain()
        assert await house.read() == b""

    behind(test)
