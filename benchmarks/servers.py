"""The servers that are measured, as data. A server that cannot run is reported, so it keeps its row here.

All get the same: one core, the same number of threads, no access log (but in one workload), idle connections that
stay open for 75 s, and room for thousands of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata

from benchmarks.apps.bridged import THREADS_VARIABLE
from benchmarks.processes import Running, free_port, running

PROCESSES = 2
MANY = "8000"
ASGI, WSGI, RAW = "asgi", "wsgi", "raw"
SOCKET = "socket"  # ASGI again, for workloads of WebSocket: a row for each way in which a server speaks it


@dataclass(frozen=True)
class Job:
    """What a server is started for."""

    app: str  # module:attribute
    port: int
    threads: int
    logged: bool

    def log(self, on: list[str], off: list[str]) -> list[str]:
        """The arguments for the access log."""
        return on if self.logged else off


@dataclass(frozen=True)
class Server:
    """One row of the table.

    `arguments` makes what follows `python -m`; `packages` are the distributions that it needs, the first is the one
    whose version counts; `closes`: it ends each connection after one answer; `logs`: it has an access log; `budget`
    is the most that a request of `hello` may cost, as a ratio to the floor.
    """

    name: str
    interface: str
    packages: tuple[str, ...]
    arguments: Callable[[Job], list[str]]
    closes: bool = False
    logs: bool = True
    budget: float | None = None

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if version(name) is None]

    def version(self) -> str:
        """Name and version of the first package."""
        return f"{self.packages[0]} {version(self.packages[0])}"

    @contextmanager
    def running(self, app: str, threads: int, logged: bool, core: int) -> Iterator[Running]:
        """The server on one core."""
        job = Job(app, free_port(), threads, logged)
        with running(self.arguments(job), job.port, core, {THREADS_VARIABLE: str(threads)}) as found:
            yield found


def version(package: str) -> str | None:
    """The installed version of a distribution."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _floor(job: Job) -> list[str]:
    return ["benchmarks.floor", str(job.port)]


def _bridgeserve(*mode: str, threads: bool = False) -> Callable[[Job], list[str]]:
    def arguments(job: Job) -> list[str]:
        pool = ["--threads", str(job.threads)] if threads else []
        log = job.log(["--access-log"], ["--no-access-log"])
        place = ["--bind", f"127.0.0.1:{job.port}", "--log-level", "warning"]
        return ["bridgeserve", job.app, "--mode", *mode, *pool, *place, *log]

    return arguments


def _uvicorn(http: str, *more: str) -> Callable[[Job], list[str]]:
    def arguments(job: Job) -> list[str]:
        log = job.log(["--log-level", "info"], ["--no-access-log", "--log-level", "warning"])
        place = ["--host", "127.0.0.1", "--port", str(job.port)]
        common = ["--loop", "uvloop", "--http", http, "--timeout-keep-alive", "75"]
        return ["uvicorn", job.app, *place, *common, *more, *log]

    return arguments


def _bridged(job: Job) -> list[str]:
    inner = job.app.partition(":")[2] if ".wsgi:" in job.app else job.app.partition("apps.")[2].partition("_app")[0]
    return _uvicorn("httptools")(Job(f"benchmarks.apps.bridged:{inner}", job.port, job.threads, job.logged))


def _uvicorn_socket(name: str, library: str, core: str) -> Server:
    packages = ("uvicorn", library, "httptools", "uvloop")
    return Server(name, SOCKET, packages, _uvicorn("httptools", "--ws", core))


def _granian(interface: str) -> Callable[[Job], list[str]]:
    def arguments(job: Job) -> list[str]:
        # It accepts as many connections as its backlog is long.
        common = ["--host", "127.0.0.1", "--port", str(job.port), "--interface", interface, "--backlog", MANY]
        pool = ["--blocking-threads", str(job.threads)] if interface == WSGI else []
        log = job.log(["--access-log", "--log-level", "info"], ["--no-access-log", "--log-level", "warning"])
        return ["granian", job.app, *common, *pool, *log]

    return arguments


def _gunicorn(kind: str, *more: str, threads: bool = False) -> Callable[[Job], list[str]]:
    def arguments(job: Job) -> list[str]:
        pool = ["--threads", str(job.threads)] if threads else []
        common = ["-b", f"127.0.0.1:{job.port}", "--keep-alive", "75", "--worker-connections", MANY]
        log = job.log(["--access-logfile", "-"], [])
        return ["gunicorn", "-k", kind, *common, "--log-level", "warning", *pool, *more, *log, job.app]

    return arguments


