"""Listening and accepting, on real sockets."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.binds import Bind, parse_bind
from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.net import listeners
from bridgeserve.net.connection import READ_AHEAD
from bridgeserve.net.engine import Engine, Protocols
from bridgeserve.net.listeners import Acceptor, ListenError, address_of, open_listeners
from bridgeserve.wire.framing import Preamble, ResponseHead
from net.clock import turns, until
from net.memory import Application, begin, ok

Run = Callable[[Callable[[], Awaitable[None]]], None]
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 on its loopback")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as opened:
        yield opened


def listen(stack: ExitStack, *texts: str) -> list[socket.socket]:
    opened = open_listeners(tuple(map(parse_bind, texts)), 16)
    for listener in opened:
        stack.callback(listener.close)
    return opened


def connect(stack: ExitStack, address: Any) -> socket.socket:
    """A blocking client; on loopback the connect is done when it returns."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    client = stack.enter_context(socket.socket(family))
    client.settimeout(10.0)
    client.connect(address)
    return client


class House:
    """An engine whose application answers at once, and acceptors on real listeners."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.app = Application(ok)
        protocols = Protocols(Limits(), timeouts or Timeouts(), "auto", Preamble())
        self.engine = Engine(protocols, self.app, ())  # type: ignore[arg-type]

    def accept(self, listener: socket.socket, limit: int | None = None) -> Acceptor:
        listener.setblocking(False)
        acceptor = Acceptor(self.engine, listener, limit)
        acceptor.start()
        return acceptor

    async def close(self, *acceptors: Acceptor) -> None:
        for acceptor in acceptors:
            acceptor.close()
        self.engine.abort()
        await until(lambda: not self.engine.connections)


async def answered(client: socket.socket) -> bytes:
    """Ask, and wait for the answer on the loop."""
    client.sendall(GET)
    return await answer_of(client)


async def answer_of(client: socket.socket) -> bytes:
    """Wait for the answer on the loop."""
    client.setblocking(False)
    answer = b""
    while not answer.endswith(b"hello"):
        with suppress(BlockingIOError):
            data = client.recv(65536)
            assert data, answer
            answer += data
        await asyncio.sleep(0)
    return answer


# --- opening ---------------------------------------------------------------------------------------


def test_port_0_picks_one(stack: ExitStack) -> None:
    first, second = listen(stack, "127.0.0.1:0", "127.0.0.1:0")
    assert address_of(first)[0] == "127.0.0.1"
    assert 0 != address_of(first)[1] != address_of(second)[1] != 0
    connect(stack, address_of(first))


@needs_ipv6
def test_ipv6(stack: ExitStack) -> None:
    [listener] = listen(stack, "[::1]:0")
    assert address_of(listener)[0] == "::1"
    connect(stack, address_of(listener))


@pytest.mark.parametrize("text", [":0", "[::]:0", "0.0.0.0:0"])
def test_all_interfaces(stack: ExitStack, text: str) -> None:
    [listener] = listen(stack, text)
    port = address_of(listener)[1]
    connect(stack, ("127.0.0.1", port))
    if listener.family == socket.AF_INET6:
        connect(stack, ("::1", port))


def test_a_name_with_several_addresses_has_one_port(stack: ExitStack) -> None:
    opened = listen(stack, "localhost:0")
    assert len({address_of(listener)[1] for listener in opened}) == 1


def test_a_port_in_use(stack: ExitStack) -> None:
    [listener] = listen(stack, "127.0.0.1:0")
    host, port = address_of(listener)
    with pytest.raises(ListenError, match=rf"cannot listen at {host}:{port}: Address already in use"):
        listen(stack, f"{host}:{port}")


def test_all_or_none(stack: ExitStack, tmp_path: Path) -> None:
    [listener] = listen(stack, "127.0.0.1:0")
    path = tmp_path / "app.sock"
    with pytest.raises(ListenError):
        listen(stack, f"unix:{path}", f"127.0.0.1:{address_of(listener)[1]}")
    assert not path.exists()  # the one that was open is closed, its file gone


@pytest.mark.parametrize("bind", [Bind(kind="tcp", host="name.invalid", port=0), Bind(kind="tcp", host="192.0.2.7")])
def test_an_address_that_is_not_ours(bind: Bind) -> None:
    with pytest.raises(ListenError, match=f"cannot listen at {bind}: "):
        open_listeners((bind,), 16)


# --- unix ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_a_unix_socket_with_its_mode(stack: ExitStack, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "app.sock"
    [listener] = listen(stack, f"unix:{path}?mode={mode:o}")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert address_of(listener) == str(path)
    connect(stack, str(path))
    listener.close()
    assert not path.exists()
    listener.close()


def test_a_stale_file_is_replaced(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert path.exists()
    listen(stack, f"unix:{path}")
    connect(stack, str(path))


def test_a_live_file_is_refused(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    listen(stack, f"unix:{path}")
    with pytest.raises(ListenError, match="Address already in use"):
        listen(stack, f"unix:{path}")
    connect(stack, str(path))


def test_a_file_that_is_no_socket_is_left_alone(stack: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("precious")
    with pytest.raises(ListenError, match="Address already in use"):
        listen(stack, f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_directory_that_does_not_exist(stack: ExitStack, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="No such file or directory"):
        listen(stack, f"unix:{tmp_path}/missing/app.sock")


# --- inherited -------------------------------------------------------------------------------------


@pytest.mark.parametrize("listening", [True, False])
def test_an_inherited_descriptor(stack: ExitStack, listening: bool) -> None:
    inherited = socket.socket()
    inherited.bind(("127.0.0.1", 0))
    if listening:
        inherited.listen()
    address = inherited.getsockname()
    [listener] = listen(stack, f"fd://{inherited.detach()}")
    assert address_of(listener) == address
    connect(stack, address)


def test_the_file_of_an_inherited_unix_socket_is_not_ours(run: Run, stack: ExitStack, tmp_path: Path) -> None:
    """Whoever has bound it (systemd, say) goes on to listen at it."""
    path = tmp_path / "app.sock"
    owner = stack.enter_context(socket.socket(socket.AF_UNIX))
    owner.bind(str(path))
    owner.listen()
    [listener] = listen(stack, f"fd://{os.dup(owner.fileno())}")

    async def main() -> None:
        house = House()
        acceptor = house.accept(listener)
        assert acceptor.address == str(path)
        await answered(connect(stack, str(path)))
        await house.close(acceptor)

    run(main)
    connect(stack, str(path))


def test_a_descriptor_that_is_no_socket(stack: ExitStack, tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    stack.callback(os.close, file)
    with pytest.raises(ListenError, match=rf"cannot listen at fd://{file}: "):
        listen(stack, f"fd://{file}")


# --- accepting -------------------------------------------------------------------------------------


def test_requests_know_both_ends(run: Run, stack: ExitStack, tmp_path: Path) -> None:
    async def main() -> None:
        house = House()
        acceptors = [house.accept(one) for one in listen(stack, "127.0.0.1:0", ":0", f"unix:{tmp_path}/a.sock")]
        narrow, wide, unix = (acceptor.address for acceptor in acceptors)
        for address in (narrow, ("127.0.0.1", wide[1])):
            client = connect(stack, address)
            await answered(client)
            endpoint = house.app.last.endpoint
            assert (endpoint.client, endpoint.server) == (client.getsockname(), client.getpeername())
        await answered(connect(stack, unix))
        endpoint = house.app.last.endpoint
        assert (endpoint.client, endpoint.server) == (None, (unix, None))
        await house.close(*acceptors)

    run(main)
    assert not list(tmp_path.iterdir())


def test_the_limit_of_connections(run: Run, stack: ExitStack) -> None:
    async def main() -> None:
        house = House()
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener, 3)
        clients = [connect(stack, acceptor.address) for _ in range(8)]
        await until(lambda: len(house.engine.connections) == 3)
        await turns(20)
        assert len(house.engine.connections) == 3
        for client in clients:  # each that closes makes room for the next one, in order
            assert len(house.engine.connections) <= 3
            await answered(client)
            client.close()
        assert house.engine.requests == 8
        await house.close(acceptor)

    run(main)


def test_a_connection_that_is_being_made_holds_nobody_up(run: Run, stack: ExitStack) -> None:
    """It counts as one that is made and as one that is open, for a turn of the loop."""

    async def main() -> None:
        house = House()
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener, 2)
        for _ in range(10):
            first = connect(stack, acceptor.address)
            await until(lambda: house.engine.connections)
            second = connect(stack, acceptor.address)
            await answered(second)
            first.close()
            second.close()
            await until(lambda: not house.engine.connections)
        await house.close(acceptor)

    run(main)


class Failing(socket.socket):
    """A listener whose `accept` fails as often as it is told to."""

    error = 0
    failures = 0
    calls = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, os.strerror(self.error))
        return super().accept()


def failing(stack: ExitStack, error: int, failures: int) -> Failing:
    listener = stack.enter_context(Failing(socket.AF_INET))
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    listener.error = error
    listener.failures = failures
    return listener


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EINVAL])
def test_without_room_it_backs_off_and_recovers(
    run: Run, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: int
) -> None:
    monkeypatch.setattr(listeners, "BACK_OFF", 0.02)

    async def main() -> None:
        house = House()
        listener = failing(stack, error, 3)
        acceptor = house.accept(listener)
        await answered(connect(stack, acceptor.address))
        assert listener.failures == 0
        assert listener.calls <= 6  # it did not spin meanwhile
        await house.close(acceptor)

    run(main)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1  # no more than one a second
    assert os.strerror(error) in warnings[0].getMessage()


def test_a_connection_that_was_gone_is_passed_over(run: Run, stack: ExitStack) -> None:
    async def main() -> None:
        house = House()
        listener = failing(stack, errno.ECONNABORTED, 3)
        acceptor = house.accept(listener)
        await answered(connect(stack, acceptor.address))
        await house.close(acceptor)

    run(main)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EBADF])
def test_a_drain_does_not_wait_for_room(run: Run, stack: ExitStack, error: int) -> None:
    async def main() -> None:
        house = House()
        listener = failing(stack, error, 1 << 30)
        acceptor = house.accept(listener)
        connect(stack, acceptor.address)
        await until(lambda: listener.calls)
        await acceptor.drain()
        assert listener.fileno() == -1
        await turns()
        await house.close(acceptor)

    run(main)


def test_a_drain_ends_though_others_connect_for_ever(
    run: Run, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "BACKLOG_MOST", 100)

    async def main() -> None:
        house = House()
        listener = failing(stack, errno.ECONNABORTED, 1 << 30)  # gone before we took them, one after the other
        acceptor = house.accept(listener)
        await acceptor.drain()
        assert listener.fileno() == -1
        assert listener.calls == 100
        await house.close(acceptor)

    run(main)


def test_a_drain_serves_the_backlog(run: Run, stack: ExitStack) -> None:
    async def main() -> None:
        house = House()
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener)
        clients = [connect(stack, acceptor.address) for _ in range(10)]
        assert not house.engine.connections  # all of them are in the backlog
        await acceptor.drain()
        assert len(house.engine.connections) == 10
        with pytest.raises(ConnectionRefusedError):
            connect(stack, acceptor.address)
        for client in clients:
            await answered(client)
        await acceptor.drain()
        await house.close(acceptor)

    run(main)


def test_a_request_that_comes_as_an_idle_connection_is_closed_is_answered(run: Run, stack: ExitStack) -> None:
    """In the very turn of the loop in which the quiet time is over: it waits in the socket, and was not read yet."""

    async def main() -> None:
        house = House()
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener)
        client = connect(stack, acceptor.address)
        await answered(client)
        [connection] = house.engine.connections
        asyncio.get_running_loop().call_soon(client.sendall, GET)
        connection.drain(0.0)
        assert b"connection: close" in await answer_of(client)
        await house.close(acceptor)

    run(main)


def test_a_response_that_is_cut_is_a_reset_for_http_1_0(run: Run, stack: ExitStack) -> None:
    """On the transports of both loops: without a length only a reset says that it is not whole."""

    async def main() -> None:
        house = House()
        house.app = Application()
        house.engine.dispatcher = house.app  # type: ignore[assignment]
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener)
        client = connect(stack, acceptor.address)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        await until(lambda: house.app.exchanges)
        begin(house.app.last, b"half")
        await until(lambda: client.recv(65536, socket.MSG_PEEK))
        house.app.last.abort()
        await until(lambda: not house.engine.connections)
        with pytest.raises(ConnectionResetError):
            while client.recv(65536):
                pass
        await house.close(acceptor)

    run(main)


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="only Linux tells of an end behind unread octets")
@pytest.mark.parametrize("bind", ["127.0.0.1:0", "unix:{}/socket"])
@pytest.mark.parametrize("gone", [False, True])
def test_an_end_behind_what_is_pipelined(
    run: Run, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bind: str, gone: bool
) -> None:
    """Nothing is read while much waits behind a request: its application learns all the same that the client left."""
    monkeypatch.setattr("bridgeserve.net.connection.LOOK", 0.01)

    async def main() -> None:
        house = House()
        house.app = Application()
        house.engine.dispatcher = house.app  # type: ignore[assignment]
        [listener] = listen(stack, bind.format(tmp_path))
        acceptor = house.accept(listener)
        client = connect(stack, acceptor.address)
        client.sendall(GET * (READ_AHEAD // len(GET) + 10))
        await until(lambda: house.app.exchanges and not house.app.last.connection._reading)
        exchange = house.app.last
        waiting = asyncio.ensure_future(exchange.wait_disconnect())
        await asyncio.sleep(0.05)  # time for some looks that must find nothing
        assert not waiting.done()
        if gone:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        else:
            client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(10.0):
            await waiting
            await until(lambda: exchange.lost is gone)
        if not gone:
            ok(exchange)  # who has only closed its side reads on
            assert (await asyncio.to_thread(client.recv, 65536)).endswith(b"hello")
        await house.close(acceptor)

    run(main)


def read_steadily(client: socket.socket, seconds: float) -> str:
    """(a thread) Read 250 KB a second; how it ended."""
    client.sendall(GET)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not client.recv(25_000):
            return "closed"
        time.sleep(0.1)
    return "served"


@pytest.mark.parametrize("file", [False, True])
def test_a_client_that_reads_less_than_a_buffer_is_not_cut(
    run: Run, stack: ExitStack, tmp_path: Path, file: bool
) -> None:
    """A socket is writable when a third of its megabytes is free: what is read before that counts."""
    size = 64 << 20
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", size)

    async def main() -> None:
        house = House(Timeouts(write=1.0))
        sending: list[asyncio.Future[bool]] = []

        def answer(exchange: Any) -> None:
            head = ResponseHead(200, b"", [(b"content-length", b"%d" % size)])
            if file:
                exchange.respond(head, b"", False)
                sending.append(asyncio.ensure_future(exchange.send_file(opened.fileno(), 0, size)))
            else:
                exchange.respond(head, b"x" * size, True)

        house.app._answer = answer
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener)
        client = connect(stack, acceptor.address)
        assert await asyncio.to_thread(read_steadily, client, 2.6) == "served"
        await until(lambda: not house.engine.connections)  # it reads no more
        for each in sending:
            with pytest.raises(ClientDisconnected):
                await each
        await house.close(acceptor)

    with open(tmp_path / "file", "rb") as opened:
        run(main)


def test_a_stream_waits_for_its_client_on_each_loop(run: Run, stack: ExitStack) -> None:
    """Chunks have three buffers each, and those who write many at once do not always keep to the high-water mark."""

    async def main() -> None:
        house = House()
        house.app = Application()
        house.engine.dispatcher = house.app  # type: ignore[assignment]
        [listener] = listen(stack, "127.0.0.1:0")
        acceptor = house.accept(listener)
        client = connect(stack, acceptor.address)
        client.sendall(GET)
        await until(lambda: house.app.exchanges)
        begin(house.app.last, b"first")
        for _ in range(2000):  # 32 MB: more than any buffer of the system
            if not house.app.last.writable:
                break
            house.app.last.write(b"s" * 16_384)
            await asyncio.sleep(0)
        assert not house.app.last.writable
        client.close()
        await until(lambda: not house.engine.connections)
        await house.close(acceptor)

    run(main)


def test_a_socket_that_cannot_be_lifted_is_still_there_to_be_closed(
    stack: ExitStack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    [listener] = listen(stack, "127.0.0.1:0")

    async def main() -> None:
        house = House()
        acceptor = house.accept(listener)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            before = os.listdir("/proc/self/fd")
            monkeypatch.setattr(listeners.fcntl, "fcntl", full)
            with pytest.raises(OSError, match="Too many"):
                acceptor._lift(theirs)
            assert theirs.fileno() > 0  # whoever has it closes it
            assert len(os.listdir("/proc/self/fd")) == len(before)
            monkeypatch.undo()
        await house.close(acceptor)

    run(main)
