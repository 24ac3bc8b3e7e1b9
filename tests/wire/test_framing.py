"""Response heads: what is checked, what is taken out, and the lines of our own."""

from __future__ import annotations

from typing import Any

import pytest

from bridgeserve.wire import framing
from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.framing import Preamble, ResponseHead, error_response, informational


def test_the_block_is_what_the_application_said() -> None:
    head = ResponseHead(
        200, b"", [(b"Content-Type", b"text/plain"), (b"X", b""), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]
    )
    assert head.line == b"HTTP/1.1 200 OK\r\n"
    assert head.block == b"Content-Type: text/plain\r\nX: \r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
    assert (head.content_length, head.close, head.preamble) == (None, False, 3)


def test_headers_may_be_any_iterable() -> None:
    assert ResponseHead(200, b"", iter([(b"A", b"b")])).headers == [(b"A", b"b")]


@pytest.mark.parametrize(
    ("status", "reason", "line"),
    [
        (404, b"", b"HTTP/1.1 404 Not Found\r\n"),
        (404, b"Nowhere", b"HTTP/1.1 404 Nowhere\r\n"),
        (299, b"", b"HTTP/1.1 299 \r\n"),
        (999, b"", b"HTTP/1.1 999 \r\n"),
        (200, "schön".encode("latin-1"), b"HTTP/1.1 200 sch\xf6n\r\n"),
    ],
)
def test_status_lines(status: int, reason: bytes, line: bytes) -> None:
    assert framing.status_line(status, reason) == line


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (100, b""),
        (101, b""),
        (199, b"x"),
        (1000, b""),
        (0, b""),
        (-200, b""),
        ("200", b""),
        (None, b""),
        (200.5, b""),
        (200, b"a\rb"),
        (200, b"a\nb"),
        (200, b"a\x00b"),
        (200, b"a\x1bb"),
        (200, b"\x7f"),
    ],
)
def test_bad_status_lines(status: Any, reason: bytes) -> None:
    with pytest.raises(ResponseError):
        ResponseHead(status, reason, [])


def test_what_concerns_the_framing_is_taken_out() -> None:
    head = ResponseHead(
        200,
        b"",
        [
            (b"A", b"1"),
            (b"CONTENT-LENGTH", b"5"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Keep-Alive", b"x"),
            (b"B", b"2"),
        ],
    )
    assert head.block == b"A: 1\r\nB: 2\r\n"
    assert head.content_length == 5


@pytest.mark.parametrize(
    ("values", "close"),
    [([b"close"], True), ([b"Close"], True), ([b"keep-alive"], False), ([b"close", b"x"], True), ([b"x, close"], True)],
)
def test_the_application_may_close(values: list[bytes], close: bool) -> None:
    head = ResponseHead(200, b"", [(b"Connection", value) for value in values])
    assert head.close is close
    assert head.block == b""


@pytest.mark.parametrize(("name", "bits"), [(b"Date", 2), (b"dAtE", 2), (b"Server", 1), (b"Dates", 3)])
def test_its_own_date_and_server_replace_ours(name: bytes, bits: int) -> None:
    head = ResponseHead(200, b"", [(name, b"v")])
    assert head.preamble == bits
    assert head.block == name + b": v\r\n"


@pytest.mark.parametrize("values", [[b"5", b"5"], [b"05"]])
def test_one_length_may_be_said_twice(values: list[bytes]) -> None:
    assert ResponseHead(200, b"", [(b"Content-Length", value) for value in values]).content_length == 5


@pytest.mark.parametrize(
    "values", [[b""], [b"-1"], [b"+1"], [b"1 "], [b"5, 5"], [b"x"], [b"1" * 19], [b"5", b"6"], [b"0", b"6"]]
)
def test_bad_lengths(values: list[bytes]) -> None:
    with pytest.raises(ResponseError, match="Content-Length"):
        ResponseHead(200, b"", [(b"Content-Length", value) for value in values])


@pytest.mark.parametrize("name", [b"", b"A B", b"A:", b" A", b"A\r\nB", b"A\n", b"A\0", b"\xff", "A", 1, None, []])
@pytest.mark.parametrize("value", [b"v", b""])
def test_bad_names(name: Any, value: bytes) -> None:
    with pytest.raises(ResponseError):
        ResponseHead(200, b"", [(b"Fine", b"v"), (name, value)])


@pytest.mark.parametrize("name", [b"X", b"Content-Length", b"Connection", b"Date", b"Transfer-Encoding"])
@pytest.mark.parametrize("value", ["5", 5, None])
def test_values_are_bytes(name: bytes, value: Any) -> None:
    with pytest.raises(ResponseError):
        ResponseHead(200, b"", [(name, value)])


@pytest.mark.parametrize("value", [b"a\r\nB: c", b"a\nb", b"a\rb", b"a\0b", b"a\r\n", b"\n\r", b"a\x1b[1m", b"\x7f"])
@pytest.mark.parametrize("name", [b"X", b"Date", b"Server"])
def test_no_value_splits_the_response(name: bytes, value: bytes) -> None:
    with pytest.raises(ResponseError, match="control octet"):
        ResponseHead(200, b"", [(b"A", b"b"), (name, value), (b"C", b"d")])


@pytest.mark.parametrize("headers", [None, 5, [b"x"], [(b"a",)], [(b"a", b"b", b"c")], [5]])
def test_headers_are_pairs(headers: Any) -> None:
    with pytest.raises(ResponseError):
        ResponseHead(200, b"", headers)


def test_what_is_remembered_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_NAMES", {})
    monkeypatch.setattr(framing, "_NAMES_MAX", 3)
    for i in range(10):
        assert ResponseHead(200, b"", [(b"N%d" % i, b"v")]).block == b"N%d: v\r\n" % i
    assert len(framing._NAMES) == 3


def test_informational() -> None:
    assert informational(103, [(b"Link", b"</a>")]) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    assert informational(103, [(b"Content-Length", b"5")]) == b"HTTP/1.1 103 Early Hints\r\n\r\n"


@pytest.mark.parametrize("status", [101, 99, 200, 199, 500])
def test_what_is_not_informational(status: int) -> None:
    with pytest.raises(ValueError):
        informational(status, [])
    with pytest.raises(ResponseError):
        informational(103, [(b"A", b"\r\n")])


def test_preamble() -> None:
    preamble = Preamble(fixed=[(b"X-Fixed", b"1")])
    preamble.refresh(50.0, 784111777.25)
    date = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    server = b"server: bridgeserve\r\n"
    fixed = b"X-Fixed: 1\r\n"
    assert preamble.lines == (fixed, date + fixed, server + fixed, date + server + fixed)
    assert preamble.due == 50.75


def test_preamble_without_date_or_server() -> None:
    assert Preamble(date=False, server=False).lines == (b"", b"", b"", b"")
    fixed = Preamble(fixed=[(b"DATE", b"now"), (b"Server", b"other")])
    assert set(fixed.lines) == {b"DATE: now\r\nServer: other\r\n"}


def test_error_response() -> None:
    head = b"HTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 9\r\nconnection: close\r\n\r\n"
    assert error_response(404, with_body=True) == head + b"Not Found"
    assert error_response(404, with_body=False) == head


def test_a_refusal_has_the_lines_of_the_preamble() -> None:
    assert error_response(404, with_body=True, lines=b"date: now\r\n").startswith(
        b"HTTP/1.1 404 Not Found\r\ndate: now\r\ncontent-type: "
    )


def test_405_says_that_no_method_is_allowed() -> None:
    assert b"\r\nallow:\r\n" in error_response(405, with_body=True)
