"""Where lines of a log go: a descriptor (a file of ours, stdout, stderr) or a text stream of Python.

A descriptor is written past `sys.stdout` and `sys.stderr`: their buffers have locks that a thread which is stuck in
a write would hold when the interpreter ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
from typing import Protocol, TextIO

# POSIX pipe(7): so much is written to a pipe at once or not at all, so lines of several processes do not mix, and
# a pipe that polls as writable has room for it. 4096 on Linux.
PIECE = select.PIPE_BUF
LARGE = 65536  # octets written to a file at once
_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ECONNRESET})


class OutputGone(Exception):
    """Nobody will ever read what is written here."""


class Output(Protocol):
    """What takes lines."""

    name: str
    instant: bool  # who logs may write by himself: with `seconds` 0 it does not block

    def write(self, data: bytes | bytearray, seconds: float) -> int:
        """Write octets, whole lines where they fit; how many were taken. 0: no room came within `seconds`.

        Raises OutputGone, and OSError for what may be better later (a full disk).
        """

    def reopen(self) -> None:
        """Go on in a new file of the same name, where there is a name. Raises OSError; the old one stays then."""

    def fileno(self) -> int:
        """The descriptor, -1 where there is none."""

    def close(self) -> None:
        """Let go of what is ours."""


class DescriptorOutput:
    """A file that is opened by its path, or a descriptor that is somebody else's.

    :param path: None: write to `descriptor`.
    :raises OSError: the file cannot be opened.
    """

    def __init__(self, path: str | None, descriptor: int = -1) -> None:
        self._path = None if path is None else os.path.abspath(path)
        self._descriptor = descriptor if self._path is None else _open(self._path)
        self._look()
        self.name = self._path or {1: "stdout", 2: "stderr"}.get(descriptor, f"descriptor {descriptor}")

    def _look(self) -> None:
        mode = os.fstat(self._descriptor).st_mode
        self._file = stat.S_ISREG(mode)
        self.instant = not self._file

    def write(self, data: bytes | bytearray, seconds: float) -> int:
        """See Output."""
        try:
            if self._file:
                return _write(self._descriptor, data, LARGE)
            # Others may have made it non-blocking, or blocking: it is theirs too. So the system is asked first.
            # (A fresh object each time: one that a fork has caught in its call is never free again.)
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            if not poll.poll(int(seconds * 1000)):
                return 0
            size = len(data)
            if size > PIECE:
                size = data.rfind(b"\n", 0, PIECE) + 1 or PIECE
            return _write(self._descriptor, data, size)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _GONE:
                self._disarm()
                raise OutputGone(error.strerror) from None
            raise

    def _disarm(self) -> None:
        """Let the interpreter's last flush of stdout or stderr end in nothing, not in a second broken pipe."""
        if self._path is None and self._descriptor in (1, 2):
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                try:
                    os.dup2(null, self._descriptor)
                finally:
                    os.close(null)

    def reopen(self) -> None:
        """See Output."""
        if self._path is None:
            return
        # The number stays: others, such as faulthandler, know it.
        fresh = _open(self._path)
        try:
            os.dup2(fresh, self._descriptor, inheritable=False)
        finally:
            os.close(fresh)
        self._look()

    def fileno(self) -> int:
        """See Output."""
        return self._descriptor

    def close(self) -> None:
        """See Output."""
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write(descriptor: int, data: bytes | bytearray, size: int) -> int:
    # Released, and not left to be forgotten: somebody who looks at all objects (`gc.get_objects`) may hold them, and
    # the buffer could not shrink.
    with memoryview(data) as view, view[:size] as piece:
        return os.write(descriptor, piece)


def _open(path: str) -> int:
    # O_APPEND: each write goes to the end, also when several processes share the file. O_NONBLOCK: a FIFO that
    # nobody reads refuses (ENXIO) instead of waiting for a reader.
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)


class TextStream(Protocol):
    """What a text stream has to have."""

    def write(self, text: str, /) -> int:
        """Take text."""

    def flush(self) -> None:
        """Pass it on."""


class StreamOutput:
    """A text stream, such as a test's or a notebook's."""

    instant = True

    def __init__(self, stream: TextStream) -> None:
        self._stream = stream
        self.name = "the stream"

    def write(self, data: bytes | bytearray, seconds: float) -> int:
        """See Output."""
        text = data.decode("utf-8", "replace")
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # what the stream cannot spell
                self._stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            self._stream.flush()
        except (BrokenPipeError, ValueError) as error:  # ValueError: it is closed
            raise OutputGone(str(error)) from None
        return len(data)

    def reopen(self) -> None:
        """See Output."""

    def fileno(self) -> int:
        """See Output."""
        return -1

    def close(self) -> None:
        """See Output."""


def standard_output(stream: TextIO | None) -> Output:
    """The output of `sys.stdout` or `sys.stderr` as it is now: its descriptor where it has one."""
    if stream is None:  # pythonw, a daemon without descriptors
        return DescriptorOutput(os.devnull)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = stream.fileno()
        stream.flush()  # what was printed before comes first
        return DescriptorOutput(None, descriptor)
    return StreamOutput(stream)


def open_output(path: str, stream: TextIO | None) -> Output:
    """The output for a path, where "-" means `stream`. Raises OSError."""
    return standard_output(stream) if path == "-" else DescriptorOutput(path)
