"""The lane: which requests it takes, and how it cuts a body."""

from __future__ import annotations

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire.gate import read_head
from bridgeserve.wire.plain import LengthBody, takes


@pytest.mark.parametrize(
    ("head", "taken"),
    [
        (b"GET / HTTP/1.1\r\nHost: a", True),
        (b"GET / HTTP/1.0", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c", False),
        (b"GET http://a/ HTTP/1.1\r\nHost: a", False),
        (b"OPTIONS * HTTP/1.1\r\nHost: a", False),
    ],
)
def test_takes(head: bytes, taken: bool) -> None:
    assert takes(read_head(head, Limits())) is taken


def test_a_body_of_a_known_length() -> None:
    body = LengthBody(5)
    assert body.feed(b"..ab", 2) == (b"ab", 4)
    assert (body.remaining, body.ended) == (3, False)
    assert body.feed(b"", 0) == (b"", 0)
    assert body.feed(b"cdeGET", 0) == (b"cde", 3)
    assert body.ended
    assert body.feed(b"GET", 0) == (b"", 0)
