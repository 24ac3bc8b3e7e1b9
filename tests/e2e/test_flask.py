"""A Flask app as its tutorial writes it, in every mode of WSGI, over real sockets."""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from e2e.common import (
    ALLOWED,
    DIGEST,
    PIECE,
    PIECES,
    Peak,
    client,
    download_much,
    numbered,
    pieces,
    same_connection,
    upload_much,
)
from e2e.raw import RawClient
from e2e.server import ServerProcess

KINDS = {
    "threads": ("--mode", "threads", "--threads", "4"),
    "processes": ("--mode", "processes", "--processes", "4"),
    "inline": ("--mode", "inline"),
    # The body is read while it arrives, by the thread or process.
    "unbuffered": ("--mode", "threads", "--threads", "4", "--request-buffering", "off"),
    "processes-unbuffered": ("--mode", "processes", "--processes", "4", "--request-buffering", "off"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def server(
    request: pytest.FixtureRequest,
    start_shared: Callable[..., ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> ServerProcess:
    folder = str(tmp_path_factory.mktemp("flask"))
    options = KINDS[request.param]
    started = start_shared("flask_app:app", *options, env={"EXAMPLE_FOLDER": folder})
    assert started.mode == options[1]
    return started


def test_session_cookie_and_redirect(server: ServerProcess) -> None:
    with client(server) as http:
        assert http.get("/").text == "You are not logged in\n"
        answer = http.post("/login", data={"username": "Ada"})
        assert (answer.status_code, answer.headers["location"]) == (302, "/")
        assert "session" in answer.cookies
        assert http.get("/").text == "Logged in as Ada\n"
        assert http.post("/logout", follow_redirects=True).text == "You are not logged in\n"


def test_path_query_and_unicode(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.get("/hello/Zoë und Max", params={"greeting": "Grüß dich & alle"}).json()
    assert answer["name"] == "Zoë und Max"
    assert answer["greeting"] == "Grüß dich & alle"
    assert answer["multithread"] is (server.mode == "threads")


def test_errors(server: ServerProcess) -> None:
    with client(server) as http:
        assert (http.get("/missing").status_code, http.get("/nowhere").text) == (404, "Nothing here\n")
        broken = http.get("/broken")
        assert broken.status_code == 500
        assert "a detail that no client may see" not in broken.text
        assert http.post("/").status_code == 405
        assert http.get("/").status_code == 200


def test_head(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.head("/")
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) == len(http.get("/").content)


def test_keep_alive(server: ServerProcess) -> None:
    same_connection(server, "/hello/you")


def test_uploaded_file(server: ServerProcess) -> None:
    content = PIECE * 5 + b"the end"
    with client(server) as http:
        answer = http.post("/upload", files={"file": ("my photo.png", content)})
        assert answer.json() == {"name": "my_photo.png", "size": len(content), "url": "/uploads/my_photo.png"}
        found = http.get("/uploads/my_photo.png")
        assert (found.content, found.headers["content-type"]) == (content, "image/png")
        assert found.headers["content-length"] == str(len(content))
        part = http.get("/uploads/my_photo.png", headers={"Range": "bytes=70000-"})
        assert (part.status_code, part.content) == (206, content[70000:])
        part = http.get("/uploads/my_photo.png", headers={"Range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, content[5:10])
        same = http.get("/uploads/my_photo.png", headers={"If-None-Match": found.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert http.head("/uploads/my_photo.png").headers["content-length"] == str(len(content))
        assert http.get("/uploads/nothing").status_code == 404
        assert http.post("/upload", files={"other": b"x"}).status_code == 400


def test_50_mib_file_up_and_down(server: ServerProcess, curl: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "much.bin"
    back = tmp_path / "back.bin"
    with file.open("wb") as out:
        for number in range(PIECES):
            out.write(numbered(number))
    with Peak(server) as peak:
        curl("--form", f"file=@{file}", f"{server.url}/upload")  # waits for 100 Continue
        curl("--output", str(back), f"{server.url}/uploads/much.bin")
    assert filecmp.cmp(file, back, shallow=False)
    assert peak.rise < ALLOWED, peak


def test_chunked_upload(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.put("/digest", content=pieces(16))
        assert answer.request.headers["transfer-encoding"] == "chunked"
        assert answer.json() == {"size": 16 * len(PIECE), "sha256": DIGEST}


def test_streamed_answer(server: ServerProcess) -> None:
    with client(server) as http, http.stream("GET", "/lines") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert list(answer.iter_lines()) == [f"line {number}" for number in range(5)]


def test_http_1_0_gets_no_chunks(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        answer = raw.exchange(b"GET /lines HTTP/1.0\r\n\r\n")
    assert "transfer-encoding" not in answer.headers
    assert answer.body.count(b"\n") == 5


def test_pipelined(server: ServerProcess) -> None:
    with RawClient(server.address) as raw:
        raw.send(b"".join(b"GET /hello/%d HTTP/1.1\r\nHost: test\r\n\r\n" % number for number in range(20)))
        for number in range(20):
            assert b'"name":"%d"' % number in raw.read_answer().body.replace(b" ", b"")


@pytest.mark.parametrize("chunked", [True, False])
def test_50_mib_up(server: ServerProcess, chunked: bool) -> None:
    peak = upload_much(server, "/digest", chunked=chunked)
    assert peak.rise < ALLOWED, peak


def test_50_mib_down(server: ServerProcess) -> None:
    peak = download_much(server, "/download/{}", "/")
    assert peak.rise < ALLOWED, peak


def test_curl(server: ServerProcess, curl: Callable[..., str], tmp_path: Path) -> None:
    jar = str(tmp_path / "cookies")
    url = server.url
    curl("--cookie-jar", jar, "--data", "username=Ada", f"{url}/login")
    assert curl("--cookie", jar, url) == "Logged in as Ada\n"
    assert curl("--location", "--cookie-jar", jar, "--data", "username=Bo", f"{url}/login") == "Logged in as Bo\n"
    assert curl("--output", "/dev/null", "--write-out", "%{http_code}", f"{url}/broken") == "500"
    # Two transfers of one command: the second one needs no new connection.
    wanted = ["--output", "/dev/null", "--write-out", "%{num_connects} ", url]
    assert curl(*wanted, *wanted) == "1 0 "


def test_curl_uploads(server: ServerProcess, curl: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "much.bin"
    file.write_bytes(PIECE * 32)
    digest = hashlib.sha256(PIECE * 32).hexdigest()
    assert digest in curl("--upload-file", str(file), f"{server.url}/digest")
    chunked = ["--header", "Transfer-Encoding: chunked", "--upload-file", "-"]
    assert digest in curl(*chunked, f"{server.url}/digest", data=PIECE * 32)
    assert digest in curl("--http1.0", "--upload-file", str(file), f"{server.url}/digest")


def test_clients_at_once(server: ServerProcess) -> None:
    """More connections than threads, all of them open at once."""
    clients = [client(server) for _ in range(12)]
    try:
        for _ in range(3):
            assert [http.get("/").status_code for http in clients] == [httpx.codes.OK] * 12
    finally:
        for http in clients:
            http.close()
