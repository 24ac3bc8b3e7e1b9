"""The command itself: exit codes, what it prints where, the ways to be bound, and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.raw import RawClient
from e2e.server import APPS, START, STOP, ServerProcess, run_command

WSGI = "plain_wsgi:application"
ASGI = "plain_asgi:application"
HERE = ("--app-dir", str(APPS))
FREE = ("--bind", "127.0.0.1:0")


def get(address: tuple[str, int] | str, path: str = "/hello") -> bytes:
    """The body of one answer."""
    with RawClient(address) as raw:
        raw.get(path)
        return raw.read_answer().body


# --- what cannot start ---------------------------------------------------------------------------


def test_port_in_use_is_3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_command(WSGI, *HERE, "--bind", f"127.0.0.1:{port}")
    assert ended.code == 3
    assert f"127.0.0.1:{port}" in ended.err
    assert "in use" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("no_such_module:app", ["no_such_module"]),
        ("plain_wsgi:nothing", ["plain_wsgi", "nothing"]),
        ("plain_wsgi.py", ["plain_wsgi"]),
        ("strange", ["application", "app"]),
        ("strange:number", ["not callable"]),
        ("strange:number()", ["int"]),
        ("a b c", ["a b c"]),
    ],
)
def test_no_app_is_3(app: str, words: list[str]) -> None:
    ended = run_command(app, *HERE, *FREE)
    assert ended.code == 3
    assert all(word in ended.err for word in words), ended.err
    assert "Traceback" not in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_an_app_that_raises_is_3_with_its_traceback() -> None:
    ended = run_command("raising:app", *HERE, *FREE)
    assert ended.code == 3
    assert ended.err.count("Traceback") == 1
    assert "raising.py" in ended.err
    assert "LookupError: the colour of the bicycle shed is not set" in ended.err
    assert "importlib" not in ended.err  # neither the machinery's frames
    assert "bridgeserve/serve" not in ended.err  # nor ours


def test_an_app_that_refuses_to_start_is_3() -> None:
    ended = run_command("hanging:failing", *HERE, *FREE)
    assert ended.code == 3
    assert "the database is away" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((ASGI, "--mode", "threads"), ["ASGI", "threads", "inline"]),
        ((ASGI, "--mode", "processes"), ["ASGI", "processes"]),
        ((ASGI, "--reserve", "/health*:1"), ["--reserve", "--limit-concurrency"]),
        ((WSGI, "--reserve", "/health*:2", "--threads", "2"), ["2 free of 2 (--threads)", "3 or more"]),
        ((WSGI, "--check", "--reserve", "/health*:2", "--threads", "2"), ["--reserve"]),
    ],
)
def test_what_contradicts_the_app_is_3(options: tuple[str, ...], words: list[str]) -> None:
    ended = run_command(*options, *HERE, *FREE)
    assert ended.code == 3
    assert all(word in ended.err for word in words), ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((WSGI, "--no-such-option"), ["--no-such-option"]),
        ((WSGI, "--threads", "many"), ["threads", "many"]),
        ((WSGI, "--threads", "0"), ["threads"]),
        ((WSGI, "--reserve", "/health*"), ["--reserve", "PATTERN:N"]),
        ((WSGI, "--mode", "sideways"), ["sideways", "inline"]),
        ((WSGI, "--bind", "127.0.0.1:99999"), ["99999"]),
        ((), ["APP"]),
        ((WSGI, "another:app"), ["another:app"]),
    ],
)
def test_wrong_usage_is_2(options: tuple[str, ...], words: list[str]) -> None:
    ended = run_command(*options, *HERE)
    assert ended.code == 2
    assert all(word in ended.err for word in words), ended.err
    assert "Traceback" not in ended.err


def test_a_wrong_variable_is_2_and_named(start: Callable[..., ServerProcess]) -> None:
    server = ServerProcess(WSGI, app_dir=APPS, env={"BRIDGESERVE_THREADS": "many"})
    ended = server.wait()
    assert ended.code == 2
    assert "BRIDGESERVE_THREADS" in ended.err


# --- what only prints ----------------------------------------------------------------------------


def test_check() -> None:
    ended = run_command(ASGI, *HERE, "--check")
    assert (ended.code, "against" in ended.err) == (0, False)
    assert re.search(r"^ok: .* is an ASGI app, mode inline; GET / was answered with 200; ", ended.out)
    assert run_command("no_such_module", *HERE, "--check").code == 3
    assert run_command(ASGI, *HERE, "--mode", "threads", "--check").code == 3


def test_print_config() -> None:
    ended = run_command(WSGI, "--print-config", "--threads", "3")
    assert ended.code == 0
    assert re.search(r"^threads\s+= 3\s+\(.*--threads.*\)$", ended.out, re.MULTILINE)
    assert re.search(r"^timeout_keep_alive\s+= 75\s+\(default\)$", ended.out, re.MULTILINE)


def test_version_and_help() -> None:
    assert re.fullmatch(r"bridgeserve \d+\.\d+\S*\n", run_command("--version").out)
    ended = run_command("--help")
    assert ended.code == 0
    assert "--threads" in ended.out


# --- how it is bound -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "options", "words"),
    [
        (WSGI, ("--threads", "3"), ["mode threads", "wsgi", "3 threads"]),
        (WSGI, ("--mode", "inline", "--loop", "asyncio"), ["mode inline", "wsgi", "asyncio"]),
        (WSGI, ("--mode", "processes", "--processes", "2"), ["mode processes", "wsgi", "2 processes"]),
        (ASGI, ("--loop", "uvloop"), ["mode inline", "asgi", "uvloop"]),
        ("plain_wsgi", (), ["mode threads"]),
        ("strange:factory()", (), ["mode threads"]),
        ("strange:factory", ("--factory",), ["mode threads"]),
        ("strange:holder.inner.app", (), ["mode threads"]),
    ],
)
def test_the_start_up_line(
    start: Callable[..., ServerProcess], app: str, options: tuple[str, ...], words: list[str]
) -> None:
    server = start(app, *options, app_dir=APPS)
    [line] = [line for line in server.err.text.splitlines() if "serving on" in line]
    assert all(word in line for word in [*words, f"pid {server.pid}", server.url]), line
    assert server.address[1] != 0
    assert get(server.address) == b"GET /hello 0\n"


def test_two_binds(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start(WSGI, *FREE, "--bind", f"unix:{path}", app_dir=APPS)
    assert len(server.addresses) == 2
    assert get(server.address) == get(str(path)) == b"GET /hello 0\n"


def test_unix_socket_with_its_mode(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start(WSGI, "--bind", f"unix:{path}?mode=640", app_dir=APPS)
    assert server.url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert get(str(path)) == b"GET /hello 0\n"
    assert server.stop().code == 0
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(
    start: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    start(WSGI, "--uds", str(path), app_dir=APPS)
    assert run_command(WSGI, *HERE, "--uds", str(path)).code == 3
    assert get(str(path)) == b"GET /hello 0\n"


@pytest.mark.parametrize("option", ["--fd={}", "--bind=fd://{}"])
def test_inherited_descriptor(start: Callable[..., ServerProcess], option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        number = listener.fileno()
        server = start(WSGI, option.format(number), app_dir=APPS, pass_fds=(number,))
    assert server.address == address
    assert get(address) == b"GET /hello 0\n"


def test_variables(start: Callable[..., ServerProcess]) -> None:
    server = start(ASGI, app_dir=APPS, env={"BRIDGESERVE_LOOP": "asyncio", "BRIDGESERVE_ACCESS_LOG": "off"})
    assert server.err.find("asyncio")
    assert get(server.address) == b"GET /hello 0\n"
    assert server.stop().out == ""


# --- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", [WSGI, ASGI])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(start: Callable[..., ServerProcess], app: str, number: signal.Signals) -> None:
    server = start(app, app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/slow")
        assert server.err.wait("app: slow", 5.0)
        server.signal(number)
        answer = raw.read_answer()
        assert (answer.status, answer.closes) == (200, True)
    ended = server.wait()
    assert ended.code == 0
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("app", [WSGI, ASGI])
@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)])
def test_a_second_int_or_quit_stops_at_once(
    start: Callable[..., ServerProcess], app: str, numbers: tuple[signal.Signals, ...]
) -> None:
    server = start(app, app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/stuck")
        assert server.err.wait("app: stuck", 5.0)
        begin = time.monotonic()
        for number in numbers:
            server.signal(number)
            assert server.err.wait(number.name, 5.0)
        ended = server.wait(STOP)
        assert time.monotonic() - begin < 5.0
        assert raw.read_rest() == b""
    assert ended.code == 0
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_a_start_up_that_hangs(number: signal.Signals) -> None:
    server = ServerProcess("hanging:at_start", app_dir=APPS)
    try:
        assert server.err.wait("app: hanging", START)
        server.signal(number)
        ended = server.wait(5.0)
    finally:
        server.kill()
    assert ended.code == 0
    assert "serving on" not in ended.err
    assert "Traceback" not in ended.err


def test_a_second_int_ends_a_shutdown_that_hangs(start: Callable[..., ServerProcess]) -> None:
    server = start("hanging:at_end", app_dir=APPS)
    server.signal(signal.SIGINT)
    assert server.err.wait("app: hanging", 5.0)
    server.signal(signal.SIGINT)
    assert server.wait(5.0).code == 0


def test_a_shutdown_that_hangs_has_an_end(start: Callable[..., ServerProcess]) -> None:
    server = start("hanging:at_end", "--timeout-graceful", "0.3", app_dir=APPS)
    assert server.stop(5.0).code == 0


def test_a_second_term_changes_nothing(start: Callable[..., ServerProcess]) -> None:
    server = start(WSGI, app_dir=APPS)
    with RawClient(server.address) as raw:
        raw.get("/slow")
        assert server.err.wait("app: slow", 5.0)
        server.signal(signal.SIGTERM)
        assert server.err.wait("SIGTERM", 5.0)
        server.signal(signal.SIGTERM)
        assert raw.read_answer().status == 200
    assert server.wait().code == 0


def test_pid_file(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    file = tmp_path / "pid"
    server = start(WSGI, "--pid", str(file), app_dir=APPS)
    assert file.read_text() == f"{server.pid}\n"
    server.stop()
    assert not file.exists()


def test_the_pid_file_of_the_next_server_is_left_alone(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """Two of them for a moment, by --reuse-port or at another address."""
    file = tmp_path / "pid"
    server = start(WSGI, "--pid", str(file), app_dir=APPS)
    file.write_text("4711\n")
    assert server.stop().code == 0
    assert file.read_text() == "4711\n"


# --- the access log ------------------------------------------------------------------------------


def test_access_log_is_on_stdout(start: Callable[..., ServerProcess]) -> None:
    server = start(WSGI, app_dir=APPS)
    get(server.address, "/hello?a=b")
    ended = server.stop()
    assert re.fullmatch(r'127\.0\.0\.1:\d+ "GET /hello\?a=b HTTP/1\.1" 200 13 \d+\.\dms\n', ended.out)
    assert "/hello" not in ended.err


def test_access_log_cannot_be_forged(start: Callable[..., ServerProcess]) -> None:
    server = start(WSGI, "--access-log-format", "combined", app_dir=APPS)
    agent = b'me" 200\t\\ \xff\xc2\x85\xe2\x80\xa8x'  # quotes, a tab, line ends of Unicode
    with RawClient(server.address) as raw:
        raw.exchange(b"GET /a?q=%0a HTTP/1.1\r\nHost: t\r\nUser-Agent: " + agent + b"\r\n\r\n")
        raw.exchange(b"GET /b HTTP/1.1\r\nHost: t\r\nReferer: http://\xc2\x9b31m\r\n\r\n")
    ended = server.stop()
    first, second = ended.out.split("\n")[:-1]
    assert first.endswith(r'"me\x22 200\x09\x5c \xff\xc2\x85\xe2\x80\xa8x"')
    assert r'"http://\xc2\x9b31m"' in second
    assert (first + second).isascii()
    assert (first + second).isprintable()


def test_access_log_has_the_duration(start: Callable[..., ServerProcess]) -> None:
    server = start(WSGI, "--access-log-format", "json", app_dir=APPS)
    get(server.address, "/slow")
    [line] = server.stop().out.splitlines()
    record = json.loads(line)
    assert record["status"] == 200
    assert 900 <= record["ms"] < 5000


def test_access_log_with_the_atoms_of_gunicorn(start: Callable[..., ServerProcess]) -> None:
    server = start(ASGI, "--access-log-format", "%(m)s %(U)s %(s)s %(B)s %(D)s %({accept}i)s", app_dir=APPS)
    get(server.address, "/slow")
    [line] = server.stop().out.splitlines()
    found = re.fullmatch(r"GET /slow 200 12 (\d+) -", line)
    assert found
    assert 900_000 <= int(found[1]) < 5_000_000


def test_no_access_log(start: Callable[..., ServerProcess]) -> None:
    server = start(WSGI, "--no-access-log", app_dir=APPS)
    get(server.address)
    assert server.stop().out == ""


def test_the_current_directory_is_importable(tmp_path: Path) -> None:
    answer = "    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return []\n"
    (tmp_path / "mine.py").write_text("def app(environ, start_response):\n" + answer)
    ended = run_command("mine:app", "--check", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert not os.path.exists(tmp_path / "__pycache__")
