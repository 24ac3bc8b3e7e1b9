"""PEP 3333, sentence by sentence: what a route of apps/pep3333_app.py finds, and what the client gets."""

from __future__ import annotations

from conformance.case import ANSWER, Answer, Case, Outcome, answered

APP = "The Application/Framework Side"
SERVER = "The Server/Gateway Side"
DETAILS = "Specification Details"
ENVIRON = "environ Variables"
STREAMS = "Input and Error Streams"
START = "The start_response() Callable"
LENGTH = "Handling the Content-Length Header"
BUFFERING = "Buffering and Streaming"
WRITE = "The write() Callable"
UNICODE = "Unicode Issues"
ERRORS = "Error Handling"
OTHER = "Other HTTP Features"
FILES = "Optional Platform-Specific File Handling"
URLS = "URL Reconstruction"
OURS_500 = answered(Answer(500, "length", without=("x-old", "x-split")))


def get(path: str, *lines: str, body: str = "", method: str = "GET", version: str = "1.1") -> bytes:
    """A request."""
    length = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join((f"{method} {path} HTTP/{version}", "Host: t", *length, *lines, "", body)).encode("latin-1")


def says(path: str, section: str, why: str, found: str, *lines: str, name: str = "", **more: str) -> Case:
    """The route answers with this."""
    stays = more.get("version", "1.1") == "1.1"
    expect = answered(Answer(200, body=found.encode("latin-1")), stays=stays)
    return Case(name or path[1:], section, why, get(path, *lines, **more), expect)


def shows(name: str, keys: str, value: str, why: str, *lines: str, target: str = "/show", **more: str) -> Case:
    """Keys of the environ."""
    return says(target, ENVIRON, why, value, f"X-Show: {keys}", *lines, name=name, **more)


def gives(path: str, section: str, why: str, *answers: Answer, log: str = "") -> Case:
    """The client gets this answer."""
    return Case(path[1:], section, why, get(path), answered(*answers, log=log))


def fails(path: str, section: str, why: str, log: str = "the WSGI application failed") -> Case:
    """The app has broken the text, or raised: 500, a line in the log, and the server serves on."""
    return Case(path[1:], section, why, get(path), Outcome(OURS_500.answers, stays=True, log=log))


def cut(path: str, section: str, why: str, log: str) -> Case:
    """Too late for another status: the client can tell by the end of the connection."""
    return Case(path[1:], section, why, get(path), Outcome((Answer(200),), stays=False, cut=True, log=log))


