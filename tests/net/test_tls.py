"""TLS: what contexts are made of, what a connection tells, and new certificates while connections stay."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridgeserve.binds import parse_bind
from bridgeserve.groups import Limits, Timeouts, Tls
from bridgeserve.net.certificates import Certificates, TlsError, Watch, make_context
from bridgeserve.net.engine import Engine, Protocols
from bridgeserve.net.handshakes import Handshakes
from bridgeserve.net.listeners import Acceptor, open_listeners
from bridgeserve.net.opening import Opening
from bridgeserve.net.proxies import Proxies
from bridgeserve.net.tls import distinguished_name
from bridgeserve.wire.framing import Preamble
from bridgeserve.wire.trust import Trust
from net.authority import PASSWORD, Authority, Pair
from net.clock import run_virtual, until
from net.memory import Application, begin, ok

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_of(pair: Pair, **more: Any) -> Tls:
    return Tls(certfile=str(pair.certificate), keyfile=str(pair.key), **more)


class House:
    """An engine that speaks TLS at a port of this machine; its application answers `ok`."""

    def __init__(
        self, certificates: Certificates, timeouts: Timeouts, most: int, handshake: float, proxy: bool
    ) -> None:
        self.app = Application(ok)
        protocols = Protocols(Limits(), timeouts, "auto", Preamble())
        self.engine = Engine(protocols, self.app, (), Proxies(Trust.parse("127.0.0.1")))  # type: ignore[arg-type]
        [listener] = open_listeners((parse_bind("127.0.0.1:0"),), 64)
        self.handshakes = Handshakes(most)
        opening = Opening(self.engine, proxy, certificates, handshake, self.handshakes)
        self.acceptor = Acceptor(self.engine, listener, None, opening)
        self.port = listener.getsockname()[1]
        self.acceptor.start()

    async def plain(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def secure(self, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname="localhost")

    async def close(self) -> None:
        self.acceptor.abort()
        self.handshakes.close()
        self.engine.abort()
        await until(lambda: not self.engine.connections)


@asynccontextmanager
async def house(
    tls: Tls | Certificates, *, most: int = 64, handshake: float = 10.0, proxy: bool = False, **timeouts: float
) -> AsyncIterator[House]:
    certificates = tls if isinstance(tls, Certificates) else Certificates(tls)
    made = House(certificates, Timeouts(**timeouts), most, handshake, proxy)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(5) == b"hello"
    return head


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on each of the loops: their TLS is not the same code."""
    factory = None if request.param == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


# --- contexts --------------------------------------------------------------------------------------


def test_modern_defaults(authority: Authority) -> None:
    context = make_context(tls_of(authority.pair("server")))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
    for suite in context.get_ciphers():
        assert suite["aead"], suite["name"]
        assert suite["protocol"] == "TLSv1.3" or suite["name"].startswith("ECDHE-"), suite["name"]
    assert make_context(tls_of(authority.pair("server"), min_version="1.3")).minimum_version is ssl.TLSVersion.TLSv1_3


def test_a_key_in_the_file_of_the_certificate(authority: Authority) -> None:
    pair = authority.pair("server")
    pair.certificate.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    make_context(Tls(certfile=str(pair.certificate)))


def test_an_encrypted_key(authority: Authority) -> None:
    pair = authority.pair("server")
    tls = replace(tls_of(pair), keyfile=str(authority.encrypted(pair)))
    make_context(replace(tls, password=PASSWORD))
    for password, words in ((None, "give --ssl-keyfile-password"), ("wrong", "is the password right")):
        with pytest.raises(TlsError, match=words) as caught:
            make_context(replace(tls, password=password))
        assert "wrong" not in str(caught.value)


def test_what_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    good = tls_of(authority.pair("server"))
    other = tls_of(authority.pair("other"))
    text = tmp_path / "text"
    text.write_text("nothing of use")
    cases = {
        "the key is not that of the certificate": replace(good, keyfile=other.keyfile),
        "--ssl-certfile .*missing: No such file": replace(good, certfile=str(tmp_path / "missing")),
        "--ssl-keyfile .*missing: No such file": replace(good, keyfile=str(tmp_path / "missing")),
        "--ssl-ca-certs .*missing: No such file": replace(good, ca_certs=str(tmp_path / "missing")),
        "--ssl-certfile .*text": replace(good, certfile=str(text)),
        "--ssl-keyfile .*text": replace(good, keyfile=str(text)),
        "--ssl-ca-certs .*text": replace(good, ca_certs=str(text)),
        "--ssl-ciphers nonsense": replace(good, ciphers="nonsense"),
    }
    for words, tls in cases.items():
        with pytest.raises(TlsError, match=words):
            make_context(tls)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ((), ""),
        (((("countryName", "DE"),), (("organizationName", "A"),), (("commonName", "b"),)), "CN=b,O=A,C=DE"),
        (((("commonName", "b"), ("userId", "7")),), "CN=b+UID=7"),
        (((("commonName", 'a,b+c"d\\e<f>g;h\0'),),), 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h\\00'),
        (((("commonName", " a "),),), "CN=\\ a\\ "),
        (((("commonName", "#a"),),), "CN=\\#a"),
        (((("commonName", " "),),), "CN=\\ "),
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
    ],
)
def test_names(name: Any, text: str) -> None:
    assert distinguished_name(name) == text


