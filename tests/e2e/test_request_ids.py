"""What a record says: ids, times, octets; in each mode."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.common import client
from e2e.server import APPS, ServerProcess

MODES = [("asgi", "inline"), ("wsgi", "inline"), ("wsgi", "threads"), ("wsgi", "processes")]


@contextmanager
def serving(app: str, mode: str, *options: str) -> Iterator[ServerProcess]:
    server = ServerProcess(f"ids:{app}", "--mode", mode, "--access-log-format", "json", *options, app_dir=APPS)
    try:
        yield server.started()
    finally:
        server.kill()


def lines(server: ServerProcess, count: int) -> list[dict[str, Any]]:
    """The first lines of the access log."""
    return [json.loads(match.string) for match in server.out.wait(r"^\{", 10.0, count)]


@pytest.mark.parametrize(("app", "mode"), MODES)
def test_an_id_of_a_trusted_peer_is_in_the_app_the_log_and_the_response(app: str, mode: str) -> None:
    with serving(app, mode, "--request-id", "send") as server:
        with client(server) as http:
            given = http.get("/", headers={"X-Request-Id": "abc-1"})
            made = http.get("/")
            own = http.get("/own")
            posted = http.post("/", content=iter([b"x" * 1000, b"y" * 500]))
        assert given.json() == {"field": "abc-1", "ours": "abc-1", "size": 0}
        assert given.headers["x-request-id"] == "abc-1"
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])
        assert made.json()["field"] == made.json()["ours"] == made.headers["x-request-id"]
        assert own.headers.get_list("x-request-id") == ["own"]
        assert posted.json()["size"] == 1500
        told = lines(server, 4)
    assert [line["request_id"] for line in told[:2]] == ["abc-1", made.headers["x-request-id"]]
    assert [line["bytes_in"] for line in told] == [0, 0, 0, 1500]


@pytest.mark.parametrize(("app", "mode"), [("asgi", "inline"), ("wsgi", "processes")])
def test_an_id_of_somebody_else_is_not_believed_and_nothing_is_sent_unasked(app: str, mode: str) -> None:
    with serving(app, mode, "--request-id", "on", "--forwarded-allow-ips", "192.0.2.1") as server:
        with client(server) as http:
            answer = http.get("/", headers={"X-Request-Id": "abc-1"})
        assert re.fullmatch("[0-9a-f]{32}", answer.json()["field"])
        assert answer.json()["ours"] == answer.json()["field"]
        assert "x-request-id" not in answer.headers
        assert lines(server, 1)[0]["request_id"] == answer.json()["field"]


@pytest.mark.parametrize(("app", "mode"), [("asgi", "inline"), ("wsgi", "threads")])
def test_without_the_option_the_field_is_the_clients_and_there_is_no_id(app: str, mode: str) -> None:
    with serving(app, mode) as server:
        with client(server) as http:
            answer = http.get("/", headers={"X-Request-Id": "abc-1"})
        assert answer.json() == {"field": "abc-1", "ours": None, "size": 0}
        assert "x-request-id" not in answer.headers
        assert "request_id" not in lines(server, 1)[0]


def ask_both(server: ServerProcess) -> None:
    """Ask twice at the same time for what takes a while."""

    def ask() -> None:
        with client(server) as http:
            http.get("/slow")

    both = [threading.Thread(target=ask) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_the_wait_for_a_thread_or_a_process_is_told_apart_from_the_app(mode: str) -> None:
    with serving("wsgi", mode, "--threads", "1", "--processes", "1") as server:
        with client(server) as http:
            http.get("/")  # the connection and the child are there

        ask_both(server)
        told = [line for line in lines(server, 3) if line["path"] == "/slow"]
    assert len(told) == 2
    assert all(line["app_ms"] >= 295 for line in told)
    assert max(line["queue_ms"] for line in told) >= 100
    for line in told:
        assert line["queue_ms"] + line["app_ms"] <= line["ms"] + 0.01


def test_a_request_that_never_ran_has_no_time_in_the_app() -> None:
    with serving("wsgi", "threads", "--threads", "1", "--timeout-queue", "0.1") as server:
        ask_both(server)
        told = {line["status"]: line for line in lines(server, 2)}
    assert told[503]["app_ms"] == 0
    assert told[503]["queue_ms"] >= 95
