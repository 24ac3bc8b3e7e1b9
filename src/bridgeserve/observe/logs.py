"""The log, on stderr or in a file: everything but the access log, from the loggers `bridgeserve` and below."""

from __future__ import annotations

import faulthandler
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from logging.handlers import WatchedFileHandler
from typing import TextIO

from bridgeserve.observe import crash
from bridgeserve.observe.output import Output, open_output
from bridgeserve.observe.writer import Writer, reopen_all

FLUSH = 2.0  # seconds that the end of the process waits for an output that is stuck

# Line ends of every kind and the codes that move a terminal's cursor. Messages can hold what a client sent.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def _escape(text: str) -> str:
    """Control characters as \\xNN (or \\uNNNN)."""
    return _CONTROLS.sub(lambda match: _spell(ord(match.group())), text)


def _spell(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _stamp(record: logging.LogRecord) -> str:
    """The record's time, UTC, to the millisecond (RFC 3339)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback of a record and its stack, or ""."""
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


class TextFormatter(logging.Formatter):
    """TIME LEVEL message; the lines of a traceback follow, indented so that none of them looks like a line
    of the log.
    """

    def format(self, record: logging.LogRecord) -> str:
        lines = [f"{_stamp(record)} {record.levelname.lower():8} {_escape(record.getMessage())}"]
        trace = _trace(self, record)
        if trace:
            lines += ["    " + _escape(line) for line in trace.split("\n")]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        trace = _trace(self, record)
        if trace:
            line["trace"] = trace
        return json.dumps(line, separators=(",", ":")).replace("\x7f", "\\u007f")


class LogWriter(Writer[str]):
    """Writes lines of the log; who logs writes by itself where that cannot block, so that a line which is logged is
    out of the process before it goes on, whatever happens then.

    :param note: makes a line that says something about the log itself.
    """

    def __init__(self, output: Output, note: Callable[[str], str]) -> None:
        super().__init__(output, str, "log")
        self._note = note

    def say(self, text: str) -> None:
        """Write a line, now or soon. Calls do not overlap: a handler has a lock."""
        if self._output.instant and self._writing.acquire(blocking=False):
            try:
                if not (self._pending or self._unsent or self._reopen or self._quiet) and self.dropped == self._told:
                    self._unsent += (text + "\n").encode("utf-8", "backslashreplace")
                    self._push(0.0)
                    if not self._unsent:
                        return
                    text = ""
            finally:
                self._writing.release()
        if self._thread is None:
            self.start()
        if text:
            self(text)
        self._wake.set()

    def _report(self) -> None:
        if not self._unsent and not self._quiet and self.dropped > self._told:
            with self._writing:
                self._tell(self.dropped - self._told)

    def _tell(self, lines: int) -> None:
        """In the log itself, once there is room again."""
        self._told += lines
        self._unsent += (self._note(f"{lines} lines of this log were dropped: {self._reason}") + "\n").encode()


class LogHandler(logging.Handler):
    """Ours, so that a second `configure` finds and replaces it.

    A stderr that nobody reads any more is no reason to fail, nor to wait.
    """

    def __init__(self, output: Output, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LogWriter(output, lambda text: formatter.format(_note(text)))
        self.descriptor = output.fileno()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the line over."""
        try:
            text = self.format(record)
        except Exception:  # as each handler of the library does: a wrong call of the log is told and goes no further
            self.handleError(record)
        else:
            self._writer.say(text)

    @property
    def dropped(self) -> int:
        """Lines that were not written and never will be."""
        return self._writer.dropped

    def flush(self) -> None:
        """Wait for what is not written yet, a bounded time; the interpreter calls it at its end."""
        self._writer.flush(FLUSH)

    def close(self) -> None:
        """Flush, and let go of the file."""
        self._writer.close(FLUSH)
        super().close()


def _note(text: str) -> logging.LogRecord:
    return logging.LogRecord("bridgeserve", logging.WARNING, __file__, 0, "%s", (text,), None)


def configure(level: str, format: str, stream: TextIO | None = None, path: str = "-") -> None:
    """Send the loggers `bridgeserve*` to the file `path`, where "-" means stderr (or `stream`), from `level` on, as
    "text" or "json". The stacks of a crash (SIGSEGV and the like) go there too.

    A second call replaces what the first one did; other loggers and handlers are left alone. Raises
    ValueError for an unknown level or format, OSError when the file cannot be opened.
    """
    if level not in _LEVELS or format not in ("text", "json"):
        raise ValueError(f"unknown log level or format: {level}, {format}")
    output = open_output(path, sys.stderr if stream is None else stream)
    handler = LogHandler(output, TextFormatter() if format == "text" else JsonFormatter())
    logger = logging.getLogger("bridgeserve")
    unplug()
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[level])
    logger.propagate = False  # a root handler of the app would write each line again
    if handler.descriptor >= 0:
        crash.enable(handler.descriptor)


def unplug() -> None:
    """Take back what `configure` did, and write what is left."""
    logger = logging.getLogger("bridgeserve")
    for old in [each for each in logger.handlers if isinstance(each, LogHandler)]:
        logger.removeHandler(old)
        if old.descriptor > 2:
            faulthandler.disable()  # the number may soon mean another file
        old.close()


def reopen() -> None:
    """Open every log file again, soon: after a rotation (USR1). Files of handlers that the app or --log-config has made
    are among them.
    """
    reopen_all()
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    for handler in {each for logger in loggers if isinstance(logger, logging.Logger) for each in logger.handlers}:
        if isinstance(handler, logging.FileHandler) and not isinstance(handler, WatchedFileHandler):
            handler.acquire()
            try:
                if handler.stream is not None:
                    handler.stream.close()
                    # The handler opens its file at the next record, and then to append.
                    handler.mode, handler.stream = "a", None
            finally:
                handler.release()


def log_with_trace(logger: logging.Logger, level: int, text: str, trace: str = "") -> None:
    """One record with lines that go with it, indented or in a field of their own."""
    if logger.isEnabledFor(level):
        logger.handle(logger.makeRecord(logger.name, level, __file__, 0, text, (), None, None, None, trace or None))
