"""The promise of the lane: whatever the plain reader takes means what h11 says it means."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from bridgeserve.groups import Limits
from bridgeserve.wire import plain
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.familiar import HeadReader
from bridgeserve.wire.gate import read_head
from wire.drive import READERS, Entry, play

LIMITS = Limits()
TCHAR = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def octets(alphabet: str, least: int = 0, most: int = 12) -> st.SearchStrategy[bytes]:
    """Octets out of an alphabet of Latin-1."""
    return st.text(alphabet, min_size=least, max_size=most).map(lambda text: text.encode("latin-1"))


def joined(*parts: st.SearchStrategy[bytes] | bytes) -> st.SearchStrategy[bytes]:
    """One after the other."""
    return st.tuples(*[st.just(part) if isinstance(part, bytes) else part for part in parts]).map(b"".join)


# --- the grammar, good and almost good -----------------------------------------------------------

methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"OPTIONS"]) | octets(TCHAR, 1)
segments = octets("abc0~!$&'()*+,;=:@%./?\\^`{|}<>\"[]_-", 0, 20)
authorities = st.sampled_from([b"a", b"a.b:80", b"[::1]:8000", b"127.0.0.1", b"a%41", b"a:"])
schemes = st.sampled_from([b"http://", b"HTTPS://"])
targets = st.one_of(
    joined(b"/", segments),
    joined(b"/", segments),
    joined(schemes, authorities),
    joined(schemes, authorities, st.sampled_from([b"/", b"?", b"/p?"]), segments),
    st.just(b"*"),
)
versions = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2"])
vchars = "".join(map(chr, [*range(0x21, 0x7F), *range(0x80, 0x100)]))
values = octets(vchars + " \t", 0, 30)
padding = octets(" \t", 0, 2)
names = octets(TCHAR, 1) | st.sampled_from([b"Accept", b"cookie", b"X-A", b"User-Agent", b"content-type", b"TE"])
plain_fields = joined(names, b":", padding, values, padding)
lengths = [b"Content-Length: 0", b"content-length: 3", b"CONTENT-LENGTH:\t12 ", b"Content-Length: 0003"]
framings = st.sampled_from([*lengths, *lengths, b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked"])
connections = st.sampled_from(
    [
        b"Connection: close",
        b"Connection: keep-alive, close",
        b"Connection: Upgrade",
        b"Connection:",
        b"Connection: keep-alive",
    ]
)
others = st.sampled_from([b"Upgrade: websocket", b"Expect: 100-continue"])
ONE, HALF = [1] * 18 + [0, 2], [0] * 10 + [1] * 9 + [2]  # how often a field is there
hosts = joined(st.sampled_from([b"Host: ", b"HOST:"]), authorities)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head without its empty line, mostly one that the gate lets through."""
    lines = draw(st.lists(plain_fields, max_size=4))
    for kind, counts in ((hosts, ONE), (framings, HALF), (connections, HALF), (others, HALF)):
        for _ in range(draw(st.sampled_from(counts))):
            lines.insert(draw(st.integers(0, len(lines))), draw(kind))
    start = draw(joined(methods, b" ", targets, b" ", versions))
    return b"\r\n".join([start, *lines])


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    """A body in chunks, with extensions and trailers."""
    parts = []
    extensions = st.sampled_from([b"", b"", b";a", b";a=b;c", b" ; a\t= b", b';q="\\" ;x"'])
    for data in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x"])) % len(data)
        parts.append(size + draw(extensions) + b"\r\n" + data + b"\r\n")
    trailers = draw(st.sampled_from([b"", b"", b"A: b\r\n", b"A: b\r\nContent-Length: 7\r\n"]))
    return b"".join(parts) + b"0" + draw(extensions) + b"\r\n" + trailers + b"\r\n"


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A head and, where it announces one, its body."""
    head = draw(heads())
    try:
        request = read_head(head, LIMITS)
    except WireError:
        return head + b"\r\n\r\n" + draw(st.binary(max_size=10))
    if request.chunked:
        body = draw(chunked_bodies())
    else:
        body = draw(st.binary(min_size=request.content_length or 0, max_size=request.content_length or 0))
    return draw(st.sampled_from([b"", b"", b"\r\n"])) + head + b"\r\n\r\n" + body


def by_h11(head: bytes, body: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, bool]:
    """What h11 reads: method, target, fields, body, and whether it found the end."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head + b"\r\n\r\n" + body)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    found = b""
    while isinstance(event := connection.next_event(), h11.Data):
        found += event.data
    return request.method, request.target, list(request.headers), found, isinstance(event, h11.EndOfMessage)


