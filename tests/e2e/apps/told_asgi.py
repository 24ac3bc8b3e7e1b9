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
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
        return
    if scope["type"] != "http":
        raise RuntimeError("neither HTTP nor WebSocket")
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
        told = facts(scope)
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": length(len(body))})
    await send({"type": "http.response.body", "body": body})


def facts(scope: dict[str, Any]) -> dict[str, Any]:
    told = {key: scope[key] for key in ("client", "scheme", "server", "root_path", "path")}
    told["host"] = [value.decode() for name, value in scope["headers"] if name == b"host"]
    told["tls"] = scope.get("extensions", {}).get("tls")
    return told


async def websocket(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Says what it was told, and then whatever the client says."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(facts(scope))})
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({**message, "type": "websocket.send"})


def length(octets: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"text/plain"), (b"content-length", b"%d" % octets)]
