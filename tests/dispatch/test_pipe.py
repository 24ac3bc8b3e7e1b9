"""The child's side of a call, against an engine that says what the test wants."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bridgeserve.dispatch.base import ClientDisconnected, Endpoint, EngineGone
from bridgeserve.dispatch.facts import pack_endpoint, read_endpoint
from bridgeserve.dispatch.pipe import LOOK, Channel, PipePort
from bridgeserve.wire import ipc
from bridgeserve.wire.errors import ResponseError
from bridgeserve.wire.framing import ResponseHead
from dispatch.fake_port import TCP

PIECE = b"x" * ipc.PIECE
HEAD = ResponseHead(200, b"OK", [])


class Engine:
    """The other end: what it heard, and what it says."""

    def __init__(self) -> None:
        self.stream, stream = socket.socketpair()
        self.side, side = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.stream.setblocking(False)
        self.ends = [self.stream, stream, self.side, side]
        self.channel = Channel(stream, side)
        self._reader = ipc.FrameReader(ipc.FROM_CHILD)

    def port(self, source: int = ipc.ASKED, method: bytes = b"POST") -> PipePort:
        head = method + b" / HTTP/1.1\r\nHost: a"
        return PipePort(self.channel, 1, ipc.RequestFrame(head, pack_endpoint(TCP), source, -1, b""))

    def say(self, kind: int, payload: bytes = b"", call: int = 1) -> None:
        self.stream.sendall(ipc.frame(kind, call, payload))

    def heard(self) -> list[tuple[int, bytes]]:
        found = []
        try:
            while data := self.stream.recv(1 << 20):
                found += [(kind, payload) for kind, _, payload in self._reader.feed(data)]
        except BlockingIOError:
            pass
        return found


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    for each in made.ends:
        each.close()


def test_pieces_that_are_there_are_read_before_more_is_asked_for(engine: Engine) -> None:
    body = engine.port().body()
    for _ in range(3):
        engine.say(ipc.BODY, b"x" * 1000)
    assert body.read(1000) == b"x" * 1000
    assert body.read(2000) == b"x" * 2000
    engine.say(ipc.BODY_END)
    assert body.read() == b""
    assert engine.heard() == []


def test_what_was_said_for_another_call_is_passed_over(engine: Engine) -> None:
    port = engine.port()
    engine.say(ipc.GONE, b"\1", call=9)
    engine.say(ipc.BODY, b"other", call=9)
    assert not port.disconnected()
    engine.say(ipc.BODY, b"mine")
    engine.say(ipc.BODY_END)
    assert port.body().read() == b"mine"


def test_a_reader_learns_that_the_client_left(engine: Engine) -> None:
    port = engine.port()
    engine.say(ipc.GONE, b"\1")
    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            port.body().read(5)


def test_a_client_that_has_only_sent_its_last_octet_can_be_answered(engine: Engine) -> None:
    port = engine.port()
    engine.say(ipc.GONE, b"\0")
    assert port.disconnected()
    port.respond(HEAD, b"all", True)
    port.close()
    assert [kind for kind, _ in engine.heard()] == [ipc.ANSWER]


def test_a_whole_response_goes_out_before_the_application_takes_its_time(engine: Engine) -> None:
    port = engine.port()
    port.respond(HEAD, b"all", True)
    assert engine.heard() == []
    port.flush()
    assert [kind for kind, _ in engine.heard()] == [ipc.HEAD]
    port.close()
    assert [kind for kind, _ in engine.heard()] == [ipc.DONE]


def test_a_writer_waits_for_credit(engine: Engine) -> None:
    port = engine.port()
    port.respond(HEAD, b"", False)
    heard = []
    for _ in range(ipc.WINDOW // ipc.PIECE):  # the socket has room for less than all of it
        port.write(PIECE)
        heard += engine.heard()
    engine.say(ipc.CREDIT, ipc.number(5), call=9)
    engine.say(ipc.CREDIT, ipc.number(5))
    engine.say(ipc.GONE, b"\1")  # else it would wait for ever
    with pytest.raises(ClientDisconnected):
        port.write(b"123456")
    assert sum(len(payload) for kind, payload in heard if kind == ipc.DATA) == ipc.WINDOW
    assert engine.heard() == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("status", [200, 304])
def test_a_large_body_in_one_call_has_its_length(engine: Engine, status: int, method: bytes) -> None:
    port = engine.port(ipc.INLINE, method)
    port.respond(ResponseHead(status, b"", []), PIECE + b"x", True)
    port.flush()
    (kind, payload), *rest = engine.heard()
    head, end, body = ipc.unpack_head(payload)
    whole = (status, method) != (200, b"GET")  # nothing of the body is sent
    assert (kind, end, body) == (ipc.HEAD, whole, b"")
    assert head.content_length == (None if status == 304 else len(PIECE) + 1)
    assert rest == ([] if whole else [(ipc.DATA, PIECE), (ipc.DATA, b"x"), (ipc.END, b"")])


def test_a_head_that_is_too_large_is_the_fault_of_the_application(engine: Engine) -> None:
    port = engine.port()
    huge = [(b"x", b"y" * ipc.FRAME_MAX)]
    with pytest.raises(ResponseError):
        port.respond(ResponseHead(200, b"", huge), b"", True)
    with pytest.raises(ResponseError):
        port.inform(103, huge)
    assert engine.heard() == []
    port.respond(HEAD, b"sorry", True)
    port.close()
    assert [kind for kind, _ in engine.heard()] == [ipc.ANSWER]


def test_an_engine_that_is_gone(engine: Engine) -> None:
    port = engine.port()
    engine.stream.close()
    with pytest.raises(EngineGone):
        port.disconnected()
    with pytest.raises(EngineGone):
        port.body().read()
    with pytest.raises(EngineGone):
        port.write(b"x")


def told(root: str, host: bytes | None) -> Endpoint:
    """What a proxy has said."""
    endpoint = Endpoint("https", ("192.0.2.7", 0), ("example.org", 8443))
    endpoint.root, endpoint.host = root, host
    return endpoint


def secure(variables: dict[str, str]) -> Endpoint:
    """A connection under TLS."""
    endpoint = Endpoint("https", ("192.0.2.7", 1), ("192.0.2.1", 443))
    endpoint.ssl = variables
    return endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        TCP,
        Endpoint("https", ("::1", 5), ("a.b", 443)),
        Endpoint("http", None, ("/run/a sock", None)),
        Endpoint("http", None, ("/run/\udcff", None)),
        Endpoint("http", None, None),
        told("/api", b"example.org:8443"),
        told("", None),
        secure({"SSL_CLIENT_CERT": "-----BEGIN\n", "SSL_CLIENT_S_DN": "CN=\\00\u00e9"}),
    ],
)
def test_endpoints(endpoint: Endpoint) -> None:
    found = read_endpoint(pack_endpoint(endpoint))
    assert facts_of(found) == facts_of(endpoint)
    assert read_endpoint(pack_endpoint(endpoint)) is found


def facts_of(endpoint: Endpoint) -> tuple[object, ...]:
    return endpoint.scheme, endpoint.client, endpoint.server, endpoint.root, endpoint.host, endpoint.ssl


def test_what_was_said_too_late_is_forgotten_but_not_what_is_for_this_request() -> None:
    engine, stream = socket.socketpair()
    ours, lane = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with engine, stream, ours, lane:
        channel = Channel(stream, stream, lane)
        engine.sendall(ipc.frame(ipc.GONE, LOOK - 1, b"\1") + ipc.frame(ipc.GONE, LOOK, b"\1"))
        ours.send(ipc.frame(ipc.REQUEST, LOOK, b"payload"))
        assert channel.next_request() == (LOOK, b"payload")
        assert channel.poll() == (ipc.GONE, LOOK, b"\1")
        assert channel.poll() is None


def test_the_host_that_a_proxy_tells_takes_the_place_of_the_field() -> None:
    engine, stream = socket.socketpair()
    with engine, stream:
        facts = pack_endpoint(told("/api", b"example.org:8443"))
        asked = ipc.RequestFrame(b"GET / HTTP/1.1\r\nHost: inner\r\nAccept: */*", facts, ipc.INLINE, -1, b"")
        port = PipePort(Channel(stream, stream), 1, asked)
        assert port.request.headers == [(b"host", b"example.org:8443"), (b"accept", b"*/*")]
        assert port.endpoint.root == "/api"