# --- connections -----------------------------------------------------------------------------------


def test_what_a_connection_tells(authority: Authority, run: Run) -> None:
    tls = tls_of(authority.pair("server"))
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def main() -> None:
        async with house(tls) as here:
            reader, writer = await here.secure(context)
            assert (await ask(reader, writer)).startswith(b"HTTP/1.1 200 OK")
            own = writer.get_extra_info("ssl_object")
            assert own.selected_alpn_protocol() == "http/1.1"
            endpoint = here.app.last.endpoint
            assert endpoint.scheme == "https"
            assert endpoint.tls == {
                "server_cert": ssl.DER_cert_to_PEM_cert(own.getpeercert(True)),
                "client_cert_chain": [],
                "client_cert_name": None,
                "client_cert_error": None,
                "tls_version": 0x0304,
                "cipher_suite": 0x1302,  # TLS_AES_256_GCM_SHA384, which OpenSSL likes best
            }
            assert endpoint.ssl == {
                "SSL_PROTOCOL": "TLSv1.3",
                "SSL_CIPHER": "TLS_AES_256_GCM_SHA384",
                "SSL_CLIENT_VERIFY": "NONE",
            }
            await leave(writer)

    run(main)


@pytest.mark.parametrize("reqs", ["optional", "required"])
def test_a_client_with_a_certificate(authority: Authority, reqs: str, run: Run) -> None:
    tls = tls_of(authority.pair("server"), ca_certs=str(authority.file), cert_reqs=reqs)
    pair = authority.pair("client", "me.example", common_name="me, myself")

    async def main() -> None:
        async with house(tls) as here:
            reader, writer = await here.secure(authority.client(pair))
            await ask(reader, writer)
            endpoint = here.app.last.endpoint
            chain = endpoint.tls["client_cert_chain"]
            assert chain[0].strip() == pair.certificate.read_text().strip()
            assert endpoint.tls["client_cert_name"].startswith("CN=me\\, myself,")
            assert endpoint.ssl["SSL_CLIENT_VERIFY"] == "SUCCESS"
            assert endpoint.ssl["SSL_CLIENT_CERT"] == chain[0]
            assert endpoint.ssl["SSL_CLIENT_S_DN"] == endpoint.tls["client_cert_name"]
            assert "O=authority" in endpoint.ssl["SSL_CLIENT_I_DN"]
            assert int(endpoint.ssl["SSL_CLIENT_M_SERIAL"], 16) > 0
            await leave(writer)

    run(main)


@pytest.mark.parametrize(("reqs", "served"), [("none", True), ("optional", True), ("required", False)])
def test_a_client_without_one(authority: Authority, reqs: str, served: bool, run: Run) -> None:
    tls = tls_of(authority.pair("server"), ca_certs=str(authority.file), cert_reqs=reqs)

    async def main() -> None:
        async with house(tls) as here:
            reader, writer = await here.secure(authority.client())
            if served:
                await ask(reader, writer)
            else:
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await ask(reader, writer)
            assert len(here.app.exchanges) == served
            await leave(writer)

    run(main)


@pytest.mark.parametrize("reqs", ["optional", "required"])
def test_a_client_of_another_authority(authority: Authority, reqs: str, tmp_path: Path, run: Run) -> None:
    tls = tls_of(authority.pair("server"), ca_certs=str(authority.file), cert_reqs=reqs)
    stranger = Authority(tmp_path, "stranger").pair("stranger")

    async def main() -> None:
        async with house(tls) as here:
            reader, writer = await here.secure(authority.client(stranger))
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await ask(reader, writer)
            assert not here.app.exchanges
            await leave(writer)

    run(main)


def test_an_old_version_is_refused(authority: Authority, run: Run) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main() -> None:
        async with house(tls_of(authority.pair("server"), min_version="1.3")) as here:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await here.secure(context)
            assert not here.engine.connections

    run(main)


def test_a_proxy_header_before_the_handshake(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server")), proxy=True) as here:
            reader, writer = await here.plain()
            writer.write(b"PROXY TCP4 203.0.113.9 198.51.100.2 4711 443\r\n")
            await writer.start_tls(authority.client(), server_hostname="localhost")
            await ask(reader, writer)
            endpoint = here.app.last.endpoint
            assert (endpoint.client, endpoint.scheme) == (("203.0.113.9", 4711), "https")
            await leave(writer)

    run(main)


SIZE = 16 << 20  # more than the sockets of both sides hold
CLOSE = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def slow_download(port: int, context: ssl.SSLContext) -> int:
    """(a thread) Ask, read with pauses, and count the octets up to the end, which must be a close_notify."""
    with (
        socket.create_connection(("127.0.0.1", port), 20.0) as raw,
        context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False) as client,
    ):
        client.sendall(CLOSE)
        total = 0
        due = SIZE // 16
        while data := client.recv(65536):
            total += len(data)
            if total > due:
                due += SIZE // 16
                time.sleep(0.05)
        return total


