"""Request ids: whose is believed, and what the request looks like afterwards."""

from __future__ import annotations

import re

import pytest

from bridgeserve.dispatch.identity import identified
from bridgeserve.groups import Limits
from bridgeserve.net.identify import identify
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead
from bridgeserve.wire.gate import read_head


def head(*fields: bytes) -> Request:
    return read_head(b"\r\n".join((b"GET / HTTP/1.1", b"Host: a", *fields)), Limits())


@pytest.mark.parametrize(
    ("fields", "trusted", "believed"),
    [
        ([b"X-Request-Id: abc-1"], True, True),
        ([b"x-request-ID:  Root=1-67891233-abcdef012345678912345678 "], True, True),
        ([b"X-Request-Id: abc-1"], False, False),
        ([b"X-Request-Id: a", b"X-Request-Id: b"], True, False),
        ([b"X-Request-Id: a b"], True, False),
        ([b"X-Request-Id: " + b"a" * 129], True, False),
        ([b"X-Request-Id: \xff"], True, False),
        ([b"X-Request-Id:"], True, False),
        ([], True, False),
    ],
)
def test_whose_id_counts(fields: list[bytes], trusted: bool, believed: bool) -> None:
    request = head(b"A: b", *fields, b"C: d")
    value = identify(request, trusted)
    if believed:
        assert value == fields[0].partition(b":")[2].strip()
    else:
        assert re.fullmatch(rb"[0-9a-f]{32}", value)
    # It is the only one, in the fields and in the head that goes to a child.
    for seen in (request, read_head(request.raw, Limits())):
        assert [each for each in seen.headers if each[0] == b"x-request-id"] == [(b"x-request-id", value)]
        assert [each for each in seen.headers if each[0] != b"x-request-id"] == [
            (b"host", b"a"),
            (b"a", b"b"),
            (b"c", b"d"),
        ]


def test_two_ids_are_two() -> None:
    assert identify(head(), False) != identify(head(), False)


def test_a_head_with_one_more_field_leaves_the_remembered_one_alone() -> None:
    known = ResponseHead.of(200, [(b"content-type", b"text/plain")])
    more = known.with_field(b"x-request-id", b"1")
    assert more.block == known.block + b"x-request-id: 1\r\n"
    assert more.headers == [*known.headers, (b"x-request-id", b"1")]
    assert ResponseHead.of(200, [(b"content-type", b"text/plain")]) is known
    assert b"x-request-id" not in known.block
    ready = ResponseHead.compiled(200, b"HTTP/1.1 200 OK\r\n", b"a: b\r\n").with_field(b"x-request-id", b"1")
    assert ready.headers == [(b"a", b"b"), (b"x-request-id", b"1")]


def test_the_lifespan_of_an_app_has_no_id() -> None:
    seen: list[object] = []
    identified(lambda scope, receive, send: seen.append(scope), "asgi")({"type": "lifespan"}, None, None)
    assert seen == [{"type": "lifespan"}]
