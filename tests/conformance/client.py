"""A client that believes nothing: it reads answers strictly, and tells how a connection ended."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from conformance.case import ANSWER, END, Case

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n"
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")  # RFC 9112 section 4
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")  # RFC 9112 section 5


class Ended(Exception):
    """There is no further answer: "closed", "reset" or "silent"; `inside` one, or not."""

    def __init__(self, how: str, inside: bool) -> None:
        super().__init__(how)
        self.how = how
        self.inside = inside


class Garbage(Exception):
    """What came is no HTTP response."""


@dataclass
class Got:
    """A response as it came."""

    minor: int
    status: int
    reason: str
    fields: list[tuple[str, str]]
    framing: str = "none"
    body: bytes = b""
    whole: bool = False

    def values(self, name: str) -> list[str]:
        """The values of a field."""
        return [value for given, value in self.fields if given == name]

    @property
    def closes(self) -> bool:
        """It says that the connection ends after it."""
        options = {option.strip().lower() for value in self.values("connection") for option in value.split(",")}
        return "close" in options or (self.minor == 0 and "keep-alive" not in options)


@dataclass
class Observed:
    """What came of a case: `end` is "open", "closed", "reset", "silent" or "garbage: …"."""

    answers: list[Got] = field(default_factory=list)
    end: str = ""

    @property
    def finals(self) -> int:
        """Answers that are not interim."""
        return sum(answer.status >= 200 for answer in self.answers)


class Wire:
    """One connection."""

    def __init__(self, address: tuple[str, int], patience: float) -> None:
        self.socket = socket.create_connection(address, patience)
        self.port: int = self.socket.getsockname()[1]
        self._buffer = b""

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def reset(self) -> None:
        """Leave so that the server is told at once."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; a server that has closed already is no error, its answer tells."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            self.socket.sendall(data)

    def end(self) -> None:
        """Send our last octet."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def _more(self, inside: bool) -> None:
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise Ended("silent", inside) from None
        except ConnectionError:
            raise Ended("reset", inside) from None
        if not data:
            raise Ended("closed", inside)
        self._buffer += data

    def _until(self, mark: bytes, inside: bool) -> bytes:
        while mark not in self._buffer:
            self._more(inside or bool(self._buffer))
            if len(self._buffer) > 1 << 20:
                raise Garbage("an endless line")
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _exactly(self, count: int, got: Got) -> bytes:
        while len(self._buffer) < count:
            try:
                self._more(True)
            except Ended:
                got.body += self._buffer
                raise
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def answer(self, observed: Observed, head: bool) -> Got:
        """Read the next answer into `observed`. Raises Ended, Garbage."""
        lines = self._until(b"\r\n\r\n", False).split(b"\r\n")
        status = STATUS_LINE.fullmatch(lines[0])
        if status is None:
            raise Garbage(f"no status line: {lines[0][:60]!r}")
        fields = []
        for line in lines[1:]:
            match = FIELD.fullmatch(line)
            if match is None:
                raise Garbage(f"no field line: {line[:60]!r}")
            fields.append((match[1].decode("latin-1").lower(), match[2].decode("latin-1").rstrip(" \t")))
        got = Got(int(status[1]), int(status[2]), status[3].decode("latin-1"), fields)
        observed.answers.append(got)
        self._body(got, head)
        got.whole = True
        return got

    def _body(self, got: Got, head: bool) -> None:
        """RFC 9112 section 6.3."""
        lengths = set(got.values("content-length"))
        codings = got.values("transfer-encoding")
        if len(lengths) > 1 or (lengths and codings):
            raise Garbage(f"framing twice: {sorted(lengths)} {codings}")
        if head or got.status < 200 or got.status in (204, 304):
            return
        if codings:
            if codings != ["chunked"]:
                raise Garbage(f"transfer-encoding {codings}")
            got.framing = "chunked"
            self._chunks(got)
        elif lengths:
            got.framing = "length"
            got.body = self._exactly(int(lengths.pop()), got)
        else:
            got.framing = "close"
            try:
                while True:
                    self._more(True)
            except Ended as ended:
                got.body, self._buffer = self._buffer, b""
                if ended.how != "closed":
                    raise

    def _chunks(self, got: Got) -> None:
        while True:
            line = self._until(b"\r\n", True)
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,8} *(?:;.*)?", line):
                raise Garbage(f"chunk size {line[:60]!r}")
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                break
            got.body += self._exactly(size, got)
            if self._exactly(2, got) != b"\r\n":
                raise Garbage("chunk data without its CRLF")
        while line := self._until(b"\r\n", True):
            match = FIELD.fullmatch(line)
            if match is None:
                raise Garbage(f"trailer {line[:60]!r}")
            got.fields.append((f"trailer {match[1].decode().lower()}", match[2].decode("latin-1")))


def is_probe(got: Got) -> bool:
    """The answer to PROBE."""
    if "application/json" not in got.values("content-type"):
        return False
    try:
        return bool(json.loads(got.body)["path"] == "/probe")
    except (ValueError, KeyError, TypeError):
        return False


def play(case: Case, address: tuple[str, int], patience: float, tail: bytes = b"") -> tuple[Observed, int]:
    """Have the conversation of a case.

    :param patience: seconds for any one read; a server that says nothing that long is "silent".
    :param tail: octets sent right behind the last of the case.
    :returns: what came, and our port.
    """
    wire = Wire(address, patience)
    observed = Observed()
    try:
        observed.end = _talk(case, wire, observed, tail)
    except Garbage as garbage:
        observed.end = f"garbage: {garbage}"
    finally:
        wire.close()
    return observed, wire.port


def _talk(case: Case, wire: Wire, observed: Observed, tail: bytes) -> str:
    ended = END in case.steps
    steps = list(case.steps)
    if tail and not ended and isinstance(steps[-1], bytes):
        steps[-1] += tail
    wanted = sum(answer.status >= 200 for answer in case.expect.answers)
    try:
        _steps(steps, case, wire, observed)
        while observed.finals < wanted:
            wire.answer(observed, observed.finals in case.heads)
        if case.expect.stays is not True or ended:
            try:
                while True:
                    wire.answer(observed, False)
            except Ended as end:
                if end.how != "silent" or ended:
                    raise
    except Ended as end:
        if end.how != "silent" or end.inside or ended:
            return end.how
    # Nothing more comes by itself: does the connection still serve?
    try:
        wire.send(PROBE)
        while True:
            if is_probe(wire.answer(observed, False)):
                observed.answers.pop()
                return "open"
    except Ended as end:
        return end.how


def _steps(steps: Iterable[bytes | str], case: Case, wire: Wire, observed: Observed) -> None:
    for step in steps:
        if isinstance(step, bytes):
            wire.send(step)
        elif step == END:
            wire.end()
        elif step == ANSWER:
            wire.answer(observed, observed.finals in case.heads)
        else:
            raise ValueError(f"unknown step {step!r}")
