"""Certificates of TLS, which can be changed while we serve.

A change of the files makes a new context for the connections to come; those that exist keep theirs. A pair that does
not fit makes none: what was loaded before stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl

from bridgeserve.groups import Tls

_log = logging.getLogger("bridgeserve")
# For TLS 1.2: forward secrecy and authenticated encryption only, as "intermediate" of Mozilla's guidelines has them
# but without finite-field Diffie-Hellman. The suites of TLS 1.3 are all good and are not chosen here.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.*?-----END CERTIFICATE-----\n?", re.DOTALL)


class TlsError(Exception):
    """Certificates that cannot be used; the message names the option and the reason."""


class Certificates:
    """The context for new connections.

    :raises TlsError: it cannot be made.
    """

    __slots__ = ("_stamps", "_tls", "context", "pem", "suites")

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._stamps = self._look()
        self.context: ssl.SSLContext
        self.pem: str | None = None  # our own certificate
        self.suites: dict[str, int] = {}  # their numbers, by OpenSSL's names
        self._load()

    def _load(self) -> None:
        context = make_context(self._tls)
        with open(self._tls.certfile, encoding="utf-8", errors="replace") as file:
            found = _CERTIFICATE.search(file.read())
        self.context, self.pem = context, found[0] if found else None
        self.suites = {suite["name"]: suite["id"] & 0xFFFF for suite in context.get_ciphers()}

    def reload(self) -> bool:
        """Read the files again; False: they cannot be used (the log says why), and what was loaded stays."""
        self._stamps = self._look()
        try:
            self._load()
        except (TlsError, OSError) as error:
            _log.error("the new certificates are not used, the old ones stay: %s", error)
            return False
        _log.info("the certificates were read again: new connections get them")
        return True

    def reload_if_changed(self) -> None:
        """Read the files again if one of them is another one than before."""
        if self._look() != self._stamps:
            self.reload()

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in (self._tls.certfile, self._tls.keyfile, self._tls.ca_certs) if path]


class Watch:
    """Looks at the files again and again, on the loop: one stat for each, no thread.

    :param interval: seconds; 0: never.
    """

    def __init__(self, certificates: Certificates, interval: float) -> None:
        self._certificates = certificates
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    def _arm(self) -> None:
        if self._interval:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    def _look(self) -> None:
        self._certificates.reload_if_changed()
        self._arm()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def make_context(tls: Tls) -> ssl.SSLContext:
    """A server's context.

    :raises TlsError: a file cannot be read or is something else, the key is not the certificate's or needs a password,
        the ciphers are none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MINIMUM[tls.min_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.set_ciphers(tls.ciphers or CIPHERS)
    except ssl.SSLError:
        raise TlsError(f"--ssl-ciphers {tls.ciphers}: no cipher of OpenSSL's is meant by it") from None
    _load_pair(context, tls)
    context.verify_mode = _VERIFY[tls.cert_reqs]
    if tls.ca_certs:
        _readable("--ssl-ca-certs", tls.ca_certs)
        try:
            context.load_verify_locations(tls.ca_certs)
        except ssl.SSLError as error:
            raise TlsError(f"--ssl-ca-certs {tls.ca_certs}: {error.reason or 'no certificate in it'}") from None
    return context


def _load_pair(context: ssl.SSLContext, tls: Tls) -> None:
    def password() -> str:
        """OpenSSL calls it for an encrypted key only; without it, it would ask at the terminal."""
        if not tls.password:
            raise TlsError(f"{key}: the key is encrypted; give --ssl-keyfile-password")
        return tls.password

    certificate = f"--ssl-certfile {tls.certfile}"
    key = f"--ssl-keyfile {tls.keyfile}" if tls.keyfile else certificate
    _readable("--ssl-certfile", tls.certfile)
    if tls.keyfile:
        _readable("--ssl-keyfile", tls.keyfile)
    try:
        context.load_cert_chain(tls.certfile, tls.keyfile, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"{key}: the key is not that of the certificate in {tls.certfile}") from None
        hint = "; is the password right?" if tls.password else ""
        reason = error.reason or "not a certificate and its key in PEM"
        raise TlsError(f"{certificate}{'' if key == certificate else ', ' + key}: {reason}{hint}") from None


def _readable(option: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise TlsError(f"{option} {path}: {error.strerror}") from None
