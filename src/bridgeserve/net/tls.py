"""TLS on a connection: records below, octets above, and OpenSSL between them.

`ssl.SSLObject` does the work; this is the transport around it. It is not asyncio's own, which hides from a server what
a client has not read yet (so that nobody could tell a slow client from one that is gone), waits for the client's
close_notify before it closes, and knows no half-close. Here all of that is as without TLS: what was written is with the
transport below at once.

A client that ends its side has sent its last octet, with or without close_notify: HTTP says itself where a message
ends, so a cut cannot pass for an end.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.net.certificates import Certificates
from bridgeserve.wire.fields import TOKEN

_log = logging.getLogger("bridgeserve.wire")
_HANDSHAKE = 0x16  # the type of the record that a ClientHello comes in (RFC 8446 section 5.1)
_READ = 65536
_WRITE = 262144  # octets that are encrypted before the transport below gets them
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

# RFC 4514 section 3 has these short names; OpenSSL gives the long ones.
_SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_SPECIAL = re.compile(r'[\\"+,;<>\0]')
Name = tuple[tuple[tuple[str, str], ...], ...]


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A transport for the protocol above it, and the protocol of the transport below it.

    :param make: makes the protocol above when the handshake is complete, from the TLS object.
    :param plain: makes the answer to HTTP without TLS.
    :param linger: seconds in which that, or an alert, may be read.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        make: Callable[[ssl.SSLObject], asyncio.Protocol],
        plain: Callable[[], bytes],
        linger: float,
    ) -> None:
        super().__init__()
        self._context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._make = make
        self._plain = plain
        self._linger = linger
        self._above: asyncio.Protocol | None = None  # once the handshake is complete
        self._below: asyncio.Transport
        self._begun = False
        self._ended = False  # the client has sent its last octet
        self._deaf = False  # what still comes is for nobody
        self._closing = False
        self._end_timer: asyncio.TimerHandle | None = None
        # Done when the handshake is complete, or nothing will come of it.
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- from below ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._below = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Records, or a piece of one."""
        if self._deaf:
            return
        if not self._begun and data[0] != _HANDSHAKE:
            self._refuse(data)
            return
        self._begun = True
        self._incoming.write(data)
        if self._above is None:
            self._shake()
        if self._above is not None:
            self._read(self._above)

    def _refuse(self, data: bytes) -> None:
        """Not TLS. HTTP is told so, and may read it (RFC 9112 section 9.6)."""
        self._deaf = True
        self._settle()
        if not TOKEN.match(data[:1]):
            _log.debug("closed: neither TLS nor HTTP")
            self._below.abort()
            return
        _log.debug("refused with 400: HTTP without TLS")
        self._below.write(self._plain())
        self._below.write_eof()
        self._end_later()

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            _log.debug("closed: the handshake failed: %s", error.reason)
            self._fail()
            return
        self._flush()
        self._above = self._make(self._tls)
        self._above.connection_made(self)
        self._settle()

    def _read(self, above: asyncio.Protocol) -> None:
        """Hand up what came whole. What a peer sends behind its close_notify is nothing."""
        pieces: list[bytes] = []
        ended = failed = False
        try:
            while data := self._tls.read(_READ):
                pieces.append(data)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            _log.debug("closed: a bad record: %s", error.reason)
            failed = True
        self._flush()  # reading may have an answer of TLS itself: new keys, an alert
        if pieces:
            above.data_received(b"".join(pieces) if len(pieces) > 1 else pieces[0])
        if failed:
            self._fail()
        elif ended:
            self._deaf = True
            self._end()

    def _fail(self) -> None:
        """TLS is broken: send its alert and close. Who is above watches no longer what the client takes of it."""
        self._deaf = self._closing = True
        self._flush()
        self._below.close()
        self._end_later()
        self._settle()

    def _end_later(self) -> None:
        self._end_timer = asyncio.get_running_loop().call_later(self._linger, self._below.abort)

    def eof_received(self) -> bool:
        """The socket ends: a close_notify has come before, or it is missing, which is the same here."""
        if self._above is None:
            self._deaf = True
            self._below.close()
            self._settle()
        elif not self._closing:
            self._end()
        return True

    def _end(self) -> None:
        """Tell, once, that the client has sent its last octet. Who is above may be another one after an upgrade."""
        if not self._ended and self._above is not None:
            self._ended = True
            self._above.eof_received()

    def pause_writing(self) -> None:
        """The transport below is above its high-water mark."""
        if self._above is not None:
            self._above.pause_writing()

    def resume_writing(self) -> None:
        """... and below its low-water mark."""
        if self._above is not None:
            self._above.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._closing = self._deaf = True
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._settle()
        above, self._above = self._above, None
        if above is not None:
            above.connection_lost(exc)

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    # --- from above ----------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt, and pass on; never waits."""
        if self._closing:
            return
        view = memoryview(data)
        pos = 0
        try:
            while pos < len(view):
                pos += self._tls.write(view[pos : pos + _WRITE])
                self._flush()
        except ssl.SSLError as error:
            _log.debug("closed: TLS takes nothing more: %s", error.reason)
            self.abort()

    def writelines(self, list_of_data: Any) -> None:
        """The same for several: in one record where they fit."""
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self._below.is_closing():
            self._below.write(data)

    def _notify(self) -> None:
        """Send close_notify; the peer's is not waited for (RFC 8446 section 6.1)."""
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def can_write_eof(self) -> bool:
        """A half-close is possible."""
        return self._below.can_write_eof()

    def write_eof(self) -> None:
        """We have sent the last octet. What the peer still sends is read and dropped."""
        self._notify()
        self._deaf = True
        self._below.write_eof()

    def close(self) -> None:
        """Close after what was written."""
        if not self._closing:
            self._closing = self._deaf = True
            self._notify()
            self._below.close()

    def abort(self) -> None:
        """Drop everything."""
        self._closing = self._deaf = True
        self._below.abort()

    def is_closing(self) -> bool:
        """True once it closes."""
        return self._closing or self._below.is_closing()

    def get_write_buffer_size(self) -> int:
        """Octets that the client has not taken."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to pause who writes."""
        self._below.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        """Read nothing more. What came already has been handed up."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._below.resume_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol has the octets from now on."""
        self._above = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who has the octets."""
        assert self._above is not None
        return self._above

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`sslcontext`, `ssl_object`, or what the transport below knows."""
        ours = {"sslcontext": self._context, "ssl_object": self._tls}
        return ours[name] if name in ours else self._below.get_extra_info(name, default)


