"""The gate: what a head means, and its limits to the octet. The files of corpus/ hold the refusals."""

from __future__ import annotations

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire import gate
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.events import Request

LIMITS = Limits()
HOST = b"Host: example.org"


def read(*lines: bytes, limits: Limits = LIMITS) -> Request:
    """The request with these lines in its head."""
    return gate.read_head(b"\r\n".join(lines), limits)


def status(*lines: bytes, limits: Limits = LIMITS) -> int:
    """The status of the refusal."""
    with pytest.raises(WireError) as caught:
        read(*lines, limits=limits)
    assert caught.value.reason == str(caught.value)
    return caught.value.status


def test_a_plain_head() -> None:
    request = read(b"GET /a%20b?x=1?y HTTP/1.1", HOST, b"X-One:  a b\t", b"x-ONE:")
    assert request.method == b"GET"
    assert request.target == b"/a%20b?x=1?y"
    assert request.path == b"/a%20b"
    assert request.query == b"x=1?y"
    assert request.version == "1.1"
    assert request.headers == [(b"host", b"example.org"), (b"x-one", b"a b"), (b"x-one", b"")]
    assert request.complete
    assert request.body == b""
    assert request.content_length is None
    assert request.keep_alive
    assert not (request.chunked or request.expect_continue or request.upgrade)
    assert repr(request) == "<Request b'GET' b'/a%20b?x=1?y' HTTP/1.1>"


@pytest.mark.parametrize(
    ("version", "text"), [(b"HTTP/1.0", "1.0"), (b"HTTP/1.1", "1.1"), (b"HTTP/1.2", "1.1"), (b"HTTP/1.9", "1.1")]
)
def test_versions(version: bytes, text: str) -> None:
    assert read(b"GET / " + version, HOST).version == text


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"/", b"/", b"", b"example.org"),
        (b"/?", b"/", b"", b"example.org"),
        (b"//x/../y", b"//x/../y", b"", b"example.org"),
        (b"http://other:1/p/q?r?s", b"/p/q", b"r?s", b"other:1"),
        (b"HTTPS://other", b"/", b"", b"other"),
        (b"http://other?a/b", b"/", b"a/b", b"other"),
        (b"http://[::1]:80/", b"/", b"", b"[::1]:80"),
    ],
)
def test_target_forms(target: bytes, path: bytes, query: bytes, host: bytes) -> None:
    request = read(b"GET " + target + b" HTTP/1.1", b"A: b", HOST)
    assert (request.target, request.path, request.query) == (target, path, query)
    assert dict(request.headers)[b"host"] == host


def test_an_absolute_target_puts_its_host_first() -> None:
    request = read(b"GET http://other/ HTTP/1.1", b"A: b", HOST, b"C: d")
    assert request.headers == [(b"host", b"other"), (b"a", b"b"), (b"c", b"d")]
    assert read(b"GET http://other/ HTTP/1.0").headers == [(b"host", b"other")]


def test_asterisk_is_for_options() -> None:
    assert read(b"OPTIONS * HTTP/1.1", HOST).path == b"*"
    assert status(b"GET * HTTP/1.1", HOST) == 400


@pytest.mark.parametrize(
    "host",
    [b"", b"a", b"a:", b"a:80", b"a.b-c_~!$&'()*+,;=", b"%41", b"[::1]", b"[::ffff:1.2.3.4]:65535", b"127.0.0.1"],
)
def test_good_hosts(host: bytes) -> None:
    assert read(b"GET / HTTP/1.1", b"Host: " + host).headers == [(b"host", host)]


@pytest.mark.parametrize(
    "host",
    [b":80", b"a:80:80", b"a:123456", b"a b", b"a/b", b"a@b", b"a?b", b"%4", b"[]", b"[::1]x", b"::1", b'"a"', b"\xff"],
)
def test_bad_hosts(host: bytes) -> None:
    assert status(b"GET / HTTP/1.1", b"Host: " + host) == 400
    assert status(b"GET / HTTP/1.0", b"Host: " + host) == 400
    assert status(b"GET http://x/ HTTP/1.1", b"Host: " + host) == 400


@pytest.mark.parametrize(
    ("version", "options", "keep_alive"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"keep-alive"], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"Close"], False),
        (b"1.1", [b"keep-alive, close"], False),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.1", [b"", b"close"], False),
        (b"1.1", [b"x-close"], True),
        (b"1.0", [], False),
        (b"1.0", [b"close"], False),
        (b"1.0", [b"keep-alive"], True),
        (b"1.0", [b"TE ,\tKeep-Alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
    ],
)
def test_persistence(version: bytes, options: list[bytes], keep_alive: bool) -> None:
    fields = [b"Connection: " + option for option in options]
    assert read(b"GET / HTTP/" + version, HOST, *fields).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("version", "fields", "upgrade"),
    [
        (b"1.1", [b"Connection: upgrade", b"Upgrade: websocket"], True),
        (b"1.1", [b"Upgrade: websocket", b"Connection: Keep-Alive, Upgrade"], True),
        (b"1.1", [b"Upgrade: websocket", b"Connection: keep-alive"], False),
        (b"1.1", [b"Upgrade: websocket"], False),
        (b"1.1", [b"Connection: upgrade"], False),
        (b"1.0", [b"Connection: upgrade", b"Upgrade: websocket"], False),
    ],
)
def test_upgrade_needs_both_fields(version: bytes, fields: list[bytes], upgrade: bool) -> None:
    assert read(b"GET / HTTP/" + version, HOST, *fields).upgrade is upgrade


