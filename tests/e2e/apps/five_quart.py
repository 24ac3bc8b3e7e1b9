"""The app of tests/e2e/test_asgi_frameworks.py with Quart."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from quart import Quart, Response, abort, request, send_file, websocket

app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = None
app.config["BODY_TIMEOUT"] = None
notices: list[str] = []


@app.websocket("/ws")
async def socket() -> None:
    """Echo; "bye" closes."""
    if websocket.args.get("key") == "wrong":
        abort(401)
    await websocket.accept(subprotocol="chat" if "chat" in websocket.requested_subprotocols else None)
    try:
        while True:
            message = await websocket.receive()
            if message == "bye":
                await websocket.close(4001, "as you say")
                return
            await websocket.send(message)
    except asyncio.CancelledError:
        notices.append("left with some code")
        raise


@app.get("/events")
async def events() -> Response:
    """Server-sent events."""

    async def tell() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"

    return Response(tell(), mimetype="text/event-stream")


@app.post("/upload")
async def upload() -> dict[str, object]:
    """Read a body as it comes."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.body:
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}


@app.get("/file")
async def file() -> Response:
    """This file."""
    return await send_file(__file__)


@app.post("/notify")
async def notify() -> tuple[str, int]:
    """Answer, and then do something."""

    async def work() -> None:
        notices.append("notified")

    app.add_background_task(work)
    return "", 202


@app.get("/notices")
async def tell_notices() -> list[str]:
    """What happened in the background."""
    return notices
