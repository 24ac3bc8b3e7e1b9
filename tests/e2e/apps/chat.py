"""A chat for a real browser: a page, a WebSocket that sends what one says to all, and the same as events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

PAGE = """<!doctype html>
<title>Chat</title>
<ul id="lines"></ul>
<script>
const seen = [];
const show = word => {
    seen.push(word);
    const item = document.createElement("li");
    item.textContent = word;
    lines.append(item);
};
const end = problem => fetch("/result", {method: "POST", body: JSON.stringify({problem, seen})});
const events = new EventSource("/events");
events.onerror = () => end("events");
events.onopen = () => {
    const socket = new WebSocket("ws://" + location.host + "/chat", ["chat"]);
    socket.onerror = () => end("socket");
    socket.onopen = () => {
        show("open " + socket.protocol + " " + socket.extensions.split(";")[0]);
        socket.send("hello \\u00e9 " + "x".repeat(200));
        socket.send(new Uint8Array([0, 255, 1]));
    };
    socket.binaryType = "arraybuffer";
    socket.onmessage = async message => {
        if (typeof message.data === "string") show("said " + message.data.length);
        else { show("octets " + new Uint8Array(message.data).join(" ")); socket.send("bye") }
    };
    let closed = false, told = false;
    const done = () => { if (closed && told) { events.close(); end("") } };
    socket.onclose = event => { show(`closed ${event.code} ${event.reason} ${event.wasClean}`); closed = true; done() };
    events.onmessage = event => { show("event " + event.data.length); told = true; done() };
};
</script>
"""
listeners: set[asyncio.Queue[str]] = set()


async def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


async def chat(websocket: WebSocket) -> None:
    await websocket.accept("chat")
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") == "bye":
            await websocket.close(4000, "bye yourself")
            return
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
            for queue in listeners:
                queue.put_nowait(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


async def events(request: Request) -> Response:
    async def tell() -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        listeners.add(queue)
        try:
            yield ": hello\n\n"
            while True:
                try:
                    word = await asyncio.wait_for(queue.get(), 0.5)
                    yield f"data: {word}\n\n"
                except TimeoutError:
                    yield ": beat\n\n"  # by which it learns that a client has left
        finally:
            listeners.discard(queue)

    return StreamingResponse(tell(), media_type="text/event-stream")


async def result(request: Request) -> Response:
    sys.stderr.write(f"app: result {(await request.body()).decode()}\n")
    sys.stderr.flush()
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/", page),
        Route("/events", events),
        Route("/result", result, methods=["POST"]),
        WebSocketRoute("/chat", chat),
    ]
)
