"""wsgi.file_wrapper (PEP 3333 "Optional Platform-Specific File Handling")."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

_PLAIN = (io.BufferedReader, io.BufferedRandom, io.FileIO)
BLOCK_MIN = 65536  # a smaller block size is only a suggestion, and slow


class FileWrapper:
    """An iterable over a file-like object.

    :param file: anything with `read(size)`; its `close` is called by ours.
    :param block: octets to read at a time.
    """

    def __init__(self, file: Any, block: int = BLOCK_MIN) -> None:
        self.file = file
        self._block = max(block, BLOCK_MIN)
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        while data := self.file.read(self._block):
            yield data

    def extent(self) -> tuple[int, int, int] | None:
        """(descriptor, offset, octets to the end) of a regular file; None for anything else.

        What is sent has to be what `read` gives (PEP 3333), and only the files of `io` are known to be so:
        a GzipFile has the descriptor of its packed file and the position in the unpacked one.
        """
        file = self.file
        if isinstance(file, tempfile._TemporaryFileWrapper):
            file = file.file
        if type(file) not in _PLAIN or type(getattr(file, "raw", file)) is not io.FileIO:
            return None
        try:
            descriptor = file.fileno()
            status = os.fstat(descriptor)
            offset = file.tell()
        except (OSError, ValueError):  # closed, or without positions
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return descriptor, offset, max(status.st_size - offset, 0)