def describe(endpoint: Endpoint, tls: ssl.SSLObject, certificates: Certificates) -> None:
    """Put what is known of the TLS connection into its endpoint: for ASGI by its TLS extension (version 0.2), for WSGI
    as mod_ssl names it."""
    cipher = tls.cipher()
    suite = cipher[0] if cipher else ""
    version = tls.version() or ""
    chain = peer_chain(tls)
    peer = cast(dict[str, Any], tls.getpeercert() or {}) if chain else {}
    subject = distinguished_name(peer.get("subject", ()))
    endpoint.tls = {
        "server_cert": certificates.pem,
        "client_cert_chain": chain,
        "client_cert_name": subject if chain else None,
        "client_cert_error": None,  # a certificate that does not verify ends the handshake
        "tls_version": _VERSIONS.get(version),
        "cipher_suite": certificates.suites.get(suite),
    }
    endpoint.ssl = {"SSL_PROTOCOL": version, "SSL_CIPHER": suite, "SSL_CLIENT_VERIFY": "SUCCESS" if chain else "NONE"}
    if chain:
        endpoint.ssl |= {
            "SSL_CLIENT_CERT": chain[0],
            "SSL_CLIENT_S_DN": subject,
            "SSL_CLIENT_I_DN": distinguished_name(peer.get("issuer", ())),
            "SSL_CLIENT_M_SERIAL": str(peer.get("serialNumber", "")),
        }


def peer_chain(tls: ssl.SSLObject) -> list[str]:
    """The client's certificate in PEM, with those that it sent beside it where Python can tell (3.13)."""
    first = tls.getpeercert(binary_form=True)
    if first is None:
        return []
    more = getattr(tls, "get_unverified_chain", lambda: [first])()
    return [ssl.DER_cert_to_PEM_cert(each) for each in more or [first]]


def distinguished_name(name: Name) -> str:
    """A name as RFC 4514 writes it: the last part first."""
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in reversed(name)
    )


def _escaped(value: str) -> str:
    """RFC 4514 section 2.4."""
    text = _SPECIAL.sub(lambda found: "\\00" if found[0] == "\0" else "\\" + found[0], value)
    if text[:1] in (" ", "#"):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text
