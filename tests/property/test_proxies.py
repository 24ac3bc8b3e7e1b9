"""What proxies say, and what others say in their place: nothing hostile raises, and nothing of it is believed."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from bridgeserve.wire.errors import WireError
from bridgeserve.wire.fields import HOST
from bridgeserve.wire.forwarded import ForwardedReader, Told, read_names
from bridgeserve.wire.proxy_protocol import SIGNATURE, ProxyError, ProxyReader
from bridgeserve.wire.trust import Trust, normal

NAMES = "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-prefix"
LISTED = Trust.parse("10.0.0.0/8, fd00::/8")
TRUSTS = [LISTED, Trust.parse("*"), Trust.parse("3")]

addresses = st.ip_addresses()
ours = st.integers(0, 2**24 - 1).map(lambda number: IPv4Address(int(IPv4Address("10.0.0.0")) + number))
strangers = addresses.filter(lambda each: not LISTED.address(each))
# What a client may send through a proxy: all that the gate lets through.
octets = st.text(st.characters(codec="latin-1", exclude_categories=("Cc",)), max_size=60).map(
    lambda text: text.encode("latin-1").strip()
)
hostile = st.one_of(
    octets,
    st.lists(st.one_of(octets, addresses.map(lambda each: str(each).encode())), max_size=5).map(b", ".join),
    st.text('for=",;\\[]:. 10abc_', max_size=60).map(lambda text: text.encode().strip()),
    st.text("/.%\\:a@?#,", max_size=30).map(lambda text: text.encode().strip()),
)
fields = st.lists(
    st.tuples(st.sampled_from([*(name.encode() for name in NAMES.split()), b"forwarded"]), hostile), max_size=6
)


def written(address: IPv4Address | IPv6Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def sound(told: Told) -> bool:
    """Whatever was said: what comes out can be put into an environ, a URL and a log."""
    if told.client is not None:
        host, port = told.client
        assert str(normal(ip_address(host))) == host
        assert 0 <= port < 65536
    assert told.scheme in (None, "http", "https")
    assert told.host is None or HOST.fullmatch(told.host)
    assert told.port is None or 0 < told.port < 65536
    prefix = told.prefix or ""
    assert not prefix or (prefix[0] == "/" and prefix[-1] != "/")
    assert not any(bad in prefix + "/" for bad in ("//", "/../", "/./", "\\", "%", "?", "#", ","))
    return True


@given(fields, st.sampled_from(TRUSTS), st.sampled_from([NAMES, "forwarded"]))
def test_hostile_fields(headers: list[tuple[bytes, bytes]], trust: Trust, names: str) -> None:
    try:
        assert sound(ForwardedReader(trust, read_names(names)).read(headers))
    except WireError as error:
        assert (error.status, names) == (400, "forwarded")


@given(hostile, strangers, st.lists(ours, max_size=4), st.booleans())
def test_what_the_client_says_of_itself_changes_nothing(
    said: bytes, client: IPv4Address | IPv6Address, chain: list[IPv4Address], one_line: bool
) -> None:
    """Proxies of ours append the peer that they see: whatever was there before, the client is that of the first."""
    seen = ", ".join(map(str, [client, *chain])).encode()
    headers = (
        [(b"x-forwarded-for", said + b", " + seen)]
        if one_line
        else [(b"x-forwarded-for", value) for value in (said, seen)]
    )
    told = ForwardedReader(LISTED, read_names(NAMES)).read(headers)
    assert told.client == (str(normal(client)), 0)
    hops = ForwardedReader(Trust.parse(str(len(chain) + 1)), read_names(NAMES)).read(headers)
    assert hops.client == told.client


@given(hostile, strangers, st.lists(ours, max_size=4), st.integers(1, 65535))
def test_the_same_with_forwarded(
    said: bytes, client: IPv4Address | IPv6Address, chain: list[IPv4Address], port: int
) -> None:
    seen = [f'for="{written(client, port)}";proto=https', *(f"for={each};proto=http" for each in chain)]
    headers = [(b"forwarded", said), (b"forwarded", ", ".join(seen).encode())]
    try:
        told = ForwardedReader(LISTED, read_names("forwarded")).read(headers)
    except WireError as error:
        assert error.status == 400
    else:
        assert (told.client, told.scheme) == ((str(normal(client)), port), "https")


def drive(stream: bytes, sizes: list[int]) -> tuple[object, int] | str:
    """Feed a stream as a connection does, which looks at what is there and takes what was asked for."""
    reader = ProxyReader()
    pos = 0
    step = 0
    try:
        while reader.ends is None and pos < len(stream):
            size = sizes[step % len(sizes)] if sizes else len(stream)
            step += 1
            used = reader.feed(stream[pos : pos + size])
            assert 0 < used <= size
            pos += used
    except ProxyError:
        return "refused"
    ends = reader.ends
    return (None if ends is None else (ends.client, ends.server, ends.path), pos)


v1 = st.builds(
    lambda family, source, target, ports: b"PROXY %s %s %s %d %d\r\n" % (family, source, target, *ports),
    st.sampled_from([b"TCP4", b"TCP6", b"UNKNOWN"]),
    addresses.map(lambda each: str(each).encode()),
    addresses.map(lambda each: str(each).encode()),
    st.tuples(st.integers(0, 70000), st.integers(0, 70000)),
)
v2 = st.builds(
    lambda command, family, body: SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body,
    st.sampled_from([0x20, 0x21, 0x22, 0x11]),
    st.sampled_from([0x00, 0x11, 0x12, 0x21, 0x31, 0xFF]),
    st.binary(max_size=260),
)
streams = st.one_of(
    v1,
    v2,
    st.binary(max_size=300),
    st.builds(bytes.__add__, v1, st.binary(max_size=50)),
    st.builds(bytes.__add__, v2, st.binary(max_size=50)),
)


@given(streams, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_a_stream_is_read_alike_in_pieces_and_as_a_whole(stream: bytes, sizes: list[int]) -> None:
    assert drive(stream, sizes) == drive(stream, [])


@given(strangers, st.integers(0, 65535), strangers, st.integers(0, 65535), st.binary(max_size=80))
def test_both_versions_say_the_same(
    source: IPv4Address | IPv6Address, port: int, target: IPv4Address | IPv6Address, other: int, tail: bytes
) -> None:
    if source.version != target.version:
        target = source
    line = b"PROXY TCP%d %s %s %d %d\r\n" % (source.version, str(source).encode(), str(target).encode(), port, other)
    body = source.packed + target.packed + struct.pack("!HH", port, other) + tail
    family = 0x11 if source.version == 4 else 0x21
    binary = SIGNATURE + struct.pack("!BBH", 0x21, family, len(body)) + body
    ends = ((str(normal(source)), port), (str(normal(target)), other), None)
    assert drive(line + tail, []) == (ends, len(line))
    assert drive(binary, []) == (ends, len(binary))
