"""Each WSGI app within a2wsgi, for ASGI servers: `benchmarks.apps.bridged:hello` and so on."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.apps import wsgi

THREADS_VARIABLE = "BENCHMARK_THREADS"


def __getattr__(name: str) -> Any:
    """The app of that name, wrapped when it is asked for: a2wsgi may be absent."""
    if name.startswith("_"):
        raise AttributeError(name)
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(_find(name), workers=int(os.environ.get(THREADS_VARIABLE, "8")))


def _find(name: str) -> Any:
    if name == "flask":
        from benchmarks.apps.flask_app import app

        return app
    if name == "django":
        from benchmarks.apps.django_app import wsgi_app

        return wsgi_app
    return getattr(wsgi, name)
