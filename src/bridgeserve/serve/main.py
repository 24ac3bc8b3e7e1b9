"""A process that serves one application by itself, without a supervisor: loop, signals, exit code.

So it is with `run` and an application object. A name is served by a supervisor and its workers (`serve.supervisor`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator

from bridgeserve.dispatch import forked
from bridgeserve.observe.logconfig import LogConfigError
from bridgeserve.observe.logs import log_with_trace, reopen
from bridgeserve.serve.application import StartupError, startup_text
from bridgeserve.serve.dump import dump
from bridgeserve.serve.logs import set_up_logs
from bridgeserve.serve.notify import listen_fds
from bridgeserve.serve.process import HELD
from bridgeserve.serve.server import Server
from bridgeserve.serve.sockets import inherited
from bridgeserve.settings import Settings

_log = logging.getLogger("bridgeserve")
SIGNALS = (*HELD, signal.SIGTERM)


def main_loop(app: object, settings: Settings, binds_given: bool = True) -> int:
    """Serve until a signal says stop; the exit code of the process.

    :param binds_given: somebody has said where to listen; else sockets of LISTEN_FDS come first.

    0: stopped; 1: runtime failure; 3: start-up failure, its reason on stderr; 4: the processes of the pool crash
    again and again.
    """
    try:
        set_up_logs(settings)
        if settings.reload:
            raise StartupError("--reload needs the import name of the app, such as 'module:attribute'")
        if settings.workers > 1:
            raise StartupError("several workers need the import name of the app, such as 'module:attribute'")
        settings = _with_given_sockets(settings, binds_given)
        factory = loop_factory(settings.loop)
        with _signals_wait(), pid_file(settings.pid), asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(_serve(Server(app, settings)))
    except LogConfigError as error:
        sys.stderr.write(f"bridgeserve: {error}\n")
        return 2
    except StartupError as error:
        sys.stderr.write(startup_text(error))
        return 3
    except Exception:
        # The last place that can say why the process ends.
        _log.exception("the server failed")
        return 1


def _with_given_sockets(settings: Settings, binds_given: bool) -> Settings:
    """The same; with the sockets of a service manager where nobody says where to listen. Raises StartupError."""
    try:
        given = listen_fds(os.environ, os.getpid())
    except ValueError as error:
        raise StartupError(str(error)) from None
    if not given or binds_given:
        return settings
    return dataclasses.replace(settings, bind=tuple(f"fd://{bind.fd}" for bind in inherited(given)))


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Whoever reads the pid file may send one before there is a handler: it waits for that, see `_serve`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def loop_factory(choice: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop of --loop; None for asyncio's own.

    :raises StartupError: it is not installed.
    """
    if choice == "asyncio" or (choice == "auto" and importlib.util.find_spec("uvloop") is None):
        return None
    try:
        import uvloop
    except ImportError as error:
        raise StartupError("--loop uvloop: uvloop is not installed; use --loop asyncio") from error
    return uvloop.new_event_loop


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """A file with our process id while the block runs; one that has another id by then is left alone.

    :raises StartupError: it cannot be written.
    """
    if path is None:
        yield
        return
    ours = f"{os.getpid()}\n"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(ours)
    except OSError as error:
        raise StartupError(f"cannot write the pid file {path}: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            with open(path, encoding="ascii") as file:
                same = file.read(len(ours) + 1) == ours
            if same:
                os.unlink(path)


async def _serve(server: Server) -> int:
    """Run the server until TERM or INT (drain); a second INT or a QUIT ends it at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    forced = asyncio.Event()
    running = asyncio.current_task()
    assert running is not None

    def ask(number: signal.Signals) -> None:
        if not stop.is_set():
            _log.info("%s: finishing what is in flight", number.name)
            stop.set()
        elif number == signal.SIGINT:
            force(number)

    def force(number: signal.Signals) -> None:
        _log.warning("%s: stopping at once", number.name)
        forced.set()
        server.abort()
        running.cancel()

    forked.restore(*SIGNALS)
    loop.add_signal_handler(signal.SIGTERM, ask, signal.SIGTERM)
    loop.add_signal_handler(signal.SIGINT, ask, signal.SIGINT)
    loop.add_signal_handler(signal.SIGQUIT, force, signal.SIGQUIT)
    loop.add_signal_handler(signal.SIGUSR1, reopen)
    loop.add_signal_handler(signal.SIGHUP, _reload, server)
    loop.add_signal_handler(signal.SIGUSR2, _dump, server)
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        loop.add_signal_handler(number, _log.warning, "%s: there are no workers here to be more or fewer", number.name)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    async def watch() -> None:
        await server.failed.wait()
        stop.set()

    watching = loop.create_task(watch())
    try:
        await within(server, stop, stop.wait)
        if server.failed.is_set():
            _log.critical("no process of the pool can be started any more")
            return 4
    except asyncio.CancelledError:
        if not forced.is_set():
            raise
    finally:
        watching.cancel()
    _log.info("stopped")
    return 0


def _reload(server: Server) -> None:
    server.reload_certificates()
    _log.warning("SIGHUP: an application object cannot be reloaded; give its name, such as 'module:attribute'")


def _dump(server: Server) -> None:
    log_with_trace(_log, logging.WARNING, *dump(server))


async def within(server: Server, stop: asyncio.Event, body: Callable[[], Awaitable[object]]) -> None:
    """Start the server and do what `body` says; `stop` ends a start-up that takes long or hangs, too."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        starting = loop.create_task(stack.enter_async_context(server))
        stopping = loop.create_task(stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                await body()
        finally:
            stopping.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.wait((starting,), timeout=1.0)
