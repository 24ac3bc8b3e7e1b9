"""Small groups of values, as the floors between take them instead of all `Settings`. Ground: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in octets (fields: a count) above which a request is refused. body None: no limit."""

    request_line: int = 8190
    fields: int = 100
    field_size: int = 8190
    body: int | None = None


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Files and rules of TLS. `keyfile` None: the key is in the file of the certificate. `ciphers` "": our choice."""

    certfile: str
    keyfile: str | None = None
    password: str | None = None
    ca_certs: str | None = None
    cert_reqs: str = "none"
    min_version: str = "1.2"
    ciphers: str = ""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds, except min_body_rate: octets a second (0: no floor) of a body, in either direction."""

    header: float = 10.0
    body: float = 30.0
    min_body_rate: int = 64
    write: float = 30.0
    keep_alive: float = 75.0
    linger: float = 2.0

    @property
    def least_read(self) -> int:
        """Octets that a client that is behind must take within the write timeout."""
        return max(int(self.min_body_rate * self.write), 1)


@dataclass(frozen=True)
class Reserve:
    """Lanes (threads, processes, requests at once) kept free for requests whose path matches the pattern, a glob."""

    pattern: str
    lanes: int


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Requests running at once (None: no limit), requests waiting, and the longest wait and run in seconds (None: no
    limit); lanes that are kept free.
    """

    concurrency: int | None = None
    queue: int = 1024
    queue_timeout: float = 30.0
    run_timeout: float | None = None
    reserve: tuple[Reserve, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Children:
    """How many processes there are, how many seconds each gets to start, and after how many requests, seconds or octets
    each gets a successor.
    """

    size: int = 1
    start: float = 120.0
    preload: bool = False
    max_requests: int | None = None
    max_requests_jitter: int = 0
    max_lifetime: float | None = None
    max_rss: int | None = None


@dataclass(frozen=True, kw_only=True)
class WebSocketLimits:
    """What a WebSocket may cost.

    max_size: octets of a message, inflated. Times are seconds; a ping_interval of 0 sends no pings. window_bits and
    memory_level are zlib's, for each direction of a connection that compresses.
    """

    max_size: int = 16 * 1024 * 1024
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    deflate: bool = True
    window_bits: int = 12
    memory_level: int = 5
    close_timeout: float = 5.0
