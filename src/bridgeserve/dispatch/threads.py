"""Threads mode: WSGI in a pool of threads, the loop in front of it.

loop thread                                     pool thread
-----------                                     -----------
WaitingRoom.enter(exchange)  ──────────────►    Crew: WaitingRoom.take()
                                                  runner.run(port)
Bridge.drain                                      port.respond / write / finish
  exchange.respond / write / finish  ◄───────       deque.append, one wake-up per burst

A thread that writes faster than its client reads blocks in its port until the transport is
writable, the client is gone, or the write deadline of the connection has cut it.

Nothing can end a thread. One that runs longer than --timeout-request is given up: the loop ends its exchange,
so that its further words reach nobody, and the crew puts a spare in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, BinaryIO, Self

from bridgeserve.dispatch import forked
from bridgeserve.dispatch.base import ClientDisconnected, Endpoint, Exchange, close_input
from bridgeserve.dispatch.body import StreamedBody, admit_whole
from bridgeserve.dispatch.crew import Crew
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.dispatch.waiting import Room, WaitingRoom
from bridgeserve.dispatch.watch import Watch, cut_off, thread_stack
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.groups import Admission
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead, informational

_log = logging.getLogger("bridgeserve.error")
WRITE_AHEAD = 65536  # octets a thread may be ahead of the transport
BURST = 256  # calls from threads in one turn of the loop


class Bridge:
    """Calls from pool threads to the loop, in order, with one wake-up for a burst of them."""

    __slots__ = ("_calls", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._woken = False

    def post(self, function: Callable[..., None], *arguments: Any) -> None:
        """(pool thread) Call `function` on the loop soon."""
        self._calls.append((function, arguments))
        self.wake()

    def wake(self) -> None:
        """(pool thread) Make the loop look at the calls."""
        if not self._woken:
            self._woken = True
            # RuntimeError: the loop has closed, a thread that was left behind has nobody to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.drain)

    def wait_for(self, function: Callable[[], Any]) -> Any:
        """(pool thread) Run the coroutine function on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result()

    def drain(self, most: int = BURST) -> None:
        """(loop) Make the calls that are there. The flag falls first: a call posted after the last pop wakes again.

        What is more than `most`, or comes meanwhile, waits for the next turn: threads that stream small chunks post
        as fast as the loop can call, and nobody else would ever have a turn.
        """
        self._woken = False
        calls = self._calls
        for _ in range(min(len(calls), most)):
            function, arguments = calls.popleft()
            try:
                function(*arguments)
            except Exception:
                # A bug of ours in one exchange must not keep the calls behind it from the others.
                _log.exception("a call from a pool thread failed")
        if calls and not self._woken:
            self._woken = True
            self._loop.call_soon(self.drain)


