"""ASGI's WebSocket by its specification, sentence by sentence, with each reader and on each loop."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from conformance.check import PATIENCE
from conformance.conftest import Running, Servers
from conformance.frames_client import Socket
from conformance.servers import Combination, of_kind
from e2e.server import ServerProcess
from wire.frames import BINARY, TEXT, Frames, close, code_of, frame

ACCEPT = "Accept - send event"
SEND = "Send - send event"
CLOSE = "Close - send event"
DENIAL = "WebSocket Denial Response"
GONE = "Disconnect - receive event"
ERRORS = "Error Handling"


@dataclass(frozen=True)
class Case:
    """A conversation.

    :param send: octets behind the handshake.
    :param frames: what comes back, the close frame with it; a str is a text message, bytes a binary one.
    :param code: of the close frame; None: none may be in it.
    :param log: a pattern of a line that the server or the app logs.
    """

    path: str
    section: str
    why: str
    lines: tuple[str, ...] = ()
    version: str = "13"
    status: int = 101
    fields: dict[str, str | None] = field(default_factory=dict)
    send: bytes = b""
    frames: tuple[str | bytes, ...] = ()
    code: int | None = 1000
    reason: str = ""
    body: bytes = b""
    log: str = ""


def denied(path: str, section: str, why: str, status: int, body: bytes = b"", **more: object) -> Case:
    return Case(path, section, why, status=status, body=body, **more)  # type: ignore[arg-type]


def raises(path: str, section: str, why: str, log: str, frames: tuple[str, ...] = ("on",)) -> Case:
    """The message raises into the app, and its next one is taken."""
    return Case(path, section, why, frames=frames, log=f"app: raised {log}")


BY_APP = ("Sec-WebSocket-Protocol: one, two",)
SCOPE = {
    "asgi": {"version": "3.0", "spec_version": "2.5"},
    "extensions": {"websocket.http.response": {}},
    "headers": [
        b"host",
        b"connection",
        b"upgrade",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-protocol",
    ],
    "http_version": "1.1",
    "path": "/scope/x \xe9",
    "query_string": b"a=%20",
    "raw_path": b"/scope/x%20%C3%A9",
    "root_path": "",
    "scheme": "ws",
    "state": {"word": "from the start"},
    "subprotocols": ["one", "two"],
    "type": "websocket",
}
CASES = [
    Case("/scope/x%20%C3%A9?a=%20", "WebSocket Connection Scope", "the keys", BY_APP, frames=(str(SCOPE),)),
    # --- the handshake
    Case(
        "/accepts",
        ACCEPT,
        "nothing but the type is needed",
        fields={"upgrade": "websocket", "sec-websocket-protocol": None},
    ),
    Case("/accepts-with-headers", ACCEPT, "headers: two-item iterables", fields={"x-a": "b", "x-c": "d"}),
    Case("/accepts-with-none", ACCEPT, "subprotocol: None is the default"),
    Case(
        "/chooses", ACCEPT, "subprotocol: the one the server wishes", BY_APP, fields={"sec-websocket-protocol": "two"}
    ),
    denied("/refuses", CLOSE, "before it is accepted: 403", 403),
    denied("/refuses-with-a-code", CLOSE, "before it is accepted: 403", 403),
    denied("/denies", DENIAL, "the app's own response", 401, b"who are you", fields={"x-a": "b"}),
    denied(
        "/nothing",
        ACCEPT,
        "an app that returns without an answer has failed",
        500,
        log="without an answer to the WebSocket",
    ),
    denied("/raises-first", ERRORS, "an exception ends the handshake", 500, log="secret of the app"),
    denied(
        "/accepts",
        "RFC 6455 4.4",
        "another version: 426 and the one we speak",
        426,
        version="8",
        fields={"sec-websocket-version": "13"},
    ),
    denied("/accepts", "RFC 6455 4.2.1", "no version: 400", 400, version="", fields={"sec-websocket-version": "13"}),
    denied("/accepts", "RFC 6455 4.2.1", "two keys: 400", 400, lines=("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",)),
    raises("/invents-a-subprotocol", ACCEPT, "one of the client's", "ResponseError: the subprotocol", ()),
    raises("/names-the-subprotocol-twice", ACCEPT, "headers must not have sec-websocket-protocol", "ResponseError", ()),
    raises("/splits", ERRORS, "a line end in a header", "ResponseError", ()),
    raises("/headers-of-text", ERRORS, "Unicode strings for headers", "ResponseError", ()),
    raises("/sends-first", ERRORS, "accept comes before send", "RuntimeError: expected 'websocket.accept'", ()),
    raises("/answers-by-http", ERRORS, "a type of another protocol", "RuntimeError: expected 'websocket.accept'", ()),
    # --- messages
    Case(
        "/echo",
        "Receive - receive event",
        "text and bytes; then websocket.disconnect with code and reason",
        send=frame(TEXT, "hé".encode()) + frame(BINARY, b"\x00\xff") + frame(TEXT) + close(4321, "bye"),
        frames=("hé", b"\x00\xff", ""),
        code=4321,
        reason="bye",
        log="app: {'type': 'websocket.disconnect', 'code': 4321, 'reason': 'bye'} and True",
    ),
    Case("/echo", GONE, "code: 1005 without one", send=close(), code=None, log="app: .*'code': 1005, 'reason': ''"),
    Case(
        "/echo",
        GONE,
        "a fault of the client",
        send=frame(TEXT, b"\xff"),
        code=1007,
        reason="not UTF-8",
        log="app: .*'code': 1006",
    ),
    Case("/both-kinds", SEND, "the other one may be None or missing", frames=("a", b"b", b"")),
    Case(
        "/receives-in-a-task",
        "Receive - receive event",
        "any task may receive",
        send=frame(TEXT, b"x"),
        frames=("ready", "x"),
    ),
    Case("/receives-before-it-accepts", GONE, "a receive may wait already", send=frame(TEXT, b"x"), frames=("x",)),
    Case("/closes", CLOSE, "code: 1000 by default"),
    Case("/closes-with-a-reason", CLOSE, "code and reason", code=3001, reason="done é"),
    Case("/closes-without-a-reason", CLOSE, "reason: None is the default", code=3001),
    Case("/more-keys", ERRORS, "additional keys do no harm", frames=("x",)),
    Case("/raises", ERRORS, "an exception of the app: 1011", code=1011, log="secret of the app"),
    # --- errors
    raises("/accepts-twice", ERRORS, "one accept", "RuntimeError: expected 'websocket.send' or 'websocket.close'"),
    raises("/sends-neither", SEND, "at least one of bytes and text", "ValueError"),
    raises("/sends-both", SEND, "exactly one of bytes and text", "ValueError"),
    raises("/sends-octets-as-text", SEND, "text is a string", "TypeError"),
    raises("/sends-text-as-octets", SEND, "bytes is a byte string", "TypeError"),
    raises("/sends-a-surrogate", SEND, "text is UTF-8 on the wire", "UnicodeEncodeError"),
    raises("/sends-nonsense", ERRORS, "an unknown type", "RuntimeError"),
    raises("/denies-late", DENIAL, "not after accept", "RuntimeError"),
    raises("/closes-with-a-bad-code", CLOSE, "codes as RFC 6455 has them", "ValueError: 1006"),
    raises("/closes-with-a-long-reason", CLOSE, "a control frame holds 125 octets", "ValueError"),
    raises("/sends-after-the-close", CLOSE, "nothing comes after it", "RuntimeError: expected nothing more", ()),
    raises("/closes-twice", CLOSE, "nothing comes after it", "RuntimeError: expected nothing more", ()),
]


@pytest.fixture(params=of_kind("asgi"), ids=lambda combination: combination.name)
def server(servers: Servers, request: pytest.FixtureRequest) -> ServerProcess:
    """The server of each combination that runs ASGI apps."""
    combination: Combination = request.param
    running: Running = servers("asgi3_websocket:application", combination)
    return running[0]


def plain(frames: Frames) -> tuple[str | bytes, ...]:
    return tuple(payload.decode() if first == 0x81 else payload for first, payload in frames)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path[1:]} {case.why}")
def test_asgi_websocket(server: ServerProcess, case: Case) -> None:
    logged = len(server.err.find(case.log)) if case.log else 0
    with Socket(server.address, PATIENCE) as wire:
        wire.open(case.path, *case.lines, version=case.version, then=case.send)
        assert wire.status == case.status, wire.fields
        for name, value in case.fields.items():
            assert wire.fields.get(name) == value, name
        if case.status == 101:
            got = wire.until_close()
            assert plain(got[:-1]) == case.frames
            assert code_of(got) == case.code
            assert got[-1][1][2:].decode() == case.reason
            wire.send(close(case.code))
            assert wire.body() == b""
        else:
            assert wire.fields["connection"] == "close"
            assert case.body in wire.body()
    if case.log:
        assert server.err.wait(case.log, PATIENCE, logged + 1), case.log


def test_a_client_that_vanishes(server: ServerProcess) -> None:
    words = ("app: got websocket.disconnect 1006", "app: send raised OSError", "app: close raised nothing")
    before = [len(server.err.find(word)) for word in words]
    wire = Socket(server.address, PATIENCE).open("/sends-to-the-gone")
    assert wire.status == 101
    wire.reset()
    for word, count in zip(words, before, strict=True):
        assert server.err.wait(word, PATIENCE, count + 1), word


def test_names_are_unique() -> None:
    assert len({(case.path, case.why) for case in CASES}) == len(CASES)
