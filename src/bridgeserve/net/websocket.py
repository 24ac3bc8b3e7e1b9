"""One WebSocket: it moves octets between a transport and its session, as `net.connection` does for HTTP.

It takes the transport over when the application accepts. Everything runs on the loop. The timer is armed lazily
as in `net.connection`. Messages wait in a queue until the application takes them; when it is
full, frames are no longer read, and when octets pile up behind it, neither is the socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from math import inf

from bridgeserve.dispatch.asgi import MESSAGE_COST, STREAK_MAX
from bridgeserve.dispatch.base import ClientDisconnected
from bridgeserve.dispatch.websocket import WebSocketClosed
from bridgeserve.net.client import untaken
from bridgeserve.net.engine import CATCH_UP, HELD_UP, Begun, Engine, close_copy
from bridgeserve.wire import websocket
from bridgeserve.wire.websocket import Closing, WebSocketSession

_log = logging.getLogger("bridgeserve.wire")
QUEUE = 16  # messages that wait for the application
QUEUE_OCTETS = 131072  # their size; at least one message waits whatever its size
READ_AHEAD = 65536  # octets that may wait unread while others have their turn
LINGER = 2.0  # seconds that a client gets to read our close frame before the connection is closed


class WebSocketConnection(asyncio.Protocol):
    """The asyncio side of a WebSocket session; `dispatch.websocket.Live` for the application.

    :param begun: the request, its endpoint and the time of its head, for the record at the end.
    :param descriptor: of the socket where it may be written past the transport, else -1.
    """

    __slots__ = (
        "_begun",
        "_descriptor",
        "_end",
        "_engine",
        "_finishing",
        "_going",
        "_queue",
        "_queued",
        "_reading",
        "_sent",
        "_session",
        "_streak",
        "_timer",
        "_timer_at",
        "_transport",
        "_unsent",
        "_waiters",
        "_writable",
        "_write_deadline",
        "_write_waiters",
    )

    def __init__(
        self,
        engine: Engine,
        begun: Begun,
        transport: asyncio.Transport,
        descriptor: int,
        session: WebSocketSession,
    ) -> None:
        self._engine = engine
        self._begun = begun
        self._transport = transport
        self._descriptor = descriptor
        self._session = session
        self._queue: deque[str | bytes] = deque()
        self._queued = 0
        self._end: Closing | None = None  # behind what is in the queue
        self._waiters: list[asyncio.Future[None]] = []
        self._write_waiters: list[asyncio.Future[None]] = []
        self._going = False  # `_go_on` will be called
        self._reading = True
        self._writable = True
        self._finishing = False
        self._sent = 0
        self._unsent = 0
        self._streak = 0
        self._write_deadline = inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._arm()

    # --- asyncio.Protocol ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Octets from the peer."""
        if not self._finishing:
            now = self._engine.loop.time()
            self._session.receive_data(data, now)
            self._advance(now)

    def eof_received(self) -> bool:
        """The peer has sent its last octet: RFC 6455 knows no half-closed connection."""
        self._session.receive_eof()
        if self._finishing:
            self._transport.close()
        else:
            self._advance(self._engine.loop.time())
        return True

    def pause_writing(self) -> None:
        """The transport is above its high-water mark: the client does not keep up."""
        self._writable = False
        self._session.mute = True
        self._watch_writing()

    def resume_writing(self) -> None:
        """The transport is below its low-water mark."""
        self._writable = True
        self._session.mute = False
        if not self._finishing:
            self._write_deadline = inf
        self._flush()
        _wake(self._write_waiters)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._finishing = True
        closing = self._session.lost(self._engine.loop.time())
        if closing is not None:
            self._put_end(closing)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _wake(self._write_waiters)
        if self._engine.sinks:
            cut = self._end is not None and self._end.code == websocket.ABNORMAL
            self._engine.report(self._begun, 101, [], self._sent, cut)
        self._engine.closed(self)

    # --- what comes ----------------------------------------------------------------------------

    def begin(self, rest: bytes) -> None:
        """Go on with what came behind the handshake."""
        if rest:
            self.data_received(rest)

    def _advance(self, now: float) -> None:
        """Read frames while there is room for their messages."""
        session = self._session
        while (len(self._queue) < QUEUE and self._queued < QUEUE_OCTETS) or session.state.ours == "CLOSED":
            event = session.next_event(now)
            if event is None:
                if session.more:
                    self._later()
                break
            if isinstance(event, Closing):
                self._put_end(event)
                break
            self._queue.append(event)
            self._queued += len(event)
            _wake(self._waiters)
        else:
            self._pause()
        self._after()

    def _later(self) -> None:
        """Others have their turn first; what the client sends meanwhile has its bound too."""
        if self._session.unread > READ_AHEAD:
            self._pause()
        if not self._going:
            self._going = True
            self._engine.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going = False
        if self._finishing:
            return
        if self._reading:
            self._advance(self._engine.loop.time())
        else:
            self._resume()

    def _after(self) -> None:
        """Write what the session has to say, and see what it has become."""
        session = self._session
        self._flush()
        if session.state is websocket.CLOSED and not self._finishing:
            self._finish()
        elif session.deadline < self._timer_at:
            self._arm()

    def _put_end(self, closing: Closing) -> None:
        if self._end is None:
            self._end = closing
            _log.debug("websocket ended: %d %s", closing.code, closing.reason if closing.code == 1006 else "")
        _wake(self._waiters)
        _wake(self._write_waiters)

    def _pause(self) -> None:
        if self._reading and not self._finishing:
            self._reading = False
            self._transport.pause_reading()
            self._session.reading(False, self._engine.loop.time())

    def _resume(self) -> None:
        """Read on: there is room in the queue again, or nobody takes messages any more."""
        if self._finishing:
            return
        now = self._engine.loop.time()
        self._reading = True
        self._transport.resume_reading()  # before what waits is read, which may pause it again or be the end
        self._session.reading(True, now)
        self._advance(now)

    # --- the application -----------------------------------------------------------------------

    def next_message(self) -> str | bytes | None:
        """A message that is there already, or None."""
        if not self._queue:
            return None
        data = self._queue.popleft()
        self._queued -= len(data)
        if not self._reading and len(self._queue) <= QUEUE // 2 and self._queued < QUEUE_OCTETS:
            self._resume()
        return data

    async def receive(self) -> str | bytes:
        """The next message; raises WebSocketClosed."""
        while True:
            data = self.next_message()
            if data is not None:
                return data
            if self._end is not None:
                self._session.answer_close(self._engine.loop.time())
                self._after()
                raise WebSocketClosed(self._end.code, self._end.reason)
            await self._wait(self._waiters)

    async def send(self, data: str | bytes) -> None:
        """Send a message; returns when the client can take more. Raises ClientDisconnected."""
        session = self._session
        if not session.state.can_reply or self._transport.is_closing():
            raise ClientDisconnected("the client left, or the WebSocket is closed")
        buffers = session.text(data) if isinstance(data, str) else session.octets(data)
        self._write(buffers)
        self._streak += len(data) + MESSAGE_COST
        if self._streak > STREAK_MAX:  # see `dispatch.asgi`: the loop has to turn
            self._streak = 0
            await asyncio.sleep(0)
        while not self._writable:
            await self._wait(self._write_waiters)
            if self._finishing:
                raise ClientDisconnected("the client left")

    async def _wait(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter = self._engine.loop.create_future()
        waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in waiters:
                waiters.remove(waiter)

    def close(self, code: int, reason: str) -> None:
        """Close; raises ValueError for what a close frame may not hold. Nothing happens on a closed one."""
        self._session.close(code, reason, self._engine.loop.time())
        if not self._finishing:
            if not self._reading:
                self._resume()
            self._after()

    # --- writing -------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._writable or self._session.state.ours == "CLOSED":
            data = self._session.data_to_send()
            if data:
                self._write([data])

    def _write(self, buffers: list[bytes]) -> None:
        """Write; straight to the socket while nothing waits before it, as `net.connection` does."""
        transport = self._transport
        for data in buffers:
            self._sent += len(data)
        if transport.is_closing():
            return
        if self._descriptor >= 0 and not transport.get_write_buffer_size():
            try:
                if len(buffers) == 1:
                    sent = os.write(self._descriptor, buffers[0])
                    if sent == len(buffers[0]):
                        return
                else:
                    sent = os.writev(self._descriptor, buffers)
            except OSError:
                sent = 0  # it is full, or broken: the transport will find out
            rest = b"".join(buffers)[sent:]
            if rest:
                transport.write(rest)
            return
        if not self._writable:
            self._unsent += sum(map(len, buffers))
        if len(buffers) == 1:
            transport.write(buffers[0])
        elif self._engine.gathers:
            transport.writelines(buffers)
        else:
            transport.write(b"".join(buffers))

    # --- the end -------------------------------------------------------------------------------

    def drain(self, quiet: float) -> None:
        """Close with 1012: another process, or this one again, will serve the client (RFC 6455 section 7.4)."""
        if self._session.state is websocket.OPEN:
            self._put_end(Closing(websocket.RESTART, "the server stops"))
        self.close(websocket.RESTART, "")

    def _finish(self) -> None:
        """Both sides have closed: the server ends the connection (RFC 6455 section 7.1.1).

        What the client still sends is read for a moment, so that it gets our close frame and not a reset.
        """
        self._finishing = True
        transport = self._transport
        _wake(self._write_waiters)
        if transport.is_closing():
            return
        self._write_deadline = self._engine.loop.time() + LINGER
        if self._session.eof or not transport.can_write_eof():
            transport.close()
        else:
            if not self._reading:
                self._reading = True
                transport.resume_reading()
            transport.write_eof()
        self._arm()

    def abort(self) -> None:
        """Drop the connection and what it has not sent."""
        self._finishing = True
        self._transport.abort()

    def forked(self) -> None:
        """See `Open`."""
        close_copy(self._transport)
        self._descriptor = -1

    # --- time ----------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Let the timer fire at the earliest deadline, if that is earlier than it would."""
        at = min(self._write_deadline, inf if self._finishing else self._session.deadline)
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._engine.loop.call_at(at, self._on_timer)

    def _watch_writing(self) -> None:
        self._unsent = untaken(self._transport)
        self._write_deadline = self._engine.loop.time() + self._engine.protocols.timeouts.write
        self._arm()

    def _on_timer(self) -> None:
        now = self._engine.now()
        if -inf < self._timer_at < now - HELD_UP:  # what has come meanwhile is read first, once: it was in time
            self._timer = self._engine.loop.call_at(now + CATCH_UP, self._on_timer)
            self._timer_at = -inf
            return
        self._timer = None
        self._timer_at = inf
        if self._write_deadline <= now:
            unsent = self._transport.get_write_buffer_size()
            if self._finishing or (unsent and untaken(self._transport) >= self._unsent):
                self.abort()
                return
            self._write_deadline = inf
            if unsent:
                self._watch_writing()
        session = self._session
        if session.deadline <= now and not self._finishing:
            closing = session.handle_deadline(now)
            if closing is not None:
                self._put_end(closing)
            self._after()
        self._arm()


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
    waiters.clear()
