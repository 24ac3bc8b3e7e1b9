"""The WebSocket session: messages, control frames, faults and closing, frame by frame."""

from __future__ import annotations

import itertools
import os

import pytest

from bridgeserve.groups import WebSocketLimits
from bridgeserve.wire import websocket
from bridgeserve.wire.deflate import Deflate, negotiate
from bridgeserve.wire.errors import CycleError
from bridgeserve.wire.websocket import ANSWER_TIME, CLOSED, OPEN, TABLE, Closing, WebSocketSession, close_payload
from wire.drive import splits
from wire.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, close, code_of, deflated, frame, frames, inflated

LIMITS = WebSocketLimits(max_size=1000)
EVENTS = (websocket.PEER_CLOSE, websocket.PEER_FAULT, websocket.PEER_GONE, websocket.OUR_CLOSE)


def session(limits: WebSocketLimits = LIMITS, deflate: Deflate | None = None) -> WebSocketSession:
    return WebSocketSession(limits, deflate, 0.0)


def compressing(
    limits: WebSocketLimits = LIMITS, offer: str = "permessage-deflate; client_max_window_bits"
) -> WebSocketSession:
    deflate = negotiate(offer, limits)
    assert deflate is not None
    return session(limits, deflate)


def told(ws: WebSocketSession, data: bytes = b"", now: float = 0.0) -> list[object]:
    """The events that the octets give; an end as (code, reason)."""
    if data:
        ws.receive_data(data, now)
    found: list[object] = []
    while True:
        event = ws.next_event(now)
        if event is None and not ws.more:
            return found
        if event is not None:
            found.append((event.code, event.reason) if isinstance(event, Closing) else event)


def ended(ws: WebSocketSession, data: bytes) -> tuple[int | None, str]:
    """The code that we close with after a fault, and what the application is told."""
    events = told(ws, data)
    code, reason = events[-1]  # type: ignore[misc]
    assert code == 1006
    ws.answer_close(0.0)
    assert ws.state is CLOSED
    return code_of(frames(ws.data_to_send())), reason


# --- the table


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("pair", TABLE, ids="·".join)
def test_each_step_is_the_table_s(pair: tuple[str, str], event: str) -> None:
    state = websocket.STATES[pair]
    then = TABLE[pair][2].get(event)
    if then is None:
        with pytest.raises(CycleError, match="is illegal in"):
            state.on[event]
    else:
        assert state.on[event] is websocket.STATES[then]


def test_the_table_says_what_it_should() -> None:
    for (peer, ours), (timer, sends, steps) in TABLE.items():
        assert sends == (ours == "OPEN")
        assert (timer is None) == ((peer, ours) == ("CLOSED", "CLOSED"))
        assert (websocket.OUR_CLOSE in steps) == (ours == "OPEN")
        assert (websocket.PEER_CLOSE in steps) == (peer == "OPEN")


# --- messages


MESSAGES = (
    frame(TEXT, "hé".encode())
    + frame(BINARY, b"\x00\xff")
    + frame(TEXT)
    + frame(TEXT, "a€".encode()[:2], fin=False)
    + frame(PING, b"between")
    + frame(CONT, "a€".encode()[2:3], fin=False)
    + frame(CONT, "a€".encode()[3:])
    + frame(BINARY, b"x" * 126, fin=False)
    + frame(CONT, b"")
    + frame(PONG, b"nobody asked")
    + close(1000, "bye")
)


