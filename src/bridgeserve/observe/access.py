"""The access log: one line per request, on stdout or in a file.

The loop only appends to a bounded deque; a daemon thread formats and writes in batches (`observe.writer`). What does
not fit is dropped and counted. No line can be forged: every octet that came from a client is printable ASCII
without quotes and backslashes, or `\\xNN`.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from bridgeserve.observe.formats import compile_format
from bridgeserve.observe.output import Output, StreamOutput, open_output
from bridgeserve.observe.records import RequestRecord
from bridgeserve.observe.writer import Writer

__all__ = ["AccessLog", "compile_format"]

LOGGER = "bridgeserve.access"


class AccessLog(Writer[RequestRecord]):
    """A sink that writes one line per record.

    `format` is `default`, `common`, `combined`, `json` or a line of atoms; ValueError for an unknown atom. `path` is a
    file, or "-" for `stream` (None: stdout); OSError when it cannot be opened. A logger `bridgeserve.access` that has
    handlers of its own gets the lines instead.
    """

    def __init__(self, format: str, stream: TextIO | None = None, path: str = "-") -> None:
        line = compile_format(format)
        super().__init__(_output(path, sys.stdout if stream is None else stream), line, "access log")
        self.start()


def _output(path: str, stream: TextIO | None) -> Output:
    logger = logging.getLogger(LOGGER)
    return StreamOutput(_Lines(logger)) if logger.handlers else open_output(path, stream)


class _Lines:
    """The two methods of a stream that an output needs, for a logger. It is the handlers' affair what they wait for:
    they are called in the writer's thread.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def write(self, text: str) -> int:
        """Each line is a record of level INFO."""
        for line in text.splitlines():
            self._logger.info("%s", line)
        return len(text)

    def flush(self) -> None:
        """Handlers flush by themselves."""
