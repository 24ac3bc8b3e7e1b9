"""Frames between engine and child: cut, packed, checked, and in their order."""

from __future__ import annotations

import itertools

import pytest

from bridgeserve.groups import Limits
from bridgeserve.wire import ipc
from bridgeserve.wire.errors import CycleError, ResponseError
from bridgeserve.wire.framing import ResponseHead, informational
from bridgeserve.wire.gate import head_limit
from bridgeserve.wire.ipc import FrameReader, IpcError, RequestFrame

LINE = b"HTTP/1.1 200 OK\r\n"
BLOCK = b"Content-Type: text/plain\r\nX-A: \r\n"
FRAMES = [(ipc.HEAD, 1, b"abc"), (ipc.DATA, 0xFFFFFFFF, b""), (ipc.END, 0, b"\0" * 300)]
STREAM = b"".join(ipc.frame(*each) for each in FRAMES)


def child() -> FrameReader:
    return FrameReader(ipc.FROM_CHILD)


# --- the stream ------------------------------------------------------------------------------------


def test_several_frames_at_once() -> None:
    assert child().feed(STREAM) == FRAMES


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_every_split_gives_the_same_frames(cut: int) -> None:
    reader = child()
    assert reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:]) == FRAMES


def test_octet_by_octet() -> None:
    reader = child()
    found = [each for octet in STREAM for each in reader.feed(bytes([octet]))]
    assert found == FRAMES
    assert reader.feed(b"") == []


@pytest.mark.parametrize("kind", range(256))
@pytest.mark.parametrize("side", [ipc.FROM_CHILD, ipc.FROM_ENGINE])
def test_each_side_has_its_kinds(side: frozenset[int], kind: int) -> None:
    reader = FrameReader(side)
    if kind in side:
        assert reader.feed(ipc.frame(kind, 7, b"x")) == [(kind, 7, b"x")]
    else:
        with pytest.raises(IpcError):
            reader.feed(ipc.frame(kind, 7, b"x"))


def test_the_sides_share_no_kind() -> None:
    assert not ipc.FROM_CHILD & ipc.FROM_ENGINE


def test_the_largest_frame() -> None:
    payload = b"x" * ipc.FRAME_MAX
    assert child().feed(ipc.frame(ipc.DATA, 1, payload)) == [(ipc.DATA, 1, payload)]


def test_one_that_is_larger_is_refused_by_its_header() -> None:
    with pytest.raises(IpcError):
        child().feed(ipc.HEADER.pack(ipc.DATA, 1, ipc.FRAME_MAX + 1))


def test_the_largest_head_that_options_allow_fits_into_a_frame() -> None:
    largest = head_limit(Limits(request_line=1 << 20, field_size=1 << 20))
    assert largest + ipc.PIECE + 3 * 65535 + 64 <= ipc.FRAME_MAX


# --- payloads --------------------------------------------------------------------------------------


def test_numbers() -> None:
    assert ipc.read_number(ipc.number(262144)) == 262144


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0" * 3, b"\0" * 5])
def test_what_is_no_number(payload: bytes) -> None:
    with pytest.raises(IpcError):
        ipc.read_number(payload)


FACTS = [b"http\000192.0.2.1", b"/run/\xff sock ", b""]


@pytest.mark.parametrize("facts", FACTS)
@pytest.mark.parametrize("source", [ipc.INLINE, ipc.ASKED, ipc.DESCRIPTOR])
@pytest.mark.parametrize("body", [b"", b"some\0octets"])
def test_requests(facts: bytes, source: int, body: bytes) -> None:
    packed = RequestFrame(b"GET / HTTP/1.1\r\nHost: a", facts, source, -1, body).frame(1)[ipc.HEADER.size :]
    found = RequestFrame.unpack(packed)
    assert (found.head, found.facts) == (b"GET / HTTP/1.1\r\nHost: a", facts)
    assert (found.source, found.length, found.body) == (source, -1, body)


