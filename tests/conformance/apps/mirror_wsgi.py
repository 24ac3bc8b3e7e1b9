"""A WSGI app that tells what it saw, in its answer and in the file that CONFORMANCE_JOURNAL names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

JOURNAL = os.environ["CONFORMANCE_JOURNAL"]
OTHER_NAMES = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}
TEXT = ("Content-Type", "text/plain")


def write_down(record: dict[str, Any]) -> bytes:
    """One line in the journal, in one write, so that several processes can share it; returns it."""
    line = json.dumps(record).encode() + b"\n"
    descriptor = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, line)
    os.close(descriptor)
    return line


def seen(environ: dict[str, Any], body: bytes | None) -> dict[str, Any]:
    """The request as a record, all text as latin-1."""
    fields = {
        OTHER_NAMES.get(key) or key[5:].replace("_", "-").lower(): value
        for key, value in environ.items()
        if key.startswith("HTTP_") or (key in OTHER_NAMES and value)
    }
    raw = environ.get("RAW_URI", environ.get("REQUEST_URI"))
    port = environ.get("REMOTE_PORT")
    return {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "raw": None if raw is None else raw.partition("?")[0],
        "query": environ.get("QUERY_STRING", ""),
        "version": environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        "fields": fields,
        "body": None if body is None else body.decode("latin-1"),
        "port": None if port is None else int(port),
    }


def read(environ: dict[str, Any]) -> bytes:
    """The body, as frameworks read it: to the end only where the server says that there is one."""
    stream = environ["wsgi.input"]
    data: bytes
    if environ.get("wsgi.input_terminated"):
        data = stream.read()
    else:
        data = stream.read(int(environ.get("CONTENT_LENGTH") or 0))
    return data


# What the app answers for a path: status, headers, pieces of the body.
ANSWERS: dict[str, tuple[str, list[tuple[str, str]], list[bytes]]] = {
    "/stream": ("200 OK", [TEXT], [b"one", b"", b"two"]),
    "/length": ("200 OK", [TEXT, ("Content-Length", "6")], [b"one", b"two"]),
    "/too-long": ("200 OK", [TEXT, ("Content-Length", "3")], [b"one", b"two"]),
    "/too-short": ("200 OK", [TEXT, ("Content-Length", "9")], [b"one", b"two"]),
    "/range": ("206 Partial Content", [TEXT, ("Content-Range", "bytes 0-2/6")], [b"one"]),
    "/date": ("200 OK", [TEXT, ("Date", "Thu, 01 Jan 1970 00:00:00 GMT")], [b"old"]),
    "/split-value": ("200 OK", [TEXT, ("X-A", "b\r\nX-Split: yes")], [b"one"]),
    "/split-lf": ("200 OK", [TEXT, ("X-A", "b\nX-Split: yes")], [b"one"]),
    "/split-cr": ("200 OK", [TEXT, ("X-A", "b\rX-Split: yes")], [b"one"]),
    "/split-body": ("200 OK", [TEXT, ("X-A", "b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")], [b"one"]),
    "/split-name": ("200 OK", [TEXT, ("X-A\r\nX-Split", "yes")], [b"one"]),
    "/split-nul": ("200 OK", [TEXT, ("X-A", "b\0c")], [b"one"]),
    "/control-value": ("200 OK", [TEXT, ("X-A", "b\x01c")], [b"one"]),
    "/space-name": ("200 OK", [TEXT, ("X A", "b")], [b"one"]),
    "/colon-name": ("200 OK", [TEXT, ("X-A:", "b")], [b"one"]),
    "/empty-name": ("200 OK", [TEXT, ("", "b")], [b"one"]),
    "/two-lengths": ("200 OK", [TEXT, ("Content-Length", "3"), ("Content-Length", "6")], [b"one", b"two"]),
    "/same-lengths": ("200 OK", [TEXT, ("Content-Length", "3"), ("content-length", "3")], [b"one"]),
    "/bad-length": ("200 OK", [TEXT, ("Content-Length", "+3")], [b"one"]),
    "/two-cookies": ("200 OK", [TEXT, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], [b"one"]),
    "/obs-text": ("200 OK", [TEXT, ("X-A", "caf\xe9")], [b"one"]),
    "/interim": ("102 Processing", [TEXT], [b"one"]),
    "/switch": ("101 Switching Protocols", [TEXT], [b"one"]),
}
for number in (204, 205, 304, 404, 299, 599):
    ANSWERS[f"/status/{number}"] = (f"{number} Odd", [TEXT], [b"content"])
    ANSWERS[f"/status/{number}/stream"] = (f"{number} Odd", [TEXT], [b"con", b"tent"])
    ANSWERS[f"/status/{number}/length"] = (f"{number} Odd", [TEXT, ("Content-Length", "7")], [b"content"])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    early = path.startswith("/early")
    record = write_down(seen(environ, None if early else read(environ)))
    if path in ANSWERS:
        status, headers, pieces = ANSWERS[path]
        start_response(status, list(headers))
        return iter(pieces)
    if path == "/early/stream":
        start_response("200 OK", [TEXT])
        return iter([b"one", b"two"])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(record)))])
    return [record]
