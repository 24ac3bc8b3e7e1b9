"""A session speaks: the framing of every kind of response, held to its length."""

from __future__ import annotations

import pytest

from bridgeserve.groups import Limits, Timeouts
from bridgeserve.wire import cycle
from bridgeserve.wire.errors import CycleError
from bridgeserve.wire.framing import Preamble, ResponseHead
from bridgeserve.wire.http1 import Http1Session
from wire.drive import OK, answer, asked, new_session

LINE = b"HTTP/1.1 200 OK\r\n"


def serving(request: bytes = b"GET", version: bytes = b"1.1", fields: bytes = b"") -> Http1Session:
    """A session that has just read this request."""
    session = new_session()
    asked(session, request + b" / HTTP/" + version + b"\r\nHost: a\r\n" + fields + b"\r\n")
    return session


def head_of(status: int = 200, length: bytes | None = None) -> ResponseHead:
    return ResponseHead(status, b"", [] if length is None else [(b"Content-Length", length)])


def sent(session: Http1Session, head: ResponseHead, *bodies: bytes) -> bytes:
    """All that is sent for a response in pieces; the last one ends it."""
    first, *more = bodies
    pieces = session.respond(head, first, False)
    for body in more[:-1]:
        pieces += session.write(body)
    pieces += session.finish(more[-1] if more else b"")
    return b"".join(pieces)


# --- whole responses -----------------------------------------------------------------------------


def test_a_whole_response_gets_its_length() -> None:
    session = serving()
    assert session.respond(OK, b"hello", True) == [LINE + b"content-length: 5\r\n\r\nhello"]
    assert session.state is cycle.DONE_DONE
    assert session.recycle(0.0) is True


def test_an_empty_response_says_so() -> None:
    assert answer(serving()) == LINE + b"content-length: 0\r\n\r\n"


def test_a_large_body_is_not_copied() -> None:
    body = b"x" * 16384
    pieces = serving().respond(OK, body, True)
    assert pieces == [LINE + b"content-length: 16384\r\n\r\n", body]
    assert pieces[1] is body


