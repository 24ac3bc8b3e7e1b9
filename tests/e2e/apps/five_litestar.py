"""The app of tests/e2e/test_asgi_frameworks.py with Litestar."""

import hashlib
from collections.abc import AsyncIterator

from litestar import Litestar, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import PermissionDeniedException, WebSocketDisconnect
from litestar.response import File, ServerSentEvent

notices: list[str] = []


async def note(word: str) -> None:
    notices.append(word)


@websocket("/ws")
async def handler(socket: WebSocket) -> None:
    """Echo; "bye" closes."""
    if socket.query_params.get("key") == "wrong":
        raise PermissionDeniedException("who are you")
    await socket.accept(subprotocols="chat" if "chat" in socket.scope["subprotocols"] else None)
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(code=message["code"], detail="")
            if message.get("text") == "bye":
                await socket.close(4001, "as you say")
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect as left:
        notices.append(f"left with {left.code}")


@get("/events")
async def events() -> ServerSentEvent:
    """Server-sent events."""

    async def tell() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    return ServerSentEvent(tell())


@post("/upload")
async def upload(request: Request) -> dict[str, object]:
    """Read a body as it comes."""
    digest, size = hashlib.sha256(), 0
    async for piece in request.stream():
        digest.update(piece)
        size += len(piece)
    return {"size": size, "digest": digest.hexdigest()}


@get("/file", sync_to_thread=False)
def file() -> File:
    """This file."""
    return File(__file__)


@post("/notify", status_code=202)
async def notify() -> Response[None]:
    """Answer, and then do something."""
    return Response(None, background=BackgroundTask(note, "notified"))


@get("/notices")
async def tell_notices() -> list[str]:
    """What happened in the background."""
    return notices


app = Litestar([handler, events, upload, file, notify, tell_notices], request_max_body_size=None)
