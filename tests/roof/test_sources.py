"""Where the value of an option comes from, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridgeserve.sources import ConfigError, from_command_line, from_options


def refusal(given: dict[str, Any], environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        from_command_line(given, environ)
    return str(caught.value)


def test_command_line_beats_environment_beats_env_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("BRIDGESERVE_THREADS=1\nBRIDGESERVE_BACKLOG=2\nBRIDGESERVE_LIMIT_QUEUE=3\nOTHER='a b'\n")
    environ = {"BRIDGESERVE_THREADS": "4", "BRIDGESERVE_BACKLOG": "5", "BRIDGESERVE_ENV_FILE": str(file)}
    found = from_command_line({"threads": "6", "backlog": None, "bind": ()}, environ)
    settings = found.settings
    assert (settings.threads, settings.backlog, settings.limit_queue) == (6, 5, 3)
    assert found.origins["threads"] == "command line: --threads"
    assert found.origins["backlog"] == "environment: BRIDGESERVE_BACKLOG"
    assert found.origins["limit_queue"] == f"env file {file}: BRIDGESERVE_LIMIT_QUEUE"
    assert found.origins["http"] == "default"
    assert found.environment == {"BRIDGESERVE_LIMIT_QUEUE": "3", "OTHER": "a b"}


@pytest.mark.parametrize(
    ("given", "environ", "binds"),
    [
        ({}, {}, ["127.0.0.1:8000"]),
        ({}, {"PORT": "5000"}, ["0.0.0.0:5000"]),
        ({}, {"PORT": ""}, ["127.0.0.1:8000"]),
        ({"bind": (":1", "unix:a")}, {"PORT": "5000"}, [":1", "unix:a"]),
        ({"host": "::"}, {"PORT": "5000"}, ["[::]:5000"]),
        ({"port": "1"}, {"PORT": "5000"}, ["127.0.0.1:1"]),
        ({"port": "1"}, {"BRIDGESERVE_BIND": ":2"}, ["127.0.0.1:1"]),
        ({"port": "1"}, {"BRIDGESERVE_HOST": "h"}, ["h:1"]),
        ({"bind": (":1",)}, {"BRIDGESERVE_UDS": "a"}, [":1"]),
        ({}, {"BRIDGESERVE_BIND": ":1, :2 unix:a"}, [":1", ":2", "unix:a"]),
        ({"uds": "a"}, {"PORT": "5000"}, ["unix:a"]),
        ({"fd": "3"}, {}, ["fd://3"]),
    ],
)
def test_the_strongest_way_to_say_where_to_listen_counts(
    given: dict[str, Any], environ: dict[str, str], binds: list[str]
) -> None:
    settings = from_command_line(given, environ).settings
    assert [str(bind) for bind in settings.binds] == binds
    assert list(settings.bind) == binds


def test_two_ways_to_listen_in_one_source_are_refused() -> None:
    assert "--bind, --port exclude each other" in refusal({"bind": (":1",), "port": "1"}, {})
    assert "BRIDGESERVE_UDS, BRIDGESERVE_FD" in refusal({}, {"BRIDGESERVE_UDS": "a", "BRIDGESERVE_FD": "3"})


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("threads", " 8 ", 8),
        ("timeout_body", ".5", 0.5),
        ("timeout_body", "5", 5.0),
        ("timeout_body", 3, 3.0),
        ("request_buffering", "off", False),
        ("access_log", True, True),
        ("log_level", "INFO", "info"),
        ("root_path", "/api/", "/api"),
        ("root_path", "", ""),
        ("header", ["X-A:b", "x-c : d"], ("X-A: b", "x-c: d")),
        ("header", "X-A:", ("X-A: ",)),
        ("bind", ":1", (":1",)),
        ("reserve", ["/health*:1", "*:02"], ("/health*:1", "*:2")),
        ("app_dir", Path("src"), "src"),
        ("access_log_format", "%(h)s 100%%", "%(h)s 100%%"),
        ("limit_request_body", None, None),
        ("timeout_worker", "0", 0.0),
        ("timeout_worker", "1", 1.0),
    ],
)
def test_values_are_read(name: str, raw: object, value: object) -> None:
    assert getattr(from_options(**{name: raw}), name) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("threads", "0"), ("threads", "x"), ("threads", "1.5"), ("threads", True), ("threads", 1.0),
        ("threads", "\u0661"),
        ("timeout_body", "nan"), ("timeout_body", "inf"), ("timeout_body", float("inf")), ("timeout_body",
        "-1"),
        ("timeout_body", "1e9"), ("timeout_header", 0), ("port", "65536"), ("backlog", "9" * 5000), ("mode",
        "fork"),
        # Signs of life come four times a second at most: below them each worker would look silent for ever.
        ("timeout_worker", "0.2"), ("timeout_worker", "-1"),
        ("mode", 1), ("factory", "maybe"), ("factory", 1), ("root_path", "api"), ("root_path", b"/"), ("uds",
        ""),
        ("uds", "a\0b"), ("bind", ()), ("bind", [1]), ("bind", 1), ("bind", "nowhere"), ("bind", [":1",
        ":1"]),
        ("reserve", "/a"), ("reserve", "a:1"), ("reserve", "/a:0"), ("reserve", "/a:x"), ("reserve", ":1"),
        ("host", "a b"), ("header", "X-A"), ("header", "X A:b"), ("header", ":b"), ("header",
        "X-A:b\r\nX-B:c"),
        ("header", "X-A:b\0"), ("header", "X-A\n:b"), ("header", "X-A:b\n"), ("header", "X-A:\u2028"),
        ("header", "X-\u00e4:b"),
        ("header", "Content-Length:1"), ("header", "transfer-encoding:chunked"),
        ("access_log_format", ""), ("access_log_format", "%(h)s\n"), ("access_log_format", "%(nope)s"),
        ("access_log_format", "%(Z)s"), ("access_log_format", "%"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_by_name(name: str, raw: object) -> None:
    with pytest.raises(ConfigError, match=rf"^keyword option: {name}: "):
        from_options(**{name: raw})


def test_a_refusal_names_source_key_and_what_is_allowed() -> None:
    assert refusal({"threads": "x"}, {}) == (
        "command line: --threads: 'x' is not allowed; allowed: a whole number from 1 to 4096"
    )
    text = refusal({}, {"BRIDGESERVE_MODE": "x"})
    assert text == ("environment: BRIDGESERVE_MODE: 'x' is not allowed; allowed: auto, inline, threads, processes")
    assert refusal({}, {"PORT": "x"}).startswith("environment: PORT: 'x' is not allowed")


@pytest.mark.parametrize(
    ("wrong", "meant"), [("treads", "threads"), ("keep_alive", "timeout_keep_alive"), ("binds", "bind")]
)
def test_unknown_options_are_refused_with_a_proposal(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"{wrong} is not .*did you mean {meant}\?"):
        from_options(**{wrong: 1})
    variable = f"BRIDGESERVE_{wrong.upper()}"
    assert f"{variable} is not" in refusal({}, {variable: "1"})
    assert f"did you mean BRIDGESERVE_{meant.upper()}?" in refusal({}, {variable: "1"})


def test_unknown_options_far_from_all_others_get_no_proposal() -> None:
    with pytest.raises(ConfigError, match=r"qqqq is not an option of bridgeserve$"):
        from_options(qqqq=1)
    assert "did you mean BRIDGESERVE_THREADS?" in refusal({}, {"BRIDGESERVE_Threads": "1"})


def test_flags_can_be_negated_in_the_environment() -> None:
    settings = from_command_line({}, {"BRIDGESERVE_NO_SERVER_HEADER": "1", "BRIDGESERVE_ACCESS_LOG": "off"}).settings
    assert (settings.server_header, settings.access_log) == (False, False)
    both = {"BRIDGESERVE_NO_SERVER_HEADER": "1", "BRIDGESERVE_SERVER_HEADER": "1"}
    assert "contradicts" in refusal({}, both)
    assert "BRIDGESERVE_NO_SERVER_HEADER: 'x'" in refusal({}, {"BRIDGESERVE_NO_SERVER_HEADER": "x"})


def test_empty_variables_and_service_links_are_no_options() -> None:
    environ = {
        "BRIDGESERVE_THREADS": "",
        "BRIDGESERVE_NONSENSE": "",
        "BRIDGESERVE_SERVICE_HOST": "10.0.0.1",
        "BRIDGESERVE_SERVICE_PORT": "80",
        "BRIDGESERVE_PORT": "tcp://10.0.0.1:80",
        "BRIDGESERVE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    found = from_command_line({}, environ)
    assert set(found.origins.values()) == {"default"}


def test_several_reserves_in_a_variable() -> None:
    settings = from_command_line({}, {"BRIDGESERVE_RESERVE": "/health*:1 /a:b:2"}).settings
    assert settings.reserve == ("/health*:1", "/a:b:2")


def test_several_headers_in_a_variable_stand_one_a_line() -> None:
    settings = from_command_line({}, {"BRIDGESERVE_HEADER": "X-A: b, c\nX-D: e\n"}).settings
    assert settings.extra_headers == ((b"X-A", b"b, c"), (b"X-D", b"e"))


def test_env_files(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text('# comment\n\nexport A = "1"\nB=x=y # z\nC=\nPORT=5000\n')
    found = from_command_line({"env_file": str(file)}, {"B": "outer"})
    assert found.environment == {"A": "1", "C": "", "PORT": "5000"}
    assert found.settings.bind == ("0.0.0.0:5000",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"A\n", "line 1: not NAME=VALUE"),
        (b"\nA B=1\n", "line 2: not NAME=VALUE"),
        (b"\xff=1\n", "cannot be read"),
        (b"BRIDGESERVE_NOPE=1\n", "BRIDGESERVE_NOPE is not an option"),
        (b"BRIDGESERVE_ENV_FILE=x\n", "cannot name another one"),
    ],
)
def test_wrong_env_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    assert said in refusal({"env_file": str(file)}, {})


def test_a_missing_env_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal({"env_file": str(tmp_path / "nope")}, {})


def test_python_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGESERVE_THREADS", "3")
    monkeypatch.setenv("PORT", "5000")
    assert from_options(threads=None).threads != 3
    assert from_options().bind == ("127.0.0.1:8000",)
    assert from_options(host="0.0.0.0", port=1).bind == ("0.0.0.0:1",)


@pytest.mark.parametrize(
    ("given", "environ", "value", "origin"),
    [
        ({}, {}, "127.0.0.1,::1", "default"),
        ({}, {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"}, "10.0.0.0/8", "environment: FORWARDED_ALLOW_IPS"),
        ({}, {"FORWARDED_ALLOW_IPS": ""}, "127.0.0.1,::1", "default"),
        (
            {"forwarded_allow_ips": "*"},
            {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"},
            "*",
            "command line: --forwarded-allow-ips",
        ),
    ],
)
def test_trusted_proxies(given: dict[str, Any], environ: dict[str, str], value: str, origin: str) -> None:
    found = from_command_line(given, environ)
    assert (found.settings.forwarded_allow_ips, found.origins["forwarded_allow_ips"]) == (value, origin)


def test_trusted_proxies_that_are_none() -> None:
    assert "environment: FORWARDED_ALLOW_IPS: 'nginx' is not allowed" in refusal({}, {"FORWARDED_ALLOW_IPS": "nginx"})
    assert "--forwarded-headers: 'x-real-ip' is not allowed" in refusal({"forwarded_headers": "x-real-ip"}, {})
