"""Proxies in front of us: what they say is weighed once for a request, before any dispatcher sees it.

Everybody behind sees the outcome only: the endpoint of the exchange, and the Host among its fields.
"""

from __future__ import annotations

import logging

from bridgeserve.dispatch.base import Endpoint, Exchange, answer
from bridgeserve.wire.errors import WireError
from bridgeserve.wire.events import Request
from bridgeserve.wire.forwarded import ForwardedReader, Told
from bridgeserve.wire.gate import replace_host
from bridgeserve.wire.trust import Trust

_log = logging.getLogger("bridgeserve.wire")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Proxies:
    """:param trust: the peers that may speak for others, None: nobody may.
    :param names: of the fields that are believed from them.
    """

    __slots__ = ("_reader", "_trust")

    def __init__(self, trust: Trust | None = None, names: frozenset[bytes] = frozenset()) -> None:
        self._trust = trust
        self._reader = ForwardedReader(trust, names) if trust is not None and names else None

    def meet(self, endpoint: Endpoint) -> Endpoint:
        """Decide whether the peer of a new connection is trusted; the endpoint again."""
        if self._trust is not None:
            endpoint.trusted = self._trust.peer(None if endpoint.client is None else endpoint.client[0])
        return endpoint

    def admit(self, exchange: Exchange) -> bool:
        """Weigh what a request claims (`Request.claims`). False: it was refused and has its answer."""
        try:
            exchange.endpoint = self._weigh(exchange.request, exchange.endpoint)
        except WireError as error:
            _log.debug("refused with %d: %s", error.status, error.reason)
            answer(exchange, error.status)
            return False
        return True

    def _weigh(self, request: Request, endpoint: Endpoint) -> Endpoint:
        """The endpoint of a request.

        :raises WireError: 400, Forwarded cannot be read; 421, an https target without TLS (RFC 9110 section 7.4: only
            a trusted gateway may say so).
        """
        secure = request.target[:6].lower() == b"https:"
        if not endpoint.trusted or self._reader is None:
            if secure and endpoint.scheme != "https":
                raise WireError(421, "an https target on a connection without TLS")
            return endpoint
        told = self._reader.read(request.headers)
        return _told(request, endpoint, told, told.scheme or ("https" if secure else endpoint.scheme))


def _told(request: Request, endpoint: Endpoint, told: Told, scheme: str) -> Endpoint:
    server = endpoint.server
    host = told.host
    if host is not None:
        name, port = _split(host)
        server = (name, told.port or port or _DEFAULT_PORTS[scheme])
    elif told.port is not None:
        name = "" if server is None or server[1] is None else server[0]
        server = (name or "localhost", told.port)
    if told.port is not None:
        host = _with_port(host or _host_of(request), told.port, scheme)
    outcome = Endpoint(scheme, told.client or endpoint.client, server)
    outcome.trusted = True
    outcome.tls, outcome.ssl = endpoint.tls, endpoint.ssl
    outcome.root = told.prefix
    outcome.host = host
    if host is not None:
        replace_host(request, host)
    return outcome


def _host_of(request: Request) -> bytes | None:
    return next((value for name, value in request.headers if name == b"host" and value), None)


def _split(host: bytes) -> tuple[str, int | None]:
    """Name and port of a checked Host; the brackets of an IPv6 address are not part of its name."""
    text = host.decode("latin-1")
    name, colon, port = text.rpartition(":")
    if not colon or name.count("[") != name.count("]"):
        name, port = text, ""
    return name.strip("[]"), int(port) if port and 0 < int(port) < 65536 else None


def _with_port(host: bytes | None, port: int, scheme: str) -> bytes | None:
    """A Host with another port; without one where it is the scheme's own."""
    if host is None:
        return None
    name = _split(host)[0]
    name = f"[{name}]" if ":" in name else name
    return name.encode("latin-1") if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}".encode("latin-1")
