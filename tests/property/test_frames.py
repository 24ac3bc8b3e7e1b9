"""Whatever a child writes on its stream: frames or IpcError, and no more memory than a frame takes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from bridgeserve.wire import ipc
from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.framing import ResponseHead, informational
from bridgeserve.wire.ipc import FrameReader, IpcError, RequestFrame

UNPACK: dict[int, Callable[[bytes], object]] = {
    ipc.HEAD: ipc.unpack_head,
    ipc.ANSWER: ipc.unpack_head,
    ipc.FILE: ipc.unpack_file,
    ipc.INFORM: ipc.read_interim,
    ipc.LOG: lambda payload: ipc.read_record(payload, logger=str, level=int),
    ipc.FAILED: lambda payload: ipc.read_record(payload, reason=str),
    ipc.REQUEST: RequestFrame.unpack,
    ipc.CREDIT: ipc.read_number,
}
PAIRS = [(b"X", b"y"), (b"Set-Cookie", b"a=b"), (b"content-length", b"3"), (b"connection", b"close")]
GOOD = [
    ipc.frame(ipc.HEAD, 1, ipc.pack_head(ResponseHead(200, b"", PAIRS), True, b"abc")),
    ipc.frame(ipc.ANSWER, 1, ipc.pack_head(ResponseHead(200, b"", PAIRS), True, b"abc")),
    ipc.frame(ipc.FILE, 1, ipc.pack_file(0, 10)),
    ipc.frame(ipc.INFORM, 1, informational(103, PAIRS[:2])),
    ipc.frame(ipc.LOG, 0, ipc.pack_record(logger="bridgeserve", level=30, message="m", trace="")),
    ipc.frame(ipc.DATA, 1, b"octets"),
    ipc.frame(ipc.DONE, 1),
    RequestFrame(b"GET / HTTP/1.1", b"http", 0, -1, b"").frame(1),
    ipc.frame(ipc.CREDIT, 1, ipc.number(5)),
]
BOTH = ipc.FROM_CHILD | ipc.FROM_ENGINE

Found = list[tuple[int, int, bytes]]


def read(pieces: list[bytes]) -> tuple[Found, bool]:
    """The frames, and whether they ended in IpcError."""
    reader = FrameReader(BOTH)
    found: Found = []
    for piece in pieces:
        try:
            found += reader.feed(piece)
        except IpcError:
            return found, True
        assert reader.pending < ipc.HEADER.size + ipc.FRAME_MAX
    return found, False


def judge(found: Found) -> None:
    """Each payload is read, or refused in the one way; a head that is taken is one that we could have made."""
    for kind, _, payload in found:
        try:
            value = UNPACK.get(kind, bytes)(payload)
        except IpcError:
            continue
        if kind == ipc.HEAD:
            head = value[0]  # type: ignore[index]
            again = ResponseHead(head.status, head.line[13:-2], head.headers)
            assert (again.block, again.content_length) == (head.block, head.content_length)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The pieces between these places."""
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[i:j] for i, j in itertools.pairwise(ends)]


frames = st.tuples(st.sampled_from(sorted(BOTH)), st.integers(0, 0xFFFFFFFF), st.binary(max_size=60))
places = st.lists(st.integers(0, 5000), max_size=6)


@given(st.lists(frames, max_size=6), places)
def test_frames_come_out_as_they_went_in(given_frames: Found, where: list[int]) -> None:
    found, failed = read(cut(b"".join(ipc.frame(*each) for each in given_frames), where))
    assert (found, failed) == (given_frames, False)
    judge(found)


@given(st.binary(max_size=300), places)
@example(ipc.HEADER.pack(ipc.DATA, 0, 0xFFFFFFFF), [])
def test_random_octets(data: bytes, where: list[int]) -> None:
    whole, failed = read([data])
    judge(whole)
    found, also = read(cut(data, where))
    assert also == failed
    assert found == whole or failed  # those before a bad one in the same piece are not given


@given(st.sampled_from(sorted(UNPACK)), st.binary(max_size=200))
def test_random_payloads(kind: int, payload: bytes) -> None:
    judge([(kind, 1, payload)])


@given(
    st.integers(0, 1100),
    st.binary(max_size=12),
    st.lists(
        st.sampled_from([b"X: y\r\n", b"\r\n", b"\n", b"a", b": ", b"Content-Length: 5\r\n", b" z: b\r\n", b"\0"])
    ),
)
def test_no_head_says_more_than_its_fields(status: int, reason: bytes, parts: list[bytes]) -> None:
    try:
        head = ResponseHead.compiled(status, b"HTTP/1.1 %d %s\r\n" % (status, reason), b"".join(parts))
    except ResponseError:
        return
    assert 200 <= status <= 999
    lines = (head.line + head.block).split(b"\r\n")
    assert lines.pop() == b""
    assert not [line for line in lines if not line or set(line) & set(b"\r\n\0")]
    made = ResponseHead(status, b"", head.headers)
    assert (made.block, made.content_length, made.close) == (head.block, None, False)


def test_mutations() -> None:
    """From a fixed seed: frames that were good, with some octets changed."""
    rng = random.Random(1)
    taken = refused = 0
    for _ in range(20_000):
        data = bytearray(b"".join(rng.choices(GOOD, k=rng.choice((1, 2, 5)))))
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            data[rng.randrange(len(data))] = rng.choice((0, 1, 10, 13, 32, 58, 127, 255, rng.randrange(256)))
        found, failed = read(cut(bytes(data), [rng.randrange(len(data) + 1) for _ in range(rng.randrange(4))]))
        judge(found)
        taken += len(found)
        refused += failed
    assert taken > 1000 and refused > 1000
