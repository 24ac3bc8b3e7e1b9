"""One child process of the pool, seen from the engine. All of it runs on the loop.

    starting ──READY──► free ◄──DONE── busy
        │ FAILED, end     │  ──REQUEST──► │
        ▼                 ▼               ▼
       ended ◄───────── (its process ends, or it is killed: it broke the frames, ran too long)

A child is a fresh interpreter: nothing of the engine's memory, threads or locks is in it. It has four descriptors of
ours: the lane of requests, the stream of all other frames, a datagram socket for files, and a file for its stack when
it is stuck.

One request is in its hands. While it is quick, a few more may wait in its lane, which spares two switches between
processes for each of them; they have not begun, and go elsewhere when the child dies, or takes long over one.
"""

from __future__ import annotations

import array
import asyncio
import json
import logging
import os
import signal
import socket
import tempfile
from collections import deque
from typing import Any, Protocol

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.call import Call
from bridgeserve.dispatch.facts import pack_endpoint
from bridgeserve.dispatch.lane import Lane
from bridgeserve.dispatch.pipe import STACK_SIGNAL
from bridgeserve.dispatch.spawn import ChildFailed, Process, Spawner
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.wire import ipc
from bridgeserve.wire.errors import CycleError

_log = logging.getLogger("bridgeserve.error")
PACE_AT_FIRST = 0.01
_OF_NO_CALL = frozenset({ipc.READY, ipc.FAILED, ipc.LOG})
LANE_MAX = 98304  # octets of a request that go by the lane, whose buffer is the system's to grant
STACK_SECONDS = 1.0  # for a child to write its stack
LAST_FRAMES = 1.0  # seconds for the end of the stream of a process that has ended
LAST_WORDS = 0.1  # seconds for the output of a process that has ended to end too
LEAVE_SECONDS = 5.0  # between the end of the stream of a child and its own


class Owner(Protocol):
    """Who has children."""

    def freed(self, child: Child) -> None:
        """A request has ended; the child goes on with the next in its lane, if there is one."""

    def returned(self, calls: list[Call]) -> None:
        """These have not begun, and need another child."""

    def ended(self, child: Child) -> None:
        """Its process has ended, and its requests are lost or returned. Called once."""