def test_date_server_and_fixed_headers() -> None:
    preamble = Preamble(fixed=[(b"X-Fixed", b"1")])
    session = Http1Session(Limits(), Timeouts(), "auto", preamble, 0.0)
    asked(session, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    date = b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    expected = LINE + date + b"server: bridgeserve\r\nX-Fixed: 1\r\nA: b\r\ncontent-length: 0\r\n\r\n"
    assert answer(session, head=ResponseHead(200, b"", [(b"A", b"b")])) == expected


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize(
    ("method", "status", "length", "field"),
    [
        (b"HEAD", 200, b"7", b"content-length: 7\r\n"),
        (b"HEAD", 200, None, b""),
        (b"HEAD", 404, b"0", b"content-length: 0\r\n"),
        (b"GET", 204, None, b""),
        (b"GET", 204, b"5", b""),
        (b"GET", 304, None, b""),
        (b"GET", 304, b"5", b"content-length: 5\r\n"),
        (b"HEAD", 204, b"5", b""),
        (b"HEAD", 304, None, b""),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_without_a_body(
    method: bytes, status: int, length: bytes | None, field: bytes, end: bool, version: bytes
) -> None:
    session = serving(method, version, b"Connection: keep-alive\r\n")
    head = head_of(status, length)
    found = answer(session, head=head) if end else sent(session, head, b"", b"dropped", b"")
    kept = b"connection: keep-alive\r\n" if version == b"1.0" else b""
    assert found == head.line + field + kept + b"\r\n"
    assert session.fault == ""
    assert session.recycle(0.0) is True


@pytest.mark.parametrize(
    ("method", "status", "field"), [(b"HEAD", 200, b"content-length: 5\r\n"), (b"GET", 204, b""), (b"GET", 304, b"")]
)
def test_a_body_where_none_may_be_is_dropped(method: bytes, status: int, field: bytes) -> None:
    session = serving(method)
    head = head_of(status)
    assert answer(session, b"hello", head) == head.line + field + b"\r\n"
    assert session.recycle(0.0) is True


@pytest.mark.parametrize("length", [None, b"0", b"5"])
@pytest.mark.parametrize("body", [b"", b"hello"])
@pytest.mark.parametrize("end", [True, False])
def test_205_has_a_length_and_no_content(length: bytes | None, body: bytes, end: bool) -> None:
    session = serving()
    head = head_of(205, length)
    found = answer(session, body, head) if end else sent(session, head, b"", body, b"")
    assert found == head.line + b"content-length: 0\r\n\r\n"
    assert bool(session.fault) is bool(body)
    assert session.recycle(0.0) is True


# --- responses in pieces -------------------------------------------------------------------------


def test_chunks() -> None:
    session = serving()
    assert session.respond(OK, b"", False) == [LINE + b"transfer-encoding: chunked\r\n\r\n"]
    assert session.state.ours == "BODY"
    assert session.write(b"hello") == [b"5\r\n", b"hello", b"\r\n"]
    assert session.write(b"") == []
    assert not session.sends_raw(1)
    assert b"".join(session.finish(b"x" * 26)) == b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
    assert session.state.ours != "BODY"
    assert session.recycle(0.0) is True


def test_the_first_piece_goes_with_the_head() -> None:
    session = serving()
    assert sent(session, OK, b"hello", b"") == LINE + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def test_a_known_length_is_kept() -> None:
    session = serving()
    assert (
        sent(session, head_of(length=b"10"), b"hello", b"wor", b"ld") == LINE + b"content-length: 10\r\n\r\nhelloworld"
    )
    assert (session.fault, session.recycle(0.0)) == ("", True)


def test_http_1_0_never_gets_chunks() -> None:
    for fields in (b"", b"Connection: keep-alive\r\n"):
        session = serving(version=b"1.0", fields=fields)
        assert sent(session, OK, b"hello", b"you") == LINE + b"connection: close\r\n\r\nhelloyou"
        assert session.recycle(0.0) is False


def test_octets_past_the_session() -> None:
    session = serving()
    session.respond(head_of(length=b"10"), b"12", False)
    assert session.sends_raw(8)
    assert not session.sends_raw(9)
    session.sent_raw(8)
    assert session.finish() == []
    assert (session.fault, session.recycle(0.0)) == ("", True)


# --- too much, too little ------------------------------------------------------------------------


def test_too_much_is_cut() -> None:
    session = serving()
    assert answer(session, b"hello", head_of(length=b"3")) == LINE + b"content-length: 3\r\n\r\nhel"
    assert "longer" in session.fault
    assert session.recycle(0.0) is True


def test_too_much_in_pieces_is_cut() -> None:
    session = serving()
    assert sent(session, head_of(length=b"3"), b"he", b"llo", b"you", b"!") == LINE + b"content-length: 3\r\n\r\nhel"
    assert "longer" in session.fault
    assert session.recycle(0.0) is True


def test_too_much_for_an_empty_body() -> None:
    session = serving()
    assert answer(session, b"hello", head_of(length=b"0")) == LINE + b"content-length: 0\r\n\r\n"
    assert "longer" in session.fault


def test_too_little_ends_the_connection() -> None:
    for session in (serving(), serving()):
        answer(session, b"hel", head_of(length=b"5"))
        assert "shorter" in session.fault
        assert session.recycle(0.0) is False
    session = serving()
    sent(session, head_of(length=b"5"), b"h", b"el")
    assert "shorter" in session.fault
    assert session.recycle(0.0) is False


# --- does it go on -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fields", "said", "kept"),
    [
        (b"1.1", b"", b"", True),
        (b"1.1", b"Connection: close\r\n", b"connection: close\r\n", False),
        (b"1.0", b"", b"connection: close\r\n", False),
        (b"1.0", b"Connection: keep-alive\r\n", b"connection: keep-alive\r\n", True),
    ],
)
def test_persistence(version: bytes, fields: bytes, said: bytes, kept: bool) -> None:
    session = serving(version=version, fields=fields)
    assert answer(session) == LINE + b"content-length: 0\r\n" + said + b"\r\n"
    assert session.recycle(0.0) is kept


def test_the_application_may_close() -> None:
    session = serving()
    assert b"connection: close\r\n" in answer(session, head=ResponseHead(200, b"", [(b"Connection", b"close")]))
    assert session.recycle(0.0) is False


@pytest.mark.parametrize(
    ("value", "kept"), [(b"Keep-Alive , CLOSE", False), (b"not-close", True), (b"close-not, x", True)]
)
def test_the_application_closes_by_a_whole_word(value: bytes, kept: bool) -> None:
    session = serving()
    assert (b"connection: close" in answer(session, head=ResponseHead(200, b"", [(b"connection", value)]))) is not kept
    assert session.recycle(0.0) is kept


def test_a_drain_closes_after_the_answer() -> None:
    session = serving()
    session.begin_drain(1.0, 0.5)
    assert b"connection: close\r\n" in answer(session)
    assert session.recycle(1.0) is False


def test_a_drain_that_begins_inside_the_answer() -> None:
    session = serving()
    assert b"connection" not in b"".join(session.respond(OK, b"x", False))
    session.begin_drain(1.0, 0.5)
    session.finish()
    assert session.recycle(1.0) is False


# --- out of order --------------------------------------------------------------------------------


def test_one_answer_for_one_request() -> None:
    session = serving()
    answer(session)
    with pytest.raises(CycleError):
        session.respond(OK, b"", True)
    with pytest.raises(CycleError):
        session.write(b"x")
    with pytest.raises(CycleError):
        session.finish()


def test_no_recycling_before_the_end() -> None:
    session = serving()
    with pytest.raises(CycleError):
        session.recycle(0.0)
    session.respond(OK, b"", False)
    with pytest.raises(CycleError):
        session.recycle(0.0)
