"""`Server` and `serve` inside a running loop."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

import bridgeserve
from net.authority import Authority
from net.clock import until

Run = Callable[[Callable[[], Awaitable[None]]], None]
QUIET: dict[str, Any] = {"bind": "127.0.0.1:0", "access_log": False}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello from wsgi"]


class Asgi:
    """An ASGI app with a lifespan; /wait is answered when `go` is set."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.waiting = 0
        self.go = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                kind = (await receive())["type"]
                self.events.append(kind)
                await send({"type": f"{kind}.complete"})
            return
        if scope["path"] == "/wait":
            self.waiting += 1
            await self.go.wait()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"hello from asgi"})
        self.events.append("served")


class Client:
    """A client on the loop. Closed by `async with`."""

    def __init__(self, address: Any) -> None:
        self._address = address

    async def __aenter__(self) -> Client:
        if isinstance(self._address, str):
            self._reader, self._writer = await asyncio.open_unix_connection(self._address)
        else:
            self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def send(self, path: str = "/") -> None:
        self._writer.write(b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % path.encode())

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        [length] = [line[16:] for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
        return head, await self._reader.readexactly(int(length))

    async def get(self, path: str = "/") -> bytes:
        self.send(path)
        return (await self.answer())[1]

    async def rest(self) -> bytes:
        """What comes until the connection ends."""
        return await self._reader.read()


def refuses(address: Any) -> bool:
    """Whether nobody listens there."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as probe:
        return probe.connect_ex(address) != 0


@pytest.mark.parametrize("mode", ["threads", "inline"])
def test_a_context_manager_around_wsgi(run: Run, mode: str) -> None:
    async def main() -> None:
        async with bridgeserve.Server(wsgi, mode=mode, **QUIET) as server:
            [address] = server.addresses
            async with Client(address) as client:
                assert await client.get() == b"hello from wsgi"
                assert await client.get() == b"hello from wsgi"
                stats = server.stats()
                assert (stats["connections"], stats["requests"], stats["refused"]) == (1, 2, 0)
                assert ("threads" in stats) is (mode == "threads")
        assert refuses(address)

    run(main)


def test_a_context_manager_around_asgi(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridgeserve")

    async def main() -> None:
        app = Asgi()
        async with bridgeserve.Server(app, **QUIET) as server:
            assert app.events == ["lifespan.startup"]
            async with Client(server.addresses[0]) as client:
                assert await client.get() == b"hello from asgi"
        assert app.events == ["lifespan.startup", "served", "lifespan.shutdown"]

    run(main)
    assert "serving on http://127.0.0.1:" in caplog.text
    assert "(mode inline, asgi, " in caplog.text


def test_several_addresses(run: Run, tmp_path: Path) -> None:
    path = f"{tmp_path}/app.sock"

    async def main() -> None:
        server = bridgeserve.Server(Asgi(), bind=["127.0.0.1:0", f"unix:{path}", "127.0.0.1:0"], access_log=False)
        assert server.stats() == {}
        async with server:
            assert [type(address) for address in server.addresses] == [tuple, str, tuple]
            for address in server.addresses:
                async with Client(address) as client:
                    assert await client.get() == b"hello from asgi"
        assert all(map(refuses, server.addresses))

    run(main)
    assert not list(tmp_path.iterdir())


def test_a_drain_finishes_what_is_in_flight(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        async with bridgeserve.Server(app, **QUIET) as server:
            [address] = server.addresses
            async with Client(address) as busy, Client(address) as idle:
                busy.send("/wait")
                await idle.get()
                await until(lambda: app.waiting)
                draining = asyncio.ensure_future(server.drain())
                await until(lambda: refuses(address))
                assert await idle.rest() == b""
                assert not draining.done()
                app.go.set()
                head, body = await busy.answer()
                assert b"connection: close\r\n" in head and body == b"hello from asgi"
                await draining
                await server.drain()  # a second one has nothing to do
                assert server.stats()["connections"] == 0

    run(main)


def test_the_grace_time_ends_a_drain(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        app = Asgi()
        async with bridgeserve.Server(app, timeout_graceful=0.0, **QUIET) as server:
            client = await Client(server.addresses[0]).__aenter__()
            client.send("/wait")
            await until(lambda: app.waiting)
        with suppress(ConnectionResetError):
            assert await client.rest() == b""
        await client.__aexit__()
        assert app.events == ["lifespan.startup", "lifespan.shutdown"]

    run(main)
    assert "1 connections were cut" in caplog.text


def test_abort_stops_at_once(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        async with bridgeserve.Server(app, **QUIET) as server:
            client = await Client(server.addresses[0]).__aenter__()
            client.send("/wait")
            await until(lambda: app.waiting)
            server.abort()
            assert refuses(server.addresses[0])
            with suppress(ConnectionResetError):
                assert await client.rest() == b""
        await client.__aexit__()

    run(main)


def test_two_servers_in_one_loop(run: Run) -> None:
    async def main() -> None:
        async with bridgeserve.Server(wsgi, **QUIET) as first, bridgeserve.Server(Asgi(), **QUIET) as second:
            async with Client(first.addresses[0]) as one, Client(second.addresses[0]) as two:
                assert await asyncio.gather(one.get(), two.get()) == [b"hello from wsgi", b"hello from asgi"]
            assert first.stats()["requests"] == second.stats()["requests"] == 1
            await first.drain()
            async with Client(second.addresses[0]) as two:
                assert await two.get() == b"hello from asgi"

    run(main)


def test_it_is_ready_while_all_threads_are_usable(run: Run) -> None:
    go = threading.Event()

    def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] != "/":
            assert go.wait(15.0)
        return wsgi(environ, start_response)

    async def main() -> None:
        server = bridgeserve.Server(stuck, threads=1, timeout_request=0.3, **QUIET)
        assert not server.ready
        async with server:
            assert server.ready
            async with Client(server.addresses[0]) as client:
                for count in (1, 2):  # the first one has a spare
                    assert await client.get("/stuck") == b"Gateway Timeout"
                    assert server.stats()["lost"] == count
                    assert server.stats()["ready"] == server.ready == (count == 1)
                go.set()
                assert await client.get() == b"hello from wsgi"
                await until(lambda: server.ready)
            await server.drain()
            assert not server.ready
            assert server.stats()["ready"] == 0
        assert not server.ready

    run(main)


def test_the_longest_run_of_an_inline_app(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        async with bridgeserve.Server(app, timeout_request=0.3, **QUIET) as server:
            async with Client(server.addresses[0]) as client:
                assert await client.get("/wait") == b"Gateway Timeout"
                assert await client.get() == b"hello from asgi"
            assert server.ready

    run(main)


# --- a start that fails ----------------------------------------------------------------------------


async def no_database(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def broken(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise KeyError("boom")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("app", "options", "message"),
    [
        (no_database, {}, "lifespan start-up failed: no database"),
        (broken, {"lifespan": "on"}, "does not support lifespan"),
        ("no_such_module:app", {}, "no module named 'no_such_module'"),
        (3, {}, "not callable"),
        (no_database, {"mode": "threads"}, "use --mode inline"),
    ],
)
def test_a_start_that_fails_leaves_nothing_open(
    run: Run, app: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    port = free_port()
    binds = [f"127.0.0.1:{port}", f"unix:{tmp_path}/app.sock"]

    async def main() -> None:
        with pytest.raises(bridgeserve.StartupError, match=message):
            await bridgeserve.Server(app, bind=binds, access_log=False, **options).__aenter__()
        assert refuses(("127.0.0.1", port))
        assert len(asyncio.all_tasks()) == 1

    run(main)
    assert not list(tmp_path.iterdir())


def test_a_port_in_use(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        with socket.create_server(("127.0.0.1", 0)) as other:
            bind = f"127.0.0.1:{other.getsockname()[1]}"
            with pytest.raises(bridgeserve.StartupError, match=f"cannot listen at {bind}: Address already in use"):
                await bridgeserve.Server(app, bind=bind, access_log=False).__aenter__()
        assert app.events == []  # the application was not started for nothing

    run(main)


def test_a_start_that_is_cancelled_leaves_nothing_open(run: Run) -> None:
    port = free_port()
    started = asyncio.Event()

    async def hanging(scope: dict[str, Any], receive: Any, send: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    async def main() -> None:
        server = bridgeserve.Server(hanging, bind=f"127.0.0.1:{port}", access_log=False)
        task = asyncio.ensure_future(server.__aenter__())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert refuses(("127.0.0.1", port))
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(main)


def test_an_option_that_does_not_exist() -> None:
    with pytest.raises(bridgeserve.ConfigError, match="no_such_option"):
        bridgeserve.Server(wsgi, no_such_option=1)


def test_another_event_loop() -> None:
    with pytest.raises(RuntimeError, match="runs on asyncio"):
        bridgeserve.Server(wsgi, **QUIET).__aenter__().send(None)


# --- serve -----------------------------------------------------------------------------------------


def test_serve_in_a_task_group(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        async with anyio.create_task_group() as group:
            addresses = await group.start(
                lambda *, task_status: bridgeserve.serve(app, task_status=task_status, **QUIET)
            )
            async with Client(addresses[0]) as client:
                assert await client.get() == b"hello from asgi"
            group.cancel_scope.cancel()
        assert app.events == ["lifespan.startup", "served", "lifespan.shutdown"]
        assert refuses(addresses[0])

    run(main)


def test_serve_that_is_cancelled_finishes_what_is_in_flight(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        port = free_port()
        task = asyncio.ensure_future(bridgeserve.serve(app, bind=f"127.0.0.1:{port}", access_log=False))
        await until(lambda: not refuses(("127.0.0.1", port)))
        async with Client(("127.0.0.1", port)) as client:
            client.send("/wait")
            await until(lambda: app.waiting)
            task.cancel()
            await until(lambda: refuses(("127.0.0.1", port)))
            assert not task.done()
            app.go.set()
            assert (await client.answer())[1] == b"hello from asgi"
            with pytest.raises(asyncio.CancelledError):
                await task
        assert app.events == ["lifespan.startup", "served", "lifespan.shutdown"]

    run(main)


def test_an_exception_of_the_caller_goes_through(run: Run) -> None:
    async def main() -> None:
        app = Asgi()
        with pytest.raises(KeyError):
            async with bridgeserve.Server(app, **QUIET):
                raise KeyError("of the caller")
        assert app.events == ["lifespan.startup", "lifespan.shutdown"]

    run(main)


# --- TLS -------------------------------------------------------------------------------------------


def test_certificates_are_read_again(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair("server")
    files = {"ssl_certfile": str(pair.certificate), "ssl_keyfile": str(pair.key), "ssl_watch": 0}

    async def seen(server: bridgeserve.Server) -> bytes:
        host, port = server.addresses[0]
        context = authority.client()
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        await writer.wait_closed()
        return found

    async def main() -> None:
        async with bridgeserve.Server(wsgi, **QUIET, **files) as server:
            first = await seen(server)
            authority.pair("server")
            assert await seen(server) == first
            assert server.reload_certificates()
            second = await seen(server)
            assert second != first
            pair.key.write_bytes(b"")
            assert not server.reload_certificates()
            assert await seen(server) == second
        async with bridgeserve.Server(wsgi, **QUIET) as server:
            assert server.reload_certificates()  # there are none

    run(main)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ssl_certfile": "missing.pem"}, "--ssl-certfile missing.pem: No such file"),
        ({"ssl_keyfile": "missing.pem"}, "means nothing without --ssl-certfile"),
        ({"ssl_certfile": "missing.pem", "ssl_cert_reqs": "required"}, "needs --ssl-ca-certs"),
    ],
)
def test_a_start_without_its_certificates(run: Run, options: dict[str, str], words: str) -> None:
    async def main() -> None:
        with pytest.raises(bridgeserve.StartupError, match=words):
            async with bridgeserve.Server(wsgi, **QUIET, **options):
                pass

    run(main)
