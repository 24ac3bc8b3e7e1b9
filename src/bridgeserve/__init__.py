"""bridgeserve: one asyncio-native HTTP server that runs an application where its kind belongs.

    bridgeserve.run("app:application", mode="threads")     # blocks, signals as on the command line
    await bridgeserve.serve(app)                           # inside a running loop; cancel it to stop
    async with bridgeserve.Server(app, bind="127.0.0.1:0") as server: ...

The keyword arguments are the command line's options with underscores.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import bridgeserve.serve as _package
from bridgeserve._version import __version__

if TYPE_CHECKING:
    from bridgeserve.api import Server, run, serve
    from bridgeserve.serve.application import StartupError
    from bridgeserve.sources import ConfigError

# `bridgeserve.serve` is the function; the package of that name is imported first, so that it never takes the place.
assert globals().pop("serve") is _package

__all__ = ["ConfigError", "Server", "StartupError", "__version__", "run", "serve"]

_HOMES = {
    "Server": "bridgeserve.api",
    "run": "bridgeserve.api",
    "serve": "bridgeserve.api",
    "StartupError": "bridgeserve.serve.application",
    "ConfigError": "bridgeserve.sources",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: a child of process mode needs none of them, and starts in half the time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
