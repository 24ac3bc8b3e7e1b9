"""The app of tests/e2e/test_asgi_frameworks.py with FastAPI."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI, Request, WebSocket, WebSocketDisconnect, WebSocketException
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse

app = FastAPI()
notices: list[str] = []


@app.websocket("/ws")
async def socket(websocket: WebSocket, key: str = "") -> None:
    """Echo; "bye" closes."""
    if key == "wrong":
        raise WebSocketException(code=1008)
    await websocket.accept(subprotocol="chat" if "chat" in websocket.scope["subprotocols"] else None)
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("text") == "bye":
                await websocket.close(4001, "as you say")
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        notices.append(f"left with {left.code}")


@app.get("/events")
async def events() -> StreamingResponse:
    """Server-sent events."""

    async def tell() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"

    return StreamingResponse(tell(), media_type="text/event-stream")


@app.post("/upload")
async def upload(request: Request) -> dict[str, object]:
    """Read a body as it comes."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}


@app.get("/file")
async def file() -> FileResponse:
    """This file."""
    return FileResponse(__file__)


@app.post("/notify", status_code=202)
async def notify(tasks: BackgroundTasks) -> None:
    """Answer, and then do something."""
    tasks.add_task(notices.append, "notified")


@app.get("/notices")
async def tell_notices() -> JSONResponse:
    """What happened in the background."""
    return JSONResponse(notices)
