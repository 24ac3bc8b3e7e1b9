"""Requests of other servers' advisories that the conformance suites do not hold: `docs/advisories.md` says whose."""

from __future__ import annotations

from conformance.case import Case, Seen, refused, served

POST = b"POST /a HTTP/1.1\r\nHost: t\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BEHIND = b"GET /b HTTP/1.1\r\nHost: t\r\n\r\n"
VALUE = "field-vchar = VCHAR / obs-text: no other control octet than HTAB"
# The control octets that str.splitlines() takes for the end of a line.
LINE_ENDS = {"VT": b"\x0b", "FF": b"\x0c", "FS": b"\x1c", "GS": b"\x1d", "RS": b"\x1e"}

CASES = [
    Case(
        "a letter that folds into one of chunked",
        "9112 6.1",
        "codings are tokens of ASCII; U+212A KELVIN SIGN becomes k only where text is folded as Unicode",
        POST + "Transfer-Encoding: chun\u212aed\r\nContent-Length: 5\r\n\r\nhello".encode(),
        refused(400),
    ),
    Case(
        "a letter that folds into one of a field name",
        "9110 5.1",
        "field-name = token; U+017F LATIN SMALL LETTER LONG S becomes s where text is folded as Unicode",
        POST + "Tran\u017ffer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(),
        refused(400),
    ),
    Case(
        "white space in front of a length",
        "9112 2.2",
        "white space between request line and first field: rejected or consumed, never read as a field",
        b"POST /a HTTP/1.1\r\n Content-Length: 5\r\nHost: t\r\n\r\nhello" + BEHIND,
        refused(400),
    ),
    Case(
        "an empty line of CR alone",
        "9112 2.2",
        "a bare CR ends no line, so the head has not ended there",
        b"GET /a HTTP/1.1\r\nHost: t\r\n\r" + BEHIND,
        refused(400),
    ),
    Case(
        "a name whose length overflows an octet",
        "9112 5",
        "a field name is as long as it is: 270 octets do not become 14",
        POST + b"Content-Length0" + b"a" * 255 + b":\r\nContent-Length: 36\r\n\r\n" + BEHIND.ljust(36),
        served(Seen(path="/a", body=BEHIND.ljust(36).decode())),
    ),
    Case(
        "a bare LF in an extension",
        "9112 7.1.1",
        "chunk-ext ends with CRLF; a reader that takes the LF for an end finds another size",
        CHUNKED + b"2;\nxx\r\n4\r\n1\r\n\r\n0\r\n\r\n" + BEHIND,
        refused(400),
    ),
    Case(
        "a bare CR behind the size",
        "9112 7.1",
        "chunk = chunk-size [ chunk-ext ] CRLF: a CR alone is no part of it",
        CHUNKED + b"5\r\r\nhello\r\n0\r\n\r\n" + BEHIND,
        refused(400),
    ),
    Case(
        "a length in the trailers",
        "9110 6.5.1",
        "a sender MUST NOT generate framing fields in trailers; they are merged into nothing",
        CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 400\r\nX-User: root\r\n\r\n" + BEHIND,
        served(Seen(path="/a", body="hello", fields={"x-user": None}), Seen(path="/b")),
    ),
    *(
        Case(
            f"{name} in a value",
            "9110 5.5",
            VALUE,
            b"GET /a HTTP/1.1\r\nHost: t\r\nX-A: a" + octet + b"X-User: root\r\n\r\n",
            refused(400),
        )
        for name, octet in LINE_ENDS.items()
    ),
    Case(
        "NEL in a value",
        "9110 5.5",
        "obs-text is opaque data: octet 133 ends no line",
        b"GET /a HTTP/1.1\r\nHost: t\r\nX-A: a\x85X-User: root\r\n\r\n",
        served(Seen(path="/a", fields={"x-a": "a\x85X-User: root", "x-user": None})),
    ),
]
