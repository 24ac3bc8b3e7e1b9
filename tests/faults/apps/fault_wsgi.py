"""A WSGI app that does what no app should."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from deeds import DEEDS, PIECE, raise_now, say

Start = Callable[..., Any]
PLAIN = [("Content-Type", "text/plain")]


class Body:
    """Raises where the path says so, and tells of its end."""

    def __init__(self, start: Start, where: str, name: str) -> None:
        self._start = start
        self._where = where
        self._name = name

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks() if self._where != "next" else self

    def __next__(self) -> bytes:
        raise_now(self._name)
        raise AssertionError

    def _chunks(self) -> Generator[bytes, None, None]:
        self._start("200 OK", PLAIN)
        if self._where == "first":
            raise_now(self._name)
        yield b"the beginning"
        if self._where == "later":
            raise_now(self._name)
        yield b" and the end\n"

    def close(self) -> None:
        say(f"closed {self._where} {self._name}")
        if self._where == "close":
            raise_now(self._name)


def fault(start: Start, where: str, name: str) -> Iterable[bytes]:
    if where == "call":
        raise_now(name)
    if where == "started":
        start("200 OK", PLAIN)
        raise_now(name)
    return Body(start, where, name)


def read(environ: dict[str, Any]) -> int:
    size = 0
    try:
        while data := environ["wsgi.input"].read(PIECE):
            size += len(data)
    except OSError:
        say(f"read error after {size}")
        raise
    say(f"read whole {size}")
    return size


def pieces() -> Generator[bytes, None, None]:
    try:
        while True:
            yield b"x" * PIECE
    finally:
        say("stream closed")


def wrong(start: Start, how: str) -> Iterable[bytes]:
    """Responses that cannot be sent as they are."""
    heads: dict[str, tuple[Any, Any]] = {
        "split": ("200 OK", [("X", "a\r\nSet-Cookie: b")]),
        "name": ("200 OK", [("X Y", "a")]),
        "number": ("200 OK", [("X", 1)]),
        "none": ("200 OK", None),
        "status": ("OK", PLAIN),
        "code": (200, PLAIN),
        "length": ("200 OK", [("Content-Length", "-1")]),
        "lengths": ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    }
    if how in heads:
        start(*heads[how])
        return [b"x"]
    if how == "text":
        start("200 OK", PLAIN)
        return ["text"]  # type: ignore[list-item]
    if how == "no-start":
        return [b"x"]
    if how == "nothing":
        start("200 OK", PLAIN)
        return None  # type: ignore[return-value]
    start("200 OK", [("Content-Length", "5")])
    return [b"short"[:3]] if how == "short" else [b"longer than that"]


def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    path: str = environ["PATH_INFO"]
    if path.startswith("/raise/"):
        return fault(start_response, *path.split("/")[2:])
    if path.startswith("/wrong/"):
        return wrong(start_response, path[7:])
    if path in DEEDS:
        DEEDS[path]()
    if path == "/stream":
        start_response("200 OK", PLAIN)
        return pieces()
    if path == "/download":
        start_response("200 OK", PLAIN)
        return (b"d" * PIECE for _ in range(16))
    if path.startswith("/sleep/"):
        time.sleep(float(path.split("/")[2]))
    size = read(environ) if environ["REQUEST_METHOD"] == "POST" else 0
    start_response("200 OK", PLAIN)
    return [b"%s %d\n" % (path.encode("latin-1"), size)]
