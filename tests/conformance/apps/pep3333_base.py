"""What the routes of pep3333_app.py and pep3333_bodies.py share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
Route = Callable[[Environ, Start], Iterable[bytes]]

OK = "200 OK"
TEXT = ("Content-Type", "text/plain")
ROUTES: dict[str, Route] = {}


def route(call: Route) -> Route:
    """Make a function the route of its name."""
    ROUTES["/" + call.__name__.replace("_", "-")] = call
    return call


def fact(look: Callable[[Environ], object]) -> Callable[[Environ], object]:
    """Make a look at the environ a route that answers with what it found."""

    def call(environ: Environ, start_response: Start) -> Iterable[bytes]:
        found = look(environ)
        start_response(OK, [TEXT])
        return [found if isinstance(found, bytes) else str(found).encode("latin-1")]

    ROUTES["/" + look.__name__.replace("_", "-")] = call
    return look


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()
