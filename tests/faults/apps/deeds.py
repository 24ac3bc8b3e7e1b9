"""What the faulty apps of both kinds have in common: exceptions, and deeds that harm the process they run in."""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable

MIB = 1 << 20
PIECE = 65536


class Strange(BaseException):
    """Neither an Exception nor one of those that Python knows."""


class Unspeakable(RuntimeError):
    """Cannot be turned into text."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def too_deep() -> None:
    too_deep()


def too_large() -> None:
    bytearray(1 << 62)


def raise_now(name: str) -> None:
    """Raise what has this name."""
    if name == "RecursionError":
        too_deep()
    if name == "MemoryError":
        too_large()
    raise {
        "RuntimeError": RuntimeError("a fault"),
        "OSError": OSError(28, "a fault"),
        "SystemExit": SystemExit(7),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "GeneratorExit": GeneratorExit(),
        "StopAsyncIteration": StopAsyncIteration(),
        "CancelledError": asyncio.CancelledError(),
        "Strange": Strange("a fault"),
        "BaseExceptionGroup": BaseExceptionGroup("a fault", [SystemExit(7), KeyboardInterrupt()]),
        "Unspeakable": Unspeakable(),
        "UnicodeEncodeError": UnicodeEncodeError("ascii", "\udcff", 0, 1, "a fault"),
    }[name]


def say(word: str) -> None:
    """Tell the test what has happened."""
    sys.stderr.write(f"app: {word}\n")
    sys.stderr.flush()


def close_standard() -> None:
    for descriptor in (0, 1, 2):
        os.close(descriptor)


def close_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


def speak() -> None:
    """What an app prints, whose descriptors may be anybody's by now."""
    os.write(1, b"PRINTED\n" * 10)
    os.write(2, b"PRINTED\n" * 10)


def fork_and_return() -> None:
    """Both processes come back from here."""
    pid = os.fork()
    if pid:
        say(f"forked {pid}")


def fork_and_stay() -> None:
    """A process that lives on for a while, such as a job of its own."""
    pid = os.fork()
    if pid == 0:
        time.sleep(30.0)
        os._exit(0)
    say(f"forked {pid}")


def fork_and_terminate() -> None:
    """What `multiprocessing` does for a timeout: the copy is stopped by a signal."""
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30.0,))
    process.start()
    process.terminate()
    process.join(5.0)
    if process.exitcode != -signal.SIGTERM:
        raise AssertionError(process.exitcode)


def open_many() -> None:
    """Take every descriptor there is, as a leak would."""
    files = []
    try:
        while True:
            files.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        say(f"errno {error.errno} after {len(files)}")
    finally:
        for file in files:
            os.close(file)


def segfault() -> None:
    ctypes.string_at(0)


DEEDS: dict[str, Callable[[], None]] = {
    "/close-standard": close_standard,
    "/close-streams": close_streams,
    "/speak": speak,
    "/fork-and-return": fork_and_return,
    "/fork-and-stay": fork_and_stay,
    "/fork-and-terminate": fork_and_terminate,
    "/open-many": open_many,
    "/segfault": segfault,
    "/os-exit": lambda: os._exit(0),
}
