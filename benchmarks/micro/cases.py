"""The parts, each as a function that does it so many times. What it needs is made before, outside of the loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from benchmarks.apps import content
from benchmarks.messages import template
from bridgeserve.dispatch.base import Endpoint
from bridgeserve.dispatch.crew import Crew
from bridgeserve.dispatch.facts import pack_endpoint
from bridgeserve.dispatch.lane import Lane
from bridgeserve.dispatch.pipe import Channel
from bridgeserve.dispatch.threads import Bridge
from bridgeserve.dispatch.waiting import WaitingRoom
from bridgeserve.groups import Limits, Timeouts
from bridgeserve.wire import cycle, ipc, plain
from bridgeserve.wire.framing import Preamble, ResponseHead
from bridgeserve.wire.gate import read_head
from bridgeserve.wire.http1 import Http1Session

Case = Callable[[int], Any]
HEADERS = [(b"content-type", content.JSON.encode()), (b"content-length", b"%d" % len(content.BODY))]
BURST = 32  # requests that arrive at once: as many as the connections of `hello`
THREADS = 8
IDS = 4096  # more than any memo of lines holds


def _requests() -> list[bytes]:
    """Requests as they arrive, each with its own id."""
    numbered = template("/items/42?detail=full").numbered()
    return [next(numbered) for _ in range(IDS)]


def _session() -> Http1Session:
    return Http1Session(Limits(), Timeouts(), "auto", Preamble(), 0.0)


def gate(count: int) -> None:
    """A head is split, checked and read."""
    heads = [request[:-4] for request in _requests()]
    limits = Limits()
    for number in range(count):
        read_head(heads[number % IDS], limits)


def reader(count: int) -> None:
    """The plain reader takes a body of 2 KiB that comes in two pieces."""
    request = read_head(template("/orders", "POST", body=content.ORDER_BODY).one().partition(b"\r\n\r\n")[0], Limits())
    body = content.ORDER_BODY
    first, second = body[:1000], body[1000:]
    for _ in range(count):
        plain.takes(request)
        taken = plain.LengthBody(len(body))
        taken.feed(first, 0)
        taken.feed(second, 0)


def framing(count: int) -> None:
    """The app's response head is checked and compiled."""
    for _ in range(count):
        ResponseHead(200, b"", HEADERS)


def serialiser(count: int) -> None:
    """A compiled head and a body become the octets of a response."""
    session = _session()
    session.receive_data(_requests()[0])
    session.next_event(0.0)
    before = session.state
    head = ResponseHead(200, b"", HEADERS)
    for _ in range(count):
        session.state = before
        session.respond(head, content.BODY, True)


def wire(count: int) -> None:
    """All of the wire for one request: gate, plain reader, framing, serialiser, the cycle's table."""
    session = _session()
    requests = _requests()
    for number in range(count):
        session.receive_data(requests[number % IDS])
        session.next_event(0.0)
        session.respond(ResponseHead(200, b"", HEADERS), content.BODY, True)
        session.recycle(0.0)
    if session.state is not cycle.IDLE:
        raise RuntimeError(f"the session is in {session.state.name}")


class _Waiting:
    """What the queue and the crew see of an exchange."""

    on_disconnect: Any = None
    spool: Any = None


def thread_hop(count: int) -> None:
    """A request goes from the loop to a pool thread and its answer comes back, in bursts of 32."""
    asyncio.run(_hops(count))


async def _hops(count: int) -> None:
    loop = asyncio.get_running_loop()
    bridge, room = Bridge(loop), WaitingRoom(30.0)
    left = 0
    done = asyncio.Event()

    def answered(exchange: Any) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    crew = Crew(THREADS, room, lambda exchange: bridge.post(answered, exchange))
    crew.start()
    try:
        for start in range(0, count, BURST):
            left = min(BURST, count - start)
            done.clear()
            for _ in range(left):
                room.enter(_Waiting())  # type: ignore[arg-type]
                if len(room) == 1:
                    crew.expect()
            async with asyncio.timeout(30.0):
                await done.wait()
    finally:
        crew.stop()
        crew.join(5.0)
        room.close()


def ipc_hop(count: int) -> None:
    """A request goes to a child and its answer comes back: all that engine and child do for it between themselves.

    Both sides are in this process, so that the switch between processes is left out.
    """
    lane = Lane()
    ours, theirs = socket.socketpair()
    side = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel = Channel(theirs, side[1], lane.theirs)
    reader = ipc.FrameReader(ipc.FROM_CHILD)
    facts = pack_endpoint(Endpoint("http", ("127.0.0.1", 40000), ("127.0.0.1", 8000)))
    heads = [request[:-4] for request in _requests()]
    head = ResponseHead(200, b"", HEADERS)
    try:
        for number in range(count):
            lane.send(ipc.RequestFrame(heads[number % IDS], facts, ipc.INLINE, -1, b"").frame(number))
            call, payload = channel.next_request()
            ipc.RequestFrame.unpack(payload)
            channel.send(ipc.ANSWER, call, ipc.pack_head(head, True, content.BODY))
            ((_, _, answer),) = reader.feed(ours.recv(65536))
            ipc.unpack_head(answer)
    finally:
        lane.close()
        for each in (ours, theirs, *side):
            each.close()


CASES: dict[str, Case] = {
    "gate": gate,
    "reader": reader,
    "framing": framing,
    "serialiser": serialiser,
    "wire": wire,
    "thread hop": thread_hop,
    "ipc hop": ipc_hop,
}
# Those that are the same instructions in each run: no threads, no loop.
COUNTED = ("gate", "reader", "framing", "serialiser", "wire")
