"""The chunk gate: a chunked body is checked here before h11 sees it (RFC 9112 section 7.1).

h11 forgives bare LF, padding and odd extensions, and hides what it forgave. So: sizes are hex
digits without sign, prefix or overflow; extensions follow their grammar and are limited in total;
line ends are CRLF; trailers are limited, checked and dropped.
"""

from __future__ import annotations

import re

from bridgeserve.wire.errors import WireError
from bridgeserve.wire.fields import TOKEN
from bridgeserve.wire.gate import ALLOWED

_TOKEN = TOKEN.pattern
_EXTENSION = (  # RFC 9112 section 7.1.1; bad white space has to be read too (RFC 9110 section 5.6.3)
    rb"(?:[\t ]*;[\t ]*"
    + _TOKEN
    + rb"(?:[\t ]*=[\t ]*(?:"
    + _TOKEN
    + rb'|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*'
)
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(" + _EXTENSION + rb")")
LINE_MAX = 1024
EXTENSIONS_MAX = 4096
TRAILERS_MAX = 8192

_SIZE, _DATA, _DATA_END, _TRAILER, _ENDED = range(5)


class ChunkGate:
    """Walks through a chunked body; every octet that it returns was checked.

    `feed` gives the checked octets (framing included, trailers left out) and the position in the
    data after what was used. What is not complete yet stays unused, and is less than LINE_MAX.
    """

    __slots__ = ("_extensions", "_left", "_state", "_trailers")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0
        self._extensions = 0
        self._trailers = 0

    @property
    def ended(self) -> bool:
        """True after the empty line that ends the trailer section."""
        return self._state == _ENDED

    def feed(self, data: bytes, pos: int) -> tuple[list[bytes], int]:
        """Check `data` from `pos`.

        :raises WireError: 400, or 431 for trailers above their limit.
        """
        checked: list[bytes] = []
        while self._state != _ENDED:
            if self._state == _DATA:
                piece = data[pos : pos + self._left]
                if not piece:
                    break
                checked.append(piece)
                pos += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                if len(data) - pos < 2:
                    if data[pos : pos + 1] not in (b"", b"\r"):
                        raise WireError(400, "chunk data longer than its size")
                    break
                if data[pos : pos + 2] != b"\r\n":
                    raise WireError(400, "chunk data longer than its size")
                checked.append(b"\r\n")
                pos += 2
                self._state = _SIZE
            else:
                line, pos_after = _line(data, pos)
                if line is None:
                    break
                pos = pos_after
                self._size(line, checked) if self._state == _SIZE else self._trailer(line, checked)
        return checked, pos

    def _size(self, line: bytes, checked: list[bytes]) -> None:
        match = SIZE_LINE.fullmatch(line)
        if match is None:
            raise WireError(400, "bad chunk size or extension")
        self._extensions += len(match[2])
        if self._extensions > EXTENSIONS_MAX:
            raise WireError(400, "too many chunk extensions")
        self._left = int(match[1], 16)
        checked.append(b"%x\r\n" % self._left)
        self._state = _DATA if self._left else _TRAILER

    def _trailer(self, line: bytes, checked: list[bytes]) -> None:
        if not line:
            checked.append(b"\r\n")
            self._state = _ENDED
            return
        self._trailers += len(line) + 2
        if self._trailers > TRAILERS_MAX:
            raise WireError(431, "trailers too large")
        name, colon, _value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or line.translate(None, ALLOWED):
            raise WireError(400, "bad trailer")


def _line(data: bytes, pos: int) -> tuple[bytes | None, int]:
    """The line at `pos` without its CRLF and the position after it; None when it is not complete."""
    end = data.find(b"\n", pos, pos + LINE_MAX)
    if end < 0:
        if len(data) - pos >= LINE_MAX:
            raise WireError(400, "chunk line too long")
        return None, pos
    line = data[pos : end - 1]
    if end == pos or data[end - 1] != 0x0D or b"\r" in line:
        raise WireError(400, "bare CR or LF in a chunk line")
    return line, end + 1
