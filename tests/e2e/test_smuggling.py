"""Ambiguous requests through nginx and haproxy, which are told to pass on what they can and to keep their connections.

What the front says it has passed on and what the server has seen must be the same requests in the same order; a request
that the front forbids (/smuggled) never reaches the app; nobody gets the answer to another's request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.ambiguous import CASES
from e2e.conftest import Start
from e2e.fronts import Front, Fronts, upstream_of
from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess, eventually

WAIT = 10.0
LAST = "/last"
SERVER_BLOCK = """
        access_log {log} plain;
        ignore_invalid_headers off;
        underscores_in_headers on;
        merge_slashes off;
        client_header_timeout 1s;
        client_body_timeout 1s;
        keepalive_timeout 1s;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_next_upstream off;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
        location /buffered {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_next_upstream off;
            proxy_set_header Connection "";
        }}
        location /smuggled {{ return 403; }}
"""
FORMAT = "log_format plain '$request_uri $upstream_status';"
FRONTEND = """
    log stdout format raw local0
    log-format "%HU %s=%ST"
    option accept-invalid-http-request
    timeout client 1s
    timeout http-request 1s
    timeout http-keep-alive 1s
    http-request deny if { path_beg /smuggled }
"""
BACKEND = "http-reuse always"

Log = Callable[[], list[tuple[str, int]]]  # (path, status of the server) of what was passed on


@pytest.fixture
def fronts(tmp_path: Path) -> Iterator[Fronts]:
    """Proxies for one test."""
    made = Fronts(tmp_path)
    yield made
    made.end()


def nginx(fronts: Fronts, upstream: str, directory: Path) -> tuple[Front, Log]:
    path = directory / "access.log"
    front = fronts.nginx(upstream, SERVER_BLOCK.format(log=path), FORMAT)

    def log() -> list[tuple[str, int]]:
        found = re.findall(r"^(\S+) (\d+)$", path.read_text(encoding="latin-1"), re.MULTILINE)
        return [(target, int(status)) for target, status in found]

    return front, log


def haproxy(fronts: Fronts, upstream: str, directory: Path) -> tuple[Front, Log]:
    front = fronts.haproxy(upstream.replace("unix:", "unix@"), frontend=FRONTEND, backend=BACKEND)

    def log() -> list[tuple[str, int]]:
        found = re.findall(r"^(\S+) app=(-?\d+)$", front.log, re.MULTILINE)
        return [(target, int(status)) for target, status in found]

    return front, log


FRONTS = {"nginx": nginx, "haproxy": haproxy}


def send(front: Front, octets: bytes) -> bytes:
    """All that comes back until the front closes."""
    with RawClient(front.address, WAIT) as client:
        client.send(octets)
        return client.read_rest()


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()


def number(path: str) -> str:
    """What a path is known by, however the front has spelled the rest of it."""
    found = re.search(r"/(?:case|buffered|after|canary)/\d+", path)
    return found[0] if found else path


def answered(octets: bytes) -> list[str]:
    """The paths that the app's answers in here are for."""
    return [number(path) for path in re.findall(r"\r\n\r\n<(/.*?)>", octets.decode("latin-1"))]


def play(front: Front, cases: list[tuple[str, bytes]]) -> None:
    """Each case with an innocent request behind it; then another client, which must get its own answer."""
    for path, case in cases:
        index = path.rpartition("/")[2]
        octets = send(front, case.replace(b"@", path.encode()) + request(f"/after/{index}"))
        assert set(answered(octets)) <= {path, f"/after/{index}"}, (case, octets)
        canary = send(front, request(f"/canary/{index}"))
        assert answered(canary) == [f"/canary/{index}"], (case, canary)


def seen(address: tuple[str, int] | str) -> list[dict[str, Any]]:
    """What has reached the app."""
    with RawClient(address) as client:
        client.get("/seen")
        found: list[dict[str, Any]] = json.loads(client.read_answer().body)
        return found


def compare(log: Log, server: ServerProcess, address: tuple[str, int] | str) -> None:
    """Front and server have the same requests in the same order, answered by the app or refused by the server."""
    assert eventually(lambda: any(path == LAST for path, _ in log()), WAIT)
    passed = log()
    given = seen(address)
    assert [number(each["path"]) for each in given] == [number(path) for path, status in passed if status == 200]
    assert all(each["whole"] for each in given)
    assert not [each for each in given if "smuggled" in each["path"]]
    assert not [each for each in given if each["body"] and not re.match("/(case|buffered)/", number(each["path"]))]
    expected = [status for _, status in passed if status != 200]
    lines = server.err.wait(r"refused with (\d+)", WAIT, len(expected))  # the log may be a moment behind
    refused = [int(match[1]) for match in lines]
    assert refused == expected
    # It was a test: enough got through, and over connections that were used again.
    assert refused and len(given) > len(CASES) * 1.3
    assert len({str(each["peer"]) for each in given}) < len(given) / 2


@pytest.mark.parametrize(("reader", "unix"), [("auto", False), ("h11", False), ("auto", True)])
@pytest.mark.parametrize("name", FRONTS)
def test_front_and_server_see_the_same_requests(
    start: Start, fronts: Fronts, tmp_path: Path, name: str, reader: str, unix: bool
) -> None:
    path = tmp_path / "app.sock"
    bind = ("--bind", f"unix:{path}") if unix else ()
    server = start("seen_asgi:application", "--http", reader, "--log-level", "debug", *bind, app_dir=APPS)
    front, log = FRONTS[name](fronts, upstream_of(server), tmp_path)
    play(front, [(f"/case/{index}", case) for index, case in enumerate(CASES)])
    if name == "nginx":  # where it takes the body first and frames it anew
        play(front, [(f"/buffered/{index}", case) for index, case in enumerate(CASES)])
    send(front, request(LAST))
    compare(log, server, str(path) if unix else server.address)
