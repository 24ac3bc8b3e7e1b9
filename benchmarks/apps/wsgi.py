"""The apps for WSGI, one for each workload. They do next to nothing, so that the server's own cost shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.apps import content

Environ = dict[str, Any]
Start = Callable[..., object]


def _answer(start_response: Start, body: bytes, kind: str = content.JSON) -> list[bytes]:
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """A small constant answer."""
    return _answer(start_response, content.BODY)


def json_post(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Read JSON, answer JSON."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return _answer(start_response, content.total(body))


def stream_down(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """As many MiB as the query says, in pieces of 64 KiB."""
    count = content.pieces(environ["QUERY_STRING"])
    length = str(count * len(content.PIECE))
    start_response("200 OK", [("Content-Type", content.OCTETS), ("Content-Length", length)])
    return (content.PIECE for _ in range(count))


def upload(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Read the body in pieces of 64 KiB and answer its size."""
    length = environ.get("CONTENT_LENGTH")
    left = int(length) if length else None  # chunked: to the end
    read, size = environ["wsgi.input"].read, 0
    while left is None or size < left:
        data = read(65536 if left is None else min(65536, left - size))
        if not data:
            break
        size += len(data)
    return _answer(start_response, content.counted(size))


def file(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """A file, by the server's own wrapper where it has one."""
    # Closed by the wrapper, or with the last reference to the iterator.
    opened = open(content.file_name(), "rb")  # noqa: SIM115
    length = str(os.fstat(opened.fileno()).st_size)
    start_response("200 OK", [("Content-Type", content.OCTETS), ("Content-Length", length)])
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper(opened, 65536) if wrapper else iter(lambda: opened.read(65536), b"")


def io_wait(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Wait as for a database."""
    time.sleep(content.WAIT_SECONDS)
    return _answer(start_response, content.BODY)


def nap(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Hold a thread for a moment."""
    time.sleep(content.NAP_SECONDS)
    return _answer(start_response, content.BODY)


def cpu(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Compute."""
    return _answer(start_response, content.compute(), "text/plain")


def mixed(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """Slow on one path, quick on all others."""
    if environ["PATH_INFO"] == content.SLOW_PATH:
        time.sleep(content.SLOW_SECONDS)
    return _answer(start_response, content.BODY)
