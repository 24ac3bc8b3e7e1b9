"""Every port passes the one suite, the fake of the other tests included."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator

import pytest

from bridgeserve.dispatch.call import Call
from bridgeserve.dispatch.facts import pack_endpoint
from bridgeserve.dispatch.inline import InlinePort
from bridgeserve.dispatch.pipe import Channel, PipePort
from bridgeserve.dispatch.port import Port
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.dispatch.threads import Bridge, ThreadPort
from bridgeserve.wire import ipc
from dispatch.fake_exchange import FakeExchange
from dispatch.fake_port import TCP, FakePort, make_request
from dispatch.port_suite import BODY, PortSuite, Rig


class FakeRig(FakePort):
    """The fake is its own client."""

    def __init__(self) -> None:
        super().__init__(make_request(b"POST", b"/", body=BODY))

    @property
    def port(self) -> Port:
        return self

    def settle(self) -> None:
        """Nothing is under way."""


class InlineRig:
    """The port of the loop's own thread."""

    def __init__(self) -> None:
        self.exchange = FakeExchange(make_request(b"POST", b"/", body=BODY), TCP)
        self.port: Port = self.make()

    def make(self) -> Port:
        return InlinePort(self.exchange)

    def settle(self) -> None:
        """Nothing is under way."""

    def leave(self) -> None:
        self.exchange.leave()

    @property
    def status(self) -> int:
        return self.exchange.head.status if self.exchange.head else 0

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        assert self.exchange.head is not None
        return list(self.exchange.head.headers)

    @property
    def sent(self) -> bytes:
        return self.exchange.sent

    @property
    def complete(self) -> bool:
        return self.exchange.complete

    @property
    def cut(self) -> bool:
        return self.exchange.cut

    @property
    def informed(self) -> list[bytes]:
        return self.exchange.informed


class ThreadRig(InlineRig):
    """The test is the pool's thread; a loop runs in another one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.bridge = Bridge(self.loop)
        super().__init__()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def make(self) -> Port:
        port = ThreadPort(self.exchange, self.bridge)
        self.exchange.on_disconnect = port.lose
        return port

    def settle(self) -> None:
        self.bridge.wait_for(self._turn)

    async def _turn(self) -> None:
        """Calls that were posted before have been made by now: the loop keeps their order."""

    def leave(self) -> None:
        self.bridge.post(self.exchange.leave)
        self.settle()

    def close(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class PipeRig(ThreadRig):
    """The test is the child; the engine's side of the call runs on a loop in another thread."""

    source = ipc.INLINE

    def __init__(self) -> None:
        self.reader = ipc.FrameReader(ipc.FROM_CHILD)
        self.tasks = Tasks()
        super().__init__()
        self.bridge.wait_for(self.tasks.__aenter__)

    def make(self) -> Port:
        self.sockets = [
            *socket.socketpair(),
            *socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        ]
        self.stream, stream, self.side, side = self.sockets
        self.call = Call(self.exchange, 1, 0.0, self.say, self.receive_file, self.tasks)
        self.exchange.on_disconnect = self.call.leave
        self.stream.setblocking(False)
        self.loop.add_reader(self.stream, self.read)
        head = b"POST / HTTP/1.1\r\nhost: example.test\r\ncontent-length: %d" % len(BODY)
        body = b""
        if self.source == ipc.INLINE:
            body = BODY
        elif self.source == ipc.ASKED:
            self.exchange.spool = io.BytesIO(BODY)
        else:
            with tempfile.TemporaryFile() as file:
                file.write(BODY)
                file.seek(0)
                socket.send_fds(self.side, [b"f"], [file.fileno()])
        asked = ipc.RequestFrame(head, pack_endpoint(TCP), self.source, len(BODY), body)
        pipe = PipePort(Channel(stream, side), 1, ipc.RequestFrame.unpack(asked.frame(1)[ipc.HEADER.size :]))
        assert (pipe.endpoint.scheme, pipe.endpoint.client, pipe.endpoint.server) == (
            TCP.scheme,
            TCP.client,
            TCP.server,
        )
        return pipe

    def say(self, kind: int, number: int, payload: bytes) -> None:
        self.stream.sendall(ipc.frame(kind, number, payload))

    def receive_file(self) -> int:
        return socket.recv_fds(self.side, 1, 1)[1][0]

    def read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for kind, number, payload in self.reader.feed(self.stream.recv(1 << 20)):
                assert number == 1
                self.call.take(kind, payload)

    def settle(self) -> None:
        self.port.flush()
        super().settle()

    async def _turn(self) -> None:
        self.read()
        await self.tasks.drain(10.0)

    def close(self) -> None:
        """The application has ended: the call is over on both sides."""
        self.port.close()  # type: ignore[attr-defined]
        self.settle()
        assert self.call.state == "free"
        assert self.exchange.complete or self.exchange.cut or self.exchange.lost
        self.loop.call_soon_threadsafe(self.loop.remove_reader, self.stream)
        super().close()
        for each in self.sockets:
            each.close()


class AskingPipeRig(PipeRig):
    """... whose body is asked for."""

    source = ipc.ASKED


class FilePipeRig(PipeRig):
    """... whose body is a file."""

    source = ipc.DESCRIPTOR


def _closing(kind: type[ThreadRig]) -> Callable[[], Iterator[Rig]]:
    def made() -> Iterator[Rig]:
        rig = kind()
        yield rig
        rig.close()

    return made


def _inline() -> Iterator[Rig]:
    yield InlineRig()


def _fake() -> Iterator[Rig]:
    yield FakeRig()


RIGS: dict[str, Callable[[], Iterator[Rig]]] = {
    "fake": _fake,
    "inline": _inline,
    "threads": _closing(ThreadRig),
    "pipe": _closing(PipeRig),
    "pipe, asking": _closing(AskingPipeRig),
    "pipe, file": _closing(FilePipeRig),
}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A port of each kind."""
    yield from RIGS[request.param]()


class TestPorts(PortSuite):
    """See `port_suite`."""
