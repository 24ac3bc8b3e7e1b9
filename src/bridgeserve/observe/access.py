"""The access log: one line per request, on stdout.

The loop only appends to a bounded deque; a daemon thread formats and writes in batches. What does not fit
is dropped and counted. No line can be forged: every octet that came from a client is printable ASCII
without quotes and backslashes, or `\\xNN`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections import deque
from typing import TextIO

from bridgeserve.observe.formats import compile_format
from bridgeserve.observe.records import RequestRecord

__all__ = ["AccessLog", "compile_format"]

_CAPACITY = 8192  # records; at 10 000 requests a second almost a second of a stuck reader
_BATCH = 256  # records written at once: short enough that formatting does not hold the interpreter from the loop
_GATHER = 0.02  # seconds in which a batch may grow, so that the thread does not wake for every request
_CLOSE = 5.0  # seconds that close() waits for a reader that is stuck

_log = logging.getLogger("bridgeserve")


class AccessLog:
    """A sink that writes one line per record.

    `format` is `default`, `common`, `combined`, `json` or a line of gunicorn's atoms; ValueError for an
    unknown atom. `stream` is a text stream (None: stdout); it is written by one thread of ours only. When
    the stream's reader is gone the sink goes quiet.
    """

    __slots__ = ("_closing", "_idle", "_line", "_pending", "_quiet", "_stream", "_thread", "_wake", "dropped")

    def __init__(self, format: str, stream: TextIO | None = None) -> None:
        self._line = compile_format(format)
        self._stream = sys.stdout if stream is None else stream
        self._pending: deque[RequestRecord] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._idle = False
        self._quiet = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="bridgeserve-access", daemon=True)
        self._thread.start()

    # Any thread, in practice the loop's.

    def __call__(self, record: RequestRecord) -> None:
        """Take one record; never blocks."""
        if self._quiet or len(self._pending) >= _CAPACITY:
            self._drop()
            return
        self._pending.append(record)
        # Setting an event costs more than all the rest, and a busy writer looks again by itself.
        if self._idle:
            self._wake.set()

    def close(self) -> None:
        """Write what is pending and stop; gives up after some seconds when the stream is stuck.

        May be called twice.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._thread.join(_CLOSE)
        self._quiet = True
        if self.dropped:
            _log.warning("access log: %d lines were dropped", self.dropped)

    def _drop(self) -> None:
        if self._closing.is_set():
            return
        self.dropped += 1
        if self.dropped == 1:
            _log.warning("access log: stdout is not read fast enough or was closed, lines are dropped")

    # The writer's thread.

    def _run(self) -> None:
        while True:
            self._drain()
            if self._closing.is_set():
                self._drain()  # what came between the last look and the closing
                return
            self._wake.clear()
            self._idle = True
            # A record appended before `_idle` was set has woken nobody: look once more before waiting.
            if not self._pending:
                self._wake.wait()
            self._idle = False
            self._closing.wait(_GATHER)

    def _drain(self) -> None:
        pending = self._pending
        while pending:
            lines: list[str] = []
            while pending and len(lines) < _BATCH:
                record = pending.popleft()
                try:
                    lines.append(self._line(record) + "\n")
                except Exception:  # one strange record must not end the log of all others
                    _log.exception("access log: a record could not be formatted")
            self._write("".join(lines))

    def _write(self, text: str) -> None:
        if self._quiet:
            return
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # literals of the format that the stream cannot spell
                self._stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            self._stream.flush()
        except BrokenPipeError:
            self._quiet = True
            self._disarm()
        except (OSError, ValueError):  # a full disk, a closed stream: the requests go on without a log
            self._quiet = True

    def _disarm(self) -> None:
        """Let the interpreter's last flush of stdout end in nothing instead of in a second broken pipe."""
        if self._stream is not sys.stdout:
            return
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)
