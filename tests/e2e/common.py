"""Checks that every framework's app has to pass alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx

from e2e.server import MIB, ServerProcess

PIECE = bytes(range(256)) * 256  # 64 KiB, what the example apps send and read at once
PIECES = 50 * MIB // len(PIECE)
ALLOWED = 20 * MIB
DIGEST = hashlib.sha256(PIECE * 16).hexdigest()  # of 1 MiB


def client(server: ServerProcess) -> httpx.Client:
    """A client for the server that looks at no proxy of the environment."""
    return httpx.Client(base_url=server.url, timeout=20.0, trust_env=False)


def pieces(count: int = PIECES) -> Iterator[bytes]:
    """A body of so many pieces; httpx sends it chunked."""
    for _ in range(count):
        yield PIECE


def numbered(number: int) -> bytes:
    """A piece as the example apps send it: each one is new memory, so that what a server keeps can be seen."""
    return number.to_bytes(8) * (len(PIECE) // 8)


class Peak:
    """How far the memory of a server rises inside a `with` block above what it was before."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.rise = 0

    def __enter__(self) -> Peak:
        self._server.forget_peak()
        self._before = self._server.memory("VmRSS")
        return self

    def __exit__(self, *exc: object) -> None:
        self.rise = self._server.memory("VmHWM") - self._before

    def __str__(self) -> str:
        return f"{self.rise / MIB:.1f} MiB above the base"


def upload_much(server: ServerProcess, path: str, *, chunked: bool, count: int = PIECES) -> Peak:
    """PUT so many pieces (50 MiB), chunked or with a Content-Length; the app answers with the size that it has read."""
    size = count * len(PIECE)
    with client(server) as http:
        assert http.put(path, content=PIECE).json()["size"] == len(PIECE)
        with Peak(server) as peak:
            # httpx frames an iterator by itself only where no length is given.
            headers = {} if chunked else {"Content-Length": str(size)}
            answer = http.put(path, content=pieces(count), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["size"] == size
    return peak


def download_much(server: ServerProcess, path: str, other: str, count: int = PIECES) -> Peak:
    """GET so many pieces (50 MiB), with pauses in which other requests are made.

    A server that does not wait for us fills its memory.

    :param path: with `{}` for the number of pieces.
    :param other: something small to ask for in a pause; it must be answered while the download waits.
    """
    digest = hashlib.sha256()
    whole = hashlib.sha256()
    for number in range(count):
        whole.update(numbered(number))
    with client(server) as http, client(server) as asking:
        assert http.get(path.format(2)).content == numbered(0) + numbered(1)
        assert asking.get(other).status_code == 200
        with Peak(server) as peak, http.stream("GET", path.format(count)) as answer:
            assert answer.status_code == 200
            for number, piece in enumerate(answer.iter_raw(MIB)):
                digest.update(piece)
                if number % 10 == 0:
                    for _ in range(10):
                        assert asking.get(other).status_code == 200
    assert digest.digest() == whole.digest()
    return peak


def same_connection(server: ServerProcess, path: str) -> None:
    """Three requests of one client come from one port, as the server sees it; another client has another."""
    with client(server) as http:
        ports = [http.get(path).json()["port"] for _ in range(3)]
    with client(server) as http:
        other = http.get(path).json()["port"]
    assert len(set(map(str, ports))) == 1
    assert str(other) != str(ports[0])