def _hypercorn(job: Job) -> list[str]:
    log = job.log(["--access-logfile", "-"], [])
    common = ["-b", f"127.0.0.1:{job.port}", "-k", "uvloop", "--keep-alive", "75", "--log-level", "warning"]
    return ["hypercorn", *common, "--backlog", "2048", *log, job.app]


def _daphne(job: Job) -> list[str]:
    log = job.log(["--access-log", "-"], [])
    return ["daphne", "-b", "127.0.0.1", "-p", str(job.port), "-v", "0", *log, job.app]


def _launched(name: str) -> Callable[[Job], list[str]]:
    return lambda job: ["benchmarks.launch", name, job.app, str(job.port), str(job.threads)]


def _uwsgi(*way: str) -> Callable[[Job], list[str]]:
    def arguments(job: Job) -> list[str]:
        place = [way[0], f"127.0.0.1:{job.port}", *way[1:], "--listen", "2048", "--buffer-size", "16384"]
        common = ["--master", "--processes", str(PROCESSES), "--need-app", "--die-on-term"]
        app = ["--module", job.app, *job.log([], ["--disable-logging"])]
        return [*_launched("uwsgi")(job), *place, *common, *app]

    return arguments


_OURS = ("bridgeserve",)
_TABLE = (
    Server("floor", RAW, ("uvloop",), _floor, logs=False),
    Server("bridgeserve-asgi", ASGI, _OURS, _bridgeserve("inline"), budget=2.6),
    Server("bridgeserve-wsgi-inline", WSGI, _OURS, _bridgeserve("inline")),
    Server("bridgeserve-threads", WSGI, _OURS, _bridgeserve("threads", threads=True), budget=3.3),
    Server("bridgeserve-processes", WSGI, _OURS, _bridgeserve("processes", "--processes", str(PROCESSES))),
    Server("uvicorn-httptools", ASGI, ("uvicorn", "httptools", "uvloop"), _uvicorn("httptools")),
    Server("uvicorn-h11", ASGI, ("uvicorn", "h11", "uvloop"), _uvicorn("h11")),
    Server("hypercorn", ASGI, ("hypercorn", "uvloop"), _hypercorn),
    Server("granian-asgi", ASGI, ("granian",), _granian(ASGI)),
    Server("gunicorn-asgi", ASGI, ("gunicorn", "uvloop"), _gunicorn("asgi")),
    Server("daphne", ASGI, ("daphne",), _daphne),
    Server("granian-wsgi", WSGI, ("granian",), _granian(WSGI)),
    Server("gunicorn-gthread", WSGI, ("gunicorn",), _gunicorn("gthread", threads=True)),
    Server("gunicorn-sync", WSGI, ("gunicorn",), _gunicorn("sync", "-w", str(PROCESSES)), closes=True),
    Server("waitress", WSGI, ("waitress",), _launched("waitress"), logs=False),
    Server("cheroot", WSGI, ("cheroot",), _launched("cheroot"), logs=False),
    # Its router keeps connections alive and costs; a worker that kept them by itself would be held by one client.
    Server("uwsgi-router", WSGI, ("pyuwsgi",), _uwsgi("--http", "--http-keepalive")),
    Server("uwsgi-socket", WSGI, ("pyuwsgi",), _uwsgi("--http-socket"), closes=True),
    Server("bjoern", WSGI, ("bjoern",), _launched("bjoern"), logs=False),
    Server("werkzeug", WSGI, ("werkzeug",), _launched("werkzeug"), closes=True, logs=False),
    Server("bridgeserve-ws", SOCKET, (*_OURS, "websockets"), _bridgeserve("inline")),
    _uvicorn_socket("uvicorn-ws-websockets", "websockets", "websockets"),
    _uvicorn_socket("uvicorn-ws-sansio", "websockets", "websockets-sansio"),
    _uvicorn_socket("uvicorn-ws-wsproto", "wsproto", "wsproto"),
    Server("hypercorn-ws", SOCKET, ("hypercorn", "uvloop"), _hypercorn),
    Server("granian-ws", SOCKET, ("granian",), _granian(ASGI)),
    Server("uvicorn-a2wsgi", WSGI, ("uvicorn", "a2wsgi", "httptools", "uvloop"), _bridged),
)
SERVERS: dict[str, Server] = {server.name: server for server in _TABLE}
