"""What is sent for what the app says: RFC 9110 sections 6.6.1, 8.6, 9.3.2 and 15, RFC 9112 sections 4, 6 and 11.1."""

from __future__ import annotations

from conformance.case import DROPPED, Answer, Case, Outcome, Seen, answered

SPLIT = "CR, LF and NUL in a field of the app's are never sent: else it could forge a response"
NAME = "a sender MUST NOT generate what does not match the grammar (RFC 9110 section 2.2)"
NO_CONTENT = "the response is terminated by the end of the header section"
RESET = "a server MUST NOT generate content in a 205 response"
LENGTHS = "a sender MUST NOT send a Content-Length that is known to be incorrect, or two of them (section 5.3)"
OURS_500 = Outcome((Answer(500, framing="length"),), (Seen(),), stays=True)
# Refusing the app's header, or sending the answer without it, keeps the text alike.
KEPT = tuple(Outcome((Answer(status, without=("x-split",)),), (Seen(),), stays=None) for status in (500, 200, 502))
DATE = "an origin server with a clock MUST generate a Date in all 2xx, 3xx and 4xx responses"


def app(name: str, path: str, section: str, why: str, *answers: Answer, **more: object) -> Case:
    """What the client gets from an app at a path."""
    method = "HEAD" if name.startswith("HEAD") else "GET"
    send = f"{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
    allow = more.get("allow", ())
    assert isinstance(allow, tuple)
    allow += (answered(*answers, seen=(Seen(),), stays=None),)  # an answer that is right may be the last one
    heads = (0,) if method == "HEAD" else ()
    return Case(name, section, why, send, answered(*answers, seen=(Seen(),)), allow, heads)


def never(name: str, path: str, section: str = "9112 11.1", why: str = SPLIT) -> Case:
    """A header of the app's that must not go out."""
    send = f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
    return Case(name, section, why, send, OURS_500, (*KEPT, Outcome((), (Seen(),), stays=False)))


