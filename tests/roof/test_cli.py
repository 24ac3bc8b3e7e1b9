"""The command: options, pages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bridgeserve._version import __version__
from bridgeserve.cli import main
from bridgeserve.settings import OPTIONS
from bridgeserve.sources import flag_of

WSGI = (
    "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
    "    return []\n"
)
ASGI = (
    "async def app(scope, receive, send):\n    assert scope['type'] == 'http'\n"
    "    await send({'type': 'http.response.start', 'status': 204, 'headers': []})\n"
    "    await send({'type': 'http.response.body'})\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory that is the current one; modules imported from it are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in os.environ if name.startswith("BRIDGESERVE_") or name == "PORT"]:
        monkeypatch.delenv(name)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def call(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), env=env, prog_name="bridgeserve")


def test_help_names_every_option_and_alias() -> None:
    page = call("--help").stdout
    for name, option in OPTIONS.items():
        for word in (flag_of(name), *option.aliases):
            assert word in page


def test_version() -> None:
    assert call("--version").stdout == call("-v").stdout == f"bridgeserve {__version__}\n"
    assert call("--help").stdout == call("-h").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "APP is missing"),
        (("--nope", "app"), "No such option"),
        (("--threads", "x", "app"), "command line: --threads: 'x' is not allowed"),
        (("--header", "a:b\r\nc:d", "app"), "command line: --header"),
        (("--bind", "x", "app"), "command line: --bind"),
        (("--env-file", "nope", "app"), "--env-file nope"),
        (("--chdir", "nope", "app"), "--chdir nope"),
    ],
)
def test_usage_errors_end_with_2(project: Path, arguments: tuple[str, ...], said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_print_config_shows_values_and_origins(project: Path) -> None:
    page = call(
        *(
            "--print-config",
            "-b",
            ":1",
            "-b",
            ":2",
            "--keep-alive",
            "5",
            "--no-date-header",
            "--graceful-timeout",
            "1",
        ),
        env={"BRIDGESERVE_LIMIT_QUEUE": "7"},
    ).stdout
    rows = {line.split("=")[0].strip(): line.partition("=")[2].split() for line in page.splitlines()}
    assert set(rows) == set(OPTIONS)
    assert rows["bind"] == [":1,", ":2", "(command", "line:", "--bind)"]
    assert rows["timeout_keep_alive"] == ["5", "(command", "line:", "--timeout-keep-alive)"]
    assert rows["timeout_graceful"][0] == "1"
    assert rows["date_header"][0] == "off"
    assert rows["limit_queue"] == ["7", "(environment:", "BRIDGESERVE_LIMIT_QUEUE)"]
    assert rows["limit_concurrency"] == ["-", "(default)"]


@pytest.mark.parametrize(
    ("source", "arguments", "line"),
    [
        (WSGI, ("site1",), "ok: site1 is a WSGI app, mode threads"),
        (WSGI, ("--mode", "inline", "site1:application"), "ok: site1:application is a WSGI app, mode inline"),
        (ASGI, ("site1:app",), "ok: site1:app is an ASGI app, mode inline"),
        (
            f"def make():\n    {ASGI.replace(chr(10), chr(10) + '    ')}\n    return app\n",
            ("site1:make()",),
            "ok: ",
        ),
    ],
)
def test_check_says_what_the_app_is(project: Path, source: str, arguments: tuple[str, ...], line: str) -> None:
    (project / "site1.py").write_text(source)
    result = call("--check", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(line)
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        (ASGI, ("--mode", "threads"), "this is an ASGI app; mode threads runs WSGI apps only"),
        (ASGI, ("--mode", "processes"), "use --mode inline"),
        (WSGI, ("--mode", "threads", "--interface", "asgi"), "this is an ASGI app"),
        ("x = 1\n", (), "has neither 'application' nor 'app'"),
        ("app = 1\n", ("--interface", "wsgi"), "not callable"),
    ],
)
def test_check_refuses_with_3(project: Path, source: str, arguments: tuple[str, ...], said: str) -> None:
    (project / "site2.py").write_text(source)
    result = call("--check", *arguments, "site2")
    assert (result.exit_code, result.stdout) == (3, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_check_names_what_the_app_does_against_its_specification(project: Path) -> None:
    (project / "site5.py").write_text(ASGI.replace("204, 'headers': []", "'204', 'headers': [(b'X-A', b'b')]"))
    result = call("--check", "site5:app")
    assert result.exit_code == 1
    assert result.stdout.startswith("not ok: site5:app is an ASGI app, mode inline; GET / was answered with 204")
    assert "status of 'http.response.start' must be int, not str" in result.stderr
    assert "served nevertheless: http: the name of a header must be in lower case" in result.stderr


@pytest.mark.parametrize("check", [("--check",), ()])
def test_an_import_error_shows_the_apps_traceback_and_not_ours(project: Path, check: tuple[str, ...]) -> None:
    (project / "site3.py").write_text("import site3_helper\n")
    (project / "site3_helper.py").write_text("def f():\n    return 1 / 0\nf()\n")
    result = call(*check, "site3:app")
    assert result.exit_code == 3
    assert "bridgeserve: importing 'site3' failed: ZeroDivisionError: division by zero" in result.stderr
    assert "return 1 / 0" in result.stderr
    assert "application.py" not in result.stderr
    assert "importlib" not in result.stderr


def test_chdir_and_env_file_are_there_when_the_app_is_loaded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE4_NAME", "")
    monkeypatch.delenv("SITE4_NAME")
    (project / "below").mkdir()
    (project / "below" / "site4.py").write_text(f"import os\nassert os.environ['SITE4_NAME'] == 'x y'\n{WSGI}")
    (project / "env").write_text("SITE4_NAME='x y'\n")
    result = call("--check", "--chdir", "below", "--env-file", "env", "site4")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_secret_is_not_printed() -> None:
    result = CliRunner().invoke(main, ["--print-config", "--ssl-keyfile-password", "hunter2"])
    assert result.exit_code == 0
    assert "hunter2" not in result.output
    assert "ssl_keyfile_password" in result.output and "***" in result.output
