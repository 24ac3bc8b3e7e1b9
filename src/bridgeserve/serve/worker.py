"""A worker: `python -m bridgeserve.serve.worker LINK`, started by the supervisor only.

It gets its setup and its listening sockets from the supervisor, says "ready" when the application has started, and
"beat" while its loop turns. It ends when it is told to, or when the supervisor is gone; then as at a TERM: it serves
what it has and leaves, at the latest some seconds after the grace time.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import faulthandler
import logging
import os
import random
import signal
import socket
import sys
import threading
from typing import Any

from bridgeserve.dispatch import forked
from bridgeserve.dispatch.nursery import resident
from bridgeserve.observe import crash
from bridgeserve.observe.logconfig import LogConfigError
from bridgeserve.observe.logs import log_with_trace, reopen
from bridgeserve.serve.application import StartupError, app_trace, prepare
from bridgeserve.serve.dump import dump
from bridgeserve.serve.link import Link
from bridgeserve.serve.logs import set_up_logs
from bridgeserve.serve.main import loop_factory, within
from bridgeserve.serve.server import Server
from bridgeserve.settings import Settings

_log = logging.getLogger("bridgeserve")
BEAT = 1.0  # seconds, at most
LOOK = 0.25  # seconds between two looks at requests, age and memory
LAST = 5.0  # seconds beyond twice the grace time after which an orphan ends whatever it does
STACK_SIGNAL = signal.SIGUSR2
# A terminal or a service manager sends these to all of us; the supervisor tells us what they mean.
GROUP = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU)


def settings_of(values: dict[str, Any]) -> Settings:
    """Settings that have travelled as JSON."""
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Settings(**given)


class Worker:
    """A server that is run by a supervisor."""

    def __init__(self, link: Link, server: Server, settings: Settings) -> None:
        self._link = link
        self._server = server
        self._settings = settings
        self._stop = asyncio.Event()
        self._handover = False
        self._forced = False
        self._due = ""
        self._due_told = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._began = self._loop.time()
        self._most = float("inf")
        self._looks = 0
        self._beat = min(BEAT, settings.timeout_worker / 4 or BEAT)
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> int:
        """Serve until told to end; the exit code."""
        self._loop.add_signal_handler(signal.SIGTERM, self._ask, "SIGTERM")
        forked.restore(signal.SIGTERM, *GROUP)
        self._link.attach(self._hear_on)
        try:
            await within(self._server, self._stop, self._serve)
        except asyncio.CancelledError:
            if not self._forced:
                raise
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, *GROUP))  # not while the interpreter ends
            if self._timer is not None:
                self._timer.cancel()
        if self._server.failed.is_set():
            _log.critical("no process of the pool can be started any more")
            return 4
        return 0

    async def _serve(self) -> None:
        """The application has started."""
        server, settings = self._server, self._settings
        self._link.say("ready", words=server.words)
        if server.mode != "processes" and settings.max_requests is not None:
            self._most = settings.max_requests + random.randint(0, settings.max_requests_jitter)
        if server.kind == "wsgi" and server.mode == "inline":
            # The application runs on the loop, as long as it likes: that is no fault of the loop.
            threading.Thread(target=self._beat_on, name="bridgeserve-beat", daemon=True).start()
        self._look()
        failing = self._loop.create_task(server.failed.wait())
        stopping = self._loop.create_task(self._stop.wait())
        try:
            await asyncio.wait((failing, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            failing.cancel()
            stopping.cancel()
        _log.info("worker (pid %d) accepts no more and finishes what it has", os.getpid())
        await server.drain(self._handover)
        self._link.say("drained")

    # --- signs of life -------------------------------------------------------------------------

    def _look(self) -> None:
        """Beat, and find out whether it is time for a successor."""
        self._timer = self._loop.call_later(LOOK, self._look)
        if self._looks % max(round(self._beat / LOOK), 1) == 0:
            self._link.say("beat", stats=self._server.stats())
        self._looks += 1
        settings = self._settings
        if self._due:
            self._tell_due()
        if self._due or self._server.mode == "processes":
            return  # there the children are renewed
        if self._server.requests >= self._most:
            self._ask("max_requests")
        elif settings.max_lifetime is not None and self._loop.time() - self._began >= settings.max_lifetime:
            self._ask("max_lifetime")
        elif settings.max_rss is not None and resident(os.getpid()) > settings.max_rss:
            self._ask("max_rss")

    def _ask(self, cause: str) -> None:
        """Ask for a successor."""
        if not self._due:
            self._due = cause
            _log.debug("asking for a successor: %s", cause)
            self._tell_due()

    def _tell_due(self) -> None:
        self._due_told = self._due_told or self._link.say("due", cause=self._due)

    def _beat_on(self) -> None:
        """(thread)"""
        pause = threading.Event()
        while not pause.wait(self._beat):
            self._link.say("beat")

    # --- what the supervisor says --------------------------------------------------------------

    def _hear_on(self, word: str, more: dict[str, Any]) -> None:
        """(thread)"""
        if word == "orphaned":
            last_resort(2 * self._settings.timeout_graceful + LAST)
        self._loop.call_soon_threadsafe(self._hear, word, more)

    def _hear(self, word: str, more: dict[str, Any]) -> None:
        if word == "drain":
            self._handover = more["handover"]
            self._stop.set()
        elif word == "stop" or (word == "leave" and not self._server.addresses):
            # One that accepts already has said so, and is told to drain when that has come to the supervisor.
            self._forced = True
            self._server.abort()
            if self._task is not None:
                self._task.cancel()
        elif word == "orphaned":
            _log.error("the supervisor is gone: finishing what is in flight")
            self._stop.set()
        elif word == "reopen":
            reopen()
        elif word == "dump":
            log_with_trace(_log, logging.WARNING, *dump(self._server))


def last_resort(seconds: float) -> None:
    """End this process after so many seconds, whatever it does then."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()


