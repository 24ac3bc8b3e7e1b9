"""Drives a session by hand: octets and the time in, a transcript out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bridgeserve.groups import Limits, Timeouts
from bridgeserve.wire.events import BodyChunk, Event, Refused, Request, RequestEnd
from bridgeserve.wire.framing import Preamble, ResponseHead
from bridgeserve.wire.http1 import Http1Session

READERS = ("auto", "h11")
CORPUS = Path(__file__).resolve().parent / "corpus"
SILENT = Preamble(date=False, server=False)
LIMITS = Limits()
TIMEOUTS = Timeouts()
OK = ResponseHead(200, b"", [])

Entry = tuple[object, ...]


def new_session(reader: str = "auto", limits: Limits = LIMITS, timeouts: Timeouts = TIMEOUTS) -> Http1Session:
    """A session whose connection was accepted at the time 0, without Date and Server."""
    return Http1Session(limits, timeouts, reader, SILENT, 0.0)


def told(session: Http1Session, data: bytes = b"", now: float = 0.0) -> list[Event]:
    """Give octets; take events until there are no more."""
    if data:
        session.receive_data(data)
    found: list[Event] = []
    while (event := session.next_event(now)) is not None:
        found.append(event)
    return found


def one(session: Http1Session, data: bytes = b"", now: float = 0.0) -> Event:
    """The only event that the octets give."""
    (event,) = told(session, data, now)
    return event


def asked(session: Http1Session, data: bytes, now: float = 0.0) -> Request:
    """The request at the front of what the octets give."""
    request = told(session, data, now)[0]
    assert isinstance(request, Request)
    return request


def refused(session: Http1Session, data: bytes = b"", now: float = 0.0) -> Refused:
    """The refusal at the end of what the octets give."""
    refusal = told(session, data, now)[-1]
    assert isinstance(refusal, Refused)
    return refusal


def chunks(events: Iterable[Event]) -> bytes:
    """The body octets among the events."""
    return b"".join(event.data for event in events if isinstance(event, BodyChunk))


def answer(session: Http1Session, body: bytes = b"", head: ResponseHead = OK) -> bytes:
    """Answer at once and whole; the octets sent."""
    return b"".join(session.respond(head, body, True))


def splits(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """The message whole, in single octets, by line, and cut in two at every place."""
    yield (data,)
    yield tuple(data[i : i + 1] for i in range(len(data)))
    yield tuple(data.splitlines(keepends=True))
    for i in range(1, len(data)):
        yield data[:i], data[i:]


def head_of(request: Request) -> Entry:
    """All that a request head says."""
    return (
        request.method,
        request.target,
        request.path,
        request.query,
        request.version,
        tuple(request.headers),
        request.content_length,
        request.chunked,
        request.expect_continue,
        request.keep_alive,
        request.upgrade,
    )


class Play:
    """Plays octets into a session that answers each request, and keeps a transcript.

    The transcript does not tell how a body was cut into pieces: that is the only thing that the
    reader and the splits may decide. `early` answers before the body is complete.
    """

    def __init__(self, reader: str, limits: Limits = LIMITS, early: bool = False) -> None:
        self.session = new_session(reader, limits)
        self.transcript: list[Entry] = []
        self.early = early
        self.over = False
        self._body = b""

    def feed(self, data: bytes) -> None:
        """Octets from the peer; answers and goes on until nothing is left to read."""
        self.session.receive_data(data)
        self._pump()

    def end(self) -> None:
        """The end of input."""
        self.session.receive_eof()
        self._pump()

    def _pump(self) -> None:
        while not self.over and (event := self.session.next_event(0.0)) is not None:
            if isinstance(event, Request):
                self._begin(event)
            elif isinstance(event, BodyChunk):
                assert event.data and not self.early
                self._body += event.data
            elif isinstance(event, RequestEnd):
                self._whole()
            else:
                assert isinstance(event, Refused)
                self.transcript.append(("refused", event.status))
                self.over = True

    def _begin(self, request: Request) -> None:
        self.transcript.append(("head", *head_of(request)))
        self._body = request.body
        if request.complete:
            self._whole()
        elif self.early:
            self._answer()

    def _whole(self) -> None:
        if not self.early:
            self.transcript.append(("body", self._body))
        if self.session.state.ours == "IDLE":
            self._answer()
        else:
            self._recycle()

    def _answer(self) -> None:
        answer(self.session, b"ok")
        self._recycle()

    def _recycle(self) -> None:
        if self.session.recycle(0.0) is False:
            self.transcript.append(("close",))
            self.session.linger(0.0)
            self.over = True


def play(pieces: Iterable[bytes], reader: str, limits: Limits = LIMITS, early: bool = False) -> list[Entry]:
    """The transcript of a connection on which these pieces arrive, then the end of input."""
    player = Play(reader, limits, early)
    for piece in pieces:
        player.feed(piece)
    player.end()
    return player.transcript
