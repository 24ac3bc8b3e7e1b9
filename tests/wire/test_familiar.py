"""The reader of repeated heads gives what the gate gives, and forgets what it must."""

from __future__ import annotations

from itertools import count

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire import familiar, gate
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.familiar import HeadReader

FIELDS = (b"Host: a", b"User-Agent: u", b"Accept: */*", b"X-Id: 1", b"Cookie: c=1", b"Referer: r")


def head(*lines: bytes, start: bytes = b"GET /p?q HTTP/1.1") -> bytes:
    return b"\r\n".join((start, *lines))


def usual(number: int | bytes, start: bytes = b"GET /p?q HTTP/1.1") -> bytes:
    changed = number if isinstance(number, bytes) else b"X-Id: %d" % number
    return head(*FIELDS[:3], changed, *FIELDS[4:], start=start)


def outcome(read: object, octets: bytes) -> object:
    """What a reader says of a head: all that the request holds, or the status of the refusal."""
    try:
        request = read(octets)  # type: ignore[operator]
    except WireError as error:
        return error.status
    return {name: getattr(request, name) for name in request.__slots__}


def same(reader: HeadReader, octets: bytes, limits: Limits | None = None) -> bool:
    """Whether the reader and the gate say the same."""
    given = limits or Limits()
    return outcome(reader.read, octets) == outcome(lambda octets: gate.read_head(octets, given), octets)


def taught(limits: Limits | None = None) -> HeadReader:
    """A reader that has seen three heads of which one line differs."""
    reader = HeadReader(limits or Limits())
    for number in range(3):
        reader.read(usual(number))
    assert reader._familiar is not None
    return reader


