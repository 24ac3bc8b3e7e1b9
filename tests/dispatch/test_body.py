"""Bodies for applications that read them as a file."""

from __future__ import annotations

import asyncio
import io
import logging
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from bridgeserve.dispatch.base import ClientDisconnected, close_input, drop_spool
from bridgeserve.dispatch.body import StreamedBody, collect, spool
from dispatch.fakes import FakeExchange, make_request
from net.clock import run_virtual, turns

MEMORY = 1000


def arriving() -> FakeExchange:
    return FakeExchange(make_request(method=b"POST"), arriving=True)


def collected(*pieces: bytes) -> tuple[FakeExchange, BinaryIO]:
    """What becomes of a body that arrives in these pieces."""
    exchange = arriving()
    files: list[BinaryIO] = []

    async def main() -> None:
        task = asyncio.ensure_future(collect(exchange, MEMORY))
        for piece in pieces:
            exchange.feed(piece)
            await turns()
        exchange.feed_end()
        files.append(await task)

    run_virtual(main)
    return exchange, files[0]


@pytest.mark.parametrize(
    ("pieces", "in_memory"),
    [
        ((), True),
        ((b"a" * MEMORY,), True),
        ((b"a" * 999, b"b"), True),
        ((b"a" * 1001,), False),
        ((b"a" * 999, b"b", b"c", b"d" * 5000), False),
    ],
    ids=["empty", "at the mark", "up to the mark", "one above", "many above"],
)
def test_a_body_above_the_mark_goes_to_a_file(pieces: tuple[bytes, ...], in_memory: bool) -> None:
    exchange, file = collected(*pieces)
    with file:
        assert isinstance(file, io.BytesIO) is in_memory
        assert file.tell() == 0
        assert file.read() == b"".join(pieces)
    assert exchange.request.content_length == sum(map(len, pieces))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The temporary files that are made during a test."""
    files: list[Any] = []
    make = tempfile.TemporaryFile

    def remember(*arguments: Any, **more: Any) -> Any:
        files.append(make(*arguments, **more))
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", remember)
    return files


def test_the_file_goes_when_the_client_leaves(made: list[Any]) -> None:
    exchange = arriving()

    async def main() -> None:
        task = asyncio.ensure_future(collect(exchange, MEMORY))
        exchange.feed(b"a" * 2000)
        await turns()
        exchange.leave()
        with pytest.raises(ClientDisconnected):
            await task

    run_virtual(main)
    assert [file.closed for file in made] == [True]


def test_the_file_goes_when_the_wait_is_cancelled(made: list[Any]) -> None:
    async def main() -> None:
        exchange = arriving()
        task = asyncio.ensure_future(collect(exchange, MEMORY))
        exchange.feed(b"a" * 2000)
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    assert [file.closed for file in made] == [True]


def spooled(exchange: FakeExchange) -> bool:
    """The body is there already; whether `spool` says that the request may run."""
    said: list[bool] = []

    async def main() -> None:
        said.append(await spool(exchange, MEMORY))

    run_virtual(main)
    return said[0]


def test_a_body_that_cannot_be_stored_is_answered_507(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    exchange = arriving()
    exchange.feed(b"a" * 2000)
    assert not spooled(exchange)
    assert (exchange.status, exchange.complete, exchange.spool) == (507, True, None)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "cannot be stored" in record.getMessage()


def test_a_body_in_memory_needs_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    exchange = arriving()
    exchange.feed(b"a" * 1000)
    exchange.feed_end()
    assert spooled(exchange)
    assert exchange.spool is not None and exchange.spool.read() == b"a" * 1000


def test_a_client_that_leaves_after_its_last_octet_is_not_served(made: list[Any]) -> None:
    exchange = arriving()
    exchange.feed(b"a" * 2000)
    exchange.feed_end()
    exchange.leave()
    assert not spooled(exchange)
    assert exchange.spool is None
    assert [file.closed for file in made] == [True]


@pytest.mark.parametrize("harm", ["detached", "closed", "full disk"])
def test_an_input_that_was_harmed_can_be_dropped(harm: str) -> None:
    class FullDisk(io.BytesIO):
        def close(self) -> None:
            super().close()
            raise OSError(28, "No space left on device")

    exchange = FakeExchange()
    file: Any = FullDisk() if harm == "full disk" else io.BufferedReader(io.BytesIO(b"x"))
    if harm == "detached":
        file.detach()
    elif harm == "closed":
        file.close()
    exchange.spool = file
    drop_spool(exchange)
    assert exchange.spool is None
    close_input(io.BytesIO())


def streamed(*pieces: bytes) -> io.BufferedReader:
    """A streamed body that gets these pieces."""
    rest = [*pieces, b""]
    return io.BufferedReader(StreamedBody(lambda: rest.pop(0)), 16)


def test_a_streamed_body_reads_as_a_file_does() -> None:
    lines = [b"one\n", b"two\n", b"three"]
    whole = b"".join(lines)
    pieces = (whole[:2], whole[2:6], whole[6:])
    assert streamed(*pieces).read() == whole
    assert list(streamed(*pieces)) == lines
    assert streamed(*pieces).readlines() == lines
    assert streamed(*pieces).read(6) == whole[:6]
    body = streamed(*pieces)
    assert body.readline() == b"one\n"
    assert body.readline(2) == b"tw"
    assert body.read(100) == b"o\nthree"
    assert [body.read(), body.read(5), body.readline()] == [b"", b"", b""]  # the end stays the end


def test_a_streamed_body_tells_of_a_client_that_left() -> None:
    def read() -> bytes:
        raise ClientDisconnected

    with pytest.raises(ClientDisconnected):
        io.BufferedReader(StreamedBody(read), 16).read()
