"""Every wait for the peer ends. The time is an argument, so that nobody waits here."""

from __future__ import annotations

from math import inf

import pytest

from bridgeserve.groups import Timeouts
from bridgeserve.wire import cycle
from bridgeserve.wire.events import REQUEST_END, Event, Expired, Refused
from bridgeserve.wire.http1 import DISCARD_MAX, Http1Session
from bridgeserve.wire.pace import WINDOW
from wire.drive import OK, answer, asked, chunks, new_session, refused, told

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def due(session: Http1Session) -> Event | None:
    """What comes of the deadline when it is reached."""
    assert session.deadline < inf
    return session.handle_deadline(session.deadline)


def expired(session: Http1Session) -> str:
    event = due(session)
    assert isinstance(event, Expired)
    return event.reason


def too_slow(session: Http1Session) -> bytes:
    event = due(session)
    assert isinstance(event, Refused)
    assert event.status == 408
    return event.payload


def used(at: float, timeouts: Timeouts | None = None) -> Http1Session:
    """A session that has answered its first request at this time."""
    session = new_session(timeouts=timeouts or Timeouts())
    asked(session, GET)
    answer(session)
    assert session.recycle(at) is True
    return session


# --- the head ------------------------------------------------------------------------------------


def test_a_client_that_says_nothing(reader: str) -> None:
    session = new_session(reader)
    assert session.deadline == 10.0
    assert expired(session) == "keep_alive"


def test_the_first_head_is_measured_from_the_connect(reader: str) -> None:
    session = new_session(reader)
    for i in range(9):
        assert told(session, GET[i : i + 1], float(i)) == []
        assert session.deadline == 10.0
    assert too_slow(session).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert session.state is cycle.LINGER
    assert session.deadline == 12.0


def test_a_later_head_is_measured_from_its_first_octet() -> None:
    session = used(100.0)
    assert session.deadline == 175.0
    assert told(session, GET[:1], 174.0) == []
    assert session.deadline == 184.0
    for i in range(1, 9):
        assert told(session, GET[i : i + 1], 174.0 + i) == []
        assert session.deadline == 184.0
    assert too_slow(session)


def test_a_short_keep_alive_does_not_shorten_the_head() -> None:
    session = used(100.0, Timeouts(keep_alive=2.0))
    assert session.deadline == 102.0
    told(session, GET[:9], 101.5)
    assert session.deadline == 111.5
    assert asked(session, GET[9:], 110.0)


def test_a_head_that_was_begun_behind_its_predecessor() -> None:
    session = new_session()
    asked(session, GET + b"GE")
    assert session.deadline == inf
    answer(session)
    session.recycle(50.0)
    assert told(session, now=50.0) == []
    assert session.deadline == 60.0


def test_idle() -> None:
    session = used(100.0)
    assert expired(session) == "keep_alive"


def test_an_idle_connection_in_a_drain() -> None:
    session = used(100.0)
    session.begin_drain(110.0, 0.5)
    assert session.deadline == 110.5
    session = used(100.0)
    session.begin_drain(174.9, 0.5)
    assert session.deadline == 175.0
    assert expired(session) == "keep_alive"


def test_a_head_in_a_drain_has_its_time() -> None:
    session = used(100.0)
    told(session, GET[:5], 110.0)
    session.begin_drain(111.0, 0.5)
    assert session.deadline == 120.0
    asked(session, GET[5:], 112.0)
    assert b"connection: close" in answer(session)
    session = used(100.0)
    session.begin_drain(110.0, 0.5)
    told(session, GET[:5], 110.2)
    assert session.deadline == 120.2


# --- the application -----------------------------------------------------------------------------


def test_while_the_application_works_there_is_no_deadline(reader: str) -> None:
    session = new_session(reader)
    asked(session, GET)
    assert session.deadline == inf
    session.deadline = 5.0
    assert session.handle_deadline(5.0) is None
    assert session.deadline == inf
    session.respond(OK, b"", False)
    assert session.deadline == inf


# --- the body ------------------------------------------------------------------------------------

NO_RATE = Timeouts(min_body_rate=0)


def test_silence_in_a_body(reader: str) -> None:
    session = new_session(reader, timeouts=NO_RATE)
    asked(session, POST, 5.0)
    assert session.deadline == 35.0
    told(session, b"x", 34.0)
    assert session.deadline == 64.0
    assert too_slow(session)
    assert session.state is cycle.LINGER


def test_a_body_that_drips(reader: str) -> None:
    session = new_session(reader)
    asked(session, POST, 0.0)
    for second in range(1, 10):
        assert chunks(told(session, b"x", float(second))) == b"x"
        assert session.deadline == WINDOW
    assert too_slow(session)


def test_a_body_that_is_just_quick_enough(reader: str) -> None:
    session = new_session(reader)
    asked(session, POST, 0.0)
    for window in range(5):
        told(session, b"x" * 640, window * WINDOW + 1.0)
        assert session.deadline == (window + 1) * WINDOW
        assert due(session) is None
    told(session, b"x" * 639, 51.0)
    assert too_slow(session)


def test_silence_is_shorter_than_the_window(reader: str) -> None:
    session = new_session(reader, timeouts=Timeouts(body=3.0))
    asked(session, POST, 0.0)
    told(session, b"x" * 5000, 1.0)
    assert session.deadline == 4.0
    assert too_slow(session)


