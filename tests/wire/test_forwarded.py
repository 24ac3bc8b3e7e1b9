"""What a trusted proxy says: read from the right, only what was named, nothing hostile believed."""

from __future__ import annotations

import pytest

from bridgeserve.wire.errors import WireError
from bridgeserve.wire.fields import Field
from bridgeserve.wire.forwarded import CHAIN_MAX, ForwardedReader, Told, read_names, read_node
from bridgeserve.wire.trust import Trust

ALL_X = "x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port x-forwarded-prefix"
LISTED = "127.0.0.1,10.0.0.0/8"


def told(*lines: str, allow: str = LISTED, names: str = ALL_X) -> Told:
    """What the lines of fields say."""
    headers: list[Field] = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.lower().encode(), value.strip().encode("latin-1")))
    return ForwardedReader(Trust.parse(allow), read_names(names)).read(headers)


def forwarded(*values: str, allow: str = LISTED) -> Told:
    return told(*(f"Forwarded: {value}" for value in values), allow=allow, names="forwarded")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("192.0.2.1", ("192.0.2.1", 0)),
        ("192.0.2.1:4711", ("192.0.2.1", 4711)),
        ("2001:DB8::1", ("2001:db8::1", 0)),
        ("[2001:db8::1]:4711", ("2001:db8::1", 4711)),
        ("::ffff:192.0.2.1", ("192.0.2.1", 0)),
        ("198.51.100.1, 192.0.2.1", ("192.0.2.1", 0)),
        ("198.51.100.1, 192.0.2.1, 10.1.1.1", ("192.0.2.1", 0)),
        ("192.0.2.1,10.1.1.1 ,127.0.0.1", ("192.0.2.1", 0)),
        ("10.3.3.3, 10.1.1.1", ("10.3.3.3", 0)),  # all are trusted: the furthest one
        (",, 192.0.2.1 ,,", ("192.0.2.1", 0)),
        ("", None),
        ("unknown", None),
        ("unix:", None),
        ("192.0.2.1, _hidden", None),
        ("192.0.2.1, unknown, 10.1.1.1", ("10.1.1.1", 0)),
        ("192.0.2.1:99999", None),
        ("192.0.2.01", None),
        ("300.0.2.1", None),
        ("[192.0.2.1]", None),
        ("fe80::1%eth0", None),
        ("192.0.2.1\x80", None),
        ("<script>", None),
    ],
)
def test_the_right_most_untrusted_address_is_the_client(chain: str, client: tuple[str, int] | None) -> None:
    assert told(f"X-Forwarded-For: {chain}").client == client


@pytest.mark.parametrize(
    ("allow", "client"),
    [("*", "10.0.0.3"), ("1", "10.0.0.3"), ("2", "192.0.2.2"), ("3", "192.0.2.1"), ("9", "192.0.2.1")],
)
def test_a_number_of_proxies(allow: str, client: str) -> None:
    assert told("X-Forwarded-For: 192.0.2.1, 192.0.2.2, 10.0.0.3", allow=allow).client == (client, 0)


def test_an_entry_that_is_no_address_where_the_client_should_be() -> None:
    assert told("X-Forwarded-For: 192.0.2.1, nobody", allow="*").client is None


def test_several_lines_are_one_list() -> None:
    assert told("X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 10.0.0.1").client == (
        "192.0.2.1",
        0,
    )


def test_only_the_end_of_a_long_list_is_read() -> None:
    assert told("X-Forwarded-For: 192.0.2.1" + ", 10.0.0.1" * CHAIN_MAX).client == ("10.0.0.1", 0)
    assert told("X-Forwarded-For: 192.0.2.1" + ", 10.0.0.1" * (CHAIN_MAX - 1)).client == ("192.0.2.1", 0)


def test_the_scheme_is_that_of_the_proxy_that_saw_the_client() -> None:
    assert told("X-Forwarded-Proto: HTTPS").scheme == "https"
    assert told("X-Forwarded-Proto: wss").scheme == "https"
    assert told("X-Forwarded-Proto: https, http").scheme == "http"
    chain = "X-Forwarded-For: 192.0.2.1, 10.0.0.1"
    assert told(chain, "X-Forwarded-Proto: https, http").scheme == "https"
    assert told(chain, "X-Forwarded-Proto: http, https, http").scheme == "https"
    assert told(chain, "X-Forwarded-Proto: https").scheme == "https"
    assert told("X-Forwarded-Proto: https, http, http", allow="3").scheme == "https"


@pytest.mark.parametrize("value", ["", "gopher", "https://", "http https", "\xff"])
def test_a_scheme_that_is_none(value: str) -> None:
    assert told(f"X-Forwarded-Proto: {value}").scheme is None


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("example.org", b"example.org"),
        ("example.org:8443", b"example.org:8443"),
        ("[2001:db8::1]:80", b"[2001:db8::1]:80"),
        ("evil.example, example.org", b"example.org"),
        ("", None),
        ("a b", None),
        ("a/b", None),
        ("user@example.org", None),
        (":80", None),
        ("a" * 263, None),
    ],
)
def test_hosts(value: str, host: bytes | None) -> None:
    assert told(f"X-Forwarded-Host: {value}").host == host


