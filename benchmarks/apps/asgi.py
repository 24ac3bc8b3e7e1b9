"""The apps for ASGI, one for each workload. There is no lifespan: an error says so, as the standard wants it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from benchmarks.apps import content

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def _http(scope: Message) -> None:
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")


async def _start(send: Send, length: int, kind: str = content.JSON) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _answer(send: Send, body: bytes, kind: str = content.JSON) -> None:
    await _start(send, len(body), kind)
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    """A small constant answer."""
    _http(scope)
    await _answer(send, content.BODY)


async def json_post(scope: Message, receive: Receive, send: Send) -> None:
    """Read JSON, answer JSON."""
    _http(scope)
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await _answer(send, content.total(body))


async def stream_down(scope: Message, receive: Receive, send: Send) -> None:
    """As many MiB as the query says, in pieces of 64 KiB."""
    _http(scope)
    count = content.pieces(scope["query_string"])
    await _start(send, count * len(content.PIECE), content.OCTETS)
    for left in range(count - 1, -1, -1):
        await send({"type": "http.response.body", "body": content.PIECE, "more_body": left > 0})


async def upload(scope: Message, receive: Receive, send: Send) -> None:
    """Read the body as it comes and answer its size."""
    _http(scope)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return  # the client left
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, content.counted(size))


async def file(scope: Message, receive: Receive, send: Send) -> None:
    """A file, by the server's own sending where it offers that."""
    _http(scope)
    name = content.file_name()
    await _start(send, os.stat(name).st_size, content.OCTETS)
    if "http.response.pathsend" in (scope.get("extensions") or {}):
        await send({"type": "http.response.pathsend", "path": name})
        return
    with open(name, "rb") as opened:  # noqa: ASYNC230 - its pages are in memory
        while data := opened.read(65536):
            await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def io_wait(scope: Message, receive: Receive, send: Send) -> None:
    """Wait as for a database."""
    _http(scope)
    await asyncio.sleep(content.WAIT_SECONDS)
    await _answer(send, content.BODY)


async def nap(scope: Message, receive: Receive, send: Send) -> None:
    """Hold one of the places for a moment."""
    _http(scope)
    await asyncio.sleep(content.NAP_SECONDS)
    await _answer(send, content.BODY)


async def cpu(scope: Message, receive: Receive, send: Send) -> None:
    """Compute."""
    _http(scope)
    await _answer(send, content.compute(), "text/plain")


async def mixed(scope: Message, receive: Receive, send: Send) -> None:
    """Slow on one path, quick on all others."""
    _http(scope)
    if scope["path"] == content.SLOW_PATH:
        await asyncio.sleep(content.SLOW_SECONDS)
    await _answer(send, content.BODY)
