"""One WebSocket (RFC 6455, RFC 7692): octets and the time in; messages, octets and a deadline out.

The library `websockets` reads and checks single frames, unmasks, inflates and deflates; messages, UTF-8,
closing and time are decided here. Calling contract: `receive_data` / `receive_eof`, then `next_event` until it
gives None; answers by `text`, `octets` and `close`, and `answer_close` when the application has heard of the end.
`data_to_send` has what is to be written besides. `deadline` is when `handle_deadline` wants to be called.

What a client has asked for before its mistake, or before it closed, is still answered: a peer's close or fault
is an event behind its messages, and our close frame goes out when the application gets there, but no later than
ANSWER_TIME. The legality of each step is the table's.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator
from math import inf
from typing import Any

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode

from bridgeserve.groups import WebSocketLimits
from bridgeserve.wire import cycle
from bridgeserve.wire.deflate import Deflate

PEER_CLOSE = "close frame of the peer"
PEER_FAULT = "fault of the peer"
PEER_GONE = "the peer is gone"
OUR_CLOSE = "close frame of ours"

# (peer, ours): (timer, may messages be sent, {event: next pair}), as in `wire.cycle`.
TABLE: cycle.Table = {
    ("OPEN", "OPEN"): (
        "ping",
        True,
        {
            PEER_CLOSE: ("CLOSED", "OPEN"),
            PEER_FAULT: ("FAULT", "OPEN"),
            PEER_GONE: ("CLOSED", "CLOSED"),
            OUR_CLOSE: ("OPEN", "CLOSED"),
        },
    ),
    ("CLOSED", "OPEN"): ("answer", True, {OUR_CLOSE: ("CLOSED", "CLOSED"), PEER_GONE: ("CLOSED", "CLOSED")}),
    ("FAULT", "OPEN"): ("answer", True, {OUR_CLOSE: ("CLOSED", "CLOSED"), PEER_GONE: ("CLOSED", "CLOSED")}),
    ("OPEN", "CLOSED"): (
        "close",
        False,
        {
            PEER_CLOSE: ("CLOSED", "CLOSED"),
            PEER_FAULT: ("CLOSED", "CLOSED"),
            PEER_GONE: ("CLOSED", "CLOSED"),
        },
    ),
    ("CLOSED", "CLOSED"): (None, False, {}),
}
STATES = cycle.link(TABLE)
OPEN = STATES["OPEN", "OPEN"]
CLOSED = STATES["CLOSED", "CLOSED"]

ANSWER_TIME = 0.25  # seconds in which an application may still answer what came before a close
DEFLATE_MIN = 64  # octets; what is shorter gains nothing by being deflated
JOIN_MAX = 16384  # octets of a message that are copied behind its header rather than written on their own
BURST = 256  # frames without a message that are read in one go
NORMAL, GOING_AWAY, PROTOCOL, NO_STATUS, ABNORMAL, BAD_DATA, TOO_BIG, INTERNAL, RESTART = (
    1000, 1001, 1002, 1005, 1006, 1007, 1009, 1011, 1012,
)  # fmt: skip
_TEXT, _BINARY, _CONT, _CLOSE, _PING = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE, Opcode.PING
REASON_MAX = 123  # octets: a control frame holds 125, two are the code


class Closing:
    """The peer will say no more: `code` and `reason` as the application learns them (RFC 6455 sections 7.1.5, 7.1.6).

    1005: its close frame had no code; 1006: there was no close frame, `reason` says in our words why.
    """

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


Event = str | bytes | Closing


class WebSocketSession:
    """The server's side of one WebSocket after its handshake.

    :param now: monotonic seconds, as in all methods.
    """

    __slots__ = (
        "_buffer",
        "_check",
        "_close_code",
        "_close_reason",
        "_deflate",
        "_extensions",
        "_heard",
        "_kind",
        "_limits",
        "_listening",
        "_message",
        "_out",
        "_parser",
        "_pinged",
        "deadline",
        "eof",
        "more",
        "mute",
        "state",
    )

    def __init__(self, limits: WebSocketLimits, deflate: Deflate | None, now: float) -> None:
        self._limits = limits
        self._deflate = deflate
        self._extensions: Any = None if deflate is None else (deflate,)
        self._buffer = bytearray()
        self._parser: Generator[None, None, Frame] | None = None
        self._kind: Opcode | None = None  # of the fragmented message that has begun
        self._message = bytearray()
        self._check: codecs.IncrementalDecoder | None = None
        self._out: list[bytes] = []
        self._heard = now
        self._pinged: float | None = None
        self._listening = True
        self._close_code = NORMAL
        self._close_reason = ""
        self.state = OPEN
        self.eof = False
        self.more = False  # `next_event` gave None to let others have their turn: call it again
        self.mute = False  # nothing can be written at present: of the pongs only the last is kept
        self.deadline = inf
        self._schedule_ping()

    # --- the peer speaks -----------------------------------------------------------------------

    def receive_data(self, data: bytes, now: float) -> None:
        """Take octets from the peer."""
        self._heard = now
        self._buffer += data

    def receive_eof(self) -> None:
        """The peer will send no more."""
        self.eof = True

    @property
    def unread(self) -> int:
        """Octets received that no frame has taken yet."""
        return len(self._buffer)

    def next_event(self, now: float) -> Event | None:
        """The next message or the end of them; None when more octets are needed first, or `more` is set."""
        self.more = False
        for _ in range(BURST):
            if self.state.peer != "OPEN":
                self._buffer.clear()
                return None
            frame = self._read_frame(now)
            if frame is None or isinstance(frame, Closing):
                return frame
            event = self._take(frame, now)
            if event is not None:
                return event
        self.more = True
        return None

    def _read_frame(self, now: float) -> Frame | Closing | None:
        parser = self._parser
        if parser is None:
            if not self._buffer:
                return self._gone(now, "the connection was lost") if self.eof else None
            parser = Frame.parse(
                self._read_exact,
                mask=True,
                max_size=self._limits.max_size - len(self._message),
                extensions=self._extensions,
            )
        try:
            next(parser)
        except StopIteration as stop:
            self._parser = None
            frame: Frame = stop.value
            return frame
        except ProtocolError as error:
            return self._fault(PROTOCOL, str(error)[:REASON_MAX], now)
        except PayloadTooBig:
            return self._fault(TOO_BIG, "message too big", now)
        self._parser = parser
        return self._gone(now, "the connection was lost inside a frame") if self.eof else None

    def _read_exact(self, count: int) -> Generator[None, None, bytearray]:
        while len(self._buffer) < count:
            yield
        buffer = self._buffer
        if len(buffer) == count:  # the rest of a message that nothing follows: no copy is needed
            self._buffer = bytearray()
            return buffer
        data = buffer[:count]
        del buffer[:count]
        return data

    def _take(self, frame: Frame, now: float) -> Event | None:
        opcode = frame.opcode
        if opcode is _TEXT or opcode is _BINARY:
            if self._kind is not None:
                return self._fault(PROTOCOL, "expected a continuation frame", now)
            if not frame.fin:
                self._kind = opcode
                self._check = codecs.getincrementaldecoder("utf-8")() if opcode is _TEXT else None
                return self._append(frame, now)
            if self.state.ours == "CLOSED":
                return None  # nobody listens to what comes after our close
            if opcode is _BINARY:
                return bytes(frame.data)
            try:
                return str(frame.data, "utf-8")
            except UnicodeDecodeError:
                return self._fault(BAD_DATA, "not UTF-8", now)
        if opcode is _CONT:
            if self._kind is None:
                return self._fault(PROTOCOL, "unexpected continuation frame", now)
            return self._append(frame, now)
        if opcode is _PING:
            self._pong(frame.data)
        elif opcode is _CLOSE:
            return self._peer_close(bytes(frame.data), now)
        return None

    def _append(self, frame: Frame, now: float) -> Event | None:
        """A fragment of a message."""
        message = self._message
        message += frame.data
        if len(message) > self._limits.max_size:  # what an inflater held back while the size was used up exactly
            return self._fault(TOO_BIG, "message too big", now)
        if self._check is not None:
            try:
                self._check.decode(frame.data, frame.fin)
            except UnicodeDecodeError:
                return self._fault(BAD_DATA, "not UTF-8", now)
        if not frame.fin:
            if self.state.ours == "CLOSED":
                message.clear()
            return None
        kind, self._kind, self._check = self._kind, None, None
        self._message = bytearray()
        if self.state.ours == "CLOSED":
            return None
        return bytes(message) if kind is _BINARY else message.decode()

    def _pong(self, payload: bytes | bytearray | memoryview) -> None:
        if self.state.ours == "CLOSED":
            return
        if self.mute:
            self._out.clear()  # RFC 6455 section 5.5.3: only the most recent ping needs its answer
        self._out.append(bytes((0x8A, len(payload))) + payload)

    def _peer_close(self, payload: bytes, now: float) -> Closing:
        try:
            close = Close.parse(payload)
        except ProtocolError as error:
            return self._fault(PROTOCOL, str(error), now)
        except UnicodeDecodeError:
            return self._fault(BAD_DATA, "the reason of a close is not UTF-8", now)
        self._step(PEER_CLOSE, now)
        self._close_code, self._close_reason = int(close.code), close.reason  # the library has an enum of its own
        return Closing(self._close_code, close.reason)

    def _fault(self, code: int, reason: str, now: float) -> Closing:
        """The peer broke the protocol: nothing more of it is read (RFC 6455 section 7.1.7)."""
        self._buffer.clear()
        self._message.clear()
        self._parser = None
        self._step(PEER_FAULT, now)
        self._close_code, self._close_reason = code, reason
        return Closing(ABNORMAL, reason)

    def _gone(self, now: float, reason: str) -> Closing:
        self._step(PEER_GONE, now)
        return Closing(ABNORMAL, reason)

    def _step(self, event: str, now: float) -> None:
        self.state = state = self.state.on[event]
        if state.timer == "answer":
            self.deadline = now + ANSWER_TIME
        elif state.timer == "close":
            self.deadline = now + self._limits.close_timeout
        else:
            self.deadline = inf

    def lost(self, now: float) -> Closing | None:
        """The connection is gone; the event for the application, unless it knows of the end already."""
        heard_all = self.state.peer != "OPEN"
        if self.state is CLOSED:
            return None
        gone = self._gone(now, "the connection was lost")
        return None if heard_all else gone

    def data_to_send(self) -> bytes:
        """Pongs, pings and close frames that are to be written now."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data

    # --- we speak ------------------------------------------------------------------------------

    @property
    def sends(self) -> bool:
        """True while messages may be sent."""
        return self.state.can_reply

    def text(self, text: str) -> list[bytes]:
        """A text message; raises UnicodeEncodeError for lone surrogates."""
        return self._message_frame(0x81, text.encode())

    def octets(self, data: bytes) -> list[bytes]:
        """A binary message."""
        return self._message_frame(0x82, data)

    def _message_frame(self, first: int, data: bytes) -> list[bytes]:
        """One unmasked frame; the header is RFC 6455 section 5.2."""
        if self._deflate is not None and len(data) >= DEFLATE_MIN:
            opcode = _TEXT if first == 0x81 else _BINARY
            data = bytes(self._deflate.extension.encode(Frame(opcode, data)).data)
            first |= 0x40
        size = len(data)
        if size < 126:
            return [bytes((first, size)) + data]
        head = bytes((first, 126)) + size.to_bytes(2) if size < 65536 else bytes((first, 127)) + size.to_bytes(8)
        return [head + data] if size < JOIN_MAX else [head, data]

    def close(self, code: int, reason: str, now: float) -> None:
        """Begin to close, or answer the peer's close; nothing happens when we have closed already.

        :raises ValueError: a code that may not be sent (RFC 6455 section 7.4), a reason above 123 octets.
        """
        payload = close_payload(code, reason)
        if self.state.ours == "OPEN":
            self._out.append(bytes((0x88, len(payload))) + payload)
            self._message.clear()
            self._step(OUR_CLOSE, now)

    def answer_close(self, now: float) -> None:
        """The application has heard of the peer's end: send the close frame that we owe."""
        if self.state.timer == "answer":
            payload = b"" if self._close_code == NO_STATUS else close_payload(self._close_code, self._close_reason)
            self._out.append(bytes((0x88, len(payload))) + payload)
            self._step(OUR_CLOSE, now)

    # --- time ----------------------------------------------------------------------------------

    def _schedule_ping(self) -> None:
        interval = self._limits.ping_interval
        self._pinged = None
        self.deadline = self._heard + interval if interval and self._listening else inf

    def reading(self, wanted: bool, now: float) -> None:
        """Tell whether we read at present: a peer whom we do not listen to cannot answer a ping."""
        self._listening = wanted
        if self.state is OPEN:
            self._heard = now
            self._schedule_ping()

    def handle_deadline(self, now: float) -> Closing | None:
        """The deadline has come: ping, or end the wait that it belongs to."""
        timer = self.state.timer
        if timer == "answer":
            self.answer_close(now)
        elif timer == "close":
            return self._gone(now, "the close was not answered")
        elif timer == "ping":
            return self._ping(now)
        else:
            self.deadline = inf
        return None

    def _ping(self, now: float) -> Closing | None:
        limits = self._limits
        if self._pinged is not None and self._heard < self._pinged:  # any octet shows that the peer lives
            return self._fault(INTERNAL, "ping timeout", now)
        self._schedule_ping()
        if self.deadline <= now:
            self._pinged = now
            self._out.append(b"\x89\x00")
            self.deadline = now + limits.ping_timeout
        return None


def close_payload(code: int, reason: str) -> bytes:
    """Code and reason of a close frame; ValueError for what none may hold."""
    if len(reason.encode()) > REASON_MAX:
        raise ValueError(f"the reason of a close is longer than {REASON_MAX} octets")
    try:
        return Close(code, reason).serialize()
    except ProtocolError:
        raise ValueError(f"{code} is no code that a close frame may have") from None
