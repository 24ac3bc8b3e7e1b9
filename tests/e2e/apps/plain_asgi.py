"""The same as plain_wsgi.py for ASGI. What tests wait for it says on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

PIECE = 1024  # octets
EVENT = b"data: tick\n\n"

_counts = {"calls": 0, "opened": 0, "closed": 0}

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


async def start(send: Send, kind: bytes = b"text/plain", *headers: tuple[bytes, bytes]) -> None:
    fields = [(b"content-type", kind), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": fields})


async def body(send: Send, data: bytes, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


def fresh() -> bytes:
    """New memory each time, so that what a server keeps can be seen."""
    return b"x" * PIECE


async def stream(send: Send, pause: float, event: Callable[[], bytes]) -> None:
    """Endless; ends by the OSError of `send`, as the ASGI specification says."""
    _counts["opened"] += 1
    say(f"opened {_counts['opened']}")
    await start(send, b"text/event-stream")
    try:
        while True:
            await body(send, event(), more=True)
            await asyncio.sleep(pause)
    finally:
        _counts["closed"] += 1
        say(f"closed {_counts['closed']}")


async def watchful(receive: Receive, send: Send) -> None:
    """Says one thing and waits for the client to leave."""
    _counts["opened"] += 1
    say(f"opened {_counts['opened']}")
    await start(send, b"text/event-stream")
    await body(send, EVENT, more=True)
    while (await receive())["type"] != "http.disconnect":
        pass
    _counts["closed"] += 1
    say(f"closed {_counts['closed']}")


async def stuck_here() -> None:
    say("stuck")
    await asyncio.sleep(60.0)


async def late_work() -> None:
    """Does not let itself be cancelled."""
    work = asyncio.ensure_future(asyncio.sleep(1.0))
    while not work.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(work)
    say("late")


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    assert scope["type"] == "http", scope["type"]
    path = scope["path"]
    if path == "/counts":
        data = json.dumps(_counts).encode()
        await start(send, b"application/json", (b"content-length", str(len(data)).encode()))
        await body(send, data)
        return
    _counts["calls"] += 1
    if path == "/events":
        await stream(send, 0.05, lambda: EVENT)
    if path == "/flood":
        await stream(send, 0, fresh)
    if path == "/watchful":
        await watchful(receive, send)
        return
    if path == "/slow":
        say("slow")
        await asyncio.sleep(1.0)
    if path == "/stuck":
        await stuck_here()
    if path == "/late":
        await late_work()
    if path == "/raise-before":
        raise RuntimeError("secret detail")
    if path == "/raise-after":
        await start(send)
        await body(send, b"the beginning", more=True)
        raise RuntimeError("secret detail")
    if path == "/short":
        await start(send, b"text/plain", (b"content-length", b"100"))
        await body(send, b"not that long")
        return
    size = 0
    more = True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await start(send)
    await body(send, b"%s %s %d\n" % (scope["method"].encode(), path.encode(), size))
    if path == "/afterwards":  # the response has gone, the app has not
        say("afterwards")
        await asyncio.sleep(1.5)
        say("afterwards done")


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        say(message["type"])
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