def test_a_request_that_is_cut_short() -> None:
    packed = RequestFrame(b"GET / HTTP/1.1", FACTS[0], ipc.INLINE, -1, b"").frame(1)[ipc.HEADER.size :]
    for size in range(len(packed)):
        with pytest.raises(IpcError):
            RequestFrame.unpack(packed[:size])


def test_files() -> None:
    assert ipc.unpack_file(ipc.pack_file(1 << 40, 5)) == (1 << 40, 5)


@pytest.mark.parametrize(
    "payload", [b"", b"\0" * 15, b"\0" * 17, b"\x80" + b"\0" * 15, b"\0" * 8 + b"\xff" * 8, b"\x7f" + b"\xff" * 15]
)
def test_what_is_no_place_in_a_file(payload: bytes) -> None:
    with pytest.raises(IpcError):
        ipc.unpack_file(payload)


def test_records() -> None:
    assert ipc.read_record(ipc.pack_record(a="ä\udc80", b=5), a=str, b=int) == {"a": "ä\udc80", "b": 5}


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"5", b"{}", b'{"a": 5}', b'{"a": null}', b'{"b": ""}', b"\xff", b"[" * 100_000, b"1" * 5000],
)
def test_what_is_no_record(payload: bytes) -> None:
    with pytest.raises(IpcError):
        ipc.read_record(payload, a=str)


@pytest.mark.parametrize("fields", [[], [(b"link", b"</a>; rel=preload"), (b"Link", b"")]])
@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_responses(status: int, fields: list[tuple[bytes, bytes]]) -> None:
    payload = informational(status, fields)
    assert ipc.read_interim(payload) == payload


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"HTTP/1.1 103 Early Hints\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nx",
        b"HTTP/1.1 103 Early Hints\r\n\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 1 x\r\n\r\n",
        b"HTTP/1.1 1030 x\r\n\r\n",
        b"HTTP/1.1 103 a\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 103 a\r\nx: a\nb\r\n\r\n",
        b"HTTP/1.1 103 a\r\nx: a\rb\r\n\r\n",
        b"HTTP/1.1 103 a\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 103 a\r\nx\r\n\r\n",
        b"HTTP/1.1 103 a\r\ncontent-length: 5\r\n\r\n",
    ],
)
def test_what_is_no_interim_response(payload: bytes) -> None:
    with pytest.raises(IpcError):
        ipc.read_interim(payload)


# --- response heads ----------------------------------------------------------------------------------


def a_head() -> ResponseHead:
    return ResponseHead(404, b"Nowhere", [(b"X", b"1"), (b"Date", b"now"), (b"Content-Length", b"5")])


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("body", [b"", b"\r\n\r\n\0"])
def test_heads(end: bool, body: bytes) -> None:
    head, found_end, found_body = ipc.unpack_head(ipc.pack_head(a_head(), end, body))
    assert (head.status, head.line, head.block) == (404, b"HTTP/1.1 404 Nowhere\r\n", b"X: 1\r\nDate: now\r\n")
    assert (head.content_length, head.close, head.preamble) == (5, False, 2)
    assert head.headers == [(b"X", b"1"), (b"Date", b"now"), (b"content-length", b"5")]
    assert (found_end, found_body) == (end, body)


def test_a_head_without_fields() -> None:
    made = ResponseHead(299, b"", [(b"connection", b"close")])
    head, _, _ = ipc.unpack_head(ipc.pack_head(made, True, b""))
    assert (head.line, head.block, head.headers) == (b"HTTP/1.1 299 \r\n", b"", [])
    assert (head.content_length, head.close) == (None, True)


def test_a_head_that_is_cut_short() -> None:
    packed = ipc.pack_head(a_head(), True, b"")
    for size in range(len(packed)):
        with pytest.raises(IpcError):
            ipc.unpack_head(packed[:size])


