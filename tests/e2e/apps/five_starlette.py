"""The app of tests/e2e/test_asgi_frameworks.py with Starlette."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

notices: list[str] = []


async def socket(websocket: WebSocket) -> None:
    """Echo; "bye" closes."""
    if websocket.query_params.get("key") == "wrong":
        await websocket.send_denial_response(JSONResponse({"error": "who are you"}, status_code=401))
        return
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


async def events(request: Request) -> Response:
    """Server-sent events."""

    async def tell() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"

    return StreamingResponse(tell(), media_type="text/event-stream")


async def upload(request: Request) -> Response:
    """Read a body as it comes."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return JSONResponse({"size": size, "digest": digest.hexdigest()})


async def file(request: Request) -> Response:
    """This file."""
    return FileResponse(__file__)


async def notify(request: Request) -> Response:
    """Answer, and then do something."""
    return Response(status_code=202, background=BackgroundTask(notices.append, "notified"))


async def tell_notices(request: Request) -> Response:
    """What happened in the background."""
    return JSONResponse(notices)


app = Starlette(
    routes=[
        WebSocketRoute("/ws", socket),
        Route("/events", events),
        Route("/upload", upload, methods=["POST"]),
        Route("/file", file),
        Route("/notify", notify, methods=["POST"]),
        Route("/notices", tell_notices),
    ]
)