@pytest.mark.parametrize(("value", "port"), [("443", 443), ("0", None), ("65536", None), ("-1", None), ("x", None)])
def test_ports(value: str, port: int | None) -> None:
    assert told(f"X-Forwarded-Port: {value}").port == port


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/a/b-1/~c", "/a/b-1/~c"),
        ("/", ""),
        ("/.hidden/a..b", "/.hidden/a..b"),
        ("", None),
        ("api", None),
        ("//evil.example", None),
        ("/a//b", None),
        ("/a/../b", None),
        ("/a/..", None),
        ("/.", None),
        ("/a%2fb", None),
        ("/a\\b", None),
        ("/a?b", None),
        ("https://evil.example/", None),
        ("/" + "a" * 1024, None),
    ],
)
def test_prefixes(value: str, prefix: str | None) -> None:
    assert told(f"X-Forwarded-Prefix: {value}").prefix == prefix


def test_only_what_was_named_is_read() -> None:
    lines = (
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "Forwarded: for=203.0.113.9;proto=http",
    )
    found = told(*lines, names="x-forwarded-for,x-forwarded-proto")
    assert (found.client, found.scheme, found.host) == (("192.0.2.1", 0), "https", None)
    found = told(*lines, names="forwarded")
    assert (found.client, found.scheme, found.host) == (("203.0.113.9", 0), "http", None)


@pytest.mark.parametrize("text", ["x-real-ip", "forwarded,x-forwarded-for", "x_forwarded_for", "for"])
def test_names_that_are_not_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        read_names(text)


def test_names() -> None:
    assert read_names(" X-Forwarded-For  x-forwarded-host,") == {b"x-forwarded-for", b"x-forwarded-host"}
    assert read_names("") == frozenset()


@pytest.mark.parametrize(
    ("value", "client", "scheme", "host"),
    [
        ("for=192.0.2.1", ("192.0.2.1", 0), None, None),
        ('For="[2001:db8:cafe::17]:4711"', ("2001:db8:cafe::17", 4711), None, None),
        ("for=192.0.2.60;proto=https;by=203.0.113.43", ("192.0.2.60", 0), "https", None),
        ("for=192.0.2.60; proto=http; host=example.org:80", ("192.0.2.60", 0), "http", b"example.org:80"),
        ("for=192.0.2.43, for=10.1.1.1;proto=http", ("192.0.2.43", 0), None, None),
        ("for=198.51.100.17, for=192.0.2.43;proto=https,for=10.1.1.1;proto=http", ("192.0.2.43", 0), "https", None),
        ("for=unknown;proto=https", None, "https", None),
        ("for=_SEVKISEK", None, None, None),
        ('for="192.0.2.43:_gazonk"', ("192.0.2.43", 0), None, None),
        ("proto=https", None, "https", None),
        ('for="192.0.2.\\43"', ("192.0.2.43", 0), None, None),
        (";;for=192.0.2.1;", ("192.0.2.1", 0), None, None),
        (" , ,for=192.0.2.1, ", ("192.0.2.1", 0), None, None),
        ('for=192.0.2.1;secret="a, for=10.0.0.1"', ("192.0.2.1", 0), None, None),
        ('host="evil.example/";for=192.0.2.1', ("192.0.2.1", 0), None, None),
        ("", None, None, None),
    ],
)
def test_forwarded(value: str, client: object, scheme: str | None, host: bytes | None) -> None:
    found = forwarded(value)
    assert (found.client, found.scheme, found.host) == (client, scheme, host)
    assert (found.port, found.prefix) == (None, None)


def test_forwarded_in_several_lines() -> None:
    assert forwarded("for=203.0.113.9", "for=192.0.2.1;proto=https", "for=10.0.0.1").client == ("192.0.2.1", 0)
    assert forwarded("for=203.0.113.9", "for=192.0.2.1, for=10.0.0.1", allow="2").client == ("192.0.2.1", 0)


@pytest.mark.parametrize(
    "value",
    [
        'for="192.0.2.1',
        'for=", for=192.0.2.1',
        "for=192.0.2.1 for=10.0.0.1",
        "for=192.0.2.1;for=10.0.0.1",
        "for",
        "=192.0.2.1",
        "for=",
        'for=a"b"',
        "for==192.0.2.1",
        "for=192.0.2.1\\",
        "192.0.2.1",
    ],
)
def test_a_forwarded_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(WireError) as caught:
        forwarded(value)
    assert caught.value.status == 400


def test_what_was_read_is_remembered_within_bounds() -> None:
    reader = ForwardedReader(Trust.parse("*"), read_names(ALL_X))
    first = reader.read([(b"x-forwarded-for", b"192.0.2.1")])
    assert reader.read([(b"host", b"a"), (b"x-forwarded-for", b"192.0.2.1")]) is first
    assert reader.read([(b"x-forwarded-for", b"192.0.2.2")]).client == ("192.0.2.2", 0)
    for number in range(3000):
        assert reader.read([(b"x-forwarded-for", b"10.0.%d.%d" % divmod(number, 256))]).client is not None
    assert len(reader._known) <= 1024
    size = len(reader._known)
    reader.read([(b"x-forwarded-for", b"192.0.2.1" + b" " * 600)])
    assert len(reader._known) == size


def test_nodes() -> None:
    assert read_node(b"1.2.3.4:0") is not None
    assert read_node(b"[::1") is None
    assert read_node(b"::1]:80") is None
    assert read_node(b"1.2.3.4:") is None
