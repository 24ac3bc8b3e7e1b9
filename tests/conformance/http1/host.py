"""Host: RFC 9112 section 3.2, RFC 9110 section 7.2. A wrong one MUST get 400."""

from __future__ import annotations

from conformance.case import REFUSED, Case, Outcome, Seen, refused, served

MUST = "a server MUST respond with 400 to a Host with an invalid field value"
ONE = "a server MUST respond with 400 to any request with more than one Host"
ONLY_400: tuple[Outcome, ...] = (REFUSED[0],)


def good(name: str, value: bytes, why: str) -> Case:
    """A value that is one."""
    send = b"GET /a HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
    return Case(name, "9110 7.2", why, send, served(Seen(path="/a", fields={"host": value.decode()})))


def bad(name: str, value: bytes, why: str = MUST) -> Case:
    """A value that is none."""
    send = b"GET /a HTTP/1.1\r\nHost: " + value + b"\r\n\r\n"
    return Case(name, "9112 3.2", why, send, refused(400), ONLY_400)


CASES = [
    Case(
        "no Host in HTTP/1.1",
        "9112 3.2",
        "a server MUST respond with 400 to any HTTP/1.1 request that lacks a Host",
        b"GET /a HTTP/1.1\r\nAccept: */*\r\n\r\n",
        refused(400),
        ONLY_400,
    ),
    Case(
        "no Host in HTTP/1.0",
        "9112 3.2",
        "Host is demanded of HTTP/1.1 only",
        b"GET /a HTTP/1.0\r\n\r\n",
        served(Seen(path="/a"), stays=False),
    ),
    Case(
        "two that differ",
        "9112 3.2",
        ONE,
        b"GET /a HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n",
        refused(400),
        ONLY_400,
    ),
    Case("two equal ones", "9112 3.2", ONE, b"GET /a HTTP/1.1\r\nHost: t\r\nhost: t\r\n\r\n", refused(400), ONLY_400),
    Case("two in HTTP/1.0", "9112 3.2", ONE, b"GET /a HTTP/1.0\r\nHost: t\r\nHost: t\r\n\r\n", refused(400), ONLY_400),
    Case(
        "an invalid one in HTTP/1.0",
        "9112 3.2",
        MUST,
        b"GET /a HTTP/1.0\r\nHost: a b\r\n\r\n",
        refused(400),
        ONLY_400,
    ),
    Case(
        "an invalid one beside absolute-form",
        "9112 3.2",
        "the value is ignored for the target, but an invalid one MUST still get 400",
        b"GET http://t/a HTTP/1.1\r\nHost: a b\r\n\r\n",
        refused(400),
        (*ONLY_400, served(Seen(path="/a"), stays=None)),
    ),
    Case(
        "an empty one",
        "9110 7.2",
        "a client MUST send an empty Host where the target has no authority",
        b"GET /a HTTP/1.1\r\nHost:\r\n\r\n",
        served(Seen(path="/a")),
    ),
    good("a name", b"www.example.org", "Host = uri-host"),
    good("a name with a port", b"www.example.org:8080", 'Host = uri-host [ ":" port ]'),
    good("a name with an empty port", b"t:", "port = *DIGIT (RFC 3986 section 3.2.3)"),
    good("an IPv4 address", b"192.0.2.1:80", "IPv4address (RFC 3986 section 3.2.2)"),
    good("an IPv6 address", b"[2001:db8::1]", "IP-literal (RFC 3986 section 3.2.2)"),
    good("an IPv6 address with a port", b"[::1]:8080", "IP-literal with a port"),
    good("a name in capitals", b"EXAMPLE.org", "the host is case-insensitive; the app sees it as it came"),
    good("a name with sub-delims", b"a!b$c_d", "reg-name = *( unreserved / pct-encoded / sub-delims )"),
    good("a percent-encoded name", b"ex%41mple", "reg-name may be percent-encoded"),
    bad("a space inside", b"a b"),
    bad("userinfo", b"u@t", "Host = uri-host: userinfo is no part of it"),
    bad("a path", b"t/a"),
    bad("a list", b"a, b"),
    bad("a scheme", b"http://t"),
    bad("a port that is no number", b"t:http"),
    bad("two ports", b"t:80:81"),
    bad("an open bracket", b"[::1"),
    bad("an IPv6 address without brackets", b"::1"),
    bad("a query", b"t?a"),
    bad("a fragment", b"t#a"),
    bad("a backslash", b"t\\a"),
    bad("octets above 127", b"caf\xc3\xa9"),
    bad("a broken percent-encoding", b"a%zz"),
    bad("a quoted name", b'"t"'),
]
