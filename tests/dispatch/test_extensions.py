"""The extensions of ASGI's HTTP over an exchange: the order of the messages, files, trailers, hints."""

from __future__ import annotations

import io
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.dispatch.asgi import AsgiCycle, AsgiRunner
from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.dispatch.extensions import BODY, COPY, DEBUG, FILE, HINT, PATH, START, TABLE, TRAILERS
from dispatch.fakes import FakeExchange, make_request
from net.clock import run_virtual

Send = Callable[[dict[str, Any]], Awaitable[None]]
Messages = list[dict[str, Any]]
HEAD: dict[str, Any] = {"type": START, "status": 200, "headers": []}
ASKED = make_request(headers=((b"te", b"gzip, Trailers"),))


def sized(length: int) -> dict[str, Any]:
    return {**HEAD, "headers": [(b"content-length", b"%d" % length)]}


def play(*messages: dict[str, Any], exchange: FakeExchange | None = None) -> FakeExchange:
    """An application that sends the messages."""
    used = exchange or FakeExchange()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        for message in messages:
            await send(message)

    async def main() -> None:
        await AsgiRunner(app).run(used, lambda: None)

    run_virtual(main)
    return used


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def content(file: Path) -> bytes:
    return file.read_bytes()


class Sending(FakeExchange):
    """Its connection can take files itself."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[tuple[int, int]] = []

    async def send_file(self, file: int, offset: int, count: int) -> bool:
        self.files.append((offset, count))
        self.body += os.pread(file, count, offset)
        return True


# --- the order


def examples(file: Path) -> dict[str, dict[str, Any]]:
    return {
        START: HEAD,
        BODY: {"type": BODY, "more_body": True},
        HINT: {"type": HINT, "links": []},
        DEBUG: {"type": DEBUG, "info": {}},
        PATH: {"type": PATH, "path": str(file)},
        FILE: {"type": FILE, "file": -1},
        TRAILERS: {"type": TRAILERS},
        "http.response.push": {"type": "http.response.push"},
    }


WAYS: dict[str, tuple[bool, Messages]] = {
    "not started": (False, []),
    "started": (False, [HEAD]),
    "in its body": (False, [HEAD, {"type": BODY, "more_body": True}]),
    "before its trailers": (True, [{**HEAD, "trailers": True}, {"type": BODY}]),
}


@pytest.mark.parametrize("kind", [START, BODY, HINT, DEBUG, PATH, FILE, TRAILERS, "http.response.push"])
@pytest.mark.parametrize("state", TABLE)
def test_each_step_is_the_table_s(state: str, kind: str, file: Path) -> None:
    message = examples(file)[kind]

    async def main() -> None:
        with file.open("rb") as opened:
            cycle = AsgiCycle(FakeExchange())
            for earlier in WAYS[state][1]:
                await cycle.send(earlier)
            assert cycle.state == state
            given = {**message, "file": opened} if kind == FILE else message
            if kind in TABLE[state]:
                await cycle.send(given)
                return
            with pytest.raises(RuntimeError, match="expected .*, got " + repr(kind)) as error:
                await cycle.send(given)
            assert all(word in str(error.value) for word in TABLE[state] if word != DEBUG) or kind == BODY
            assert cycle.state == state

    run_virtual(main)


@pytest.mark.parametrize("kind", [HINT, DEBUG, PATH, FILE, TRAILERS, "anything"])
def test_what_is_said_after_the_end_is_ignored(kind: str) -> None:
    exchange = play(HEAD, {"type": BODY, "body": b"x"}, {"type": kind})
    assert (exchange.complete, exchange.body, exchange.aborted) == (True, b"x", False)


# --- hints


def test_early_hints() -> None:
    links = [b"</style.css>; rel=preload", bytearray(b"</a.js>")]
    exchange = play({"type": HINT, "links": links}, {"type": DEBUG, "info": {}}, HEAD, {"type": BODY})
    assert exchange.informed == [
        b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nlink: </a.js>\r\n\r\n"
    ]
    assert exchange.complete


@pytest.mark.parametrize(("link", "error"), [("text", TypeError), (b"a\r\nb: c", ValueError)])
def test_a_hint_that_is_none(link: Any, error: type[Exception]) -> None:
    async def main() -> None:
        with pytest.raises(error):
            await AsgiCycle(FakeExchange()).send({"type": HINT, "links": [link]})

    run_virtual(main)


# --- trailers


def test_trailers() -> None:
    exchange = play(
        {**HEAD, "trailers": True},
        {"type": BODY, "body": b"a", "more_body": True},
        {"type": BODY, "body": b"b"},
        {"type": TRAILERS, "headers": [(b"x-sum", b"1")], "more_trailers": True},
        {"type": TRAILERS, "headers": [(b"x-more", b"2"), (b"content-length", b"5")]},
        exchange=FakeExchange(ASKED),
    )
    assert (exchange.body, exchange.complete) == (b"ab", True)
    assert exchange.trailers == b"x-sum: 1\r\nx-more: 2\r\n"  # what concerns the framing is not sent


def test_trailers_for_nobody() -> None:
    """A client that did not ask for them must not get them (RFC 9110 section 6.5.1)."""
    exchange = play(
        {**HEAD, "trailers": True}, {"type": BODY, "body": b"a"}, {"type": TRAILERS, "headers": [(b"x", b"1")]}
    )
    assert (exchange.body, exchange.complete, exchange.trailers) == (b"a", True, b"")


def test_trailers_that_were_promised_and_do_not_come(caplog: pytest.LogCaptureFixture) -> None:
    exchange = play({**HEAD, "trailers": True}, {"type": BODY, "body": b"a"})
    assert exchange.aborted
    assert "without completing" in caplog.text


def test_trailers_for_a_client_that_left() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        cycle = AsgiCycle(exchange)
        await cycle.send({**HEAD, "trailers": True})
        await cycle.send({"type": BODY})
        exchange.leave()
        with pytest.raises(ClientDisconnected):
            await cycle.send({"type": TRAILERS})

    run_virtual(main)


def test_bad_trailers() -> None:
    async def main() -> None:
        cycle = AsgiCycle(FakeExchange())
        await cycle.send({**HEAD, "trailers": True})
        await cycle.send({"type": BODY})
        with pytest.raises(ValueError, match="control octet"):
            await cycle.send({"type": TRAILERS, "headers": [(b"x", b"\r\n")]})

    run_virtual(main)


# --- files


@pytest.mark.parametrize("direct", [True, False])
def test_a_file_by_its_name(file: Path, direct: bool) -> None:
    exchange = play(HEAD, {"type": PATH, "path": str(file)}, exchange=Sending() if direct else FakeExchange())
    assert exchange.body == content(file)
    assert exchange.complete
    assert exchange.head is not None
    assert exchange.head.content_length == 256_000


def test_a_file_that_is_larger_than_was_said(file: Path) -> None:
    exchange = play(sized(10), {"type": PATH, "path": str(file)})
    assert (exchange.body, exchange.complete) == (content(file)[:10], True)


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_no_octet_of_a_file_where_none_is_sent(file: Path, method: bytes) -> None:
    start = HEAD if method == b"HEAD" else {**HEAD, "status": 304}
    exchange = play(start, {"type": PATH, "path": str(file)}, exchange=FakeExchange(make_request(method=method)))
    assert (exchange.body, exchange.complete) == (b"", True)


@pytest.mark.parametrize(
    ("path", "error"),
    [("relative", ValueError), (b"/bytes", ValueError), ("/", ValueError), ("/nothing/here", OSError)],
)
def test_a_path_that_is_none(path: Any, error: type[Exception]) -> None:
    async def main() -> None:
        cycle = AsgiCycle(FakeExchange())
        await cycle.send(HEAD)
        with pytest.raises(error):
            await cycle.send({"type": PATH, "path": path})
        assert cycle.state == "started"  # the application may still answer otherwise

    run_virtual(main)


def test_pieces_of_an_open_file(file: Path) -> None:
    data = content(file)
    with file.open("rb") as opened:
        exchange = play(
            sized(60 + 10),
            {"type": FILE, "file": opened, "offset": 100, "count": 20, "more_body": True},
            {"type": BODY, "body": b"0123456789", "more_body": True},
            {"type": FILE, "file": opened.fileno(), "count": 15, "more_body": True},
            {"type": FILE, "file": opened, "count": 25},
        )
    assert exchange.body == data[100:120] + b"0123456789" + data[:40]  # without an offset from where the file stands
    assert exchange.complete


def test_an_open_file_to_its_end(file: Path) -> None:
    with file.open("rb") as opened:
        opened.seek(200_000)
        exchange = play(HEAD, {"type": FILE, "file": opened}, exchange=Sending())
        assert os.lseek(opened.fileno(), 0, os.SEEK_CUR) == 256_000
    assert exchange.body == content(file)[200_000:]
    assert exchange.head is not None
    assert exchange.head.content_length == 56_000
    assert exchange.files == [(200_000, 56_000)]  # type: ignore[attr-defined]


def test_a_piece_behind_the_end_is_empty(file: Path) -> None:
    with file.open("rb") as opened:
        exchange = play(HEAD, {"type": FILE, "file": opened, "offset": 1 << 20})
    assert (exchange.body, exchange.complete) == (b"", True)


@pytest.mark.parametrize(
    "more", [{"offset": -1}, {"count": -1}, {"offset": "x"}, {"file": io.BytesIO()}, {"file": None}]
)
def test_a_piece_that_is_none(file: Path, more: dict[str, Any]) -> None:
    async def main() -> None:
        with file.open("rb") as opened:
            cycle = AsgiCycle(FakeExchange())
            await cycle.send(HEAD)
            with pytest.raises((ValueError, OSError, AttributeError)):
                await cycle.send({"type": FILE, "file": opened, **more})
            assert cycle.state == "started"

    run_virtual(main)


def test_a_file_before_trailers(file: Path) -> None:
    exchange = play(
        {**HEAD, "trailers": True},
        {"type": PATH, "path": str(file)},
        {"type": TRAILERS, "headers": [(b"x", b"1")]},
        exchange=FakeExchange(ASKED),
    )
    assert (exchange.body, exchange.trailers) == (content(file), b"x: 1\r\n")


def test_a_slow_client_is_waited_for(file: Path) -> None:
    class Slow(FakeExchange):
        drained = 0

        async def drain(self) -> None:
            self.drained += 1

    exchange = Slow()
    play(HEAD, {"type": PATH, "path": str(file)}, exchange=exchange)
    assert exchange.drained == -(-256_000 // COPY)


def test_a_client_that_left(file: Path) -> None:
    async def main() -> None:
        exchange = FakeExchange()
        cycle = AsgiCycle(exchange)
        await cycle.send(HEAD)
        exchange.leave()
        with pytest.raises(ClientDisconnected):
            await cycle.send({"type": PATH, "path": str(file)})

    run_virtual(main)
