"""The engine's side of one call: what a child says, and what becomes of it. In virtual time."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.dispatch.call import Call
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.wire import ipc
from bridgeserve.wire.errors import CycleError
from bridgeserve.wire.framing import ResponseHead, informational
from bridgeserve.wire.ipc import IpcError
from dispatch.fakes import FakeExchange, make_request
from net.clock import run_virtual, turns

HEAD = ResponseHead(200, b"OK", [(b"x", b"1")])
BEGUN = ipc.pack_head(HEAD, False, b"")
WHOLE = ipc.pack_head(HEAD, True, b"all")
PIECE = b"x" * ipc.PIECE


class SendingExchange(FakeExchange):
    """Its files go out past the transport, when `go` is set; `fault` is what happens instead."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[tuple[int, int]] = []
        self.descriptors: list[int] = []
        self.fault: Exception | None = None

    async def send_file(self, file: int, offset: int, count: int) -> bool:
        await self.drain()
        if self.fault is not None:
            raise self.fault
        self.descriptors.append(file)
        self.files.append((offset, count))
        self._take(os.pread(file, count, offset), False)
        return True


class Side:
    """A call, and what was said to its child."""

    def __init__(self, exchange: FakeExchange | None = None) -> None:
        self.exchange = exchange or FakeExchange()
        self.said: list[tuple[int, bytes]] = []
        self.files: list[int] = []
        self.tasks = Tasks()
        self.call = Call(self.exchange, 7, 0.0, self._say, self._file, self.tasks)
        self.exchange.on_disconnect = self.call.leave

    def _say(self, kind: int, number: int, payload: bytes) -> None:
        assert number == 7
        self.said.append((kind, payload))

    def _file(self) -> int:
        if not self.files:
            raise IpcError("a file without its descriptor")
        return self.files.pop()

    def take(self, *frames: tuple[int, bytes]) -> Side:
        for kind, payload in frames:
            self.call.take(kind, payload)
        return self

    @property
    def credit(self) -> int:
        """Octets whose credit was given back."""
        return sum(ipc.read_number(payload) for kind, payload in self.said if kind == ipc.CREDIT)

    async def __aenter__(self) -> Side:
        await self.tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.__aexit__(None, None, None)
        assert not self.files


@pytest.fixture
def file() -> Iterator[int]:
    """A descriptor for the call to close, of a file with ten digits."""
    with tempfile.TemporaryFile() as made:
        made.write(b"0123456789")
        made.flush()
        descriptor = os.dup(made.fileno())
        yield descriptor
        with pytest.raises(OSError):
            os.fstat(descriptor)


# --- the response ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_whole_response(body: bytes) -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, ipc.pack_head(HEAD, True, body)))
            exchange = side.exchange
            assert (exchange.status, exchange.body, exchange.complete) == (200, body, True)
            side.take((ipc.DONE, b""))
            assert (side.call.state, side.said, exchange.aborted) == ("free", [], False)

    run_virtual(main)


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_whole_response_that_is_the_last_word_too(body: bytes) -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.ANSWER, ipc.pack_head(HEAD, True, body)))
            exchange = side.exchange
            assert (exchange.status, exchange.body, exchange.complete) == (200, body, True)
            assert (side.call.state, side.said, exchange.aborted) == ("free", [], False)

    run_virtual(main)


def test_a_response_in_pieces() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.INFORM, informational(103, [])), (ipc.HEAD, BEGUN), (ipc.DATA, b"1"), (ipc.DATA, b"2"))
            assert side.call.begun
            side.take((ipc.END, b""), (ipc.DONE, b""))
            exchange = side.exchange
            assert exchange.informed == [b"HTTP/1.1 103 Early Hints\r\n\r\n"]
            assert (exchange.status, exchange.body, exchange.complete) == (200, b"12", True)

    run_virtual(main)


