"""A FastAPI app with pydantic, lifespan, a background task and streams, over real sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.common import ALLOWED, DIGEST, PIECE, PIECES, Peak, client, download_much, pieces, same_connection, upload_much
from e2e.server import APPS, ServerProcess, eventually


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, start_shared: Callable[..., ServerProcess]) -> ServerProcess:
    started = start_shared("fastapi_app:app", "--mode", "inline", "--loop", request.param)
    assert started.mode == "inline"
    return started


def test_lifespan_state(server: ServerProcess) -> None:
    with client(server) as http:
        assert http.get("/").json()["shop"] == "the corner shop"
        assert http.get("/items/1").json() == {"name": "lamp", "price": 19.5, "tags": []}


def test_pydantic(server: ServerProcess) -> None:
    with client(server) as http:
        item = {"name": "chair", "price": 40.0, "tags": ["wood"]}
        assert http.put("/items/7", json=item).json() == item
        assert http.get("/items/7").json() == item
        refused = http.put("/items/8", json={"name": "chair", "price": -1})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["body", "price"]


def test_errors(server: ServerProcess) -> None:
    with client(server) as http:
        assert http.get("/items/99").status_code == 404
        assert http.get("/old").headers["location"] == "/"
        broken = http.get("/broken")
        assert broken.status_code == 500
        assert "a detail that no client may see" not in broken.text
        assert http.get("/").status_code == 200


def test_background_task(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.post("/notify/ada")
        assert (answer.status_code, answer.json()) == (202, {"message": "accepted"})
        assert eventually(lambda: "notice for ada" in http.get("/notices").json(), 5.0)


def test_background_task_outlives_the_response(start: Callable[..., ServerProcess]) -> None:
    """The task waits for a later request on the same connection, so the response must have been complete before."""
    server = start("background:app", app_dir=APPS)
    with client(server) as http:
        assert http.post("/begin").json() == {"message": "begun"}
        assert http.get("/state").json() == {"done": False}
        assert http.post("/release").status_code == 200
        assert eventually(lambda: http.get("/state").json() == {"done": True}, 5.0)
    assert server.stop().code == 0


def test_keep_alive(server: ServerProcess) -> None:
    same_connection(server, "/")


def test_multipart_upload(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.post("/upload", files={"file": ("ä.bin", PIECE * 16)})
    assert answer.json() == {"name": "ä.bin", "size": 16 * len(PIECE), "sha256": DIGEST}


def test_chunked_upload(server: ServerProcess) -> None:
    with client(server) as http:
        answer = http.put("/digest", content=pieces(16))
        assert answer.request.headers["transfer-encoding"] == "chunked"
        assert answer.json() == {"size": 16 * len(PIECE), "sha256": DIGEST}


def test_streamed_answer(server: ServerProcess) -> None:
    with client(server) as http, http.stream("GET", "/lines") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert list(answer.iter_lines()) == [f"line {number}" for number in range(5)]


@pytest.mark.parametrize("chunked", [True, False])
def test_50_mib_up(server: ServerProcess, chunked: bool) -> None:
    peak = upload_much(server, "/digest", chunked=chunked)
    assert peak.rise < ALLOWED, peak


def test_50_mib_file(server: ServerProcess, curl: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "much.bin"
    whole = hashlib.sha256()
    with file.open("wb") as out:
        for piece in pieces():
            whole.update(piece)
            out.write(piece)
    with Peak(server) as peak:
        answer = curl("--form", f"file=@{file}", f"{server.url}/upload")
    assert whole.hexdigest() in answer
    assert str(PIECES * len(PIECE)) in answer
    assert peak.rise < ALLOWED, peak


def test_50_mib_down(server: ServerProcess) -> None:
    peak = download_much(server, "/download/{}", "/")
    assert peak.rise < ALLOWED, peak


def test_curl(server: ServerProcess, curl: Callable[..., str]) -> None:
    put = ["--request", "PUT", "--json", '{"name": "from curl", "price": 1}', f"{server.url}/items/20"]
    assert "from curl" in curl(*put)
    wanted = ["--output", "/dev/null", "--write-out", "%{http_code} %{num_connects} ", f"{server.url}/items/20"]
    assert curl(*wanted, *wanted) == "200 1 200 0 "
    chunked = ["--header", "Transfer-Encoding: chunked", "--upload-file", "-", f"{server.url}/digest"]
    assert DIGEST in curl(*chunked, data=PIECE * 16)


def test_lifespan_ends(start: Callable[..., ServerProcess]) -> None:
    server = start("plain_asgi:application", app_dir=APPS)
    assert server.err.find("app: lifespan.startup")
    ended = server.stop()
    assert ended.code == 0
    assert "app: lifespan.shutdown" in ended.err
