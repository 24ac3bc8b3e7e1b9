"""Methods: RFC 9110 section 9, RFC 9112 section 3.1."""

from __future__ import annotations

from conformance.case import BAD, REFUSED, Answer, Case, Outcome, Seen, refused, served

CASES = [
    *(
        Case(
            method,
            "9110 9.3",
            "the methods of RFC 9110 and PATCH (RFC 5789) reach the app",
            method.encode() + b" /a HTTP/1.1\r\nHost: t\r\n\r\n",
            served(Seen(method=method, path="/a", body="")),
        )
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH")
    ),
    Case(
        "HEAD",
        "9110 9.3.2",
        "the server MUST NOT send content in the response",
        b"HEAD /a HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(method="HEAD", path="/a")),
        heads=(0,),
    ),
    Case(
        "TRACE",
        "9110 9.3.8",
        "an origin server need not echo; the app may",
        b"TRACE /a HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(method="TRACE", path="/a")),
        REFUSED,
    ),
    Case(
        "a method of one's own",
        "9110 9.1",
        "additional methods can be specified; what is not implemented SHOULD get 501",
        b"PROPFIND /a HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(method="PROPFIND", path="/a")),
        REFUSED,
    ),
    Case(
        "a method of odd token characters",
        "9110 9.1",
        "method = token",
        b"M-SEARCH!#$%&'*+.^_`|~9 /a HTTP/1.1\r\nHost: t\r\n\r\n",
        served(Seen(path="/a")),
        REFUSED,
    ),
    Case(
        "a method with a delimiter",
        "9110 9.1",
        "method = token",
        b"GE(T) /a HTTP/1.1\r\nHost: t\r\n\r\n",
        refused(400),
        (*BAD, REFUSED[6]),
    ),
    Case(
        "a method with a colon",
        "9110 9.1",
        "method = token; with a colon it looks like a field",
        b"GET: /a HTTP/1.1\r\nHost: t\r\n\r\n",
        refused(400),
        (*BAD, REFUSED[6]),
    ),
    Case(
        "a method with an octet above 127",
        "9110 9.1",
        "method = token",
        b"G\xc9T /a HTTP/1.1\r\nHost: t\r\n\r\n",
        refused(400),
        (*BAD, REFUSED[6]),
    ),
    Case(
        "GET with a body",
        "9110 9.3.1",
        "content in GET has no defined semantics, but it is framed like any other",
        b"GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi",
        served(Seen(method="GET", body="hi")),
        (REFUSED[0], Outcome((Answer(200),), (Seen(method="GET", body=""),), stays=None)),
    ),
    Case(
        "DELETE with a chunked body",
        "9110 9.3.5",
        "content in DELETE has no defined semantics, but it is framed like any other",
        b"DELETE /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        served(Seen(method="DELETE", body="hi")),
        (REFUSED[0],),
    ),
    Case(
        "HEAD with a body",
        "9110 9.3.2",
        "content in HEAD has no defined semantics, but it is framed like any other",
        b"HEAD /a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi",
        served(Seen(method="HEAD", body="hi")),
        (REFUSED[0],),
        heads=(0,),
    ),
]
