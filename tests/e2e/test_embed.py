"""The server inside somebody else's loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

import bridgeserve

Send = Callable[[dict[str, Any]], Awaitable[None]]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from wsgi"]


class Hello:
    """ASGI, with a request that waits until it is let go."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()
        self.lifespan: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                kind = (await receive())["type"]
                self.lifespan.append(kind)
                await send({"type": f"{kind}.complete"})
            return
        if scope["path"] == "/wait":
            self.waiting.set()
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello from asgi"})


def http(address: Any) -> httpx.AsyncClient:
    host, port = address
    return httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=10.0, trust_env=False)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test with a limit."""

    async def limited() -> None:
        async with asyncio.timeout(20.0):
            await main()

    asyncio.run(limited())


def listens(address: Any) -> bool:
    try:
        socket.create_connection(address, 5.0).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("mode", ["threads", "inline"])
def test_server_is_a_context_manager(mode: str) -> None:
    async def main() -> None:
        async with bridgeserve.Server(hello, bind="127.0.0.1:0", mode=mode, access_log=False) as server:
            [address] = server.addresses
            assert address[0] == "127.0.0.1"
            assert address[1] != 0
            async with http(address) as client:
                assert (await client.get("/")).text == "hello from wsgi"
                stats = server.stats()
                assert (stats["connections"], stats["requests"]) == (1, 1)
        assert not listens(address)

    run(main)


def test_drain_finishes_what_is_in_flight() -> None:
    async def main() -> None:
        app = Hello()
        async with bridgeserve.Server(app, bind="127.0.0.1:0", access_log=False) as server:
            async with http(server.addresses[0]) as client, asyncio.TaskGroup() as group:
                request = group.create_task(client.get("/wait"))
                await app.waiting.wait()
                drain = group.create_task(server.drain())
                app.go.set()
                answer = await request
                await drain
            assert answer.text == "hello from asgi"
            assert answer.headers["connection"] == "close"
            assert not listens(server.addresses[0])
        assert app.lifespan == ["lifespan.startup", "lifespan.shutdown"]

    run(main)


def test_serve_in_a_task_group() -> None:
    async def main() -> None:
        app = Hello()
        async with anyio.create_task_group() as group:
            bind = ["127.0.0.1:0", "127.0.0.2:0"]
            addresses = await group.start(partial(bridgeserve.serve, app, bind=bind, access_log=False))
            assert len(addresses) == 2
            for address in addresses:
                async with http(address) as client:
                    assert (await client.get("/")).text == "hello from asgi"
            group.cancel_scope.cancel()
        assert app.lifespan == ["lifespan.startup", "lifespan.shutdown"]
        assert not any(map(listens, addresses))

    run(main)


def test_cancelling_serve_stops_gracefully() -> None:
    async def main() -> None:
        app = Hello()
        addresses: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        class Status:
            def started(self, value: Any = None) -> None:
                addresses.set_result(value)

        async with asyncio.TaskGroup() as group:
            serving = group.create_task(
                bridgeserve.serve(app, task_status=Status(), bind="127.0.0.1:0", access_log=False)
            )
            async with http((await addresses)[0]) as client:
                request = group.create_task(client.get("/wait"))
                await app.waiting.wait()
                serving.cancel()
                await asyncio.sleep(0)  # the cancellation arrives before the answer is there
                app.go.set()
                answer = await request
            assert answer.text == "hello from asgi"
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert app.lifespan == ["lifespan.startup", "lifespan.shutdown"]

    run(main)


def test_signals_are_left_alone() -> None:
    async def main() -> None:
        async with bridgeserve.Server(hello, bind="127.0.0.1:0", access_log=False):
            assert [signal.getsignal(number) for number in SIGNALS] == before

    def mine(number: int, frame: object) -> None:
        """The handler of whoever embeds the server."""

    old = signal.signal(signal.SIGTERM, mine)
    try:
        with asyncio.Runner() as runner:  # it takes SIGINT itself, so the loop is there before we look
            before: list[Any] = []

            async def limited() -> None:
                before.extend(signal.getsignal(number) for number in SIGNALS)
                async with asyncio.timeout(20.0):
                    await main()
                assert [signal.getsignal(number) for number in SIGNALS] == before

            runner.run(limited())
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, old)


def test_two_servers_in_one_loop() -> None:
    async def main() -> None:
        async with (
            bridgeserve.Server(hello, bind="127.0.0.1:0", access_log=False) as first,
            bridgeserve.Server(Hello(), bind="127.0.0.1:0", access_log=False) as second,
            http(first.addresses[0]) as one,
            http(second.addresses[0]) as two,
        ):
            texts = {answer.text for answer in await asyncio.gather(one.get("/"), two.get("/"))}
            assert texts == {"hello from wsgi", "hello from asgi"}

    run(main)


def test_a_server_that_cannot_start_leaves_nothing_behind() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            _, port = taken.getsockname()
            with pytest.raises(bridgeserve.StartupError, match=str(port)):
                async with bridgeserve.Server(hello, bind=["127.0.0.1:0", f"127.0.0.1:{port}"], access_log=False):
                    pass

    run(main)


def test_options_are_checked() -> None:
    with pytest.raises(bridgeserve.ConfigError, match="bnd"):
        bridgeserve.Server(hello, bnd="127.0.0.1:0")
    with pytest.raises(bridgeserve.ConfigError, match="mode"):
        bridgeserve.Server(hello, mode="sideways")


def test_another_loop_is_a_clear_error() -> None:
    """Whoever drives the coroutine without asyncio, as trio does, is told what is wrong."""
    start = bridgeserve.Server(hello, bind="127.0.0.1:0", access_log=False).__aenter__()
    with pytest.raises(RuntimeError, match="asyncio"):
        start.send(None)


def test_trio_is_a_clear_error() -> None:
    trio = pytest.importorskip("trio", reason="trio is no dependency; the test above covers the way it fails")

    async def main() -> None:
        await bridgeserve.serve(hello, bind="127.0.0.1:0", access_log=False)

    with pytest.raises(RuntimeError, match="asyncio"):
        trio.run(main)
