"""The conversation of `--check`: faults against WSGI and ASGI are named, and good applications have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bridgeserve.serve import conversation
from bridgeserve.serve.application import Prepared, StartupError
from bridgeserve.serve.check import converse
from bridgeserve.serve.conversation import Report
from bridgeserve.settings import Settings

START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"x"}
ACCEPT = {"type": "websocket.accept"}


def tried(app: object, kind: str = "asgi", **settings: Any) -> Report:
    return converse(Prepared(app=app, kind=kind, mode="inline"), Settings(**settings))


def http(*messages: object, result: object = None) -> Callable[..., Any]:
    """An app that sends these to a request, and nothing to others."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> object:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        await receive()
        for message in messages:
            await send(message)
        return result

    return app


def socket(*messages: object, result: object = None) -> Callable[..., Any]:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> object:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if scope["type"] == "http":
            await send(START)
            await send(BODY)
            return None
        assert await receive() == {"type": "websocket.connect"}
        for message in messages:
            await send(message)
        return result

    return app


def test_good_asgi() -> None:
    report = tried(http(START, {**BODY, "more_body": True}, BODY))
    assert report.faults == []
    assert report.told == ["GET / was answered with 200", "a WebSocket at / raised NotImplementedError"]
    trailers = {"type": "http.response.trailers", "headers": []}
    hint = {"type": "http.response.early_hint", "links": []}
    assert (
        tried(http(hint, {**START, "trailers": True}, BODY, {**trailers, "more_trailers": True}, trailers)).faults == []
    )


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ((ACCEPT, {"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}), "accepted"),
        (({"type": "websocket.close"},), "refused"),
        (
            (
                {"type": "websocket.http.response.start", "status": 401, "headers": []},
                {"type": "websocket.http.response.body", "body": b"x", "more_body": True},
                {"type": "websocket.http.response.body"},
            ),
            "refused",
        ),
    ],
)
def test_good_websockets(messages: tuple[object, ...], told: str) -> None:
    report = tried(socket(*messages))
    assert report.faults == []
    assert report.told[-1] == f"a WebSocket at / was {told}"


@pytest.mark.parametrize(
    ("app", "fault"),
    [
        (http(BODY), "'http.response.body' is out of order"),
        (http(START, START, BODY), "'http.response.start' is out of order"),
        (http(START, {**BODY, "more_body": True}), "without completing"),
        (http(), "without an answer"),
        (http(START, BODY, result=5), "it returned int"),
        (http({"type": "http.response.start"}, BODY), "no status"),
        (http({**START, "status": "200"}, BODY), "status of 'http.response.start' must be int, not str"),
        (http({**START, "headers": [("a", "b")]}, BODY), "pair of bytes"),
        (http({**START, "headers": [(b":status", b"b")]}, BODY), "pseudo header"),
        (http(START, {**BODY, "body": "x"}), "must be bytes or bytearray or memoryview, not str"),
        (http(START, {**BODY, "more_body": 1}), "more_body"),
        (http(START, ["nonsense"]), "must be a dict"),
        (socket(), "without an answer to the handshake"),
        (socket({"type": "websocket.send", "text": "x"}), "out of order: the connection is connecting"),
        (socket(ACCEPT, ACCEPT), "out of order: the connection is open"),
        (socket(ACCEPT, {"type": "websocket.send"}), "either text or bytes"),
        (socket(ACCEPT, {"type": "websocket.send", "text": b"x"}), "text of 'websocket.send' must be str"),
        (socket({**ACCEPT, "subprotocol": b"x"}), "subprotocol"),
        (socket(ACCEPT, result=1), "websocket: it returned int"),
    ],
)
def test_faults(app: object, fault: str) -> None:
    report = tried(app)
    assert any(fault in found for found in report.faults), report.faults


@pytest.mark.parametrize(
    ("app", "fault"),
    [
        (http(START, BODY, BODY), "after the end"),
        (http({**START, "headers": [(b"A", b"b")]}, BODY), "lower case, not b'A'"),
        (socket({**ACCEPT, "headers": [(b"X-A", b"b")]}), "lower case"),
    ],
)
def test_faults_that_do_no_harm(app: object, fault: str) -> None:
    report = tried(app)
    assert report.faults == []
    (found,) = report.harmless
    assert fault in found


def test_an_app_that_raises_is_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    report = tried(app)
    assert (report.faults, report.told[0]) == ([], "GET / raised ValueError")


def test_an_app_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "PATIENCE", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await asyncio.Event().wait()

    report = tried(app)
    assert (report.faults, report.told[0]) == ([], "GET / was not done after 0.05 s")


def test_a_body_without_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})

    report = tried(app)
    assert (report.faults, report.told[0]) == ([], "GET / was answered with 200")


def test_the_lifespan_runs_around_it() -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["word"] = "here"
            await send({"type": "lifespan.startup.complete"})
            seen.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        seen.append(scope["state"]["word"])
        raise NotImplementedError

    tried(app)
    assert seen == ["here", "here", "lifespan.shutdown"]


def test_a_start_up_that_fails() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(StartupError, match="no database"):
        tried(app)


def wsgi(*pieces: Any, status: Any = "200 OK", headers: Any = ()) -> Callable[..., Any]:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, list(headers))
        return list(pieces)

    return app


TEXT = [("Content-Type", "text/plain")]


def test_good_wsgi() -> None:
    report = tried(wsgi(b"x", headers=TEXT), "wsgi")
    assert (report.faults, report.told) == ([], ["GET / was answered with 200 OK"])


@pytest.mark.parametrize(
    ("app", "fault"),
    [
        (wsgi("x", headers=TEXT), "wsgi: Iterator yielded non-bytestring"),
        (wsgi(b"x", status="200", headers=TEXT), "wsgi: "),
        (wsgi(b"x"), "No Content-Type"),
        (wsgi(b"x", headers=[*TEXT, ("Bad-", "x")]), "wsgi: "),
        (lambda environ, start_response: [], "without a call of start_response"),
    ],
)
def test_faults_of_wsgi(app: object, fault: str) -> None:
    (found,) = tried(app, "wsgi").faults
    assert fault in found


def test_a_wsgi_app_that_raises() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise AssertionError("its own")

    report = tried(app, "wsgi")
    assert (report.faults, report.told) == ([], ["GET / raised AssertionError"])


def test_a_wsgi_body_without_end() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        while True:
            yield bytes(65536)

    assert tried(app, "wsgi").faults == []


def test_a_wsgi_call_that_hangs_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "PATIENCE", 0.2)
    go = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        go.wait()
        start_response("204 No Content", [])
        return []

    try:
        report = tried(app, "wsgi")
    finally:
        go.set()
    assert (report.told, report.faults) == (["GET / was not done after 0.2 s"], [])


def test_a_lifespan_start_up_that_hangs_has_an_end() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StartupError, match=r"start-up failed: it was not done within --timeout-start \(0.2 s\)"):
        tried(app, timeout_start=0.2)
