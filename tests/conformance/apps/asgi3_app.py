"""An ASGI app with a route for each sentence of the specification that a server can break."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Route = Callable[[Scope, Receive, Send], Awaitable[Any]]

TEXT = (b"content-type", b"text/plain")
START = {"type": "http.response.start", "status": 200, "headers": [TEXT]}
ROUTES: dict[str, Route] = {}
left = asyncio.Event()


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


def route(call: Route) -> Route:
    """Make a function the route of its name."""
    ROUTES["/" + call.__name__.replace("_", "-")] = call
    return call


def body(data: bytes, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, **more}


async def tell(send: Send, found: object) -> None:
    """Answer with what was found."""
    await send(START)
    await send(body(found if isinstance(found, bytes) else str(found).encode()))


def fact(look: Callable[[Scope], object]) -> Callable[[Scope], object]:
    """Make a look at the scope a route that answers with what it found."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await tell(send, look(scope))

    ROUTES["/" + look.__name__.replace("_", "-")] = call
    return look


async def application(scope: Scope, receive: Receive, send: Send) -> Any:
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["shared"] = ["from the start"]
        scope["state"]["word"] = "from the start"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return None
    return await ROUTES[scope["path"].split("/x", 1)[0]](scope, receive, send)


@route
async def probe(scope: Scope, receive: Receive, send: Send) -> None:
    """The client of the suite asks for it to see that the connection is open."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send(body(b'{"path": "/probe"}'))


# --- the scope -----------------------------------------------------------------------------------------

TYPES = {
    "type": str,
    "http_version": str,
    "method": str,
    "scheme": str,
    "path": str,
    "raw_path": bytes,
    "query_string": bytes,
    "root_path": str,
}


@fact
def types(scope: Scope) -> object:
    return [key for key, kind in TYPES.items() if type(scope[key]) is not kind]


@fact
def scope_is_a_dict(scope: Scope) -> object:
    return type(scope) is dict


@fact
def versions(scope: Scope) -> object:
    return (scope["type"], scope["asgi"]["version"], type(scope["asgi"]["spec_version"]) is str)


@fact
def show(scope: Scope) -> object:
    """The key that the query names."""
    return repr(scope[scope["query_string"].decode().split("&")[0]])


@fact
def headers(scope: Scope) -> object:
    return json.dumps([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])


@fact
def headers_are_octets(scope: Scope) -> object:
    return all(
        type(name) is bytes and type(value) is bytes and name == name.lower() for name, value in scope["headers"]
    )


@fact
def addresses(scope: Scope) -> object:
    (client, port), (server, own) = scope["client"], scope["server"]
    return (client, type(port) is int and port > 0, server, type(own) is int and own > 0)


@fact
def spoils_the_scope(scope: Scope) -> object:
    scope["asgi"] = scope["headers"] = None
    scope["state"]["word"] = "spoilt"
    scope["state"]["shared"].append("more")
    return "spoilt"


@fact
def state(scope: Scope) -> object:
    return (scope["state"]["word"], scope["state"]["shared"][0])


# --- receive -------------------------------------------------------------------------------------------


@route
async def messages(scope: Scope, receive: Receive, send: Send) -> None:
    """The types of the messages, whether each but the last says more_body, and the body."""
    got = [await receive()]
    while got[-1].get("more_body", False):
        got.append(await receive())
    kinds = sorted({message["type"] for message in got})
    octets = all(type(message.get("body", b"")) is bytes for message in got)
    await tell(send, (kinds, octets, b"".join(message.get("body", b"") for message in got)))


@route
async def receives_after_the_response(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await tell(send, "done")
    say(f"then {(await receive())['type']} and {(await receive())['type']}")


@route
async def sends_after_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    await tell(send, "one")
    for message in (body(b"two"), body(b"three", more_body=True), START, {"type": "http.response.trailers"}):
        await send(message)
    say("went on after the end")


@route
async def waits_for_the_client(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send(START)
    await send(body(b"here", more_body=True))
    say(f"the client: {(await receive())['type']}")
    try:
        await send(body(b"still here", more_body=True))
    except OSError:
        say("send raised OSError")
    raise RuntimeError("the end of the app")


@route
async def receives_while_it_sends(scope: Scope, receive: Receive, send: Send) -> None:
    """One task receives for as long as the response takes, as frameworks do."""
    await receive()
    watching = asyncio.create_task(receive())  # noqa: TID251  an app may
    await send(START)
    await send(body(b"one", more_body=True))
    await send(body(b"two"))
    say(f"the watching task got {(await watching)['type']}")


# --- send ------------------------------------------------------------------------------------------------


def _sends(*parts: dict[str, Any]) -> Route:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        for message in parts:
            await send(message)

    return call


def _start(**more: Any) -> dict[str, Any]:
    return {**START, **more}


class Octets(bytes):
    """A byte string by another name."""


ROUTES |= {
    "/no-headers": _sends({"type": "http.response.start", "status": 200}, body(b"x")),
    "/headers-of-a-generator": _sends(_start(headers=(pair for pair in [TEXT])), body(b"x")),
    "/headers-of-tuples": _sends(_start(headers=((b"x-a", b"b"),)), body(b"x")),
    "/headers-of-lists": _sends(_start(headers=[[b"x-a", b"b"], [b"x-c", b"d"]]), body(b"x")),
    "/no-body-key": _sends(START, {"type": "http.response.body"}),
    "/more-keys": _sends(_start(extra=1), body(b"x", extra=2)),
    "/stream": _sends(START, body(b"one", more_body=True), body(b"", more_body=True), body(b"two")),
    "/stream-that-ends-empty": _sends(START, body(b"one", more_body=True), body(b"")),
    "/transfer-encoding": _sends(_start(headers=[TEXT, (b"transfer-encoding", b"chunked")]), body(b"x")),
    "/transfer-encoding-of-a-stream": _sends(
        _start(headers=[TEXT, (b"transfer-encoding", b"chunked")]), body(b"x", more_body=True), body(b"")
    ),
    "/closes": _sends(_start(headers=[TEXT, (b"connection", b"close")]), body(b"x")),
    "/keep-alive": _sends(_start(headers=[TEXT, (b"connection", b"keep-alive"), (b"keep-alive", b"5")]), body(b"x")),
    "/trailers-without-the-extension": _sends(_start(trailers=False), body(b"x")),
    "/nothing": _sends(),
    "/start-only": _sends(START),
    "/unfinished": _sends(START, body(b"one", more_body=True)),
    "/unfinished-length": _sends(_start(headers=[TEXT, (b"content-length", b"9")]), body(b"one")),
    "/status-418": _sends(_start(status=418), body(b"x")),
}


def _refuses(first: list[dict[str, Any]], wrong: dict[str, Any]) -> Route:
    """A message that has to raise into the app, which then answers by other means."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        for message in first:
            await send(message)
        try:
            await send(wrong)
        except Exception as error:
            say(f"raised {type(error).__name__}")
            if not first:
                await tell(send, "raised")
            else:
                await send(body(b"raised"))
            return
        await (send(body(b"not raised")) if first else tell(send, "not raised"))

    return call


