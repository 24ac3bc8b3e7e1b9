"""The chunk gate: what it lets through, to the octet."""

from __future__ import annotations

import pytest

from bridgeserve.wire import chunked
from bridgeserve.wire.chunked import ChunkGate
from bridgeserve.wire.errors import WireError
from wire.drive import splits

TAIL = b"GET / HTTP/1.1\r\n"


def walk(*pieces: bytes) -> tuple[bytes, bool, bytes]:
    """The checked octets, whether the body has ended, and what was left unused."""
    gate = ChunkGate()
    found: list[bytes] = []
    rest = b""
    for piece in pieces:
        checked, pos = gate.feed(rest + piece, 0)
        assert b"" not in checked
        found += checked
        rest = (rest + piece)[pos:]
        assert len(rest) < chunked.LINE_MAX or gate.ended
    return b"".join(found), gate.ended, rest


def status(data: bytes) -> int:
    """The status of the refusal, the same for the whole and for single octets."""
    statuses = set()
    for pieces in ((data,), tuple(data[i : i + 1] for i in range(len(data)))):
        with pytest.raises(WireError) as caught:
            walk(*pieces)
        statuses.add(caught.value.status)
    (found,) = statuses
    return found


@pytest.mark.parametrize(
    ("data", "checked"),
    [
        (b"0\r\n\r\n", b"0\r\n\r\n"),
        (b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"00F\r\n0123456789abcde\r\n000\r\n\r\n", b"f\r\n0123456789abcde\r\n0\r\n\r\n"),
        (b'1;a;b=c;d="\\" ;\t"\r\nx\r\n0;e\r\n\r\n', b"1\r\nx\r\n0\r\n\r\n"),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"4\r\n\r\n\r\n\r\n0\r\n\r\n"),
        (b"1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n"),
    ],
)
def test_good_bodies_at_every_split_and_with_a_tail(data: bytes, checked: bytes) -> None:
    for pieces in splits(data):
        assert walk(*pieces) == (checked, True, b""), pieces
    for pieces in splits(data + TAIL):
        assert walk(*pieces) == (checked, True, TAIL), pieces


def test_a_body_is_given_as_it_comes() -> None:
    gate = ChunkGate()
    assert gate.feed(b"..a\r\nhel", 2) == ([b"a\r\n", b"hel"], 8)
    assert gate.feed(b"lo", 0) == ([b"lo"], 2)
    assert gate.feed(b"", 0) == ([], 0)
    assert not gate.ended


def test_a_size_has_at_most_15_digits() -> None:
    gate = ChunkGate()
    assert gate.feed(b"f" * 15 + b"\r\n", 0) == ([b"f" * 15 + b"\r\n"], 17)
    assert status(b"0" * 16 + b"\r\n") == 400


def test_a_line_has_a_limit() -> None:
    longest = b"1;" + b"a" * (chunked.LINE_MAX - 4)
    assert walk(longest + b"\r\nx\r\n0\r\n\r\n")[1]
    assert status(longest + b"a\r\nx\r\n") == 400
    assert status(b"1" * chunked.LINE_MAX) == 400


def test_all_extensions_have_a_limit() -> None:
    chunk = b"1;" + b"a" * 1023 + b"\r\nx\r\n"
    short = b"1;" + b"a" * 511 + b"\r\nx\r\n"
    assert len(chunk) > chunked.LINE_MAX
    most = short * (chunked.EXTENSIONS_MAX // 512)
    assert walk(most + b"0\r\n\r\n")[1]
    assert status(most + b"0;a\r\n\r\n") == 400


def test_all_trailers_have_a_limit() -> None:
    line = b"A:" + b"b" * 508 + b"\r\n"
    most = line * (chunked.TRAILERS_MAX // 512)
    assert walk(b"0\r\n" + most + b"\r\n") == (b"0\r\n\r\n", True, b"")
    assert status(b"0\r\n" + most + b"A:\r\n\r\n") == 431


@pytest.mark.parametrize(
    "data", [b"1\r\nxy", b"1\r\nx\n", b"1\r\nx\r0", b"\n", b"1\n", b"1\r1\r\n", b"0\r\nno colon\r\n"]
)
def test_refused_as_soon_as_it_shows(data: bytes) -> None:
    assert status(data) == 400
