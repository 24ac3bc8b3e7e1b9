"""A WSGI app for the tests of process mode: it crashes, hangs, leaves things behind, and says which process it is."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

PIECE = 65536
HELD = 30.0  # seconds, where a test fails to let go
FACTS = ("wsgi.multiprocess", "wsgi.multithread", "REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT")

_never = threading.Event()


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


def hold() -> None:
    """Wait until the test makes the file named in the environment."""
    say("held")
    file = Path(os.environ["TEST_LET_GO"])
    end = time.monotonic() + HELD
    while not file.exists() and time.monotonic() < end:
        _never.wait(0.01)


def spin() -> None:
    """A loop that never lets another thread of this process be first for long, and never ends."""
    say("spinning")
    while True:
        pass


def watch(gone: Callable[[], bool]) -> None:
    say("watching")
    end = time.monotonic() + HELD
    while not gone() and time.monotonic() < end:
        _never.wait(0.01)
    say(f"gone {gone()}")


def speak() -> None:
    """Lines by every way there is."""
    for number in range(300):
        sys.stdout.write(f"out {number} " + "o" * 200 + "\n")
        sys.stderr.write(f"err {number} " + "e" * 200 + "\n")
    os.write(1, b"raw out\n")
    os.write(2, b"raw err\n")


def last_words() -> None:
    sys.stderr.write("last words without an end of line")
    sys.stderr.flush()
    os._exit(0)


def interrupt() -> None:
    raise KeyboardInterrupt


def leave_behind() -> bytes:
    """A process that has our pipes and outlives us."""
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    say(f"left {left.pid}")
    left.returncode = 0  # it is not waited for
    return str(left.pid).encode()


def crash_and_leave() -> None:
    leave_behind()
    os._exit(1)


def close_sockets() -> None:
    """What a bug in a C library may do: close what is not its own, here the socket for files."""
    descriptor = int(sys.orig_argv[-3])
    os.close(descriptor)


def stay() -> None:
    """A thread that does not end with its process."""
    threading.Thread(target=_never.wait, args=(60.0,)).start()


def slow_pieces() -> Generator[bytes, None, None]:
    for _ in range(5):
        yield b"p" * 1000
        _never.wait(0.004)


def numbered_pieces(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield number.to_bytes(8) * (PIECE // 8)


def size_of(body: Any) -> int:
    size = 0
    while data := body.read(PIECE):
        size += len(data)
    return size


DEEDS: dict[str, Callable[[], Any]] = {
    "/hold": hold,
    "/spin": spin,
    "/speak": speak,
    "/segfault": lambda: ctypes.string_at(0),
    "/os-exit": lambda: os._exit(0),
    "/sys-exit": sys.exit,
    "/interrupt": interrupt,
    "/last-words": last_words,
    "/crash-and-leave": crash_and_leave,
    "/close-sockets": close_sockets,
    "/stay": stay,
    "/work": lambda: _never.wait(0.005),
}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    plain = [("Content-Type", "text/plain")]
    if path in DEEDS:
        DEEDS[path]()
    elif path == "/watch":
        watch(environ["bridgeserve.disconnected"])
    elif path == "/pieces":
        start_response("200 OK", plain)
        return slow_pieces()
    elif path.startswith("/download/"):
        start_response("200 OK", plain)
        return numbered_pieces(int(path.rpartition("/")[2]))
    elif path == "/file":
        start_response("200 OK", plain)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(os.environ["TEST_FILE"], "rb"))  # noqa: SIM115
        return wrapped
    elif path == "/leave-behind":
        start_response("200 OK", plain)
        return [leave_behind()]
    elif path == "/facts":
        start_response("200 OK", plain)
        return [json.dumps({name: environ[name] for name in FACTS}).encode()]
    size = size_of(environ["wsgi.input"])
    start_response("200 OK", plain)
    return [json.dumps({"pid": os.getpid(), "size": size}).encode()]
