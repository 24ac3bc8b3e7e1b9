"""An ASGI app with a WebSocket for each sentence of the specification that a server can break."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Route = Callable[[Scope, Receive, Send], Awaitable[Any]]

ACCEPT = {"type": "websocket.accept"}
LENGTH = (b"content-length", b"11")
ROUTES: dict[str, Route] = {}


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


def route(call: Route) -> Route:
    """Make a function the route of its name."""
    ROUTES["/" + call.__name__.replace("_", "-")] = call
    return call


async def application(scope: Scope, receive: Receive, send: Send) -> Any:
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["word"] = "from the start"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return None
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        return await send({"type": "http.response.body", "body": b"http"})
    return await ROUTES[scope["path"].split("/x", 1)[0]](scope, receive, send)


def text(data: object) -> dict[str, Any]:
    return {"type": "websocket.send", "text": str(data)}


def fact(look: Callable[[Scope], object]) -> Callable[[Scope], object]:
    """Make a look at the scope a route that sends what it found, and returns."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        first = await receive()
        assert first == {"type": "websocket.connect"}, first
        await send(ACCEPT)
        await send(text(look(scope)))

    ROUTES["/" + look.__name__.replace("_", "-")] = call
    return look


def _sends(*messages: dict[str, Any]) -> Route:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    return call


def _refuses(before: list[dict[str, Any]], message: dict[str, Any], *after: dict[str, Any]) -> Route:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        for earlier in before:
            await send(earlier)
        try:
            await send(message)
        except Exception as error:  # which one is the server's choice
            say(f"raised {type(error).__name__}: {error}")
            for later in after:
                await send(later)

    return call


# --- the scope


@fact
def scope(scope: Scope) -> object:
    scope.pop("client")
    scope.pop("server")
    scope["headers"] = [name for name, _ in scope["headers"]]
    return {key: scope[key] for key in sorted(scope)}


# --- the handshake

ROUTES |= {
    "/accepts": _sends(ACCEPT),
    "/accepts-with-headers": _sends({**ACCEPT, "headers": [(b"x-a", b"b"), [b"x-c", b"d"]]}),
    "/accepts-with-none": _sends({**ACCEPT, "subprotocol": None, "headers": None}),
    "/chooses": _sends({**ACCEPT, "subprotocol": "two"}),
    "/refuses": _sends({"type": "websocket.close"}),
    "/refuses-with-a-code": _sends({"type": "websocket.close", "code": 4000, "reason": "no"}),
    "/denies": _sends(
        {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"b"), LENGTH]},
        {"type": "websocket.http.response.body", "body": b"who ", "more_body": True},
        {"type": "websocket.http.response.body", "body": b"are you"},
    ),
    "/nothing": _sends(),
    "/invents-a-subprotocol": _refuses([], {**ACCEPT, "subprotocol": "three"}, ACCEPT),
    "/names-the-subprotocol-twice": _refuses([], {**ACCEPT, "headers": [(b"sec-websocket-protocol", b"two")]}, ACCEPT),
    "/splits": _refuses([], {**ACCEPT, "headers": [(b"x", b"a\r\nb: c")]}, ACCEPT),
    "/headers-of-text": _refuses([], {**ACCEPT, "headers": [("x", "y")]}, ACCEPT),
    "/sends-first": _refuses([], text("x"), ACCEPT),
    "/answers-by-http": _refuses([], {"type": "http.response.start", "status": 200}, ACCEPT),
}


@route
async def raises_first(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret of the app")


# --- messages


@route
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    say(f"{message} and {await receive() == message}")


@route
async def sends_to_the_gone(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    message = await receive()
    say(f"got {message['type']} {message['code']}")
    try:
        await send(text("x"))
    except OSError:
        say("send raised OSError")
    await send({"type": "websocket.close"})
    say("close raised nothing")


@route
async def receives_in_a_task(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(ACCEPT)
    receiving = asyncio.create_task(receive())  # noqa: TID251  an app may
    await send(text("ready"))
    message = await receiving
    await send(text(message["text"]))


@route
async def receives_before_it_accepts(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    receiving = asyncio.create_task(receive())  # noqa: TID251  an app may
    await asyncio.sleep(0)
    await send(ACCEPT)
    await send(text((await receiving)["text"]))


@route
async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    await send(ACCEPT)
    raise RuntimeError("secret of the app")


ROUTES |= {
    "/both-kinds": _sends(
        ACCEPT,
        {**text("a"), "bytes": None},
        {"type": "websocket.send", "text": None, "bytes": b"b"},
        {"type": "websocket.send", "bytes": b""},
    ),
    "/closes": _sends(ACCEPT, {"type": "websocket.close"}),
    "/closes-with-a-reason": _sends(ACCEPT, {"type": "websocket.close", "code": 3001, "reason": "done \u00e9"}),
    "/closes-without-a-reason": _sends(ACCEPT, {"type": "websocket.close", "code": 3001, "reason": None}),
    "/more-keys": _sends({**ACCEPT, "extra": 1}, {**text("x"), "extra": 1}),
    "/accepts-twice": _refuses([ACCEPT], ACCEPT, text("on")),
    "/sends-neither": _refuses([ACCEPT], {"type": "websocket.send"}, text("on")),
    "/sends-both": _refuses([ACCEPT], {**text("x"), "bytes": b"x"}, text("on")),
    "/sends-octets-as-text": _refuses([ACCEPT], {"type": "websocket.send", "text": b"x"}, text("on")),
    "/sends-text-as-octets": _refuses([ACCEPT], {"type": "websocket.send", "bytes": "x"}, text("on")),
    "/sends-a-surrogate": _refuses([ACCEPT], text("\ud800"), text("on")),
    "/sends-nonsense": _refuses([ACCEPT], {"type": "websocket.nonsense"}, text("on")),
    "/denies-late": _refuses([ACCEPT], {"type": "websocket.http.response.start", "status": 401}, text("on")),
    "/closes-with-a-bad-code": _refuses([ACCEPT], {"type": "websocket.close", "code": 1006}, text("on")),
    "/closes-with-a-long-reason": _refuses([ACCEPT], {"type": "websocket.close", "reason": "x" * 124}, text("on")),
    "/sends-after-the-close": _refuses([ACCEPT, {"type": "websocket.close"}], text("x")),
    "/closes-twice": _refuses([ACCEPT, {"type": "websocket.close"}], {"type": "websocket.close"}),
}
