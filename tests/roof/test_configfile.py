"""Options from TOML: which file is read, what counts more, and what is said about a wrong one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridgeserve.configfile import file_layer
from bridgeserve.settings import OPTIONS
from bridgeserve.sources import ConfigError, Sources, from_options

EVERYTHING = """
bind = [":1", "unix:a"]
mode = "threads"
threads = 3
limit_queue = 64
timeout-request = 30
timeout-body = 0.5
date-header = false
request-buffering = true
header = "X-A: b"
access-log-format = "json"
"""


def read(directory: Path, environ: dict[str, str] | None = None, **given: Any) -> Any:
    return Sources(given=given, environ=environ or {}, directory=str(directory)).read()


def refusal(directory: Path, environ: dict[str, str] | None = None, **given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(directory, environ, **given)
    return str(caught.value)


def test_every_kind_of_option_has_its_type(tmp_path: Path) -> None:
    (tmp_path / "bridgeserve.toml").write_text(EVERYTHING)
    settings = read(tmp_path).settings
    assert settings.bind == (":1", "unix:a")
    assert (settings.mode, settings.threads, settings.limit_queue) == ("threads", 3, 64)
    assert (settings.timeout_request, settings.timeout_body) == (30.0, 0.5)
    assert (settings.date_header, settings.request_buffering) == (False, True)
    assert (settings.header, settings.access_log_format) == (("X-A: b",), "json")


def test_the_file_is_weaker_than_variables_and_stronger_than_shared_ones(tmp_path: Path) -> None:
    (tmp_path / "bridgeserve.toml").write_text("threads = 1\nbacklog = 1\nlimit-queue = 1\nport = 1\nbody-memory = 1\n")
    (tmp_path / "env").write_text("BRIDGESERVE_LIMIT_QUEUE=2\n")
    found = read(tmp_path, {"BRIDGESERVE_BACKLOG": "3", "PORT": "5"}, threads="4", env_file="env")
    settings = found.settings
    assert (settings.threads, settings.backlog, settings.limit_queue) == (4, 3, 2)
    assert (settings.body_memory, settings.bind) == (1, ("127.0.0.1:1",))
    assert found.origins["threads"] == "command line: --threads"
    assert found.origins["body_memory"] == "config file bridgeserve.toml, line 5: body-memory"


def test_a_stronger_way_to_listen_silences_the_file(tmp_path: Path) -> None:
    (tmp_path / "bridgeserve.toml").write_text('bind = ":1"\n')
    assert read(tmp_path, port="2").settings.bind == ("127.0.0.1:2",)
    assert read(tmp_path, {"PORT": "3"}).settings.bind == (":1",)


def test_which_file_is_read(tmp_path: Path) -> None:
    assert file_layer(None, str(tmp_path)) is None
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nthreads = 1\n")
    assert file_layer(None, str(tmp_path)) is None
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nthreads = 1\n[tool.bridgeserve]\n\nthreads = 2\n")
    found = read(tmp_path)
    assert found.settings.threads == 2
    assert found.origins["threads"] == "config file pyproject.toml, line 5: tool.bridgeserve.threads"
    (tmp_path / "bridgeserve.toml").write_text("threads = 3\n")
    assert read(tmp_path).settings.threads == 3
    (tmp_path / "other.toml").write_text("threads = 4\n")
    assert read(tmp_path, config="other.toml").settings.threads == 4
    assert read(tmp_path, {"BRIDGESERVE_CONFIG": "other.toml"}).settings.threads == 4
    assert read(tmp_path, config="pyproject.toml").settings.threads == 2


def test_the_file_may_name_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "bridgeserve.toml").write_text('env-file = "env"\nthreads = 1\n')
    (tmp_path / "env").write_text("BRIDGESERVE_THREADS=2\nA=b\n")
    found = read(tmp_path)
    assert found.settings.threads == 2
    assert found.environment == {"BRIDGESERVE_THREADS": "2", "A": "b"}
    (tmp_path / "env").write_text("BRIDGESERVE_CONFIG=x\n")
    assert "BRIDGESERVE_CONFIG: an env file cannot name a config file" in refusal(tmp_path)


def test_sources_can_be_read_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGESERVE_BACKLOG", "7")
    (tmp_path / "bridgeserve.toml").write_text('threads = 1\nenv-file = "env"\n')
    (tmp_path / "env").write_text("BRIDGESERVE_LIMIT_QUEUE=1\n")
    sources = Sources.of_process({"processes": "3"})
    first = sources.read()
    assert (first.settings.threads, first.settings.limit_queue, first.settings.backlog) == (1, 1, 7)
    for name, value in first.environment.items():  # as the command does before it loads the app
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    (tmp_path / "bridgeserve.toml").write_text('threads = 2\nenv-file = "env"\n')
    (tmp_path / "env").write_text("BRIDGESERVE_LIMIT_QUEUE=2\n")
    again = sources.read().settings
    assert (again.threads, again.limit_queue, again.backlog, again.processes) == (2, 2, 7, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("threads = '8'", "line 1: threads: a string ('8') is not allowed; allowed: a whole number from 1 to 4096"),
        ("threads = true", "threads: a boolean (true) is not allowed; allowed: a whole number"),
        ("threads = 1.0", "threads: a float (1.0) is not allowed; allowed: a whole number"),
        ("\nthreads = 0", "line 2: threads: 0 is not allowed; allowed: a whole number from 1 to 4096"),
        ("timeout-body = nan", "timeout-body: nan is not allowed; allowed: a number, 0.1 or more"),
        ("timeout-body = [1]", "timeout-body: an array is not allowed; allowed: a number"),
        ("date-header = 'off'", "date-header: a string ('off') is not allowed; allowed: true, false"),
        ("date-header = 0", "date-header: an integer (0) is not allowed; allowed: true, false"),
        ("mode = 'x'", "mode: 'x' is not allowed; allowed: auto, inline, threads, processes"),
        ("mode = 1", "mode: an integer (1) is not allowed; allowed: auto, inline"),
        ("mode = 2020-01-01", "mode: a date or time is not allowed"),
        ("bind = 8000", "bind: an integer (8000) is not allowed; allowed: a string or an array of strings, each HOST"),
        ("bind = [8000]", "bind: an array is not allowed; allowed: a string or an array of strings"),
        ("bind = 'x'", "line 1: bind: 'x' is not an address to bind; allowed: HOST:PORT"),
        ("bind = []", "bind: at least one address is needed"),
        ("bind = ':1'\nuds = 'x'", "bind, uds exclude each other"),
        ("pid = 1", "pid: an integer (1) is not allowed; allowed: a string, a path"),
        ('pid = "a\\u0000"', "pid: 'a\\x00' is not allowed"),
        ("treads = 1", "line 1: treads is not an option of bridgeserve; did you mean threads?"),
        ("keepalive = 1", "keepalive is not an option of bridgeserve; did you mean timeout-keep-alive?"),
        ("qqqq = 1", "qqqq is not an option of bridgeserve"),
        ("[server]\nthreads = 1", "server is not an option of bridgeserve"),
        ("limit-queue = 1\nlimit_queue = 2", "line 2: limit_queue contradicts limit-queue"),
        ("config = 'x'", "config: a config file cannot name another one"),
        ("threads = ", "not TOML: Invalid value (at end of document)"),
        ("threads = 1\nthreads = 2", "not TOML: Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_key_and_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "bridgeserve.toml").write_text(content)
    text = refusal(tmp_path)
    assert text.startswith("config file bridgeserve.toml")
    assert said in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff = 1", "config file x.toml: cannot be read"),
        (b"a = " + b"[" * 5000, "config file x.toml: "),
        (None, "config file x.toml: cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.toml").write_bytes(content)
    assert said in refusal(tmp_path, config="x.toml")
    assert "cannot be read" in refusal(tmp_path, config=".")
    assert "command line: --config" in refusal(tmp_path, config="")


def test_a_pyproject_that_is_asked_for_has_the_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\n")
    assert "[tool.bridgeserve] is missing" in refusal(tmp_path, config="pyproject.toml")
    (tmp_path / "pyproject.toml").write_text("[tool]\nbridgeserve = 1\n")
    assert "[tool.bridgeserve] is not a table" in refusal(tmp_path)


def test_no_line_is_better_than_a_wrong_one(tmp_path: Path) -> None:
    (tmp_path / "bridgeserve.toml").write_text('access-log-format = """a\\\nthreads = 1"""\nthreads = 0\n')
    assert "config file bridgeserve.toml: threads: 0" in refusal(tmp_path)
    (tmp_path / "bridgeserve.toml").write_text("[other]\nthreads = 1\n")
    assert "config file bridgeserve.toml: other is not" in refusal(tmp_path)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "config"])
def test_every_option_is_a_key(tmp_path: Path, name: str) -> None:
    option = OPTIONS[name]
    (tmp_path / "bridgeserve.toml").write_text(f"{name.replace('_', '-')} = {{}}\n")
    assert f"line 1: {name.replace('_', '-')}: a table is not allowed; allowed: " in refusal(tmp_path)
    assert option.help


TEXTS = st.sampled_from(
    [
        "1",
        "-1",
        "0.5",
        "1e400",
        "nan",
        "true",
        "''",
        "'a b'",
        "':1'",
        "['x']",
        "[1, 'x']",
        "{a = 1}",
        "[]",
        "2020-01-01",
        "12345678901234567890123",
        "'X-A: b'",
        "'unix:'",
        '"\\u0000"',
        '"\\ud7ff"',
        "07:32:00",
        "'\x7f'",
        "=",
    ]
)
KEYS = st.sampled_from([*OPTIONS, "limit-queue", "nope", "'quoted key'", '""', "a.b"])


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, TEXTS), max_size=4))
def test_whatever_a_file_holds_it_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write("\n".join(f"{key} = {value}" for key, value in pairs))
        file.flush()
        try:
            Sources(given={"config": file.name}, environ={}).read()
        except ConfigError as error:
            assert file.name in str(error)


def test_python_reads_the_file_that_it_names_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridgeserve.toml").write_text("threads = 3\nbacklog = 5\n")
    assert from_options().backlog != 5
    settings = from_options(config=Path("bridgeserve.toml"), threads=4)
    assert (settings.threads, settings.backlog) == (4, 5)
    with pytest.raises(ConfigError, match="env_file is for the command"):
        from_options(env_file="x")
