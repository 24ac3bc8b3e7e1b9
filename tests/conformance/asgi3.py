"""ASGI (HTTP, version 2.4), sentence by sentence: what a route of apps/asgi3_app.py finds, and what the client gets."""

from __future__ import annotations

from pathlib import Path

from conformance.case import ANSWER, Answer, Case, Outcome, answered
from conformance.pep3333 import get

SCOPE = "HTTP Connection Scope"
REQUEST = "Request - receive event"
START = "Response Start - send event"
BODY = "Response Body - send event"
GONE = "Disconnect - receive event"
CLOSED = "Disconnected Client - send exception"
ERRORS = "Error Handling"
APPLICATIONS = "Applications"
STATE = "Lifespan State"
EXTENSIONS = "Extensions"
CHUNKS = "HTTP: a note on chunked transfer encodings"
APP = (Path(__file__).resolve().parent / "apps" / "asgi3_app.py").read_bytes()
OURS_500 = answered(Answer(500, "length", without=("x-old", "x-split")))


def says(path: str, section: str, why: str, found: str, *lines: str, name: str = "", **more: str) -> Case:
    """The route answers with this."""
    expect = answered(Answer(200, body=found.encode()), stays=more.get("version", "1.1") == "1.1")
    return Case(name or path[1:], section, why, get(path, *lines, **more), expect)


def shows(name: str, key: str, value: object, why: str, path: str = "/show", **more: str) -> Case:
    """A key of the scope."""
    return says(f"{path}?{key}", SCOPE, why, repr(value), name=name, **more)


def gives(path: str, section: str, why: str, *answers: Answer, log: str = "", stays: bool = True) -> Case:
    """The client gets this answer."""
    return Case(path[1:], section, why, get(path), answered(*answers, log=log, stays=stays))


def fails(path: str, section: str, why: str, log: str) -> Case:
    """500, a line in the log, and the server serves on."""
    return Case(path[1:], section, why, get(path), Outcome(OURS_500.answers, stays=True, log=log))


def cut(path: str, section: str, why: str, log: str) -> Case:
    """Too late for another status: the client can tell by the end of the connection."""
    return Case(path[1:], section, why, get(path), Outcome((Answer(200),), stays=False, cut=True, log=log))


def refuses(path: str, section: str, why: str) -> Case:
    """The message raises into the app, and its next one is taken."""
    log = "app: raised "
    return Case(path[1:], section, why, get(path), answered(Answer(200, body=b"raised"), log=log))


RAISES = "a server that receives an invalid event dictionary should raise an exception out of the send awaitable"
CHUNKED = get("/messages", "Transfer-Encoding: chunked") + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: y\r\n\r\n"