def test_messages_at_every_split() -> None:
    for pieces in splits(MESSAGES):
        ws = session()
        events = list(itertools.chain.from_iterable(told(ws, piece) for piece in pieces))
        assert events == ["hé", b"\x00\xff", "", "a€", b"x" * 126, (1000, "bye")]
        assert frames(ws.data_to_send()) == [(0x8A, b"between")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_sizes(size: int) -> None:
    ws = session(WebSocketLimits())
    data = os.urandom(size)
    assert told(ws, frame(BINARY, data)) == [data]
    assert frames(b"".join(ws.octets(data))) == [(0x82, data)]
    assert frames(b"".join(ws.text("é" * size))) == [(0x81, ("é" * size).encode())]


def test_a_message_has_its_limit() -> None:
    ws = session()
    assert told(ws, frame(BINARY, b"x" * 1000)) == [b"x" * 1000]
    assert ended(ws, frame(BINARY, b"x" * 1001)[:4]) == (1009, "message too big")  # told by its header alone


def test_a_message_in_fragments_has_the_same_limit() -> None:
    ws = session()
    parts = frame(BINARY, b"x" * 500, fin=False) + frame(CONT, b"x" * 500, fin=False)
    assert told(ws, parts) == []
    assert ended(ws, frame(CONT, b"x")) == (1009, "message too big")


def test_what_was_fragmented_counts_for_its_message_only() -> None:
    ws = session()
    for _ in range(3):
        assert told(ws, frame(BINARY, b"x" * 900, fin=False) + frame(CONT, b"y" * 100)) == [b"x" * 900 + b"y" * 100]


def test_lone_surrogates_cannot_be_sent() -> None:
    with pytest.raises(UnicodeEncodeError):
        session().text("\ud800")


# --- faults


@pytest.mark.parametrize(
    ("octets", "code", "why"),
    [
        (frame(TEXT, b"x", masked=False), 1002, "masking"),
        (frame(3), 1002, "opcode"),
        (frame(11), 1002, "opcode"),
        (frame(TEXT, b"x", rsv=4), 1002, "reserved"),
        (frame(TEXT, b"x", rsv=2), 1002, "reserved"),
        (frame(PING, rsv=1), 1002, "reserved"),
        (frame(CONT, b"x"), 1002, "unexpected continuation"),
        (frame(TEXT, fin=False) + frame(TEXT), 1002, "expected a continuation"),
        (frame(TEXT, fin=False) + frame(BINARY, fin=False), 1002, "expected a continuation"),
        (frame(PING, b"x" * 126), 1002, "control frame too long"),
        (frame(PING, fin=False), 1002, "fragmented control"),
        (frame(CLOSE, b"\x03"), 1002, "too short"),
        (close(999), 1002, "status code"),
        (close(1004), 1002, "status code"),
        (close(1005), 1002, "status code"),
        (close(1006), 1002, "status code"),
        (close(1015), 1002, "status code"),
        (close(2999), 1002, "status code"),
        (close(5000), 1002, "status code"),
        (close(1000, b"\xff"), 1007, "reason"),
        (frame(TEXT, b"\xff"), 1007, "UTF-8"),
        (frame(TEXT, "€".encode()[:2]), 1007, "UTF-8"),
        (frame(TEXT, b"\xed\xa0\x80"), 1007, "UTF-8"),
        (frame(TEXT, b"\xf4\x90\x80\x80"), 1007, "UTF-8"),
        (frame(TEXT, b"ok", fin=False) + frame(CONT, b"\xc3\x28", fin=False), 1007, "UTF-8"),
        (frame(TEXT, b"\xe2\x82", fin=False) + frame(CONT, b"", fin=True), 1007, "UTF-8"),
    ],
)
def test_faults(octets: bytes, code: int, why: str) -> None:
    found, reason = ended(session(), octets)
    assert found == code
    assert why in reason


def test_bad_text_is_told_in_the_fragment_that_has_it() -> None:
    ws = session()
    assert told(ws, frame(TEXT, b"good", fin=False)) == []
    assert told(ws, frame(CONT, b"\xff", fin=False)) == [(1006, "not UTF-8")]


def test_what_came_before_a_fault_is_still_answered() -> None:
    ws = session()
    assert told(ws, frame(TEXT, b"one") + frame(3) + frame(TEXT, b"two")) == ["one", (1006, "invalid opcode")]
    assert ws.sends
    assert ws.data_to_send() == b""
    assert frames(b"".join(ws.text("one"))) == [(0x81, b"one")]
    ws.answer_close(0.1)
    assert code_of(frames(ws.data_to_send())) == 1002
    assert not ws.sends
    assert told(ws, frame(TEXT, b"three")) == []


def test_an_answer_does_not_wait_for_ever() -> None:
    ws = session()
    told(ws, close(1000), 5.0)
    assert ws.deadline == 5.0 + ANSWER_TIME
    assert ws.handle_deadline(ws.deadline) is None
    assert frames(ws.data_to_send()) == [(0x88, close_payload(1000, ""))]
    assert ws.state is CLOSED


# --- closing


@pytest.mark.parametrize(
    ("octets", "learnt", "answer"), [(close(), 1005, None), (close(1001, "x"), 1001, 1001), (close(4999), 4999, 4999)]
)
def test_the_client_closes(octets: bytes, learnt: int, answer: int | None) -> None:
    ws = session()
    ((code, _),) = told(ws, octets)  # type: ignore[misc]
    assert (code, type(code)) == (learnt, int)
    ws.answer_close(0.0)
    assert code_of(frames(ws.data_to_send())) == answer
    ws.answer_close(0.0)
    ws.close(1000, "", 0.0)
    assert ws.data_to_send() == b""


def test_we_close() -> None:
    ws = session()
    ws.close(1001, "going", 1.0)
    assert frames(ws.data_to_send()) == [(0x88, b"\x03\xe9going")]
    assert ws.deadline == 6.0
    late = frame(TEXT, b"late") + frame(PING, b"x") + frame(TEXT, b"la", fin=False) + frame(CONT, b"te")
    assert told(ws, late) == []
    assert ws.data_to_send() == b""  # nothing is sent behind a close frame
    assert told(ws, close(1001, "going")) == [(1001, "going")]
    assert ws.state is CLOSED
    assert ws.data_to_send() == b""


def test_a_client_that_never_answers_the_close() -> None:
    ws = session()
    ws.close(1000, "", 1.0)
    assert told(ws, frame(BINARY, b"x" * 900, fin=False) + frame(CONT, b"x" * 900, fin=False), 5.9) == []
    closing = ws.handle_deadline(6.0)
    assert closing is not None
    assert (closing.code, ws.state) == (1006, CLOSED)


def test_a_fault_behind_our_close() -> None:
    ws = session()
    ws.close(1000, "", 0.0)
    ws.data_to_send()
    assert told(ws, frame(3)) == [(1006, "invalid opcode")]
    assert ws.state is CLOSED
    assert ws.data_to_send() == b""


@pytest.mark.parametrize(("octets", "reason"), [(b"", "lost"), (frame(TEXT, b"half")[:4], "inside a frame")])
def test_the_end_of_input_without_a_close(octets: bytes, reason: str) -> None:
    ws = session()
    assert told(ws, octets) == []
    ws.receive_eof()
    ((code, words),) = told(ws)  # type: ignore[misc]
    assert code == 1006
    assert reason in words
    assert ws.state is CLOSED


def test_the_connection_is_lost() -> None:
    ws = session()
    closing = ws.lost(0.0)
    assert closing is not None
    assert closing.code == 1006
    assert ws.lost(0.0) is None
    closed = session()
    told(closed, close(1000))
    assert closed.lost(0.0) is None  # the application hears of the close frame
    assert closed.state is CLOSED


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, ""), (1006, ""), (0, ""), (70000, ""), (1000, "x" * 124), (1000, "é" * 62)]
)
def test_what_no_close_frame_holds(code: int, reason: str) -> None:
    ws = session()
    with pytest.raises(ValueError, match=r"."):
        ws.close(code, reason, 0.0)
    assert ws.state is OPEN


