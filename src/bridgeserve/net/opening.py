"""What comes before HTTP on an accepted socket: the PROXY header of a proxy in front.

It is read from the socket itself, before a transport has it, and not an octet further: what follows belongs to
whoever reads next. Three ends: the header is complete, the peer is gone or says something else, the header timer.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.net.connection import Connection
from bridgeserve.net.engine import Engine
from bridgeserve.wire.proxy_protocol import ProxyError, ProxyReader

_log = logging.getLogger("bridgeserve.wire")
_PEEK = 4096  # octets looked at in one go


class Opening:
    """Makes the connections of an engine whose peers have something to say first.

    :param proxy_protocol: a PROXY header is expected, from trusted peers only.
    """

    __slots__ = ("_engine", "_proxy_protocol", "_warned")

    def __init__(self, engine: Engine, proxy_protocol: bool) -> None:
        self._engine = engine
        self._proxy_protocol = proxy_protocol
        self._warned: set[str] = set()

    async def connect(self, accepted: socket.socket, endpoint: Endpoint) -> None:
        """Make the connection, or close the socket.

        :raises OSError: the peer is gone.
        """
        engine = self._engine
        try:
            async with asyncio.timeout(engine.protocols.timeouts.header):
                if self._proxy_protocol:
                    endpoint = await self._proxied(accepted, endpoint)
        except (ProxyError, TimeoutError) as error:
            self._tell(str(error) or "no PROXY header in time")
            accepted.close()
            return
        await engine.loop.connect_accepted_socket(lambda: Connection(engine, endpoint, direct=True), accepted)

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
