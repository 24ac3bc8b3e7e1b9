"""The trailer section: RFC 9112 section 7.1.2, RFC 9110 section 6.5."""

from __future__ import annotations

from conformance.case import BAD, END, Case, Outcome, Seen, refused, served

HEAD = b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
MERGE = "a trailer MUST NOT be merged into the header section unless its definition permits it"
LINE = "trailer-section = *( field-line CRLF )"
NOT_WHOLE: tuple[Outcome, ...] = (*BAD, refused(500))
FORGIVEN: tuple[Outcome, ...] = (*NOT_WHOLE, served(Seen(body="hello"), stays=None))


def good(name: str, trailers: bytes, fields: dict[str, str | None], why: str = MERGE) -> Case:
    """Trailers that are good, and what must not come of them; those of framing and routing MUST NOT be sent at all."""
    expect = served(Seen(body="hello", fields=fields))
    return Case(name, "9110 6.5.1", why, HEAD + trailers + b"\r\n", expect, BAD if why == MERGE else ())


def bad(name: str, trailers: bytes, why: str = LINE, allow: tuple[Outcome, ...] = NOT_WHOLE) -> Case:
    """Trailers that are none."""
    return Case(name, "9112 7.1.2", why, HEAD + trailers + b"\r\n", refused(400), allow)


CASES = [
    good("a trailer", b"X-Check: abc\r\n", {"x-check": None}, "a recipient MAY discard trailers"),
    good("two trailers", b"X-A: b\r\nX-B: c\r\n", {"x-a": None, "x-b": None}, "a recipient MAY discard trailers"),
    good("a trailer that is announced", b"Expires: 0\r\n", {"expires": None}),
    good("a length among them", b"Content-Length: 99\r\n", {}),
    good("a Host among them", b"Host: evil\r\n", {"host": "t"}),
    good("an Authorization among them", b"Authorization: Basic eA==\r\n", {"authorization": None}),
    good("a coding among them", b"Transfer-Encoding: gzip\r\n", {}),
    good("a Connection among them", b"Connection: close\r\n", {"connection": None}),
    Case(
        "a request behind the trailers",
        "9112 7.1.2",
        "the empty line after the trailer section ends the message",
        HEAD + b"X-A: b\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", body="hello"), Seen(path="/b")),
    ),
    Case(
        "trailers in pieces",
        "9112 7.1.2",
        "packets do not frame",
        (HEAD, b"X-A", b": b\r", b"\n", b"\r", b"\n"),
        served(Seen(body="hello")),
    ),
    bad("a line without a colon", b"nonsense\r\n", allow=FORGIVEN),
    bad("a request in the place of trailers", b"GET /b HTTP/1.1\r\nHost: t\r\n", allow=FORGIVEN),
    bad("a space before the colon", b"X-A : b\r\n", "a server MUST reject it with 400 (section 5.1)", FORGIVEN),
    bad("a folded line", b"X-A: b\r\n c\r\n", "obs-fold MUST be rejected or replaced (section 5.2)", FORGIVEN),
    bad("a NUL", b"X-A: b\x00\r\n", "NUL MUST be rejected or replaced (RFC 9110 section 5.5)", FORGIVEN),
    bad("a bare CR", b"X-A: b\rc\r\n", "a bare CR is invalid (section 2.2)", FORGIVEN),
    bad("a bare LF", b"X-A: b\nX-B: c\r\n", "section 2.2 lets a recipient take it; readers differ", FORGIVEN),
    Case(
        "trailers without end",
        "9110 5.4",
        "fields larger than the server wishes to process MUST get an appropriate 4xx",
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        refused(431),
        (*NOT_WHOLE, refused(413), refused(431), served(Seen(body="hello"), stays=None)),
    ),
    Case(
        "the client stops inside the trailers",
        "9112 8",
        "the message is not complete before its last empty line",
        (HEAD + b"X-A: b\r\n", END),
        refused(400),
        (*FORGIVEN, refused(408)),
    ),
]