@given(heads(), st.binary(max_size=20))
@example(b"GET / HTTP/1.0", b"")
@example(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 000000000000000003", b"abcdef")
def test_what_the_lane_takes_h11_reads_alike(head: bytes, more: bytes) -> None:
    try:
        request = read_head(head, LIMITS)
    except WireError:
        return
    if not plain.takes(request):
        return
    length = request.content_length or 0
    body = (more + bytes(length))[:length]
    if length:
        lane = plain.LengthBody(length)
        assert lane.feed(body + b"GET", 0) == (body, length)
        assert lane.ended
    assert by_h11(head, body) == (request.method, request.target, request.headers, body, True)


@given(heads())
def test_h11_accepts_whatever_the_gate_lets_through(head: bytes) -> None:
    try:
        request = read_head(head, LIMITS)
    except WireError:
        return
    method, target, found, _body, _ended = by_h11(head, b"")
    assert (method, target) == (request.method, request.target)
    if request.target[:1] in (b"/", b"*"):
        assert found == [
            (name, value.lower() if name == b"transfer-encoding" else value) for name, value in request.headers
        ]


@st.composite
def habits(draw: st.DrawFn) -> list[bytes]:
    """Heads of one peer: most of the lines are the same in all of them."""
    start, *lines = draw(heads()).split(b"\r\n")
    lines += draw(st.lists(plain_fields, min_size=2, max_size=4))
    made = []
    for _ in range(draw(st.integers(3, 6))):
        own = lines.copy()
        place = draw(st.integers(0, len(own)))
        own[place : place + draw(st.sampled_from([0, 1, 1, 2]))] = draw(st.lists(plain_fields | hosts, max_size=2))
        head = b"\r\n".join([start, *own])
        if draw(st.integers(0, 5)) == 0:
            place = draw(st.integers(0, len(head)))
            head = head[:place] + draw(st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" "])) + head[place + 1 :]
        made.append(head)
    return made


def read_or_status(read: Callable[[bytes], Request], head: bytes) -> object:
    try:
        request = read(head)
    except WireError as error:
        return error.status
    return {name: getattr(request, name) for name in Request.__slots__}


@given(habits())
def test_a_peer_that_repeats_itself_is_read_as_if_it_were_new(made: list[bytes]) -> None:
    reader = HeadReader(LIMITS)
    for head in made:
        new = read_or_status(lambda octets: read_head(octets, LIMITS), head)
        assert read_or_status(reader.read, head) == new


def refusals_alike(found: list[Entry]) -> list[Entry]:
    """Without the status of a refusal: of several faults the first that shows is named, and splits may change it."""
    return [entry[:1] if entry[0] == "refused" else entry for entry in found]


@given(st.lists(messages(), min_size=1, max_size=3), st.randoms(use_true_random=False), st.booleans())
def test_readers_and_splits_change_nothing(parts: list[bytes], rng: random.Random, early: bool) -> None:
    data = b"".join(parts)
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(1, 6)))
    ends = [0, *places, len(data)]
    pieces = [data[i:j] for i, j in itertools.pairwise(ends) if i < j]
    whole, in_pieces, by_octet = (
        [play(cut, reader, early=early) for reader in READERS]
        for cut in ([data], pieces, [data[i : i + 1] for i in range(len(data))])
    )
    for one, other in (whole, in_pieces, by_octet):
        assert one == other
    assert refusals_alike(in_pieces[0]) == refusals_alike(whole[0]) == refusals_alike(by_octet[0])


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=5))
def test_a_chunked_body_is_what_was_put_in(parts: list[bytes]) -> None:
    start = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = start + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    for reader in READERS:
        assert play([data], reader)[1] == ("body", b"".join(parts))
