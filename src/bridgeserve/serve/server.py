"""`Server`: an application, its mode and its sockets, as one async context manager."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio

from bridgeserve._version import __version__
from bridgeserve.dispatch.asgi import AsgiRunner
from bridgeserve.dispatch.base import Dispatcher
from bridgeserve.dispatch.identity import identified
from bridgeserve.dispatch.inline import InlineAsgi, InlineWsgi
from bridgeserve.dispatch.lifespan import Lifespan, LifespanFailed
from bridgeserve.dispatch.processes import ProcessPool
from bridgeserve.dispatch.reserved import (
    ReservedInlineAsgi,
    ReservedInlineWsgi,
    ReservedProcesses,
    ReservedThreads,
)
from bridgeserve.dispatch.spawn import ChildFailed
from bridgeserve.dispatch.threads import ThreadPool
from bridgeserve.dispatch.wsgi import WsgiRunner
from bridgeserve.net.certificates import Certificates, TlsError, Watch
from bridgeserve.net.engine import Engine, Protocols
from bridgeserve.net.exchange import Exchange
from bridgeserve.net.handshakes import Handshakes
from bridgeserve.net.identify import EchoingExchange, IdentifiedExchange
from bridgeserve.net.listeners import Acceptor, Address, ListenError, open_listeners
from bridgeserve.net.opening import Opening
from bridgeserve.net.proxies import Proxies
from bridgeserve.net.upgrade import Upgrades
from bridgeserve.observe.access import AccessLog
from bridgeserve.serve.application import StartupError, check_reserve, prepare
from bridgeserve.settings import Settings
from bridgeserve.wire.forwarded import read_names
from bridgeserve.wire.framing import Preamble
from bridgeserve.wire.trust import Trust

_log = logging.getLogger("bridgeserve")


_EXCHANGES = {"off": Exchange, "on": IdentifiedExchange, "send": EchoingExchange}  # by --request-id


class Engaged:
    """A server's parts while it runs."""

    def __init__(self, engine: Engine, acceptors: list[Acceptor], dispatcher: Dispatcher) -> None:
        self.engine = engine
        self.acceptors = acceptors
        self.dispatcher = dispatcher


