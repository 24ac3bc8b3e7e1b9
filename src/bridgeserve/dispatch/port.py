"""The blocking twin of an exchange: what the WSGI runner talks to, wherever the application runs."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead


class Port(Protocol):
    """One request and its response, seen from the application's side.

    Framing is decided below: the runner passes on what the application said. `respond`, `write`,
    `finish` and `send_file` raise ClientDisconnected when nobody is there to write to.
    """

    @property
    def request(self) -> Request:
        """The request head, and the body where it is small."""

    @property
    def endpoint(self) -> Endpoint:
        """Facts about the connection."""

    def body(self) -> BinaryIO:
        """wsgi.input: the request body as a file that ends where the body does."""

    def inform(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send an interim response such as 103; raises ValueError for what cannot be sent."""

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """Send the head with the first octets of the body, or (`end`) all of it."""

    def write(self, data: bytes) -> None:
        """Send more; waits while the client is slow."""

    def finish(self, data: bytes = b"") -> None:
        """Send the last octets."""

    def send_file(self, file: int, offset: int, count: int) -> bool:
        """Send octets of a descriptor as the body; False: nothing was sent, it has to be read instead."""

    def flush(self) -> None:
        """Let go out what was said: the application may take its time from here on."""

    def abort(self) -> None:
        """Cut the connection so that the client can tell that the response is not whole."""

    def disconnected(self) -> bool:
        """True once the client has sent its last octet or is gone."""
