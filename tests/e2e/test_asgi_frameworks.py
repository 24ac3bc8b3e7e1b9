"""FastAPI, Starlette, Django Channels, Litestar and Quart: WebSocket, events, uploads, files, background, over sockets.

The client is that of `websockets`; once it is one that speaks by wsproto.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import wsproto
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

from e2e.common import PIECE, client, pieces
from e2e.server import APPS, ServerProcess, eventually

FRAMEWORKS = ("fastapi", "starlette", "channels", "litestar", "quart")
BIG = 100  # pieces of 64 KiB


@pytest.fixture(scope="module", params=FRAMEWORKS)
def server(request: pytest.FixtureRequest, start_shared: Callable[..., ServerProcess]) -> ServerProcess:
    started = start_shared(f"five_{request.param}:app", "--no-access-log", app_dir=APPS)
    assert started.mode == "inline"
    return started


def name_of(request: pytest.FixtureRequest) -> str:
    found: str = request.node.callspec.params["server"]
    return found


def dial(server: ServerProcess, path: str = "/ws", **more: object) -> ClientConnection:
    more = {"origin": server.url, **more}  # Channels refuses who does not say it
    return connect(server.url.replace("http", "ws") + path, proxy=None, max_size=None, **more)  # type: ignore[arg-type]


def notices(server: ServerProcess) -> list[str]:
    with client(server) as http:
        found: list[str] = http.get("/notices").json()
        return found


@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo(server: ServerProcess, compression: str | None) -> None:
    with dial(server, compression=compression) as ws:
        for message in ("hello", "h\u00e9 \U0001f600" * 1000, b"\x00\xff", b"x" * 1_000_000):
            ws.send(message)
            assert ws.recv(10) == message
        assert ws.ping().wait(10)


def test_subprotocol(server: ServerProcess) -> None:
    with dial(server, subprotocols=["other", "chat"]) as ws:
        assert ws.subprotocol == "chat"
    with dial(server, subprotocols=["other"]) as ws:
        assert ws.subprotocol is None


def test_the_app_closes(server: ServerProcess) -> None:
    with dial(server) as ws:
        ws.send("bye")
        with pytest.raises(ConnectionClosed):
            ws.recv(10)
        assert ws.close_code == 4001
        assert ws.close_reason == "as you say"


def test_the_client_closes(server: ServerProcess, request: pytest.FixtureRequest) -> None:
    code = 3001 + FRAMEWORKS.index(name_of(request))
    with dial(server) as ws:
        ws.send("x")
        assert ws.recv(10) == "x"
        ws.close(code, "enough")
    word = "left with some code" if name_of(request) == "quart" else f"left with {code}"
    assert eventually(lambda: word in notices(server), 5.0)


def test_a_refused_handshake(server: ServerProcess, request: pytest.FixtureRequest) -> None:
    with pytest.raises(InvalidStatus) as refused:
        dial(server, "/ws?key=wrong")
    # Starlette and Quart answer by the extension for denials.
    assert refused.value.response.status_code == (401 if name_of(request) in ("starlette", "quart") else 403)


def test_events(server: ServerProcess) -> None:
    with client(server) as http, http.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        data = [line.partition(":")[2].strip() for line in answer.iter_lines() if line.startswith("data:")]
    assert data == ["0", "1", "2"]


def test_a_streamed_upload(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.post("/upload", content=pieces(BIG))
    assert answer.json() == {"size": BIG * len(PIECE), "digest": hashlib.sha256(PIECE * BIG).hexdigest()}


def test_a_file(server: ServerProcess, request: pytest.FixtureRequest) -> None:
    with client(server) as http:
        answer = http.get("/file")
    content = (APPS / f"five_{name_of(request)}.py").read_bytes()
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))


def test_background(server: ServerProcess) -> None:
    with client(server) as http:
        assert http.post("/notify").status_code == 202
    assert eventually(lambda: "notified" in notices(server), 5.0)


def test_an_origin_that_is_not_allowed(start: Callable[..., ServerProcess]) -> None:
    """The check of Channels: what daphne's users rely on."""
    server = start("five_channels:app", "--no-access-log", app_dir=APPS)
    with dial(server, origin=server.url) as ws:
        ws.send("x")
        assert ws.recv(10) == "x"
    with pytest.raises(InvalidStatus) as refused:
        dial(server, origin="http://elsewhere.example")
    assert refused.value.response.status_code == 403


def test_a_client_of_wsproto(start: Callable[..., ServerProcess]) -> None:
    server = start("five_starlette:app", "--no-access-log", app_dir=APPS)
    peer = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    extension = wsproto.extensions.PerMessageDeflate()
    with socket.create_connection(server.address, 10.0) as wire:
        wire.sendall(peer.send(Request(host="127.0.0.1", target="/ws", subprotocols=["chat"], extensions=[extension])))
        got: list[object] = []
        text = "wsproto " * 100
        while not any(isinstance(event, CloseConnection) for event in got):
            peer.receive_data(wire.recv(65536) or None)
            for event in peer.events():
                got.append(event)
                if isinstance(event, AcceptConnection):
                    assert event.subprotocol == "chat"
                    assert event.extensions
                    wire.sendall(peer.send(TextMessage(text)) + peer.send(BytesMessage(b"\x00" * 500)))
                elif isinstance(event, BytesMessage):
                    wire.sendall(peer.send(CloseConnection(1000, "done")))
    assert "".join(event.data for event in got if isinstance(event, TextMessage)) == text
    assert b"".join(bytes(event.data) for event in got if isinstance(event, BytesMessage)) == b"\x00" * 500
    assert got[-1] == CloseConnection(1000, "done")


def test_a_drain_closes_with_1012(start: Callable[..., ServerProcess]) -> None:
    server = start("five_starlette:app", "--no-access-log", app_dir=APPS)
    with dial(server) as ws:
        ws.send("x")
        assert ws.recv(10) == "x"
        stopped = server.stop()
        assert (stopped.code, stopped.seconds < 5.0) == (0, True)
        with pytest.raises(ConnectionClosed):
            ws.recv(10)
        assert ws.close_code == 1012


def test_without_the_package(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """501, and a line that says what to install; everything else is served."""
    (tmp_path / "websockets.py").write_text(
        'raise ModuleNotFoundError("hidden", name="websockets")\n', encoding="utf-8"
    )
    server = start("five_fastapi:app", "--no-access-log", app_dir=APPS, env={"PYTHONPATH": _path(tmp_path)})
    with pytest.raises(InvalidStatus) as refused:
        dial(server)
    assert refused.value.response.status_code == 501
    assert server.err.wait(r"error .*install bridgeserve\[websockets\]", 5.0)
    assert httpx.get(server.url + "/file", trust_env=False).status_code == 200


def _path(folder: Path) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


@pytest.mark.parametrize("mode", ["inline", "threads", "processes"])
def test_in_front_of_wsgi_it_is_an_ordinary_get(start: Callable[..., ServerProcess], mode: str) -> None:
    server = start("demo:application", "--mode", mode, "--no-access-log")
    with pytest.raises(InvalidStatus) as refused:
        dial(server, "/")
    assert refused.value.response.status_code == 200
