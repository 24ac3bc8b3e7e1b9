"""The same small app for both interfaces. It does next to nothing, so that the server's own cost shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

BODY = b'{"id": 42, "name": "a small answer", "ok": true}'
TYPE = b"application/json"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]

ASGI_HEADERS = [(b"content-type", TYPE), (b"content-length", b"%d" % len(BODY))]
WSGI_HEADERS = [("Content-Type", TYPE.decode()), ("Content-Length", str(len(BODY)))]


async def asgi_app(
    scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer each request with BODY. There is no lifespan: an error says so, as the standard wants it."""
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    await send({"type": "http.response.start", "status": 200, "headers": ASGI_HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer each request with BODY."""
    start_response("200 OK", list(WSGI_HEADERS))
    return [BODY]


def a2wsgi_app() -> Any:
    """The WSGI app within a2wsgi, for ASGI servers. A factory, because a2wsgi may be absent."""
    from a2wsgi import WSGIMiddleware  # type: ignore[import-not-found,unused-ignore]

    return WSGIMiddleware(wsgi_app, workers=8)
