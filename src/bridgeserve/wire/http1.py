"""One HTTP/1 session: bytes and the time in; events, bytes and a deadline out.

Calling contract: `receive_data` / `receive_eof`, then `next_event` until it gives None; answers by
`respond`, `write`, `finish`; after `finish` (or a complete `respond`) call `recycle`, which says
whether the connection goes on. `deadline` is when `handle_deadline` wants to be called.
Requests are read one at a time: what a client pipelines stays unread until the answer is out.
The legality of each step is the table's (`wire.cycle`).
"""

from __future__ import annotations

from math import inf

from bridgeserve.groups import Limits, Timeouts
from bridgeserve.wire import cycle, framing, plain, reference
from bridgeserve.wire.errors import CycleError, WireError
from bridgeserve.wire.events import REQUEST_END, BodyChunk, Event, Expired, Refused, Request
from bridgeserve.wire.familiar import HeadReader
from bridgeserve.wire.fields import TOKEN
from bridgeserve.wire.framing import Preamble, ResponseHead
from bridgeserve.wire.gate import head_limit
from bridgeserve.wire.pace import Pace

JOIN_MAX = 16384  # octets of a body that are copied behind its head rather than written on their own
DISCARD_MAX = 262144  # octets of a body nobody wants that are read to keep the connection
_BODY_IDLE = cycle.STATES["BODY", "IDLE"]


