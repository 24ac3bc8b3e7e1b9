"""No line of the logs can be forged, whatever a client sends and whoever is trusted: one line is one record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from e2e.raw import RawClient
from e2e.server import APPS, ServerProcess

FORGED = "2026-01-01T00:00:00.000Z info     forged"
# Line ends of every kind, the cursor of a terminal, NUL, DEL, a quote, and octets that are no UTF-8; percent-encoded.
ENCODED = b"%0a" + FORGED.replace(" ", "%20").encode() + b"%0d%0a%1b[2J%00%7f%22%5c%c2%85%e2%80%a8%ff%fe"
# The same as far as a field may hold it.
PLAIN = b'"\\\t ' + FORGED.encode() + b"\xc2\x85\xe2\x80\xa8\xc2\x9b2J\xff\xfe"
TARGETS = (b"/ok", b"/raise", b"/bad", b"/stay", b"/ok?q=")
FIELDS = (b"User-Agent", b"Referer", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded")
FORWARDED = (
    b"203.0.113.9%0aforged",
    b"203.0.113.9" + PLAIN,
    PLAIN + b", 203.0.113.9",
    b'"203.0.113.9\\"' + PLAIN,
    b"for=203.0.113.9;" + PLAIN,
    b'for="[2001:db8::1]:' + PLAIN + b'"',
)
REFUSED = (
    b"GET /\x1b[2J HTTP/1.1\r\nHost: t\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: t\r\nX: a\x1b[2J\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 1.2.3.4\n" + FORGED.encode() + b"\r\n\r\n",
    b"GET /" + PLAIN + b" HTTP/1.1\r\nHost: t\r\n\r\n",
)
FORMATS = {
    "default": "default",
    "combined": "combined",
    "json": "json",
    "atoms": "%(h)s %(r)s %(U)s %(q)s %({x-forwarded-for}i)s %({user-agent}i)s %({forwarded}i)s",
}


def ask(server: ServerProcess) -> int:
    """Every hostile request; how many have a line in the access log."""
    asked = 0
    for target in TARGETS:
        fields = b"".join(b"%b: %b\r\n" % (name, PLAIN) for name in FIELDS)
        with RawClient(server.address) as raw:
            raw.send(b"GET %b%b HTTP/1.1\r\nHost: t\r\n%b\r\n" % (target, ENCODED, fields))
            assert raw.read_answer().status in (200, 500, 504)
        asked += 1
    for value in FORWARDED:
        for name in (b"X-Forwarded-For", b"Forwarded"):
            with RawClient(server.address) as raw:
                raw.send(b"GET /ok HTTP/1.1\r\nHost: t\r\n%b: %b\r\n\r\n" % (name, value))
                assert raw.read_answer().status == 200
            asked += 1
    for data in REFUSED:
        with RawClient(server.address) as raw:
            raw.send(data)
            assert raw.read_answer().status == 400
    return asked


@pytest.mark.parametrize(
    ("format", "mode"), [*((name, "threads") for name in FORMATS), ("default", "processes"), ("json", "processes")]
)
def test_one_line_is_one_record(start: Callable[..., ServerProcess], format: str, mode: str) -> None:
    errors = "json" if format in ("json", "combined") else "text"
    options = ("--log-level", "debug", "--log-format", errors, "--timeout-request", "0.5", "--mode", mode)
    server = start(
        "telling:application", *options, "--processes", "1", "--access-log-format", FORMATS[format], app_dir=APPS
    )
    asked = ask(server)
    ended = server.stop()
    lines = ended.out.split("\n")
    assert lines.pop() == ""
    assert len(lines) == asked
    for line in lines:
        assert line.isascii() and line.isprintable()
        assert not line.startswith(FORGED[:10])
        if format == "json":
            assert json.loads(line)["client"].count(".") == 3
        else:
            assert re.match(r"[0-9.]+(:[0-9]+)? ", line)
    check_errors(ended.err, errors)


def check_errors(text: str, format: str) -> None:
    """Each line is a whole record, or an indented part of one, and none moves the cursor of a terminal."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert len(lines) >= 10
    for line in lines:
        assert line.isprintable(), line
        if format == "json":
            assert json.loads(line)["logger"].startswith("bridgeserve")
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]+ +\S|    ", line), line
            assert not line.startswith(FORGED)
