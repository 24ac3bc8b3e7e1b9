"""The sockets of a fleet: what stays, what comes and what goes."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridgeserve.binds import parse_bind
from bridgeserve.net.listeners import ListenError
from bridgeserve.serve.sockets import Sockets, inherited, keys_of


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close()


def take(sockets: Sockets, *binds: str, reuse_port: bool = False) -> bool:
    sockets.prepare(tuple(map(parse_bind, binds)), 16, reuse_port)
    return sockets.adopt()


def connects(address: object) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0  # type: ignore[arg-type]


def test_keys() -> None:
    binds = tuple(map(parse_bind, ("h:0", "h:0", "unix:a?mode=600", "fd://3", ":1")))
    assert len(set(keys_of(binds))) == 5
    assert keys_of((parse_bind("unix:a"),)) == keys_of((parse_bind("unix:a?mode=600&user=root"),))


def test_what_stays_is_not_opened_again(sockets: Sockets, tmp_path: Path) -> None:
    take(sockets, "127.0.0.1:0", f"unix:{tmp_path}/a")
    [first, path] = sockets.addresses
    with socket.create_connection(first) as waiting:  # in the backlog
        kept = sockets.descriptors(False)
        assert take(sockets, "127.0.0.1:0", f"unix:{tmp_path}/b")
        assert sockets.addresses == [first, f"{tmp_path}/b"]
        assert sockets.descriptors(False)[0] == kept[0]
        assert waiting.fileno() >= 0
    assert not connects(path)
    assert connects(f"{tmp_path}/b")
    assert not take(sockets, "127.0.0.1:0", f"unix:{tmp_path}/b")


def test_what_was_prepared_can_be_forgotten(sockets: Sockets, tmp_path: Path) -> None:
    take(sockets, "127.0.0.1:0")
    sockets.prepare((parse_bind("127.0.0.1:0"), parse_bind(f"unix:{tmp_path}/a")), 16, False)
    assert len(sockets.descriptors(True)) == 2
    assert len(sockets.descriptors(False)) == 1
    sockets.discard()
    assert not os.path.exists(tmp_path / "a")
    assert connects(sockets.addresses[0])


def test_one_that_cannot_be_opened_changes_nothing(sockets: Sockets, tmp_path: Path) -> None:
    take(sockets, "127.0.0.1:0")
    with pytest.raises(ListenError, match="no/such"):
        take(sockets, "127.0.0.1:0", f"unix:{tmp_path}/a", f"unix:{tmp_path}/no/such")
    assert not os.path.exists(tmp_path / "a")
    assert connects(sockets.addresses[0])


def test_the_mode_of_a_file_that_stays(sockets: Sockets, tmp_path: Path) -> None:
    take(sockets, f"unix:{tmp_path}/a?mode=600")
    take(sockets, f"unix:{tmp_path}/a?mode=660")
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o660


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_the_owner_of_a_file(sockets: Sockets, tmp_path: Path) -> None:
    take(sockets, f"unix:{tmp_path}/a?user=nobody&group=12345")
    facts = os.stat(tmp_path / "a")
    assert (facts.st_uid, facts.st_gid) == (65534, 12345)


def test_an_owner_that_is_nobody(sockets: Sockets, tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="no such user or group"):
        take(sockets, f"unix:{tmp_path}/a?user=no-such-user")
    assert not os.path.exists(tmp_path / "a")


def test_the_file_of_another_server_is_left_alone(sockets: Sockets, tmp_path: Path) -> None:
    take(sockets, f"unix:{tmp_path}/a")
    os.unlink(tmp_path / "a")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "a"))
        sockets.close()
        assert os.path.exists(tmp_path / "a")


def test_a_shared_port(sockets: Sockets) -> None:
    take(sockets, "127.0.0.1:0", reuse_port=True)
    other = Sockets()
    [(host, port)] = sockets.addresses
    with pytest.raises(ListenError, match="in use"):
        take(other, f"{host}:{port}")
    take(other, f"{host}:{port}", reuse_port=True)
    other.close()


def test_inherited_sockets(sockets: Sockets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        copy = os.dup(given.fileno())
        os.set_inheritable(copy, True)
        sockets.prepare(inherited((copy,)), 16, False)
        sockets.adopt()
        assert sockets.addresses == [given.getsockname()]
        assert not os.get_inheritable(copy)


def test_a_descriptor_that_is_no_socket(sockets: Sockets) -> None:
    with open(os.devnull) as file, pytest.raises(ListenError, match="fd://"):
        sockets.prepare(inherited((file.fileno(),)), 16, False)
