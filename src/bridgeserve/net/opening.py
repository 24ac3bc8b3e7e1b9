"""What comes before HTTP on an accepted socket: the PROXY header of a proxy in front, and the handshake of TLS.

The header is read from the socket itself, before a transport has it, and not an octet further: what follows belongs to
whoever reads next. Every step has three ends: it is complete, the peer is gone or says something else, its timer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.net.certificates import Certificates
from bridgeserve.net.connection import Connection
from bridgeserve.net.engine import Engine
from bridgeserve.net.handshakes import Handshakes
from bridgeserve.net.tls import TlsTransport, describe
from bridgeserve.wire.framing import error_response
from bridgeserve.wire.proxy_protocol import ProxyError, ProxyReader

_log = logging.getLogger("bridgeserve.wire")
_PEEK = 4096  # octets looked at in one go
_HINT = b"This port speaks TLS: use https.\n"


class Opening:
    """Makes the connections of an engine whose peers have something to say first.

    :param proxy_protocol: a PROXY header is expected, from trusted peers only.
    :param certificates: of TLS, None: HTTP follows at once.
    :param handshake: seconds that a handshake may take.
    """

    __slots__ = ("_certificates", "_engine", "_handshake", "_handshakes", "_proxy_protocol", "_warned")

    def __init__(
        self,
        engine: Engine,
        proxy_protocol: bool,
        certificates: Certificates | None = None,
        handshake: float = 10.0,
        handshakes: Handshakes | None = None,
    ) -> None:
        self._engine = engine
        self._proxy_protocol = proxy_protocol
        self._certificates = certificates
        self._handshake = handshake
        self._handshakes = handshakes or Handshakes(1 << 20)
        self._warned: set[str] = set()

    @property
    def room(self) -> bool:
        """May another connection be accepted?"""
        return self._handshakes.room

    def on_room(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever there is room again."""
        self._handshakes.on_room(callback)

    async def connect(self, accepted: socket.socket, endpoint: Endpoint) -> None:
        """Make the connection, or close the socket.

        :raises OSError: the peer is gone.
        """
        engine = self._engine
        try:
            if self._proxy_protocol:
                async with asyncio.timeout(engine.protocols.timeouts.header):
                    endpoint = await self._proxied(accepted, endpoint)
            if self._certificates is None:
                await engine.loop.connect_accepted_socket(lambda: Connection(engine, endpoint, direct=True), accepted)
            else:
                await self._secured(accepted, endpoint, self._certificates)
        except ProxyError as error:
            self._tell(str(error))
            accepted.close()
        except TimeoutError:
            _log.debug("closed: what comes before HTTP did not come in time")
            accepted.close()

    # --- PROXY ---------------------------------------------------------------------------------

    async def _proxied(self, accepted: socket.socket, endpoint: Endpoint) -> Endpoint:
        """The endpoint that the PROXY header tells.

        :raises ProxyError: a peer that is not trusted, or no header.
        """
        if not endpoint.trusted:
            raise ProxyError("a peer that is not in --forwarded-allow-ips has connected beside the proxy")
        reader = ProxyReader()
        while reader.ends is None:
            data = await peek(accepted, _PEEK)
            if not data:
                raise ProxyError("the connection ended before its PROXY header did")
            used = reader.feed(data)
            while used:
                used -= len(accepted.recv(used))
        ends = reader.ends
        if ends.local:
            return endpoint
        server = (ends.path.decode("utf-8", "surrogateescape"), None) if ends.path else ends.server or endpoint.server
        return self._engine.proxies.meet(Endpoint(endpoint.scheme, ends.client, server))

    def _tell(self, reason: str) -> None:
        """Say why a connection was closed: loudly once, for it may be a proxy that is set up otherwise."""
        _log.log(logging.DEBUG if reason in self._warned else logging.WARNING, "connection closed: %s", reason)
        self._warned.add(reason)

    # --- TLS -----------------------------------------------------------------------------------

    async def _secured(self, accepted: socket.socket, endpoint: Endpoint, certificates: Certificates) -> None:
        engine = self._engine
        endpoint.scheme = "https"
        task = asyncio.current_task()
        assert task is not None

        def make(tls: ssl.SSLObject) -> Connection:
            describe(endpoint, tls, certificates)
            return Connection(engine, endpoint)

        transport = TlsTransport(certificates.context, make, self._plain, engine.protocols.timeouts.linger)
        with self._handshakes.one(task.cancel):
            async with asyncio.timeout(self._handshake):
                await engine.loop.connect_accepted_socket(lambda: transport, accepted)
                try:
                    await transport.settled
                except asyncio.CancelledError:  # too late, or in the way of others
                    transport.abort()
                    raise

    def _plain(self) -> bytes:
        """The answer to HTTP where TLS is spoken."""
        self._engine.now()  # for its Date
        return error_response(400, True, self._engine.protocols.preamble.lines[3], _HINT)


async def peek(accepted: socket.socket, size: int) -> bytes:
    """Wait for octets and look at them; they stay in the socket. b"" at the end of input.

    :raises OSError: the peer is gone.
    """
    while True:
        try:
            return accepted.recv(size, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            pass
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(accepted.fileno(), _ready, readable)
        try:
            await readable
        finally:
            loop.remove_reader(accepted.fileno())


def _ready(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
