"""Options about who is at the other end of a connection: TLS, and proxies that speak for their clients.

Ground: a part of `Settings` (`settings.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from bridgeserve.groups import Tls
from bridgeserve.option import choice, option


@dataclass(frozen=True, kw_only=True)
class PeerSettings:
    """The part of `Settings` about peers."""

    ssl_certfile: str | None = option(
        "path",
        "TLS",
        "Certificate chain in PEM: every bind speaks TLS.",
        metavar="FILE",
        aliases=("--certfile",),
    )
    ssl_keyfile: str | None = option(
        "path",
        "TLS",
        "Its private key in PEM, where it is not in the file of the certificate.",
        metavar="FILE",
        aliases=("--keyfile",),
    )
    ssl_keyfile_password: str | None = option(
        "text",
        "TLS",
        "Password of an encrypted key. Other users can read a command line: prefer the variable.",
        secret=True,
        aliases=("--keyfile-password",),
    )
    ssl_ca_certs: str | None = option(
        "path",
        "TLS",
        "Certificates of the authorities whose clients are accepted, in PEM.",
        metavar="FILE",
        aliases=("--ca-certs",),
    )
    ssl_cert_reqs: str = option(
        "text",
        "TLS",
        "Does a client need a certificate? With another word than none, --ssl-ca-certs is needed.",
        "none",
        metavar="none|optional|required",
        aliases=("--cert-reqs",),
    )
    ssl_min_version: str = choice("TLS", "Least version of TLS.", "1.2", "1.3")
    ssl_ciphers: str = option(
        "text",
        "TLS",
        "Ciphers of TLS 1.2 in OpenSSL's words. Empty: ECDHE with AES-GCM or ChaCha20.",
        "",
        metavar="LIST",
        aliases=("--ciphers",),
    )
    ssl_watch: float = option(
        "float", "TLS", "Seconds between two looks at the files for new certificates; 0: never.", 10.0, minimum=0
    )
    timeout_handshake: float = option("float", "TLS", "Longest TLS handshake, in seconds.", 10.0, minimum=0.1)
    limit_handshakes: int = option(
        "int", "TLS", "TLS handshakes at once; beyond, none is accepted and stalled ones are dropped.", 1024, minimum=1
    )

    proxy_headers: bool = option(
        "flag", "Proxies", "Believe what trusted proxies say of their clients in header fields.", True
    )
    forwarded_allow_ips: str = option(
        "text",
        "Proxies",
        "Trusted proxies: addresses, networks such as 10.0.0.0/8, and unix: for peers on a unix socket. Alone: * for"
        " one proxy wherever it is, or a number of proxies; 0: nobody.",
        "127.0.0.1,::1",
        metavar="LIST",
        shared="FORWARDED_ALLOW_IPS",
    )
    forwarded_headers: str = option(
        "text",
        "Proxies",
        "Fields that are believed: x-forwarded-for, -proto, -host, -port, -prefix, or forwarded alone. Name those that"
        " your proxy sets or removes in every request.",
        "x-forwarded-for,x-forwarded-proto",
        metavar="LIST",
    )
    proxy_protocol: bool = option(
        "switch",
        "Proxies",
        "Expect a PROXY header (version 1 or 2) in front of each connection; trusted proxies only may connect.",
        False,
    )

    @property
    def tls(self) -> Tls | None:
        """TLS, if it is spoken."""
        if self.ssl_certfile is None:
            return None
        return Tls(
            certfile=self.ssl_certfile,
            keyfile=self.ssl_keyfile,
            password=self.ssl_keyfile_password,
            ca_certs=self.ssl_ca_certs,
            cert_reqs=self.ssl_cert_reqs,
            min_version=self.ssl_min_version,
            ciphers=self.ssl_ciphers,
        )
