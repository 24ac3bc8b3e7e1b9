"""The supervisor: it owns the listening sockets and the processes of the workers, and does what `serve.fleet` says.

It never imports the application, so that there is nothing in it which can crash, leak or go stale: whatever the
application does, the sockets stay open, and a reload brings all of it anew. It runs on asyncio's own loop; each event
is handled at once and by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bridgeserve.net.listeners import ListenError
from bridgeserve.observe.logconfig import LogConfigError
from bridgeserve.observe.logs import log_with_trace, reopen
from bridgeserve.serve import orders
from bridgeserve.serve.application import StartupError
from bridgeserve.serve.fleet import Fleet
from bridgeserve.serve.lives import SERVING
from bridgeserve.serve.logs import set_up_logs
from bridgeserve.serve.main import pid_file
from bridgeserve.serve.notify import VARIABLES, Notifier, listen_fds
from bridgeserve.serve.process import HELD, WorkerProcess, adopt_orphans, deafen
from bridgeserve.serve.server import start_line
from bridgeserve.serve.sockets import Sockets, inherited
from bridgeserve.serve.watching import FileWatch, Wanted, load_watcher, watched
from bridgeserve.settings import Settings

_log = logging.getLogger("bridgeserve")
RELOAD_GRACE = 2.0  # seconds that open streams live on with --reload
SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "TTIN", "TTOU")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a generation is started with. binds_given: somebody has said where to listen. directory: where it works; "."
    for where we do.
    """

    app: str
    settings: Settings
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    binds_given: bool = True
    directory: str = "."

    @property
    def plan(self) -> orders.Plan:
        """The same for the fleet."""
        settings = self.settings
        return orders.Plan(
            size=settings.workers,
            start=settings.timeout_start,
            silence=settings.timeout_worker or None,
            grace=settings.timeout_graceful,
            patient=settings.reload,
        )

    @property
    def in_force(self) -> Launch:
        """The same; with --reload without patience for streams that do not end."""
        settings = self.settings
        if not settings.reload or settings.timeout_graceful <= RELOAD_GRACE:
            return self
        return dataclasses.replace(self, settings=dataclasses.replace(settings, timeout_graceful=RELOAD_GRACE))


def supervise(launch: Launch, again: Callable[[], Launch]) -> int:
    """Serve until a signal says stop; the exit code of the process.

    Signals are blocked when it returns, for the process is expected to end.

    :param again: reads the configuration once more, for HUP; raises StartupError.

    0: stopped; 1: runtime failure; 3: start-up failure, its reason on stderr; 4: the workers crash again and again.
    """
    try:
        launch = launch.in_force
        set_up_logs(launch.settings)
        deafen()  # whoever reads the pid file may send a signal: it waits for its handler
        with pid_file(launch.settings.pid), asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            end = runner.run(Supervisor(launch, again).run())
    except LogConfigError as error:
        sys.stderr.write(f"bridgeserve: {error}\n")
        return 2
    except StartupError as error:
        end = orders.End(3, str(error), error.trace)
    except Exception:
        # The last place that can say why the process ends.
        _log.exception("the supervisor failed")
        return 1
    if end.reason:
        sys.stderr.write(f"{end.trace}bridgeserve: {end.reason}\n")
    elif end.code == 0:
        _log.info("stopped")
    return end.code