def test_silence_across_windows(reader: str) -> None:
    session = new_session(reader, timeouts=Timeouts(body=12.0))
    asked(session, POST, 0.0)
    told(session, b"x" * 5000, 5.0)
    assert due(session) is None
    assert session.deadline == 17.0
    assert too_slow(session)


def test_framing_without_data_is_no_progress(reader: str) -> None:
    session = new_session(reader, timeouts=NO_RATE)
    asked(session, CHUNKED, 0.0)
    assert told(session, b"00000", 20.0) == []
    assert session.deadline == 30.0


def test_a_peer_is_not_slow_while_we_do_not_listen(reader: str) -> None:
    session = new_session(reader)
    asked(session, POST, 0.0)
    told(session, b"x" * 100, 1.0)
    session.reading(False, 2.0)
    assert session.deadline == inf
    session.reading(True, 500.0)
    assert session.deadline == 510.0
    assert too_slow(session)


def test_reading_concerns_only_the_body(reader: str) -> None:
    session = new_session(reader)
    for wanted in (True, False):
        session.reading(wanted, 3.0)
        assert session.deadline == 10.0
    asked(session, GET)
    session.reading(True, 3.0)
    assert session.deadline == inf


def test_the_end_of_the_body_ends_its_wait(reader: str) -> None:
    session = new_session(reader)
    asked(session, CHUNKED)
    assert told(session, b"0\r\n\r\n")[-1] is REQUEST_END
    assert session.deadline == inf


def test_too_slow_inside_our_answer_is_a_cut(reader: str) -> None:
    session = new_session(reader)
    asked(session, POST)
    session.respond(OK, b"", False)
    assert too_slow(session) == b""
    assert session.state is cycle.CLOSED


# --- the rest of a body that nobody wants --------------------------------------------------------


def answered(head: bytes, reader: str, read: int = 0) -> Http1Session:
    """A session that answers at the time 5, after so many octets of the body were read."""
    session = new_session(reader)
    asked(session, head)
    if read:
        assert chunks(told(session, b"x" * read)) == b"x" * read
    answer(session)
    assert session.recycle(5.0) is None
    assert session.deadline == 15.0
    return session


def test_a_discarded_body_keeps_the_connection(reader: str) -> None:
    session = answered(POST, reader)
    assert told(session, b"x" * 99999, 6.0) == []
    assert told(session, b"x" + GET, 7.0) == [REQUEST_END]
    assert session.recycle(8.0) is True
    assert asked(session, b"", 8.0).method == b"GET"


def test_a_discarded_chunked_body_keeps_the_connection(reader: str) -> None:
    session = answered(CHUNKED, reader)
    assert told(session, b"5\r\nhello\r\n", 6.0) == []
    assert told(session, b"5\r\nhello\r\n0\r\n\r\n" + GET, 6.0) == [REQUEST_END]
    assert session.recycle(8.0) is True


def test_a_declared_body_that_is_too_long_to_discard(reader: str) -> None:
    for rest, kept in ((DISCARD_MAX, True), (DISCARD_MAX + 1, False)):
        session = new_session(reader)
        asked(session, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (rest + 10) + b"x" * 10)
        assert (b"connection: close" not in answer(session)) is kept
        assert (session.recycle(0.0) is None) is kept


def test_only_what_is_discarded_counts(reader: str) -> None:
    length = DISCARD_MAX * 2
    session = answered(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length, reader, length - 10)
    assert told(session, b"x" * 4, 6.0) == []
    assert told(session, b"x" * 6, 6.0) == [REQUEST_END]


def test_a_chunked_body_that_never_ends(reader: str) -> None:
    session = answered(CHUNKED, reader)
    assert told(session, b"%x\r\n" % DISCARD_MAX + b"x" * DISCARD_MAX + b"\r\n", 6.0) == []
    refusal = refused(session, b"1\r\nx\r\n", 7.0)
    assert (refusal.status, refusal.payload) == (413, b"")
    assert session.state is cycle.LINGER
    assert session.deadline == 9.0


def test_the_last_octets_may_cross_the_limit(reader: str) -> None:
    session = answered(CHUNKED, reader)
    size = DISCARD_MAX + 1
    assert told(session, b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n", 6.0) == [REQUEST_END]


def test_a_discard_ends_too(reader: str) -> None:
    session = answered(CHUNKED, reader)
    assert told(session, b"1\r\nx\r\n", 14.0) == []
    assert session.deadline == 15.0
    assert too_slow(session) == b""
    assert session.state is cycle.LINGER


# --- lingering -----------------------------------------------------------------------------------


def test_linger(reader: str) -> None:
    session = new_session(reader)
    asked(session, GET + GET)
    answer(session)
    session.linger(5.0)
    assert session.pending == b""
    for second in (5.5, 6.5):
        assert told(session, GET, second) == []
        assert session.pending == b""
        assert session.deadline == 7.0
    assert expired(session) == "linger"
    assert session.recycle(8.0) is False


@pytest.mark.parametrize("data", [b"\0", b"GET / HTTP/9.9\r\n\r\n"])
def test_a_refusal_lingers(data: bytes, reader: str) -> None:
    session = new_session(reader)
    refused(session, data, 5.0)
    assert session.deadline == 7.0
    assert told(session, GET, 6.0) == []
    assert expired(session) == "linger"