def hear_alone(word: str) -> None:
    """(thread) What the supervisor says while nobody hears but us: it does not want us any more, or is gone."""
    if word in ("leave", "stop", "orphaned"):
        os._exit(0)


def prepared_app(name: str, settings: Settings) -> tuple[object, Settings]:
    """The application, and what was found out about it; raises StartupError."""
    found = prepare(
        name,
        factory=settings.factory,
        app_dir=settings.app_dir,
        interface=settings.interface,
        mode=settings.mode,
    )
    if found.mode == "processes":  # its processes load it
        return name, settings
    return found.app, dataclasses.replace(settings, factory=False, interface=found.kind, mode=found.mode)


def work(link: Link, setup: dict[str, Any]) -> int:
    """Be a worker; the exit code."""
    settings = settings_of(setup["settings"])
    sys.path[:0] = [each for each in setup["path"] if each not in sys.path]
    listeners = [socket.socket(fileno=number) for number in setup["listeners"]]
    for listener in listeners:
        listener.set_inheritable(False)
    link.listen(hear_alone)

    async def run(app: object, known: Settings) -> int:
        return await Worker(link, Server(app, known, listeners), known).run()

    try:
        set_up_logs(settings)
        # Not on the loop: much of what an import does asks whether one runs.
        app, known = prepared_app(setup["app"], settings)
        with asyncio.Runner(loop_factory=loop_factory(settings.loop)) as runner:
            return runner.run(run(app, known))
    except LogConfigError as error:
        link.say_why(str(error), "")
        return 3
    except StartupError as error:
        trace = error.trace if error.__cause__ is None else app_trace(error.__cause__)
        link.say_why(str(error), trace)
        return 3
    except Exception:
        # The last place that can say why the process ends.
        _log.exception("the worker failed")
        return 1


def main() -> None:
    """See above."""
    for number in GROUP:
        # Handlers, not SIG_IGN: what the application starts must not inherit it.
        signal.signal(number, lambda number, frame: None)
    crash.enable(sys.stderr)
    faulthandler.register(STACK_SIGNAL, all_threads=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*GROUP, STACK_SIGNAL))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # whatever it is, it is no text stream
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # last words are not lost
    link = Link(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[1:] = []
    setup = link.setup()
    sys.exit(0 if setup is None else work(link, setup))


if __name__ == "__main__":
    main()
