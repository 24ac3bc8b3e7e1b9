"""Peers that do not keep to TLS: each is ended in time, the others are served, and the log has no exception."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridgeserve.binds import parse_bind
from bridgeserve.net.handshakes import STALLED, Handshakes
from bridgeserve.net.listeners import Acceptor, open_listeners
from net.authority import Authority
from net.clock import run_virtual, turns, until
from net.memory import begin, ok
from net.test_tls import GET, Run, ask, house, leave, run, tls_of

__all__ = ["run"]  # the fixture


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(autouse=True)
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No fault of a client's is an exception or an error of ours."""
    with caplog.at_level(logging.DEBUG):
        yield
    bad = [record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]
    assert not bad


async def rest(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return await reader.read()
    return b""


def hello_of(context: ssl.SSLContext) -> bytes:
    """The octets of a ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("octets", [0, 1, 100])
def test_a_stall_in_the_handshake(authority: Authority, octets: int, run: Run) -> None:
    hello = hello_of(authority.client())

    async def main() -> None:
        async with house(tls_of(authority.pair("server")), handshake=0.3) as here:
            reader, writer = await here.plain()
            writer.write(hello[:octets])
            other = await here.secure(authority.client())
            await ask(*other)  # nobody waits for the one that stalls
            assert await rest(reader) == b""
            assert len(here.engine.connections) == 1
            await leave(other[1])
            await leave(writer)

    run(main)


@pytest.mark.parametrize("request_", [GET, GET[:1], b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"])
def test_http_without_tls(authority: Authority, request_: bytes, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            reader, writer = await here.plain()
            writer.write(request_)
            answer = await rest(reader)
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert b"\r\nconnection: close\r\n" in answer
            assert answer.endswith(b"\r\n\r\nThis port speaks TLS: use https.\n")
            writer.close()
            await until(lambda: not here.acceptor._making)
            assert not here.engine.connections

    run(main)


@pytest.mark.parametrize(
    "octets",
    [
        b"\0",
        b"\xff" * 100,
        b"\x16" + b"\xff" * 100,
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + b"\0" * 100,
        b"\x80\x2e\x01\x00\x02",  # SSL 2
        b"\x15\x03\x01\x00\x02\x02\x28",  # an alert first
        b"\x16\x03\x03\x00\x00" * 20,  # empty records
    ],
)
def test_records_that_are_none(authority: Authority, octets: bytes, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server")), handshake=0.5) as here:
            reader, writer = await here.plain()
            writer.write(octets)
            assert b"HTTP" not in await rest(reader)
            await leave(writer)
            await until(lambda: not here.acceptor._making)
            assert not here.engine.connections
            assert not here.app.exchanges

    run(main)


def test_a_bad_record_after_the_handshake(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            reader, writer = await here.secure(authority.client())
            await ask(reader, writer)
            raw = writer.get_extra_info("socket")
            descriptor = socket.socket(fileno=socket.dup(raw.fileno()))
            descriptor.setblocking(False)
            descriptor.send(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
            descriptor.close()
            await until(lambda: not here.engine.connections)
            await leave(writer)

    run(main)


def greet(port: int, context: ssl.SSLContext) -> tuple[ssl.SSLSocket, socket.socket]:
    """(a thread) A client that has asked, and a second descriptor of its socket for octets that are no TLS."""
    raw = socket.create_connection(("127.0.0.1", port), 20.0)
    past = raw.dup()
    client = context.wrap_socket(raw, server_hostname="localhost")
    client.sendall(GET)
    return client, past


def test_a_bad_record_of_a_client_that_does_not_read(authority: Authority, run: Run) -> None:
    """Below the high-water mark nobody watches what is unsent; its end is that of the alert behind it."""

    async def main() -> None:
        async with house(tls_of(authority.pair("server")), linger=0.2) as here:
            here.app._answer = None
            client, past = await asyncio.to_thread(greet, here.port, authority.client())
            with client, past:
                await until(lambda: here.app.exchanges)
                exchange = here.app.last
                begin(exchange)
                stuck = False
                while not stuck:
                    exchange.write(b"x" * 8192)
                    await turns(200)
                    stuck = exchange.connection.transport.get_write_buffer_size() > 0
                assert exchange.writable
                past.send(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
                async with asyncio.timeout(10.0):
                    await until(lambda: not here.engine.connections)
                assert exchange.lost

    run(main)


def test_a_close_without_close_notify(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            here.app._answer = None  # the request is in flight when the client leaves
            _, writer = await here.secure(authority.client())
            writer.write(GET)
            await until(lambda: here.app.exchanges)
            writer.transport.abort()
            await until(lambda: not here.engine.connections)
            assert here.app.last.lost
            await leave(writer)

    run(main)


def test_a_clean_close_with_a_request_in_flight(authority: Authority, run: Run) -> None:
    """The app is told, and its answer may still be read, as without TLS."""

    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            here.app._answer = None
            _, writer = await here.secure(authority.client())
            writer.write(GET)
            await until(lambda: here.app.exchanges)
            told: list[object] = []
            here.app.last.on_disconnect = told.append
            writer.close()  # asyncio's client sends close_notify and waits for ours
            await until(lambda: told)
            assert not here.app.last.lost
            await leave(writer)  # the socket ends too, which is no news
            await turns(100)
            assert len(told) == 1
            ok(here.app.last)
            await until(lambda: not here.engine.connections)

    run(main)


def test_an_answer_to_a_client_that_has_closed_its_side(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            here.app._answer = None
            _, writer = await here.secure(authority.client())
            writer.write(GET)
            await until(lambda: here.app.exchanges)
            writer.close()
            await until(lambda: here.app.last.disconnected)
            ok(here.app.last)
            with contextlib.suppress(ssl.SSLError):  # it does not like what comes after its close_notify
                await writer.wait_closed()
            await until(lambda: not here.engine.connections)

    run(main)


def test_a_client_that_does_not_answer_our_close(authority: Authority, run: Run) -> None:
    close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    async def main() -> None:
        async with house(tls_of(authority.pair("server")), linger=0.3) as here:
            _, writer = await here.secure(authority.client())
            writer.transport.pause_reading()  # it never sees our close_notify
            writer.write(close)
            await until(lambda: here.app.exchanges)
            await until(lambda: not here.engine.connections)
            await leave(writer)

    run(main)


def test_records_of_one_octet(authority: Authority, run: Run) -> None:
    """The handshake and the records arrive octet by octet, and the request is one octet a record."""

    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            loop = asyncio.get_running_loop()
            raw = socket.create_connection(("127.0.0.1", here.port))
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = authority.client().wrap_bio(incoming, outgoing, server_hostname="localhost")

            async def flush() -> None:
                for octet in outgoing.read():
                    await loop.sock_sendall(raw, bytes([octet]))

            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await flush()
                    incoming.write(await loop.sock_recv(raw, 65536))
            for octet in GET:
                client.write(bytes([octet]))
            await flush()
            answer = b""
            while not answer.endswith(b"hello"):
                incoming.write(await loop.sock_recv(raw, 65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    while data := client.read(65536):
                        answer += data
            raw.close()

    run(main)


def test_a_peer_that_asks_to_renegotiate(authority: Authority, run: Run) -> None:
    """Python's client cannot; the context says that nobody may (OP_NO_RENEGOTIATION), which `openssl s_client` meets in
    tests/e2e/test_tls.py."""
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            reader, writer = await here.secure(context)
            await ask(reader, writer)
            assert here.app.last.endpoint.tls["tls_version"] == 0x0303
            await leave(writer)

    run(main)


# --- many at once ----------------------------------------------------------------------------------


def test_a_crowd_that_says_nothing_keeps_nobody_out_for_long(authority: Authority, run: Run) -> None:
    """Two may shake hands at once, and two that never will are there: a third waits a second and is served."""

    async def main() -> None:
        async with house(tls_of(authority.pair("server")), most=2, handshake=30.0) as here:
            silent = [await here.plain() for _ in range(2)]
            await until(lambda: len(here.acceptor._making) == 2)
            assert not here.handshakes.room
            reader, writer = await here.secure(authority.client())
            await ask(reader, writer)
            assert here.handshakes.dropped == 2
            for each, other in silent:
                assert await rest(each) == b""
                await leave(other)
            await leave(writer)

    run(main)


def test_a_listener_beside_a_crowded_one_accepts_again(authority: Authority, run: Run) -> None:
    """All handshakes that may be in flight came by one listener; the other one waits too, and not for ever."""

    async def main() -> None:
        async with house(tls_of(authority.pair("server")), most=1, handshake=30.0) as here:
            [second] = open_listeners((parse_bind("127.0.0.1:0"),), 16)
            acceptor = Acceptor(here.engine, second, None, here.acceptor._opening)
            acceptor.start()
            silent, writer = await here.plain()
            await until(lambda: not here.handshakes.room)
            port = second.getsockname()[1]
            other = await asyncio.open_connection(
                "127.0.0.1", port, ssl=authority.client(), server_hostname="localhost"
            )
            await ask(*other)
            assert await rest(silent) == b""
            await leave(writer)
            await leave(other[1])
            acceptor.close()

    run(main)


def test_handshakes_in_flight() -> None:
    dropped: list[str] = []

    async def main() -> None:
        handshakes = Handshakes(2)
        handshakes.on_room(lambda: dropped.append("room"))
        with contextlib.ExitStack() as stack:
            stack.enter_context(handshakes.one(lambda: dropped.append("first")))
            await asyncio.sleep(10)
            assert handshakes.room and not dropped
            second = stack.enter_context(contextlib.ExitStack())
            second.enter_context(handshakes.one(lambda: dropped.append("second")))
            assert not handshakes.room
            await asyncio.sleep(STALLED / 2)
            second.close()
            assert handshakes.room
            assert dropped.pop() == "room"
            second.enter_context(handshakes.one(lambda: dropped.append("third")))
            await asyncio.sleep(STALLED * 0.6)
            assert dropped == ["first"]  # the third is younger than a second
            await asyncio.sleep(STALLED)
            assert dropped == ["first", "first", "third"]  # as long as they are in flight
        assert handshakes.room
        handshakes.close()

    run_virtual(main)