@pytest.mark.parametrize("last", [(ipc.DONE, b""), (ipc.ABORT, b"")])
@pytest.mark.parametrize("begun", [True, False])
def test_a_response_that_does_not_end_is_cut(begun: bool, last: tuple[int, bytes]) -> None:
    async def main() -> None:
        async with Side() as side:
            if begun:
                side.take((ipc.HEAD, BEGUN))
            side.take(last)
            assert side.exchange.aborted and not side.exchange.complete

    run_virtual(main)


def test_what_is_out_of_order_raises() -> None:
    async def main() -> None:
        for frames in (
            [(ipc.DATA, b"x")],
            [(ipc.END, b"")],
            [(ipc.FILE, ipc.pack_file(0, 1))],
            [(ipc.HEAD, BEGUN), (ipc.HEAD, BEGUN)],
            [(ipc.HEAD, BEGUN), (ipc.INFORM, informational(103, []))],
            [(ipc.HEAD, ipc.pack_head(HEAD, True, b"")), (ipc.DATA, b"x")],
            [(ipc.HEAD, BEGUN), (ipc.END, b""), (ipc.END, b"")],
            [(ipc.ABORT, b""), (ipc.HEAD, BEGUN)],
            [(ipc.DONE, b""), (ipc.DONE, b"")],
            [(ipc.HEAD, BEGUN), (ipc.ANSWER, WHOLE)],
            [(ipc.ANSWER, WHOLE), (ipc.DONE, b"")],
        ):
            async with Side() as side:
                side.take(*frames[:-1])
                with pytest.raises(CycleError):
                    side.take(frames[-1])

    run_virtual(main)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [(ipc.HEAD, b""), (ipc.INFORM, b"HTTP/1.1 101 x\r\n\r\n"), (ipc.HEAD, BEGUN[:-1]), (ipc.ANSWER, BEGUN)],
)
def test_what_cannot_be_sent_raises(kind: int, payload: bytes) -> None:
    async def main() -> None:
        async with Side() as side:
            with pytest.raises(IpcError):
                side.take((kind, payload))
            assert side.exchange.calls == []

    run_virtual(main)


# --- credit ------------------------------------------------------------------------------------------


def test_credit_comes_back_while_the_client_keeps_up() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN))
            sent = 0
            for _ in range(100):
                side.take((ipc.DATA, b"x" * 10_000))
                sent += 10_000
                assert sent - side.credit < ipc.WINDOW // 4
            assert len(side.said) < 20  # not one for each piece
            assert len(side.exchange.body) == sent

    run_virtual(main)


def test_no_credit_while_the_client_does_not_keep_up() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN))
            side.exchange.pause()
            side.take(*[(ipc.DATA, PIECE)] * (ipc.WINDOW // ipc.PIECE))
            assert side.credit == 0
            side.exchange.resume()
            assert side.credit == ipc.WINDOW
            side.take((ipc.DATA, PIECE))  # it may again

    run_virtual(main)


def test_a_child_that_ignores_its_credit_raises() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN))
            side.exchange.pause()
            side.take(*[(ipc.DATA, PIECE)] * (ipc.WINDOW // ipc.PIECE))
            with pytest.raises(IpcError, match="credit"):
                side.take((ipc.DATA, b"x"))
            assert len(side.exchange.body) == ipc.WINDOW

    run_virtual(main)


def test_the_octets_that_come_with_a_head_that_is_no_end_count() -> None:
    async def main() -> None:
        async with Side() as side:
            side.exchange.pause()
            side.take((ipc.HEAD, ipc.pack_head(HEAD, False, b"x" * ipc.WINDOW)))
            with pytest.raises(IpcError, match="credit"):
                side.take((ipc.DATA, b"x"))

    run_virtual(main)


def test_no_credit_after_the_end() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN))
            side.exchange.pause()
            side.take((ipc.DATA, PIECE), (ipc.END, b""), (ipc.DONE, b""))
            side.exchange.resume()
            assert side.said == []

    run_virtual(main)


# --- the request body --------------------------------------------------------------------------------


