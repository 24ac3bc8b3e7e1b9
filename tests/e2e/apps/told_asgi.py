"""The same as told_wsgi.py for ASGI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from told_wsgi import PIECE, pieces

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    if scope["path"].endswith("/download"):
        count = int(scope["query_string"])
        await send({"type": "http.response.start", "status": 200, "headers": length(count * PIECE)})
        for piece in pieces(count):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    if scope["method"] == "PUT":
        digest = hashlib.sha256()
        more = True
        while more:
            message = await receive()
            digest.update(message.get("body", b""))
            more = message.get("more_body", False)
        told: dict[str, Any] = {"digest": digest.hexdigest()}
    else:
        keys = ("client", "scheme", "server", "root_path", "path")
        told = {key: scope[key] for key in keys}
        told["host"] = [value.decode() for name, value in scope["headers"] if name == b"host"]
        told["tls"] = scope.get("extensions", {}).get("tls")
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": length(len(body))})
    await send({"type": "http.response.body", "body": body})


def length(octets: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"text/plain"), (b"content-length", b"%d" % octets)]
