"""A WSGI app for the tests: it streams, waits, fails and counts. What tests wait for it says on stderr."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

PIECE = 1024  # octets
EVENT = b"data: tick\n\n"

_lock = threading.Lock()
_counts = {"calls": 0, "opened": 0, "closed": 0}
_never = threading.Event()  # waiting for it is a sleep that says why


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


def count(name: str) -> int:
    with _lock:
        _counts[name] += 1
        return _counts[name]


class Events:
    """An endless stream of events that knows when it is opened and closed."""

    def __init__(self, pause: float, event: Callable[[], bytes], gone: Callable[[], bool]) -> None:
        self._pause = pause
        self._event = event
        self._gone = gone
        say(f"opened {count('opened')}")

    def __iter__(self) -> Generator[bytes, None, None]:
        while not self._gone():
            yield self._event()
            if self._pause:
                _never.wait(self._pause)

    def close(self) -> None:
        say(f"closed {count('closed')}")


class Afterwards:
    """A body with one piece, and work to do when it has gone, as Flask's call_on_close has it."""

    def __iter__(self) -> Generator[bytes, None, None]:
        yield b"done\n"

    def close(self) -> None:
        say("afterwards")
        _never.wait(1.5)
        say("afterwards done")


def fresh() -> bytes:
    """New memory each time, so that what a server keeps can be seen."""
    return b"x" * PIECE


def broken_stream() -> Generator[bytes, None, None]:
    yield b"the beginning"
    raise RuntimeError("secret detail")


def stuck_here() -> None:
    say("stuck")
    _never.wait(60.0)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    plain = [("Content-Type", "text/plain")]
    if path == "/counts":
        body = json.dumps(_counts).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    count("calls")
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return Events(0.05, lambda: EVENT, bool)
    if path == "/watchful":  # long silences, but it asks whether anybody is there
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return Events(0.01, lambda: EVENT, environ["bridgeserve.disconnected"])
    if path == "/flood":
        start_response("200 OK", plain)
        return Events(0, fresh, bool)
    if path == "/afterwards":
        start_response("200 OK", plain)
        return Afterwards()
    if path == "/slow":
        say("slow")
        _never.wait(1.0)
    if path == "/stuck":
        stuck_here()
    if path == "/late":
        _never.wait(1.0)
        say("late")
    if path == "/raise-before":
        raise RuntimeError("secret detail")
    if path == "/raise-after":
        start_response("200 OK", plain)
        return broken_stream()
    if path == "/short":
        start_response("200 OK", [*plain, ("Content-Length", "100")])
        return [b"not that long"]
    body = environ["wsgi.input"].read()
    start_response("200 OK", plain)
    return [b"%s %s %d\n" % (environ["REQUEST_METHOD"].encode(), path.encode("latin-1"), len(body))]
