"""One connection: it moves octets between a transport and a session, and keeps one timer.

All of it runs on the loop. The timer is armed lazily: it is moved only when the next deadline is earlier than the one
it waits for, and looks at the deadlines again when it fires. Writing has its own deadline, pushed on by progress.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from math import inf
from typing import cast

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.net.client import LOOK, look_for_end, untaken, waits
from bridgeserve.net.engine import CATCH_UP, HELD_UP, Engine, close_copy, close_with_reset
from bridgeserve.net.exchange import Exchange
from bridgeserve.wire import cycle
from bridgeserve.wire.events import BodyChunk, Event, Expired, Refused, Request

_log = logging.getLogger("bridgeserve.wire")
_errors = logging.getLogger("bridgeserve.error")
READ_AHEAD = 65536  # octets that may wait unread in front of a busy session, or unread by the application
BURST = 16  # requests of one connection that are begun in one turn of the loop


class Connection(asyncio.Protocol):
    """The asyncio side of a session.

    :param endpoint: facts for the requests on it.
    :param direct: the transport passes octets on as they are, so that its socket may be written past it.
    """

    __slots__ = (
        "_advancing",
        "_closing",
        "_direct",
        "_endpoint",
        "_exchange",
        "_reading",
        "_timer",
        "_timer_at",
        "_unsent_most",
        "_writable",
        "_write_deadline",
        "engine",
        "session",
        "transport",
    )

    def __init__(self, engine: Engine, endpoint: Endpoint, direct: bool = False) -> None:
        self.engine = engine
        self._direct = 0 if direct else -1  # the descriptor, once it is known
        self._endpoint = endpoint
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._write_deadline = inf
        self._unsent_most = 0  # octets that may be left at the write deadline
        self._writable = True
        self._reading = True
        self._advancing = False
        self._closing = False
        self.transport: asyncio.Transport
        self.session = engine.protocols.session(engine.loop.time())

    # --- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self.transport = cast(asyncio.Transport, transport)
        if self._direct == 0:
            self._direct = transport.get_extra_info("socket").fileno()
        self._arm(self.session.deadline)
        self.engine.opened(self)

    def data_received(self, data: bytes) -> None:
        """Octets from the peer."""
        self.session.receive_data(data)
        self._advance(self.engine.now())

    def eof_received(self) -> bool:
        """The peer has sent its last octet; it may still read (RFC 9112 section 9.6)."""
        self.session.receive_eof()
        self._advance(self.engine.now())
        if self._exchange is not None:
            self._exchange.leave(lost=False)
        return True

    def pause_writing(self) -> None:
        """The transport is above its high-water mark: the client does not keep up."""
        self._writable = False
        self._watch_writing()
        if self._exchange is not None:
            self._exchange.writable = False

    def resume_writing(self) -> None:
        """The transport is below its low-water mark."""
        self._writable = True
        if not self._closing:
            self._write_deadline = inf
        if self._exchange is not None:
            self._exchange.resume()
        if self.session.pending or self.session.eof:
            self.engine.loop.call_soon(self.advance)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._closing = True
        self._writable = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self.engine.ended(exchange, True)
            exchange.leave(lost=True)
        self.engine.closed(self)

    # --- events of the session -----------------------------------------------------------------

    def advance(self) -> None:
        """Go on with what was received."""
        if not self._closing:
            self._advance(self.engine.now())

    def _advance(self, now: float) -> None:
        if self._advancing:
            return  # an exchange has ended inside the loop below, which goes on by itself
        self._advancing = True
        session = self.session
        begun = 0
        try:
            while self._writable or session.state is not cycle.IDLE:
                event = session.next_event(now)
                if event is None:
                    if session.eof and self._exchange is None and not self._closing:
                        self._shut()  # all that it sent is answered
                    break
                if event.__class__ is Request:
                    self._begin(event, now)
                    if not session.pending:
                        break
                    begun += 1
                    if begun == BURST:
                        self.engine.loop.call_soon(self.advance)
                        break
                else:
                    self._handle(event, now)
        finally:
            self._advancing = False
        if session.deadline < self._timer_at and not self._closing:
            self._arm(session.deadline)
        if not self._reading:
            self.resume_reading()
        elif session.pending and session.unread > READ_AHEAD and session.state is not cycle.HEAD:
            self._pause_reading()

    def _begin(self, request: Request, now: float) -> None:
        engine = self.engine
        engine.requests += 1
        # The loop's clock ticks in milliseconds; a record wants better, and costs only who listens.
        started = time.monotonic() if engine.sinks else now
        self._exchange = exchange = engine.exchange(self, request, self._endpoint, started)
        exchange.writable = self._writable
        if self.session.eof:
            exchange.disconnected = True
        if request.claims and not engine.proxies.admit(exchange):
            return
        if not request.usual:
            if request.expect_continue:
                self.session.reading(False, now)  # the peer waits for us: it is not slow
            if request.upgrade and engine.upgrades is not None and engine.upgrades.take(exchange):
                return
        engine.dispatcher.dispatch(exchange)

    def _handle(self, event: Event, now: float) -> None:
        exchange = self._exchange
        if event.__class__ is BodyChunk:
            if exchange is not None and exchange.feed(event.data) > READ_AHEAD:
                self._pause_reading()
                self.session.reading(False, now)
        elif isinstance(event, Refused):
            _log.debug("refused with %d: %s", event.status, event.reason)
            self._refused(event)
        elif isinstance(event, Expired):
            _log.debug("closed: %s", event.reason)
            self._shut()
        elif exchange is not None:
            exchange.feed_end()
        else:
            self._recycle(now)

    def _refused(self, event: Refused) -> None:
        exchange = self._exchange
        if self.session.state is not cycle.LINGER:  # the answer had begun: only a cut can tell the client
            assert exchange is not None
            exchange.lost = True  # what the application still says reaches nobody
            self.cut(reset=True)  # a clean end would look like a whole answer of HTTP/1.0
            return
        self._exchange = None
        if event.payload:
            self.transport.write(event.payload)
        if exchange is not None:
            exchange.status = event.status
            self.engine.ended(exchange, True)
            exchange.leave(lost=True)
        self._half_close()

    # --- the exchange --------------------------------------------------------------------------

    def ended(self, exchange: Exchange, now: float) -> None:
        """The response of the exchange is complete."""
        self._exchange = None
        if self.engine.sinks:
            self.engine.ended(exchange, False)
        if self.session.fault:
            _errors.error("%s: %r", self.session.fault, exchange.request)
            self.session.fault = ""
        self._recycle(now)

    def owns(self, exchange: Exchange) -> bool:
        """True while the exchange is the one in progress."""
        return self._exchange is exchange

    def send(self, buffers: list[bytes]) -> None:
        """Write; straight to the socket while nothing waits before it.

        Measured on small answers: 0.9 of the cost of `transport.write` alone. What is pipelined goes through the
        transport, which joins the answers of one turn of the loop.
        """
        transport = self.transport
        if self._direct >= 0 and not self.session.pending and not transport.get_write_buffer_size():
            if transport.is_closing():
                return
            try:
                sent = os.write(self._direct, buffers[0]) if len(buffers) == 1 else os.writev(self._direct, buffers)
            except OSError:
                sent = 0  # it is full, or broken: the transport will find out
            if sent == len(buffers[0]) and len(buffers) == 1:
                return
            rest = b"".join(buffers)[sent:]
            if rest:
                transport.write(rest)
        elif len(buffers) == 1:
            transport.write(buffers[0])
        elif self.engine.gathers:
            transport.writelines(buffers)
        else:
            transport.write(b"".join(buffers))

    def want_body(self) -> None:
        """The application reads the body: send the 100 that the peer may wait for."""
        if payload := self.session.want_body():
            self.transport.write(payload)
        if self.session.deadline == inf and self._reading:  # it waited for us until now
            self._listen()

    def _recycle(self, now: float) -> None:
        session = self.session
        more = session.recycle(now)
        if more is False or (session.eof and not session.pending):
            self._shut()
            return
        if not self._reading:
            self.resume_reading()
        if session.pending and not self._advancing:
            self.engine.loop.call_soon(self.advance)
        if session.deadline < self._timer_at:
            self._arm(session.deadline)

    def resume_reading(self) -> None:
        """Read from the socket again, unless too much waits: of the body, or of what the client has sent behind it."""
        session = self.session
        if self._reading or self._closing or (session.unread > READ_AHEAD and session.state is not cycle.HEAD):
            return  # a head has a limit of its own, and needs the rest of it
        if self._exchange is None or self._exchange.unread <= READ_AHEAD:
            self._reading = True
            self.transport.resume_reading()
            self._listen()

    def _listen(self) -> None:
        """The peer's pace counts from now."""
        self.session.reading(True, self.engine.loop.time())
        self._arm(self.session.deadline)

    def _pause_reading(self) -> None:
        if self._reading and not self._closing:
            self._reading = False
            self.transport.pause_reading()
            self._arm(self.engine.loop.time() + LOOK)

    def switch(self) -> tuple[int, bytes]:
        """Leave the transport to another protocol: the descriptor for direct writes, -1 for none, and octets read."""
        rest = self.session.switch()
        self._exchange = None
        self.resume_reading()
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        return self._direct, rest

    # --- the end -------------------------------------------------------------------------------

    def drain(self, quiet: float) -> None:
        """Close as soon as nothing is lost by it."""
        self.session.begin_drain(self.engine.loop.time(), quiet)
        self._arm(self.session.deadline)

    def _shut(self) -> None:
        """Close after what was written; linger where the peer may still be sending (RFC 9112 section 9.6)."""
        self._half_close(not (self.session.unread or self.session.state.peer == "BODY"))

    def _half_close(self, quiet: bool = False) -> None:
        self.session.linger(self.engine.loop.time())  # what is pipelined behind the close is never begun
        if quiet or self.session.eof:
            self._close()
            return
        self.resume_reading()
        self._watch_writing()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self._arm(self.session.deadline)

    def _close(self) -> None:
        self._closing = True
        if self.transport.get_write_buffer_size():
            self._watch_writing()
        self.transport.close()

    def cut(self, reset: bool) -> None:
        """End a response that is not whole; `reset` where a clean end would look like a whole one."""
        if reset:
            close_with_reset(self.transport)
            self.abort()
        else:
            self._close()

    def abort(self) -> None:
        """Drop the connection and what it has not sent."""
        self._closing = True
        self.transport.abort()

    def forked(self) -> None:
        """See `Open`."""
        close_copy(self.transport)
        if self._exchange is not None:
            self._exchange.lost = True

    # --- time ----------------------------------------------------------------------------------

    def _arm(self, at: float) -> None:
        """Let the timer fire at `at`, unless it does so before."""
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self.engine.loop.call_at(at, self._on_timer)

    def wrote_ahead(self, octets: int) -> None:
        """More was written while the client does not keep up: that is no sign that it reads nothing."""
        self._unsent_most += octets

    def _watch_writing(self) -> None:
        timeouts = self.engine.protocols.timeouts
        self._unsent_most = max(untaken(self.transport) - timeouts.least_read, 0)
        self._write_deadline = self.engine.loop.time() + timeouts.write
        self._arm(self._write_deadline)

    def _on_timer(self) -> None:
        now = self.engine.now()
        if -inf < self._timer_at and (self._timer_at < now - HELD_UP or waits(self.transport)):  # read it first, once
            self._timer_at = inf
            self._arm(now + CATCH_UP)
            self._timer_at = -inf
            return
        self._timer, self._timer_at = None, inf
        if self._write_deadline <= now:
            unsent = self.transport.get_write_buffer_size()
            if unsent and untaken(self.transport) > self._unsent_most:
                _log.debug("closed: the client does not read, or too slowly")
                self.cut(reset=True)  # a plain close leaves what is unsent to the system, as long as the client likes
                return
            self._write_deadline = inf
            if unsent:
                self._watch_writing()
        session = self.session
        if session.deadline <= now and not self._closing:
            if (event := session.handle_deadline(now)) is not None:
                self._handle(event, now)
            if session.state is cycle.LINGER and session.deadline <= now:
                self._close()
        if not self._reading and not self._closing:
            look_for_end(self.transport, self._exchange)
            self._arm(now + LOOK)
        self._arm(min(self._write_deadline, inf if self._closing else session.deadline))
