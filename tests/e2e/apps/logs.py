"""An app that ends its process in bad ways."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/crash` ends the process by SIGSEGV, `/exit` at once without any clean-up, `/print` writes to stdout."""
    path = environ["PATH_INFO"]
    logging.getLogger("bridgeserve.error").error("last words at %s", path)
    if path == "/crash":
        ctypes.string_at(0)
    if path == "/exit":
        os._exit(7)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
