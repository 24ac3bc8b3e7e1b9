"""One child process of the pool, seen from the engine. All of it runs on the loop.

    starting ──READY──► free ◄──DONE── busy
        │ FAILED, end     │  ──REQUEST──► │
        ▼                 ▼               ▼
       ended ◄───────── (its process ends, or it is killed: it broke the frames, ran too long)

A child is a fresh interpreter: nothing of the engine's memory, threads or locks is in it. It has three descriptors of
ours: the stream of frames, a datagram socket for files, and a file for its stack when it is stuck.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from bridgeserve.dispatch.base import Exchange
from bridgeserve.dispatch.call import Call
from bridgeserve.dispatch.pipe import STACK_SIGNAL, endpoint_facts
from bridgeserve.dispatch.tasks import Tasks
from bridgeserve.wire import ipc
from bridgeserve.wire.errors import CycleError

_log = logging.getLogger("bridgeserve.error")
STACK_SECONDS = 1.0  # for a child to write its stack
LEAVE_SECONDS = 5.0  # for a child that is told to end; what its application leaves running may not keep it longer
LAST_WORDS = 0.1  # for the pipes of a process that has ended to end too, before its end is acted upon
LINE_MAX = 16384  # octets of one line of its output
COMMAND = [sys.executable, "-u", "-m", "bridgeserve.serve.child"]


class ChildFailed(Exception):
    """A child did not come up; the message says why, `trace` where in the application."""

    def __init__(self, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.trace = trace


class ExitProtocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Says when the process has ended; `Process.wait` of asyncio returns only when its pipes are closed too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=LINE_MAX, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        """See asyncio.SubprocessProtocol."""
        super().process_exited()
        self.exited.set()


class Child(asyncio.Protocol):
    """:param setup: what the child has to know, for SETUP.
    :param freed: called when a request has ended and the child can take another.
    :param ended: called once when its process has ended, with the call that was in its hands.
    """

    def __init__(
        self, setup: dict[str, Any], tasks: Tasks, freed: Callable[[Child], None], ended: Callable[[Child], None]
    ) -> None:
        self._setup = setup
        self._tasks = tasks
        self._freed = freed
        self._ended = ended
        self._reader = ipc.FrameReader(ipc.FROM_CHILD)
        self._transport: asyncio.Transport
        self._execution: asyncio.SubprocessTransport
        self._exit: ExitProtocol
        self._process: asyncio.subprocess.Process
        self._side: socket.socket
        self._stack = tempfile.TemporaryFile()  # noqa: SIM115  closed when the process has ended
        self._up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._numbers = 0
        self._leaving: asyncio.TimerHandle | None = None
        self.call: Call | None = None
        self.served = 0
        self.ready_at = 0.0
        self.alive = False
        self.cause = ""  # why it goes, where we have decided it

    # --- start ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the process and wait until it has the application.

        :raises ChildFailed: it did not get so far. OSError: the system has no room for it.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        self._side, side = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with theirs, side:
            given = (theirs.fileno(), side.fileno(), self._stack.fileno())
            try:
                self._execution, self._exit = await loop.subprocess_exec(
                    lambda: ExitProtocol(loop),
                    *COMMAND,
                    *map(str, given),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=given,
                )
            except BaseException:
                ours.close()
                self._close()
                raise
        self._process = asyncio.subprocess.Process(self._execution, self._exit, loop)
        self.alive = True
        self._side.setblocking(False)
        transport, _ = await loop.create_unix_connection(lambda: self, sock=ours)
        self._transport = transport
        self._say(ipc.SETUP, 0, json.dumps(self._setup).encode())
        self._tasks.spawn(self._live())
        await self._up
        self.ready_at = loop.time()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def _live(self) -> None:
        """Until the end of the process: its output, then its exit."""
        process = self._process
        assert process.stdout is not None and process.stderr is not None
        outputs = [
            asyncio.ensure_future(self._relay(process.stdout, logging.INFO)),
            asyncio.ensure_future(self._relay(process.stderr, logging.ERROR)),
        ]
        try:
            await self._exit.exited.wait()
            # A process that it has left behind may hold the pipes open; nobody waits for that.
            await asyncio.wait(outputs, timeout=LAST_WORDS)
            if self._transport.is_reading():
                await asyncio.sleep(0)  # what it said last is read before its end counts
            self._over()
            await asyncio.wait(outputs, timeout=1.0)
        finally:
            for output in outputs:
                output.cancel()
            self.kill()
            self._execution.close()  # our ends of the pipes
            self._transport.abort()
            self._close()

    def _over(self) -> None:
        """The process has ended."""
        code = self._process.returncode
        assert code is not None
        self.alive = False
        self._transport.abort()
        if not self._up.done():
            self._up.set_exception(ChildFailed(f"the child ended while it started: {describe(code)}"))
        self.cause = self.cause or describe(code)
        self._ended(self)

    def _close(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._side.close()
        self._stack.close()

    async def _relay(self, pipe: asyncio.StreamReader, level: int) -> None:
        """Its output to the log, line by line; a line that never ends is broken."""
        logger = logging.getLogger("bridgeserve.child")
        rest = b""
        while data := await pipe.read(65536):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > LINE_MAX:
                lines.append(rest)
                rest = b""
            for line in lines:
                logger.log(level, "[%d] %s", self.pid, line.decode("utf-8", "backslashreplace"))
        if rest:
            logger.log(level, "[%d] %s", self.pid, rest.decode("utf-8", "backslashreplace"))

    # --- work ----------------------------------------------------------------------------------

    def run(self, exchange: Exchange, now: float) -> None:
        """Give a free child a request."""
        self._numbers = number = (self._numbers + 1) & 0xFFFFFFFF
        self.call = call = Call(exchange, number, now, self._say, self._receive_file, self._tasks)
        exchange.on_disconnect = call.leave
        request = exchange.request
        spool = exchange.spool
        source, length, body = ipc.INLINE, -1, request.body
        if spool is not None:
            length = request.content_length or 0
            try:
                sent = self._send_spool(spool)
            except OSError as error:
                _log.error("child %d cannot be given a file and is replaced: %s", self.pid, error)
                self.give_up("", 502)
                return
            if sent:
                source = ipc.DESCRIPTOR
            elif length <= ipc.PIECE:
                body = spool.read()
            else:
                source = ipc.ASKED
        elif not request.complete or len(body) > ipc.PIECE:
            source = ipc.ASKED
            if body:
                raise AssertionError("a whole body is collected into a spool when it is large")
        asked = ipc.RequestFrame(request.raw, endpoint_facts(exchange.endpoint), source, length, body)
        self._say(ipc.REQUEST, number, asked.pack())

    def _send_spool(self, spool: Any) -> bool:
        """Send a body that is a file over as a descriptor; False for one in memory."""
        try:
            descriptor = spool.fileno()
        except OSError:
            return False
        spool.flush()
        self._side.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
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
        try:
            for kind, number, payload in self._reader.feed(data):
                self._take(kind, number, payload)
        except (ipc.IpcError, CycleError, OSError, ValueError) as error:
            _log.error("child %d broke the frames and is replaced: %s", self.pid, error)
            self.give_up("garbage", 502)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        call = self.call
        if kind == ipc.LOG:
            relay_record(payload)
        elif kind == ipc.READY or kind == ipc.FAILED:
            self._started(kind, payload)
        elif call is None or call.number != number:
            raise ipc.IpcError("a frame for a request that it does not have")
        else:
            call.take(kind, payload)
            if kind == ipc.DONE:
                self.call = None
                self.served += 1
                self._freed(self)

    def _started(self, kind: int, payload: bytes) -> None:
        if self._up.done():
            raise ipc.IpcError("a second start")
        if kind == ipc.READY:
            self._up.set_result(None)
        else:
            told = json.loads(payload)
            self.cause = "start"
            self._up.set_exception(ChildFailed(str(told["reason"]), str(told["trace"])))

    # --- the end -------------------------------------------------------------------------------

    def give_up(self, cause: str, status: int) -> None:
        """Kill it; the request in its hands gets `status`, or is cut."""
        self.cause = self.cause or cause
        self.lose_call(status)
        self.kill()
        self._transport.abort()  # nothing that it still says counts

    def lose_call(self, status: int) -> None:
        """The request in its hands will not be answered by it."""
        call, self.call = self.call, None
        if call is not None:
            call.lose(status)

    def kill(self) -> None:
        """End the process at once; harmless when it has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def retire(self, cause: str) -> None:
        """Let a free child end by itself: it sees the end of its stream, and is killed after LEAVE_SECONDS."""
        self.cause = self.cause or cause
        self._transport.close()
        self._leaving = asyncio.get_running_loop().call_later(LEAVE_SECONDS, self.kill)

    async def stack(self) -> str:
        """The Python stacks of its threads, written by itself on a signal; "" when it does not come to it."""
        if not self.alive:
            return ""
        loop = asyncio.get_running_loop()
        descriptor = os.dup(self._stack.fileno())
        start = os.fstat(descriptor).st_size  # behind that of an earlier request which did end then
        try:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(STACK_SIGNAL)
            end = loop.time() + STACK_SECONDS
            size, before = start, -1
            while loop.time() < end and (size == start or size != before):  # it is whole when it grows no more
                await asyncio.sleep(0.02)
                before, size = size, os.fstat(descriptor).st_size
            return os.pread(descriptor, 65536, start).decode("utf-8", "backslashreplace").rstrip("\n")
        finally:
            os.close(descriptor)


def relay_record(payload: bytes) -> None:
    """A record of one of our loggers in the child, handed to the same logger here."""
    told = json.loads(payload)
    logger = logging.getLogger(str(told["logger"]))
    level = int(told["level"])
    if logger.isEnabledFor(level):
        record = logger.makeRecord(logger.name, level, __file__, 0, "%s", (str(told["message"]),), None)
        record.stack_info = str(told["trace"]) or None
        logger.handle(record)


def describe(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
