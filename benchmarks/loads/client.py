"""A load without pause in plain Python: connections with one request in flight each, over plain sockets and epoll.

For what wrk cannot do, and for machines without wrk. It costs more than the quickest servers, so they wait for it;
their CPU time per request is still right, their requests a second are not.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Self

from benchmarks.errors import BenchmarkError
from benchmarks.messages import Template, ask, connect

REQUESTS_MAX = 5_000_000
LATE_SECONDS = 30.0  # for the answers that are open when time is up


class Clients:
    """The connections, and the size that every answer has (they differ in the date at most).

    :param closes: the server ends each connection after one answer, and a new one takes its place.
    """

    def __init__(self, port: int, template: Template, count: int, closes: bool = False) -> None:
        self._port = port
        self._requests = template.numbered()
        self._count = count
        self._closes = closes
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        try:
            self._measure()
            self._fill()
        except BaseException:
            self.close()
            raise

    def _measure(self) -> None:
        with connect(self._port) as connection:
            answer = ask(connection, next(self._requests))
        self._size, self._tail = answer.octets, answer.tail

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._epoll.close()
        for connection in self._sockets.values():
            connection.close()

    def _fill(self) -> None:
        while len(self._sockets) < self._count:
            self._open()

    def _open(self) -> socket.socket:
        return self._keep(connect(self._port))

    def _keep(self, connection: socket.socket) -> socket.socket:
        connection.setblocking(False)
        self._sockets[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)
        return connection

    def _renewed(self, number: int) -> socket.socket:
        if not self._closes:
            return self._sockets[number]
        self._sockets.pop(number).close()  # epoll forgets it by itself
        return self._open()

    def run(self, seconds: float, total: int = REQUESTS_MAX) -> int:
        """Send for so long, at most `total` requests, check each answer; the number of answers.

        Raises BenchmarkError for a wrong answer, a lost connection or silence.
        """
        self._fill()
        deadline = time.monotonic() + seconds
        parts: dict[int, bytes] = {}
        sent = 0
        for connection in list(self._sockets.values())[:total]:
            self._send(connection)
            sent += 1
        answered = 0
        while answered < sent:
            events = self._epoll.poll(LATE_SECONDS)
            now = time.monotonic()
            if not events or now > deadline + LATE_SECONDS:
                raise BenchmarkError(f"{sent - answered} answers did not come")
            for number, _ in events:
                if not self._receive(number, parts):
                    continue
                answered += 1
                if sent < total and now < deadline:
                    self._send(self._renewed(number))
                    sent += 1
                elif self._closes:
                    self._sockets.pop(number).close()  # its end is not to be taken for a loss
        return answered

    def _send(self, connection: socket.socket) -> None:
        try:
            # One request fits into an empty socket buffer: nothing is left over.
            connection.send(next(self._requests))
        except OSError as error:
            raise BenchmarkError(f"connection lost: {error}") from None

    def _receive(self, number: int, parts: dict[int, bytes]) -> bool:
        """Read what is there; True when it was the whole answer."""
        part = parts.pop(number, b"")
        try:
            data = self._sockets[number].recv(262144)
        except OSError as error:
            raise BenchmarkError(f"connection lost: {error}") from None
        if not data:
            raise BenchmarkError(f"the server closed a connection after {part[:80]!r}")
        data = part + data
        if len(data) < self._size:
            parts[number] = data
            return False
        if not self._good(data):
            raise BenchmarkError(f"wrong answer under load: {data[:200]!r}")
        return True

    def _good(self, data: bytes) -> bool:
        return len(data) == self._size and data[9:12] == b"200" and data.endswith(self._tail)
