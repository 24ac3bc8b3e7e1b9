"""Content-Length: RFC 9110 section 8.6, RFC 9112 sections 6.2 and 6.3."""

from __future__ import annotations

from conformance.case import BAD, END, REFUSED, WAITS, Case, Outcome, Seen, refused, served

INVALID = "an invalid Content-Length is an unrecoverable framing error: the server MUST respond with 400 and close"
ONLY_400: tuple[Outcome, ...] = (refused(400),)
HEAD = b"POST /a HTTP/1.1\r\nHost: t\r\n"


def bad(name: str, lines: bytes, why: str = INVALID, allow: tuple[Outcome, ...] = ONLY_400) -> Case:
    """A length that is none."""
    return Case(name, "9112 6.3", why, HEAD + lines + b"\r\n\r\nhello", refused(400), allow)


CASES = [
    Case(
        "a body of its length",
        "9112 6.2",
        "a valid Content-Length is the length of the body",
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        served(Seen(method="POST", body="hello")),
    ),
    Case(
        "a length of 0",
        "9112 6.3",
        "a valid Content-Length is the length of the body",
        HEAD + b"Content-Length: 0\r\n\r\n",
        served(Seen(body="")),
    ),
    Case(
        "no length and no coding",
        "9112 6.3",
        "for a request without either the body length is zero",
        HEAD + b"\r\n",
        served(Seen(body="")),
    ),
    Case(
        "leading zeros",
        "9110 8.6",
        "Content-Length = 1*DIGIT",
        HEAD + b"Content-Length: 005\r\n\r\nhello",
        served(Seen(body="hello")),
    ),
    Case(
        "white space around the value",
        "9112 5",
        "OWS is no part of the value",
        HEAD + b"Content-Length: \t5 \t\r\n\r\nhello",
        served(Seen(body="hello")),
    ),
    Case(
        "the body in pieces",
        "9112 6.2",
        "the length says where the body ends, not the packets",
        (HEAD + b"Content-Length: 5\r\n\r\nhe", b"l", b"lo"),
        served(Seen(body="hello")),
    ),
    Case(
        "a body that looks like a request",
        "9112 6.2",
        "the octets of a body are data",
        HEAD + b"Content-Length: 36\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\n\r\n",
        served(Seen(path="/a", body="GET /b HTTP/1.1\r\nHost: t\r\nX: y\r\n\r\n\r\n")),
    ),
    Case(
        "the next request begins where the length ends",
        "9112 6.2",
        "a valid Content-Length is the length of the body",
        HEAD + b"Content-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", body="hello"), Seen(path="/b", body="")),
    ),
    Case(
        "a body without a length",
        "9112 6.3",
        "without a length the body is empty: what follows has to be a request, and is none",
        HEAD + b"\r\n@@@@\r\n\r\n",
        refused(400, seen=(Seen(body=""),)),
        (Outcome((*served(Seen()).answers,), (Seen(body=""),), stays=False),),
    ),
    Case(
        "HTTP/1.0 with a length",
        "9112 6.2",
        "a valid Content-Length is the length of the body",
        b"POST /a HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
        served(Seen(body="hello", version="1.0"), stays=False),
    ),
    Case(
        "a body of binary octets",
        "9112 6",
        "message-body = *OCTET",
        HEAD + b"Content-Length: 256\r\n\r\n" + bytes(range(256)),
        served(Seen(body=bytes(range(256)).decode("latin-1"))),
    ),
    Case(
        "a body of 300,000 octets",
        "9112 6.2",
        "the length says where the body ends",
        HEAD + b"Content-Length: 300000\r\n\r\n" + b"b" * 300_000,
        served(Seen(body="b" * 300_000)),
    ),
    Case(
        "the client stops inside the body",
        "9112 6.3",
        "if the sender closes before the length is received, the recipient MUST consider the message incomplete",
        (HEAD + b"Content-Length: 5\r\n\r\nhel", END),
        refused(400),
        (BAD[1], refused(400), refused(408), refused(500)),
    ),
    bad("two that differ", b"Content-Length: 5\r\nContent-Length: 6"),
    bad("two that differ, the shorter last", b"Content-Length: 5\r\ncontent-length: 0"),
    bad(
        "two equal ones",
        b"Content-Length: 5\r\nContent-Length: 5",
        "a recipient MUST reject it or replace it with a single valid one",
        (REFUSED[0], served(Seen(body="hello"), stays=None)),
    ),
    bad(
        "a list of equal ones",
        b"Content-Length: 5, 5",
        "a recipient MUST reject it or replace it with a single valid one",
        (REFUSED[0], served(Seen(body="hello"), stays=None)),
    ),
    bad("a list of different ones", b"Content-Length: 5, 6"),
    bad("a plus sign", b"Content-Length: +5"),
    bad("a minus sign", b"Content-Length: -5"),
    bad("a hex number", b"Content-Length: 0x5"),
    bad("a number with an underscore", b"Content-Length: 0_5"),
    bad("a number with a point", b"Content-Length: 5.0"),
    bad("a number with an exponent", b"Content-Length: 5e0"),
    bad("white space inside", b"Content-Length: 0 5"),
    bad("a word", b"Content-Length: five"),
    bad("no value", b"Content-Length:"),
    bad("a quoted number", b'Content-Length: "5"'),
    bad("a number with a semicolon", b"Content-Length: 5;"),
    bad("a number with a control octet", b"Content-Length: 5\x0b"),
    bad("digits of another script", b"Content-Length: \xd9\xa5"),
    Case(
        "a length above 64 bits",
        "9110 8.6",
        "a recipient MUST anticipate large numerals and prevent errors from overflows",
        HEAD + b"Content-Length: 18446744073709551621\r\n\r\nhello",
        refused(400),
        (*BAD, refused(413), refused(431), WAITS),
    ),
    Case(
        "a length of many digits",
        "9110 8.6",
        "a recipient MUST anticipate large numerals and prevent errors from overflows",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
        refused(400),
        (*BAD, refused(413), refused(431), WAITS),
    ),
]
