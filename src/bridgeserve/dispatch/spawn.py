"""Where child processes come from: fresh interpreters, or forks of a template that has imported the app once.

Nothing here forks the engine, whose threads and loop a fork would tear. The template of --preload is a fresh
interpreter with one thread of ours; it forks when asked over its control socket, and says when a child has ended.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from typing import Any, Protocol, cast

CHILD = ("-u", "-m", "bridgeserve.serve.child")
TEMPLATE = ("-u", "-m", "bridgeserve.serve.template")
_output = logging.getLogger("bridgeserve.child")
MESSAGE_MAX = 1 << 20
LINE_MAX = 16384  # octets of one line of a child's output
# Between engine and template: one message is one packet, and the end of the other side is seen.
CONTROL = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM


class ChildFailed(Exception):
    """A child did not come up; the message says why, `trace` where in the application."""

    def __init__(self, reason: str, trace: str = "") -> None:
        super().__init__(reason)
        self.trace = trace


class Process(Protocol):
    """A process of ours."""

    @property
    def pid(self) -> int: ...

    @property
    def code(self) -> int:
        """The exit code, below 0 for the signal that has ended it; 0 while it runs."""

    @property
    def exited(self) -> asyncio.Future[None]:
        """Set when it has ended."""

    @property
    def closed(self) -> asyncio.Future[None]:
        """Set when its output has ended too, which a process may hold open that it has left behind."""

    def send_signal(self, number: int) -> None:
        """Send a signal; harmless when it has ended."""

    def close(self) -> None:
        """End it if it runs, and its output."""


class Spawner(Protocol):
    """Makes processes. An async context manager."""

    async def __aenter__(self) -> Spawner: ...

    async def __aexit__(self, *reason: object) -> None: ...

    async def spawn(self, given: tuple[int, ...]) -> Process:
        """A process that has the descriptors; raises ChildFailed, OSError."""


class Fresh:
    """Each child is an interpreter of its own."""

    async def __aenter__(self) -> Fresh:
        return self

    async def __aexit__(self, *reason: object) -> None: ...

    async def spawn(self, given: tuple[int, ...]) -> Process:
        """Start an interpreter."""
        return await _interpreter(CHILD, given)


class Output:
    """What a process writes, to the log line by line; a line that never ends is broken."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._rest = b""

    def feed(self, data: bytes, pid: int) -> None:
        """Some octets."""
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > LINE_MAX:
            lines.append(rest)
            rest = b""
        self._rest = rest
        for line in lines:
            _output.log(self._level, "[%d] %s", pid, line.decode("utf-8", "backslashreplace"))

    def end(self, pid: int) -> None:
        """No more of it."""
        if self._rest:
            self.feed(b"\n", pid)


