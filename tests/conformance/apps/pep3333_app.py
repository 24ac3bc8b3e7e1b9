"""A WSGI app with a route for each sentence of PEP 3333 that a server can break. Each answers what it found."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pep3333_bodies
from pep3333_base import OK, ROUTES, TEXT, Environ, Route, Start, fact, route, say

__all__ = ["application", "pep3333_bodies"]


def application(*arguments: Any) -> Iterable[bytes]:
    environ, start_response = arguments  # PEP 3333: two positional arguments
    return ROUTES[environ["PATH_INFO"].split("/x", 1)[0]](environ, start_response)


@route
def probe(environ: Environ, start_response: Start) -> Iterable[bytes]:
    """The client of the suite asks for it to see that the connection is open."""
    start_response(OK, [("Content-Type", "application/json")])
    return [b'{"path": "/probe"}']


# --- environ ---------------------------------------------------------------------------------------

CGI = re.compile(r"[A-Z0-9_]+")
EXTENSION = re.compile(r"(?:wsgi|bridgeserve)\.[a-z0-9_.]+")


@fact
def environ_is_a_dict(environ: Environ) -> object:
    return type(environ) is dict


@fact
def all_strings_are_native(environ: Environ) -> object:
    return [key for key, value in environ.items() if CGI.fullmatch(key) and type(value) is not str]


@fact
def all_strings_are_latin_1(environ: Environ) -> object:
    return [key for key, value in environ.items() if type(value) is str and max(map(ord, value), default=0) > 255]


@fact
def keys_have_their_form(environ: Environ) -> object:
    return [key for key in environ if not CGI.fullmatch(key) and not EXTENSION.fullmatch(key)]


@fact
def required_keys(environ: Environ) -> object:
    needed = (
        "REQUEST_METHOD SERVER_NAME SERVER_PORT SERVER_PROTOCOL wsgi.version wsgi.url_scheme wsgi.input wsgi.errors"
    )
    more = "wsgi.multithread wsgi.multiprocess wsgi.run_once SCRIPT_NAME PATH_INFO QUERY_STRING"
    return [key for key in (needed + " " + more).split() if key not in environ]


@fact
def never_empty(environ: Environ) -> object:
    return [key for key in ("REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL") if not environ[key]]


@fact
def content_headers_have_no_http_key(environ: Environ) -> object:
    return [key for key in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH") if key in environ]


@fact
def versions(environ: Environ) -> object:
    return (environ["wsgi.version"], environ["wsgi.url_scheme"])


@fact
def flags(environ: Environ) -> object:
    return [bool(environ[f"wsgi.{name}"]) for name in ("multithread", "multiprocess", "run_once")]


@fact
def show(environ: Environ) -> object:
    """The keys that X-Show names."""
    return "|".join(str(environ.get(key, "absent")) for key in environ["HTTP_X_SHOW"].split(","))


@fact
def port_is_ours(environ: Environ) -> object:
    return environ["SERVER_NAME"] == "127.0.0.1" and environ["HTTP_X_PORT"] == environ["SERVER_PORT"]


@fact
def path(environ: Environ) -> object:
    return environ["PATH_INFO"]


@fact
def url(environ: Environ) -> object:
    """PEP 3333 "URL Reconstruction"."""
    made = environ["wsgi.url_scheme"] + "://" + environ["HTTP_HOST"]
    made += quote(environ["SCRIPT_NAME"], encoding="latin-1") + quote(environ["PATH_INFO"], encoding="latin-1")
    return made + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")


@fact
def clears(environ: Environ) -> object:
    environ.clear()
    return "cleared"


# --- wsgi.input and wsgi.errors ----------------------------------------------------------------------


@fact
def read_all(environ: Environ) -> object:
    return environ["wsgi.input"].read()


@fact
def read_past_the_end(environ: Environ) -> object:
    stream = environ["wsgi.input"]
    return [stream.read(), stream.read(), stream.read(5), stream.readline(), stream.readlines(), list(stream)]


@fact
def read_sizes(environ: Environ) -> object:
    stream = environ["wsgi.input"]
    return [stream.read(2), stream.read(0), stream.read(1), stream.read(1000)]


@fact
def read_lines(environ: Environ) -> object:
    stream = environ["wsgi.input"]
    return [stream.readline(), stream.readline(2), stream.readline(), stream.readlines()]


@fact
def read_lines_with_a_hint(environ: Environ) -> object:
    lines = environ["wsgi.input"].readlines(1)
    return b"".join(lines) + environ["wsgi.input"].read()


@fact
def iterate_lines(environ: Environ) -> object:
    return list(environ["wsgi.input"])


@fact
def errors(environ: Environ) -> object:
    stream = environ["wsgi.errors"]
    stream.write("app: error line\n")
    stream.writelines(["app: error lines\n"])
    stream.flush()
    return "written"


# --- start_response ----------------------------------------------------------------------------------


@route
def reason(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("404 Nowhere to be seen", [TEXT])
    return [b"x"]


def _status(given: Any) -> Route:
    def call(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response(given, [TEXT])
        return [b"x"]

    return call


for name, given in {
    "word": "OK",
    "short": "20 OK",
    "bytes": b"200 OK",
    "newline": "200 OK\r\nX-Split: yes",
    "control": "200 O\x01K",
    "number": 200,
}.items():
    ROUTES["/status-" + name] = _status(given)


def _headers(given: Any) -> Route:
    def call(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response(OK, given)
        return [b"x"]

    return call


for name, headers in {
    "tuple": (TEXT,),
    "bytes": [(b"Content-Type", b"text/plain")],
    "not-a-pair": ["Content-Type"],
    "not-latin-1": [("X-A", "\u20ac")],
    **{
        field: [TEXT, (field, "x")]
        for field in ("Connection", "Keep-Alive", "Proxy-Authenticate", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
    },
}.items():
    ROUTES["/headers-" + name] = _headers(headers)


@route
def no_start_response(environ: Environ, start_response: Start) -> Iterable[bytes]:
    return [b"x"]


@route
def start_in_the_iterator(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("203 Late", [TEXT])
    yield b"late"


@route
def start_after_empty_chunks(environ: Environ, start_response: Start) -> Iterator[bytes]:
    yield b""
    yield b""
    start_response("203 Late", [TEXT])
    yield b"late"


@route
def start_twice(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(OK, [TEXT])
    try:
        start_response("201 Created", [TEXT])
    except Exception:
        return [b"raised"]
    return [b"not raised"]


def _exc_info() -> Any:
    try:
        raise LookupError("the app's own")
    except LookupError:
        return sys.exc_info()


@route
def replaced_before_the_head(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(OK, [TEXT, ("X-Old", "yes")])
    start_response("503 Sorry", [TEXT, ("X-New", "yes")], _exc_info())
    return [b"sorry"]


@route
def replaced_after_empty_chunks(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, [TEXT, ("X-Old", "yes")])
    yield b""
    start_response("503 Sorry", [TEXT, ("X-New", "yes")], _exc_info())
    yield b"sorry"


@route
def replaced_too_late(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, [TEXT])
    yield b"one"
    try:
        start_response("503 Sorry", [TEXT], _exc_info())
    except LookupError as error:
        say(f"it is {error}")
    yield b"two"
