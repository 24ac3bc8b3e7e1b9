"""The load: keep-alive connections, one request in flight on each, a fixed number of requests.

A process of its own, so that its time is not the server's: `python -m benchmarks.client --port N --pid N ...`. It
checks the answers, warms the server up, reads the server's CPU time, sends the load, reads the CPU time again, and
prints both as JSON. Plain sockets and epoll: the cheaper the client is, the busier it keeps the server.
"""

from __future__ import annotations

import argparse
import itertools
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from benchmarks.apps import BODY
from benchmarks.proc import tree_ns
from benchmarks.servers import BenchmarkError

STATUS = b"HTTP/1.1 200 "
SILENCE_SECONDS = 10.0
# Eight fields of a browser's request behind a proxy. The id differs in each, as ids do: a server that remembers whole
# heads must not win by it.
_FIELDS = (
    b"GET /items/42?detail=full HTTP/1.1\r\n"
    b"Host: shop.example.com\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    b"Accept-Encoding: gzip, deflate, br\r\n"
    b"X-Request-Id: %016x\r\n"
    b"Cookie: session=0f3a9c5be2714d68; theme=dark; consent=1\r\n"
    b"Referer: https://shop.example.com/items?page=3\r\n"
    b"\r\n"
)


@dataclass(frozen=True)
class Load:
    """What one run measured: requests, CPU time of the server and wall time in nanoseconds."""

    requests: int
    cpu_ns: int
    wall_ns: int

    @property
    def cpu_us(self) -> float:
        """CPU time of the server per request in microseconds."""
        return self.cpu_ns / self.requests / 1000

    @property
    def busy(self) -> float:
        """CPU time by wall time: 1.0 is a server that never waited for the load."""
        return self.cpu_ns / self.wall_ns


def requests() -> Iterator[bytes]:
    """Requests without end, each with its own id. The factor (odd) spreads the ids over 64 bits."""
    return (_FIELDS % (number * 0x9E3779B97F4A7C15 % 2**64) for number in itertools.count(1))


def connect(port: int) -> socket.socket:
    """One connection to the loopback."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection: socket.socket, request: bytes) -> bytes:
    """One request and its whole answer. Raises BenchmarkError when status, framing or body are not the app's."""
    connection.sendall(request)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + len(BODY):
        data = connection.recv(65536)
        if not data:
            raise BenchmarkError(f"closed after {answer!r}")
        answer += data
    fields = answer[:end].lower().split(b"\r\n")
    if not answer.startswith(STATUS) or b"content-length: %d" % len(BODY) not in fields:
        raise BenchmarkError(f"wrong head: {answer!r}")
    if b"connection: close" in fields or answer[end + 4 :] != BODY:
        raise BenchmarkError(f"wrong answer: {answer!r}")
    return answer


class Clients:
    """The connections, and the size that every answer has (they differ in the date at most)."""

    def __init__(self, port: int, count: int) -> None:
        self._requests = requests()
        self._sockets: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._size = 0
        for _ in range(count):
            connection = connect(port)
            self._size = len(ask(connection, next(self._requests)))
            connection.setblocking(False)
            self._sockets[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def close(self) -> None:
        """Close all connections."""
        self._epoll.close()
        for connection in self._sockets.values():
            connection.close()

    def send(self, total: int, seconds: float) -> None:
        """Send `total` requests and check each answer. Raises BenchmarkError for a wrong one, or when time is up."""
        deadline = time.monotonic() + seconds
        parts = dict.fromkeys(self._sockets, b"")
        first = min(total, len(parts))
        for connection in itertools.islice(self._sockets.values(), first):
            connection.send(next(self._requests))
        to_send, open_answers, size = total - first, total, self._size
        while open_answers:
            events = self._epoll.poll(SILENCE_SECONDS)
            if not events or time.monotonic() > deadline:
                raise BenchmarkError(f"time is up with {open_answers} of {total} answers open")
            for number, _ in events:
                data = parts[number] + self._sockets[number].recv(65536)
                if len(data) < size:
                    if data == parts[number]:
                        raise BenchmarkError("the server closed a connection")
                    parts[number] = data
                    continue
                if len(data) > size or not data.startswith(STATUS) or not data.endswith(BODY):
                    raise BenchmarkError(f"wrong answer: {data!r}")
                parts[number] = b""
                open_answers -= 1
                if to_send:
                    to_send -= 1
                    self._sockets[number].send(next(self._requests))


def run(port: int, pid: int, *, connections: int, total: int, warmup: int, seconds: float) -> Load:
    """Warm up, then measure. `pid` is the server's first process."""
    clients = Clients(port, connections)
    try:
        clients.send(warmup, seconds)
        cpu, wall = tree_ns(pid), time.perf_counter_ns()
        clients.send(total, seconds)
        # In this order: reading the tree takes a while, which is not the load's.
        wall = time.perf_counter_ns() - wall
        return Load(total, tree_ns(pid) - cpu, wall)
    finally:
        clients.close()


def main() -> int:
    """The command line of this process; 1 when the load failed."""
    parser = argparse.ArgumentParser()
    for name in ("port", "pid", "connections", "requests", "warmup"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    try:
        load = run(
            given.port,
            given.pid,
            connections=given.connections,
            total=given.requests,
            warmup=given.warmup,
            seconds=given.seconds,
        )
    except (BenchmarkError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(load)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
