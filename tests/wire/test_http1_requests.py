"""A session reads: one request at a time, its body as it comes, what follows only after the answer."""

from __future__ import annotations

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire import cycle
from bridgeserve.wire.errors import CycleError
from bridgeserve.wire.events import REQUEST_END, BodyChunk, Refused, Request
from bridgeserve.wire.gate import head_limit
from wire.drive import OK, answer, asked, chunks, new_session, one, refused, told

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_nothing_comes_of_nothing(reader: str) -> None:
    session = new_session(reader)
    assert told(session) == []
    session.receive_eof()
    assert told(session) == []


def test_a_whole_request_of_the_lane_is_one_event() -> None:
    session = new_session("auto")
    request = one(session, POST + b"hello")
    assert isinstance(request, Request)
    assert (request.body, request.complete) == (b"hello", True)
    assert session.state is cycle.DONE_IDLE
    assert session.pending == b""


def test_h11_gives_the_same_in_three() -> None:
    session = new_session("h11")
    request, chunk, end = told(session, POST + b"hello")
    assert isinstance(request, Request)
    assert not request.complete
    assert isinstance(chunk, BodyChunk)
    assert chunk.data == b"hello"
    assert end is REQUEST_END


def test_a_body_as_it_comes(reader: str) -> None:
    session = new_session(reader)
    assert not asked(session, POST).complete
    assert session.request is not None
    assert chunks(told(session, b"hel")) == b"hel"
    assert told(session) == []
    rest = told(session, b"lo" + GET % 2)
    assert chunks(rest) == b"lo"
    assert rest[-1] is REQUEST_END
    assert session.unread == len(GET % 2)


def test_a_chunked_body_as_it_comes(reader: str) -> None:
    session = new_session(reader)
    request = asked(session, CHUNKED + b"2\r\n")
    assert (request.chunked, request.content_length, request.complete) == (True, None, False)
    assert told(session) == []
    assert chunks(told(session, b"h")) == b"h"
    assert chunks(told(session, b"i\r\n3\r\nyou\r\n0\r\n")) == b"iyou"
    assert told(session, b"A: b\r\n") == []
    assert one(session, b"\r\n") is REQUEST_END


def test_pipelined_requests_wait_for_their_turn(reader: str) -> None:
    session = new_session(reader)
    session.receive_data(GET % 1 + POST + b"hello" + CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + GET % 4)
    for target, body in ((b"/1", b""), (b"/", b"hello"), (b"/", b"x"), (b"/4", b"")):
        events = told(session)
        request = events[0]
        assert isinstance(request, Request)
        assert request.target == target
        assert (request.body or chunks(events)) == body
        assert told(session) == []
        answer(session)
        assert session.recycle(0.0) is True
    assert session.pending == b""


def test_more_may_arrive_while_we_answer(reader: str) -> None:
    session = new_session(reader)
    asked(session, GET % 1)
    for i in range(5):
        assert told(session, (GET % 2)[i * 6 : i * 6 + 6]) == []
    answer(session)
    session.recycle(0.0)
    assert asked(session, GET % 3).target == b"/2"


def test_one_empty_line_is_forgiven_before_each_head(reader: str) -> None:
    for pieces in ([b"\r\n" + GET % 1], [b"\r\n", GET % 1], [b"\r", b"\n" + GET % 1], [b"\r", b"\n", GET % 1]):
        session = new_session(reader)
        for _ in range(2):
            for piece in pieces[:-1]:
                assert told(session, piece) == []
            assert asked(session, pieces[-1]).target == b"/1"
            answer(session)
            session.recycle(0.0)


