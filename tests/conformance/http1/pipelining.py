"""Pipelining: RFC 9112 sections 9.3.2 and 9.6."""

from __future__ import annotations

from conformance.case import END, Answer, Case, Outcome, Seen, answered, refused, served

ORDER = "a server MUST send the responses in the same order that the requests were received"
AFTER = "after a framing error the server closes: nothing behind it can be read safely (sections 6.3 and 9.6)"
BAD_LINE = b"GET /b HTTP/1.1\r\nHost : t\r\n\r\n"


def get(path: str, *lines: str) -> bytes:
    """A GET."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: t", *lines, "", "")).encode()


POST = b"POST /p HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
CUT: tuple[Outcome, ...] = (answered(Answer(200), seen=(Seen(path="/a"),), stays=False),)

CASES = [
    Case("two", "9112 9.3.2", ORDER, get("/a") + get("/b"), served(Seen(path="/a"), Seen(path="/b"))),
    Case(
        "fifty",
        "9112 9.3.2",
        ORDER,
        b"".join(get(f"/{number}") for number in range(50)),
        served(*(Seen(path=f"/{number}") for number in range(50))),
    ),
    Case(
        "with bodies between",
        "9112 9.3.2",
        ORDER,
        get("/a") + POST + CHUNKED + POST + get("/b"),
        served(
            Seen(path="/a", body=""),
            Seen(path="/p", body="hello"),
            Seen(path="/c", body="hello"),
            Seen(path="/p", body="hello"),
            Seen(path="/b", body=""),
        ),
    ),
    Case(
        "HEAD in the middle",
        "9112 6.3",
        "a response to HEAD ends with its head, whatever its fields say",
        get("/a") + get("/length").replace(b"GET", b"HEAD") + get("/b"),
        served(Seen(path="/a"), Seen(path="/length", method="HEAD"), Seen(path="/b")),
        heads=(1,),
    ),
    Case(
        "204 in the middle",
        "9112 6.3",
        "a 204 ends with its head",
        get("/status/204") + get("/b"),
        answered(Answer(204, framing="none"), Answer(200), seen=(Seen(), Seen(path="/b"))),
    ),
    Case(
        "a stream in the middle",
        "9112 9.3.2",
        ORDER,
        get("/a") + get("/stream") + get("/b"),
        answered(
            Answer(200),
            Answer(200, body=b"onetwo"),
            Answer(200),
            seen=(Seen(path="/a"), Seen(path="/stream"), Seen(path="/b")),
        ),
    ),
    Case(
        "a first octet of the next request",
        "9112 9.3.2",
        "the boundary between two packets is none between two requests",
        (get("/a") + b"G", get("/b")[1:]),
        served(Seen(path="/a"), Seen(path="/b")),
    ),
    Case(
        "a bad request behind a good one",
        "9112 9.6",
        AFTER,
        get("/a") + BAD_LINE,
        refused(400, seen=(Seen(path="/a"),)),
        CUT,
    ),
    Case(
        "good requests behind a bad one",
        "9112 9.6",
        AFTER,
        get("/a") + BAD_LINE + get("/c") + get("/d"),
        refused(400, seen=(Seen(path="/a"),)),
        CUT,
    ),
    Case(
        "a request behind a bad chunk",
        "9112 9.6",
        AFTER,
        get("/a") + CHUNKED.replace(b"5\r\nhello", b"x\r\nhello") + get("/c"),
        refused(400, seen=(Seen(path="/a"),)),
        CUT,
    ),
    Case(
        "a request behind two lengths",
        "9112 6.3",
        AFTER,
        get("/a") + POST.replace(b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 0") + get("/c"),
        refused(400, seen=(Seen(path="/a"),)),
        CUT,
    ),
    Case(
        "the client stops inside the second",
        "9112 9.6",
        "the first is whole and answered; the second is not, and MUST NOT reach the app",
        (get("/a") + b"GET /b HTTP/1.1\r\nHo", END),
        refused(400, seen=(Seen(path="/a"),)),
        CUT,
    ),
    Case(
        "close on the second of three",
        "9112 9.6",
        "a server MUST NOT process requests received after the one with close",
        get("/a") + get("/b", "Connection: close") + get("/c"),
        served(Seen(path="/a"), Seen(path="/b"), stays=False),
    ),
]
