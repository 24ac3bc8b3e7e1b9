"""Half-close, early answers and how a connection ends: RFC 9112 sections 8, 9.5 and 9.6, RFC 9293 section 3.6."""

from __future__ import annotations

from conformance.case import ANSWER, BAD, DROPPED, END, Answer, Case, Outcome, Seen, answered, refused, served

GET = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n"
HALF = 'a TCP CLOSE means "I have no more data to send"; who closes may continue to receive until the other side closes'
LINGER = "a server that closes at once may lose its last response to a reset; so it closes in stages"
PART = "a server that receives an incomplete request MAY send an error response before it closes the connection"
EARLY = "a server MAY answer before it has read the whole request"
POST = b"POST /early HTTP/1.1\r\nHost: t\r\n"
ANSWERED: tuple[Outcome, ...] = (served(Seen(), stays=None),)
INCOMPLETE: tuple[Outcome, ...] = (*BAD, refused(408))

CASES = [
    Case("half-close behind a request", "9293 3.6", HALF, (GET, END), served(Seen(path="/a"), stays=False)),
    Case(
        "half-close behind a body",
        "9293 3.6",
        HALF,
        (b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello", END),
        served(Seen(path="/a", body="hello"), stays=False),
    ),
    Case(
        "half-close behind a chunked body",
        "9293 3.6",
        HALF,
        (b"POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", END),
        served(Seen(path="/a", body="hello"), stays=False),
    ),
    Case(
        "half-close behind three pipelined requests",
        "9293 3.6",
        HALF,
        (GET * 3, END),
        served(Seen(path="/a"), Seen(path="/a"), Seen(path="/a"), stays=False),
    ),
    Case(
        "half-close and a stream",
        "9293 3.6",
        HALF,
        (b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n", END),
        answered(Answer(200, body=b"onetwo"), seen=(Seen(),), stays=False),
    ),
    Case(
        "half-close of an idle connection",
        "9112 9.5",
        "either side can close an idle connection at any time; the server answers the close with a close",
        (GET, ANSWER, END),
        served(Seen(path="/a"), stays=False),
    ),
    Case("nothing at all", "9112 9.5", "no request, so there is nothing to answer", (END,), DROPPED),
    Case("the client stops inside the request line", "9112 8", PART, (b"GET /a HT", END), refused(400), INCOMPLETE),
    Case(
        "the client stops inside the fields",
        "9112 8",
        PART,
        (b"GET /a HTTP/1.1\r\nHost: t\r\n", END),
        refused(400),
        INCOMPLETE,
    ),
    Case(
        "the client stops one octet early",
        "9112 8",
        PART,
        (b"GET /a HTTP/1.1\r\nHost: t\r\n\r", END),
        refused(400),
        INCOMPLETE,
    ),
    Case(
        "an early answer and a body that is all there",
        "9112 9.3",
        "to stay open a server MUST read the whole body or close after its answer; this one is short and read",
        POST + b"Content-Length: 5\r\n\r\nhello",
        served(Seen(path="/early")),
        ANSWERED,
    ),
    Case(
        "an early answer and a chunked body",
        "9112 9.3",
        "to stay open a server MUST read the whole body or close after its answer",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        served(Seen(path="/early")),
        ANSWERED,
    ),
    Case(
        "an early answer and a body that looks like a request",
        "9112 9.3",
        "what the app did not read of a body is never a request",
        POST + b"Content-Length: 28\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(path="/early")),
        (served(Seen(path="/early"), stays=None),),
    ),
    Case(
        "an early answer and a request behind the body",
        "9112 9.3",
        EARLY,
        POST + b"Content-Length: 5\r\n\r\nhello" + GET,
        served(Seen(path="/early"), Seen(path="/a")),
        (served(Seen(path="/early"), stays=False),),
    ),
    Case(
        "a large body behind a refusal",
        "9112 9.6",
        LINGER,
        b"POST /a HTTP/1.1\r\nHost: t\r\nnonsense\r\nContent-Length: 400000\r\n\r\n" + b"b" * 400_000,
        refused(400),
        (refused(400),),
    ),
    Case(
        "a large body behind a refused length",
        "9112 9.6",
        LINGER,
        b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n" + b"b" * 400_000,
        refused(400),
        (refused(400),),
    ),
    Case(
        "many requests behind the last one",
        "9112 9.6",
        LINGER,
        b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" + GET * 3000,
        served(Seen(path="/a"), stays=False),
        (served(Seen(path="/a"), stays=False),),
    ),
    Case(
        "an app that sends less than it said",
        "9112 8",
        "an incomplete response is told by the end of the connection",
        b"GET /too-short HTTP/1.1\r\nHost: t\r\n\r\n",
        Outcome((Answer(200),), (Seen(),), stays=False, cut=True),
        (Outcome((Answer(500),), (Seen(),), stays=None),),
    ),
]
