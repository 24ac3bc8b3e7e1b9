"""What engine and child say to each other: length-prefixed frames over a stream of octets.

A frame is `kind (1) · call (4) · length (4)` and so many octets of payload, numbers in network order. `call` numbers
the requests of one child, so that nothing said for one is taken for another. Nothing here is pickled: a request travels
as the octets of its head, a response as those of its checked head, and everything else as octets or numbers.

    engine → child   SETUP, REQUEST, BODY, BODY_END, CREDIT, GONE
    child → engine   READY, FAILED, HEAD, DATA, END, FILE, INFORM, WANT, ABORT, DONE, LOG, ANSWER

A response body flows by credit: a child may have WINDOW octets under way, CREDIT gives back what has gone out. A
request body that did not come with its REQUEST flows when the child asks for it (WANT). DONE is a child's last word on
a call: it is free again. ANSWER is HEAD with the whole response, and DONE. A file goes beside the stream, as a
descriptor.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from bridgeserve.wire.errors import CycleError, ResponseError
from bridgeserve.wire.framing import ResponseHead, is_informational

HEADER = struct.Struct("!BII")

SETUP, REQUEST, BODY, BODY_END, CREDIT, GONE = range(1, 7)
READY, FAILED, HEAD, DATA, END, FILE, INFORM, WANT, ABORT, DONE, LOG, ANSWER = range(16, 28)
FROM_CHILD = frozenset(range(READY, ANSWER + 1))
FROM_ENGINE = frozenset(range(SETUP, GONE + 1))

WINDOW = 262144  # octets of a response body that a child may have under way
PIECE = 65536  # octets of a body in one frame, and of a request body that travels with its head
FRAME_MAX = 1 << 24  # payload of the largest frame that is legal: more than the largest head that the options allow

LENGTH_END = 10**18  # Content-Length has 18 digits at most

# Where the body of a request is.
INLINE, ASKED, DESCRIPTOR = range(3)

_REQUEST = struct.Struct("!BqII")  # body, its length (-1: not known), head, facts
_HEAD = struct.Struct("!BHqBBI")  # end, status, content length (-1: none), close, preamble, status line
_FILE = struct.Struct("!qq")
_NUMBER = struct.Struct("!I")


class IpcError(Exception):
    """The other side did not keep to the frames: a bug, or a child whose memory was overwritten."""


def frame(kind: int, call: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return HEADER.pack(kind, call, len(payload)) + payload


def number(value: int) -> bytes:
    """The payload of CREDIT."""
    return _NUMBER.pack(value)


def read_number(payload: bytes) -> int:
    """:raises IpcError: it is none."""
    return int(_unpack(_NUMBER, payload, whole=True)[0])


class FrameReader:
    """Cuts a stream into frames.

    :param kinds: those that the other side may send.
    """

    __slots__ = ("_kinds", "_pending")

    def __init__(self, kinds: frozenset[int]) -> None:
        self._kinds = kinds
        self._pending = b""

    @property
    def pending(self) -> int:
        """Octets of a frame that is not complete."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """The frames (kind, call, payload) that are complete now.

        :raises IpcError: an unknown kind, or a frame above FRAME_MAX.
        """
        if self._pending:
            data = self._pending + data
        found = []
        pos = 0
        size = len(data)
        while size - pos >= HEADER.size:
            kind, call, length = HEADER.unpack_from(data, pos)
            if kind not in self._kinds or length > FRAME_MAX:
                raise IpcError("a frame that does not exist")
            end = pos + HEADER.size + length
            if end > size:
                break
            found.append((kind, call, data[pos + HEADER.size : end]))
            pos = end
        self._pending = data[pos:] if pos else data
        return found


def _unpack(form: struct.Struct, payload: bytes, whole: bool = False) -> tuple[int, ...]:
    if len(payload) < form.size or (whole and len(payload) != form.size):
        raise IpcError("a payload that does not fit its frame")
    return form.unpack_from(payload)


# --- requests ------------------------------------------------------------------------------------


class RequestFrame:
    """The payload of REQUEST: the raw head, the facts of the connection, and the body or where it is.

    :param facts: what is known of the connection (`dispatch.facts`).
    """

    __slots__ = ("body", "facts", "head", "length", "source")

    def __init__(self, head: bytes, facts: bytes, source: int, length: int, body: bytes) -> None:
        self.head = head
        self.facts = facts
        self.source = source
        self.length = length
        self.body = body

    def frame(self, call: int) -> bytes:
        """The whole frame of a call."""
        head, facts, body = self.head, self.facts, self.body
        size = _REQUEST.size + len(head) + len(facts) + len(body)
        sizes = _REQUEST.pack(self.source, self.length, len(head), len(facts))
        return b"".join((HEADER.pack(REQUEST, call, size), sizes, head, facts, body))

    @classmethod
    def unpack(cls, payload: bytes) -> RequestFrame:
        """:raises IpcError: a payload that does not fit."""
        source, length, head, facts = _unpack(_REQUEST, payload)
        middle = _REQUEST.size + head
        end = middle + facts
        if end > len(payload):
            raise IpcError("a request that does not fit its frame")
        return cls(payload[_REQUEST.size : middle], payload[middle:end], source, length, payload[end:])


# --- responses -----------------------------------------------------------------------------------


def pack_head(head: ResponseHead, end: bool, body: bytes) -> bytes:
    """The payload of HEAD and ANSWER: a compiled head and the first octets of the body (`end`: all of it)."""
    length = -1 if head.content_length is None else head.content_length
    sizes = _HEAD.pack(end, head.status, length, head.close, head.preamble, len(head.line))
    return b"".join((sizes, len(head.block).to_bytes(4), head.line, head.block, body))


def unpack_head(payload: bytes) -> tuple[ResponseHead, bool, bytes]:
    """The head, whether it is the whole response, and the octets of the body.

    Checked again, for the memory of a child is the application's to spoil.

    :raises IpcError: it does not fit, or could not be sent.
    """
    end, status, length, close, preamble, line_size = _unpack(_HEAD, payload)
    pos = _HEAD.size
    block_size = int.from_bytes(payload[pos : pos + 4])
    pos += 4
    line = payload[pos : pos + line_size]
    pos += line_size
    block = payload[pos : pos + block_size]
    pos += block_size
    if pos > len(payload) or preamble > 3 or not -1 <= length < LENGTH_END:
        raise IpcError("a response head that does not fit its frame")
    try:
        head = ResponseHead.compiled(status, line, block)
    except ResponseError as error:
        raise IpcError(f"a response head that cannot be sent: {error}") from error
    head.content_length = None if length < 0 else length
    head.close = bool(close)
    head.preamble = preamble
    return head, bool(end), payload[pos:]


def pack_file(offset: int, count: int) -> bytes:
    """The payload of FILE; the descriptor goes beside the stream, before it."""
    return _FILE.pack(offset, count)


def unpack_file(payload: bytes) -> tuple[int, int]:
    """(offset, count); raises IpcError."""
    offset, count = _unpack(_FILE, payload, whole=True)
    if offset < 0 or count < 0 or offset + count >= 1 << 63:
        raise IpcError("a place in a file that does not exist")
    return offset, count


def read_interim(payload: bytes) -> bytes:
    """The payload of INFORM: a whole interim response; raises IpcError."""
    if not is_informational(payload):
        raise IpcError("an interim response that is none")
    return payload


# --- records -------------------------------------------------------------------------------------


def pack_record(**values: str | int) -> bytes:
    """The payload of FAILED and LOG."""
    return json.dumps(values).encode()


def read_record(payload: bytes, **kinds: type) -> dict[str, Any]:
    """The values by name, each of its kind; raises IpcError."""
    try:
        told = json.loads(payload)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not all(isinstance(told.get(name), kind) for name, kind in kinds.items()):
        raise IpcError("a record that is none")
    return told


# --- the order of frames -------------------------------------------------------------------------

# What a child may say in each state of a call, and the state after it. "free": no call is in its hands.
ORDER: dict[tuple[str, int], str] = {
    ("asked", INFORM): "asked",
    ("asked", WANT): "asked",
    ("asked", HEAD): "answering",
    ("asked", ABORT): "over",
    ("asked", DONE): "free",
    ("asked", ANSWER): "free",
    ("answering", WANT): "answering",
    ("answering", DATA): "answering",
    ("answering", FILE): "answering",
    ("answering", END): "over",
    ("answering", ABORT): "over",
    ("answering", DONE): "free",
    ("over", WANT): "over",
    ("over", ABORT): "over",
    ("over", DONE): "free",
}


def step(state: str, kind: int) -> str:
    """The state of a call after a frame of its child; raises CycleError for one that is out of order."""
    try:
        return ORDER[state, kind]
    except KeyError:
        raise CycleError(f"frame {kind} in state {state!r}") from None
