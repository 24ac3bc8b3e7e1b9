"""wsgi.file_wrapper (PEP 3333 "Optional Platform-Specific File Handling")."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

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
        """(descriptor, offset, octets to the end) of a regular file; None for anything else."""
        try:
            descriptor = self.file.fileno()
            status = os.fstat(descriptor)
            offset = self.file.tell()
        except (AttributeError, OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode) or not isinstance(descriptor, int):
            return None
        return descriptor, offset, max(status.st_size - offset, 0)
