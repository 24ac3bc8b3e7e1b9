"""Is this object an ASGI or a WSGI app? Decided by what can be called and with how many arguments.

ASGI 3 is one asynchronous callable `(scope, receive, send)`; WSGI is `(environ, start_response)` (PEP 3333,
"The Application/Framework Side"). What cannot be told is an error that names `--interface`, never a guess.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

_WRAP = "wrap it with asgiref.compatibility.guarantee_single_callable"
_WAY_OUT = "say which one it is with --interface asgi or --interface wsgi"

# Where the signature says nothing (`*args`, compiled code), the name of a known base class does.
_MARKERS = {
    "starlette.applications.Starlette": "asgi",
    "quart.app.Quart": "asgi",
    "django.core.handlers.asgi.ASGIHandler": "asgi",
    "litestar.app.Litestar": "asgi",
    "django.core.handlers.wsgi.WSGIHandler": "wsgi",
    "flask.app.Flask": "wsgi",
    "falcon.app.App": "wsgi",
    "falcon.asgi.app.App": "asgi",
    "pyramid.router.Router": "wsgi",
    "bottle.Bottle": "wsgi",
}


class Undetected(TypeError):
    """The object is no app, or cannot be told; the message says what to do."""


def detect_interface(app: object) -> str:
    """ "asgi" or "wsgi". Raises Undetected."""
    if not callable(app):
        raise Undetected(f"{_describe(app)} is not callable, so it is no app")
    if isinstance(app, type):
        return _detect_class(app)
    function = _called(app)
    counts = _counts(app)
    if _is_async(function):
        if counts is not None and not _takes(counts, 3):
            raise Undetected(f"{_describe(app)} is async but does not take (scope, receive, send); {_WAY_OUT}")
        return "asgi"
    if counts is not None:
        kind = _by_counts(app, counts)
        if kind:
            return kind
    for base in type(app).__mro__:
        kind = _MARKERS.get(f"{base.__module__}.{base.__qualname__}", "")
        if kind:
            return kind
    raise Undetected(f"cannot tell whether {_describe(app)} is an ASGI or a WSGI app; {_WAY_OUT}")


def _describe(app: object) -> str:
    name = getattr(app, "__qualname__", "")
    return (
        f"{name} ({type(app).__name__})"
        if isinstance(name, str) and name
        else f"the object of type {type(app).__qualname__}"
    )


def _called(app: object) -> object:
    """The function that a call of `app` ends in: below partials, wrappers and `__call__`."""
    for _ in range(32):  # wrappers of wrappers, but no cycle
        if isinstance(app, partial):
            app = app.func
        elif inspect.isfunction(app) or inspect.ismethod(app):
            below = getattr(app, "__wrapped__", None)
            if below is None or _is_async(app):
                return app
            app = below
        else:
            # Look at the type: the interpreter calls type(app).__call__, whatever the instance holds.
            call = getattr(type(app), "__call__", None)  # noqa: B004 (the function itself is wanted)
            if not inspect.isfunction(call) or isinstance(app, type):
                return app
            app = call
    return app


def _is_async(function: object) -> bool:
    """An `async def`, or a function that asgiref's markcoroutinefunction has marked as one."""
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.isroutine(function) and getattr(function, "_is_coroutine", None) is not None


def _counts(app: Callable[..., Any]) -> tuple[int, float, list[str]] | None:
    """How many positional arguments a call needs and takes, and their names; None when nobody can tell."""
    try:
        parameters = list(inspect.signature(app).parameters.values())
    except (ValueError, TypeError):
        return None
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in positional)
    most: float = float("inf") if any(each.kind is each.VAR_POSITIONAL for each in parameters) else len(positional)
    return needed, most, [each.name for each in positional]


def _takes(counts: tuple[int, float, list[str]], number: int) -> bool:
    return counts[0] <= number <= counts[1]


def _by_counts(app: object, counts: tuple[int, float, list[str]]) -> str:
    """The kind of a callable that is not async itself, or "" where the signature leaves it open."""
    needed, most, names = counts
    if needed == 3 and most >= 3:
        return "asgi"  # a plain function may return the coroutine of an async one
    if needed == 2 and (most == 2 or names[0] in ("environ", "env")):
        return "wsgi"
    if most == 0:
        raise Undetected(f"{_describe(app)} takes no arguments; if it returns the app, use --factory")
    if most == 1 and names[:1] == ["scope"]:
        raise Undetected(_double(app))
    if most == 1:
        raise Undetected(f"{_describe(app)} takes one argument: WSGI takes two, ASGI takes three")
    if most == 2:
        return "wsgi"
    return ""


def _double(app: object) -> str:
    return f"{_describe(app)} is an ASGI 2 app (called twice); only ASGI 3 is served: {_WRAP}"


def _detect_class(app: type) -> str:
    """A class that is called per request: its instances are the coroutine (ASGI) or the iterable (WSGI, PEP
    3333).
    """
    counts = _counts(app)
    call = inspect.unwrap(app.__dict__.get("__call__") or (lambda: None))
    if counts is not None:
        if hasattr(app, "__await__") and _takes(counts, 3):
            return "asgi"
        if hasattr(app, "__iter__") and _takes(counts, 2):
            return "wsgi"
        if counts[0] == 1 and _is_async(call) and len(inspect.signature(call).parameters) == 3:
            raise Undetected(_double(app))
        if _is_async(call) or len(inspect.signature(call).parameters) >= 3:
            raise Undetected(
                f"{_describe(app)} is a class, its instances are the app: use --factory, or name an instance"
            )
    raise Undetected(f"cannot tell whether {_describe(app)} is an ASGI or a WSGI app; {_WAY_OUT}")
