"""One request in the hands of a child, seen from the engine. All of it runs on the loop.

What the child says is brought to the exchange; credit goes back as the client takes octets; the body goes over
when it is asked for. A child that breaks the order of frames (`wire.ipc.ORDER`) or its credit raises, and its owner
replaces it.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable

from bridgeserve.dispatch.base import ClientDisconnected, Exchange, answer, drop_spool
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.wire import ipc

_log = logging.getLogger("bridgeserve.error")

Say = Callable[[int, int, bytes], None]


class Call:
    """:param number: of this call among those of its child.
    :param say: sends the child a frame.
    :param files: receives the descriptor that the child has sent; raises OSError when it has sent none.
    """

    __slots__ = (
        "_closing",
        "_files",
        "_owed",
        "_reading",
        "_say",
        "_sending",
        "_tasks",
        "_under_way",
        "_withdraw",
        "began",
        "exchange",
        "number",
        "state",
    )

    def __init__(
        self, exchange: Exchange, number: int, began: float, say: Say, files: Callable[[], int], tasks: Tasks
    ) -> None:
        self.exchange = exchange
        self.number = number
        self.began = exchange.began = began
        self.state = "asked"
        self._say = say
        self._files = files
        self._tasks = tasks
        self._owed = 0  # octets that went out, whose credit has not been given back
        self._under_way = 0  # octets that the child has sent and has no credit for again
        self._reading = False
        self._sending = False  # a file goes out
        self._closing = False  # ... and the response ends after it

    @property
    def begun(self) -> bool:
        """True when the client has seen some of the response."""
        return self.exchange.responded

    def wait(self, withdraw: Callable[[Call], bool]) -> None:
        """It waits behind another one until `begin`; `withdraw` gives it back unless it has begun after all."""
        self.state = "waiting"
        self._withdraw = withdraw

    def begin(self, now: float) -> None:
        """The one in front of it has ended."""
        self.began = self.exchange.began = now
        self.state = "asked"

    def leave(self, exchange: Exchange) -> None:
        """The client has sent its last octet, or is gone."""
        if self.state == "waiting" and exchange.lost and self._withdraw(self):
            exchange.on_disconnect = None
            drop_spool(exchange)
            exchange.abort()
        elif self.state != "free":
            self._say(ipc.GONE, self.number, b"\1" if exchange.lost else b"\0")

    def take(self, kind: int, payload: bytes) -> None:
        """A frame of the child.

        :raises IpcError, CycleError: one that it may not send.
        """
        self.state = ipc.step(self.state, kind)
        exchange = self.exchange
        if kind == ipc.ANSWER:
            head, end, body = ipc.unpack_head(payload)
            if not end:
                raise ipc.IpcError("an answer that is not whole")
            exchange.respond(head, body, True)
            drop_spool(exchange)
        elif kind == ipc.HEAD:
            head, end, body = ipc.unpack_head(payload)
            if end:
                self.state = ipc.step(self.state, ipc.END)
            exchange.respond(head, body, end)
            if body and not end:
                self._under_way += len(body)
                self._flow(len(body))
        elif kind == ipc.DATA:
            self._under_way += len(payload)
            if self._under_way > ipc.WINDOW or self._sending:
                raise ipc.IpcError("more than its credit")
            exchange.write(payload)
            self._flow(len(payload))
        elif kind == ipc.END:
            if self._sending:
                self._closing = True
            else:
                exchange.finish()
        elif kind == ipc.FILE:
            if self._sending:
                raise ipc.IpcError("a second file beside the first")
            offset, count = ipc.unpack_file(payload)  # first: a descriptor that was taken has to be closed
            descriptor = self._files()
            self._sending = True
            self._tasks.spawn(self._send_file(descriptor, offset, count))
        elif kind == ipc.INFORM:
            exchange.inform(ipc.read_interim(payload))
        elif kind == ipc.WANT:
            if self._reading:
                raise ipc.IpcError("a second wish for the body")
            self._reading = True
            self._tasks.spawn(self._read())
        elif kind == ipc.ABORT:
            exchange.abort()
        elif kind == ipc.DONE:
            self._done()

    def _done(self) -> None:
        drop_spool(self.exchange)
        if not self._sending:
            self.exchange.abort()  # only where the response is not complete

    # --- the response body ---------------------------------------------------------------------

    def _flow(self, octets: int) -> None:
        """So many octets were written: give their credit back, now or when the client has taken them."""
        self._owed += octets
        if not self.exchange.writable:
            self.exchange.on_writable = self._give_back
        elif self._owed >= ipc.WINDOW // 4:
            self._give_back()

    def _give_back(self) -> None:
        owed, self._owed = self._owed, 0
        self._under_way -= owed
        if self.state == "answering":
            self._say(ipc.CREDIT, self.number, ipc.number(owed))

    async def _send_file(self, descriptor: int, offset: int, count: int) -> None:
        """Send a file that the child has handed over; the child may be busy with another request meanwhile."""
        exchange = self.exchange
        whole = False
        try:
            if not await exchange.send_file(descriptor, offset, count):
                await self._read_file(descriptor, offset, count)
            whole = True
        except ClientDisconnected:
            _log.debug("the client left while a file was sent")
        except OSError as error:
            _log.error("a file cannot be read: %s", error)
        finally:
            self._sending = False
            os.close(descriptor)
            if whole and self._closing:
                exchange.finish()
            elif not whole or self.state in ("over", "free"):
                exchange.abort()  # only where the response is not complete

    async def _read_file(self, descriptor: int, offset: int, count: int) -> None:
        """The file by reading it, where the socket cannot be written past the transport."""
        while count > 0:
            data = os.pread(descriptor, min(count, ipc.PIECE), offset)
            if not data:
                return  # shorter than it was: the response will be cut
            self.exchange.write(data)
            offset += len(data)
            count -= len(data)
            await self.exchange.drain()

    # --- the request body ----------------------------------------------------------------------

    async def _read(self) -> None:
        """The child asks for the next piece of the body."""
        exchange = self.exchange
        try:
            if isinstance(exchange.spool, io.BytesIO):
                data = exchange.spool.read(ipc.PIECE)
            else:
                data = await exchange.read()
        except ClientDisconnected:
            return  # it was told by GONE
        self._reading = False
        # One frame for one wish: the child could not tell what is left of an answer from the next one. What an exchange
        # holds unread is bounded, far below FRAME_MAX.
        self._say(ipc.BODY if data else ipc.BODY_END, self.number, data)

    # --- the end -------------------------------------------------------------------------------

    def lose(self, status: int) -> None:
        """The child is gone, or given up: `status` if nothing was sent, a cut otherwise."""
        self.state = "free"
        drop_spool(self.exchange)
        if not self._sending:  # else the file goes on without the child, and its end is cut
            self.exchange.on_disconnect = None
            answer(self.exchange, status)
