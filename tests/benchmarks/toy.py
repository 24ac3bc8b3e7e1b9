"""A small server in threads that answers what a test tells it to."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable

from benchmarks.apps.content import BODY

# The request, and how many came before it; None ends the connection without an answer.
Respond = Callable[[bytes, int], bytes | None]


def answer(body: bytes = BODY, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    """An answer with a Content-Length."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


class ToyServer:
    """Listens from its making on; a thread for each connection."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._lock = threading.Lock()
        self._count = 0
        self._peers: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self._peers)

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(5)
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        data = b""
        with peer, contextlib.suppress(OSError):
            while True:
                while (end := data.find(b"\r\n\r\n")) < 0:
                    if not (more := peer.recv(65536)):
                        return
                    data += more
                length = re.search(rb"Content-Length: (\d+)", data[:end])
                size = end + 4 + (int(length[1]) if length else 0)
                while len(data) < size:
                    data += peer.recv(65536)
                with self._lock:
                    number, self._count = self._count, self._count + 1
                reply = self._respond(data[:size], number)
                if reply is None:
                    return
                data = data[size:]
                peer.sendall(reply)
                if b"connection: close" in reply.lower():
                    return
