"""A process that serves one application: loop, signals, exit code."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator

from bridgeserve.observe.logs import configure
from bridgeserve.serve.application import StartupError, startup_text
from bridgeserve.serve.server import Server
from bridgeserve.settings import Settings

_log = logging.getLogger("bridgeserve")


def main_loop(app: object, settings: Settings) -> int:
    """Serve until a signal says stop; the exit code of the process.

    0: stopped; 1: runtime failure; 3: start-up failure, its reason on stderr.
    """
    configure(settings.log_level, settings.log_format)
    try:
        with _pid_file(settings.pid), asyncio.Runner(loop_factory=_loop_factory(settings.loop)) as runner:
            return runner.run(_serve(Server(app, settings)))
    except StartupError as error:
        sys.stderr.write(startup_text(error))
        return 3
    except Exception:
        # The last place that can say why the process ends.
        _log.exception("the server failed")
        return 1


def _loop_factory(choice: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if choice == "asyncio" or (choice == "auto" and importlib.util.find_spec("uvloop") is None):
        return None
    try:
        import uvloop
    except ImportError as error:
        raise StartupError("--loop uvloop: uvloop is not installed; use --loop asyncio") from error
    return uvloop.new_event_loop


@contextlib.contextmanager
def _pid_file(path: str | None) -> Iterator[None]:
    if path is None:
        yield
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise StartupError(f"cannot write the pid file {path}: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


async def _serve(server: Server) -> int:
    """Run the server until TERM or INT (drain), a second INT or QUIT (at once)."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def ask(name: str) -> None:
        if stop.is_set():
            if name == "SIGINT":
                _log.warning("%s again: stopping at once", name)
                server.abort()
            return
        _log.info("%s: finishing what is in flight", name)
        stop.set()

    def force() -> None:
        _log.warning("SIGQUIT: stopping at once")
        server.abort()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number.name)
    loop.add_signal_handler(signal.SIGQUIT, force)
    async with server:
        await stop.wait()
    _log.info("stopped")
    return 0
