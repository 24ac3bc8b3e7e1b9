"""WebSocket: echoes without pause, and what idle connections hold. Frames are written and compared as octets."""

from __future__ import annotations

import contextlib
import socket

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures
from benchmarks.loads.client import Clients
from benchmarks.loads.closed import figures
from benchmarks.loads.connections import hold
from benchmarks.loads.target import Meter, Target
from benchmarks.messages import HEAD_MAX, Template, connect

MASK = b"\x37\xfa\x21\x3d"
BUFFER = 1 << 20  # of a socket: a message must fit in


def frames(size: int) -> tuple[bytes, bytes]:
    """A text of so many octets as a client sends it, and as a server sends it (RFC 6455 section 5.2)."""
    text = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    if size < 126:
        long, head = b"", size
    elif size < 65536:
        long, head = size.to_bytes(2), 126
    else:
        long, head = size.to_bytes(8), 127
    mixed = int.from_bytes(text) ^ int.from_bytes((MASK * (size // 4 + 1))[:size])
    return bytes((0x81, 0x80 | head)) + long + MASK + mixed.to_bytes(size), bytes((0x81, head)) + long + text


def dial(port: int, template: Template) -> socket.socket:
    """An open WebSocket. Raises BenchmarkError where the handshake is not answered with 101."""
    connection = connect(port)
    try:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connection.setsockopt(socket.SOL_SOCKET, option, BUFFER)
        connection.sendall(template.one())
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(HEAD_MAX)
            if not data or len(head) > HEAD_MAX:
                raise BenchmarkError(f"no answer to the handshake, but {head[:80]!r}")
            head += data
        if not head.startswith(b"HTTP/1.1 101 ") or not head.endswith(b"\r\n\r\n"):
            raise BenchmarkError(f"no WebSocket: {head[:80]!r}")
        if b"\r\nsec-websocket-extensions:" in head.lower():
            raise BenchmarkError("it compresses, and nobody asked for it")
    except BaseException:
        connection.close()
        raise
    return connection


def ask_once(connection: socket.socket, sent: bytes, wanted: bytes) -> None:
    """One echo. Raises BenchmarkError for another one."""
    connection.sendall(sent)
    got = b""
    while len(got) < len(wanted):
        data = connection.recv(262144)
        if not data:
            raise BenchmarkError("the server closed a WebSocket")
        got += data
    if got != wanted:
        raise BenchmarkError(f"another echo: {got[:40]!r}")


class Sockets(Clients):
    """WebSockets with one message in flight each."""

    def __init__(self, port: int, template: Template, count: int, size: int) -> None:
        self._template = template
        self._sent, self._wanted = frames(size)
        super().__init__(port, template, count)

    def _measure(self) -> None:
        self._size = len(self._wanted)

    def _open(self) -> socket.socket:
        return self._keep(dial(self._port, self._template))

    def _send(self, connection: socket.socket) -> None:
        try:
            if connection.send(self._sent) < len(self._sent):
                raise BenchmarkError("a message does not fit into a socket")
        except OSError as error:
            raise BenchmarkError(f"connection lost: {error}") from None

    def _good(self, data: bytes) -> bool:
        return data == self._wanted


def echo(target: Target) -> Figures:
    """CPU time per message, and messages a second."""
    workload = target.workload
    with Sockets(target.running.port, target.template, workload.connections, workload.size) as sockets:
        sockets.run(target.plan.warmup)
        with Meter(target.running.pid) as meter:
            count = sockets.run(target.plan.seconds)
    return figures(meter, count)


def idle(target: Target) -> Figures:
    """KiB of the server's processes per idle WebSocket after one echo; the kernel's memory for sockets is not in it."""
    sent, wanted = frames(target.workload.size)
    with contextlib.ExitStack() as held:

        def open_one() -> socket.socket:
            connection = held.enter_context(dial(target.running.port, target.template))
            ask_once(connection, sent, wanted)
            return connection

        kib, opened = hold(target, open_one)
        for connection in opened[:: max(target.plan.idle // 100, 1)]:
            ask_once(connection, sent, wanted)
    return {"kib": kib}
