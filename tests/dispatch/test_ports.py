"""Every port passes the one suite, the fake of the other tests included."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from bridgeserve.dispatch.inline import InlinePort
from bridgeserve.dispatch.port import Port
from bridgeserve.dispatch.threads import Bridge, ThreadPort
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


def _threads() -> Iterator[Rig]:
    rig = ThreadRig()
    yield rig
    rig.close()


def _inline() -> Iterator[Rig]:
    yield InlineRig()


def _fake() -> Iterator[Rig]:
    yield FakeRig()


RIGS: dict[str, Callable[[], Iterator[Rig]]] = {"fake": _fake, "inline": _inline, "threads": _threads}


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A port of each kind."""
    yield from RIGS[request.param]()


class TestPorts(PortSuite):
    """See `port_suite`."""
