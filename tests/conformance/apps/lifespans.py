"""ASGI apps that say different things about their lifespan. Each is a module attribute."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


async def answer(send: Send, text: str) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text.encode()})


async def raises_for_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        say(f"no {scope['type']}")
        raise RuntimeError("only http here")
    await answer(send, "served")


async def raises_after_receive(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        raise RuntimeError("only http here")
    await answer(send, "served")


async def tells(scope: Scope, receive: Receive, send: Send) -> None:
    """All that it sees, in order."""
    if scope["type"] == "lifespan":
        say(f"scope {sorted(scope)} {scope['state']} {scope['asgi']['version']} {sorted(scope['asgi'])}")
        say((await receive())["type"])
        scope["state"]["made"] = "at the start"
        await send({"type": "lifespan.startup.complete", "extra": 1})
        say((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})
        return
    await answer(send, scope["state"]["made"])
    await asyncio.sleep(0)
    say("a request ended")


async def start_fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database today"})


async def start_fails_without_a_word(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed"})


async def stop_fails(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "cannot flush"})


async def returns_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await answer(send, "served")