def test_a_client_that_reads_slowly_gets_everything_before_the_close(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server")), linger=0.05) as here:
            here.app._answer = lambda exchange: ok(exchange, b"x" * SIZE)
            assert await asyncio.to_thread(slow_download, here.port, authority.client()) > SIZE
            await until(lambda: not here.engine.connections)

    run(main)


def test_a_client_that_reads_nothing_is_cut_after_its_time(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server")), linger=0.05, write=0.3) as here:
            here.app._answer = lambda exchange: ok(exchange, b"x" * SIZE)
            _, writer = await here.secure(authority.client())
            writer.transport.pause_reading()
            writer.write(CLOSE)
            await until(lambda: here.app.exchanges)
            await until(lambda: not here.engine.connections)
            await leave(writer)

    run(main)


def test_a_stream_waits_for_a_client_that_does_not_read(authority: Authority, run: Run) -> None:
    async def main() -> None:
        async with house(tls_of(authority.pair("server"))) as here:
            here.app._answer = begin
            reader, writer = await here.secure(authority.client())
            writer.transport.pause_reading()
            writer.write(GET)
            await until(lambda: here.app.exchanges)
            sent = 0
            while here.app.last.writable:
                here.app.last.write(b"x" * 65536)
                sent += 65536
                await asyncio.sleep(0)
            assert sent < SIZE
            writer.transport.resume_reading()
            while not here.app.last.writable:
                assert await reader.read(65536)
            await leave(writer)

    run(main)


# --- new certificates ------------------------------------------------------------------------------


def served_by(reader: Any, writer: asyncio.StreamWriter) -> bytes:
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
    return found


def test_new_certificates_are_for_new_connections(
    authority: Authority, caplog: pytest.LogCaptureFixture, run: Run
) -> None:
    certificates = Certificates(tls_of(authority.pair("server")))
    context = authority.client()

    async def main() -> None:
        async with house(certificates) as here:
            old = await here.secure(context)
            await ask(*old)
            certificates.reload_if_changed()
            assert not caplog.records
            authority.pair("server")
            certificates.reload_if_changed()
            new = await here.secure(context)
            await ask(*new)
            await ask(*old)
            assert served_by(*old) != served_by(*new)
            assert here.app.exchanges[1].endpoint.tls["server_cert"] == ssl.DER_cert_to_PEM_cert(served_by(*new))
            for _, writer in (old, new):
                await leave(writer)

    with caplog.at_level(logging.INFO, "bridgeserve"):
        run(main)
    assert "new connections get them" in caplog.text


def test_a_wrong_pair_is_refused_and_the_old_one_stays(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    pair = authority.pair("server")
    certificates = Certificates(tls_of(pair))
    context, pem = certificates.context, certificates.pem
    old, own = pair.certificate.read_bytes(), pair.key.read_bytes()
    other = authority.pair("other")
    for file, octets in ((pair.certificate, other.certificate.read_bytes()), (pair.key, b"x"), (pair.certificate, b"")):
        file.write_bytes(octets)
        certificates.reload_if_changed()
        assert (certificates.context, certificates.pem) == (context, pem)
    pair.key.unlink()
    assert not certificates.reload()
    errors = [record.getMessage() for record in caplog.records]
    assert len(errors) == 4 and all("the old ones stay" in error for error in errors)
    certificates.reload_if_changed()  # nothing has changed since: nothing is said
    assert len(caplog.records) == 4
    pair.certificate.write_bytes(old)
    pair.key.write_bytes(own)
    assert certificates.reload()
    assert certificates.context is not context


def test_a_link_that_points_elsewhere(authority: Authority, tmp_path: Path) -> None:
    """Certificates of Kubernetes and certbot are links, which are renamed over."""
    first, second = authority.pair("first"), authority.pair("second")
    link, key = tmp_path / "live.pem", tmp_path / "live.key"
    for path, target in ((link, first.certificate), (key, first.key)):
        path.symlink_to(target)
    certificates = Certificates(Tls(certfile=str(link), keyfile=str(key)))
    for path, target in ((link, second.certificate), (key, second.key)):
        (tmp_path / "next").symlink_to(target)
        os.rename(tmp_path / "next", path)
    certificates.reload_if_changed()
    assert certificates.pem is not None
    assert second.certificate.read_text().startswith(certificates.pem.strip())


def test_the_watch_looks_in_its_interval(authority: Authority) -> None:
    certificates = Certificates(tls_of(authority.pair("server")))
    before = certificates.context

    async def main() -> None:
        watch = Watch(certificates, 10.0)
        never = Watch(certificates, 0)
        await asyncio.sleep(25)
        assert certificates.context is before
        authority.pair("server")
        await asyncio.sleep(4)
        assert certificates.context is before
        await asyncio.sleep(2)
        assert certificates.context is not before
        watch.close()
        never.close()

    run_virtual(main)
