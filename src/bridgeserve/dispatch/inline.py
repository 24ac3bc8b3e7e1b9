"""Inline mode: the application runs on the loop. ASGI as one task a request, WSGI called directly."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
from asyncio import _set_running_loop
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar, cast

from bridgeserve.dispatch.admission import Gatekeeper
from bridgeserve.dispatch.asgi import AsgiCycle, AsgiRunner
from bridgeserve.dispatch.base import ClientDisconnected, Endpoint, Exchange, drop_spool
from bridgeserve.dispatch.body import admit_whole
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.dispatch.watch import Watch, cut_off, task_stack
from bridgeserve.dispatch.websocket import WebSocket, WebSocketRunner
from bridgeserve.dispatch.wsgi import WsgiCall, WsgiRunner
from bridgeserve.groups import Admission
from bridgeserve.wire.events import Request
from bridgeserve.wire.framing import ResponseHead, informational

_log = logging.getLogger("bridgeserve.error")
Result = TypeVar("Result")


class InlineAsgi:
    """ASGI: one task for each request."""

    ready = True

    def __init__(self, runner: AsgiRunner, admission: Admission) -> None:
        self._runner = runner
        self._sockets = WebSocketRunner(runner)
        self._tasks = Tasks()
        seconds = admission.run_timeout
        self._watch = None if seconds is None else Watch(seconds, self._running, self._expire)
        self._timed: dict[asyncio.Task[None], tuple[Exchange, AsgiCycle, float]] = {}  # what the watch looks at
        self._gate = self._make_gate(admission, self._start if seconds is None else self._start_timed)
        # Without a limit nothing can wait: the gate is left out of the path.
        limited = admission.concurrency is not None or seconds is not None
        self.dispatch = self._gate.admit if limited else self._direct

    def _make_gate(self, admission: Admission, start: Callable[[Exchange], None]) -> Gatekeeper:
        return Gatekeeper(admission, start)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        if self._watch is not None:
            self._watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.close()
        if self._watch is not None:
            self._watch.close()
        await self._tasks.__aexit__(kind, value, trace)

    async def drain(self, grace: float) -> None:
        """Wait for the tasks, at most `grace` seconds."""
        await self._tasks.drain(grace)

    def _direct(self, exchange: Exchange) -> None:
        self._tasks.start(self._runner.run(exchange, self._tasks.ended))

    def _start(self, exchange: Exchange) -> None:
        self._tasks.start(self._runner.run(exchange, self._release))

    def _release(self) -> None:
        self._tasks.ended()
        self._gate.release()

    def _start_timed(self, exchange: Exchange) -> None:
        cycle = AsgiCycle(exchange)
        task = self._tasks.start(self._runner.run(exchange, self._release_of(exchange), cycle))
        self._timed[task] = (exchange, cycle, asyncio.get_running_loop().time())

    def _release_of(self, exchange: Exchange) -> Callable[[], None]:
        return self._release_timed

    def _release_timed(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._timed.pop(task, None)
        self._release()

    def _running(self) -> list[tuple[asyncio.Task[None], float]]:
        """What has not completed its response; what an application does afterwards may take its time."""
        return [(task, began) for task, (_, cycle, began) in self._timed.items() if not cycle.complete]

    def _expire(self, task: asyncio.Task[None]) -> None:
        """A request has run too long: its client first, since the application may swallow its cancellation."""
        assert self._watch is not None
        if inspect.getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro())) == inspect.CORO_CREATED:
            # The loop was held up before the first step. Cancelled now, it would never say that it has ended;
            # the next look finds it again.
            return
        exchange, _, _ = self._timed.pop(task)
        cut_off(exchange, self._watch.seconds, task_stack(task), "; its task is cancelled")
        task.cancel()

    def connect(self, socket: WebSocket) -> None:
        """Call the application for a WebSocket. It does not count as a request: it may last for days."""
        self._tasks.start(self._sockets.run(socket, self._tasks.ended))

    def statistics(self) -> dict[str, int]:
        """Requests that run, wait, and were refused."""
        return {
            "running": len(self._tasks),
            "waiting": len(self._gate.room),
            "refused": self._gate.room.refused,
        }


class InlinePort:
    """The port of an application that runs on the loop: nothing blocks, so the steps are paced by the caller.

    PEP 3333's `write()` cannot wait here; what it leaves unsent is bounded by BACKLOG_MAX, above it the
    connection is cut.
    """

    __slots__ = ("_body", "_exchange", "_unpaced", "endpoint", "request")

    BACKLOG_MAX = 16 << 20

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._body = exchange.spool
        self._unpaced = 0
        self.request: Request = exchange.request
        self.endpoint: Endpoint = exchange.endpoint

    def body(self) -> BinaryIO:
        """The request body as a file."""
        if self._body is None:
            self._body = io.BytesIO(self.request.body)
        return self._body

    def inform(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send an interim response."""
        self._exchange.inform(informational(status, headers))

    def respond(self, head: ResponseHead, body: bytes, end: bool) -> None:
        """Send the head; raises ClientDisconnected."""
        self._check(len(body))
        self._exchange.respond(head, body, end)

    def write(self, data: bytes) -> None:
        """Send more; raises ClientDisconnected."""
        self._check(len(data))
        self._exchange.write(data)

    def finish(self, data: bytes = b"") -> None:
        """Send the last octets; raises ClientDisconnected."""
        self._check(len(data))
        self._exchange.finish(data)

    def _check(self, size: int) -> None:
        if self._exchange.lost:
            raise ClientDisconnected("the client left")
        self._unpaced = 0 if self._exchange.writable else self._unpaced + size
        if self._unpaced > self.BACKLOG_MAX:
            self._exchange.abort()
            raise ClientDisconnected("the client does not read and write() cannot wait in inline mode")

    def send_file(self, file: int, offset: int, count: int) -> bool:
        """Not from the loop: the runner iterates instead."""
        return False

    def flush(self) -> None:
        """Nothing is held back here."""

    def abort(self) -> None:
        """Cut the connection."""
        self._exchange.abort()

    def disconnected(self) -> bool:
        """True once the client has left."""
        return self._exchange.disconnected


