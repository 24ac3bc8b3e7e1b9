"""What a session tells its connection. Plain slotted objects: they are made per request."""

from __future__ import annotations


class Request:
    """One request head and, where it came in the same read, its whole body.

    `path` and `query` are raw octets (percent-encoded). `headers` are (name, value) pairs of
    bytes, names in lower case, in the order of arrival (RFC 9110 section 5). With an
    absolute-form target the Host is the target's authority (RFC 9112 section 3.2.2). `raw` is
    the head as it came, without its empty line. `complete` is true when `body` is the whole
    body, else chunks follow as `BodyChunk`. `usual` is true for HTTP/1.1 with an origin-form
    target, one Host, no body and no option of the connection but keep-alive. `claims` is true when
    a field or the target speaks of another client, scheme or host than the connection's: whether it
    is believed depends on the peer (`wire.forwarded`).
    """

    __slots__ = (
        "body",
        "chunked",
        "claims",
        "complete",
        "content_length",
        "expect_continue",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "raw",
        "target",
        "upgrade",
        "usual",
        "version",
    )

    def __init__(self, method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.raw = b""
        self.path = target
        self.query = b""
        self.body = b""
        self.complete = True
        self.content_length: int | None = None
        self.chunked = False
        self.expect_continue = False
        self.keep_alive = True
        self.upgrade = False
        self.usual = True
        self.claims = False

    def __repr__(self) -> str:
        return f"<Request {self.method!r} {self.target!r} HTTP/{self.version}>"


class BodyChunk:
    """Some octets of the request body, never empty."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class RequestEnd:
    """The request body is complete."""

    __slots__ = ()


class Refused:
    """The peer's fault: `payload` is the answer to write (empty when none can be given).

    After it the connection lingers and closes (RFC 9112 section 9.6).
    """

    __slots__ = ("payload", "reason", "status")

    def __init__(self, status: int, reason: str, payload: bytes) -> None:
        self.status = status
        self.reason = reason
        self.payload = payload


class Expired:
    """A wait of ours ended with nothing to answer: close the connection."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


Event = Request | BodyChunk | RequestEnd | Refused | Expired
REQUEST_END = RequestEnd()