CASES = [
    Case(
        "more than once",
        APP,
        "application objects must be able to be invoked more than once",
        get("/one-chunk") * 3,
        answered(*[Answer(200, body=b"four")] * 3),
    ),
    says("/environ-is-a-dict", DETAILS, "environ must be a builtin Python dictionary, not a subclass", "True"),
    Case(
        "clears the environ",
        DETAILS,
        "the application is allowed to modify the dictionary in any way it desires",
        get("/clears") + get("/required-keys"),
        answered(Answer(200, body=b"cleared"), Answer(200, body=b"[]")),
    ),
    says("/required-keys", ENVIRON, "the environ dictionary is required to contain these variables", "[]"),
    says("/never-empty", ENVIRON, "SERVER_NAME and SERVER_PORT can never be empty strings", "[]"),
    says("/all-strings-are-native", ENVIRON, "all CGI-defined variables must be native strings, if present", "[]"),
    says("/keys-have-their-form", ENVIRON, "server-defined variables have lower-case names with a prefix", "[]"),
    says(
        "/content-headers-have-no-http-key",
        ENVIRON,
        "Content-Type and Content-Length are CONTENT_TYPE and CONTENT_LENGTH",
        "[]",
        "Content-Type: a/b",
        body="x",
    ),
    says("/versions", ENVIRON, "wsgi.version is the tuple (1, 0); wsgi.url_scheme the scheme", "((1, 0), 'http')"),
    shows("a method", "REQUEST_METHOD", "BREW", "REQUEST_METHOD is the method, such as GET or POST", method="BREW"),
    shows("a method in lower case", "REQUEST_METHOD", "get", "the method is case-sensitive", method="get"),
    shows("no script name", "SCRIPT_NAME,PATH_INFO", "|/show", "SCRIPT_NAME may be empty at the root of the server"),
    shows("a query", "QUERY_STRING", "a=%20&b", "QUERY_STRING is what follows the ?", target="/show?a=%20&b"),
    shows("no query", "QUERY_STRING", "", "QUERY_STRING may be empty or absent"),
    shows("a content type", "CONTENT_TYPE", "a/b; c=d", "the contents of any Content-Type", "Content-Type: a/b; c=d"),
    shows("no content", "CONTENT_TYPE,CONTENT_LENGTH", "absent|absent", "they may be empty or absent"),
    shows("a content length", "CONTENT_LENGTH", "5", "the contents of any Content-Length", body="hello"),
    shows("the protocol", "SERVER_PROTOCOL", "HTTP/1.1", "the version of the protocol the client used"),
    shows("the protocol of 1.0", "SERVER_PROTOCOL", "HTTP/1.0", "the version the client used", version="1.0"),
    shows("a field", "HTTP_X_A,HTTP_X_B", "b|absent", "HTTP_ keys correspond to the fields of the request", "x-A: b"),
    shows("a field twice", "HTTP_X_A", "b,c", "they are combined in order (RFC 9110 5.3)", "X-A: b", "X-A: c"),
    shows("a field with _", "HTTP_X_A", "b", "a spoofed X_A does not change X-A", "X_A: evil", "X-A: b", "x_a: evil"),
    shows("a field with _ alone", "HTTP_X_A", "absent", "a spoofed X_A is not taken for X-A", "X_A: evil"),
    shows("Proxy", "HTTP_PROXY", "absent", "HTTP_PROXY is a setting of clients (RFC 3875 section 9.3)", "Proxy: evil"),
    shows("the address", "REMOTE_ADDR", "127.0.0.1", "a server should provide as many CGI variables as are applicable"),
    says(
        "/all-strings-are-latin-1",
        UNICODE,
        "strings must contain only code points representable in ISO-8859-1",
        "[]",
        "X-A: caf\xe9",
    ),
    says("/path/x%C3%A9%FF", UNICODE, "native strings hold the octets as ISO-8859-1", "/path/x\xc3\xa9\xff"),
    says("/path/x%2525", UNICODE, "the path is decoded once", "/path/x%25", name="path decoded once"),
    says("/url/x%20%C3%A9?b=%20", URLS, "a URL can be reconstructed from the environ", "http://t/url/x%20%C3%A9?b=%20"),
    # --- streams
    says("/read-all", STREAMS, "read() may be called without an argument", "hello", body="hello"),
    says("/read-all", STREAMS, "without a body there is nothing to read", "", name="read nothing"),
    says(
        "/read-past-the-end",
        STREAMS,
        "the server should simulate an end-of-file condition past the Content-Length",
        "[b'hello', b'', b'', b'', [], []]",
        body="hello",
    ),
    says("/read-sizes", STREAMS, "read(size)", "[b'he', b'', b'l', b'lo']", body="hello"),
    says(
        "/read-lines",
        STREAMS,
        "readline(), with a size too",
        r"[b'a\n', b'bc', b'd\n', [b'e\n', b'f']]",
        body="a\nbcd\ne\nf",
    ),
    says("/read-lines-with-a-hint", STREAMS, "the hint of readlines() is optional for both", "a\nb\nc", body="a\nb\nc"),
    says("/iterate-lines", STREAMS, "__iter__()", r"[b'a\n', b'\n', b'b']", body="a\n\nb"),
    says(
        "/read-past-the-end",
        STREAMS,
        "the same without a body",
        "[b'', b'', b'', b'', [], []]",
        name="no body, past its end",
    ),
    Case(
        "a chunked body",
        OTHER,
        "a server must be able to handle HTTP/1.1 for the app; it is read like any other",
        b"POST /read-all HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        answered(Answer(200, body=b"hello")),
    ),
    Case(
        "a body that is waited for",
        "HTTP 1.1 Expect/Continue",
        "servers that implement HTTP 1.1 must provide transparent support for expect/continue",
        (get("/read-all", "Expect: 100-continue", "Content-Length: 5"), ANSWER, b"hello"),
        answered(Answer(100), Answer(200, body=b"hello")),
    ),
    gives("/errors", STREAMS, "wsgi.errors has write, writelines and flush", Answer(200), log="app: error lines$"),
    # --- start_response
    gives("/reason", START, "a status string of the form '999 Message here'", Answer(404, reason="Nowhere to be seen")),
    *(
        fails(f"/status-{kind}", START, "a status string of the form '999 Message here', without control characters")
        for kind in ("word", "short", "bytes", "newline", "control", "number")
    ),
    fails("/headers-tuple", START, "response_headers must be a Python list"),
    fails("/headers-bytes", UNICODE, "names and values are native strings"),
    fails("/headers-not-a-pair", START, "a list of (header_name, header_value) tuples"),
    fails("/headers-not-latin-1", UNICODE, "only code points representable in ISO-8859-1"),
    *(
        fails(f"/headers-{field}", OTHER, "it is a fatal error for an application to use hop-by-hop headers")
        for field in ("Connection", "Keep-Alive", "Proxy-Authenticate", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
    ),
    fails("/no-start-response", DETAILS, "start_response must be called before the first body bytestring"),
    gives("/start-in-the-iterator", DETAILS, "it may be called by the first iteration", Answer(203, body=b"late")),
    gives("/start-after-empty-chunks", DETAILS, "before the first body bytestring", Answer(203, body=b"late")),
    gives("/start-twice", START, "a second call without exc_info is a fatal error", Answer(200, body=b"raised")),
    gives(
        "/replaced-before-the-head",
        START,
        "with exc_info, and no headers output yet, the new headers replace the old",
        Answer(503, fields={"x-new": "yes"}, without=("x-old",), body=b"sorry"),
    ),
    gives(
        "/replaced-after-empty-chunks",
        START,
        "headers are kept until a non-empty bytestring is there, so that they can be replaced",
        Answer(503, fields={"x-new": "yes"}, without=("x-old",), body=b"sorry"),
    ),
    gives(
        "/replaced-too-late",
        START,
        "with exc_info, and headers already sent, it must raise the exc_info",
        Answer(200, body=b"onetwo"),
        log="app: it is .*the app's own",
    ),
    gives("/one-chunk", START, "a server must add a header that HTTP requires", Answer(200, fields={"date": None})),
    # --- the body
    gives(
        "/octets",
        DETAILS,
        "bytestrings are binary: line endings must not be altered",
        Answer(200, body=bytes(range(256)) + b"\r\n\n\r"),
    ),
    gives("/empty-list", DETAILS, "an iterable yields zero or more bytestrings", Answer(200, "length", body=b"")),
    gives("/sized", DETAILS, "if len(iterable) succeeds, the result is accurate", Answer(200, "length", body=b"four")),
    gives("/watched", DETAILS, "no other attributes of the iterable may be used", Answer(200, body=b"[]")),
    fails("/gives-text", DETAILS, "the iterable yields bytestrings"),
    gives(
        "/closes", DETAILS, "close() must be called upon completion", Answer(200, body=b"onetwo"), log="closed normally"
    ),
    gives("/closes-what-is-empty", DETAILS, "close() must be called upon completion", Answer(200), log="closed empty"),
    cut("/closes-after-an-error", DETAILS, "close() must be called after an error during iteration", "closed after an"),
    fails("/closes-after-an-early-error", DETAILS, "close() must be called after an error", "closed early"),
    gives(
        "/bad-close",
        DETAILS,
        "an error in close() comes after the response",
        Answer(200, body=b"onetwo"),
        log="close failed",
    ),
    Case(
        "a body whose client leaves",
        DETAILS,
        "close() must be called after an early disconnect of the browser",
        get("/closes-for-a-leaver"),
        Outcome((), log="closed for a leaver"),
    ),
    gives("/one-chunk", LENGTH, "with one bytestring the server can determine the length", Answer(200, "length")),
    gives(
        "/endless-with-a-length",
        LENGTH,
        "a server should stop iterating when enough data has been sent",
        Answer(200, "length", body=b"oneon"),
        log="closed with a length",
    ),
    *(
        Case(
            f"{method} of an endless {path}",
            LENGTH,
            "a server should stop iterating when enough data has been sent: here nothing is",
            get(path, method=method),
            answered(Answer(status, "none"), log="closed without"),
            heads=(0,) if method == "HEAD" else (),
        )
        for method, path, status in (
            ("HEAD", "/endless", 200),
            ("GET", "/endless-204", 204),
            ("GET", "/endless-304", 304),
        )
    ),
    gives(
        "/writes-past-its-length",
        LENGTH,
        "a server should not transmit more than the header allows, and report a write() past it",
        Answer(200, "length", body=b"one"),
        log="longer than its Content-Length",
    ),
    cut(
        "/less-than-its-length",
        LENGTH,
        "with too little data, close the connection and report the error",
        "shorter than",
    ),
    gives("/writes", WRITE, "what is written comes before what the iterable yields", Answer(200, body=b"onetwothree")),
    fails("/writes-text", WRITE, "write() takes a bytestring"),
    # --- errors
    fails("/raises", ERRORS, "servers should trap and log exceptions, and may abort the response with a 500"),
    fails("/raises-after-start", ERRORS, "headers that are not sent yet give way to the error"),
    fails("/exits", ERRORS, "an application's exit is its error and not the server's end"),
    cut("/raises-in-the-middle", ERRORS, "what was begun cannot be told otherwise", "secret of the app"),
    # --- files
    gives("/file", FILES, "the file's data is sent", Answer(200, body=b"0123456789" * 1000)),
    gives(
        "/file-with-a-block-size",
        FILES,
        "the block size is an optional suggestion",
        Answer(200, body=b"0123456789" * 1000),
    ),
    gives(
        "/file-from-its-position", FILES, "transmission begins at the current position", Answer(200, body=b"0123456789")
    ),
    gives(
        "/file-with-a-length",
        FILES,
        "no more than its Content-Length is sent",
        Answer(200, "length", body=b"012345678901234"),
    ),
    gives("/file-in-memory", FILES, "the object need only have a read() method", Answer(200, body=b"56789")),
    gives(
        "/file-is-closed",
        FILES,
        "close() of the wrapper calls close() of the file",
        Answer(200, body=b"told"),
        log="closed the file",
    ),
    says("/validated", SERVER, "wsgiref.validate finds nothing", "valid hello", body="hello"),
]