def test_length() -> None:
    request = read(b"POST / HTTP/1.1", HOST, b"Content-Length: 007")
    assert (request.content_length, request.complete) == (7, False)
    request = read(b"POST / HTTP/1.1", HOST, b"Content-Length: 0")
    assert (request.content_length, request.complete) == (0, True)
    assert read(b"POST / HTTP/1.1", HOST, b"Content-Length: " + b"9" * 18).content_length == 10**18 - 1


def test_chunked() -> None:
    request = read(b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: Chunked")
    assert (request.chunked, request.content_length, request.complete) == (True, None, False)


def test_expectations() -> None:
    length = b"Content-Length: 1"
    assert read(b"POST / HTTP/1.1", HOST, b"Expect: 100-Continue", length).expect_continue
    assert not read(b"POST / HTTP/1.0", HOST, b"Expect: 100-continue", length).expect_continue
    assert not read(b"POST / HTTP/1.1", HOST, b"Expect: 100-continue").expect_continue
    assert read(b"POST / HTTP/1.1", HOST, b"Expect: ,100-continue ,\t100-Continue", length).expect_continue
    assert not read(b"POST / HTTP/1.1", HOST, b"Expect: ,", length).expect_continue
    assert read(b"POST / HTTP/1.1", HOST, b"Expect: 100-continue", b"Expect:", length).expect_continue
    for value in (b"other", b"100-continue, other", b"100-continue;a=b", b"100"):
        assert status(b"POST / HTTP/1.1", HOST, b"Expect: " + value, length) == 417


def test_limit_of_the_request_line() -> None:
    limits = Limits(request_line=30)
    line = b"GET /" + b"a" * 16 + b" HTTP/1.1"
    assert len(line) == 30
    assert read(line, HOST, limits=limits).path == b"/" + b"a" * 16
    assert status(b"X" + line, HOST, limits=limits) == 414


def test_limit_of_the_fields() -> None:
    limits = Limits(fields=2)
    assert len(read(b"GET / HTTP/1.1", HOST, b"A: b", limits=limits).headers) == 2
    assert status(b"GET / HTTP/1.1", HOST, b"A: b", b"C: d", limits=limits) == 431


def test_limit_of_a_field() -> None:
    limits = Limits(field_size=40)
    field = b"A: " + b"b" * 37
    assert read(b"GET / HTTP/1.1", HOST, field, limits=limits).headers[1] == (b"a", b"b" * 37)
    assert status(b"GET / HTTP/1.1", HOST, field + b"b", limits=limits) == 431
    assert read(b"GET /" + b"a" * 50 + b" HTTP/1.0", limits=limits).headers == []


def test_limit_of_the_head() -> None:
    limits = Limits(field_size=2000)
    assert gate.head_limit(limits) == 8190 + 65536
    assert gate.head_limit(Limits(field_size=10000)) == 8190 + 80000
    fields = [b"A: " + b"b" * 1997] * 36
    rest = gate.head_limit(limits) - len(b"\r\n".join([b"GET / HTTP/1.1", HOST, *fields, b"A:"]))
    assert len(read(b"GET / HTTP/1.1", HOST, *fields, b"A:" + b"b" * rest, limits=limits).headers) == 38
    assert status(b"GET / HTTP/1.1", HOST, *fields, b"A:" + b"b" * (rest + 1), limits=limits) == 431


def test_limit_of_the_body() -> None:
    limits = Limits(body=10)
    assert read(b"POST / HTTP/1.1", HOST, b"Content-Length: 10", limits=limits).content_length == 10
    assert status(b"POST / HTTP/1.1", HOST, b"Content-Length: 11", limits=limits) == 413


def test_many_hosts_are_never_one_host_with_keep_alive() -> None:
    limits = Limits(fields=1 << 17, field_size=1 << 20)
    for count in (2, 255, 256, 257, 65536, 65537):
        assert status(b"GET / HTTP/1.1", *[b"Host:"] * count, limits=limits) == 400


@pytest.mark.parametrize("again", [b"Connection: keep-alive", b"CONNECTION:\tKeep-Alive "])
def test_keep_alive_changes_nothing_in_http_1_1(again: bytes) -> None:
    for fields in ([again], [again, again]):
        request = read(b"GET / HTTP/1.1", HOST, *fields)
        assert request.keep_alive
        assert len(request.headers) == 1 + len(fields)


def test_a_remembered_name_still_needs_its_colon() -> None:
    read(b"GET / HTTP/1.1", HOST, b"Known: v")
    assert status(b"GET / HTTP/1.1", HOST, b"Known") == 400


@pytest.mark.parametrize(
    ("lines", "target", "claims"),
    [
        (b"", b"/", False),
        (b"X-Forwarded-For: 192.0.2.1\r\n", b"/", True),
        (b"x-forwarded-proto: https\r\n", b"/", True),
        (b"Forwarded: for=192.0.2.1\r\nContent-Length: 5\r\n", b"/", True),
        (b"X-Forwarded-By: 192.0.2.1\r\n", b"/", False),
        (b"", b"http://a/", False),
        (b"", b"https://a/", True),
    ],
)
def test_claims_of_a_head(lines: bytes, target: bytes, claims: bool) -> None:
    for _ in range(2):  # the second time from the memos
        request = gate.read_head(b"GET %s HTTP/1.1\r\n%sHost: a" % (target, lines), LIMITS)
        assert request.claims is claims
        assert request.usual is (target == b"/" and b"Length" not in lines)
