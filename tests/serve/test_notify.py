"""What a service manager says and hears, in memory."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bridgeserve.serve import notify
from bridgeserve.serve.notify import Notifier, listen_fds, message, notify_address, reloading, watchdog_interval


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ()),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "7"}, (3, 4)),
        ({"LISTEN_FDS": "0", "LISTEN_PID": "7"}, ()),
        ({"LISTEN_FDS": "2", "LISTEN_PID": "8"}, ()),  # meant for the process that has started us
        ({"LISTEN_FDS": "2"}, ()),
        ({"LISTEN_FDS": "", "LISTEN_PID": "7"}, ()),
    ],
)
def test_sockets(environ: dict[str, str], found: tuple[int, ...]) -> None:
    assert listen_fds(environ, 7) == found


@pytest.mark.parametrize("count", ["two", "-1", "٣", "1e3", "9999999"])
def test_a_number_that_is_none(count: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS"):
        listen_fds({"LISTEN_FDS": count, "LISTEN_PID": "7"}, 7)


def test_addresses() -> None:
    assert notify_address({}) == ""
    assert notify_address({"NOTIFY_SOCKET": "/run/n"}) == "/run/n"
    assert notify_address({"NOTIFY_SOCKET": "@n"}) == "\0n"
    assert notify_address({"NOTIFY_SOCKET": "vsock:1:2"}) == ""


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ, 7) == seconds


def test_messages() -> None:
    assert message("READY=1") == b"READY=1"
    assert message("READY=1", status="a\nb=1") == b"READY=1\nSTATUS=a b=1"  # a status has one line
    assert message(reloading(12.5)) == b"RELOADING=1\nMONOTONIC_USEC=12500000"


def test_a_notifier(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5.0)
        notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"})
        assert notifier.watchdog == 1.0
        notifier.state("ready")
        notifier.state("reloading")
        notifier.state("stopping")
        notifier.status("2 workers")
        notifier.alive()
        heard = [manager.recv(4096) for _ in range(5)]
    assert heard[0] == b"READY=1"
    assert heard[1].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert heard[2:] == [b"STOPPING=1", b"STATUS=2 workers", b"WATCHDOG=1"]


def test_nobody_listens(tmp_path: Path) -> None:
    """It neither fails nor waits."""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).alive()
    assert Notifier({"WATCHDOG_USEC": "2000000"}).watchdog is None
    Notifier({}).alive()
    path = str(tmp_path / "deaf")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        notifier = Notifier({"NOTIFY_SOCKET": path})
        for _ in range(1000):  # more than its queue holds
            notifier.alive()


def test_what_is_not_for_the_workers() -> None:
    assert {"LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_USEC"} <= set(notify.VARIABLES)