ROUTES |= {
    "/refuses-a-body-first": _refuses([], body(b"x")),
    "/refuses-an-unknown-type": _refuses([], {"type": "http.response.nonsense"}),
    "/refuses-another-protocol": _refuses([], {"type": "websocket.accept"}),
    "/refuses-no-type": _refuses([], {"status": 200}),
    "/refuses-no-status": _refuses([], {"type": "http.response.start", "headers": []}),
    "/refuses-a-status-of-text": _refuses([], _start(status="200")),
    "/refuses-headers-of-text": _refuses([], _start(headers=[("x-a", "b")])),
    "/refuses-a-value-of-text": _refuses([], _start(headers=[(b"x-a", "b")])),
    "/refuses-a-split": _refuses([], _start(headers=[(b"x-a", b"b\r\nx-split: yes")])),
    "/refuses-a-second-start": _refuses([START], START),
    "/refuses-a-body-of-text": _refuses([START], body("x")),  # type: ignore[arg-type]
    "/refuses-an-unknown-type-later": _refuses([START], {"type": "http.response.nonsense"}),
}


# --- extensions ------------------------------------------------------------------------------------------

TRAILERS = [
    body(b"one", more_body=True),
    body(b"two"),
    {"type": "http.response.trailers", "headers": [(b"x-sum", b"6")], "more_trailers": True},
    {"type": "http.response.trailers", "headers": [(b"x-more", b"7")]},
]
PATHSEND = {"type": "http.response.pathsend", "path": __file__}
HINT = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}

ROUTES |= {
    "/trailers": _sends(_start(trailers=True), *TRAILERS),
    "/promised-trailers": _sends(_start(trailers=True), body(b"one")),
    "/hint": _sends(HINT, {"type": "http.response.debug", "info": {}}, START, body(b"x")),
    "/path": _sends(START, PATHSEND),
    "/refuses-trailers-nobody-promised": _refuses([START], TRAILERS[-1]),
    "/refuses-a-hint-after-the-start": _refuses([START], HINT),
    "/refuses-a-path-first": _refuses([], PATHSEND),
    "/refuses-a-relative-path": _refuses([START], {**PATHSEND, "path": "asgi3_app.py"}),
    "/refuses-a-link-of-text": _refuses([], {**HINT, "links": ["</a.css>"]}),
}


@fact
def extensions(scope: Scope) -> object:
    return sorted(scope["extensions"])


@route
async def pieces_of_a_file(scope: Scope, receive: Receive, send: Send) -> None:
    """With a length the socket takes them itself, without one they go in chunks."""
    length = [(b"content-length", b"20")] if scope["query_string"] else []
    with open(__file__, "rb") as file:  # noqa: ASYNC230  small, and there
        await send(_start(headers=[TEXT, *length]))
        await send({"type": "http.response.zerocopysend", "file": file, "offset": 3, "count": 10, "more_body": True})
        await send(body(b"=====", more_body=True))
        await send({"type": "http.response.zerocopysend", "file": file.fileno(), "count": 5})


# --- errors ----------------------------------------------------------------------------------------------


@route
async def raises(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret of the app")


@route
async def raises_after_start(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_start(status=201, headers=[(b"x-old", b"yes")]))
    raise RuntimeError("secret of the app")


@route
async def raises_in_the_middle(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"one", more_body=True))
    raise RuntimeError("secret of the app")


@route
async def raises_after_the_response(scope: Scope, receive: Receive, send: Send) -> None:
    await tell(send, "done")
    raise RuntimeError("secret of the app")


@route
async def exits(scope: Scope, receive: Receive, send: Send) -> None:
    raise SystemExit(7)