def test_a_copy_with_a_length() -> None:
    head = ResponseHead.compiled(200, LINE, BLOCK).with_length(7)
    assert (head.line, head.block, head.content_length) == (LINE, BLOCK, 7)
    assert head.headers == [(b"Content-Type", b"text/plain"), (b"X-A", b""), (b"content-length", b"7")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", 199),
        ("status", 1000),
        ("status", 404),
        ("preamble", 4),
        ("content_length", -2),
        ("content_length", 10**18),
        ("line", b""),
    ],
)
def test_numbers_that_do_not_fit(name: str, value: int) -> None:
    head = ResponseHead(200, b"OK", [])
    setattr(head, name, value)
    with pytest.raises(IpcError):
        ipc.unpack_head(ipc.pack_head(head, True, b""))


def test_the_same_lines_pass() -> None:
    head = ResponseHead.compiled(200, LINE, BLOCK)
    assert (head.line, head.block, head.headers) == (LINE, BLOCK, [(b"Content-Type", b"text/plain"), (b"X-A", b"")])


@pytest.mark.parametrize("octet", [b"\r", b"\n", b"\0", b"\r\n", b"\n\r", b"\r\n\r\n"])
def test_no_octet_that_splits_gets_anywhere(octet: bytes) -> None:
    for i in range(len(LINE) + 1):
        with pytest.raises(ResponseError):
            ResponseHead.compiled(200, LINE[:i] + octet + LINE[i:], BLOCK)
    for i in range(len(BLOCK) + 1):
        with pytest.raises(ResponseError):
            ResponseHead.compiled(200, LINE, BLOCK[:i] + octet + BLOCK[i:])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\r\n",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"HTTP/1.1 404 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b" HTTP/1.1 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
    ],
)
def test_a_status_line_that_is_none(line: bytes) -> None:
    with pytest.raises(ResponseError):
        ResponseHead.compiled(200, line, BLOCK)


@pytest.mark.parametrize("status", [0, 1, 20, 100, 199, 1000, 2000])
def test_a_status_that_is_none(status: int) -> None:
    with pytest.raises(ResponseError):
        ResponseHead.compiled(status, b"HTTP/1.1 %d OK\r\n" % status, BLOCK)


@pytest.mark.parametrize(
    "field",
    [
        b"no colon",
        b": v",
        b" folded: v",
        b"\tfolded",
        b"a b: v",
        b"a : v",
        b"a:v",
        b"Content-Length: 5",
        b"content-length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Keep-Alive: x",
        b"\xff: v",
    ],
)
@pytest.mark.parametrize("before", [b"", b"A: b\r\n"])
@pytest.mark.parametrize("after", [b"", b"A: b\r\n"])
def test_a_line_that_is_no_field_or_forges_the_framing(before: bytes, field: bytes, after: bytes) -> None:
    with pytest.raises(ResponseError):
        ResponseHead.compiled(200, LINE, before + field + b"\r\n" + after)


def test_names_that_only_look_like_those_of_the_framing_pass() -> None:
    block = b"Content-Length-X: 5\r\nX-Connection: a\r\nConnections: 5\r\nTransfer: transfer-encoding: chunked\r\n"
    assert ResponseHead.compiled(200, LINE, block).block == block


# --- the order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["asked", "answering", "over", "free", ""])
def test_what_is_not_in_the_table_is_out_of_order(state: str) -> None:
    for kind in range(256):
        if (state, kind) in ipc.ORDER:
            assert ipc.step(state, kind) == ipc.ORDER[state, kind]
        else:
            with pytest.raises(CycleError):
                ipc.step(state, kind)


def test_every_state_leads_to_the_end() -> None:
    reached = {"asked"}
    for _ in ipc.ORDER:
        reached |= {after for (before, _), after in ipc.ORDER.items() if before in reached}
    assert reached == {"asked", "answering", "over", "free"}
    for state in reached - {"free"}:
        assert ipc.step(state, ipc.DONE) == "free"


def test_no_response_has_two_heads_or_goes_on_after_its_end() -> None:
    body = (ipc.DATA, ipc.FILE, ipc.END)
    assert not [state for state, kind in ipc.ORDER if kind == ipc.HEAD and state != "asked"]
    assert not [pair for pair in itertools.product(("asked", "over", "free"), body) if pair in ipc.ORDER]
