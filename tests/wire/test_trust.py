from __future__ import annotations

from ipaddress import ip_address

import pytest

from bridgeserve.wire.trust import Trust


@pytest.mark.parametrize(
    ("text", "peer", "believed"),
    [
        ("127.0.0.1,::1", "127.0.0.1", True),
        ("127.0.0.1,::1", "::1", True),
        ("127.0.0.1,::1", "127.0.0.2", False),
        ("127.0.0.1,::1", None, False),
        ("127.0.0.1 unix:", None, True),
        ("unix:", "127.0.0.1", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::1", False),
        ("2001:db8::/32", "2001:db8:1::5", True),
        ("[2001:db8::1]", "2001:db8::1", True),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("*", "203.0.113.1", True),
        ("*", None, True),
        ("2", "203.0.113.1", True),
        ("0", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("127.0.0.1", "nonsense", False),
    ],
)
def test_peers(text: str, peer: str | None, believed: bool) -> None:
    assert Trust.parse(text).peer(peer) is believed


@pytest.mark.parametrize(
    "text", ["*, 127.0.0.1", "2 unix:", "1 1", "33", "localhost", "10.0.0.1/8", "unix:/run/x", "**"]
)
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Trust.parse(text)


def test_an_address_of_a_chain() -> None:
    trust = Trust.parse("10.0.0.0/8,2001:db8::1")
    assert trust.address(ip_address("10.1.2.3"))
    assert trust.address(ip_address("::ffff:10.1.2.3"))
    assert not trust.address(ip_address("192.0.2.1"))
    assert not Trust.parse("*").address(ip_address("127.0.0.1"))
