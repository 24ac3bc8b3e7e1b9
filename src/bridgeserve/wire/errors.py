"""Errors of the wire, told apart by whose fault they are.

`WireError` is the peer's: it carries the status to answer with. `ResponseError` is the
application's: what it said cannot be sent. `CycleError` is ours: a bug in the caller.
"""

from __future__ import annotations


class WireError(Exception):
    """The peer sent something that is refused.

    :param status: the HTTP status to answer with (RFC 9110 section 15).
    :param reason: one short sentence for the debug log; holds no octet of the peer's.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ResponseError(ValueError):
    """The application's response cannot be put on the wire (bad header, bad status)."""


class CycleError(Exception):
    """An event that the table of `wire.cycle` does not have in the current state."""
