"""--reload: a change of a file starts the app anew, behind sockets that stay open."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from e2e.common import client
from e2e.server import START, ServerProcess, eventually, run_command

APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("none")
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}})
    if scope["path"] == "/events":
        while True:
            await send({{"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True}})
            await asyncio.sleep(0.05)
    await send({{"type": "http.response.body", "body": b"{word}"}})
"""
CUT = 2.0  # seconds that an open stream may live on
SLACK = 6.0  # of a busy machine, on which the new worker is imported meanwhile


def write(folder: Path, word: str) -> None:
    (folder / "site_under_work.py").write_text(APP.format(word=word))


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[ServerProcess]:
    server = ServerProcess("site_under_work:app", "--reload", *options, app_dir=folder)
    try:
        yield server
    finally:
        server.kill()


def says(server: ServerProcess, word: str) -> Callable[[], bool]:
    """A question: does a new connection get this answer? Every one of them gets some answer."""

    def ask() -> bool:
        with client(server) as http:
            answer = http.get("/")
        assert answer.status_code == 200
        return answer.text == word

    return ask


def test_a_change_is_served_and_no_connection_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with serving(tmp_path) as server:
        server.started()
        assert says(server, "one")()
        for word in ("two", "three"):
            write(tmp_path, word)
            assert eventually(says(server, word), START)  # each question on the way is a new connection
        assert server.err.find("site_under_work.py has changed")
        assert server.stop().code == 0


def test_an_import_error_is_shown_and_waited_out(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with serving(tmp_path) as server:
        server.started()
        (tmp_path / "site_under_work.py").write_text("import gone_astray\n")
        assert server.err.wait("ModuleNotFoundError: No module named 'gone_astray'", START)
        assert says(server, "one")()
        write(tmp_path, "two")
        assert eventually(says(server, "two"), START)
        assert server.stop().code == 0


def test_an_import_error_at_the_start_is_waited_out_too(tmp_path: Path) -> None:
    (tmp_path / "site_under_work.py").write_text("app = 1 / 0\n")
    with serving(tmp_path) as server:
        assert server.err.wait("ZeroDivisionError", START)
        assert server.err.wait("waiting for a change", START)
        write(tmp_path, "mended")
        server.started()
        assert says(server, "mended")()
        assert server.stop().code == 0


def test_a_parent_that_blocks_signals_does_not_make_us_deaf(tmp_path: Path) -> None:
    write(tmp_path, "one")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGCHLD))
    try:
        with serving(tmp_path) as server:
            server.started()
            assert server.stop().code == 0
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_stop_while_the_app_is_broken(tmp_path: Path) -> None:
    (tmp_path / "site_under_work.py").write_text("app = 1 / 0\n")
    with serving(tmp_path) as server:
        assert server.err.wait("waiting for a change", START)
        assert server.stop().code == 0


def test_open_streams_are_cut_soon(tmp_path: Path) -> None:
    """An endless SSE client and a WebSocket, and a grace time that would let them live much longer."""
    write(tmp_path, "one")
    ended: dict[str, float] = {}
    codes: list[int | None] = []

    def read_events(events: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while events.recv(65536):
                continue
        ended["events"] = time.monotonic()

    def read_websocket(url: str, opened: threading.Event) -> None:
        with connect(url, proxy=None) as websocket:
            opened.set()
            try:
                websocket.recv()
            except ConnectionClosed as closed:
                codes.append(closed.rcvd.code if closed.rcvd else None)
        ended["websocket"] = time.monotonic()

    with serving(tmp_path, "--timeout-graceful", "60") as server:
        server.started()
        with socket.create_connection(server.address) as events:
            events.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            assert events.recv(100)
            opened = threading.Event()
            url = f"ws://{server.address[0]}:{server.address[1]}/"
            reading = [
                threading.Thread(target=read_events, args=(events,)),
                threading.Thread(target=read_websocket, args=(url, opened)),
            ]
            for each in reading:
                each.start()
            assert opened.wait(10)
            write(tmp_path, "two")
            assert eventually(says(server, "two"), START)
            began = time.monotonic()
            for each in reading:
                each.join(30)
        assert set(ended) == {"events", "websocket"}
        assert codes == [1012]
        assert max(ended.values()) - began <= CUT + SLACK
        assert server.stop().code == 0


def test_other_files_when_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "pages").mkdir()
    (tmp_path / "app" / "site_under_work.py").write_text(
        "from pathlib import Path\n"
        f"word = Path({str(tmp_path / 'pages' / 'a.html')!r}).read_text()\n"
        + APP.replace('b"{word}"', "word.encode()").replace("{{", "{").replace("}}", "}")
    )
    page = tmp_path / "pages" / "a.html"
    page.write_text("one")
    options = ("--reload-dir", str(tmp_path / "pages"), "--reload-include", "*.html", "--reload-exclude", "b.*")
    with serving(tmp_path / "app", *options) as server:
        server.started()
        (tmp_path / "pages" / "b.html").write_text("x")  # excluded
        page.write_text("two")
        assert eventually(says(server, "two"), START)
        assert not server.err.find("b.html")


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    nowhere = str(tmp_path / "nowhere")
    ended = run_command("site_under_work:app", "--app-dir", str(tmp_path), "--reload", "--reload-dir", nowhere)
    assert ended.code == 3
    assert f"--reload-dir {nowhere} is not a directory" in ended.err
    assert "Traceback" not in ended.err


def test_a_start_that_cannot_watch_leaves_no_socket_behind(tmp_path: Path) -> None:
    write(tmp_path, "one")
    options = ("--uds", str(tmp_path / "socket"), "--reload", "--reload-dir", str(tmp_path / "missing"))
    ended = run_command("site_under_work:app", "--app-dir", str(tmp_path), *options)
    assert ended.code == 3
    assert "missing is not a directory" in ended.err
    assert not (tmp_path / "socket").exists()
