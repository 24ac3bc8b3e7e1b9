"""A port without a connection: it records what the runner calls and what a client would have got."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from bridgeserve.dispatch.base import ClientDisconnected, Endpoint
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead, informational

Headers = list[tuple[bytes, bytes]]
TCP = Endpoint("http", ("192.0.2.7", 40000), ("127.0.0.1", 8000))


def make_request(
    method: bytes = b"GET",
    target: bytes = b"/",
    headers: Headers | None = None,
    body: bytes = b"",
    version: str = "1.1",
) -> Request:
    """A complete request as the wire tells it."""
    given = [(b"host", b"example.test")] if headers is None else headers
    if body:
        given = [*given, (b"content-length", b"%d" % len(body))]
    request = Request(method, target, version, given)
    request.path, _, request.query = target.partition(b"?")
    request.body = body
    request.content_length = len(body) if body else None
    return request


class FakePort:
    """A Port in memory.

    `calls` holds each call with its arguments. `leave_after` is the number of body calls (write, finish,
    send_file) after which the client is gone; 0: it is gone at once.
    """

    def __init__(self, request: Request | None = None, endpoint: Endpoint = TCP, sends_files: bool = True) -> None:
        self.request = request or make_request()
        self.endpoint = endpoint
        self.sends_files = sends_files
        self.leave_after: int | None = None
        self.calls: list[tuple[Any, ...]] = []
        self.status = 0
        self.reason = b""
        self.headers: Headers = []
        self.sent = b""
        self.complete = False
        self.cut = False
        self.informed: list[bytes] = []
        self._body: BinaryIO | None = None

    @property
    def names(self) -> list[str]:
        """The calls without their arguments."""
        return [call[0] for call in self.calls]

    def body(self) -> BinaryIO:
        if self._body is None:
            self._body = io.BytesIO(self.request.body)
        return self._body

    def inform(self, status: int, headers: Headers) -> None:
        self.informed.append(informational(status, headers))
        self.calls.append(("inform", status, headers))

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        self._check()
        assert not self.status, "a second head"
        self.status, self.reason, self.headers = head.status, head.line[13:-2], list(head.headers)
        self.calls.append(("respond", self.status, self.reason, self.headers, body, end))
        self.sent += body
        self.complete = end

    def write(self, data: bytes) -> None:
        self._more("write", data)

    def finish(self, data: bytes = b"") -> None:
        self._more("finish", data)
        self.complete = True

    def send_file(self, file: int, offset: int, count: int) -> bool:
        self._check()
        if self.sends_files:
            self._more("send_file", os.pread(file, count, offset))
        return self.sends_files

    def flush(self) -> None:
        """Nothing is held back."""

    def abort(self) -> None:
        if not self.complete:
            self.cut = True
            self.calls.append(("abort",))

    def disconnected(self) -> bool:
        return self.leave_after == 0

    def leave(self) -> None:
        """The client goes."""
        self.leave_after = 0

    def _more(self, name: str, data: bytes) -> None:
        self._check()
        assert self.status, "body octets before the head"
        assert not self.complete, "body octets after the end"
        if self.leave_after is not None:
            self.leave_after -= 1
        self.calls.append((name, data))
        self.sent += data

    def _check(self) -> None:
        if self.leave_after == 0:
            raise ClientDisconnected("the client left")
