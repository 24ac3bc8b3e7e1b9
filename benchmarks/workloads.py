"""What is asked of the servers: one row for each workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.apps import content
from benchmarks.messages import HANDSHAKE, MORE_FIELDS, Answer, Template, expected, template
from benchmarks.servers import ASGI, RAW, SOCKET, WSGI

# Where clients see requests arrive one by one, they do so at this rate: below what the slowest server can do.
STEADY_RATE = 1000.0


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One row.

    `kind` names the load (`loads`); `apps` and `requests` are by interface; `answer` is None where the first server's
    answer is what the others must give too; `rate`: requests a second of the open model, 0 for none;
    `size`: octets of a message of WebSocket.
    """

    name: str
    what: str
    kind: str
    apps: Mapping[str, str]
    requests: Mapping[str, Template]
    answer: Answer | None = None
    connections: int = 32
    threads: int = 8
    rate: float = 0.0
    logged: bool = False
    size: int = 0


HELLO = expected(content.BODY)


def _both(name: str, *, raw: bool = False) -> dict[str, str]:
    apps = {ASGI: f"benchmarks.apps.asgi:{name}", WSGI: f"benchmarks.apps.wsgi:{name}"}
    return {**apps, RAW: ""} if raw else apps


def _same(request: Template) -> dict[str, Template]:
    return dict.fromkeys((ASGI, WSGI, RAW), request)


_GET = _same(template("/items/42?detail=full"))
_DOWN = _same(template("/stream?mb=0"))
_ECHO = {SOCKET: "benchmarks.apps.websocket:echo"}
_ASK = {SOCKET: template("/chat", more=HANDSHAKE)}
_PAGE = template("/items/3?detail=full")

_TABLE = (
    Workload(
        name="hello",
        what="a small JSON answer to eight header fields, one of which is new in every request",
        kind="closed",
        apps=_both("hello", raw=True),
        requests=_GET,
        answer=HELLO,
        rate=STEADY_RATE,
    ),
    Workload(
        name="hello-logged",
        what="hello with the access log on; servers without one are left out",
        kind="closed",
        apps=_both("hello"),
        requests=_GET,
        answer=HELLO,
        logged=True,
    ),
    Workload(
        name="json-post",
        what="2 KiB of JSON in, parsed, 2 KiB of JSON out",
        kind="closed",
        apps=_both("json_post"),
        requests=_same(template("/orders", "POST", body=content.ORDER_BODY)),
        answer=expected(content.total(content.ORDER_BODY)),
        rate=STEADY_RATE,
    ),
    Workload(
        name="headers-30",
        what="hello with 30 header fields",
        kind="closed",
        apps=_both("hello"),
        requests=_same(template("/items/42?detail=full", more=MORE_FIELDS)),
        answer=HELLO,
    ),
    Workload(
        name="stream-down",
        what="a long answer with a Content-Length, made by the app in pieces of 64 KiB",
        kind="download",
        apps=_both("stream_down"),
        requests=_DOWN,
    ),
    Workload(
        name="upload-length",
        what="a long request body with a Content-Length, read by the app in pieces of 64 KiB at most",
        kind="upload",
        apps=_both("upload"),
        requests=_GET,
    ),
    Workload(
        name="upload-chunked",
        what="a long request body in chunks of 64 KiB",
        kind="upload",
        apps=_both("upload"),
        requests=_GET,
    ),
    Workload(
        name="file",
        what="a file of 10 MiB by wsgi.file_wrapper or pathsend where the server has it",
        kind="file",
        apps=_both("file"),
        requests=_GET,
    ),
    Workload(
        name="io-wait",
        what="each request sleeps for 50 ms; 200 connections; 64 threads, or async",
        kind="closed",
        apps=_both("io_wait"),
        requests=_GET,
        answer=HELLO,
        connections=200,
        threads=64,
    ),
    Workload(
        name="cpu",
        what="each request computes for about 5 ms in plain Python",
        kind="closed",
        apps=_both("cpu"),
        requests=_GET,
        answer=expected(content.compute()),
    ),
    Workload(
        name="mixed",
        what="open model, 400 requests a second: every hundredth sleeps for 1 s; the figures are of the others",
        kind="mixed",
        apps=_both("mixed"),
        requests=_GET,
        answer=HELLO,
        rate=400.0,
    ),
    Workload(
        name="connections",
        what="thousands of idle keep-alive connections, each after one request, beside 50 busy ones",
        kind="idle",
        apps=_both("hello"),
        requests=_GET,
        answer=HELLO,
        connections=50,
    ),
    Workload(
        name="churn",
        what="a new connection for each request",
        kind="churn",
        apps=_both("hello"),
        requests=_same(template("/items/42?detail=full", more=(b"Connection: close",))),
        answer=HELLO,
    ),
    Workload(
        name="start",
        what="from the start of the process to the first answer; memory after it",
        kind="start",
        apps=_both("hello"),
        requests=_GET,
        answer=HELLO,
    ),
    Workload(
        name="ws-echo",
        what="WebSocket: an echo of 64 octets (a message is a request), one in flight on each of 32 connections",
        kind="ws-echo",
        apps=_ECHO,
        requests=_ASK,
        size=64,
    ),
    Workload(
        name="ws-echo-64k",
        what="the same with 64 KiB",
        kind="ws-echo",
        apps=_ECHO,
        requests=_ASK,
        size=65536,
    ),
    Workload(
        name="ws-idle",
        what="thousands of idle WebSockets, each after one echo",
        kind="ws-idle",
        apps=_ECHO,
        requests=_ASK,
        size=64,
    ),
    Workload(
        name="flask",
        what="a Flask view that renders a template of 20 rows",
        kind="closed",
        apps={WSGI: "benchmarks.apps.flask_app:app"},
        requests=_same(_PAGE),
    ),
    Workload(
        name="django",
        what="a Django view that renders a template of 20 rows; async for ASGI",
        kind="closed",
        apps={WSGI: "benchmarks.apps.django_app:wsgi_app", ASGI: "benchmarks.apps.django_app:asgi_app"},
        requests={WSGI: _PAGE, ASGI: template("/async/3?detail=full")},
    ),
    Workload(
        name="fastapi",
        what="a FastAPI view that checks its parameters and answers 20 rows of JSON by a model",
        kind="closed",
        apps={ASGI: "benchmarks.apps.fastapi_app:app"},
        requests=_same(_PAGE),
    ),
)
WORKLOADS: dict[str, Workload] = {workload.name: workload for workload in _TABLE}