CASES = [
    app("a length of the app's", "/length", "9110 8.6", "it is kept", Answer(200, "length", {"content-length": "6"})),
    app(
        "a stream is chunked",
        "/stream",
        "9112 6.1",
        "without a length it is chunked or ends with the connection",
        Answer(200, "chunked", without=("content-length",), body=b"onetwo"),
        allow=(
            answered(Answer(200, "length", body=b"onetwo"), seen=(Seen(),), stays=None),
            answered(Answer(200, "close", body=b"onetwo"), seen=(Seen(),), stays=False),
        ),
    ),
    app(
        "HEAD of a length",
        "/length",
        "9110 9.3.2",
        "the fields of GET, no content",
        Answer(200, "none", {"content-length": "6"}),
    ),
    app("HEAD of a stream", "/stream", "9110 9.3.2", "MUST NOT send content", Answer(200, "none")),
    app(
        "204",
        "/status/204",
        "9110 8.6",
        "MUST NOT send Content-Length in 204",
        Answer(204, "none", without=("content-length", "transfer-encoding")),
    ),
    app(
        "204 of a stream",
        "/status/204/stream",
        "9112 6.1",
        "MUST NOT send Transfer-Encoding in 204",
        Answer(204, "none", without=("content-length", "transfer-encoding")),
    ),
    app(
        "204 with a length of the app's",
        "/status/204/length",
        "9110 8.6",
        "MUST NOT send Content-Length in 204",
        Answer(204, "none", without=("content-length", "transfer-encoding")),
    ),
    app("304", "/status/304", "9112 6.3", NO_CONTENT, Answer(304, "none")),
    app("304 of a stream", "/status/304/stream", "9112 6.3", NO_CONTENT, Answer(304, "none")),
    app(
        "304 with a length of the app's",
        "/status/304/length",
        "9110 8.6",
        "it MAY say the length that 200 would have",
        Answer(304, "none"),
    ),
    app(
        "205",
        "/status/205",
        "9110 15.3.6",
        RESET,
        Answer(205, "length", body=b""),
        allow=(answered(Answer(205, body=b""), seen=(Seen(),), stays=None),),
    ),
    app(
        "205 of a stream",
        "/status/205/stream",
        "9110 15.3.6",
        RESET,
        Answer(205, "length", body=b""),
        allow=(answered(Answer(205, body=b""), seen=(Seen(),), stays=None),),
    ),
    app(
        "205 with a length of the app's",
        "/status/205/length",
        "9110 15.3.6",
        RESET,
        Answer(205, "length", {"content-length": "0"}, body=b""),
        allow=(answered(Answer(205, body=b""), seen=(Seen(),), stays=None),),
    ),
    app(
        "HEAD of 204",
        "/status/204",
        "9110 8.6",
        "MUST NOT send Content-Length in 204",
        Answer(204, "none", without=("content-length",)),
    ),
    app(
        "206",
        "/range",
        "9110 15.3.7",
        "ranges are the app's; nothing is added",
        Answer(206, fields={"content-range": "bytes 0-2/6"}, body=b"one"),
    ),
    app(
        "a status without a name",
        "/status/299",
        "9110 15",
        "a status code is any three digits, 100 to 599",
        Answer(299, body=b"content"),
    ),
    app(
        "the last status of its class",
        "/status/599",
        "9110 15",
        "a status code is any three digits, 100 to 599",
        Answer(599, body=b"content"),
    ),
    Case(
        "more than the length of the app's",
        "9112 6.2",
        "a sender MUST NOT send more than its Content-Length: what follows would be read as the next response",
        b"GET /too-long HTTP/1.1\r\nHost: t\r\n\r\n",
        answered(Answer(200, "length", body=b"one"), seen=(Seen(),), log="longer than its Content-Length"),
        (
            answered(Answer(200, "length", body=b"one"), seen=(Seen(),), stays=None),
            Outcome((Answer(500),), (Seen(),), stays=None),
            Outcome((Answer(200),), (Seen(),), stays=False, cut=True),
        ),
    ),
    app("a Date is there", "/length", "9110 6.6.1", DATE, Answer(200, fields={"date": None})),
    app(
        "one Date where the app has its own",
        "/date",
        "9110 5.3",
        "a sender MUST NOT generate a field twice that is no list",
        Answer(200, fields={"date": "Thu, 01 Jan 1970 00:00:00 GMT"}),
    ),
    Case(
        "a Date in a refusal",
        "9110 6.6.1",
        DATE,
        b"GET /a HTTP/1.1\r\nHost: t\r\nnonsense\r\n\r\n",
        Outcome((Answer(400, fields={"date": None}),), (), stays=False),
        (Outcome((Answer(400, fields={"date": None}),), (), stays=None), DROPPED),
    ),
    app(
        "two cookies stay two",
        "/two-cookies",
        "9110 5.3",
        "Set-Cookie cannot be combined",
        Answer(200, body=b"one"),
        allow=(),
    ),
    app(
        "obs-text of the app's",
        "/obs-text",
        "9110 5.5",
        "obs-text is opaque data",
        Answer(200, fields={"x-a": "caf\xe9"}),
    ),
    never("CRLF in a value", "/split-value"),
    never("LF in a value", "/split-lf"),
    never("CR in a value", "/split-cr"),
    never("a whole response in a value", "/split-body"),
    never("CRLF in a name", "/split-name"),
    never("NUL in a value", "/split-nul", "9110 5.5"),
    never("a control octet in a value", "/control-value", "9110 5.5", "a sender MUST NOT generate CTLs in a value"),
    never("a space in a name", "/space-name", "9110 5.1", NAME),
    never("a colon in a name", "/colon-name", "9110 5.1", NAME),
    never("an empty name", "/empty-name", "9110 5.1", NAME),
    never("two lengths that differ", "/two-lengths", "9110 8.6", LENGTHS),
    app(
        "two lengths that agree",
        "/same-lengths",
        "9110 8.6",
        "one is sent",
        Answer(200, "length", {"content-length": "3"}),
        allow=(OURS_500,),
    ),
    never("a length that is none", "/bad-length", "9110 8.6", LENGTHS),
    Case(
        "an interim status as the app's answer",
        "9110 15.2",
        "a 1xx is followed by a final response; alone it would take the next one for its own",
        b"GET /interim HTTP/1.1\r\nHost: t\r\n\r\n",
        OURS_500,
        (Outcome((Answer(500),), (Seen(),), stays=None), Outcome((), (Seen(),), stays=False)),
    ),
    Case(
        "101 as the app's answer",
        "9110 15.2.2",
        "101 changes the protocol, which nobody asked for",
        b"GET /switch HTTP/1.1\r\nHost: t\r\n\r\n",
        OURS_500,
        (Outcome((Answer(500),), (Seen(),), stays=None), Outcome((), (Seen(),), stays=False)),
    ),
]
