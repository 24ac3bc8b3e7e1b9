"""TLS with real clients: curl, httpx, openssl; in every mode, with client certificates, and with new certificates
under load."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from e2e.apps.told_wsgi import PIECE, pieces
from e2e.conftest import Start
from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess, eventually, run_command
from e2e.test_proxies import MODES
from net.authority import PASSWORD, Authority, Pair

COUNT = 100 * (1 << 20) // PIECE


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def serve(start: Start, mode: str, pair: Pair, *options: str, **more: Any) -> ServerProcess:
    files = ("--ssl-certfile", str(pair.certificate), "--ssl-keyfile", str(pair.key))
    return start(*MODES[mode], *files, *options, app_dir=APPS, **more)


def client(server: ServerProcess, authority: Authority, pair: Pair | None = None) -> httpx.Client:
    return httpx.Client(base_url=server.url, verify=authority.client(pair), timeout=20.0, trust_env=False)


def quiet(server: ServerProcess) -> None:
    """The server has nothing to complain of."""
    assert "Traceback" not in server.err.text


def served(address: tuple[str, int], context: ssl.SSLContext) -> bytes:
    """The certificate that a new connection gets."""
    with (
        socket.create_connection(address, 10.0) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secure,
    ):
        found = secure.getpeercert(True)
        assert found is not None
        return found


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_with_a_client_certificate(start: Start, authority: Authority, mode: str) -> None:
    mtls = ("--ssl-ca-certs", str(authority.file), "--ssl-cert-reqs", "optional")
    server = serve(start, mode, authority.pair("server"), *mtls)
    assert server.url.startswith("https://")
    pair = authority.pair("client", "me.example", common_name="me")
    with client(server, authority, pair) as http:
        told = [http.get("/told").json() for _ in range(3)][-1]
        body = b"x" * 3_000_000
        assert http.put("/upload", content=body).json()["digest"] == hashlib.sha256(body).hexdigest()
    with client(server, authority) as http:
        anonymous = http.get("/told").json()
    if mode == "asgi":
        assert told["scheme"] == "https"
        assert told["tls"]["client_cert_name"].startswith("CN=me,")
        assert told["tls"]["client_cert_chain"][0].strip() == pair.certificate.read_text().strip()
        assert told["tls"]["tls_version"] == 0x0304
        assert (anonymous["tls"]["client_cert_name"], anonymous["tls"]["client_cert_chain"]) == (None, [])
    else:
        assert (told["wsgi.url_scheme"], told["HTTPS"], told["SSL_PROTOCOL"]) == ("https", "on", "TLSv1.3")
        assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
        assert told["SSL_CLIENT_S_DN"].startswith("CN=me,")
        assert told["SSL_CLIENT_CERT"].strip() == pair.certificate.read_text().strip()
        assert anonymous["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_CERT" not in anonymous
    quiet(server)


def test_a_client_certificate_that_is_required(start: Start, authority: Authority) -> None:
    mtls = ("--ca-certs", str(authority.file), "--cert-reqs", "2")  # as gunicorn spells it
    server = serve(start, "threads", authority.pair("server"), *mtls)
    with client(server, authority) as http, pytest.raises(httpx.HTTPError):
        http.get("/told")
    with client(server, authority, authority.pair("client")) as http:
        assert http.get("/told").status_code == 200
    quiet(server)


def test_curl(start: Start, authority: Authority, curl: Callable[..., str]) -> None:
    server = serve(start, "asgi", authority.pair("server"))
    words = "%{http_version} %{ssl_verify_result} %{num_connects}\n"
    arguments = ["--cacert", str(authority.file), "--output", os.devnull, "--write-out", words]
    said = curl(*arguments, f"{server.url}/told", *arguments, f"{server.url}/told")
    assert said.splitlines() == ["1.1 0 1", "1.1 0 0"]
    for options in (["--tls-max", "1.2"], ["--tlsv1.3"], ["--http2"]):
        assert curl(*arguments, *options, f"{server.url}/told").startswith("1.1 0")
    quiet(server)


def test_a_websocket(start: Start, authority: Authority) -> None:
    server = serve(start, "asgi", authority.pair("server"))
    url = server.url.replace("https", "wss", 1) + "/told"
    with connect(url, ssl=authority.client(), server_hostname="localhost", proxy=None) as socket_:
        found = json.loads(socket_.recv(10.0))
        assert (found["scheme"], found["tls"]["tls_version"]) == ("wss", 0x0304)
        for message in ("text", b"\0octets", "x" * 1_000_000):
            socket_.send(message)
            assert socket_.recv(10.0) == message
    quiet(server)


def test_http_without_tls_is_told_so(start: Start, authority: Authority, curl: Callable[..., str]) -> None:
    server = serve(start, "threads", authority.pair("server"))
    host, port = server.address
    said = curl("--include", f"http://{host}:{port}/told")
    assert said.startswith("HTTP/1.1 400 ") and "use https" in said
    quiet(server)


def test_100_mb_up_and_down(start: Start, authority: Authority) -> None:
    server = serve(start, "processes", authority.pair("server"))
    digest = hashlib.sha256()
    for piece in pieces(COUNT):
        digest.update(piece)
    with client(server, authority) as http:
        headers = {"Content-Length": str(COUNT * PIECE)}
        assert http.put("/upload", content=pieces(COUNT), headers=headers).json()["digest"] == digest.hexdigest()
        down = hashlib.sha256()
        with http.stream("GET", f"/download?{COUNT}") as answer:
            for data in answer.iter_raw(PIECE):
                down.update(data)
    assert down.digest() == digest.digest()
    quiet(server)


@pytest.mark.parametrize("mode", ["inline", "threads", "processes"])
def test_a_file_goes_out_encrypted(start: Start, authority: Authority, mode: str) -> None:
    """wsgi.file_wrapper must not go past TLS."""
    server = serve(start, mode, authority.pair("server"))
    with client(server, authority) as http:
        answer = http.get("/file")
        assert answer.content == (APPS / "told_wsgi.py").read_bytes()
        assert http.get("/told").status_code == 200
    quiet(server)


def s_client(address: tuple[str, int], *options: str) -> list[str]:
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("openssl is not installed and these tests need it: apt-get install openssl")
    return [program, "s_client", "-connect", f"{address[0]}:{address[1]}", *options]


def openssl(address: tuple[str, int], *options: str) -> str:
    """What s_client says when it connects and ends at once."""
    done = subprocess.run(s_client(address, *options), input=b"", capture_output=True, timeout=30, check=False)
    return (done.stdout + done.stderr).decode("latin-1")


def renegotiate(address: tuple[str, int]) -> str:
    """What s_client says when it asks for new keys, which is its command R. It ends by itself when it does not get
    them."""
    command = s_client(address, "-tls1_2")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None and process.stdout is not None
        ending = threading.Timer(20.0, process.kill)
        ending.start()
        process.stdin.write(b"R\n")
        process.stdin.flush()
        said = process.stdout.read().decode("latin-1")
        ending.cancel()
        return said


def test_openssl(start: Start, authority: Authority) -> None:
    server = serve(start, "threads", authority.pair("server"))
    said = openssl(server.address, "-alpn", "h2,http/1.1", "-CAfile", str(authority.file))
    assert "ALPN protocol: http/1.1" in said and "Verify return code: 0" in said
    for weak in (["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], ["-tls1_2", "-cipher", "DHE"]):
        assert "Cipher is (NONE)" in openssl(server.address, *weak), weak
    assert "no renegotiation" in renegotiate(server.address)
    with client(server, authority) as http:
        assert http.get("/told").status_code == 200
    quiet(server)


def test_a_stop_does_not_wait_for_silent_clients(start: Start, authority: Authority) -> None:
    """An idle client that keeps its connection in a pool never answers our close_notify."""
    server = serve(start, "asgi", authority.pair("server"), "--timeout-graceful", "20")
    with client(server, authority) as http:
        http.get("/told")
        ended = server.stop()
    assert ended.code == 0
    assert ended.seconds < 10


# --- certificates ----------------------------------------------------------------------------------


def starting(pair: Pair, *options: str) -> Any:
    files = ("--ssl-certfile", str(pair.certificate))
    return run_command("told_wsgi:application", "--app-dir", str(APPS), "--bind", "127.0.0.1:0", *files, *options)


def test_a_start_that_cannot_be(authority: Authority) -> None:
    pair, other = authority.pair("server"), authority.pair("other")
    secret = authority.encrypted(pair)
    cases = {
        "the key is not that of the certificate": ("--ssl-keyfile", str(other.key)),
        "No such file": ("--ssl-keyfile", str(pair.key) + ".gone"),
        "give --ssl-keyfile-password": ("--ssl-keyfile", str(secret)),
        "is the password right": ("--ssl-keyfile", str(secret), "--ssl-keyfile-password", "wrong"),
        "needs --ssl-ca-certs": ("--ssl-keyfile", str(pair.key), "--ssl-cert-reqs", "required"),
    }
    for words, options in cases.items():
        ended = starting(pair, *options, *(["--check"] if "gone" in options[1] else []))
        assert ended.code == 3, ended.err
        assert words in ended.err
        assert "Traceback" not in ended.err and "wrong" not in ended.err


def test_an_encrypted_key(start: Start, authority: Authority) -> None:
    pair = authority.pair("server")
    secret = Pair(pair.certificate, authority.encrypted(pair))
    server = serve(start, "threads", secret, env={"BRIDGESERVE_SSL_KEYFILE_PASSWORD": PASSWORD})
    with client(server, authority) as http:
        assert http.get("/told").status_code == 200
    assert PASSWORD not in server.err.text + server.out.text


class Load(threading.Thread):
    """Asks again and again, on one connection or on a new one each time, until it is told to stop."""

    def __init__(self, server: ServerProcess, context: ssl.SSLContext, keep: bool, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._context = context
        self._keep = keep
        self._halt = stop
        self.served = 0
        self.certificates: set[bytes] = set()
        self.failed: list[str] = []

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                self._connection()
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))

    def _connection(self) -> None:
        raw = socket.create_connection(self._server.address, 10.0)
        with self._context.wrap_socket(raw, server_hostname="localhost") as secure:
            self.certificates.add(secure.getpeercert(True) or b"")
            while True:
                secure.sendall(b"GET /told HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
                    data = secure.recv(65536)
                    assert data, "cut"
                    answer += data
                assert answer.startswith(b"HTTP/1.1 200 ")
                self.served += 1
                if not self._keep or self._halt.is_set():
                    return


@pytest.mark.parametrize("mode", ["threads", "asgi"])
def test_certificates_are_replaced_under_load(start: Start, authority: Authority, mode: str) -> None:
    """New connections get the new one, none fails; a wrong pair in between changes nothing."""
    server = serve(start, mode, authority.pair("server"), "--ssl-watch", "0.1", "--no-access-log")
    context = authority.client()
    stop = threading.Event()
    loads = [Load(server, context, keep, stop) for keep in (True, False, False)]
    for load in loads:
        load.start()
    seen = [served(server.address, context)]
    for _ in range(3):
        authority.pair("server")  # the certificate first, then the key: in between they do not fit
        assert eventually(lambda: served(server.address, context) != seen[-1], 10.0)
        seen.append(served(server.address, context))
    (authority.pair("server").key).write_bytes(b"wrong")
    assert server.err.wait("the old ones stay", 10.0)
    assert served(server.address, context) == seen[-1]
    before = [load.served for load in loads]
    assert eventually(lambda: all(load.served > count for load, count in zip(loads, before, strict=True)), 10.0)
    stop.set()
    for load in loads:
        load.join(15.0)
        assert not load.failed
        assert load.served > 10
    assert len(loads[0].certificates) == 1  # the kept connection has the first one to its end
    assert set(seen) <= loads[1].certificates | loads[2].certificates
    quiet(server)


@pytest.mark.parametrize("proxied", ["off", "on"])
def test_the_health_check_speaks_tls(start: Start, authority: Authority, proxied: str) -> None:
    pair = authority.pair("server")
    server = serve(start, "asgi", pair, "--proxy-protocol", proxied)
    host, port = server.address
    environ = {"BRIDGESERVE_BIND": f"{host}:{port}", "BRIDGESERVE_SSL_CERTFILE": str(pair.certificate)}
    environ["BRIDGESERVE_PROXY_PROTOCOL"] = proxied
    done = subprocess.run(
        [shutil.which("python") or "python", "-m", "bridgeserve.health", "/told"],
        env=os.environ | environ,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_stalled_handshakes_do_not_hold_up_a_stop(start: Start, authority: Authority) -> None:
    server = serve(start, "threads", authority.pair("server"), "--timeout-handshake", "30")
    with RawClient(server.address) as silent, RawClient(server.address) as begun:
        begun.send(b"\x16\x03\x01")
        with client(server, authority) as http:
            assert http.get("/told").status_code == 200
        server.signal(signal.SIGTERM)
        ended = server.wait(10.0)
        assert ended.code == 0
        assert silent.ended() and begun.ended()
    assert json.dumps(ended.err).find("Traceback") < 0