class Http1Session:
    """The server's side of HTTP/1.0 and 1.1 (RFC 9110, RFC 9112) on one connection.

    :param reader: "auto" (plain reader, h11 behind it) or "h11" (every request).
    :param now: monotonic seconds, as in all methods.
    """

    __slots__ = (
        "_body",
        "_bodyless",
        "_chunked",
        "_continued",
        "_forgiven",
        "_head_end",
        "_heads",
        "_keep",
        "_lane",
        "_left",
        "_limits",
        "_pace",
        "_pos",
        "_preamble",
        "_scan",
        "_timeouts",
        "_total",
        "closing",
        "deadline",
        "eof",
        "fault",
        "pending",
        "request",
        "state",
    )

    def __init__(self, limits: Limits, timeouts: Timeouts, reader: str, preamble: Preamble, now: float) -> None:
        self._limits = limits
        self._heads = HeadReader(limits)
        self._timeouts = timeouts
        self._lane = reader == "auto"
        self._preamble = preamble
        self.pending = b""  # octets not taken yet start at _pos; empty when all were taken
        self._pos = self._scan = 0  # _scan: up to where pending is known to hold no end of head
        self._body: plain.LengthBody | reference.ReferenceBody | None = None
        self._total = 0  # body octets of this request so far
        self._pace = Pace(timeouts)
        self._continued = self._forgiven = False  # _forgiven: an empty line before this head was
        self._keep = True
        self._left: int | None = None  # octets the response still owes to its Content-Length
        self._chunked = self._bodyless = False
        self.request: Request | None = None
        self.state = cycle.IDLE
        self.closing = self.eof = False  # closing, set by a drain: the next answer says Connection: close
        self.fault = ""  # what the application did wrong with its body, for the log
        self.deadline = self._head_end = now + timeouts.header  # absolute for the first head, from the connect

    # --- the peer speaks -----------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Take octets from the peer."""
        if self._pos < len(self.pending):
            self._scan = max(self._scan - self._pos, 0)
            self.pending = self.pending[self._pos :] + data
        else:
            self.pending = data
            self._scan = 0
        self._pos = 0

    def receive_eof(self) -> None:
        """The peer will send no more (it may still read)."""
        self.eof = True

    @property
    def unread(self) -> int:
        """Octets received that no request has taken yet."""
        return len(self.pending) - self._pos

    def next_event(self, now: float) -> Event | None:
        """The next event; None when more octets, or our answer, are needed first."""
        peer = self.state.peer
        try:
            if peer == "IDLE" or peer == "HEAD":
                return self._read_head(now)
            if peer == "BODY":
                return self._read_body(now)
            if peer == "LINGER" or peer == "CLOSED":
                self.pending, self._pos = b"", 0
        except WireError as error:
            return self._refuse(error.status, error.reason, now)
        return None

    def _read_head(self, now: float) -> Event | None:
        data = self.pending
        pos = self._pos
        if pos == len(data):
            return None
        if data[pos] == 0x0D and not self._forgiven and data.startswith(b"\r\n", pos):
            self._forgiven = True
            self._pos = pos = pos + 2  # one empty line is forgiven (RFC 9112 section 2.2)
        scan = self._scan - 3
        end = data.find(b"\r\n\r\n", scan if scan > pos else pos)
        if end < 0:
            self._partial_head(now)
            return None
        self.request = request = self._heads.read(data[pos:end])
        self._forgiven = False
        self._body = None
        if not (request.usual and self._lane) and not self._read_unusual(request, data, end, now):
            return request
        self.state = self.state.on[cycle.REQUEST_COMPLETE]
        self.deadline = inf
        end += 4 + len(request.body)
        if end == len(data):
            self.pending = b""
            self._pos = 0
        else:
            self._pos = end
        return request

    def _read_unusual(self, request: Request, data: bytes, end: int, now: float) -> bool:
        """What the lane leaves to h11, and bodies; False when octets of the body are still to come."""
        self._total = 0
        self._continued = False
        if not (self._lane and plain.takes(request)):
            self._body = reference.read_head(data[self._pos : end], request)
        end += 4
        if request.complete or self._attach_body(request, data, end):
            return True
        self._pos = end
        self.state = self.state.on[cycle.REQUEST]
        self.deadline = self._pace.restart(now)
        return False

    def _attach_body(self, request: Request, data: bytes, pos: int) -> bool:
        """Put a body that came whole with its head into the request; else prepare its reader."""
        if self._body is None and request.content_length is not None:
            length = request.content_length
            if len(data) - pos >= length:
                request.body = data[pos : pos + length]
                request.complete = True
                return True
            self._body = plain.LengthBody(length)
        return False

    def _partial_head(self, now: float) -> None:
        """Nothing to read yet: start the head's absolute timer, refuse what can never become a head."""
        data = self.pending
        pos = self._pos
        size = len(data) - pos
        if size == 0:
            return
        if self.state is cycle.IDLE:
            self.state = self.state.on[cycle.FIRST_BYTE]
            self.deadline = min(self._head_end, now + self._timeouts.header)
            if data[pos] != 0x0D and not TOKEN.match(data[pos : pos + 1]):
                raise WireError(400, "bad first octet")
        start = max(pos, self._scan)  # an LF at the start may end a CRLF that began before it
        if data.count(b"\n", start) != data.count(b"\r\n", max(pos, start - 1)):
            raise WireError(400, "bare LF in the head")
        if size > self._limits.request_line + 2 and data.find(b"\r\n", pos, pos + self._limits.request_line + 2) < 0:
            raise WireError(414, "request line too long")
        if size > head_limit(self._limits) + 3:  # 3: of the empty line that ends it
            raise WireError(431, "head too large")
        if self.eof:
            raise WireError(400, "end of input inside the head")
        self._scan = len(data)

    def _read_body(self, now: float) -> Event | None:
        body = self._body
        assert body is not None
        if not body.ended:
            if self._pos == len(self.pending) and not self.eof:
                return None
            piece, self._pos = body.feed(self.pending, self._pos)
            if self._pos == len(self.pending):
                self.pending, self._pos = b"", 0
            if piece:
                return self._take(piece, body.ended, now)
        if body.ended:
            return self._body_ended()
        if self.eof:
            raise WireError(400, "end of input inside the body")
        return None

    def _body_ended(self) -> Event:
        self.state = self.state.on[cycle.REQUEST_END]
        self.deadline = inf
        self._body = None
        return REQUEST_END

    def _take(self, piece: bytes, last: bool, now: float) -> Event | None:
        self._total += len(piece)
        self.deadline = self._pace.took(len(piece), now)
        if self._limits.body is not None and self._total > self._limits.body:
            raise WireError(413, "body above the limit")
        if self.state is cycle.BODY_DONE:
            if self._total > DISCARD_MAX and not last:
                raise WireError(413, "body goes on after its answer")
            return self._read_body(now)
        return BodyChunk(piece)

    def reading(self, wanted: bool, now: float) -> None:
        """Tell whether we read the body at present: a peer is not slow while we do not listen, or while it waits."""
        if self.state.peer == "BODY":
            waits = self.request is not None and self.request.expect_continue and not (self._continued or self._total)
            self.deadline = self._pace.restart(now) if wanted and not waits else inf

    def want_body(self) -> bytes:
        """The application reads: the 100 that the peer waits for, once, or b"" (RFC 9110 section 10.1.1)."""
        request = self.request
        if request is None or not request.expect_continue or self._continued or self.state is not _BODY_IDLE:
            return b""
        self._continued = True
        return b"" if self._total or self.unread else b"HTTP/1.1 100 Continue\r\n\r\n"

    # --- time ----------------------------------------------------------------------------------

    def handle_deadline(self, now: float) -> Event | None:
        """The deadline has come: end the wait that it belongs to."""
        timer = self.state.timer
        if timer == "head":
            return self._refuse(408, "head not complete in time", now)
        if timer == "body" or timer == "discard":
            deadline = self._pace.next_window(now)
            if deadline is not None:
                self.deadline = deadline
                return None
            return self._refuse(408, "body too slow", now)
        if timer is None:
            self.deadline = inf
            return None
        return Expired(timer)

    def begin_drain(self, now: float, quiet: float) -> None:
        """Close after the present answer; an idle connection once it was quiet for `quiet` seconds."""
        self.closing = True
        if self.state is cycle.IDLE:
            self.deadline = min(self.deadline, now + quiet)

    def _refuse(self, status: int, reason: str, now: float) -> Refused:
        """Answer the peer's fault if the table lets us, then linger."""
        self.state = self.state.on[cycle.PEER_ERROR]
        self.deadline = now + self._timeouts.linger
        payload = b""
        if self.state.can_reply:
            head = self.request is not None and self.request.method == b"HEAD" and self._body is not None
            payload = framing.error_response(status, with_body=not head, lines=self._preamble.lines[3])
            self.state = self.state.on[cycle.RESPONSE_COMPLETE]
        self.pending, self._pos = b"", 0
        return Refused(status, reason, payload)

    # --- we speak ------------------------------------------------------------------------------

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> list[bytes]:
        """The response head with the first octets of its body, or all of it (`end`)."""
        request = self.request
        assert request is not None
        self.state = state = self.state.on[cycle.RESPONSE_COMPLETE if end else cycle.RESPONSE]
        self._keep = keep = (
            request.keep_alive
            and not self.closing
            and not head.close
            and not (state.peer == "BODY" and self._abandons())
        )
        self._bodyless = bodyless = request.method == b"HEAD" or head.status in framing.BODYLESS
        length = head.content_length
        if length is None or 204 <= head.status <= 205:
            length = framing.body_length(head.status, len(body), end, bodyless)
        self._chunked = False
        if length is not None:
            field = b"content-length: %d\r\n" % length
        elif bodyless or end:
            field = b""
        elif request.version == "1.1":
            self._chunked = True
            field = b"transfer-encoding: chunked\r\n"
        else:
            self._keep = keep = False  # the end of the connection is the end of the body (RFC 9112 section 6.3)
            field = b""
        if not keep:
            field += b"connection: close\r\n"
        elif request.version == "1.0":
            field += b"connection: keep-alive\r\n"
        self._left = None if bodyless else length
        lines = self._preamble.lines[head.preamble]
        if not end:
            return [b"".join((head.line, lines, head.block, field, b"\r\n")), *self.write(body)]
        if bodyless:
            body = b""
        elif len(body) != length:
            body = self._count(body)
            if self._left:
                self.fault = "response body shorter than its Content-Length"
                self._keep = False
        if len(body) < JOIN_MAX:
            return [b"".join((head.line, lines, head.block, field, b"\r\n", body))]
        return [b"".join((head.line, lines, head.block, field, b"\r\n")), body]

    def _abandons(self) -> bool:
        """True when the rest of the request body is not worth reading (RFC 9112 section 9.3)."""
        request = self.request
        assert request is not None
        if request.expect_continue and not self._continued:
            return True  # the peer may or may not send the body now: nobody can tell where the next head starts
        return self._body is not None and self._body.remaining > DISCARD_MAX

    def _count(self, data: bytes) -> bytes:
        """Hold the body to its Content-Length: what is too much is cut."""
        assert self._left is not None
        if len(data) > self._left:
            self.fault = "response body longer than its Content-Length"
            data = data[: self._left]
        self._left -= len(data)
        return data

    def write(self, data: bytes) -> list[bytes]:
        """More of the response body."""
        if self.state.ours != "BODY":
            raise CycleError(f"body octets are illegal in {self.state.name}")
        if not data or self._bodyless:
            return []
        if self._left is not None:
            data = self._count(data)
            return [data] if data else []
        if self._chunked:
            return [b"%x\r\n" % len(data), data, b"\r\n"]
        return [data]

    def sends_raw(self, count: int) -> bool:
        """True when the next `count` octets of the body may go to the socket as they are, past the session."""
        return self._left is not None and self._left >= count

    def sent_raw(self, count: int) -> None:
        """So many octets of the body went to the socket past the session."""
        assert self._left is not None
        self._left -= count

    def finish(self, data: bytes = b"", trailers: bytes = b"") -> list[bytes]:
        """The last octets of the response; `trailers` are whole lines (RFC 9112 section 7.1.2)."""
        pieces = self.write(data)
        self.state = self.state.on[cycle.RESPONSE_END]
        if self._left:
            self.fault = "response body shorter than its Content-Length"
            self._keep = False
        elif self._chunked:
            pieces.append(b"0\r\n%b\r\n" % trailers)
        return pieces

    def recycle(self, now: float) -> bool | None:
        """After the answer: True, the next request may come; False, close; None, first the rest of a body."""
        if not self._keep or self.state.ours == "CLOSED":
            return False
        if self.state is cycle.BODY_DONE:
            self._total = 0  # from here on: what is discarded
            self.deadline = self._pace.restart(now)
            return None
        self.state = self.state.on[cycle.RECYCLE]
        self.request = None
        self._head_end = inf
        self.deadline = now + self._timeouts.keep_alive
        return not self.closing

    def switch(self) -> bytes:
        """Another protocol takes the connection (RFC 9110 section 7.8); gives the octets that are its own already."""
        self.state = self.state.on[cycle.SWITCH]
        rest, self.pending, self._pos = self.pending[self._pos :], b"", 0
        return rest

    def linger(self, now: float) -> None:
        """We have written our last octet: only wait for the peer to read it (RFC 9112 section 9.6)."""
        self.state = cycle.LINGER
        self.deadline = now + self._timeouts.linger
        self.pending, self._pos = b"", 0
