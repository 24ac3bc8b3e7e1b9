"""What the children of the tests run, by path."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def streams() -> list[int]:
    """The descriptors of stream sockets: the one that the engine has given."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as each:
            if each.type == socket.SOCK_STREAM:
                found.append(int(name))
    return found


def wait_for(path: str) -> None:
    """Until the test has made this file."""
    end = time.monotonic() + 15.0
    while not Path(path).exists() and time.monotonic() < end:
        time.sleep(0.01)


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    body = str(os.getpid()).encode()
    if path == "/crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif path == "/fault":
        ctypes.string_at(0)
    elif path == "/exit":
        os._exit(3)
    elif path == "/half":
        start_response("200 OK", [])(b"half")
        os._exit(3)
    elif path == "/stuck":
        time.sleep(1000)
    elif path == "/garbage":
        for descriptor in streams():
            os.write(descriptor, b"this is no frame")
        wait_for("/never")
    elif path in ("/wait", "/health/wait"):
        Path(query + ".here").touch()
        wait_for(query)
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/raise":
        raise KeyError("boom")
    elif path == "/lingering":
        threading.Thread(target=time.sleep, args=(1000,)).start()
    elif path == "/holder":  # a process that outlives us and holds all that we had
        with open(os.devnull, "rb") as null:
            left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=null, close_fds=False)
        Path(query).write_text(str(left.pid), "ascii")
        os._exit(3)
    elif path == "/print":
        print("from the application")  # noqa: T201
    start_response("200 OK", [("X-Multi", str(environ["wsgi.multiprocess"]))])
    return [body]


if os.environ.get("PROCESS_APP_FAILS") or Path(os.environ.get("PROCESS_APP_FAILS_IF", "/nowhere")).exists():
    raise RuntimeError("the application cannot be imported")
if Path(os.environ.get("PROCESS_APP_HANGS_IF", "/nowhere")).exists():
    time.sleep(1000)
