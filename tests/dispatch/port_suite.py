"""What every Port does, said once: a test class takes `PortSuite` and gives it a fixture `rig`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import pytest

from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.dispatch.port import Port
from bridgeserve.wire.framing import ResponseHead

PLAIN = [(b"content-type", b"text/plain")]
BODY = b"one\ntwo\nthree"


class Rig(Protocol):
    """A port for a POST with BODY, and what its client sees of the response."""

    @property
    def port(self) -> Port: ...

    def settle(self) -> None:
        """Return when all that was said has reached the client's side."""

    def leave(self) -> None:
        """The client goes; returns when the port can know."""

    @property
    def status(self) -> int:
        """0 before the head."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...

    @property
    def sent(self) -> bytes:
        """The octets of the body."""

    @property
    def complete(self) -> bool: ...

    @property
    def cut(self) -> bool: ...

    @property
    def informed(self) -> list[bytes]:
        """Interim responses."""


class PortSuite:
    """The conformance suite of `dispatch.port.Port`."""

    def test_a_whole_response_in_one_call(self, rig: Rig) -> None:
        rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"hello", True)
        rig.settle()
        assert (rig.status, rig.headers, rig.sent, rig.complete, rig.cut) == (200, PLAIN, b"hello", True, False)

    def test_a_response_in_pieces_keeps_their_order(self, rig: Rig) -> None:
        rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"1", False)
        for digit in b"2345":
            rig.port.write(bytes([digit]))
        rig.settle()
        assert (rig.sent, rig.complete) == (b"12345", False)
        rig.port.finish(b"6")
        rig.settle()
        assert (rig.sent, rig.complete) == (b"123456", True)

    def test_finish_needs_no_octets(self, rig: Rig) -> None:
        rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"", False)
        rig.port.finish()
        rig.settle()
        assert (rig.sent, rig.complete) == (b"", True)

    def test_an_interim_response_comes_before_the_head(self, rig: Rig) -> None:
        rig.port.inform(103, [(b"link", b"</a.css>; rel=preload")])
        rig.settle()
        assert rig.status == 0
        assert [payload.split(b"\r\n")[:2] for payload in rig.informed] == [
            [b"HTTP/1.1 103 Early Hints", b"link: </a.css>; rel=preload"]
        ]

    def test_an_interim_response_that_cannot_be_sent_is_refused(self, rig: Rig) -> None:
        with pytest.raises(ValueError):
            rig.port.inform(103, [(b"link", b"</a>\r\nx: 1")])
        rig.settle()
        assert rig.informed == []

    def test_the_body_is_one_file_that_ends(self, rig: Rig) -> None:
        body = rig.port.body()
        assert body.readline() == b"one\n"
        assert rig.port.body().read(3) == b"two"
        assert list(body) == [b"\n", b"three"]
        assert body.read() == b""

    def test_a_response_that_ends_early_is_cut(self, rig: Rig) -> None:
        rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"half", False)
        rig.port.abort()
        rig.settle()
        assert (rig.complete, rig.cut) == (False, True)

    def test_a_complete_response_is_not_cut(self, rig: Rig) -> None:
        rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"all", True)
        rig.port.abort()
        rig.settle()
        assert (rig.complete, rig.cut) == (True, False)

    def test_a_client_that_left_is_told(self, rig: Rig) -> None:
        assert not rig.port.disconnected()
        rig.leave()
        assert rig.port.disconnected()
        with pytest.raises(ClientDisconnected):
            rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"", True)

    def test_a_client_that_left_in_the_middle_is_told(self, rig: Rig) -> None:
        rig.port.respond(ResponseHead(200, b"OK", PLAIN), b"1", False)
        rig.settle()
        rig.leave()
        with pytest.raises(ClientDisconnected):
            rig.port.write(b"2")
        with pytest.raises(ClientDisconnected):
            rig.port.finish(b"3")
        rig.settle()
        assert (rig.sent, rig.complete) == (b"1", False)

    def test_a_file_is_sent_from_its_offset_or_not_at_all(self, rig: Rig, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"0123456789")
        rig.port.respond(ResponseHead(200, b"OK", [(b"content-length", b"4")]), b"", False)
        with path.open("rb") as file:
            done = rig.port.send_file(file.fileno(), 3, 4)
        rig.settle()
        assert rig.sent == (b"3456" if done else b"")
        rig.port.finish(b"" if done else b"3456")
        rig.settle()
        assert (rig.sent, rig.complete) == (b"3456", True)
