"""The law: what h11 is asked, and what is done where it refuses what the gate let through."""

from __future__ import annotations

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire import gate
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.reference import ReferenceBody, read_head

LIMITS = Limits()


def read(head: bytes) -> tuple[Request, ReferenceBody]:
    """A head through the gate and h11."""
    request = gate.read_head(head, LIMITS)
    return request, read_head(head, request)


def test_h11_has_the_word() -> None:
    request, body = read(b"GET /x HTTP/1.1\r\nHOST: a\r\nB:  c ")
    assert (request.method, request.target, request.path) == (b"GET", b"/x", b"/x")
    assert request.headers == [(b"host", b"a"), (b"b", b"c")]
    assert body.ended


def test_the_host_of_an_absolute_target() -> None:
    request, _ = read(b"GET http://b/ HTTP/1.1\r\nX: y\r\nHost: a")
    assert request.headers == [(b"host", b"b"), (b"x", b"y")]


def test_a_body_of_a_known_length() -> None:
    _, body = read(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5")
    assert (body.remaining, body.ended) == (5, False)
    assert body.feed(b"..ab", 2) == (b"ab", 4)
    assert body.feed(b"", 0) == (b"", 0)
    assert body.feed(b"cdeGET", 0) == (b"cde", 3)
    assert (body.remaining, body.ended) == (0, True)


def test_a_chunked_body() -> None:
    _, body = read(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked")
    assert body.remaining == 0
    assert body.feed(b"2\r\nhi\r\n3;a\r\nyo", 0) == (b"hiyo", 14)
    assert body.feed(b"u\r\n0\r\nA: b\r\n", 0) == (b"u", 12)
    assert not body.ended
    assert body.feed(b"\r\nGET", 0) == (b"", 2)
    assert body.ended


def test_an_upgrade_does_not_hide_the_body() -> None:
    _, body = read(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2")
    assert body.feed(b"hi\x81\x00", 0) == (b"hi", 2)
    assert body.ended


def any_request() -> Request:
    return gate.read_head(b"GET / HTTP/1.1\r\nHost: a", LIMITS)


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1", b"G(T / HTTP/1.1\r\nHost: a", b"", b"GET / HTTP/1.1\r\nHost: a\r\nA: \0"]
)
def test_a_head_that_h11_refuses(head: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_head(head, any_request())
    assert caught.value.status == 400


def test_a_body_that_h11_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    _, body = read(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked")
    monkeypatch.setattr(body._gate.__class__, "feed", lambda self, data, pos: ([data], len(data)))
    with pytest.raises(WireError, match="h11 refuses the body"):
        body.feed(b"zz\r\n", 0)


def test_both_must_agree_on_the_end() -> None:
    request = gate.read_head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5", LIMITS)
    body = read_head(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6", request)
    with pytest.raises(WireError, match="disagree"):
        body.feed(b"abcde", 0)
