"""The app that the container check serves: an answer at once, a slow one, and how many slow ones run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

slow: list[float] = []


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/` says who runs it, `/slow` takes two seconds, `/busy` counts the slow ones that run now."""
    path = environ.get("PATH_INFO", "/")
    body = f"uid {os.getuid()}\n"
    if path == "/slow":
        started = time.monotonic()
        slow.append(started)
        time.sleep(2)
        slow.remove(started)
        body = "slow and whole\n"
    elif path == "/busy":
        body = f"{len(slow)}\n"
    elif path == "/broken":
        raise RuntimeError("the app is broken on purpose")
    data = body.encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
    return [data]
