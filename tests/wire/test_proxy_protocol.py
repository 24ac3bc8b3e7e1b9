"""PROXY headers of both versions, whole and at every split, and what is none."""

from __future__ import annotations

import socket
import struct

import pytest

from bridgeserve.wire.proxy_protocol import LINE_MAX, SIGNATURE, TAIL_MAX, Ends, ProxyError, ProxyReader

TLVS = b"\x03\x00\x04abcd" + b"\x20\x00\x05\x01\0\0\0\0"


def binary(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def four(source: str, target: str, source_port: int, target_port: int) -> bytes:
    return struct.pack("!4s4sHH", socket.inet_aton(source), socket.inet_aton(target), source_port, target_port)


def six(source: str, target: str, source_port: int, target_port: int) -> bytes:
    ends = (socket.inet_pton(socket.AF_INET6, each) for each in (source, target))
    return struct.pack("!16s16sHH", *ends, source_port, target_port)


UNIX = struct.pack("108s108s", b"/run/client", b"/run/front")

GOOD = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", ("192.0.2.1", 4711), ("198.51.100.2", 443)),
    "v1 TCP6": (b"PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n", ("2001:db8::1", 0), ("::1", 65535)),
    "v1 longest": (
        b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".replace(
            b"ffff:f...f:ffff", b":".join([b"ffff"] * 8)
        ),
        (":".join(["ffff"] * 8), 65535),
        (":".join(["ffff"] * 8), 65535),
    ),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None, None),
    "v1 UNKNOWN with more": (b"PROXY UNKNOWN ffff:ffff ffff:ffff 65535 65535\r\n", None, None),
    "v2 TCP4": (binary(0x21, 0x11, four("192.0.2.1", "10.0.0.1", 1, 2)), ("192.0.2.1", 1), ("10.0.0.1", 2)),
    "v2 TCP4 with TLVs": (
        binary(0x21, 0x11, four("192.0.2.1", "10.0.0.1", 1, 2) + TLVS),
        ("192.0.2.1", 1),
        ("10.0.0.1", 2),
    ),
    "v2 TCP6": (binary(0x21, 0x21, six("2001:db8::1", "::1", 1, 2)), ("2001:db8::1", 1), ("::1", 2)),
    "v2 mapped": (binary(0x21, 0x21, six("::ffff:192.0.2.1", "::1", 1, 2)), ("192.0.2.1", 1), ("::1", 2)),
    "v2 LOCAL": (binary(0x20, 0x00, b""), None, None),
    "v2 LOCAL with more": (binary(0x20, 0x11, TLVS), None, None),
    "v2 UNSPEC": (binary(0x21, 0x00, TLVS), None, None),
    "v2 longest": (binary(0x20, 0x00, b"\0" * TAIL_MAX), None, None),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_header_whole_and_with_a_tail(name: str) -> None:
    header, client, server = GOOD[name]
    for tail in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
        reader = ProxyReader()
        assert reader.feed(header + tail) == len(header)
        assert reader.ends is not None
        assert (reader.ends.client, reader.ends.server) == (client, server)
        assert reader.ends.local is (client is None)


@pytest.mark.parametrize("name", GOOD)
def test_a_header_at_every_split(name: str) -> None:
    header, client, _ = GOOD[name]
    for at in range(min(len(header), 200)):
        reader = ProxyReader()
        assert reader.feed(header[:at]) == at
        assert reader.ends is None
        assert reader.feed(header[at:] + b"tail") == len(header) - at
        ends = reader.ends
        assert isinstance(ends, Ends)
        assert ends.client == client


def test_a_unix_socket() -> None:
    reader = ProxyReader()
    reader.feed(binary(0x21, 0x31, UNIX + TLVS))
    assert reader.ends is not None
    assert (reader.ends.client, reader.ends.path, reader.ends.local) == (None, b"/run/front", False)


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"PROXYTCP4",
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 " + b"1" * LINE_MAX,
        b"PROXY UNKNOWN" + b"x" * LINE_MAX + b"\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n",
        binary(0x11, 0x11, four("192.0.2.1", "10.0.0.1", 1, 2)),
        binary(0x22, 0x11, four("192.0.2.1", "10.0.0.1", 1, 2)),
        binary(0x21, 0x12, four("192.0.2.1", "10.0.0.1", 1, 2)),
        binary(0x21, 0x11, b"\0" * 11),
        binary(0x21, 0x21, b"\0" * 35),
        binary(0x21, 0x31, b"\0" * 215),
        binary(0x21, 0x41, b"\0" * 12),
        binary(0x20, 0x00, b"", TAIL_MAX + 1),
    ],
)
def test_what_is_no_header(octets: bytes) -> None:
    with pytest.raises(ProxyError):
        ProxyReader().feed(octets)
    reader = ProxyReader()
    with pytest.raises(ProxyError):
        for octet in octets:
            reader.feed(bytes([octet]))
