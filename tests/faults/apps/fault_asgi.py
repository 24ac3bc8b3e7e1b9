"""The same as fault_wsgi.py for ASGI, and lifespans that fail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from deeds import DEEDS, PIECE, raise_now, say

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
PLAIN = [(b"content-type", b"text/plain")]


async def start(send: Send, headers: Any = PLAIN, status: Any = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def body(send: Send, data: Any, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def fault(send: Send, where: str, name: str) -> None:
    if where in ("call", "next"):
        raise_now(name)
    await start(send)
    if where in ("started", "first"):
        raise_now(name)
    await body(send, b"the beginning", more=True)
    if where == "later":
        raise_now(name)
    await body(send, b" and the end\n")
    raise_now(name)


async def read(receive: Receive) -> int:
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            say(f"read error after {size}")
            return -1
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            say(f"read whole {size}")
            return size


async def wrong(send: Send, how: str) -> None:
    """Responses that cannot be sent as they are."""
    heads: dict[str, tuple[Any, Any]] = {
        "split": ([(b"x", b"a\r\nset-cookie: b")], 200),
        "name": ([(b"x y", b"a")], 200),
        "number": ([(b"x", 1)], 200),
        "none": (None, 200),
        "status": (PLAIN, "OK"),
        "code": (PLAIN, 99),
        "length": ([(b"content-length", b"-1")], 200),
        "lengths": ([(b"content-length", b"1"), (b"content-length", b"2")], 200),
    }
    if how in heads:
        await start(send, *heads[how])
        await body(send, b"x")
    elif how == "text":
        await start(send)
        await body(send, "text")
    elif how == "no-start":
        await body(send, b"x")
    elif how == "nothing":
        await start(send)
    else:
        await start(send, [(b"content-length", b"5")])
        await body(send, b"short"[:3] if how == "short" else b"longer than that")


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path: str = scope["path"]
    if path.startswith("/raise/"):
        await fault(send, *path.split("/")[2:])
        return
    if path.startswith("/wrong/"):
        await wrong(send, path[7:])
        return
    if path in DEEDS:
        DEEDS[path]()
    if path == "/stream":
        await start(send)
        try:
            while True:
                await body(send, b"x" * PIECE, more=True)
        finally:
            say("stream closed")
    if path == "/download":
        await start(send)
        for _ in range(16):
            await body(send, b"d" * PIECE, more=True)
        await body(send, b"")
        return
    if path.startswith("/sleep/"):
        await asyncio.sleep(float(path.split("/")[2]))
    if path == "/swallow":
        await swallow(receive)
    size = await read(receive) if scope["method"] == "POST" else 0
    if size >= 0:
        await start(send)
        await body(send, b"%s %d\n" % (path.encode("latin-1"), size))


async def swallow(receive: Receive) -> None:
    """Waits for its client to leave, and lets nobody interrupt it."""
    say("swallowing")
    await receive()
    for _ in range(3):
        try:
            await receive()
        except asyncio.CancelledError:
            say("swallowed")


async def lifespan(receive: Receive, send: Send) -> None:
    """Raises at the moment and what TEST_LIFESPAN says."""
    when, _, name = os.environ.get("TEST_LIFESPAN", "").partition("/")
    await receive()
    if when == "startup":
        raise_now(name)
    await send({"type": "lifespan.startup.complete"})
    if when == "serving":
        raise_now(name)
    await receive()
    if when == "shutdown":
        raise_now(name)
    await send({"type": "lifespan.shutdown.complete"})
