"""A WSGI app that puts what the client has sent into what it raises, and stays too long where it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

_never = threading.Event()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith("/raise"):
        raise RuntimeError(path + environ.get("HTTP_USER_AGENT", ""))
    if path.startswith("/stay"):
        _never.wait(2.0)
    if path.startswith("/bad"):
        start_response("200 OK", [("X-Path", path)])  # with its line ends: an error of the app
        return []
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
