"""Field lines: RFC 9112 section 5, RFC 9110 sections 5.1 to 5.6."""

from __future__ import annotations

from conformance.case import BAD, REFUSED, Case, Outcome, Seen, refused, served

NAME = "field-name = token; a server MUST reject what is no field line"
COLON = "a server MUST reject, with 400, any request with white space between field name and colon"
CONTROL = "CR, LF and NUL in a value MUST be rejected or replaced with SP"
OTHER = "field values containing other CTL characters are invalid; a recipient MAY retain them where it is safe"


def value(name: str, line: bytes, fields: dict[str, str | None], why: str, section: str = "9110 5.5") -> Case:
    """A line that is good, and what the app sees of it."""
    send = b"GET /a HTTP/1.1\r\nHost: t\r\n" + line + b"\r\n\r\n"
    return Case(name, section, why, send, served(Seen(path="/a", fields=fields)))


def bad(name: str, line: bytes, why: str, section: str = "9112 5.1", allow: tuple[Outcome, ...] = BAD) -> Case:
    """A line that is none."""
    return Case(name, section, why, b"GET /a HTTP/1.1\r\nHost: t\r\n" + line + b"\r\n\r\n", refused(400), allow)


CASES = [
    value("white space around a value", b"X-A: \t b c \t", {"x-a": "b c"}, "OWS is no part of the value", "9112 5"),
    value("no white space after the colon", b"X-A:b", {"x-a": "b"}, "OWS is optional", "9112 5"),
    value("an empty value", b"X-A:", {"x-a": ""}, "field-value = *field-content"),
    value("a value of white space", b"X-A:  \t ", {"x-a": ""}, "OWS is no part of the value"),
    value("HTAB inside", b"X-A: b\tc", {"x-a": "b\tc"}, "field-content may hold HTAB"),
    value("obs-text", b"X-A: caf\xe9", {"x-a": "caf\xe9"}, "obs-text SHOULD be treated as opaque data"),
    value("colons inside", b"X-A: b:c::", {"x-a": "b:c::"}, "the first colon ends the name"),
    value("a quoted comma", b'X-A: "b,c", d', {"x-a": '"b,c", d'}, "what a value means is its field's matter"),
    value("names in any case", b"x-A: b", {"x-a": "b"}, "field names are case-insensitive", "9110 5.1"),
    value("a name of odd token characters", b"X!#$%&'*+.^`|~9: b", {}, "field-name = token", "9110 5.1"),
    value(
        "lines are combined in order", b"X-A: b\r\nX-B: x\r\nx-a: c", {"x-a": "b,c"}, "in order of arrival", "9110 5.3"
    ),
    value(
        "an unknown field", b"Frobnicate: yes", {"frobnicate": "yes"}, "unrecognized fields are no error", "9110 5.1"
    ),
    value(
        "Range is for the app", b"Range: bytes=0-2", {"range": "bytes=0-2"}, "a server MAY ignore Range", "9110 14.2"
    ),
    value("If-Match is for the app", b'If-Match: "a"', {"if-match": '"a"'}, "conditions are the app's", "9110 13.1"),
    value("TE is no framing", b"TE: trailers, gzip", {}, "TE says what the client takes", "9110 10.1.4"),
    Case(
        "cookies in two lines",
        "6265 5.4",
        "one cookie string is made of them with semicolon and SP, never with a comma",
        b"GET /a HTTP/1.1\r\nHost: t\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
        served(Seen(fields={"cookie": "a=1; b=2"})),
        (*BAD, served(Seen(fields={"cookie": "a=1,b=2"}))),
    ),
    bad("a space before the colon", b"X-A : b", COLON, allow=(REFUSED[0],)),
    bad("HTAB before the colon", b"X-A\t: b", COLON, allow=(REFUSED[0],)),
    bad("a space before the colon of a length", b"Content-Length : 5", COLON, allow=(REFUSED[0],)),
    bad("a line without a colon", b"nonsense", NAME),
    bad("an empty name", b": b", NAME),
    bad("a space inside the name", b"X A: b", COLON, allow=(REFUSED[0],)),
    bad("a slash inside the name", b"X/A: b", NAME),
    bad("an octet above 127 in the name", b"X\xe9: b", NAME),
    bad("a NUL in the name", b"X\x00A: b", NAME),
    bad("a control octet in the name", b"X\x01A: b", NAME),
    bad(
        "a folded line",
        b"X-A: b\r\n c",
        "a server MUST reject obs-fold with 400 or replace it with SP",
        "9112 5.2",
        (*BAD, served(Seen(fields={"x-a": "b c"}), stays=None), served(Seen(fields={"x-a": "b  c"}), stays=None)),
    ),
    bad(
        "a line folded with HTAB",
        b"X-A: b\r\n\tc",
        "a server MUST reject obs-fold with 400 or replace it with SP",
        "9112 5.2",
        (*BAD, served(Seen(fields={"x-a": "b c"}), stays=None), served(Seen(fields={"x-a": "b \tc"}), stays=None)),
    ),
    bad(
        "a folded line of white space",
        b"X-A: b\r\n \r\nX-B: c",
        "a server MUST reject obs-fold with 400 or replace it with SP",
        "9112 5.2",
        (*BAD, served(Seen(fields={"x-a": "b", "x-b": "c"}), stays=None)),
    ),
    bad("a NUL in a value", b"X-A: b\x00c", CONTROL, "9110 5.5", (*BAD, served(Seen(fields={"x-a": "b c"})))),
    bad("a bare CR in a value", b"X-A: b\rc", CONTROL, "9110 5.5", (*BAD, served(Seen(fields={"x-a": "b c"})))),
    bad(
        "a bare CR that looks like a line end",
        b"X-A: b\rContent-Length: 5",
        CONTROL,
        "9110 5.5",
        (*BAD, served(Seen(fields={"x-a": "b Content-Length: 5"}))),
    ),
    bad(
        "a bare LF between two fields",
        b"X-A: b\nX-B: c",
        "a recipient MAY recognize a single LF as a line terminator",
        "9112 2.2",
        (*BAD, served(Seen(fields={"x-a": "b", "x-b": "c"}), stays=None)),
    ),
    bad("ESC in a value", b"X-A: b\x1b[1mc", OTHER, "9110 5.5", (*BAD, served(Seen(path="/a"), stays=None))),
    bad("DEL in a value", b"X-A: b\x7fc", OTHER, "9110 5.5", (*BAD, served(Seen(path="/a"), stays=None))),
    Case(
        "more fields than any limit",
        "6585 5",
        "431: the server is unwilling to process the request because its header fields are too large",
        b"GET /a HTTP/1.1\r\nHost: t\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
        refused(431),
        (*BAD, REFUSED[4], served(Seen(), stays=None)),
    ),
    Case(
        "a field larger than any limit",
        "9110 5.4",
        "a field larger than the server wishes to process MUST get an appropriate 4xx",
        b"GET /a HTTP/1.1\r\nHost: t\r\nX-A: " + b"b" * 300_000 + b"\r\n\r\n",
        refused(431),
        (REFUSED[0], REFUSED[4], served(Seen(), stays=None)),
    ),
    Case(
        "a hundred fields",
        "9110 5.4",
        "HTTP does not place a limit on the length of each line or section; a usual request is served",
        b"GET /a HTTP/1.1\r\nHost: t\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(99)) + b"\r\n",
        served(Seen(fields={"x-0": "y", "x-98": "y"})),
    ),
]
