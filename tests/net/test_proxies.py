"""What proxies say, on connections: who is believed, and what dispatchers and records see of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bridgeserve.dispatch.base import Endpoint
from bridgeserve.net.proxies import Proxies
from bridgeserve.wire.forwarded import X_FIELDS, read_names
from bridgeserve.wire.trust import Trust
from net.clock import run_virtual, turns
from net.memory import Application, Wire, ok

PEER = ("192.0.2.1", 1234)
OWN = ("192.0.2.2", 80)


def believing(allow: str = PEER[0], names: str = ",".join(X_FIELDS)) -> Proxies:
    return Proxies(Trust.parse(allow), read_names(names))


def head(*lines: str, target: str = "/") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: inner:8000", *lines, "", ""]).encode("latin-1")


def on_wire(proxies: Proxies | None, test: Callable[[Wire], Awaitable[Any]]) -> Wire:
    made: list[Wire] = []

    async def main() -> None:
        with Wire(Application(ok), proxies=proxies) as wire:
            made.append(wire)
            await test(wire)

    run_virtual(main)
    return made[0]


def asked(proxies: Proxies | None, *lines: str, target: str = "/") -> tuple[Endpoint, list[tuple[bytes, bytes]]]:
    """The endpoint and the fields that a dispatcher sees."""

    async def test(wire: Wire) -> None:
        wire.client.send(head(*lines, target=target))
        assert wire.client.read().startswith(b"HTTP/1.1 200 ")

    exchange = on_wire(proxies, test).app.last
    return exchange.endpoint, exchange.request.headers


def told(proxies: Proxies | None, *lines: str, target: str = "/") -> tuple[object, ...]:
    endpoint, headers = asked(proxies, *lines, target=target)
    hosts = [value for name, value in headers if name == b"host"]
    assert len(hosts) == 1
    return endpoint.client, endpoint.scheme, endpoint.server, endpoint.root, hosts[0]


CLAIMS = (
    "X-Forwarded-For: 203.0.113.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: example.org",
    "X-Forwarded-Prefix: /api",
)


def test_a_trusted_peer_is_believed() -> None:
    assert told(believing(), *CLAIMS) == (
        ("203.0.113.9", 0),
        "https",
        ("example.org", 443),
        "/api",
        b"example.org",
    )


@pytest.mark.parametrize("proxies", [None, believing("127.0.0.1"), believing(names=""), believing("")])
def test_others_are_not_but_keep_their_fields(proxies: Proxies | None) -> None:
    assert told(proxies, *CLAIMS, 'Forwarded: for="') == (PEER, "http", OWN, None, b"inner:8000")
    _, headers = asked(proxies, *CLAIMS)
    assert (b"x-forwarded-for", b"203.0.113.9") in headers


def test_a_request_without_claims_has_the_endpoint_of_its_connection() -> None:
    async def test(wire: Wire) -> None:
        for _ in range(2):
            wire.client.send(head())
            await turns()
        first, second = wire.app.exchanges
        assert first.endpoint is second.endpoint

    on_wire(believing(), test)


def test_each_request_of_a_connection_has_its_own_client() -> None:
    async def test(wire: Wire) -> None:
        for number in (1, 2):
            wire.client.send(head(f"X-Forwarded-For: 203.0.113.{number}"))
            await turns()
        wire.client.send(head())
        await turns()

    wire = on_wire(believing(), test)
    clients = [("203.0.113.1", 0), ("203.0.113.2", 0), PEER]
    assert [exchange.endpoint.client for exchange in wire.app.exchanges] == clients
    assert [record.client for record in wire.records] == clients


@pytest.mark.parametrize(
    ("lines", "server", "host"),
    [
        (("X-Forwarded-Host: example.org:8443",), ("example.org", 8443), b"example.org:8443"),
        (("X-Forwarded-Host: [2001:db8::1]",), ("2001:db8::1", 80), b"[2001:db8::1]"),
        (("X-Forwarded-Host: [2001:db8::1]:81",), ("2001:db8::1", 81), b"[2001:db8::1]:81"),
        (("X-Forwarded-Host: example.org:",), ("example.org", 80), b"example.org:"),
        (("X-Forwarded-Host: example.org:99999",), ("example.org", 80), b"example.org:99999"),
        (("X-Forwarded-Port: 8443",), (OWN[0], 8443), b"inner:8443"),
        (("X-Forwarded-Port: 443", "X-Forwarded-Proto: https"), (OWN[0], 443), b"inner"),
        (("X-Forwarded-Port: 443", "X-Forwarded-Host: a.example:1"), ("a.example", 443), b"a.example:443"),
        (("X-Forwarded-Port: 81", "X-Forwarded-Host: [::1]"), ("::1", 81), b"[::1]:81"),
        (("X-Forwarded-Proto: https",), OWN, b"inner:8000"),
        (("X-Forwarded-Host: a/b", "X-Forwarded-Port: x"), OWN, b"inner:8000"),
    ],
)
def test_server_and_host(lines: tuple[str, ...], server: tuple[str, int], host: bytes) -> None:
    found = told(believing(), *lines)
    assert (found[2], found[4]) == (server, host)


def test_forwarded_instead() -> None:
    proxies = believing(names="forwarded")
    field = 'Forwarded: for=198.51.100.1, for="203.0.113.9:5";proto=https;host=example.org'
    assert told(proxies, field, *CLAIMS) == (("203.0.113.9", 5), "https", ("example.org", 443), None, b"example.org")


def test_a_forwarded_that_cannot_be_read_is_refused_and_the_connection_goes_on() -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(head('Forwarded: for="'))
        assert wire.client.read().startswith(b"HTTP/1.1 400 ")
        await turns()
        wire.client.send(head("Forwarded: for=203.0.113.9"))
        assert wire.client.read().startswith(b"HTTP/1.1 200 ")
        assert len(wire.app.exchanges) == 1
        assert [(record.status, record.client) for record in wire.records] == [
            (400, PEER),
            (200, ("203.0.113.9", 0)),
        ]

    on_wire(believing(names="forwarded"), test)


@pytest.mark.parametrize("proxies", [None, believing("127.0.0.1"), believing(names="")])
@pytest.mark.parametrize("target", ["https://example.org/", "HTTPS://example.org"])
def test_an_https_target_without_tls_is_misdirected(proxies: Proxies | None, target: str) -> None:
    async def test(wire: Wire) -> None:
        wire.client.send(head(target=target))
        assert wire.client.read().startswith(b"HTTP/1.1 421 ")
        assert not wire.app.exchanges
        await turns()
        wire.client.send(head(target=target.lower().replace("https", "http")))
        assert wire.client.read().startswith(b"HTTP/1.1 200 ")

    on_wire(proxies, test)


def test_a_trusted_peer_may_send_an_https_target() -> None:
    assert told(believing(), target="https://example.org/")[1] == "https"
    assert told(believing(), "X-Forwarded-Proto: http", target="https://example.org/")[1] == "http"


def test_the_claims_of_a_host_win_over_the_target() -> None:
    assert told(believing(), "X-Forwarded-Host: a.example", target="http://b.example/")[4] == b"a.example"


def test_a_unix_socket() -> None:
    proxies = believing("unix:")
    path = ("/run/app.sock", None)
    endpoint = proxies.meet(Endpoint("http", None, path))
    assert endpoint.trusted
    assert not proxies.meet(Endpoint("http", PEER, OWN)).trusted
