"""The log on stderr: everything but the access log, from the loggers `bridgeserve` and below."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import TextIO

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


class LogHandler(logging.StreamHandler[TextIO]):
    """Ours, so that a second `configure` finds and replaces it.

    A stderr that nobody reads any more is no reason to fail.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure(level: str, format: str, stream: TextIO | None = None) -> None:
    """Send the loggers `bridgeserve*` to stderr (or `stream`) from `level` on, as "text" or "json".

    A second call replaces what the first one did; other loggers and handlers are left alone. Raises
    ValueError for an unknown level or format.
    """
    if level not in _LEVELS or format not in ("text", "json"):
        raise ValueError(f"unknown log level or format: {level}, {format}")
    handler = LogHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(TextFormatter() if format == "text" else JsonFormatter())
    logger = logging.getLogger("bridgeserve")
    for old in [each for each in logger.handlers if isinstance(each, LogHandler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[level])
    logger.propagate = False  # a root handler of the app would write each line again
