"""The opening handshake of WebSocket, by RFC 6455 section 4."""

from __future__ import annotations

import pytest

from bridgeserve.groups import Limits, WebSocketLimits
from bridgeserve.wire.deflate import negotiate
from bridgeserve.wire.errors import ResponseError, WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import Preamble
from bridgeserve.wire.gate import read_head
from bridgeserve.wire.handshake import OFFERED_MAX, Handshake, asks, read_handshake, switching

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13"
UPGRADE = (b"Connection: Upgrade", b"Upgrade: websocket")
PLAIN = Preamble(date=False, server=False)


def request(*lines: bytes, start: bytes = b"GET /chat HTTP/1.1") -> Request:
    return read_head(b"\r\n".join((start, b"Host: a", *lines)), Limits())


def asked(*lines: bytes) -> Handshake:
    return read_handshake(request(*UPGRADE, KEY, VERSION, *lines))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"websocket", True),
        (b"WebSocket", True),
        (b"h2c, websocket", True),
        (b"h2c,,\tWEBSOCKET ", True),
        (b"websocket2", False),
        (b"h2c", False),
        (b"", False),
    ],
)
def test_who_asks(value: bytes, expected: bool) -> None:
    assert asks(request(b"Connection: upgrade", b"Upgrade: " + value)) is expected


def test_a_good_handshake() -> None:
    """The sample of RFC 6455 section 1.3."""
    found = asked(b"Sec-WebSocket-Protocol: chat, superchat", b"Sec-WebSocket-Protocol: third")
    assert found.subprotocols == ["chat", "superchat", "third"]
    assert found.extensions == ""
    assert switching(found, None, [], "", PLAIN) == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (400, (VERSION,)),
        (400, (KEY, KEY, VERSION)),
        (400, (b"Sec-WebSocket-Key: ", VERSION)),
        (400, (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ", VERSION)),
        (400, (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEyMzQ1Njc4", VERSION)),
        (400, (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==", VERSION)),
        (400, (KEY,)),
        (426, (KEY, b"Sec-WebSocket-Version: 8")),
        (426, (KEY, b"Sec-WebSocket-Version: 13, 8")),
        (426, (KEY, VERSION, VERSION)),
        (426, (KEY, b"Sec-WebSocket-Version: ")),
        (400, (KEY, VERSION, b"Sec-WebSocket-Protocol: a b")),
        (400, (KEY, VERSION, b"Sec-WebSocket-Protocol: a, a")),
        (400, (KEY, VERSION, b"Sec-WebSocket-Protocol: " + b",".join(b"p%d" % n for n in range(OFFERED_MAX + 1)))),
        (400, (KEY, VERSION, b"Sec-WebSocket-Extensions: " + b",".join([b"x"] * (OFFERED_MAX + 1)))),
        (400, (KEY, VERSION, b"Content-Length: 5")),
    ],
)
def test_what_is_refused(status: int, lines: tuple[bytes, ...]) -> None:
    with pytest.raises(WireError) as refusal:
        read_handshake(request(*UPGRADE, *lines))
    assert refusal.value.status == status


def test_only_get() -> None:
    with pytest.raises(WireError) as refusal:
        read_handshake(request(*UPGRADE, KEY, VERSION, start=b"POST / HTTP/1.1"))
    assert refusal.value.status == 400


def test_the_answer_with_all_its_fields() -> None:
    found = asked(b"Sec-WebSocket-Protocol: chat")
    preamble = Preamble([(b"x-fixed", b"1")], date=False)
    answer = switching(found, "chat", [(b"x-a", b"b")], "permessage-deflate", preamble)
    assert answer.endswith(b"\r\n\r\n")
    assert answer.split(b"\r\n")[1:-2] == [
        b"server: bridgeserve",
        b"x-fixed: 1",
        b"upgrade: websocket",
        b"connection: Upgrade",
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        b"sec-websocket-protocol: chat",
        b"sec-websocket-extensions: permessage-deflate",
        b"x-a: b",
    ]


@pytest.mark.parametrize(
    ("subprotocol", "headers", "words"),
    [
        ("other", [], "none of those"),
        (None, [(b"Sec-WebSocket-Protocol", b"chat")], "server's own"),
        (None, [(b"sec-websocket-accept", b"x")], "server's own"),
        (None, [(b"upgrade", b"h2c")], "server's own"),
        (None, [(b"x", b"a\r\nb: c")], "control octet"),
        (None, [("x", "y")], "pairs of bytes"),
    ],
)
def test_what_the_application_may_not_say(
    subprotocol: str | None, headers: list[tuple[bytes, bytes]], words: str
) -> None:
    with pytest.raises(ResponseError, match=words):
        switching(asked(b"Sec-WebSocket-Protocol: chat"), subprotocol, headers, "", PLAIN)


@pytest.mark.parametrize(
    ("offers", "response"),
    [
        ("", None),
        ("x-unknown", None),
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
        ),
        (
            "x, permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
        # The first offer cannot be met (zlib has no window of 8 bits), the second one can (RFC 7692 section 5.1).
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; server_max_window_bits=12",
        ),
        ("permessage-deflate; unknown=1", None),
        ("permessage-deflate; server_max_window_bits=16", None),
    ],
)
def test_compression_is_agreed_upon(offers: str, response: str | None) -> None:
    agreed = negotiate(offers, WebSocketLimits())
    assert (agreed.response if agreed else None) == response


def test_compression_can_be_switched_off() -> None:
    assert negotiate("permessage-deflate", WebSocketLimits(deflate=False)) is None


@pytest.mark.parametrize("offers", [";", "a b", "permessage-deflate; =", 'a; b="'])
def test_offers_that_are_none(offers: str) -> None:
    with pytest.raises(ValueError, match="bad Sec-WebSocket-Extensions"):
        negotiate(offers, WebSocketLimits())
