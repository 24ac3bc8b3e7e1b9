"""Routes of pep3333_app.py: bodies, errors, files, and the referee."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

from pep3333_base import OK, ROUTES, TEXT, Environ, Route, Start, fact, route, say

RELEASED = Path(os.environ["CONFORMANCE_JOURNAL"] + ".released")  # a file, for there may be several processes
_never = threading.Event()  # waiting for it is a sleep that says why


# --- the body ----------------------------------------------------------------------------------------


@route
def octets(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(OK, [("Content-Type", "application/octet-stream")])
    return [bytes(range(128)), bytes(range(128, 256)), b"\r\n\n\r"]


@route
def empty_list(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(OK, [TEXT])
    return []


@route
def one_chunk(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(OK, [TEXT])
    return [b"four"]


@route
def writes(environ: Environ, start_response: Start) -> Iterable[bytes]:
    write = start_response(OK, [TEXT])
    write(b"one")
    write(b"two")
    return [b"three"]


@route
def writes_text(environ: Environ, start_response: Start) -> Iterable[bytes]:
    write = start_response(OK, [TEXT])
    write("text")  # type: ignore[arg-type]
    return []


@route
def writes_past_its_length(environ: Environ, start_response: Start) -> Iterable[bytes]:
    write = start_response(OK, [TEXT, ("Content-Length", "3")])
    write(b"one")
    write(b"two")
    return []


@route
def gives_text(environ: Environ, start_response: Start) -> Iterable[Any]:
    start_response(OK, [TEXT])
    return ["text"]


@route
def less_than_its_length(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response(OK, [TEXT, ("Content-Length", "9")])
    return iter([b"one"])


class Body:
    """An iterable that tells when it is closed, and what was asked of it."""

    def __init__(self, word: str, *chunks: bytes | Exception, count: int | None = None) -> None:
        self._word = word
        self._chunks = chunks
        self._count = count

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def close(self) -> None:
        say(f"closed {self._word}")


class Sized(Body):
    """One whose len() is right."""

    def __len__(self) -> int:
        return len(self._chunks)


class Endless(Body):
    """One that never ends by itself."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"one"


class Watched(Body):
    """One that notes which other attributes are asked for."""

    def __init__(self) -> None:
        super().__init__("watched")
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.__dict__["asked"].add(name)
        raise AttributeError(name)

    def __iter__(self) -> Iterator[bytes]:
        yield repr(sorted(self.asked)).encode()


def _body(make: Callable[[], Iterable[bytes]], *more: tuple[str, str], status: str = OK) -> Route:
    def call(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response(status, [TEXT, *more])
        return make()

    return call


ROUTES |= {
    "/closes": _body(lambda: Body("normally", b"one", b"two")),
    "/closes-after-an-error": _body(lambda: Body("after an error", b"one", RuntimeError("in the middle"))),
    "/closes-after-an-early-error": _body(lambda: Body("early", RuntimeError("at the beginning"))),
    "/closes-for-a-leaver": _body(lambda: Endless("for a leaver")),
    "/closes-what-is-empty": _body(lambda: Body("empty")),
    "/sized": _body(lambda: Sized("sized", b"four")),
    "/watched": _body(Watched),
    "/endless": _body(lambda: Endless("without a body")),
    "/endless-204": _body(lambda: Endless("without a body"), status="204 No Content"),
    "/endless-304": _body(lambda: Endless("without a body"), status="304 Not Modified"),
    "/endless-with-a-length": _body(lambda: Endless("with a length"), ("Content-Length", "5")),
}


class BadClose(Body):
    """One whose close() fails."""

    def close(self) -> None:
        raise RuntimeError("close failed")


ROUTES["/bad-close"] = _body(lambda: BadClose("never", b"one", b"two"))


@route
def unbuffered(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """Ends when the client has seen its first chunk and has said so by /release, or much later."""
    start_response(OK, [TEXT])
    RELEASED.unlink(missing_ok=True)
    yield b"first"
    for _ in range(5000):
        if RELEASED.exists():
            yield b"released"
            return
        yield b"."
        _never.wait(0.001)
    yield b"too late"


@fact
def release(environ: Environ) -> object:
    RELEASED.touch()
    return "released"


# --- errors, files, and the referee ------------------------------------------------------------------


@route
def raises(environ: Environ, start_response: Start) -> Iterable[bytes]:
    raise RuntimeError("secret of the app")


@route
def raises_after_start(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("201 Created", [TEXT, ("X-Old", "yes")])
    raise RuntimeError("secret of the app")


@route
def exits(environ: Environ, start_response: Start) -> Iterable[bytes]:
    raise SystemExit(7)


@route
def raises_in_the_middle(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response(OK, [TEXT])
    yield b"one"
    raise RuntimeError("secret of the app")


def _file(length: str | None, real: bool, skip: int = 0, block: tuple[int, ...] = ()) -> Route:
    def call(environ: Environ, start_response: Start) -> Iterable[bytes]:
        file: Any = tempfile.TemporaryFile() if real else io.BytesIO()  # noqa: SIM115  the wrapper closes it
        file.write(b"0123456789" * 1000)
        file.seek(skip)
        start_response(OK, [TEXT, *([("Content-Length", length)] if length else [])])
        made: Iterable[bytes] = environ["wsgi.file_wrapper"](file, *block)
        return made

    return call


ROUTES |= {
    "/file": _file(None, True),
    "/file-with-a-block-size": _file(None, True, block=(100,)),
    "/file-from-its-position": _file(None, True, skip=9990),
    "/file-with-a-length": _file("15", True),
    "/file-in-memory": _file(None, False, skip=9995),
}


@route
def file_is_closed(environ: Environ, start_response: Start) -> Iterable[bytes]:
    class Told(io.BytesIO):
        def close(self) -> None:
            if not self.closed:
                say("closed the file")
            super().close()

    start_response(OK, [TEXT])
    made: Iterable[bytes] = environ["wsgi.file_wrapper"](Told(b"told"))
    return made


@validator
def validated(environ: Environ, start_response: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(100)
    start_response(OK, [TEXT])
    return [b"valid ", body]


ROUTES["/validated"] = validated