class InlineWsgi:
    """WSGI called on the loop, one at a time: for small applications and development."""

    ready = True

    def __init__(self, runner: WsgiRunner, admission: Admission, body_memory: int) -> None:
        self._runner = runner
        self._memory = body_memory
        self._tasks = Tasks()
        seconds = admission.run_timeout
        self._watch = None if seconds is None else Watch(seconds, self._streams, self._expire)
        self._timed: dict[Exchange, float] = {}  # the streams that the watch looks at, and since when they run
        self._gate = self._make_gate(admission)
        self._loop: asyncio.AbstractEventLoop

    def _make_gate(self, admission: Admission) -> Gatekeeper:
        return Gatekeeper(admission, self._start)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._tasks.__aenter__()
        if self._watch is not None:
            self._watch.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.close()
        if self._watch is not None:
            self._watch.close()
        await self._tasks.__aexit__(kind, value, trace)

    async def drain(self, grace: float) -> None:
        """Wait for the tasks, at most `grace` seconds."""
        await self._tasks.drain(grace)

    def dispatch(self, exchange: Exchange) -> None:
        """Call the application, after the body is complete."""
        if exchange.request.complete:
            self._gate.admit(exchange)
        else:
            self._tasks.spawn(admit_whole(exchange, self._memory, self._gate.admit))

    def _start(self, exchange: Exchange) -> None:
        call = self._runner.begin(InlinePort(exchange))
        began = 0.0 if self._watch is None else self._loop.time()
        if self._out_of_the_loop(call.step):
            if self._watch is not None:
                self._timed[exchange] = began
            self._tasks.spawn(self._rest(exchange, call))
        else:
            self._end(exchange)

    async def _rest(self, exchange: Exchange, call: WsgiCall) -> None:
        """The remaining steps of a streamed response, each when the client can take it."""
        try:
            more = True
            while more:
                await asyncio.sleep(0)  # others have their turn between two chunks
                await exchange.drain()
                more = self._out_of_the_loop(call.step)
        except ClientDisconnected:
            pass
        finally:
            self._out_of_the_loop(call.end)  # closes the application's iterable
            self._end(exchange)

    def _streams(self) -> list[tuple[Exchange, float]]:
        return list(self._timed.items())

    def _expire(self, exchange: Exchange) -> None:
        """A stream has run too long; the application is between two chunks. A call that does not return cannot be
        ended: it holds the loop, and this with it.
        """
        assert self._watch is not None
        del self._timed[exchange]
        cut_off(exchange, self._watch.seconds)  # `_rest` learns of it before its next step

    def _end(self, exchange: Exchange) -> None:
        self._timed.pop(exchange, None)
        drop_spool(exchange)
        exchange.abort()  # only where the application left its response incomplete
        self._gate.release()

    def _out_of_the_loop(self, call: Callable[[], Result]) -> Result:
        """Call code of a WSGI application.

        It is synchronous and must not find the loop that it runs on: Django refuses its ORM where one runs,
        `asyncio.run` refuses to start. So the loop is out of sight meanwhile. (Each look at the running loop is a
        system call, getpid; so it is not looked at here.)
        """
        _set_running_loop(None)
        try:
            return call()
        finally:
            _set_running_loop(self._loop)

    def statistics(self) -> dict[str, int]:
        """Requests that run, wait, and were refused."""
        gate = self._gate
        return {"running": gate.running, "waiting": len(gate.room), "refused": gate.room.refused}
