"""Certificates for tests, made by trustme in a directory of the test."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

PASSWORD = "very secret"


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """An authority that the clients of a test trust. `file` has its certificate."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._ca = trustme.CA(organization_name=name)
        self._directory = directory
        self.file = directory / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.file))

    def pair(self, name: str, *identities: str, common_name: str | None = None) -> Pair:
        """A new certificate in files called so; those that are there are replaced, the certificate first."""
        made = self._ca.issue_cert(*(identities or ("localhost", "127.0.0.1")), common_name=common_name)
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        with pair.certificate.open("wb") as file:
            for each in made.cert_chain_pems:
                file.write(each.bytes())
        made.private_key_pem.write_to_path(str(pair.key))
        return pair

    def encrypted(self, pair: Pair) -> Path:
        """A file with the key of a pair under PASSWORD."""
        key = load_pem_private_key(pair.key.read_bytes(), None)
        path = pair.key.with_suffix(".secret")
        path.write_bytes(
            key.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSWORD.encode())
            )
        )
        return path

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """The context of a client that trusts the authority."""
        context = ssl.create_default_context(cafile=str(self.file))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context