def test_a_spool_goes_over_piece_by_piece() -> None:
    async def main() -> None:
        async with Side() as side:
            side.exchange.spool = spool = io.BytesIO(PIECE + b"rest")
            for expected in [(ipc.BODY, PIECE), (ipc.BODY, b"rest"), (ipc.BODY_END, b"")]:
                side.take((ipc.WANT, b""))
                await turns()
                assert side.said.pop() == expected
                assert not side.said
            side.take((ipc.HEAD, BEGUN), (ipc.WANT, b""))  # a response may have begun
            await turns()
            assert side.said == [(ipc.BODY_END, b"")]
            side.take((ipc.END, b""), (ipc.DONE, b""))
            assert spool.closed

    run_virtual(main)


def test_a_body_that_is_arriving_is_read_when_it_is_asked_for() -> None:
    async def main() -> None:
        exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
        async with Side(exchange) as side:
            exchange.feed(b"first")
            await turns()
            assert (side.said, exchange.reads) == ([], 0)
            side.take((ipc.WANT, b""))
            await turns()
            assert side.said == [(ipc.BODY, b"first")]
            side.take((ipc.WANT, b""))
            await turns()
            assert len(side.said) == 1
            with pytest.raises(IpcError, match="second wish"):
                side.take((ipc.WANT, b""))
            exchange.feed(PIECE + PIECE + b"x")
            await turns()
            assert side.said[1:] == [(ipc.BODY, PIECE + PIECE + b"x")]  # one frame for one wish
            exchange.feed_end()
            side.take((ipc.WANT, b""))
            await turns()
            assert side.said[2:] == [(ipc.BODY_END, b"")]

    run_virtual(main)


@pytest.mark.parametrize("lost", [True, False])
def test_a_client_that_leaves(lost: bool) -> None:
    async def main() -> None:
        exchange = FakeExchange(make_request(method=b"POST"), arriving=True)
        async with Side(exchange) as side:
            side.take((ipc.WANT, b""))
            await turns()
            exchange.leave(lost)
            await turns()
            assert side.said == [(ipc.GONE, b"\1" if lost else b"\0")]
            side.take((ipc.HEAD, BEGUN), (ipc.DATA, b"x"), (ipc.END, b""), (ipc.DONE, b""))
            assert exchange.complete is not lost
            assert (exchange.body == b"") is lost

    run_virtual(main)


def test_nobody_is_told_after_the_end() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN), (ipc.DONE, b""))
            await turns()
            assert side.exchange.aborted
            assert side.said == []

    run_virtual(main)


# --- files -------------------------------------------------------------------------------------------


def test_a_file_is_sent_and_the_response_ends_after_it(file: int) -> None:
    async def main() -> None:
        exchange = SendingExchange()
        async with Side(exchange) as side:
            side.files.append(file)
            exchange.pause()
            side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(3, 4)), (ipc.END, b""), (ipc.DONE, b""))
            await turns()
            assert side.call.state == "free"  # the child may work on
            assert not exchange.complete and not exchange.aborted
            exchange.resume()
            await turns()
            assert (exchange.body, exchange.complete, exchange.aborted) == (b"3456", True, False)
            assert exchange.files == [(3, 4)]

    run_virtual(main)


def test_a_file_that_cannot_be_sent_is_read(file: int) -> None:
    async def main() -> None:
        async with Side() as side:
            side.files.append(file)
            side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(3, 4)), (ipc.END, b""), (ipc.DONE, b""))
            await turns()
            assert (side.exchange.body, side.exchange.complete) == (b"3456", True)

    run_virtual(main)


def test_a_large_file_is_read_as_the_client_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(PIECE * 3 + b"end")

    async def main() -> None:
        async with Side() as side:
            side.files.append(os.open(path, os.O_RDONLY))
            side.exchange.pause()
            side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(0, 3 * len(PIECE) + 3)), (ipc.END, b""))
            await turns()
            assert side.exchange.body == PIECE
            side.exchange.resume()
            await turns(20)
            assert side.exchange.body == path.read_bytes()
            assert side.exchange.complete

    run_virtual(main)