# --- compression


def test_compressed_messages_both_ways() -> None:
    ws = compressing()
    text = "hello " * 20
    assert ws._deflate is not None
    assert ws._deflate._made is None  # its memory is taken by who uses it
    assert told(ws, frame(TEXT, deflated(text.encode()), rsv=4)) == [text]
    ((first, payload),) = frames(b"".join(ws.text(text)))
    assert first == 0xC1
    assert len(payload) < 30
    assert inflated(payload) == text.encode()


def test_a_compressed_message_in_fragments() -> None:
    ws = compressing()
    data = deflated(b"fragments " * 30)
    parts = frame(BINARY, data[:5], fin=False, rsv=4) + frame(PING) + frame(CONT, data[5:])
    assert told(ws, parts) == [b"fragments " * 30]
    assert told(ws, frame(BINARY, b"plain", fin=False) + frame(CONT, b"er")) == [b"plainer"]


def test_small_messages_are_sent_as_they_are() -> None:
    ws = compressing()
    assert frames(b"".join(ws.text("short"))) == [(0x81, b"short")]
    assert told(ws, frame(TEXT, b"plain")) == ["plain"]


@pytest.mark.parametrize(
    "octets", [frame(TEXT, b"\xff\xff\xff", rsv=4), frame(TEXT, deflated(b"x"), rsv=4, fin=False) + frame(CONT, rsv=4)]
)
def test_bad_compression(octets: bytes) -> None:
    assert ended(compressing(), octets)[0] == 1002


