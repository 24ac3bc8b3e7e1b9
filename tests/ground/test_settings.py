"""The ground: options, groups, binds and CPUs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bridgeserve.binds import Bind, parse_bind, tcp_bind
from bridgeserve.cpus import available_cpus, cgroup_cpus, default_threads
from bridgeserve.option import GROUPS
from bridgeserve.settings import OPTIONS, Settings
from bridgeserve.values import read_value


def test_settings_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().threads = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings("inline")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_described_and_its_default_is_allowed(name: str) -> None:
    option = OPTIONS[name]
    assert option.group in GROUPS
    assert option.help.endswith(".")
    assert option.allowed
    default = getattr(Settings(), name)
    assert (default is None) == option.optional
    if default is not None and default != ():
        assert read_value(name, default) == default


def test_groups_take_their_values_from_the_options() -> None:
    settings = Settings(
        limit_request_line=1, limit_request_fields=2, limit_request_field_size=3, limit_request_body=4,
        timeout_header=5, timeout_body=6, min_body_rate=7, timeout_write=8, timeout_keep_alive=9,
        limit_concurrency=10, limit_queue=11, timeout_queue=12, timeout_request=13, reserve=("/a:b:2",),
    )  # fmt: skip
    assert dataclasses.astuple(settings.limits) == (1, 2, 3, 4)
    assert dataclasses.astuple(settings.timeouts) == (5, 6, 7, 8, 9, 2.0)
    assert dataclasses.astuple(settings.admission) == (10, 11, 12, 13, (("/a:b", 2),))


def test_defaults_of_the_groups_are_those_of_the_options() -> None:
    settings = Settings()
    for group in (settings.limits, settings.timeouts, settings.admission):
        assert group == type(group)()


@pytest.mark.parametrize(
    ("text", "bind"),
    [
        ("127.0.0.1:8000", Bind(kind="tcp", host="127.0.0.1", port=8000)),
        ("localhost:0", Bind(kind="tcp", host="localhost", port=0)),
        (" :80 ", Bind(kind="tcp", host="", port=80)),
        ("[::]:8000", Bind(kind="tcp", host="::", port=8000)),
        ("[fe80::1%eth0]:1", Bind(kind="tcp", host="fe80::1%eth0", port=1)),
        ("unix:/run/a.sock", Bind(kind="unix", path="/run/a.sock")),
        ("unix:///run/a.sock", Bind(kind="unix", path="/run/a.sock")),
        ("unix:a.sock?mode=660", Bind(kind="unix", path="a.sock", mode=0o660)),
        ("unix:a.sock?mode=0600", Bind(kind="unix", path="a.sock", mode=0o600)),
        ("fd://3", Bind(kind="fd", fd=3)),
    ],
)
def test_binds(text: str, bind: Bind) -> None:
    assert parse_bind(text) == bind
    assert parse_bind(str(bind)) == bind


@pytest.mark.parametrize(
    "text",
    [
        "", "8000", "localhost", "host:port", "host:65536", "host:-1", "::1:80", "::", "[::1]", "[x]:1",
        "http://h:1",
        "h:1/", "a b:1", "host:\u0661", "unix:", "unix:?mode=600", "unix:a?mode=8", "unix:a?mode=9999",
        "unix:a?m=1",
        "unix:a?mode=600&mode=660", "unix:a?", "unix:a\0b", "fd://", "fd://x", "fd://-1", "fd://\u0661",
    ],
)  # fmt: skip
def test_what_is_no_bind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_bind(text)


def test_one_bind_in_other_words() -> None:
    assert Settings(port=9000).binds == (Bind(kind="tcp", host="127.0.0.1", port=9000),)
    assert Settings(host="::1").binds == (Bind(kind="tcp", host="::1", port=8000),)
    assert Settings(uds="/run/odd?name").binds == (Bind(kind="unix", path="/run/odd?name"),)
    assert Settings(fd=0).binds == (Bind(kind="fd", fd=0),)
    assert Settings(bind=(":1", "unix:a")).binds == (tcp_bind("", 1), Bind(kind="unix", path="a"))
    assert tcp_bind("[::1]", 1).host == "::1"
    for host, port in (("h", 65536), ("h", -1), ("a b", 1), ("a/b", 1)):
        with pytest.raises(ValueError, match=r"."):
            tcp_bind(host, port)


def test_extra_headers_are_stripped_octets() -> None:
    assert Settings(header=("X-A: b", "X-C:d:e")).extra_headers == ((b"X-A", b"b"), (b"X-C", b"d:e"))


def test_the_tightest_cgroup_counts(tmp_path: Path) -> None:
    listing = tmp_path / "cgroup"
    listing.write_text("1:name=systemd:/old\n0::/a/b\n")
    assert cgroup_cpus(listing, tmp_path) is None
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "cpu.max").write_text("max 100000\n")
    assert cgroup_cpus(listing, tmp_path) is None
    (tmp_path / "a" / "cpu.max").write_text("150000 100000\n")
    assert cgroup_cpus(listing, tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    assert cgroup_cpus(listing, tmp_path) == 1.5
    assert cgroup_cpus(tmp_path / "missing", tmp_path) is None
    (tmp_path / "a" / "cpu.max").write_text("nonsense\n")
    assert cgroup_cpus(listing, tmp_path) == 4


def test_there_is_always_a_cpu_and_a_pool() -> None:
    assert available_cpus() >= 1
    assert 5 <= default_threads() <= 32
