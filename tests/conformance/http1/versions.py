"""Versions and other protocols: RFC 9112 section 2.3 and appendix C, RFC 9110 sections 2.5 and 6.2."""

from __future__ import annotations

from conformance.case import BAD, DROPPED, Answer, Case, Outcome, Seen, refused, served

FORM = 'HTTP-version = "HTTP" "/" DIGIT "." DIGIT, in this case of letters'
TLS = bytes.fromhex("1603010200010001fc0303") + bytes(range(32)) + b"\x20" + bytes(64)
NOT_1 = (refused(505), *BAD)


def version(name: str, text: bytes, why: str = FORM, section: str = "9112 2.3") -> Case:
    """A version that is none."""
    return Case(name, section, why, b"GET /a " + text + b"\r\nHost: t\r\n\r\n", refused(400), (*BAD, *NOT_1))


CASES = [
    Case(
        "HTTP/1.0",
        "9110 2.5",
        "a server answers in its own minor version, and knows the client's",
        b"GET /a HTTP/1.0\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", version="1.0"), stays=False),
    ),
    Case(
        "a higher minor version",
        "9110 2.5",
        "a recipient SHOULD process it as if it were of the highest minor version that it implements",
        b"GET /a HTTP/1.2\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", version="1.1")),
        (served(Seen(path="/a"), stays=None),),
    ),
    Case(
        "HTTP/1.9",
        "9110 2.5",
        "a recipient SHOULD process it as if it were of the highest minor version that it implements",
        b"GET /a HTTP/1.9\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", version="1.1")),
        (served(Seen(path="/a"), stays=None),),
    ),
    Case(
        "HTTP/2.0",
        "9110 15.6.6",
        "505 for a major version that is not supported",
        b"GET /a HTTP/2.0\r\nHost: t\r\n\r\n",
        refused(505),
        NOT_1,
    ),
    Case(
        "HTTP/3.1",
        "9110 15.6.6",
        "505 for a major version that is not supported",
        b"GET /a HTTP/3.1\r\nHost: t\r\n\r\n",
        refused(505),
        NOT_1,
    ),
    Case(
        "HTTP/0.9 with a version",
        "9110 15.6.6",
        "505 for a major version that is not supported",
        b"GET /a HTTP/0.9\r\nHost: t\r\n\r\n",
        refused(505),
        NOT_1,
    ),
    Case(
        "the preface of HTTP/2",
        "9113 3.4",
        "it is chosen so that servers of HTTP/1.1 do not attempt to process what follows",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        refused(505),
        (*NOT_1, DROPPED),
    ),
    Case(
        "HTTP/0.9",
        "9112 3",
        "HTTP/0.9 is no longer defined; a request line without a version is invalid",
        b"GET /a\r\n\r\n",
        refused(400),
        BAD,
    ),
    Case(
        "TLS on a plain port",
        "9112 2.2",
        "octets that match no HTTP grammar SHOULD get 400 and the end of the connection",
        TLS,
        refused(400),
        BAD,
    ),
    Case(
        "the PROXY protocol where it is not expected",
        "9112 2.2",
        "octets that match no HTTP grammar SHOULD get 400 and the end of the connection",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /a HTTP/1.1\r\nHost: t\r\n\r\n",
        refused(400),
        BAD,
    ),
    version("lower case", b"http/1.1"),
    version("two digits", b"HTTP/1.10"),
    version("a leading zero", b"HTTP/01.1"),
    version("no minor version", b"HTTP/1"),
    version("another name", b"HTTQ/1.1"),
    version("a comma", b"HTTP/1,1"),
    version("a sign", b"HTTP/+1.1"),
    version("a word", b"HTTP/one.one"),
    version("a space inside", b"HTTP/ 1.1"),
    version("octets behind", b"HTTP/1.1x"),
    Case(
        "chunks are not for HTTP/1.0",
        "9112 6.1",
        "a server MUST NOT send Transfer-Encoding unless the request indicates HTTP/1.1",
        b"GET /stream HTTP/1.0\r\nHost: t\r\n\r\n",
        Outcome((Answer(200, without=("transfer-encoding",), body=b"onetwo"),), (Seen(),), stays=False),
    ),
    Case(
        "chunks are not for HTTP/1.0 that stays",
        "9112 6.1",
        "a server MUST NOT send Transfer-Encoding unless the request indicates HTTP/1.1",
        b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        Outcome((Answer(200, without=("transfer-encoding",), body=b"onetwo"),), (Seen(),), stays=False),
        (Outcome((Answer(200, framing="length", body=b"onetwo"),), (Seen(),), stays=None),),
    ),
    Case(
        "no interim response for HTTP/1.0",
        "9110 15.2",
        "a server MUST NOT send a 1xx response to an HTTP/1.0 client",
        b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        served(Seen(body="hi"), stays=False),
    ),
]
