"""Request ids (`--request-id`): exchanges that have one.

The id is that of X-Request-Id when a trusted peer sends a plain one, else a new one. It takes the place of what the
client sent, so that the application finds it where applications and libraries look for it, in every mode.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.dispatch.identity import FIELD
from bridgeserve.net.exchange import Exchange
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead

if TYPE_CHECKING:
    from bridgeserve.net.connection import Connection

# What uuids, ULIDs, hexadecimal numbers and trace ids are made of, and base64: nothing that a log or a shell reads.
_PLAIN = re.compile(rb"[0-9A-Za-z._~+/=:@-]{1,128}")


class IdentifiedExchange(Exchange):
    """An exchange whose request has an id, for the log and for the application."""

    __slots__ = ("request_id",)

    def __init__(self, connection: Connection, request: Request, endpoint: Endpoint, now: float) -> None:
        super().__init__(connection, request, endpoint, now)
        self.request_id = identify(request, endpoint.trusted)

    @staticmethod
    def identity(request: Request) -> str:
        """See Exchange."""
        return next((value for name, value in request.headers if name == FIELD), b"").decode("ascii")


class EchoingExchange(IdentifiedExchange):
    """One that sends the id in the response too, unless the application sends one."""

    __slots__ = ()

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """See Exchange."""
        if not any(name.lower() == FIELD for name, _ in head.headers):
            head = head.with_field(FIELD, self.request_id)
        super().respond(head, body, end)


def identify(request: Request, trusted: bool) -> bytes:
    """The id of a request, which is its only X-Request-Id from now on."""
    fields = [field for field in request.headers if field[0] != FIELD]
    given = [value for name, value in request.headers if name == FIELD] if trusted else []
    value = given[0] if len(given) == 1 and _PLAIN.fullmatch(given[0]) else os.urandom(16).hex().encode("ascii")
    lines = request.raw.split(b"\r\n")
    # A child of process mode reads the raw head.
    if len(fields) != len(request.headers):
        lines = [line for line in lines if line.partition(b":")[0].lower() != FIELD]
    request.raw = b"\r\n".join([*lines, b"%s: %s" % (FIELD, value)])
    request.headers = [*fields, (FIELD, value)]
    return value
