"""Where an application finds the id of its request (`--request-id`): as X-Request-Id, and by a name of ours."""

from __future__ import annotations

from typing import Any

FIELD = b"x-request-id"
KEY = "bridgeserve.request_id"


def identified(app: Any, kind: str) -> Any:
    """The application, told the id of each request: environ["bridgeserve.request_id"], or for ASGI
    scope["extensions"]["bridgeserve.request_id"]["id"], as text.
    """

    def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
        environ[KEY] = environ["HTTP_X_REQUEST_ID"]
        return app(environ, start_response)

    def asgi(scope: dict[str, Any], receive: Any, send: Any) -> Any:
        # The lifespan has no fields.
        value = next((value for name, value in scope.get("headers", ()) if name == FIELD), None)
        if value is not None:
            scope["extensions"] = {**scope.get("extensions", {}), KEY: {"id": value.decode("ascii")}}
        return app(scope, receive, send)

    return asgi if kind == "asgi" else wsgi
