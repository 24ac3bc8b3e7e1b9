"""The same as mirror_wsgi.py for ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mirror_wsgi import ANSWERS, TEXT, write_down

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def seen(scope: dict[str, Any], body: bytes | None) -> dict[str, Any]:
    """The request as a record, all text as latin-1."""
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        separator = "; " if key == "cookie" else ","
        fields[key] = fields[key] + separator + text if key in fields else text
    raw = scope.get("raw_path")
    client = scope.get("client")
    return {
        "method": scope["method"],
        "path": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "raw": None if raw is None else raw.decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "version": scope["http_version"],
        "fields": fields,
        "body": None if body is None else body.decode("latin-1"),
        "port": int(client[1]) if client else None,
    }


async def read(receive: Receive) -> bytes | None:
    """The body; None when the client left before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def respond(send: Send, status: int, headers: list[tuple[str, str]], pieces: list[bytes]) -> None:
    """One body message for each piece, and a last empty one."""
    octets = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": octets})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    path = scope["path"]
    body = None
    if not path.startswith("/early"):
        body = await read(receive)
        if body is None:
            return
    record = write_down(seen(scope, body))
    if path in ANSWERS:
        status, headers, pieces = ANSWERS[path]
        await respond(send, int(status[:3]), headers, pieces)
    elif path == "/early/stream":
        await respond(send, 200, [TEXT], [b"one", b"two"])
    else:
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(record)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": record})
