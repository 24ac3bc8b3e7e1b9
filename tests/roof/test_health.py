"""The health check against a peer that answers, answers badly, or says nothing at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridgeserve.binds import parse_bind
from bridgeserve.health import ask, main


@contextlib.contextmanager
def peer(listener: socket.socket, answer: bytes, *, close: bool = True) -> Iterator[list[bytes]]:
    """A peer of one connection: it reads the request's head, sends `answer`, and closes unless told not to.

    Yields the list that the head is put into.
    """
    heads: list[bytes] = []
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as lines:
            heads.append(b"".join(iter(lines.readline, b"\r\n")))
            connection.sendall(answer)
            if not close:
                done.wait(10)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield heads
    finally:
        done.set()
        thread.join(10)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(10)
        yield made


def bind_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (302, 0), (404, 0), (499, 0), (500, 1), (503, 1)])
def test_the_status_decides(listener: socket.socket, monkeypatch: pytest.MonkeyPatch, status: int, code: int) -> None:
    monkeypatch.setenv("BRIDGESERVE_BIND", bind_of(listener).replace("127.0.0.1", "0.0.0.0"))
    with peer(listener, b"HTTP/1.1 %d Something\r\n\r\n" % status) as heads:
        assert main(["/ready?x=1"]) == code
    assert heads[0].startswith(b"GET /ready?x=1 HTTP/1.0\r\nHost: localhost\r\n")


def test_port_tells_where_when_nothing_else_does(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGESERVE_BIND", raising=False)
    monkeypatch.setenv("PORT", str(listener.getsockname()[1]))
    with peer(listener, b"HTTP/1.0 200 OK\r\n\r\n"):
        assert main([]) == 0


def test_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(10)
        listener.bind(str(tmp_path / "app.sock"))
        listener.listen()
        with peer(listener, b"HTTP/1.1 204 No Content\r\n\r\n"):
            assert ask(parse_bind(f"unix:{tmp_path}/app.sock")) == 204


def test_a_proxy_header_comes_first_where_one_is_expected(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGESERVE_BIND", bind_of(listener))
    monkeypatch.setenv("BRIDGESERVE_PROXY_PROTOCOL", "on")
    with peer(listener, b"HTTP/1.1 200 OK\r\n\r\n") as heads:
        assert main([]) == 0
    assert heads[0].startswith(b"PROXY UNKNOWN\r\nGET / HTTP/1.0\r\n")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 20", b"x" * 5000])
def test_what_is_not_http(listener: socket.socket, answer: bytes) -> None:
    with peer(listener, answer), pytest.raises(ValueError, match="not an HTTP answer"):
        ask(parse_bind(bind_of(listener)))


def test_an_answer_that_stops_halfway_is_late(listener: socket.socket) -> None:
    with peer(listener, b"HTTP/1.1 2", close=False), pytest.raises(TimeoutError):
        ask(parse_bind(bind_of(listener)), limit=0.05)


def test_a_handshake_that_does_not_come_is_late(listener: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        ask(parse_bind(bind_of(listener)), limit=0.05, secure=True)


def test_nobody_listens(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BRIDGESERVE_BIND", bind_of(listener))
    listener.close()
    assert main([]) == 1
    assert capsys.readouterr().err.startswith("unhealthy: ")


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "fd://3"])
def test_a_bind_that_tells_nothing(bind: str) -> None:
    with pytest.raises(ValueError, match="does not tell where to connect"):
        ask(parse_bind(bind))


@pytest.mark.parametrize("arguments", [["x"], ["/a b"], ["/", "/"], ["/\r\n"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert "usage" in capsys.readouterr().err
