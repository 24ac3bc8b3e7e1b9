"""Transfer-Encoding, alone and beside Content-Length: RFC 9112 sections 6.1, 6.3 and 7."""

from __future__ import annotations

from conformance.case import BAD, Case, Outcome, Seen, refused, served

HEAD = b"POST /a HTTP/1.1\r\nHost: t\r\n"
BODY = b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
LAST = "where chunked is not the final coding of a request, the server MUST respond with 400 and close"
UNKNOWN = "a transfer coding that it does not understand SHOULD get 501"
BOTH = "a server MAY reject a request with both; if not, Transfer-Encoding overrides and it MUST close after the answer"
HIDDEN = "what one reader takes for chunked and another does not is a way to smuggle (RFC 9112 section 11.2)"
MUST_400: tuple[Outcome, ...] = (refused(400), refused(501))  # section 6.1 has a SHOULD for 501
NOT_SERVED: tuple[Outcome, ...] = (refused(400), refused(501), BAD[1])
OVERRIDES = served(Seen(body="hello"), stays=False)


def bad(name: str, lines: bytes, why: str, *statuses: int, allow: tuple[Outcome, ...] = MUST_400) -> Case:
    """Codings that are refused."""
    return Case(name, "9112 6.3", why, HEAD + lines + BODY, refused(*(statuses or (400,))), allow)


CASES = [
    Case(
        "chunked",
        "9112 6.1",
        "a server MUST be able to parse the chunked transfer coding",
        HEAD + b"Transfer-Encoding: chunked" + BODY,
        served(Seen(body="hello")),
    ),
    Case(
        "chunked in capitals",
        "9112 7",
        "all transfer-coding names are case-insensitive",
        HEAD + b"TRANSFER-ENCODING: ChUnKeD" + BODY,
        served(Seen(body="hello")),
    ),
    Case(
        "white space around it",
        "9112 5",
        "OWS is no part of the value",
        HEAD + b"Transfer-Encoding:\t chunked \t" + BODY,
        served(Seen(body="hello")),
    ),
    bad("another coding alone", b"Transfer-Encoding: gzip", LAST),
    bad("chunked and then another", b"Transfer-Encoding: chunked, gzip", LAST),
    bad("identity", b"Transfer-Encoding: identity", LAST),
    bad("chunked and then identity", b"Transfer-Encoding: chunked, identity", LAST),
    bad("a name that ends like chunked", b"Transfer-Encoding: xchunked", LAST),
    bad("a name that begins like chunked", b"Transfer-Encoding: chunkedx", LAST),
    bad("a control octet behind it", b"Transfer-Encoding: chunked\x0b", HIDDEN, allow=NOT_SERVED),
    bad("a control octet in front of it", b"Transfer-Encoding: \x0bchunked", HIDDEN, allow=NOT_SERVED),
    bad("quoted", b'Transfer-Encoding: "chunked"', LAST, allow=NOT_SERVED),
    bad("an octet above 127", b"Transfer-Encoding: chunked\xa0", LAST, allow=NOT_SERVED),
    bad("no value", b"Transfer-Encoding:", LAST, allow=(*NOT_SERVED, refused(400, seen=(Seen(body=""),)))),
    bad("another coding before it", b"Transfer-Encoding: gzip, chunked", UNKNOWN, 501, allow=NOT_SERVED),
    bad(
        "chunked twice",
        b"Transfer-Encoding: chunked, chunked",
        "a sender MUST NOT apply chunked more than once: the framing is faulty",
        allow=NOT_SERVED,
    ),
    bad(
        "chunked in two lines",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "a sender MUST NOT apply chunked more than once: the framing is faulty",
        allow=NOT_SERVED,
    ),
    bad(
        "identity and chunked in two lines",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        UNKNOWN,
        allow=NOT_SERVED,
    ),
    bad(
        "chunked with a parameter",
        b"Transfer-Encoding: chunked;a=b",
        "chunked defines no parameters; their presence SHOULD be treated as an error",
        allow=NOT_SERVED,
    ),
    bad(
        "an empty element behind it",
        b"Transfer-Encoding: chunked,",
        "a recipient has to ignore empty list elements (RFC 9110 section 5.6.1.2), but readers differ in it here: "
        + HIDDEN,
        allow=(*NOT_SERVED, served(Seen(body="hello"))),
    ),
    bad("white space before the colon", b"Transfer-Encoding : chunked", "MUST be rejected with 400 (section 5.1)"),
    bad(
        "folded",
        b"Transfer-Encoding:\r\n chunked",
        "a server MUST reject obs-fold with 400 or replace it with SP (section 5.2)",
        allow=(*NOT_SERVED, served(Seen(body="hello"), stays=None)),
    ),
    *(
        Case(
            f"length and chunked, {order}",
            "9112 6.1",
            BOTH,
            HEAD + lines + BODY,
            refused(400),
            (refused(400), OVERRIDES),
        )
        for order, lines in (
            ("the length first", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
            ("the length last", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
            ("a length of 0", b"Content-Length: 0\r\nTransfer-Encoding: chunked"),
            ("the right length", b"Content-Length: 15\r\nTransfer-Encoding: chunked"),
            ("a length that is none", b"Content-Length: x\r\nTransfer-Encoding: chunked"),
            ("two lengths", b"Content-Length: 5\r\nContent-Length: 6\r\nTransfer-Encoding: chunked"),
        )
    ),
    Case(
        "length and chunked with a request behind",
        "9112 6.1",
        "a server MUST close the connection after responding, so nothing behind may be served",
        HEAD
        + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n",
        refused(400),
        (refused(400), served(Seen(path="/a", body=""), stays=False)),
    ),
    Case(
        "length and another coding",
        "9112 6.3",
        LAST,
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello",
        refused(400),
        NOT_SERVED,
    ),
    Case(
        "chunked in HTTP/1.0",
        "9112 6.1",
        "the framing MUST be treated as faulty and the connection MUST be closed after the message",
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked" + BODY,
        refused(400),
        (*NOT_SERVED, served(Seen(body="hello"), stays=False), served(Seen(body=""), stays=False)),
    ),
    Case(
        "chunked and a length in HTTP/1.0",
        "9112 6.1",
        "the framing MUST be treated as faulty even if a Content-Length is present, and the connection MUST be closed",
        b"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 15\r\nTransfer-Encoding: chunked" + BODY,
        refused(400),
        (*NOT_SERVED, served(Seen(), stays=False)),
    ),
]
