"""A WSGI app that says what it was told of its client; it takes uploads and sends downloads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

PIECE = 1 << 16
KEYS = (
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "wsgi.url_scheme",
    "HTTPS",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
    "PATH_INFO",
    "HTTP_HOST",
    "HTTP_X_FORWARDED_FOR",
)


def pieces(count: int) -> Iterator[bytes]:
    """Pieces of which each is another, so that a lost or doubled one shows."""
    for number in range(count):
        yield number.to_bytes(8) * (PIECE // 8)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"].endswith("/download"):
        count = int(environ["QUERY_STRING"])
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(count * PIECE))])
        return pieces(count)
    if environ["PATH_INFO"].endswith("/file"):
        size = os.path.getsize(__file__)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(size))])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: SIM115 (the server closes it)
        return result
    if environ["REQUEST_METHOD"] == "PUT":
        digest = hashlib.sha256()
        while data := environ["wsgi.input"].read(PIECE):
            digest.update(data)
        told: dict[str, Any] = {"digest": digest.hexdigest()}
    else:
        told = {key: environ[key] for key in KEYS if key in environ}
        told.update((key, value) for key, value in environ.items() if key.startswith("SSL_"))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]
