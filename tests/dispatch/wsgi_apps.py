"""Small WSGI apps, and what the tests of the runner ask about their answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from bridgeserve.dispatch.wsgi import WsgiRunner
from dispatch.fake_port import FakePort

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], Any]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]
PLAIN = [("Content-Type", "text/plain")]


def runner(app: App) -> WsgiRunner:
    return WsgiRunner(app, multithread=True, multiprocess=False)


def serve(app: App, port: FakePort | None = None) -> FakePort:
    """Run an app for one request."""
    port = port or FakePort()
    runner(app).run(port)
    return port


def steps(app: App, port: FakePort) -> Iterator[None]:
    """Run an app step by step: pauses after each chunk that is not the last, ends the call early when closed."""
    call = runner(app).begin(port)
    try:
        while call.step():
            yield
    finally:
        call.end()


def answer(body: Any, status: str = "200 OK", headers: Any = PLAIN) -> App:
    """An app with that answer."""

    def app(environ: Environ, start_response: StartResponse) -> Any:
        start_response(status, list(headers) if isinstance(headers, list) else headers)
        return body

    return app


def raising(error: BaseException) -> App:
    """An app that raises."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise error

    return app


class Chunks:
    """An iterable that counts how often it is closed; exceptions in it are raised."""

    def __init__(self, *chunks: Any, closing: BaseException | None = None) -> None:
        self._chunks = iter(chunks)
        self._closing = closing
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        if isinstance(chunk, BaseException):
            raise chunk
        assert isinstance(chunk, bytes)
        return chunk

    def close(self) -> None:
        self.closed += 1
        if self._closing is not None:
            raise self._closing


def failed(port: FakePort, caplog: pytest.LogCaptureFixture, message: str = "") -> bool:
    """The app failed before its head: 500, and one record with the traceback."""
    assert port.names == ["respond"]
    assert (port.status, port.sent, port.complete) == (500, b"Internal Server Error", True)
    assert port.headers[0][1].startswith(b"text/plain")
    return logged(caplog, message)


def cut(port: FakePort, caplog: pytest.LogCaptureFixture, message: str = "") -> bool:
    """The app failed after its head: the connection is cut, one record."""
    assert (port.cut, port.complete) == (True, False)
    return logged(caplog, message)


def logged(caplog: pytest.LogCaptureFixture, message: str) -> bool:
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("bridgeserve.error", logging.ERROR)
    assert record.exc_info is not None and message in str(record.exc_info[1])
    return True