@pytest.mark.parametrize(
    "pieces", [[b"\r\n\r\n", GET % 1], [b"\r\n", b"\r\n", GET % 1], [b"\r\n", b"\r", b"\n", GET % 1]]
)
def test_a_second_empty_line_is_not(pieces: list[bytes], reader: str) -> None:
    session = new_session(reader)
    for piece in pieces[:-1]:
        assert told(session, piece) == []
    assert refused(session, pieces[-1]).status == 400


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01", b" ", b"\n", b"\0", b"{", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nA: b\n"]
)
def test_what_can_never_be_a_head_is_refused_at_once(data: bytes, reader: str) -> None:
    session = new_session(reader)
    refusal = refused(session, data)
    assert refusal.status == 400
    assert refusal.payload.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert session.state is cycle.LINGER


# --- 100 Continue --------------------------------------------------------------------------------


def test_continue_only_when_the_application_reads(reader: str) -> None:
    session = new_session(reader)
    assert session.want_body() == b""
    assert asked(session, EXPECT).expect_continue
    assert session.want_body() == CONTINUE
    assert session.want_body() == b""
    assert chunks(told(session, b"hello")) == b"hello"
    assert b"connection: close" not in answer(session)
    assert session.recycle(0.0) is True


def test_no_continue_for_a_body_that_is_coming(reader: str) -> None:
    session = new_session(reader)
    asked(session, EXPECT + b"he")
    assert session.want_body() == b""
    session = new_session(reader)
    session.receive_data(EXPECT + b"he")
    assert isinstance(session.next_event(0.0), Request)
    assert session.want_body() == b""


def test_no_continue_after_the_answer_or_the_body(reader: str) -> None:
    session = new_session(reader)
    asked(session, EXPECT)
    session.respond(OK, b"", False)
    assert session.want_body() == b""
    session = new_session(reader)
    asked(session, EXPECT + b"hello")
    assert session.want_body() == b""


@pytest.mark.parametrize("head", [POST, CHUNKED, EXPECT.replace(b"1.1", b"1.0")])
def test_no_continue_for_who_does_not_wait(head: bytes, reader: str) -> None:
    session = new_session(reader)
    asked(session, head)
    assert session.want_body() == b""


def test_who_waits_and_gets_an_answer_is_not_kept(reader: str) -> None:
    session = new_session(reader)
    asked(session, EXPECT)
    assert b"connection: close\r\n" in answer(session)
    assert session.recycle(0.0) is False


# --- limits --------------------------------------------------------------------------------------


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 100000])
def test_the_request_line(size: int, reader: str) -> None:
    limits = Limits(request_line=40)
    line = b"GET /" + b"a" * 26 + b" HTTP/1.1"
    assert len(line) == 40
    for extra, outcome in ((b"", Request), (b"x", Refused)):
        session = new_session(reader, limits)
        events = [
            event for piece in pieces_of(extra + line + b"\r\nHost: a\r\n\r\n", size) for event in told(session, piece)
        ]
        (event,) = events
        assert isinstance(event, outcome)
        if isinstance(event, Refused):
            assert event.status == 414
            assert b"414 " in event.payload


@pytest.mark.parametrize("size", [1009, 100000])
def test_the_head(size: int, reader: str) -> None:
    limits = Limits(field_size=2000)
    fields = b"A: " + b"b" * 1997 + b"\r\n"
    start = b"GET / HTTP/1.1\r\nHost: a\r\n" + fields * 36 + b"A:"
    rest = head_limit(limits) - len(start)
    for extra, outcome in ((0, Request), (1, Refused)):
        session = new_session(reader, limits)
        data = start + b"b" * (rest + extra) + b"\r\n\r\n"
        (event,) = (event for piece in pieces_of(data, size) for event in told(session, piece))
        assert isinstance(event, outcome)
        if isinstance(event, Refused):
            assert event.status == 431


def test_an_endless_head_is_refused_before_it_ends(reader: str) -> None:
    session = new_session(reader)
    assert told(session, b"GET / HTTP/1.1\r\n") == []
    line = b"A: " + b"b" * 1000 + b"\r\n"
    for _ in range(100):
        events = told(session, line)
        if events:
            break
        assert session.unread <= head_limit(Limits()) + 3
    (refusal,) = events
    assert isinstance(refusal, Refused)
    assert refusal.status == 431
    assert session.pending == b""


