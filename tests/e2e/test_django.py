"""A Django project with its ORM on SQLite and an uploaded file, in every mode of WSGI, over real sockets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from e2e.common import ALLOWED, PIECE, PIECES, Peak, client, download_much, pieces, same_connection, upload_much
from e2e.server import ServerProcess


class Site:
    """A server and the file of its database."""

    def __init__(self, server: ServerProcess, database: Path) -> None:
        self.server = server
        self._database = database

    def rows(self, question: str) -> list[tuple[object, ...]]:
        """What the database says, past the app."""
        with closing(sqlite3.connect(self._database)) as database:
            return database.execute(question).fetchall()


@pytest.fixture(scope="module", params=["threads", "processes", "inline"])
def site(
    request: pytest.FixtureRequest,
    start_shared: Callable[..., ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Site:
    database = tmp_path_factory.mktemp("django") / "db.sqlite3"
    options = ("--mode", request.param, "--processes", "4")
    server = start_shared("django_app:application", *options, env={"EXAMPLE_DATABASE": str(database)})
    assert server.mode == request.param
    return Site(server, database)


def test_orm(site: Site) -> None:
    with client(site.server) as http:
        answer = http.post("/notes", json={"text": "Grüße"})
        assert answer.status_code == 302
        where = answer.headers["location"]
        assert http.get(where).json()["text"] == "Grüße"
        assert {"id": int(where.rpartition("/")[2]), "text": "Grüße"} in http.get("/notes").json()["notes"]
    assert ("Grüße",) in site.rows("select text from example_note")


def test_orm_from_many_connections(site: Site) -> None:
    clients = [client(site.server) for _ in range(8)]
    try:
        keys = {
            http.post("/notes", json={"text": f"note {number}"}).headers["location"]
            for number, http in enumerate(clients * 3)
        }
        assert len(keys) == 24
        assert all(http.get(key).status_code == 200 for http, key in zip(clients * 3, keys, strict=True))
    finally:
        for http in clients:
            http.close()


def test_uploaded_file(site: Site) -> None:
    with client(site.server) as http:
        answer = http.post("/upload", files={"file": ("photo.png", PIECE * 3)})
        assert answer.status_code == 201
        stored = answer.json()
        assert (stored["name"], stored["size"]) == ("photo.png", 3 * len(PIECE))
        assert stored in http.get("/uploads").json()["uploads"]
    assert ("photo.png", 3 * len(PIECE)) in site.rows("select name, size from example_upload")


def test_chunked_upload(site: Site) -> None:
    with client(site.server) as http:
        answer = http.put("/digest", content=pieces(4))
        assert answer.request.headers["transfer-encoding"] == "chunked"
        assert answer.json() == {"size": 4 * len(PIECE)}


def test_errors(site: Site) -> None:
    with client(site.server) as http:
        assert http.get("/notes/999999").status_code == 404
        assert http.delete("/notes").status_code == 405
        broken = http.get("/broken")
        assert broken.status_code == 500
        assert "a detail that no client may see" not in broken.text


def test_keep_alive(site: Site) -> None:
    with client(site.server) as http:
        where = http.post("/notes", json={"text": "kept"}).headers["location"]
    same_connection(site.server, where)


@pytest.mark.parametrize("chunked", [True, False])
def test_50_mib_up(site: Site, chunked: bool) -> None:
    peak = upload_much(site.server, "/digest", chunked=chunked)
    assert peak.rise < ALLOWED, peak


def test_50_mib_file(site: Site, curl: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "much.bin"
    with file.open("wb") as out:
        for piece in pieces():
            out.write(piece)
    with Peak(site.server) as peak:
        answer = json.loads(curl("--form", f"file=@{file}", f"{site.server.url}/upload"))
    assert answer["size"] == PIECES * len(PIECE)
    assert (PIECES * len(PIECE),) in site.rows("select size from example_upload")
    assert peak.rise < ALLOWED, peak


def test_50_mib_down(site: Site) -> None:
    peak = download_much(site.server, "/download/{}", "/uploads")
    assert peak.rise < ALLOWED, peak


def test_curl(site: Site, curl: Callable[..., str]) -> None:
    url = site.server.url
    assert "from curl" in curl("--location", "--json", '{"text": "from curl"}', f"{url}/notes")
    wanted = ["--output", "/dev/null", "--write-out", "%{http_code} %{num_connects} ", f"{url}/uploads"]
    assert curl(*wanted, *wanted) == "200 1 200 0 "
