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
import sys
from typing import Any, Protocol

CHILD = ("-u", "-m", "bridgeserve.serve.child")
TEMPLATE = ("-u", "-m", "bridgeserve.serve.template")
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
    """A process of ours, as `asyncio.subprocess.Process` shows one."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...

    @property
    def stderr(self) -> asyncio.StreamReader | None: ...

    async def wait(self) -> int:
        """The exit code, below 0 for the signal that has ended it."""

    def send_signal(self, signal: int) -> None:
        """Send a signal; raises ProcessLookupError."""


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


async def _interpreter(command: tuple[str, ...], given: tuple[int, ...]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *map(str, given),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        pass_fds=given,
    )


async def relay(pipe: asyncio.StreamReader, pid: int, level: int) -> None:
    """The output of a process to the log, line by line; a line that never ends is broken."""
    logger = logging.getLogger("bridgeserve.child")
    rest = b""
    while data := await pipe.read(65536):
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LINE_MAX:
            lines.append(rest)
            rest = b""
        for line in lines:
            logger.log(level, "[%d] %s", pid, line.decode("utf-8", "backslashreplace"))
    if rest:
        logger.log(level, "[%d] %s", pid, rest.decode("utf-8", "backslashreplace"))


class Forked:
    """A child of the template: it is the template that waits for it."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._ended = asyncio.Event()

    async def wait(self) -> int:
        """See `Process`."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, signal: int) -> None:
        """See `Process`."""
        if self.returncode is None:
            os.kill(self.pid, signal)

    def end(self, code: int) -> None:
        """It has ended."""
        if self.returncode is None:
            self.returncode = code
            self._ended.set()


class Template:
    """--preload: one process imports the application, and forks the children.

    :param setup: what it has to know of the application.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        self._control: socket.socket
        self._process: asyncio.subprocess.Process
        self._children: dict[int, Forked] = {}
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self._pipes: list[asyncio.ReadTransport] = []
        self._gone = False
        self._outputs: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Template:
        """Start it and let it import the application; raises ChildFailed."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, CONTROL)
        with theirs:
            self._process = await _interpreter(TEMPLATE, (theirs.fileno(),))
        assert self._process.stdout is not None and self._process.stderr is not None
        self._outputs = [
            asyncio.ensure_future(relay(self._process.stdout, self._process.pid, logging.INFO)),
            asyncio.ensure_future(relay(self._process.stderr, self._process.pid, logging.ERROR)),
        ]
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
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await asyncio.wait(self._outputs, timeout=1.0)
        for output in self._outputs:
            output.cancel()
        for pipe in self._pipes:
            pipe.close()

    async def spawn(self, given: tuple[int, ...]) -> Process:
        """Let it fork."""
        loop = asyncio.get_running_loop()
        readers, ends = [], []
        try:
            for _ in range(2):
                ours, theirs = os.pipe()
                ends.append(theirs)
                reader = asyncio.StreamReader()
                made = functools.partial(asyncio.StreamReaderProtocol, reader)
                pipe, _ = await loop.connect_read_pipe(made, os.fdopen(ours, "rb", 0))
                self._pipes = [each for each in self._pipes if not each.is_closing()] + [pipe]
                readers.append(reader)
            answer = await self._ask({}, [*given, *ends])
        finally:
            for end in ends:
                os.close(end)
        if "pid" not in answer:
            raise ChildFailed(answer["reason"], answer["trace"])
        child = Forked(answer["pid"], *readers)
        if "code" in answer:
            child.end(answer["code"])
        else:
            self._children[child.pid] = child
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
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            child.end(-signal.SIGKILL)
        self._children.clear()