class Child(asyncio.Protocol):
    """:param setup: what the child has to know, for SETUP.
    :param spawner: where its process comes from.
    :param owner: is told of what happens.
    """

    def __init__(
        self,
        setup: dict[str, Any],
        spawner: Spawner,
        tasks: Tasks,
        owner: Owner,
    ) -> None:
        self._setup = setup
        self._spawner = spawner
        self._tasks = tasks
        self._owner = owner
        self._lane = Lane()
        self._reader = ipc.FrameReader(ipc.FROM_CHILD)
        self._transport: asyncio.Transport
        self._process: Process
        self._side: socket.socket
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115  closed when the process has ended
        self._loop = loop = asyncio.get_running_loop()
        self._up: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()  # its stream has ended
        self._numbers = 0
        self.calls: deque[Call] = deque()  # the first is in its hands, the others are in its lane
        self.pace = PACE_AT_FIRST  # seconds that it takes for a request, lately
        self.served = 0
        self.ready_at = 0.0
        self.alive = False  # it can be talked to
        self.cause = ""  # why it goes, where we have decided it

    # --- start ---------------------------------------------------------------------------------

    async def start(self, limit: float) -> None:
        """Start the process and wait until it has the application, at most `limit` seconds.

        :raises ChildFailed: it did not get so far. OSError: the system has no room for it.
        """
        ours, theirs = socket.socketpair()
        self._side, side = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs, side:
            try:
                given = (theirs, side, self._stack, self._lane.theirs)
                self._process = await self._spawner.spawn(tuple(each.fileno() for each in given))
            except BaseException:
                ours.close()
                self._close()
                raise
        self.alive = True
        self._side.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(lambda: self, sock=ours)
        self._transport = transport
        self._say(ipc.SETUP, 0, json.dumps(self._setup).encode())
        self._tasks.spawn(self._live())
        try:
            async with asyncio.timeout(limit):
                await self._up
        except TimeoutError:
            self.kill()
            raise ChildFailed(f"it was not ready within --timeout-start ({limit:g} s)") from None
        except BaseException:
            self.kill()
            raise
        self.ready_at = loop.time()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def _live(self) -> None:
        """Until the end of the process, and of what it has to say."""
        process = self._process
        try:
            await process.exited
            # What it said last is read before its end counts: the end of another response may be on its way, which
            # takes its time on a busy machine. A process that it left behind may hold its output open.
            await asyncio.wait((self._closed,), timeout=LAST_FRAMES)
            await asyncio.wait((process.closed,), timeout=LAST_WORDS)
        finally:
            process.close()  # kills it, if it has not ended
            self.alive = False
            self._transport.abort()
            if not self._up.done():
                self._up.set_exception(ChildFailed(f"the child ended while it started: {describe(process.code)}"))
            self.cause = self.cause or describe(process.code)
            self._owner.ended(self)
            self._close()

    def _close(self) -> None:
        self._lane.close()
        self._side.close()
        self._stack.close()

    # --- work ----------------------------------------------------------------------------------

    @property
    def call(self) -> Call | None:
        """The request in its hands."""
        return self.calls[0] if self.calls else None

    def run(self, exchange: Exchange, now: float) -> bool:
        """Give it a request, behind those that it has; False when there is no room in its lane."""
        self._numbers = number = (self._numbers + 1) & 0xFFFFFFFF
        call = Call(exchange, number, now, self._say, self._receive_file, self._tasks)
        if self.calls:
            call.wait(self._withdraw)
        request = exchange.request
        spool = exchange.spool
        source, length, body = ipc.INLINE, -1, request.body
        if spool is not None:
            length = request.content_length or 0
            try:
                sent = self._send_spool(spool)
            except OSError as error:
                _log.error("child %d cannot be given a file and is replaced: %s", self.pid, error)
                self.calls.append(call)
                self.give_up("", 502)
                return True
            if sent:
                source = ipc.DESCRIPTOR
            elif length <= ipc.PIECE:
                body = spool.read()
            else:
                source = ipc.ASKED
        elif not request.complete:
            source = ipc.ASKED
        endpoint = exchange.endpoint
        asked = ipc.RequestFrame(request.raw, endpoint.facts or pack_endpoint(endpoint), source, length, body)
        message = asked.frame(number)
        if len(message) > LANE_MAX:
            if self.calls:
                return False
            if self.alive:
                self._transport.write(message)  # by the stream; an empty message in the lane tells of it
            message = ipc.frame(ipc.REQUEST, number)
        if not self._lane.send(message):
            return False
        exchange.on_disconnect = call.leave
        self.calls.append(call)
        return True

    def take_back(self) -> list[Call]:
        """The requests in its lane that it has not begun, in order; they are no longer its.

        It may take one out meanwhile, and not the first: then that one is in its hands, whatever came before it.
        While it has none in its hands and can still work, it keeps the first.
        """
        messages = self._lane.take_back()
        numbers = [ipc.HEADER.unpack_from(message)[1] for message in messages]
        if self.alive and numbers and all(call.number in numbers for call in self.calls):
            self._lane.send(messages[0])
            del numbers[0]
        found = [call for call in self.calls if call.number in numbers]
        for call in found:
            self.calls.remove(call)
            call.state = "free"
        if self.calls and self.calls[0].state == "waiting":
            self.calls[0].begin(self._loop.time())
        return found

    def _withdraw(self, call: Call) -> bool:
        """The client of a request in the lane has left; False when the child has begun it."""
        found = self.take_back()
        others = [each for each in found if each is not call]
        if others:
            self._owner.returned(others)
        return call in found

    def _send_spool(self, spool: Any) -> bool:
        """Send a body that is a file over as a descriptor; False for one in memory."""
        try:
            descriptor = spool.fileno()
        except OSError:
            return False
        spool.flush()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
        self._side.sendmsg([b"f"], [rights])
        return True

    def _receive_file(self) -> int:
        try:
            _, descriptors, _, _ = socket.recv_fds(self._side, 1, 1)
        except BlockingIOError:
            descriptors = []
        if len(descriptors) != 1:
            raise ipc.IpcError("a file without its descriptor")
        return descriptors[0]

    def _say(self, kind: int, call: int, payload: bytes) -> None:
        if self.alive:
            self._transport.write(ipc.frame(kind, call, payload))

    # --- asyncio.Protocol ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Frames of the child."""
        if not self.alive:
            return
        try:
            for kind, number, payload in self._reader.feed(data):
                self._take(kind, number, payload)
        except (ipc.IpcError, CycleError, OSError, ValueError) as error:
            _log.error("child %d broke the frames and is replaced: %s", self.pid, error)
            self.give_up("garbage", 502)

    def connection_lost(self, error: Exception | None) -> None:
        """Its stream has ended, and so will it, unless threads of the application keep it."""
        self.alive = False
        self._loop.call_later(LEAVE_SECONDS, self.kill)
        if not self._closed.done():
            self._closed.set_result(None)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        call = self.calls[0] if self.calls else None
        if call is not None and call.number == number and kind not in _OF_NO_CALL:
            call.take(kind, payload)
            if kind == ipc.ANSWER or kind == ipc.DONE:
                self._done(call)
        elif kind == ipc.LOG:
            relay_record(payload)
        elif kind in _OF_NO_CALL:
            self._started(kind, payload)
        else:
            raise ipc.IpcError("a frame for a request that it does not have")

    def _done(self, call: Call) -> None:
        now = self._loop.time()
        self.calls.popleft()
        self.served += 1
        self.pace += (now - call.began - self.pace) / 8
        if self.calls:
            self.calls[0].begin(now)
        self._owner.freed(self)

    def _started(self, kind: int, payload: bytes) -> None:
        if self._up.done():
            raise ipc.IpcError("a second start")
        if kind == ipc.READY:
            self._up.set_result(None)
        else:
            told = ipc.read_record(payload, reason=str, trace=str)
            self.cause = "start"
            self._up.set_exception(ChildFailed(told["reason"], told["trace"]))

    # --- the end -------------------------------------------------------------------------------

    def give_up(self, cause: str, status: int) -> None:
        """Kill it; the request in its hands gets `status`, or is cut."""
        self.cause = self.cause or cause
        self.alive = False
        self.lose_call(status)
        self.kill()

    def lose_call(self, status: int) -> None:
        """The request in its hands will not be answered by it; those in its lane go back."""
        waiting = self.take_back()
        lost, self.calls = list(self.calls), deque()
        for call in lost:
            call.lose(status)
        if waiting:
            self._owner.returned(waiting)

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        self._process.send_signal(signal.SIGKILL)

    def retire(self, cause: str) -> None:
        """Let a child without a request end by itself: it sees the end of its lane, and is killed if it stays."""
        self.cause = self.cause or cause
        self.alive = False
        self._lane.end()
        self._loop.call_later(LEAVE_SECONDS, self.kill)

    async def stack(self) -> str:
        """The Python stacks of its threads, written by itself on a signal; "" when it does not come to it."""
        if not self.alive:
            return ""
        loop = asyncio.get_running_loop()
        descriptor = os.dup(self._stack.fileno())
        try:
            begin = size = os.fstat(descriptor).st_size  # an earlier one, whose request ended in time
            self._process.send_signal(STACK_SIGNAL)
            end = loop.time() + STACK_SECONDS
            before = -1
            while loop.time() < end and (size == begin or size != before):  # it is whole when it grows no more
                await asyncio.sleep(0.02)
                before, size = size, os.fstat(descriptor).st_size
            return os.pread(descriptor, 65536, begin).decode("utf-8", "backslashreplace").rstrip("\n")
        finally:
            os.close(descriptor)


def relay_record(payload: bytes) -> None:
    """A record of one of our loggers in the child, handed to the same logger here; raises IpcError."""
    told = ipc.read_record(payload, logger=str, level=int, message=str, trace=str)
    name, level = told["logger"], told["level"]
    if name.partition(".")[0] != "bridgeserve":
        raise ipc.IpcError("a record of a logger that is not ours")
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        record = logger.makeRecord(name, level, __file__, 0, "%s", (told["message"],), None)
        record.stack_info = told["trace"] or None
        logger.handle(record)


def describe(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
