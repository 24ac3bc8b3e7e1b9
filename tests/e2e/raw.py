"""HTTP by hand: a socket whose every wait has a deadline, for what a well-behaved client would hide or never do."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Self

WAIT = 10.0  # seconds for any one read


class Answer:
    """A response as it came: `head` and `body` as octets, the body without its framing."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        lines = head.split(b"\r\n")
        version, _, rest = lines[0].partition(b" ")
        self.version = version.decode()
        self.status = int(rest[:3])
        self.headers = {
            name.strip().lower().decode(): value.strip().decode("latin-1")
            for name, _, value in (line.partition(b":") for line in lines[1:] if line)
        }
        self.body = b""

    @property
    def closes(self) -> bool:
        """True if the server announced that it closes."""
        return "close" in self.headers.get("connection", "").lower()


class Cut(Exception):
    """The connection ended inside an answer; `read` holds what had come."""

    def __init__(self, read: bytes) -> None:
        super().__init__(f"the connection ended after {read[-200:]!r}")
        self.read = read


_opened: list[RawClient] = []


def close_all() -> None:
    """Close what a test has left open, so that its failure is the only one that is told."""
    while _opened:
        _opened.pop().close()


def listens(path: str) -> bool:
    """Whether somebody takes connections at a unix socket; its file is there a moment earlier."""
    try:
        RawClient(path).close()
    except OSError:
        return False
    return True


class RawClient:
    """One connection. `address` is (host, port) or the path of a unix socket."""

    def __init__(self, address: tuple[str, int] | str, wait: float = WAIT) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(wait)
            try:
                self.socket.connect(address)
            except OSError:
                self.socket.close()
                raise
        else:
            self.socket = socket.create_connection(address, wait)
        self._buffer = b""
        _opened.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def reset(self) -> None:
        """Leave with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send octets; a server that closes while we write is no error: it may have answered before."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def get(self, path: str, *headers: str) -> None:
        """Send a GET."""
        lines = [f"GET {path} HTTP/1.1", "Host: test", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def _more(self) -> bool:
        data = self.socket.recv(65536)
        self._buffer += data
        return bool(data)

    def read_until(self, mark: bytes) -> bytes:
        """Octets up to and with `mark`. Raises Cut."""
        while mark not in self._buffer:
            if not self._more():
                raise Cut(self._buffer)
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    def read_exactly(self, count: int) -> bytes:
        """So many octets. Raises Cut."""
        while len(self._buffer) < count:
            if not self._more():
                raise Cut(self._buffer)
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def read_head(self) -> Answer:
        """The next head."""
        return Answer(self.read_until(b"\r\n\r\n"))

    def read_answer(self) -> Answer:
        """The next whole answer. Raises Cut when it is not whole."""
        answer = self.read_head()
        if answer.headers.get("transfer-encoding") == "chunked":
            while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
                answer.body += self.read_exactly(size + 2)[:-2]
            self.read_exactly(2)
        elif "content-length" in answer.headers:
            answer.body = self.read_exactly(int(answer.headers["content-length"]))
        elif answer.status >= 200 and answer.status not in (204, 304):
            answer.body = self.read_rest()
        return answer

    def read_rest(self) -> bytes:
        """Everything up to the end of the connection; a reset is such an end too."""
        with contextlib.suppress(ConnectionResetError):
            while self._more():
                pass
        found, self._buffer = self._buffer, b""
        return found

    def ended(self) -> bool:
        """Wait for the server's end of the connection; False if something else comes first."""
        return self.read_rest() == b""

    def exchange(self, data: bytes) -> Answer:
        """Send octets and read one answer."""
        self.send(data)
        return self.read_answer()