class Interpreter(asyncio.SubprocessProtocol):
    """See `Process`. (`asyncio.subprocess.Process.wait` waits for the pipes too.)"""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._outputs = {1: Output(logging.INFO), 2: Output(logging.ERROR)}
        self._transport: asyncio.SubprocessTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    @property
    def pid(self) -> int:
        """See `Process`."""
        return self._transport.get_pid()

    @property
    def code(self) -> int:
        """See `Process`."""
        return self._transport.get_returncode() or 0

    def pipe_data_received(self, pipe: int, data: bytes) -> None:
        """Some of its output."""
        self._outputs[pipe].feed(data, self.pid)

    def pipe_connection_lost(self, pipe: int, error: Exception | None) -> None:
        """The end of its output."""
        if pipe in self._outputs:
            self._outputs[pipe].end(self.pid)

    def process_exited(self) -> None:
        """It has ended."""
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, and so has its output."""
        if not self.closed.done():
            self.closed.set_result(None)

    def send_signal(self, number: int) -> None:
        """See `Process`."""
        if self._transport.get_returncode() is None:
            with contextlib.suppress(ProcessLookupError):
                self._transport.send_signal(number)

    def close(self) -> None:
        """See `Process`."""
        self._transport.close()


def interpreter() -> list[str]:
    """The interpreter with the options that it was started with itself (-O, -W, -X, ...), for a process of ours."""
    flags = sys.flags
    letters = {
        "-O": flags.optimize,
        "-b": flags.bytes_warning,
        "-B": flags.dont_write_bytecode,
        "-E": flags.ignore_environment and not flags.isolated,
        "-s": flags.no_user_site and not flags.isolated,
        "-S": flags.no_site,
        "-I": flags.isolated,
        "-v": flags.verbose,
    }
    command = [sys.executable, *(letter for letter, times in letters.items() for _ in range(times))]
    command += [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    return command + [f"-W{each}" for each in sys.warnoptions]


async def _interpreter(command: tuple[str, ...], given: tuple[int, ...]) -> Interpreter:
    loop = asyncio.get_running_loop()
    arguments = map(str, given)
    _, process = await loop.subprocess_exec(
        Interpreter, *interpreter(), *command, *arguments, stdin=subprocess.DEVNULL, pass_fds=given
    )
    return process


class Pipe(asyncio.Protocol):
    """One of the outputs of a forked child."""

    def __init__(self, child: Forked, level: int) -> None:
        self._child = child
        self._output = Output(level)

    def data_received(self, data: bytes) -> None:
        """Some octets."""
        self._output.feed(data, self._child.pid)

    def connection_lost(self, error: Exception | None) -> None:
        """No more of it."""
        self._output.end(self._child.pid)
        self._child.silent()


class Forked:
    """A child of the template, which waits for it. See `Process`."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.pid = 0
        self.code = 0
        self._open = 2
        self.pipes: list[asyncio.BaseTransport] = []

    def silent(self) -> None:
        """One of its outputs has ended."""
        self._open -= 1
        if not self._open and not self.closed.done():
            self.closed.set_result(None)

    def send_signal(self, number: int) -> None:
        """See `Process`."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self, code: int) -> None:
        """It has ended."""
        if not self.exited.done():
            self.code = code
            self.exited.set_result(None)

    def close(self) -> None:
        """See `Process`."""
        self.send_signal(signal.SIGKILL)
        for pipe in self.pipes:
            pipe.close()


class Template:
    """--preload: one process imports the application, and forks the children.

    :param setup: what it has to know of the application.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        self._control: socket.socket
        self._process: Interpreter
        self._children: dict[int, Forked] = {}
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._gone = False
        self._ended: dict[int, int] = {}

    async def __aenter__(self) -> Template:
        """Start it and let it import the application; raises ChildFailed."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, CONTROL)
        with theirs:
            self._process = await _interpreter(TEMPLATE, (theirs.fileno(),))
        self._control.setblocking(False)
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._hear)
        try:
            answer = await self._ask(self._setup, [])
            if "reason" in answer:
                raise ChildFailed(answer["reason"], answer["trace"])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._lose()
        self._process.close()
        await asyncio.wait((self._process.exited, self._process.closed), timeout=1.0)

    async def spawn(self, given: tuple[int, ...]) -> Process:
        """Let it fork."""
        loop = asyncio.get_running_loop()
        child = Forked()
        ends: list[int] = []
        try:
            for level in (logging.INFO, logging.ERROR):
                ours, theirs = os.pipe()
                ends.append(theirs)
                made = functools.partial(Pipe, child, level)
                pipe, _ = await loop.connect_read_pipe(made, os.fdopen(ours, "rb", 0))
                child.pipes.append(pipe)
            answer = await self._ask({}, [*given, *ends])
            if "pid" not in answer:
                raise ChildFailed(answer["reason"], answer["trace"])
        except BaseException:
            for opened in child.pipes:
                opened.close()
            raise
        finally:
            for end in ends:
                os.close(end)
        child.pid = answer["pid"]
        self._children[child.pid] = child
        if self._gone or child.pid in self._ended:
            child.end(self._ended.pop(child.pid, -signal.SIGKILL))
        return child

    async def _ask(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        async with self._asking:
            if self._gone:
                raise ChildFailed("the template process has ended")
            self._answer = asyncio.get_running_loop().create_future()
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            self._control.sendmsg([json.dumps(message).encode()], ancillary)
            return await self._answer

    def _hear(self) -> None:
        """The template has said something, or has ended."""
        try:
            data = self._control.recv(MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        told = json.loads(data)
        if "ended" in told:
            child = self._children.pop(told["ended"], None)
            if child is not None:
                child.end(told["code"])
            else:
                self._ended[told["ended"]] = told["code"]  # before `spawn` has looked at its answer
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(told)

    def _lose(self) -> None:
        """It is gone, and its children with it (they ask the kernel for that)."""
        if self._gone:
            return
        self._gone = True
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result({"reason": "the template process has ended", "trace": ""})
        for child in self._children.values():
            child.send_signal(signal.SIGKILL)
            child.end(-signal.SIGKILL)
        self._children.clear()
