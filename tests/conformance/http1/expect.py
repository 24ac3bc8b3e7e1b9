"""Expect and 100 Continue: RFC 9110 section 10.1.1."""

from __future__ import annotations

from conformance.case import ANSWER, BAD, Answer, Case, Outcome, Seen, answered, open_or_not, refused, served

HEAD = b"POST /a HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
CONTINUE = Answer(100, framing="none", without=("content-length", "transfer-encoding"))
OK = Answer(200)
EAGER = "a server MAY omit 100 if it has already received some or all of the content"
OTHER = "an expectation other than 100-continue MAY get 417"


def both(seen: Seen, *answers: Answer, stays: bool | None = True) -> Outcome:
    """The answers for one request that reached the app."""
    return answered(*answers, seen=(seen,), stays=stays)


CASES = [
    Case(
        "the client waits",
        "9110 10.1.1",
        "a server MUST send either 100 or a final status before it waits for the content",
        (HEAD + b"Content-Length: 5\r\n\r\n", ANSWER, b"hello"),
        both(Seen(body="hello"), CONTINUE, OK),
    ),
    Case(
        "the client waits with a chunked body",
        "9110 10.1.1",
        "a server MUST send either 100 or a final status before it waits for the content",
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", ANSWER, b"5\r\nhello\r\n0\r\n\r\n"),
        both(Seen(body="hello"), CONTINUE, OK),
    ),
    Case(
        "the body comes with the head",
        "9110 10.1.1",
        EAGER,
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        both(Seen(body="hello"), OK),
        (both(Seen(body="hello"), CONTINUE, OK, stays=None),),
    ),
    Case(
        "in any case of letters",
        "9110 10.1.1",
        "the field value is case-insensitive",
        (b"POST /a HTTP/1.1\r\nHost: t\r\nexpect: 100-CONTINUE\r\nContent-Length: 5\r\n\r\n", ANSWER, b"hello"),
        both(Seen(body="hello"), CONTINUE, OK),
    ),
    Case(
        "twice",
        "9110 10.1.1",
        "Expect = #expectation; all members are 100-continue",
        (
            b"POST /a HTTP/1.1\r\nHost: t\r\nExpect: 100-continue, 100-continue\r\nContent-Length: 5\r\n\r\n",
            ANSWER,
            b"hello",
        ),
        both(Seen(body="hello"), CONTINUE, OK),
    ),
    Case(
        "with an empty element",
        "9110 5.6.1.2",
        "a recipient MUST parse and ignore a reasonable number of empty list elements",
        (b"POST /a HTTP/1.1\r\nHost: t\r\nExpect: ,100-continue,\r\nContent-Length: 5\r\n\r\n", ANSWER, b"hello"),
        both(Seen(body="hello"), CONTINUE, OK),
    ),
    Case(
        "no content",
        "9110 10.1.1",
        "a server MAY omit 100 if the framing indicates that there is no content",
        HEAD + b"\r\n",
        both(Seen(body=""), OK),
        (both(Seen(body=""), CONTINUE, OK, stays=None),),
    ),
    Case(
        "a length of 0",
        "9110 10.1.1",
        "a server MAY omit 100 if the framing indicates that there is no content",
        HEAD + b"Content-Length: 0\r\n\r\n",
        both(Seen(body=""), OK),
        (both(Seen(body=""), CONTINUE, OK, stays=None),),
    ),
    Case(
        "in HTTP/1.0",
        "9110 10.1.1",
        "a server that receives it in an HTTP/1.0 request MUST ignore that expectation",
        b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        both(Seen(body="hello"), OK, stays=False),
    ),
    Case(
        "another expectation",
        "9110 10.1.1",
        OTHER,
        b"POST /a HTTP/1.1\r\nHost: t\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
        refused(417),
        (open_or_not(refused(417)), *BAD, served(Seen(body="hello"), stays=None)),
    ),
    Case(
        "another expectation beside it",
        "9110 10.1.1",
        OTHER,
        b"POST /a HTTP/1.1\r\nHost: t\r\nExpect: 100-continue, x=y\r\nContent-Length: 5\r\n\r\nhello",
        refused(417),
        (
            open_or_not(refused(417)),
            *BAD,
            served(Seen(body="hello"), stays=None),
            both(Seen(body="hello"), CONTINUE, OK, stays=None),
        ),
    ),
    Case(
        "a bad head is refused without 100",
        "9110 10.1.1",
        "a final status is sent where it can be determined by the head alone",
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",),
        refused(400),
        BAD,
    ),
    Case(
        "a request behind it",
        "9110 10.1.1",
        "the interim response belongs to one request, the next has its own",
        (
            HEAD + b"Content-Length: 5\r\n\r\n",
            ANSWER,
            b"hello",
            ANSWER,
            HEAD + b"Content-Length: 2\r\n\r\n",
            ANSWER,
            b"hi",
        ),
        answered(CONTINUE, OK, CONTINUE, OK, seen=(Seen(body="hello"), Seen(body="hi"))),
    ),
]
