"""Every option, once: a field of `Settings` is the option, its default, its help and its page in the docs.

Ground: plain frozen data. `sources.py` fills it from the command line, the environment and Python; the
floors between take the small groups (`groups.py`) and never the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from bridgeserve.binds import Bind, parse_bind, tcp_bind
from bridgeserve.cpus import available_cpus, default_threads
from bridgeserve.groups import Admission, Children, Limits, Reserve, Timeouts
from bridgeserve.log_settings import LogSettings
from bridgeserve.option import GROUPS, Option, choice, option, option_of
from bridgeserve.peer_settings import PeerSettings
from bridgeserve.reload_settings import ReloadSettings
from bridgeserve.websocket_settings import WebSocketSettings

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings(PeerSettings, LogSettings, ReloadSettings, WebSocketSettings):
    """All options with their values.

    Times are seconds, sizes octets. Values are checked by `sources.py`, not here.
    """

    mode: str = choice(
        "Application",
        "Where the app runs. auto: ASGI inline, WSGI threads.",
        "auto",
        "inline",
        "threads",
        "processes",
    )
    interface: str = choice("Application", "What the app is. auto looks at it.", "auto", "asgi", "wsgi")
    factory: bool = option("flag", "Application", "Call APP without arguments; it returns the app.", False)
    threads: int = option(
        "int",
        "Application",
        "Size of the thread pool.",
        make=default_threads,
        aliases=("--blocking-threads",),
        minimum=1,
        maximum=4096,
        default="min(32, CPUs + 4), CPUs as the control group grants them",
    )
    processes: int = option(
        "int",
        "Application",
        "Size of the process pool.",
        make=available_cpus,
        minimum=1,
        maximum=1024,
        default="CPUs, as the control group grants them",
    )
    preload: bool = option(
        "flag", "Application", "Import the app once and fork the process pool from that process.", False
    )
    max_requests: int | None = option(
        "int",
        "Application",
        "Requests after which a process of the pool, or in other modes a worker, gets a successor.",
        minimum=1,
        aliases=("--limit-max-requests",),
    )
    max_requests_jitter: int = option(
        "int",
        "Application",
        "Up to so many requests more, by chance for each process, so that they do not all go together.",
        0,
        minimum=0,
        aliases=("--limit-max-requests-jitter",),
    )
    max_lifetime: float | None = option(
        "float",
        "Application",
        "Age in seconds after which a process of the pool, or in other modes a worker, gets a successor.",
        minimum=1,
        aliases=("--workers-lifetime",),
    )
    max_rss: int | None = option(
        "int",
        "Application",
        "Resident memory above which a process of the pool, or in other modes a worker, gets a successor (Linux).",
        minimum=MIB,
        metavar="BYTES",
    )
    root_path: str = option(
        "text", "Application", "ASGI root_path, WSGI SCRIPT_NAME.", "", metavar="PATH", aliases=("--url-path-prefix",)
    )
    lifespan: str = choice(
        "Application",
        "Run the ASGI lifespan. auto: when the app supports it.",
        "auto",
        "on",
        "off",
        aliases=("--asgi-lifespan",),
    )
    app_dir: str = option("path", "Application", "Directory put in front of the import path.", ".", metavar="DIR")

    bind: tuple[str, ...] = option(
        "bind",
        "Sockets",
        "Address to listen at; may be given many times. Port 0 picks a free one and prints it.",
        ("127.0.0.1:8000",),
        aliases=("-b",),
        metavar="ADDR",
    )
    host: str | None = option("text", "Sockets", "Host of the one bind.", metavar="HOST")
    port: int | None = option("int", "Sockets", "Port of the one bind.", minimum=0, maximum=65535, shared="PORT")
    uds: str | None = option("path", "Sockets", "Unix socket of the one bind.", metavar="PATH")
    fd: int | None = option("int", "Sockets", "Inherited descriptor of the one bind.", minimum=0)
    backlog: int = option(
        "int", "Sockets", "Connections the system holds before we accept.", 2048, minimum=1, maximum=2**31 - 1
    )
    reuse_port: bool = option("flag", "Sockets", "Let other servers listen at the same TCP port (SO_REUSEPORT).", False)
    loop: str = choice(
        "Sockets",
        "Event loop. auto: uvloop where it is installed.",
        "auto",
        "uvloop",
        "asyncio",
        aliases=("--asgi-loop",),
    )
    http: str = choice(
        "Sockets", "auto: the plain reader with h11 behind it. h11: h11 for every request.", "auto", "h11"
    )

    limit_concurrency: int | None = option(
        "int", "Overload", "Requests running at once; idle connections do not count.", minimum=1
    )
    limit_queue: int = option(
        "int", "Overload", "Requests waiting for a thread or a process; beyond: 503 with Retry-After.", 1024, minimum=0
    )
    timeout_queue: float = option(
        "float", "Overload", "Longest wait in that queue, in seconds; beyond: 503.", 30.0, minimum=0
    )
    reserve: tuple[str, ...] = option(
        "reserve",
        "Overload",
        "Keep N threads, processes, or places of --limit-concurrency free for requests whose path matches PATTERN,"
        " such as '/health*:1'; may be given many times.",
        (),
        metavar="PATTERN:N",
    )
    limit_connections: int | None = option(
        "int",
        "Overload",
        "Connections open at once; beyond, none is accepted until one closes.",
        minimum=1,
        aliases=("--worker-connections",),
    )

    limit_request_line: int = option(
        "int", "Limits", "Octets of the request line; beyond: 414.", 8190, minimum=64, maximum=MIB
    )
    limit_request_fields: int = option(
        "int", "Limits", "Number of header fields; beyond: 431.", 100, minimum=1, maximum=32768
    )
    limit_request_field_size: int = option(
        "int",
        "Limits",
        "Octets of one header field; beyond: 431.",
        8190,
        minimum=64,
        maximum=MIB,
        aliases=("--limit-request-field_size",),
    )
    limit_request_body: int | None = option(
        "int", "Limits", "Octets of a request body; beyond: 413.", minimum=0, metavar="BYTES"
    )
    body_memory: int = option(
        "int",
        "Limits",
        "A buffered body above this goes to a temporary file.",
        MIB,
        minimum=0,
        metavar="BYTES",
    )
    request_buffering: bool = option(
        "switch", "Limits", "WSGI: on takes a thread only when the body is complete, off streams it.", True
    )

    timeout_header: float = option("float", "Timeouts", "Time for a whole request head, in seconds.", 10.0, minimum=0.1)
    timeout_body: float = option(
        "float", "Timeouts", "Longest silence inside a request body, in seconds.", 30.0, minimum=0.1
    )
    min_body_rate: int = option(
        "int",
        "Timeouts",
        "Octets a second that a request body must bring over its last 10 s, else 408, and that a client must take"
        " while it is behind with its answer, over --timeout-write, else a cut; 0: off.",
        64,
        minimum=0,
    )
    timeout_write: float = option(
        "float",
        "Timeouts",
        "Longest stall of a client that does not read its answer, in seconds; then a cut.",
        30.0,
        minimum=0.1,
    )
    timeout_keep_alive: float = option(
        "float",
        "Timeouts",
        "How long an idle connection stays open, in seconds.",
        75.0,
        minimum=0,
        aliases=("--keep-alive",),
    )
    timeout_request: float | None = option(
        "float",
        "Timeouts",
        "Longest run of the app for one request, in seconds; beyond: 504, or a cut when the answer has begun.",
        minimum=0.1,
        aliases=("-t", "--timeout"),
    )
    timeout_graceful: float = option(
        "float",
        "Timeouts",
        "Time that busy requests get at a stop, in seconds.",
        30.0,
        minimum=0,
        aliases=("--graceful-timeout", "--timeout-graceful-shutdown", "--workers-kill-timeout"),
    )
    timeout_start: float = option(
        "float",
        "Timeouts",
        "Time that a worker, or a process of the pool, gets to import the app and to start it, in seconds.",
        120.0,
        minimum=1,
    )
    timeout_worker: float = option(
        "float",
        "Timeouts",
        "How long the loop of a worker may stand still before the worker gets a successor, in seconds; 0: for ever.",
        60.0,
        minimum=1,
        zero=True,
    )

    header: tuple[str, ...] = option(
        "header",
        "Responses",
        "Header added to every response; may be given many times.",
        (),
        metavar="NAME:VALUE",
    )
    server_header: bool = option("flag", "Responses", "Send Server.", True)
    date_header: bool = option("flag", "Responses", "Send Date.", True)

    workers: int = option(
        "int",
        "Process",
        "Processes that accept connections, each with its own loop.",
        1,
        minimum=1,
        maximum=1024,
        aliases=("-w",),
        shared="WEB_CONCURRENCY",
    )
    config: str | None = option(
        "path",
        "Process",
        "TOML file with options.",
        aliases=("-c",),
        metavar="FILE",
        default="bridgeserve.toml, then [tool.bridgeserve] of pyproject.toml, of the current directory",
    )
    env_file: str | None = option(
        "path", "Process", "File of NAME=VALUE lines put into the environment.", metavar="FILE"
    )
    chdir: str | None = option(
        "path", "Process", "Directory to change to before the app is loaded.", metavar="DIR", aliases=("--working-dir",)
    )
    pid: str | None = option(
        "path", "Process", "File that holds the process id while we run.", metavar="FILE", aliases=("-p", "--pid-file")
    )

    @property
    def limits(self) -> Limits:
        """What the wire refuses."""
        return Limits(
            request_line=self.limit_request_line,
            fields=self.limit_request_fields,
            field_size=self.limit_request_field_size,
            body=self.limit_request_body,
        )

    @property
    def timeouts(self) -> Timeouts:
        """How long a connection may take for each of its states."""
        return Timeouts(
            header=self.timeout_header,
            body=self.timeout_body,
            min_body_rate=self.min_body_rate,
            write=self.timeout_write,
            keep_alive=self.timeout_keep_alive,
        )

    @property
    def admission(self) -> Admission:
        """What is done under overload."""
        pairs = (entry.rpartition(":") for entry in self.reserve)
        return Admission(
            concurrency=self.limit_concurrency,
            queue=self.limit_queue,
            queue_timeout=self.timeout_queue,
            run_timeout=self.timeout_request,
            reserve=tuple(Reserve(pattern, int(lanes)) for pattern, _, lanes in pairs),
        )

    @property
    def children(self) -> Children:
        """The processes of the pool."""
        return Children(
            size=self.processes,
            start=self.timeout_start,
            preload=self.preload,
            max_requests=self.max_requests,
            max_requests_jitter=self.max_requests_jitter,
            max_lifetime=self.max_lifetime,
            max_rss=self.max_rss,
        )

    @property
    def binds(self) -> tuple[Bind, ...]:
        """Where to listen: uds, fd, or host and port when one of them is set, else every entry of `bind`.

        Raises ValueError for an entry that is not a bind (never after `sources.py` has checked it).
        """
        if self.uds is not None:
            return (Bind(kind="unix", path=self.uds),)
        if self.fd is not None:
            return (Bind(kind="fd", fd=self.fd),)
        if self.host is not None or self.port is not None:
            host = "127.0.0.1" if self.host is None else self.host
            return (tcp_bind(host, 8000 if self.port is None else self.port),)
        return tuple(parse_bind(text) for text in self.bind)

    @property
    def extra_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The entries of `header` as (name, value), stripped."""
        pairs = (entry.partition(":") for entry in self.header)
        return tuple((name.strip().encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs)


# In the order of their groups: those of a base class come first among the fields.
OPTIONS: dict[str, Option] = {
    item.name: option_of(item)
    for item in sorted(fields(Settings), key=lambda item: GROUPS.index(option_of(item).group))
}
