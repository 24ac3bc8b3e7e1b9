"""Behind real nginx and haproxy: who the client is, in every mode, and that nothing on the way is lost."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from e2e.apps.told_wsgi import PIECE, pieces
from e2e.conftest import Start
from e2e.fronts import Front, Fronts, upstream_of
from e2e.raw import Answer, RawClient
from e2e.server import APPS, ServerProcess

CLIENT = "127.0.0.2"  # a client of the proxy that is no proxy of ours
COUNT = 100 * (1 << 20) // PIECE
MODES = {
    "threads": ("told_wsgi:application", "--mode", "threads", "--threads", "2"),
    "processes": ("told_wsgi:application", "--mode", "processes", "--processes", "1"),
    "inline": ("told_wsgi:application", "--mode", "inline"),
    "asgi": ("told_asgi:application",),
}
X_FORWARDED = """
        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port 443;
            proxy_set_header X-Forwarded-Prefix /shop;
        }
        location /silent {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
"""
ALL = "x-forwarded-for,x-forwarded-proto,x-forwarded-host,x-forwarded-port,x-forwarded-prefix"
FORGED = ("X-Forwarded-For: 198.51.100.66", "Forwarded: for=198.51.100.66", "X-Forwarded-Proto: gopher")


@pytest.fixture
def fronts(tmp_path: Path) -> Iterator[Fronts]:
    """Proxies for one test."""
    made = Fronts(tmp_path)
    yield made
    made.end()


def told(front: Front, path: str = "/told", *headers: str, client: str = CLIENT) -> dict[str, Any]:
    """What the app was told of a client with this address, which says something else of itself."""
    [answer] = asked(front, path, *headers, client=client)
    assert answer.status == 200, answer.head
    found: dict[str, Any] = json.loads(answer.body)
    return found


def asked(front: Front, path: str, *headers: str, client: str = CLIENT, count: int = 1) -> list[Answer]:
    raw = RawClient(front.address)
    raw.socket.close()
    raw.socket = socket.create_connection(front.address, 20.0, source_address=(client, 0))
    answers = []
    with raw:
        for _ in range(count):
            raw.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: shop.example", *headers, "", ""]).encode())
            answers.append(raw.read_answer())
    return answers


def much(front: Front) -> None:
    """100 MB up and 100 MB down."""
    with httpx.Client(base_url=front.url, timeout=30.0, trust_env=False) as http:
        digest = hashlib.sha256()
        for piece in pieces(COUNT):
            digest.update(piece)
        headers = {"Content-Length": str(COUNT * PIECE)}
        assert http.put("/upload", content=pieces(COUNT), headers=headers).json()["digest"] == digest.hexdigest()
        down = hashlib.sha256()
        with http.stream("GET", f"/download?{COUNT}") as answer:
            assert answer.status_code == 200
            for data in answer.iter_raw(PIECE):
                down.update(data)
        assert down.digest() == digest.digest()


def quiet(server: ServerProcess) -> None:
    """The server has nothing to complain of."""
    assert "Traceback" not in server.err.text


def start_at(start: Start, mode: str, *options: str, unix: Path | None = None) -> ServerProcess:
    bind = () if unix is None else ("--bind", f"unix:{unix}")
    return start(*MODES[mode], *bind, *options, app_dir=APPS)


def expected(mode: str) -> dict[str, Any]:
    """What X_FORWARDED comes to."""
    if mode == "asgi":
        return {
            "client": [CLIENT, 0],
            "scheme": "https",
            "server": ["shop.example", 443],
            "root_path": "/shop",
            "path": "/shop/told",
            "host": ["shop.example"],
            "tls": None,
        }
    return {
        "REMOTE_ADDR": CLIENT,
        "wsgi.url_scheme": "https",
        "HTTPS": "on",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "443",
        "SCRIPT_NAME": "/shop",
        "PATH_INFO": "/told",
        "HTTP_HOST": "shop.example",
        "HTTP_X_FORWARDED_FOR": f"198.51.100.66, {CLIENT}",
    }


@pytest.mark.parametrize("mode", MODES)
def test_nginx_over_tcp(start: Start, fronts: Fronts, mode: str) -> None:
    server = start_at(start, mode, "--forwarded-headers", ALL)
    front = fronts.nginx(upstream_of(server), X_FORWARDED)
    assert told(front, "/told", *FORGED) == expected(mode)
    assert server.out.wait(rf'^{CLIENT} "GET /told HTTP/1.1" 200', 10.0)  # the access log's client
    # Without a word of the proxy the peer is the proxy, and its connection is used again.
    silent = [json.loads(answer.body) for answer in asked(front, "/silent", count=3)]
    ports = [each["client"][1] if mode == "asgi" else each["REMOTE_PORT"] for each in silent]
    assert len(set(ports)) == 1
    quiet(server)


@pytest.mark.parametrize("mode", ["threads", "asgi"])
def test_nginx_over_a_unix_socket(start: Start, fronts: Fronts, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = start_at(start, mode, "--forwarded-headers", ALL, "--forwarded-allow-ips", "unix:,127.0.0.1", unix=path)
    front = fronts.nginx(f"unix:{path}", X_FORWARDED)
    assert told(front, "/told", *FORGED) == expected(mode)
    if mode == "threads":
        much(front)
    quiet(server)


def test_a_websocket_through_nginx(start: Start, fronts: Fronts) -> None:
    server = start_at(start, "asgi", "--forwarded-headers", ALL)
    upgrading = X_FORWARDED.replace(
        'Connection "";', 'Connection "upgrade"; proxy_set_header Upgrade $http_upgrade;', 1
    )
    front = fronts.nginx(upstream_of(server), upgrading)
    raw = socket.create_connection(front.address, 20.0, source_address=(CLIENT, 0))
    forged = {"X-Forwarded-For": "198.51.100.66"}
    with connect(front.url.replace("http", "ws", 1) + "/told", sock=raw, additional_headers=forged) as socket_:
        found = json.loads(socket_.recv(10.0))
        assert (found["client"], found["scheme"], found["root_path"]) == ([CLIENT, 0], "wss", "/shop")
        for message in ("text", b"\0octets", "x" * 1_000_000):
            socket_.send(message)
            assert socket_.recv(10.0) == message
    quiet(server)


def test_a_proxy_that_is_not_trusted(start: Start, fronts: Fronts, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = start_at(start, "threads", "--forwarded-headers", ALL, unix=path)  # unix: is not in the default
    found = told(fronts.nginx(f"unix:{path}", X_FORWARDED), "/told", *FORGED)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["SCRIPT_NAME"]) == ("", "http", "")
    assert found["HTTP_X_FORWARDED_FOR"] == f"198.51.100.66, {CLIENT}"
    quiet(server)


def test_a_chain_of_two_by_their_number(start: Start, fronts: Fronts) -> None:
    server = start_at(start, "threads", "--forwarded-allow-ips", "2")
    inner = fronts.nginx(upstream_of(server), X_FORWARDED)
    outer = fronts.haproxy(f"{inner.address[0]}:{inner.address[1]}", backend="option forwardfor")
    assert told(outer, "/told", *FORGED)["REMOTE_ADDR"] == CLIENT
    quiet(server)


def test_haproxy_with_forwarded(start: Start, fronts: Fronts) -> None:
    server = start_at(start, "asgi", "--forwarded-headers", "forwarded")
    line = 'http-request add-header Forwarded "for=%[src];proto=https;host=%[req.hdr(host)]"'
    front = fronts.haproxy(upstream_of(server), backend=line)
    found = told(front, "/told", *FORGED)
    assert (found["client"], found["scheme"], found["server"]) == ([CLIENT, 0], "https", ["shop.example", 443])
    [answer] = asked(front, "/told", 'Forwarded: for="')
    assert answer.status == 400
    quiet(server)


@pytest.mark.parametrize("mode", ["http", "tcp"])
@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_with_the_proxy_protocol(start: Start, fronts: Fronts, version: str, mode: str) -> None:
    runs = "processes" if mode == "http" else "asgi"
    server = start_at(start, runs, "--proxy-protocol", "on")
    checks = f"{version} check inter 200ms fall 100 rise 1"
    probe = "option httpchk GET /check\n    timeout check 5s"
    front = fronts.haproxy(upstream_of(server), checks, mode=mode, backend=probe)
    assert server.out.wait(r'"GET /check HTTP/1.0" 200', 10.0)  # the proxy's own health check
    for found in [told(front, "/told", *FORGED), told(front, "/told", *FORGED, client="127.0.0.3")]:
        address = found["client"][0] if runs == "asgi" else found["REMOTE_ADDR"]
        assert address in (CLIENT, "127.0.0.3")
    assert (address, len(asked(front, "/told", count=3))) == ("127.0.0.3", 3)
    if (version, mode) == ("send-proxy-v2", "tcp"):
        much(front)
    quiet(server)


def test_haproxy_with_the_proxy_protocol_over_a_unix_socket(start: Start, fronts: Fronts, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    server = start_at(start, "threads", "--proxy-protocol", "on", "--forwarded-allow-ips", "unix:", unix=path)
    front = fronts.haproxy(f"unix@{path}", "send-proxy-v2", mode="tcp")
    found = told(front, "/told", *FORGED)
    assert (found["REMOTE_ADDR"], found["SERVER_PORT"]) == (CLIENT, str(front.address[1]))
    quiet(server)


def test_clients_that_reach_past_the_proxy(start: Start) -> None:
    """With the PROXY protocol nobody else may connect; a trusted one that says nothing is closed as well."""
    server = start_at(start, "threads", "--proxy-protocol", "on", "--forwarded-allow-ips", "127.0.0.1")
    line = b"PROXY TCP4 203.0.113.9 198.51.100.2 4711 443\r\n"
    for address, octets in ((CLIENT, line), ("127.0.0.1", b"")):
        with socket.create_connection(server.address, 20.0, source_address=(address, 0)) as raw:
            raw.sendall(octets + b"GET /told HTTP/1.1\r\nHost: a\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert raw.recv(1000) == b""
    with RawClient(server.address) as client:
        answer = client.exchange(line + b"GET /told HTTP/1.1\r\nHost: a\r\n\r\n")
        assert json.loads(answer.body)["REMOTE_ADDR"] == "203.0.113.9"
    quiet(server)