@pytest.fixture
def by_the_gate(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The heads that were read whole."""
    whole: list[bytes] = []

    def read_head(octets: bytes, limits: Limits) -> gate.Request:
        whole.append(octets)
        return gate.read_head(octets, limits)

    monkeypatch.setattr(familiar, "read_head", read_head)
    return whole


def test_a_head_that_was_seen_is_not_read_whole_again(by_the_gate: list[bytes]) -> None:
    reader = taught()
    for number in range(3, 20):
        assert same(reader, usual(number, b"POST /%d HTTP/1.1" % number))
    assert by_the_gate == [usual(0), usual(1), usual(2)]


@pytest.mark.parametrize(
    "changed",
    [
        b"X-Id: 3\r\nX-Other: 4",
        b"X-Id:3",
        b"X-Id: \t3 ",
        b"X-Id:",
        b"x-id: 3",
        b"Accept: */*",
        b"Never-Seen-Before: 1",
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Expect: 100-continue",
        b"Host: b",
        b"X-Forwarded-For: 192.0.2.1",
        b"X-Id: 3\r\n",
        b"X-Id: 3\r",
        b"X-Id: 3\n",
        b"X-Id: 3\nHost: b",
        b"X-Id: \x00",
        b" folded",
        b"X-Id : 3",
        b"no colon",
        b": no name",
        b"X-Id: " + b"3" * 9000,
    ],
)
def test_what_stands_between_is_read_as_ever(changed: bytes) -> None:
    assert same(taught(), usual(changed))


@pytest.mark.parametrize(
    "octets",
    [
        usual(3, b"GET / HTTP/1.0"),
        usual(3, b"GET http://b/ HTTP/1.1"),
        usual(3, b"OPTIONS * HTTP/1.1"),
        usual(3, b"GET /a b HTTP/1.1"),
        usual(3, b"GET  HTTP/1.1"),
        usual(3, b"CONNECT a:1 HTTP/1.1"),
        usual(3, b"GET / HTTP/2.0"),
        usual(3, b"GET /\x00 HTTP/1.1"),
        usual(3, b"GET / HTTP/1.1\r"),
        usual(3, b"GET /" + b"a" * 9000 + b" HTTP/1.1"),
        b"GET / HTTP/1.1",
        b"",
        head(*FIELDS[:3]),
        head(*FIELDS[:2], b"Accept: */*X-Id: 3", *FIELDS[4:]),
        head(*FIELDS[:3], *FIELDS[4:]),
        head(*FIELDS[:3], *FIELDS[4:], b"More: 1"),
        head(*FIELDS[:3], b"X-Id: 3" + FIELDS[4], *FIELDS[5:]),
        head(*FIELDS[:3], b"Cookie: c=1"),
        head(*FIELDS[:3], b"Referer: r"),
        head(*FIELDS[1:3], b"X-Id: 3", *FIELDS[4:]),
    ],
)
def test_a_head_that_only_resembles_is_read_as_ever(octets: bytes) -> None:
    assert same(taught(), octets)


def test_heads_that_are_all_the_same_are_known_whole(by_the_gate: list[bytes]) -> None:
    reader = HeadReader(Limits())
    for _ in range(5):
        assert same(reader, usual(1))
    assert len(by_the_gate) == 3
    assert same(reader, usual(1) + b"\r\nMore: 1")
    assert same(reader, usual(1) + b"0")


@pytest.mark.parametrize(
    "limits", [Limits(fields=6), Limits(request_line=64), Limits(field_size=64)], ids=["fields", "line", "size"]
)
def test_the_limits_hold(limits: Limits) -> None:
    reader = taught(limits)
    assert same(reader, usual(b"X-Id: 3\r\nX-Other: 4"), limits)
    assert same(reader, usual(3, b"GET /" + b"a" * 60 + b" HTTP/1.1"), limits)
    assert same(reader, usual(b"X-Id: " + b"3" * 60), limits)


@pytest.mark.parametrize("changing", [b"Host: a%d", b"X-Forwarded-For: 192.0.2.%d"])
def test_what_matters_to_the_framing_or_the_client_is_never_what_changes(changing: bytes) -> None:
    reader = HeadReader(Limits())
    others = (b"Host: a", *FIELDS[1:]) if changing.startswith(b"X") else FIELDS[1:]
    for number in range(1, 9):
        assert same(reader, head(changing % number, *others))
    assert reader._familiar is None


def test_requests_do_not_share_their_fields() -> None:
    reader = taught()
    reader.read(usual(3)).headers.clear()
    assert same(reader, usual(4))


def test_strange_heads_are_compared_seldomer_and_seldomer(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    reader = HeadReader(Limits())
    for number in range(1, 100):
        monkeypatch.setattr(familiar, "learn", lambda previous, request, number=number: tried.append(number))
        reader.read(head(b"Host: a", b"X-%d: 1" % number))
    assert tried == [3, 5, 9, 17, 33, 65]


def test_a_change_of_habit_is_learnt(by_the_gate: list[bytes]) -> None:
    reader = taught()
    numbers = count()
    for number, _ in zip(numbers, range(10), strict=False):
        assert same(reader, head(*FIELDS, b"X-Id: %d" % number, b"New: 1"))
    assert len(by_the_gate) < 8


def test_one_request_leaves_nothing() -> None:
    reader = HeadReader(Limits())
    reader.read(usual(1))
    assert (reader._familiar, reader._previous) == (None, b"")


def test_only_so_many_connections_are_remembered(monkeypatch: pytest.MonkeyPatch, by_the_gate: list[bytes]) -> None:
    monkeypatch.setattr(familiar, "KEPT_MAX", 2)
    familiar._kept.clear()
    readers = [taught() for _ in range(3)]
    by_the_gate.clear()
    for reader in readers:
        assert same(reader, usual(3))
    assert len(familiar._kept) == 2
    assert by_the_gate == [usual(3)]  # the first one has forgotten


def test_a_long_head_is_not_kept() -> None:
    reader = HeadReader(Limits())
    for number in range(4):
        reader.read(head(*FIELDS[:3], b"Cookie: " + b"c" * 3000, b"X-Id: %d" % number))
    assert reader._familiar is None
    assert not reader._previous
