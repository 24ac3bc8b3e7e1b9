"""ASGI apps whose lifespan does not come to its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def hang() -> None:
    sys.stderr.write("app: hanging\n")
    sys.stderr.flush()
    await asyncio.sleep(60.0)


async def at_start(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await hang()


async def at_end(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await hang()


async def failing(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is away"})