class Supervisor:
    """See above. Everything here runs on the loop."""

    def __init__(self, launch: Launch, again: Callable[[], Launch]) -> None:
        self._launch = launch
        self._next: Launch | None = None
        self._again = again
        self._fleet = Fleet(launch.plan)
        self._processes: dict[int, WorkerProcess] = {}
        self._pids: dict[int, int] = {}  # also of those that have ended, until the log has them
        self._sockets = Sockets()
        self._notifier = Notifier(os.environ)
        try:
            self._given = listen_fds(os.environ, os.getpid())
        except ValueError as error:
            raise StartupError(str(error)) from None
        self._events: deque[orders.Event] = deque()
        self._busy = False
        self._gone = False  # the last reload has closed sockets: the workers of before serve their backlog
        self._timer: asyncio.TimerHandle | None = None
        self._told = ""
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Future[orders.End]

    async def run(self) -> orders.End:
        """Serve until the end.

        :raises StartupError: a socket cannot be opened.
        """
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.create_future()
        watching = None
        try:
            self._open(self._launch)
            self._sockets.adopt()
            watching = self._watch(self._launch.settings)
            self._listen_to_signals()
            if self._notifier.watchdog is not None:
                self._bark(self._notifier.watchdog)
            self._obey(self._fleet.start(self._loop.time()))
            return await self._end
        finally:
            deafen()
            if watching is not None:
                await watching.stop()
            self._sockets.close()
            for process in self._processes.values():  # only after a failure of ours
                process.signal(signal.SIGTERM)

    def _listen_to_signals(self) -> None:
        for name in SIGNALS:
            self._loop.add_signal_handler(getattr(signal, f"SIG{name}"), self._happen, orders.Signal(name))
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        # Also those that whoever started us has left blocked: without SIGCHLD no end of a worker would be seen.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*HELD, signal.SIGTERM, signal.SIGCHLD))

    def _watch(self, settings: Settings) -> FileWatch | None:
        """Watch the files of the application, where --reload says so. Raises StartupError."""
        if not settings.reload:
            return None
        load_watcher()
        folders = watched(settings.reload_dir, settings.app_dir)
        wanted = Wanted(folders, settings.reload_include, settings.reload_exclude)
        return FileWatch(folders, wanted, lambda: self._happen(orders.FilesChanged()))

    def _bark(self, interval: float) -> None:
        self._notifier.alive()
        self._loop.call_later(interval, self._bark, interval)

    # --- events --------------------------------------------------------------------------------

    def _happen(self, event: orders.Event) -> None:
        self._events.append(event)
        if self._busy:
            return  # it came out of an order; its turn comes below
        self._busy = True
        try:
            while self._events:
                self._obey(self._fleet.handle(self._events.popleft(), self._loop.time()))
        except Exception as error:
            if not self._end.done():
                self._end.set_exception(error)
        finally:
            self._busy = False

    def _obey(self, made: list[orders.Order]) -> None:
        for order in made:
            self._do(order)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._fleet.deadline(), self._happen, orders.Tick())
        status = self._status()
        if status != self._told:
            self._told = status
            self._notifier.status(status)

    def _reap(self) -> None:
        """Some process has ended."""
        for number, process in list(self._processes.items()):
            code = process.ended()
            if code is not None:
                process.read()  # its last words
                self._loop.remove_reader(process.fileno())
                process.close()
                del self._processes[number]
                self._happen(orders.Exited(number, code))
                del self._pids[number]
        adopt_orphans({process.pid for process in self._processes.values()})

    def _read(self, process: WorkerProcess) -> None:
        if not process.read():
            self._loop.remove_reader(process.fileno())

    def _hear(self, number: int, message: dict[str, Any]) -> None:
        process = self._processes[number]
        word = message["word"]
        if word == "ready":
            process.words = message["words"]
            self._happen(orders.Ready(number))
        elif word == "beat":
            process.stats = message.get("stats", process.stats)
            self._happen(orders.Beat(number))
        elif word == "due":
            log_with_trace(_log, logging.INFO, f"{self._name(number)} gets a successor: {message['cause']}")
            self._happen(orders.Due(number, message["cause"]))
        elif word == "drained":
            self._happen(orders.Drained(number))
        elif word == "failed":
            self._happen(orders.Failed(number, message["reason"], message["trace"]))

    # --- orders --------------------------------------------------------------------------------

    def _do(self, order: orders.Order) -> None:
        match order:
            case orders.Spawn(number, generation):
                self._spawn(number, generation)
            case orders.Drain(number, handover):
                self._tell(number, {"word": "drain", "handover": handover and not self._gone})
            case orders.Tell(number, word):
                self._tell(number, {"word": word})
            case orders.Kill(number):
                self._signal(number, signal.SIGKILL)
            case orders.Stacks(number):
                self._signal(number, signal.SIGUSR2)
            case orders.Configure():
                self._configure()
            case orders.Adopt():
                self._adopt()
            case orders.Discard():
                self._next = None
                self._sockets.discard()
                self._go_back()
            case orders.CloseSockets():
                self._sockets.close()
            case orders.Report(state):
                self._notifier.state(state)
            case orders.Log(level, text, number, trace):
                log_with_trace(_log, level, f"{self._name(number)} {text}" if number else text, trace)
            case orders.Announce():
                self._announce()
            case orders.ReopenLogs():
                reopen()
            case orders.End():
                self._end.set_result(order)

    def _spawn(self, number: int, generation: int) -> None:
        launch = self._launch if generation == self._fleet.generation or self._next is None else self._next
        setup = {"app": launch.app, "path": sys.path, "settings": dataclasses.asdict(launch.settings)}
        listeners = self._sockets.descriptors(prepared=launch is self._next)
        environ = {name: value for name, value in launch.environ.items() if name not in VARIABLES}
        try:
            process = WorkerProcess(setup, listeners, environ, partial(self._hear, number))
        except OSError as error:
            self._loop.call_soon(
                self._happen, orders.Failed(number, f"no process can be started: {error.strerror or error}")
            )
            self._loop.call_soon(self._happen, orders.Exited(number, 1))
            return
        self._processes[number] = process
        self._pids[number] = process.pid
        self._loop.add_reader(process.fileno(), self._read, process)
        self._loop.call_soon(self._reap)  # it may have ended before we could look

    def _tell(self, number: int, message: dict[str, Any]) -> None:
        if number in self._processes:
            self._processes[number].tell(message)

    def _signal(self, number: int, what: int) -> None:
        if number in self._processes:
            self._processes[number].signal(what)

    def _name(self, number: int) -> str:
        return f"worker {number} (pid {self._pids.get(number, '-')})"

    def _announce(self) -> None:
        words = next(iter(self._processes.values())).words
        size = len(self._processes)
        many = f", {size} workers" if size > 1 else ""
        log_with_trace(
            _log,
            logging.INFO,
            start_line(self._sockets.addresses, words + many, secure=self._launch.settings.tls is not None),
        )

    def _status(self) -> str:
        fleet = self._fleet
        serving = sum(worker.state == SERVING for worker in fleet.workers.values())
        return f"{fleet.phase}: {serving} of {fleet.size} workers serve, generation {fleet.generation}"

    # --- configuration -------------------------------------------------------------------------

    def _open(self, launch: Launch) -> None:
        """Open the sockets that are new. Raises StartupError."""
        try:
            binds = launch.settings.binds
            if self._given and not launch.binds_given:
                binds = inherited(self._given)
            elif self._given:
                named = {bind.fd for bind in binds if bind.kind == "fd"}
                unused = [each for each in self._given if each not in named]
                if unused:
                    _log.warning("sockets of LISTEN_FDS that are not used, because a bind is given: %s", unused)
            self._sockets.prepare(binds, launch.settings.backlog, launch.settings.reuse_port)
        except (ListenError, ValueError) as error:
            raise StartupError(str(error)) from None

    def _configure(self) -> None:
        try:
            launch = self._again().in_force
            self._open(launch)
        except StartupError as error:
            self._go_back()
            self._happen(orders.Misconfigured(str(error)))
            return
        self._next = launch
        self._happen(orders.Configured(launch.plan))

    def _go_back(self) -> None:
        """To the working directory of the configuration that counts; the one that was read went to its own."""
        with contextlib.suppress(OSError):  # it may be gone: the next start says so
            os.chdir(self._launch.directory)

    def _adopt(self) -> None:
        assert self._next is not None
        self._launch, self._next = self._next, None
        try:
            self._gone = self._sockets.adopt()
        except ListenError as error:
            self._gone = True
            _log.error("%s", error)
        try:
            set_up_logs(self._launch.settings)
        except (LogConfigError, StartupError) as error:  # the candidate could do it a moment ago
            _log.error("%s", error)