def test_a_declared_body_above_the_limit_is_refused_with_its_head(reader: str) -> None:
    assert refused(new_session(reader, Limits(body=4)), POST).status == 413
    assert asked(new_session(reader, Limits(body=5)), POST + b"hello").content_length == 5


def test_a_chunked_body_is_refused_where_it_crosses_the_limit(reader: str) -> None:
    session = new_session(reader, Limits(body=5))
    asked(session, CHUNKED)
    assert chunks(told(session, b"5\r\nhello\r\n")) == b"hello"
    refusal = refused(session, b"1\r\n!\r\n")
    assert refusal.status == 413
    assert refusal.payload.startswith(b"HTTP/1.1 413 ")


# --- refusals ------------------------------------------------------------------------------------


def test_a_refusal_inside_the_body_is_the_answer(reader: str) -> None:
    session = new_session(reader)
    asked(session, CHUNKED)
    refusal = refused(session, b"zz\r\n")
    assert refusal.status == 400
    assert refusal.payload.endswith(b"\r\n\r\nBad Request")
    assert session.state is cycle.LINGER
    with pytest.raises(CycleError):
        session.respond(OK, b"", True)


def test_a_refusal_of_head_has_no_body(reader: str) -> None:
    session = new_session(reader)
    asked(session, CHUNKED.replace(b"POST", b"HEAD"))
    assert refused(session, b"zz\r\n").payload.endswith(b"\r\n\r\n")


def test_no_second_head_after_ours(reader: str) -> None:
    session = new_session(reader)
    asked(session, CHUNKED)
    session.respond(OK, b"", False)
    assert session.state.ours == "BODY"
    refusal = refused(session, b"zz\r\n")
    assert refusal.payload == b""
    assert session.state is cycle.CLOSED
    assert told(session, b"more") == []
    assert session.pending == b""


def test_a_refusal_after_our_answer_only_lingers(reader: str) -> None:
    session = new_session(reader)
    asked(session, CHUNKED)
    answer(session)
    assert session.recycle(0.0) is None
    refusal = refused(session, b"zz\r\n")
    assert refusal.payload == b""
    assert session.state is cycle.LINGER
    assert session.recycle(0.0) is False


# --- the end of input ----------------------------------------------------------------------------


def test_between_requests_it_is_no_event(reader: str) -> None:
    session = new_session(reader)
    asked(session, GET % 1)
    session.receive_eof()
    assert told(session) == []
    answer(session)
    assert session.recycle(0.0) is True
    assert told(session) == []


def test_inside_a_head_it_is_refused(reader: str) -> None:
    session = new_session(reader)
    assert told(session, b"GET / HT") == []
    session.receive_eof()
    assert refused(session).status == 400


def test_pipelined_requests_are_read_after_it(reader: str) -> None:
    session = new_session(reader)
    session.receive_data(GET % 1 + GET % 2 + b"GET")
    session.receive_eof()
    for target in (b"/1", b"/2"):
        request = one(session)
        assert isinstance(request, Request)
        assert request.target == target
        answer(session)
        session.recycle(0.0)
    assert refused(session).status == 400


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (POST, b""),
        (POST, b"hell"),
        (CHUNKED, b""),
        (CHUNKED, b"5\r\n"),
        (CHUNKED, b"5\r\nh"),
        (CHUNKED, b"1\r\nx\r\n0\r\n"),
    ],
)
def test_inside_a_body_it_is_refused_and_never_an_end(head: bytes, part: bytes, reader: str) -> None:
    for data, rest in ((head + part, b""), (head, part)):
        session = new_session(reader)
        told(session, data)
        if rest:
            session.receive_data(rest)
        session.receive_eof()
        events = told(session)
        assert REQUEST_END not in events
        assert isinstance(events[-1], Refused)
        assert events[-1].status == 400