CASES = [
    # --- the scope
    says("/types", SCOPE, "the keys and their types", "[]"),
    says("/scope-is-a-dict", APPLICATIONS, "scope: a dictionary", "True"),
    says(
        "/versions",
        SCOPE,
        'type is "http"; asgi["version"] and asgi["spec_version"] are there',
        "('http', '3.0', True)",
    ),
    shows("the version", "http_version", "1.1", 'http_version: one of "1.0", "1.1" or "2"'),
    shows("the version of 1.0", "http_version", "1.0", 'http_version: one of "1.0", "1.1" or "2"', version="1.0"),
    shows("the method", "method", "PURGE", "method: the HTTP method name, uppercased", method="PURGE"),
    shows("a method in lower case", "method", "GET", "method: the HTTP method name, uppercased", method="get"),
    shows("the scheme", "scheme", "http", "scheme: optional, but if present must not be empty"),
    shows("the root path", "root_path", "", "root_path: where the app is mounted, the same as SCRIPT_NAME"),
    shows(
        "the path", "path", "/show/x \xe9%20", "path: percent-encoded octets and UTF-8 decoded", "/show/x%20%C3%A9%2520"
    ),
    shows(
        "the raw path",
        "raw_path",
        b"/show/x%20%c3%A9/../",
        "raw_path: unmodified, without the query string",
        "/show/x%20%c3%A9/../",
    ),
    shows("a path that is no UTF-8", "path", "/show/x\ufffd", "what cannot be decoded does no harm", "/show/x%ff"),
    says(
        "/show?query_string&a=%20&b",
        SCOPE,
        "query_string: percent-encoded",
        repr(b"query_string&a=%20&b"),
        name="the query",
    ),
    says("/headers-are-octets", SCOPE, "header names must be lowercased; both are byte strings", "True", "X-Upper: y"),
    says(
        "/headers",
        SCOPE,
        "headers: in their original order of appearance in the HTTP request, with repetitions",
        '[["host", "t"], ["x-a", "1"], ["x-b", "2"], ["x-a", "3"], ["x_c", "caf\\u00e9"]]',
        "X-A: 1",
        "x-b: 2",
        "X-a: 3",
        "X_C: caf\xe9",
    ),
    says("/addresses", SCOPE, "client and server: host and integer port", "('127.0.0.1', True, '127.0.0.1', True)"),
    Case(
        "the scope is the app's own",
        STATE,
        "each request gets a shallow copy of the state; what it holds is shared",
        get("/spoils-the-scope") + get("/state") + get("/versions"),
        answered(
            Answer(200, body=b"spoilt"),
            Answer(200, body=b"('from the start', 'from the start')"),
            Answer(200, body=b"('http', '3.0', True)"),
        ),
    ),
    # --- receive
    says(
        "/messages", REQUEST, "body: if no body, an empty byte string", "(['http.request'], True, b'')", name="no body"
    ),
    says("/messages", REQUEST, "body and more_body", "(['http.request'], True, b'hello')", body="hello"),
    Case(
        "a chunked body",
        CHUNKS,
        "a request with a chunked body is de-chunked by the server and presented as plain body bytes",
        CHUNKED,
        answered(Answer(200, body=b"(['http.request'], True, b'hello')")),
    ),
    Case(
        "a body in pieces",
        REQUEST,
        "more_body: until it is false, the app should wait for more",
        (get("/messages", "Content-Length: 300000"), b"a" * 100_000, b"b" * 200_000),
        answered(Answer(200, body=repr((["http.request"], True, b"a" * 100_000 + b"b" * 200_000)).encode())),
    ),
    Case(
        "the client waits and the app reads",
        REQUEST,
        "100 is sent when the app asks for the body (RFC 9110 10.1.1)",
        (get("/messages", "Expect: 100-continue", "Content-Length: 5"), ANSWER, b"hello"),
        answered(Answer(100), Answer(200, body=b"(['http.request'], True, b'hello')")),
    ),
    Case(
        "the client waits and the app does not read",
        REQUEST,
        "without 100 nobody can tell whether the body comes: the connection is closed (RFC 9110 10.1.1)",
        (get("/scope-is-a-dict", "Expect: 100-continue", "Content-Length: 5"), ANSWER),
        answered(Answer(200, fields={"connection": "close"}, body=b"True"), stays=False),
    ),
    Case(
        "an answer before a large body",
        REQUEST,
        "a server must read the whole body or close after its response (RFC 9112 9.3)",
        get("/scope-is-a-dict", "Content-Length: 2000000") + b"b" * 2_000_000,
        answered(Answer(200, fields={"connection": "close"}, body=b"True"), stays=False),
    ),
    gives(
        "/receives-after-the-response",
        GONE,
        "http.disconnect if receive is called after a response has been sent",
        Answer(200, body=b"done"),
        log="app: then http.disconnect and http.disconnect",
    ),
    gives(
        "/receives-while-it-sends",
        GONE,
        "a receive that waits ends with the response",
        Answer(200, body=b"onetwo"),
        log="app: the watching task got http.disconnect",
    ),
    # --- send
    gives("/no-headers", START, "headers: optional; if missing an empty list", Answer(200, "length", body=b"x")),
    gives("/headers-of-a-generator", START, "headers: an iterable", Answer(200, fields={"content-type": "text/plain"})),
    gives("/headers-of-tuples", START, "headers: two-item iterables", Answer(200, fields={"x-a": "b"})),
    gives("/headers-of-lists", START, "headers: two-item iterables", Answer(200, fields={"x-a": "b", "x-c": "d"})),
    gives("/status-418", START, "status: HTTP status code", Answer(418, reason="I'm a Teapot")),
    gives("/no-body-key", BODY, "body: if missing, an empty byte string", Answer(200, "length", body=b"")),
    gives("/more-keys", ERRORS, "additional keys in the event dictionary should not raise", Answer(200, body=b"x")),
    gives("/stream", BODY, "more_body: content is sent as it comes", Answer(200, "chunked", body=b"onetwo")),
    gives("/stream-that-ends-empty", BODY, "concatenated, the body values are the body", Answer(200, body=b"one")),
    gives(
        "/sends-after-the-end",
        BODY,
        "without more_body the response is complete, and any further messages on the channel will be ignored",
        Answer(200, body=b"one"),
        log="app: went on after the end",
    ),
    gives(
        "/transfer-encoding", CHUNKS, "servers are responsible for chunked encodings", Answer(200, "length", body=b"x")
    ),
    gives(
        "/transfer-encoding-of-a-stream",
        CHUNKS,
        "servers are responsible for chunked encodings",
        Answer(200, "chunked", body=b"x"),
    ),
    gives("/closes", START, "the app may ask for a close", Answer(200, fields={"connection": "close"}), stays=False),
    gives(
        "/keep-alive", START, "hop-by-hop fields are the server's", Answer(200, without=("keep-alive", "connection"))
    ),
    gives("/trailers-without-the-extension", START, "trailers: optional, false", Answer(200, body=b"x")),
    fails("/raises-after-start", START, "the head need not be sent before the first body event", "secret of the app"),
    # --- extensions
    says(
        "/extensions",
        EXTENSIONS,
        "the scope names those that are there",
        str([f"http.response.{word}" for word in ("early_hint", "pathsend", "trailers", "zerocopysend")]),
    ),
    Case(
        "trailers",
        EXTENSIONS + ", HTTP Trailers",
        "with trailers=True they end the response; for a client with TE: trailers (RFC 9110 6.5.1)",
        get("/trailers", "TE: trailers"),
        answered(Answer(200, "chunked", {"trailer x-sum": "6", "trailer x-more": "7"}, body=b"onetwo")),
    ),
    Case(
        "trailers that nobody asked for",
        EXTENSIONS + ", HTTP Trailers",
        "without TE: trailers none may be sent (RFC 9110 6.5.1)",
        get("/trailers"),
        answered(Answer(200, "chunked", without=("trailer x-sum",), body=b"onetwo")),
    ),
    Case(
        "trailers in HTTP/1.0",
        EXTENSIONS + ", HTTP Trailers",
        "there are no chunks, and so no trailers",
        get("/trailers", "TE: trailers", version="1.0"),
        answered(Answer(200, "close", body=b"onetwo"), stays=False),
    ),
    cut("/promised-trailers", EXTENSIONS + ", HTTP Trailers", "the response is not whole", "without completing"),
    gives(
        "/hint",
        EXTENSIONS + ", Early Hint",
        "103 before the response; debug information is for test clients and harms nobody",
        Answer(103, fields={"link": "</a.css>; rel=preload"}),
        Answer(200, "length", body=b"x"),
    ),
    gives("/path", EXTENSIONS + ", Path Send", "the file is the body", Answer(200, "length", body=APP)),
    Case(
        "a HEAD of a path",
        EXTENSIONS + ", Path Send",
        "HEAD has no body, and the length of a GET",
        get("/path", method="HEAD"),
        answered(Answer(200, fields={"content-length": str(len(APP))}, body=b"")),
        heads=(0,),
    ),
    gives(
        "/pieces-of-a-file",
        EXTENSIONS + ", Zero Copy Send",
        "offset, count, and without an offset from where the file stands",
        Answer(200, "chunked", body=APP[3:13] + b"=====" + APP[:5]),
    ),
    gives(
        "/pieces-of-a-file?length",
        EXTENSIONS + ", Zero Copy Send",
        "the same with a length",
        Answer(200, "length", body=APP[3:13] + b"=====" + APP[:5]),
    ),
    refuses("/refuses-trailers-nobody-promised", EXTENSIONS, RAISES + ": trailers without trailers=True"),
    refuses("/refuses-a-hint-after-the-start", EXTENSIONS, RAISES + ": a hint after the start"),
    refuses("/refuses-a-path-first", EXTENSIONS, RAISES + ": a file before the start"),
    refuses("/refuses-a-relative-path", EXTENSIONS, RAISES + ": a path that is not absolute"),
    refuses("/refuses-a-link-of-text", EXTENSIONS, RAISES + ": a link that is no byte string"),
    # --- errors
    refuses("/refuses-a-body-first", START, "start is needed before body: " + RAISES),
    refuses("/refuses-an-unknown-type", ERRORS, RAISES + ": an unknown type"),
    refuses("/refuses-another-protocol", ERRORS, RAISES + ": a type of another protocol"),
    refuses("/refuses-no-type", ERRORS, RAISES + ": a missing key"),
    refuses("/refuses-no-status", ERRORS, RAISES + ": a missing key"),
    refuses("/refuses-a-status-of-text", ERRORS, RAISES + ": a wrong type"),
    refuses("/refuses-headers-of-text", ERRORS, RAISES + ": Unicode strings for HTTP headers"),
    refuses("/refuses-a-value-of-text", ERRORS, RAISES + ": Unicode strings for HTTP headers"),
    refuses("/refuses-a-split", ERRORS, RAISES + ": a line end in a header"),
    refuses("/refuses-a-second-start", ERRORS, RAISES + ": a second start"),
    refuses("/refuses-a-body-of-text", ERRORS, RAISES + ": a wrong type"),
    refuses("/refuses-an-unknown-type-later", ERRORS, RAISES + ": an unknown type"),
    fails("/raises", APPLICATIONS, "an exception of the app ends its request only", "secret of the app"),
    fails("/exits", APPLICATIONS, "an exit of the app ends its request only", "raised an exception"),
    fails("/nothing", APPLICATIONS, "an app that returns without a response has failed", "without completing"),
    fails("/start-only", APPLICATIONS, "an app that returns without a response has failed", "without completing"),
    cut("/unfinished", BODY, "a response that is not complete must not look whole", "without completing"),
    cut("/unfinished-length", BODY, "a response shorter than its length is told by a close", "shorter than its"),
    cut("/raises-in-the-middle", APPLICATIONS, "what was begun cannot be told otherwise", "secret of the app"),
    gives(
        "/raises-after-the-response",
        APPLICATIONS,
        "an exception after the response is logged and harms nobody",
        Answer(200, body=b"done"),
        log="secret of the app",
    ),
]