class ThreadPort:
    """The port of a request that runs in a pool thread. Methods are the thread's; `_on_loop…` are the loop's."""

    __slots__ = ("_body", "_bridge", "_exchange", "_flow", "_held", "_outstanding", "complete", "endpoint", "request")

    def __init__(self, exchange: Exchange, bridge: Bridge) -> None:
        self._exchange = exchange
        self._bridge = bridge
        self._body = exchange.spool
        self._flow: threading.Condition | None = None  # made when a response is streamed
        self._outstanding = 0
        self._held = 0  # those of them that the transport has, above its mark
        self.complete = False  # the last octets were handed over
        self.request: Request = exchange.request
        self.endpoint: Endpoint = exchange.endpoint

    def body(self) -> BinaryIO:
        """The request body: in memory, in a file, or arriving."""
        if self._body is None:
            if self.request.complete:
                self._body = io.BytesIO(self.request.body)
            else:
                stream = StreamedBody(lambda: self._bridge.wait_for(self._exchange.read))
                self._body = io.BufferedReader(stream, 65536)
        return self._body

    def inform(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send an interim response."""
        self._bridge.post(self._exchange.inform, informational(status, headers))

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """Send the head; raises ClientDisconnected."""
        if self._exchange.lost:
            raise ClientDisconnected("the client left")
        if end:
            self.complete = True
            self._bridge.post(self._exchange.respond, head, body, True)
        else:
            self._flow = threading.Condition()
            self._send(len(body), self._exchange.respond, head, body, False)

    def write(self, data: bytes) -> None:
        """Send more; blocks while the client is slow; raises ClientDisconnected."""
        self._send(len(data), self._exchange.write, data)

    def finish(self, data: bytes = b"") -> None:
        """Send the last octets; raises ClientDisconnected."""
        if self._exchange.lost:
            raise ClientDisconnected("the client left")
        self.complete = True
        self._bridge.post(self._exchange.finish, data)

    def _send(self, size: int, function: Callable[..., None], *arguments: Any) -> None:
        flow = self._flow
        if flow is None:  # an application that kept `write` and calls it after its response was complete
            raise ClientDisconnected("the response is complete")
        with flow:
            flow.wait_for(lambda: self._exchange.lost or self._outstanding <= WRITE_AHEAD)
            if self._exchange.lost:
                raise ClientDisconnected("the client left")
            self._outstanding += size
        self._bridge.post(self._on_loop_send, size, function, arguments)

    def _on_loop_send(self, size: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        try:
            function(*arguments)
        except BaseException:
            # A bug of ours, which `Bridge.drain` tells: the thread must not wait for room that nobody will give.
            self._exchange.abort()
            self._on_loop_sent(size)
            raise
        if self._exchange.writable:
            self._on_loop_sent(size)
        else:
            self._held += size
            self._exchange.on_writable = self._on_loop_writable

    def _on_loop_writable(self) -> None:
        size, self._held = self._held, 0
        self._on_loop_sent(size)

    def _on_loop_sent(self, size: int) -> None:
        assert self._flow is not None
        with self._flow:
            self._outstanding -= size
            self._flow.notify()

    def lose(self, exchange: Exchange) -> None:
        """(loop) The client is gone: the thread learns it at its next word, or now if it waits.

        A client that has only sent its last octet may still read: nothing changes for it.
        """
        if exchange.lost and self._flow is not None:
            with self._flow:
                self._flow.notify_all()

    def send_file(self, file: int, offset: int, count: int) -> bool:
        """Send octets of a descriptor by sendfile; False: iterate instead. Raises ClientDisconnected."""
        if self._exchange.lost:
            raise ClientDisconnected("the client left")
        return bool(self._bridge.wait_for(lambda: self._exchange.send_file(file, offset, count)))

    def flush(self) -> None:
        """Nothing is held back here."""

    def abort(self) -> None:
        """Cut the connection."""
        self._bridge.post(self._exchange.abort)

    def disconnected(self) -> bool:
        """True once the client has left."""
        return self._exchange.lost or self._exchange.disconnected

    def wanted(self) -> bool:
        """(thread) False when the client left before the application was called."""
        return not self._exchange.lost

    def settle(self) -> None:
        """(loop) The application has ended: cut a response that is not complete."""
        self._exchange.abort()

    def close(self) -> None:
        """(thread) The application has ended: its input goes."""
        if self._body is not None:
            close_input(self._body)


class ThreadPool:
    """WSGI in `threads` threads."""

    def __init__(
        self, runner: WsgiRunner, threads: int, admission: Admission, body_memory: int, buffering: bool
    ) -> None:
        self._run = runner.run
        self._threads = threads
        self._limit = admission.queue
        self._memory = body_memory
        self._buffering = buffering
        self._room = self._make_room(admission)
        self._crew = Crew(min(threads, admission.concurrency or threads), self._room, self._serve)
        self._tasks = Tasks()
        self._bridge: Bridge
        seconds = admission.run_timeout
        self._watch = None if seconds is None else Watch(seconds, self._crew.running, self._expire)

    def _make_room(self, admission: Admission) -> Room:
        return WaitingRoom(admission.queue_timeout)

    @property
    def ready(self) -> bool:
        """False while a thread is lost that has no spare."""
        return self._crew.full

    async def __aenter__(self) -> Self:
        self._bridge = Bridge(asyncio.get_running_loop())
        await self._tasks.__aenter__()
        forked.watch(self)
        self._crew.start()
        if self._watch is not None:
            self._watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.close()
        await self._tasks.__aexit__(kind, value, trace)
        await self.drain(1.0)
        self._bridge.drain(sys.maxsize)
        if self._watch is not None:
            self._watch.close()
        if left := self._crew.alive:
            _log.error("threads that are still in the application and are left behind: %d", left)

    def forked(self) -> None:
        """See `dispatch.forked`."""
        self._crew.forked()

    async def drain(self, grace: float) -> None:
        """Let the threads end after what they are doing, at most `grace` seconds; lost ones are not waited for."""
        self._crew.stop()
        await asyncio.to_thread(self._crew.join, grace)

    def dispatch(self, exchange: Exchange) -> None:
        """(loop) Take a request; its body is read first unless it is streamed by choice."""
        if exchange.request.complete or not self._buffering:
            self._admit(exchange)
        else:
            self._tasks.spawn(admit_whole(exchange, self._memory, self._admit))

    def _admit(self, exchange: Exchange) -> None:
        """(loop) Let it wait for a thread, or answer 503; those that a free thread is about to take do not count."""
        room = self._room
        if len(room) >= self._limit + self._crew.free:
            room.refuse(exchange)
            return
        room.enter(exchange)
        if len(room) == 1:
            self._crew.expect()

    def _serve(self, exchange: Exchange) -> None:
        """(pool thread) Run one request. From here on the exchange is the thread's."""
        port = ThreadPort(exchange, self._bridge)
        exchange.on_disconnect = port.lose
        try:
            if port.wanted():
                self._run(port)
        except BaseException:  # KeyboardInterrupt raised by an application must not end the thread
            _log.exception("the application ended its thread's request in an unusual way")
            port.abort()
        port.close()
        if not port.complete:
            self._bridge.post(port.settle)

    def _expire(self, exchange: Exchange) -> None:
        """(loop) A request has run too long: give its thread up and end it for its client."""
        self._bridge.drain(sys.maxsize)  # its last words may be on their way
        ident = self._crew.lose(exchange)
        if ident is None:
            return
        assert self._watch is not None
        stack = thread_stack(sys._current_frames().get(ident))
        taken = "its thread is replaced" if self._crew.full else "its thread is lost and no spare is left"
        cut_off(exchange, self._watch.seconds, stack, f"; {taken}")

    def statistics(self) -> dict[str, int]:
        """Threads, requests that run, wait, and were refused; threads that were given up and are not back."""
        return {
            "threads": self._threads,
            "running": self._crew.busy,
            "waiting": len(self._room),
            "refused": self._room.refused,
            "lost": self._crew.lost,
        }
