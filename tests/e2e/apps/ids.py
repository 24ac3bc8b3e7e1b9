"""Apps that tell what they know of the id of their request."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/slow` takes 0.3 s; `/own` sends an id of its own."""
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.3)
    told = {"field": environ.get("HTTP_X_REQUEST_ID"), "ours": environ.get("bridgeserve.request_id")}
    own = [("X-Request-ID", "own")] if environ["PATH_INFO"] == "/own" else []
    start_response("200 OK", [("Content-Type", "application/json"), *own])
    return [json.dumps({**told, "size": len(body)}).encode()]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    """The same without being slow."""
    if scope["type"] == "lifespan":
        raise RuntimeError("there is none")
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    field = [value.decode() for name, value in scope["headers"] if name == b"x-request-id"]
    ours = scope.get("extensions", {}).get("bridgeserve.request_id", {}).get("id")
    headers = [(b"content-type", b"application/json")]
    if scope["path"] == "/own":
        headers.append((b"X-Request-ID", b"own"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    told = {"field": field[0] if field else None, "ours": ours, "size": size}
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
