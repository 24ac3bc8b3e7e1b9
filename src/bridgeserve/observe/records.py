"""The record of one request, made once at its end and handed to every sink. Ground: plain data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias


class RecordedRequest(Protocol):
    """The part of a request that a record is made of; the wire's Request has it."""

    method: bytes
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class RequestHead:
    """A request without its body."""

    __slots__ = ("body", "headers", "method", "target", "version")

    def __init__(self, request: RecordedRequest) -> None:
        self.method = request.method
        self.target = request.target
        self.version = request.version
        self.headers = request.headers
        self.body = b""


class RequestRecord:
    """What happened to one request.

    client is (address, port), or None on a unix socket. headers are those of the response. body_bytes
    counts the octets of the body that were sent, body_in those of the request's body that arrived. wall is the unix
    time at the arrival of the request head, duration the seconds from the complete head to the last octet handed to
    the transport. Of these, queue is the part in which the request was complete and waited for its thread, its process
    or its place, and app the part from the call of the app on. request_id is "" without --request-id. cut: the
    connection went away before the response was complete.
    """

    __slots__ = (
        "app",
        "body_bytes",
        "body_in",
        "client",
        "cut",
        "duration",
        "headers",
        "queue",
        "request",
        "request_id",
        "status",
        "wall",
    )

    def __init__(
        self,
        request: RecordedRequest,
        client: tuple[str, int] | None,
        status: int,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        # Records wait in queues of sinks; a queue bounded by its length must not hold the bodies.
        self.request: RecordedRequest = RequestHead(request) if request.body else request
        self.client = client
        self.status = status
        self.headers = headers
        self.body_bytes = 0
        self.body_in = len(request.body)
        self.wall = 0.0
        self.duration = 0.0
        self.queue = 0.0
        self.app = 0.0
        self.request_id = ""
        self.cut = False


# A sink is called on the loop's thread and must not block.
Sink: TypeAlias = Callable[[RequestRecord], None]
