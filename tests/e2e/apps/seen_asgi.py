"""Keeps what reaches it, and answers with the target; /seen tells all, in order."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_seen: list[dict[str, Any]] = []


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError("HTTP only")
    path = scope["raw_path"].decode()
    body = b""
    request = {"method": scope["method"], "path": path, "peer": scope["client"], "body": "", "whole": False}
    if path != "/seen":
        _seen.append(request)
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            request |= {"body": body.decode("latin-1"), "whole": True}
            break
    if not request["whole"]:
        return
    answer = json.dumps(_seen).encode() if path == "/seen" else f"<{path}>".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(answer))],
        }
    )
    await send({"type": "http.response.body", "body": answer})
