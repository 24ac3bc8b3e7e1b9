"""Connection, keep-alive and Upgrade: RFC 9112 section 9, RFC 9110 sections 7.6.1 and 7.8."""

from __future__ import annotations

from conformance.case import Answer, Case, Outcome, Seen, answered, served

CLOSE = "a server that receives close MUST close after its response, and SHOULD say close in it"
KEEP = "the connection persists for HTTP/1.1 unless close is there"
OLD = "an HTTP/1.0 connection persists if keep-alive is there and the server wishes to honour it"
IGNORED = "a server MAY ignore Upgrade; it MUST ignore it in an HTTP/1.0 request"
SAYS_CLOSE = Answer(200, fields={"connection": "close"})
CLOSED = answered(SAYS_CLOSE, seen=(Seen(path="/a"),), stays=False)
CLOSED_SOMEHOW: tuple[Outcome, ...] = (served(Seen(path="/a"), stays=False),)


def option(name: str, value: bytes, why: str, closes: bool) -> Case:
    """Options of an HTTP/1.1 request."""
    send = b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: " + value + b"\r\n\r\n"
    outcome = CLOSED if closes else answered(Answer(200, without=("connection",)), seen=(Seen(path="/a"),))
    return Case(name, "9112 9.3", why, send, outcome, CLOSED_SOMEHOW if closes else (served(Seen(path="/a")),))


def old(name: str, lines: bytes, why: str, stays: bool, path: bytes = b"/a") -> Case:
    """Options of an HTTP/1.0 request."""
    answer = Answer(200, fields={"connection": "keep-alive"}) if stays else Answer(200)
    send = b"GET " + path + b" HTTP/1.0\r\nHost: t\r\n" + lines + b"\r\n"
    outcome = answered(answer, seen=(Seen(path=path.decode()),), stays=stays)
    return Case(name, "9112 9.3", why, send, outcome, (answered(Answer(200), seen=(Seen(),), stays=False),))


def upgrade(name: str, lines: bytes, body: bytes = b"", version: bytes = b"1.1") -> Case:
    """An upgrade that is not followed."""
    send = b"POST /a HTTP/" + version + b"\r\nHost: t\r\n" + lines + b"\r\n" + body
    return Case(name, "9110 7.8", IGNORED, send, served(Seen(path="/a", body=body.decode()), stays=version == b"1.1"))


CASES = [
    option("nothing said", b"x-nothing", KEEP, False),
    option("close", b"close", CLOSE, True),
    option("close in capitals", b"CLOSE", "connection options are case-insensitive (RFC 9110 section 7.6.1)", True),
    option("close in a list", b"x-a, close", CLOSE, True),
    option("close with empty elements", b", ,close,", "empty elements are ignored (RFC 9110 section 5.6.1.2)", True),
    option("close and keep-alive", b"keep-alive, close", "close wins", True),
    option("close in a second line", b"keep-alive\r\nConnection: close", "lines are one list", True),
    option("close in a first line", b"close\r\nConnection: keep-alive", "close wins", True),
    option("keep-alive", b"keep-alive", KEEP, False),
    option("a word that contains close", b"x-close, closer", "options are whole tokens", False),
    Case(
        "nothing behind close is served",
        "9112 9.6",
        "a server MUST NOT process any further requests after it has received close",
        b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        CLOSED,
        CLOSED_SOMEHOW,
    ),
    Case(
        "ten requests on a connection",
        "9112 9.3",
        KEEP,
        tuple(b"GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % number for number in range(10)),
        served(*(Seen(path=f"/{number}") for number in range(10))),
    ),
    Case(
        "a connection stays open after a chunked response",
        "9112 9.3",
        "persistence depends on self-defined lengths, and chunked is one",
        b"GET /stream HTTP/1.1\r\nHost: t\r\n\r\n",
        answered(Answer(200, framing="chunked", body=b"onetwo"), seen=(Seen(),)),
        (answered(Answer(200, framing="close", body=b"onetwo"), seen=(Seen(),), stays=False),),
    ),
    Case(
        "a connection stays open after an error of the app's",
        "9112 9.3",
        "a status ends no connection by itself",
        b"GET /status/404/length HTTP/1.1\r\nHost: t\r\n\r\n",
        answered(Answer(404, body=b"content"), seen=(Seen(),)),
    ),
    old("HTTP/1.0 that says nothing", b"", OLD, False),
    old("HTTP/1.0 with keep-alive", b"Connection: keep-alive\r\n", OLD, True),
    old("HTTP/1.0 with Keep-Alive in capitals", b"Connection: Keep-Alive\r\n", OLD, True),
    old("HTTP/1.0 with keep-alive in a list", b"Connection: x-a, keep-alive\r\n", OLD, True),
    old("HTTP/1.0 with keep-alive and close", b"Connection: keep-alive, close\r\n", "close wins", False),
    old("HTTP/1.0 with close", b"Connection: close\r\n", "close wins", False),
    old(
        "HTTP/1.0 with keep-alive and a response without a length",
        b"Connection: keep-alive\r\n",
        "without a length the end of the connection is the end of the body (section 6.3)",
        False,
        b"/stream",
    ),
    Case(
        "HTTP/1.0 with keep-alive says so",
        "9112 appendix C.2.2",
        "a client of HTTP/1.0 knows that the connection persists only by keep-alive in the response",
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
        answered(
            Answer(200, fields={"connection": "keep-alive"}),
            Answer(200),
            seen=(Seen(path="/a"), Seen(path="/b")),
            stays=False,
        ),
        (answered(Answer(200, without=("keep-alive",)), seen=(Seen(path="/a"),), stays=False),),
    ),
    Case(
        "HTTP/1.1 after HTTP/1.0 on one connection",
        "9110 2.5",
        "each message has its own version",
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(path="/a", version="1.0"), Seen(path="/b", version="1.1")),
        (answered(Answer(200), seen=(Seen(path="/a"),), stays=False),),
    ),
    upgrade(
        "Upgrade to HTTP/2", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    ),
    upgrade("Upgrade to something unknown", b"Connection: upgrade\r\nUpgrade: foo/2\r\n"),
    upgrade("Upgrade with a body", b"Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 5\r\n", b"hello"),
    upgrade("Upgrade without its connection option", b"Upgrade: foo\r\n"),
    upgrade("Upgrade in HTTP/1.0", b"Connection: upgrade\r\nUpgrade: foo\r\n", version=b"1.0"),
    upgrade("Upgrade to HTTP/1.1", b"Connection: upgrade\r\nUpgrade: HTTP/1.1\r\n"),
]