class Server:
    """Serve `app` inside a running asyncio loop. Signals are left alone.

    :param app: an application object, or its name as on the command line.
    :param settings: all options; without it `options` are read (names as on the command line).
    :param listeners: sockets that listen already, and belong to somebody who tells where they are; none: the binds of
        the settings are opened.
    """

    def __init__(self, app: object, settings: Settings, listeners: Sequence[socket.socket] = ()) -> None:
        self._app = app
        self._settings = settings
        self._listeners = listeners
        self._stack = contextlib.AsyncExitStack()
        self._parts: Engaged | None = None
        self._drained = False
        self._certificates: Certificates | None = None
        self.failed = asyncio.Event()  # set when the application cannot be run any more
        self.mode = ""
        self.kind = ""
        self.addresses: list[Address] = []

    async def __aenter__(self) -> Self:
        """Load the application, open the sockets, start up.

        :raises StartupError: the application, a bind or the lifespan failed.
        :raises RuntimeError: not inside an asyncio loop (trio).
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("bridgeserve runs on asyncio; this is another event loop (trio?)") from None
        try:
            await self._start()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        settings = self._settings
        prepared = prepare(
            self._app,
            factory=settings.factory,
            app_dir=settings.app_dir,
            interface=settings.interface,
            mode=settings.mode,
        )
        app: Any = prepared.app if settings.request_id == "off" else identified(prepared.app, prepared.kind)
        check_reserve(prepared.mode, settings)
        self.kind = prepared.kind
        self.mode = prepared.mode
        certificates = load_certificates(settings)
        listeners = self._listeners or self._open()
        for listener in listeners:
            self._stack.callback(listener.close)
        dispatcher = await self._dispatcher(app)
        engine = Engine(self._protocols(), dispatcher, self._sinks(), self._proxies(), _EXCHANGES[settings.request_id])
        if isinstance(dispatcher, InlineAsgi):
            engine.upgrades = Upgrades(settings.websockets, dispatcher.connect)
        opening = self._opening(engine, certificates)
        acceptors = [Acceptor(engine, listener, settings.limit_connections, opening) for listener in listeners]
        self._parts = Engaged(engine, acceptors, dispatcher)
        self.addresses = [acceptor.address for acceptor in acceptors]
        for acceptor in acceptors:
            acceptor.start()
        if not self._listeners:
            _log.info("%s", start_line(self.addresses, self.words, secure=certificates is not None))

    def _open(self) -> list[socket.socket]:
        settings = self._settings
        try:
            return open_listeners(settings.binds, settings.backlog, settings.reuse_port)
        except ListenError as error:
            raise StartupError(str(error)) from error

    async def _dispatcher(self, app: Any) -> Dispatcher:
        """The mode at work, entered."""
        settings = self._settings
        enter = self._stack.enter_async_context
        if self.kind == "asgi":
            lifespan = Lifespan(app, settings.lifespan, settings.timeout_graceful)
            try:
                await enter(lifespan)
            except LifespanFailed as failure:
                raise StartupError(f"the application's lifespan start-up failed: {failure}") from failure.__cause__
            runner = AsgiRunner(app, settings.root_path, lifespan.state)
            inline = ReservedInlineAsgi if settings.reserve else InlineAsgi
            return await enter(inline(runner, settings.admission))
        if self.mode == "processes":
            return await self._processes(enter)
        threads = self.mode == "threads"
        wsgi = WsgiRunner(app, root_path=settings.root_path, multithread=threads, multiprocess=False)
        if not threads:
            one_thread = ReservedInlineWsgi if settings.reserve else InlineWsgi
            return await enter(one_thread(wsgi, settings.admission, settings.body_memory))
        many_threads = ReservedThreads if settings.reserve else ThreadPool
        pool = many_threads(
            wsgi,
            settings.threads,
            settings.admission,
            settings.body_memory,
            buffering=settings.request_buffering,
        )
        return await enter(pool)

    async def _processes(self, enter: Callable[[ProcessPool], Awaitable[ProcessPool]]) -> ProcessPool:
        settings = self._settings
        setup = {
            "app": self._app,
            "factory": settings.factory,
            "app_dir": settings.app_dir,
            "interface": settings.interface,
            "root_path": settings.root_path,
            "identified": settings.request_id != "off",
            "path": sys.path,
            "log_level": logging.getLogger("bridgeserve").getEffectiveLevel(),
            "parent": os.getpid(),
        }
        body = (settings.body_memory, settings.request_buffering)
        try:
            pool = ReservedProcesses if settings.reserve else ProcessPool
            return await enter(pool(setup, settings.children, settings.admission, body, self.failed.set))
        except ChildFailed as failure:
            raise StartupError(str(failure), failure.trace) from None
        except OSError as error:
            raise StartupError(f"no process can be started: {error}") from error

    def _protocols(self) -> Protocols:
        settings = self._settings
        preamble = Preamble(settings.extra_headers, date=settings.date_header, server=settings.server_header)
        return Protocols(settings.limits, settings.timeouts, settings.http, preamble)

    def _opening(self, engine: Engine, certificates: Certificates | None) -> Opening | None:
        """What comes before HTTP on a connection, if anything does."""
        settings = self._settings
        if certificates is None and not settings.proxy_protocol:
            return None
        handshakes = Handshakes(settings.limit_handshakes)
        self._stack.callback(handshakes.close)
        if certificates is not None:
            self._certificates = certificates
            self._stack.callback(Watch(certificates, settings.ssl_watch).close)
        return Opening(engine, settings.proxy_protocol, certificates, settings.timeout_handshake, handshakes)

    def reload_certificates(self) -> bool:
        """Read the files of TLS again, for the connections to come. False: they cannot be used, and the old ones
        stay."""
        return self._certificates is None or self._certificates.reload()

    def _proxies(self) -> Proxies:
        settings = self._settings
        if not (settings.proxy_headers or settings.proxy_protocol):
            return Proxies()
        names = read_names(settings.forwarded_headers) if settings.proxy_headers else frozenset()
        return Proxies(Trust.parse(settings.forwarded_allow_ips), names)

    def _sinks(self) -> tuple[AccessLog, ...]:
        settings = self._settings
        if not settings.access_log:
            return ()
        try:
            sink = AccessLog(settings.access_log_format, path=settings.access_log_file)
        except OSError as error:
            raise StartupError(f"cannot open the access log {settings.access_log_file}: {error.strerror}") from error
        self._stack.callback(sink.close)
        return (sink,)

    @property
    def words(self) -> str:
        """The mode, the kind of the app and so on, as the start-up line has them."""
        settings = self._settings
        sizes = {"threads": settings.threads, "processes": settings.processes}
        pool = f", {sizes[self.mode]} {self.mode}" if self.mode in sizes else ""
        loop = "uvloop" if type(asyncio.get_running_loop()).__module__.startswith("uvloop") else "asyncio"
        return f"mode {self.mode}, {self.kind}{pool}, {loop}"

    @property
    def ready(self) -> bool:
        """True while new requests are welcome: started, not draining, and the mode has all that it should have."""
        return self._parts is not None and not self._drained and self._parts.dispatcher.ready

    @property
    def requests(self) -> int:
        """Requests that have begun."""
        return 0 if self._parts is None else self._parts.engine.requests

    def stats(self) -> dict[str, int]:
        """Numbers of this moment: ready (0 or 1), connections, requests begun, and those of the mode."""
        if self._parts is None:
            return {}
        engine = self._parts.engine
        return {
            "ready": int(self.ready),
            "connections": len(engine.connections),
            "requests": engine.requests,
            **self._parts.dispatcher.statistics(),
        }

    def in_flight(self) -> list[Exchange]:
        """The requests that have no complete answer yet."""
        return [] if self._parts is None else self._parts.engine.in_flight()

    async def drain(self, handover: bool = False) -> None:
        """Stop accepting, serve the backlog, finish what is in flight; what is left after the grace time is cut.

        :param handover: others accept at our sockets too, and go on: the backlog is theirs.
        """
        if self._parts is None or self._drained:
            return
        self._drained = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.timeout_graceful
        for acceptor in self._parts.acceptors:
            await acceptor.drain(handover)
        cut = await self._parts.engine.drain(self._settings.timeout_graceful)
        await self._parts.dispatcher.drain(max(end - loop.time(), 0.0))
        if cut:
            _log.warning("%d connections were cut at the end of the grace time", cut)

    def abort(self) -> None:
        """Stop at once: close the listeners and cut every connection."""
        if self._parts is not None:
            self._drained = True
            for acceptor in self._parts.acceptors:
                acceptor.abort()
            self._parts.engine.abort()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drain, shut the mode and the lifespan down, close everything."""
        with anyio.CancelScope(shield=True):
            await self.drain()
            await self._stack.aclose()


def load_certificates(settings: Settings) -> Certificates | None:
    """Those of the settings, None without TLS; raises StartupError."""
    if settings.tls is None:
        stray = [name for name in ("ssl_keyfile", "ssl_ca_certs") if getattr(settings, name)]
        if stray:
            raise StartupError(
                f"--{stray[0].replace('_', '-')} means nothing without --ssl-certfile; give both, or none"
            )
        return None
    if settings.ssl_cert_reqs != "none" and settings.ssl_ca_certs is None:
        raise StartupError(
            f"--ssl-cert-reqs {settings.ssl_cert_reqs} needs --ssl-ca-certs: the authorities that sign the clients'"
            " certificates"
        )
    try:
        return Certificates(settings.tls)
    except TlsError as error:
        raise StartupError(str(error)) from None


def start_line(addresses: list[Address], words: str, *, secure: bool) -> str:
    """The line that says where we serve, and how."""
    places = ", ".join(_url(address, secure) for address in addresses)
    return f"bridgeserve {__version__} serving on {places} ({words}, pid {os.getpid()})"


def _url(address: Address, secure: bool) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    scheme = "https" if secure else "http"
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