def test_a_client_that_leaves_a_file(file: int) -> None:
    async def main() -> None:
        exchange = SendingExchange()
        async with Side(exchange) as side:
            side.files.append(file)
            exchange.pause()
            side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(0, 4)), (ipc.END, b""), (ipc.DONE, b""))
            await turns()
            exchange.leave()
            await turns()
            assert not exchange.complete and side.said == []

    run_virtual(main)


@pytest.mark.parametrize("fault", [OSError("the disk"), ClientDisconnected("left"), OverflowError("a bug")])
@pytest.mark.parametrize("ended", [True, False])
def test_a_file_that_fails_cuts_the_response(
    file: int, ended: bool, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        exchange = SendingExchange()
        exchange.fault = fault
        async with Side(exchange) as side:
            side.files.append(file)
            side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(0, 4)))
            if ended:
                side.take((ipc.END, b""), (ipc.DONE, b""))
            await turns()
            if not ended:
                side.take((ipc.END, b""), (ipc.DONE, b""))
                await turns()
            assert exchange.aborted and not exchange.complete

    run_virtual(main)
    assert bool(caplog.messages) is not isinstance(fault, ClientDisconnected)


def test_nothing_comes_beside_a_file(file: int) -> None:
    async def main() -> None:
        for kind, payload in ((ipc.DATA, b"x"), (ipc.FILE, ipc.pack_file(0, 1))):
            exchange = SendingExchange()
            exchange.pause()
            async with Side(exchange) as side:
                side.files.append(os.dup(file))
                side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(0, 1)))
                side.files.append(os.dup(file))
                with pytest.raises(IpcError):
                    side.take((kind, payload))
                os.close(side.files.pop())  # not taken
                side.call.lose(502)
                await turns()
                exchange.leave()
        os.close(file)

    run_virtual(main)


def test_a_file_without_a_descriptor_or_a_place(file: int) -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN))
            with pytest.raises(IpcError, match="descriptor"):
                side.take((ipc.FILE, ipc.pack_file(0, 1)))
        async with Side() as side:
            side.files.append(file)
            side.take((ipc.HEAD, BEGUN))
            with pytest.raises(IpcError, match="fit"):
                side.take((ipc.FILE, b""))
            assert side.files == [file]  # not taken, so that nobody has to close it
            os.close(side.files.pop())

    run_virtual(main)


# --- a child that is gone ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 504])
def test_before_the_head_its_loss_is_a_status(status: int) -> None:
    async def main() -> None:
        async with Side() as side:
            side.exchange.spool = spool = io.BytesIO(b"body")
            side.call.lose(status)
            assert (side.exchange.status, side.exchange.complete, spool.closed) == (status, True, True)
            assert side.said == []

    run_virtual(main)


def test_after_the_head_its_loss_is_a_cut() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, BEGUN), (ipc.DATA, b"half"))
            side.call.lose(502)
            await turns()
            assert side.exchange.aborted
            assert (side.exchange.status, side.exchange.body, side.said) == (200, b"half", [])

    run_virtual(main)


def test_after_a_whole_response_its_loss_is_nothing() -> None:
    async def main() -> None:
        async with Side() as side:
            side.take((ipc.HEAD, ipc.pack_head(HEAD, True, b"all")))
            side.call.lose(502)
            assert (side.exchange.complete, side.exchange.aborted) == (True, False)

    run_virtual(main)


@pytest.mark.parametrize("ended", [True, False])
def test_a_file_goes_on_without_its_child(file: int, ended: bool) -> None:
    async def main() -> None:
        exchange = SendingExchange()
        exchange.pause()
        async with Side(exchange) as side:
            side.files.append(file)
            side.take((ipc.HEAD, BEGUN), (ipc.FILE, ipc.pack_file(0, 4)))
            if ended:
                side.take((ipc.END, b""))
            side.call.lose(502)
            await turns()
            exchange.resume()
            await turns()
            assert exchange.body == b"0123"
            assert (exchange.complete, exchange.aborted) == (ended, not ended)

    run_virtual(main)
