"""A pool of threads for a test: real threads, a fake exchange, and apps that wait until they are told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bridgeserve.dispatch.threads import ThreadPool
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.groups import Admission
from dispatch.fakes import FakeExchange, make_request
from net.clock import until

StartResponse = Callable[..., Callable[[bytes], None]]
Run = Callable[[Callable[[], Any]], None]
LIMIT = 15.0  # seconds after which a wait of a thread is a failure


def make_pool(app: Any, size: int = 2, *, memory: int = 1000, buffering: bool = True, **admission: Any) -> ThreadPool:
    runner = WsgiRunner(app, multithread=True, multiprocess=False)
    return ThreadPool(runner, size, Admission(**admission), memory, buffering)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def numbers(pool: ThreadPool) -> tuple[int, int, int, int]:
    """Threads, requests that run, wait, and were refused; no thread is lost."""
    found = pool.statistics()
    assert found["lost"] == 0
    return found["threads"], found["running"], found["waiting"], found["refused"]


def hello(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]


def get(pool: ThreadPool, path: bytes = b"/") -> FakeExchange:
    exchange = FakeExchange(make_request(path))
    pool.dispatch(exchange)
    return exchange


async def ended(exchange: FakeExchange) -> FakeExchange:
    await until(lambda: exchange.lost)
    return exchange


class Gate:
    """A WSGI app that waits until it may go on; `paths` are the requests that it has seen."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.go = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        self.paths.append(environ["PATH_INFO"])
        assert self.go.acquire(timeout=LIMIT)
        return hello(environ, start_response)