def test_a_compressed_message_is_checked_when_it_is_inflated() -> None:
    assert ended(compressing(), frame(TEXT, deflated(b"\xff" * 9), rsv=4)) == (1007, "not UTF-8")


@pytest.mark.parametrize("size", [1001, 2000, 100_000])
def test_the_limit_is_that_of_the_inflated_size(size: int) -> None:
    assert ended(compressing(), frame(TEXT, deflated(b"x" * size), rsv=4)) == (1009, "message too big")


def test_the_inflated_size_of_fragments_adds_up() -> None:
    data = deflated(b"x" * 1500)
    cut = len(data) // 2
    parts = frame(TEXT, data[:cut], rsv=4, fin=False) + frame(CONT, data[cut:], fin=False) + frame(CONT)
    assert ended(compressing(), parts) == (1009, "message too big")


def test_exactly_the_limit() -> None:
    assert told(compressing(), frame(BINARY, deflated(b"x" * 1000), rsv=4)) == [b"x" * 1000]


# --- pings


def test_pings_and_their_answers() -> None:
    ws = session()
    assert ws.deadline == 20.0
    told(ws, frame(TEXT, b"x"), 15.0)
    assert ws.handle_deadline(20.0) is None
    assert (ws.deadline, ws.data_to_send()) == (35.0, b"")  # what was heard puts the ping off
    ws.handle_deadline(35.0)
    assert (ws.deadline, frames(ws.data_to_send())) == (55.0, [(0x89, b"")])
    told(ws, frame(PONG), 36.0)
    assert ws.handle_deadline(55.0) is None
    assert ws.deadline == 56.0 or ws.data_to_send()
    ws.handle_deadline(60.0)
    assert ws.state is OPEN


def test_no_sign_of_life() -> None:
    ws = session()
    ws.handle_deadline(20.0)
    closing = ws.handle_deadline(40.0)
    assert closing is not None
    assert (closing.code, closing.reason) == (1006, "ping timeout")
    ws.answer_close(40.0)
    assert code_of(frames(ws.data_to_send())) == 1011


def test_a_slow_upload_is_a_sign_of_life() -> None:
    ws = session()
    ws.handle_deadline(20.0)
    told(ws, frame(TEXT, b"x" * 900)[:20], 39.0)
    assert ws.handle_deadline(40.0) is None


def test_pings_can_be_switched_off() -> None:
    ws = session(WebSocketLimits(ping_interval=0))
    assert ws.deadline == float("inf")


def test_who_is_not_read_is_not_dead() -> None:
    ws = session()
    ws.handle_deadline(20.0)
    ws.reading(False, 21.0)
    assert ws.deadline == float("inf")
    ws.reading(True, 100.0)
    assert ws.deadline == 120.0


def test_of_many_pings_only_the_last_is_answered_while_nothing_can_be_written() -> None:
    ws = session()
    told(ws, frame(PING, b"1") + frame(PING, b"2"))
    assert frames(ws.data_to_send()) == [(0x8A, b"1"), (0x8A, b"2")]
    ws.mute = True
    told(ws, frame(PING, b"3") * 500 + frame(PING, b"4"))
    assert frames(ws.data_to_send()) == [(0x8A, b"4")]


def test_others_have_their_turn() -> None:
    ws = session()
    ws.receive_data(frame(PONG) * (websocket.BURST + 1) + frame(TEXT, b"x"), 0.0)
    assert ws.next_event(0.0) is None
    assert ws.more
    assert ws.unread > 0
    assert ws.next_event(0.0) == "x"
    assert not ws.more
